"""What passes as a user-authentication certificate, and the code of everything that does not."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from bcl_contract.delivery_center import challenge_for
from bcl_contract.jpki import (
    SIMULATED_ISSUER_KEY,
    USER_AUTH_POLICY,
    TrustRoots,
    Verified,
    check_challenge_signature,
    issuer_key_of,
    parse_user_auth_cert,
    simulated_ca_name,
    verify_user_auth,
)
from bcl_contract.ocsp import OcspRefused
from bcl_sim.jpki.authority import Authority, Period, Purpose, State
from bcl_sim.jpki.ocsp_responder import OcspResponder
from bcl_sim.pki import key_usage

pytestmark = pytest.mark.requirement("R-046")
PIN = "4649"


@pytest.fixture
def verify(roots, responder, moving_clock):
    def run(cert_der, *, at=None, ocsp=responder.answer, trust_roots=roots):
        return verify_user_auth(
            cert_der, trust_roots=trust_roots, at=at or moving_clock(), ocsp=ocsp
        )

    return run


def test_verify__good_card__gives_serial_and_issuer_as_the_register_has_them(
    verify, make_card, serials
):
    serial_number = serials()
    verified = verify(make_card(serial_number=serial_number).read_cert())
    assert isinstance(verified, Verified)
    assert verified.serial_number == f"{serial_number:X}"
    assert verified.issuer_key == SIMULATED_ISSUER_KEY == issuer_key_of(simulated_ca_name())
    assert f"{serial_number:X}" not in repr(verified)


def test_verify__rsa_card_as_of_today__is_good(verify, make_card):
    card = make_card(key=rsa.generate_private_key(65537, 2048))
    assert isinstance(verify(card.read_cert()), Verified)


@pytest.mark.parametrize(
    ("offset", "code"),
    [
        (timedelta(seconds=-1), "USER_AUTH_CERT_NOT_YET_VALID"),
        (timedelta(0), None),
    ],
)
def test_verify__at_the_start_of_the_period__counts_the_second(
    verify, make_card, moving_clock, code_of, offset, code
):
    starts_at = moving_clock()
    card = make_card(period=Period(starts_at, starts_at + timedelta(days=1)))
    assert code_of(verify(card.read_cert(), at=starts_at + offset)) == code


@pytest.mark.parametrize(
    ("offset", "code"),
    [(timedelta(0), None), (timedelta(seconds=1), "USER_AUTH_CERT_EXPIRED")],
)
def test_verify__at_the_end_of_the_last_day_in_japan__counts_the_second(
    verify, make_card, moving_clock, code_of, offset, code
):
    last_second = moving_clock().replace(hour=23, minute=59, second=59)
    card = make_card(period=Period(last_second - timedelta(days=5), last_second))
    # The responder must not be the reason: its answers are of the asked moment.
    moving_clock.at = last_second + offset
    assert code_of(verify(card.read_cert())) == code


@pytest.mark.requirement("R-047")
def test_verify__revoked_suspended_resumed__follows_at_once(
    verify, make_card, serials, shared_authority, moving_clock, code_of
):
    serial_number = serials()
    cert = make_card(serial_number=serial_number).read_cert()
    shared_authority.set_state(serial_number, State.SUSPENDED, moving_clock())
    assert code_of(verify(cert)) == "USER_AUTH_CERT_SUSPENDED"
    shared_authority.set_state(serial_number, State.GOOD, moving_clock())
    assert isinstance(verify(cert), Verified)
    shared_authority.set_state(serial_number, State.REVOKED, moving_clock())
    assert code_of(verify(cert)) == "USER_AUTH_CERT_REVOKED"


@pytest.mark.requirement("R-045")
def test_verify__signature_purpose_certificate__has_its_own_code(verify, make_card, code_of):
    cert = make_card(purpose=Purpose.SIGNATURE).read_cert()
    assert code_of(verify(cert)) == "USER_AUTH_CERT_SIGNATURE_PURPOSE"


@pytest.mark.requirement("R-045")
def test_verify__other_authority_with_the_same_name__is_foreign_or_broken(
    verify, make_card, moving_clock, tmp_path, code_of
):
    impostor = Authority(tmp_path / "impostor")
    impostor.initialise(moving_clock())
    cert = make_card(authority=impostor).read_cert()
    assert code_of(verify(cert)) in {"USER_AUTH_CERT_FOREIGN_ISSUER", "USER_AUTH_CERT_PATH_INVALID"}


@pytest.mark.requirement("R-045")
def test_verify__certificate_of_another_world__is_foreign(verify, world, code_of):
    cert = world.gateway("999997").cert_der()
    assert code_of(verify(cert)) == "USER_AUTH_CERT_FOREIGN_ISSUER"


@pytest.mark.requirement("R-045")
def test_verify__self_signed_certificate__is_foreign(verify, forge, code_of):
    assert code_of(verify(forge(self_signed=True))) == "USER_AUTH_CERT_FOREIGN_ISSUER"


def test_verify__no_roots_at_all__lets_nobody_in(verify, card, code_of):
    nobody = TrustRoots(())
    assert code_of(verify(card.read_cert(), trust_roots=nobody)) == "USER_AUTH_CERT_FOREIGN_ISSUER"


def test_verify__authority_past_its_own_end__is_a_broken_path(
    make_card, moving_clock, tmp_path, code_of
):
    authority = Authority(tmp_path / "old")
    authority.initialise(moving_clock())
    roots = TrustRoots.from_pem(authority.trust_roots_path.read_bytes())
    period = Period(moving_clock(), moving_clock() + timedelta(days=8000))
    cert = make_card(authority=authority, period=period).read_cert()
    ask = OcspResponder(authority, now=moving_clock).answer
    moving_clock.at = authority.ca_cert().not_valid_after_utc
    assert isinstance(
        verify_user_auth(cert, trust_roots=roots, at=moving_clock(), ocsp=ask), Verified
    )
    moving_clock.forward(1)
    refusal = verify_user_auth(cert, trust_roots=roots, at=moving_clock(), ocsp=ask)
    assert code_of(refusal) == "USER_AUTH_CERT_PATH_INVALID"


@pytest.fixture
def forge(shared_authority, moving_clock, serials):
    """Make certificates the authority would never make, signed with its real key."""

    def make(
        *,
        policy=USER_AUTH_POLICY,
        policy_critical=True,
        usage=("digital_signature",),
        usage_critical=True,
        extra=(),
        key=None,
        self_signed=False,
        algorithm=None,
    ):
        key = key or ec.generate_private_key(ec.SECP256R1())
        ca_key = key if self_signed else shared_authority._ca_key(Purpose.USER_AUTH)
        serial_number = serials()
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
        issuer = subject if self_signed else simulated_ca_name()
        at = moving_clock()
        builder = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), serial_number)
            .not_valid_before(at - timedelta(days=1))
            .not_valid_after(at + timedelta(days=1))
        )
        if policy:
            information = x509.PolicyInformation(x509.ObjectIdentifier(policy), None)
            builder = builder.add_extension(
                x509.CertificatePolicies([information]), policy_critical
            )
        if usage:
            builder = builder.add_extension(key_usage(*usage), usage_critical)
        for extension, critical in extra:
            builder = builder.add_extension(extension, critical)
        shared_authority._record(serial_number, Purpose.USER_AUTH)
        return builder.sign(ca_key, algorithm or hashes.SHA256()).public_bytes(Encoding.DER)

    return make


def test_verify__well_formed_forgery_base__passes(verify, forge):
    assert isinstance(verify(forge()), Verified), "else the refusals below prove nothing"


@pytest.mark.requirement("R-045")
@pytest.mark.parametrize(
    "changes",
    [
        {"policy": None},
        {"policy": "2.999.392.8.5.9"},
        {"policy": "2.5.29.32.0"},
        {"policy_critical": False},
        {"usage": None},
        {"usage_critical": False},
        {"usage": ("digital_signature", "content_commitment")},
        {"usage": ("key_encipherment",)},
        {"usage": ("digital_signature", "key_cert_sign")},
        {"extra": ((x509.BasicConstraints(True, None), True),)},
        {"extra": ((x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CODE_SIGNING]), False),)},
    ],
)
def test_verify__made_for_something_else__is_wrong_purpose(verify, forge, code_of, changes):
    assert code_of(verify(forge(**changes))) == "USER_AUTH_CERT_WRONG_PURPOSE"


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP192R1())],
    ids=["rsa-1024", "p-192"],
)
def test_verify__weak_key__is_refused(verify, forge, code_of, key):
    assert code_of(verify(forge(key=key))) == "USER_AUTH_CERT_WEAK"


def test_verify__unknown_critical_extension__is_a_broken_path(verify, forge, code_of):
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.999.1"), b"\x05\x00")
    cert = forge(extra=((unknown, True),))
    assert code_of(verify(cert)) == "USER_AUTH_CERT_PATH_INVALID"


def test_verify__damaged_bytes__are_malformed_or_broken(verify, card, code_of):
    cert = card.read_cert()
    assert code_of(verify(b"")) == "USER_AUTH_CERT_MALFORMED"
    assert code_of(verify(b"\x30" * 9000)) == "USER_AUTH_CERT_MALFORMED"
    assert code_of(verify(cert + b"\x00")) == "USER_AUTH_CERT_MALFORMED"
    # The octet before the 256 of the signature counts unused bits and carries no content.
    places = set(range(0, len(cert), 7)) - {len(cert) - 257}
    for place in places:
        damaged = cert[:place] + bytes([cert[place] ^ 0x40]) + cert[place + 1 :]
        assert code_of(verify(damaged)) is not None, place


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (TimeoutError(), "USER_AUTH_CERT_OCSP_SLOW"),
        (ConnectionRefusedError(), "USER_AUTH_CERT_OCSP_UNREACHABLE"),
        (OcspRefused("status"), "USER_AUTH_CERT_OCSP_REFUSES"),
    ],
)
def test_verify__no_answer_about_revocation__is_never_a_pass(verify, card, code_of, fault, code):
    def ask(request):
        raise fault

    assert code_of(verify(card.read_cert(), ocsp=ask)) == code


def test_verify__card_the_issuer_never_issued__is_unknown(
    verify, make_card, moving_clock, shared_authority, code_of
):
    class Forgetful(Authority):
        def find(self, serial_number):
            return None

    responder = OcspResponder(Forgetful(shared_authority.directory), now=moving_clock)
    answer = verify(make_card().read_cert(), ocsp=responder.answer)
    assert code_of(answer) == "USER_AUTH_CERT_UNKNOWN_TO_ISSUER"


def test_challenge__signed_by_this_card_for_this_transaction__holds(card, make_card, code_of):
    cert = parse_user_auth_cert(card.read_cert())
    challenge = challenge_for("0" * 26, b"n" * 32)
    signature = card.sign(challenge, pin=PIN)
    check = check_challenge_signature
    assert check(cert, challenge=challenge, signature=signature) is None
    wrong = "USER_AUTH_CERT_SIGNATURE_WRONG"
    for other in (challenge_for("1" * 26, b"n" * 32), challenge_for("0" * 26, b"m" * 32)):
        assert code_of(check(cert, challenge=other, signature=signature)) == wrong
    for bad in (b"", b"\x00" * 64, signature[:-1], signature + b"\x00"):
        assert code_of(check(cert, challenge=challenge, signature=bad)) == wrong
    stranger = parse_user_auth_cert(make_card().read_cert())
    assert code_of(check(stranger, challenge=challenge, signature=signature)) == wrong


def test_parse__serials_of_every_length__are_hex_upper_without_leading_zero(forge, make_card):
    for serial_number in (0x1, 0xF, 0x10, 0xABCDEF, 0x80, int("F" * 20, 16), (1 << 159) - 1):
        cert = _with_serial(make_card, serial_number)
        assert parse_user_auth_cert(cert).serial_number == f"{serial_number:X}"


def _with_serial(make_card, serial_number):
    return make_card(serial_number=serial_number).read_cert()


def test_verified__is_compared_by_what_it_names(verify, card):
    first, second = verify(card.read_cert()), verify(card.read_cert())
    assert first == second
    assert first != replace(first, at=first.at + timedelta(seconds=1))
