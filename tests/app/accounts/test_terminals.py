"""Terminals: by certificate or by signing request, for some time, revoked with their sign-ins."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from enrolled_people import NOON, OPERATOR, half

from bcl.accounts import api as accounts
from bcl.accounts import rules
from bcl.accounts.models import StaffSession, Terminal
from bcl.foundation import tenancy

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("R-061")]
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "terminal")])


def certificate(key, until=NOON + timedelta(days=400)) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOON - timedelta(days=1))
        .not_valid_after(until)
        .sign(key, SHA256())
    )


def request_of(key) -> bytes:
    made = x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(key, SHA256())
    return made.public_bytes(Encoding.PEM)


def register(code: str, papers: bytes, number: str = "t-7", **more: object):
    return accounts.register_terminal(
        owner_code=code,
        terminal_id=number,
        name_ja="窓口の端末",
        terminal_class=accounts.TerminalClass.LGWAN,
        cert_pem=papers,
        by=OPERATOR,
        at=NOON,
        **more,
    )


def find(made: x509.Certificate, at=NOON):
    return accounts.find_terminal_by_cert(made.public_bytes(Encoding.DER), at=at)


def test_terminal__by_its_signing_request__takes_the_first_certificate_over_its_key(town) -> None:
    key, stranger = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    waiting = register(town, request_of(key), place_ja="本庁舎1階")
    assert not waiting.has_certificate and waiting.place_ja == "本庁舎1階"
    assert find(certificate(stranger)) is None
    first, second = certificate(key), certificate(key)
    assert find(first).id == "t-7"
    assert find(second) is None, "another certificate over the same key is another terminal"
    assert find(first).has_certificate
    assert register(town, request_of(key), "t-8").code == "REGISTRATION_CONFLICT"


def test_terminal__past_its_date__gets_nothing(town) -> None:
    mine = certificate(ec.generate_private_key(ec.SECP256R1()))
    register(town, mine.public_bytes(Encoding.PEM), valid_until_on=date(2026, 11, 24))
    assert find(mine, NOON + timedelta(days=1)).last_seen_at is None
    assert find(mine, NOON + timedelta(days=1)).last_seen_at == NOON + timedelta(days=1)
    assert find(mine, NOON + timedelta(days=2)) is None


def test_terminal__from_wrong_papers__is_refused(town) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    over = certificate(key, NOON - timedelta(hours=1)).public_bytes(Encoding.PEM)
    spoilt = bytearray(x509.load_pem_x509_csr(request_of(key)).public_bytes(Encoding.DER))
    spoilt[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(spoilt)).public_bytes(Encoding.PEM)
    for papers in (b"", b"nothing", secret, over, forged):
        assert register(town, papers).code == "REGISTRATION_CERTIFICATE_INVALID", papers[:40]


def test_terminal__revoked__takes_its_sign_ins_with_it(town, terminal, clerk) -> None:
    assert isinstance(half(terminal, clerk), accounts.SignedIn)
    assert accounts.revoke_terminal(terminal.id, owner_code=town, by=OPERATOR, at=NOON) is None
    with tenancy.scope(town):
        assert not StaffSession.objects.filter(ended_at=None).exists()
        reasons = set(StaffSession.objects.values_list("end_reason", flat=True))
        assert "TERMINAL_REVOKED" in reasons


@pytest.mark.requirement("R-169")
def test_permission__bound_to_a_class_of_terminal__counts_there_only(
    monkeypatch, terminal, clerk
) -> None:
    """No screen shows individual numbers yet; the first one is bound by a line of the table."""
    table = {"residents.view": ("INDIVIDUAL_NUMBER", False)}
    monkeypatch.setattr(rules, "_special_permissions", lambda: table)
    here = accounts.find_session(terminal, clerk.whole.token, NOON)
    assert "residents.view" not in here.permissions and "home.view" in here.permissions
    assert here.why_not("residents.view").code == "TERMINAL_CLASS_WRONG"
    Terminal.objects.filter(pk=terminal.id).update(terminal_class="INDIVIDUAL_NUMBER")
    number_terminal = accounts.list_terminals("999997")[0]
    there = accounts.find_session(number_terminal, clerk.whole.token, NOON)
    assert there.why_not("residents.view") is None
