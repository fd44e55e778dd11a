"""OCSP: the responder under the openssl command, and the answers a verifier must not believe."""

import json
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bcl_contract import clock
from bcl_contract.ocsp import HttpOcsp, OcspRefused, OcspRules, check_answer, check_revocation
from bcl_sim.jpki.authority import Authority, Period, Purpose, State
from bcl_sim.jpki.card import issue_card
from bcl_sim.jpki.ocsp_responder import OcspResponder
from bcl_sim.pki import key_usage

pytestmark = pytest.mark.requirement("R-046")
NONCE = b"0123456789abcdef"


@pytest.fixture
def leaf(card):
    return x509.load_der_x509_certificate(card.read_cert())


@pytest.fixture
def issuer(shared_authority):
    return shared_authority.ca_cert()


@pytest.fixture
def signer(shared_authority, moving_clock):
    return shared_authority.ocsp_signer(moving_clock())


@pytest.fixture
def judge(leaf, issuer, moving_clock, code_of):
    def run(answer, **changes):
        values = {"cert": leaf, "issuer": issuer, "at": moving_clock(), "nonce": NONCE} | changes
        return code_of(check_answer(answer, **values))

    return run


@pytest.fixture
def build(leaf, issuer, signer, moving_clock):
    """Build an answer by hand; the defaults make one that is believed."""

    def make(
        *,
        cert=None,
        about_issuer=None,
        this_update=timedelta(0),
        next_update=timedelta(minutes=5),
        nonce=NONCE,
        signed_by=None,
        shown=None,
        encoding=ocsp.OCSPResponderEncoding.HASH,
        status=ocsp.OCSPCertStatus.GOOD,
        revoked_at=None,
        reason=None,
        algorithm=None,
    ):
        cert_signer, key = signed_by or signer
        now = moving_clock()
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert or leaf,
                about_issuer or issuer,
                algorithm or hashes.SHA256(),
                status,
                now + this_update,
                None if next_update is None else now + next_update,
                revoked_at,
                reason,
            )
            .responder_id(encoding, cert_signer)
        )
        certs = [cert_signer] if shown is None else shown
        builder = builder.certificates(certs) if certs else builder
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), False)
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)

    return make


def test_answer__well_made__is_believed(judge, build):
    assert judge(build()) is None
    assert judge(build(algorithm=hashes.SHA1())) is None
    assert judge(build(next_update=timedelta(0))) is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"nonce": None}, "USER_AUTH_CERT_OCSP_NONCE"),
        ({"nonce": b"another nonce 16"}, "USER_AUTH_CERT_OCSP_NONCE"),
        ({"this_update": timedelta(seconds=61)}, "USER_AUTH_CERT_OCSP_FROM_FUTURE"),
        (
            {"this_update": timedelta(minutes=-9), "next_update": timedelta(seconds=-1)},
            "USER_AUTH_CERT_OCSP_STALE",
        ),
        ({"next_update": None}, "USER_AUTH_CERT_OCSP_STALE"),
        (
            {"this_update": timedelta(minutes=-61), "next_update": timedelta(days=9)},
            "USER_AUTH_CERT_OCSP_STALE",
        ),
        ({"status": ocsp.OCSPCertStatus.UNKNOWN}, "USER_AUTH_CERT_UNKNOWN_TO_ISSUER"),
        ({"shown": []}, "USER_AUTH_CERT_OCSP_WRONG_RESPONDER"),
    ],
)
def test_answer__not_for_now_or_not_good__has_its_own_code(judge, build, changes, code):
    assert judge(build(**changes)) == code


def test_answer__about_another_certificate__is_refused(judge, build, make_card):
    other = x509.load_der_x509_certificate(make_card().read_cert())
    assert judge(build(cert=other)) == "USER_AUTH_CERT_OCSP_OTHER_CERT"


def test_answer__about_the_same_serial_of_another_issuer__is_refused(
    judge, build, tmp_path, moving_clock
):
    stranger = Authority(tmp_path / "stranger")
    stranger.initialise(moving_clock())
    answer = build(about_issuer=stranger.ca_cert())
    assert judge(answer) == "USER_AUTH_CERT_OCSP_OTHER_CERT"


def test_answer__revoked_and_suspended__are_told_apart(judge, build, moving_clock):
    values = {"status": ocsp.OCSPCertStatus.REVOKED, "revoked_at": moving_clock()}
    assert judge(build(**values)) == "USER_AUTH_CERT_REVOKED"
    held = build(**values, reason=x509.ReasonFlags.certificate_hold)
    assert judge(held) == "USER_AUTH_CERT_SUSPENDED"


@pytest.mark.parametrize("status", list(ocsp.OCSPResponseStatus)[1:])
def test_answer__responder_declines__is_refused(judge, status):
    answer = ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
    assert judge(answer) == "USER_AUTH_CERT_OCSP_REFUSES"


@pytest.mark.parametrize("answer", [b"", b"\x00", b"<html>", b"\x30\x80", b"\x30\x03\x0a\x01\x09"])
def test_answer__rubbish__is_malformed(judge, answer):
    assert judge(answer) == "USER_AUTH_CERT_OCSP_MALFORMED"


def test_answer__every_flipped_byte__is_never_believed(judge, build):
    answer = build()
    believed = [
        place
        for place in range(len(answer))
        if judge(answer[:place] + bytes([answer[place] ^ 1]) + answer[place + 1 :]) is None
    ]
    # Two octets say how many bits of a signature's last octet are unused; they carry no content.
    assert len(believed) <= 2
    assert all(answer[place] == 0 for place in believed)


def _delegate(authority, at, *, usages, period=None, key=None, ca_key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    starts, ends = period or (at - timedelta(days=1), at + timedelta(days=1))
    builder = authority._builder(Purpose.USER_AUTH, x509.Name([]), key.public_key()).serial_number(
        7
    )
    builder = builder.not_valid_before(starts).not_valid_after(ends)
    builder = builder.add_extension(key_usage("digital_signature"), True)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
    cert = builder.sign(ca_key or authority._ca_key(Purpose.USER_AUTH), hashes.SHA256())
    return cert, key


OCSP_SIGNING = x509.ExtendedKeyUsageOID.OCSP_SIGNING


def test_answer__delegate_without_the_right__is_refused(
    judge, build, shared_authority, moving_clock, card
):
    at = moving_clock()
    wrong = "USER_AUTH_CERT_OCSP_WRONG_RESPONDER"
    good = _delegate(shared_authority, at, usages=[OCSP_SIGNING])
    assert judge(build(signed_by=good)) is None
    no_usage = _delegate(shared_authority, at, usages=None)
    other_usage = _delegate(shared_authority, at, usages=[x509.ExtendedKeyUsageOID.CLIENT_AUTH])
    expired = _delegate(
        shared_authority, at, usages=[OCSP_SIGNING],
        period=(at - timedelta(days=2), at - timedelta(seconds=1)),
    )  # fmt: skip
    forged = _delegate(
        shared_authority, at, usages=[OCSP_SIGNING],
        ca_key=ec.generate_private_key(ec.SECP256R1()),
    )  # fmt: skip
    for delegate in (no_usage, other_usage, expired, forged):
        assert judge(build(signed_by=delegate)) == wrong


def test_answer__signed_with_another_key_under_the_right_name__is_refused(
    judge, build, signer, shared_authority, moving_clock
):
    cert, _ = signer
    key = ec.generate_private_key(ec.SECP256R1())
    twin = x509.CertificateBuilder(cert.issuer, cert.subject, key.public_key(), 9)
    twin = twin.not_valid_before(cert.not_valid_before_utc)
    twin = twin.not_valid_after(cert.not_valid_after_utc).sign(key, hashes.SHA256())
    by_name = ocsp.OCSPResponderEncoding.NAME
    answer = build(signed_by=(twin, key), shown=[cert], encoding=by_name)
    assert judge(answer) == "USER_AUTH_CERT_OCSP_SIGNATURE_WRONG"
    assert judge(build(encoding=by_name)) is None


def test_answer__of_an_earlier_question__is_refused_by_its_nonce(
    leaf, issuer, responder, moving_clock, code_of
):
    recorded = []

    def record(request):
        recorded.append(responder.answer(request))
        return recorded[-1]

    assert check_revocation(leaf, issuer, at=moving_clock(), ask=record) is None
    replay = check_revocation(leaf, issuer, at=moving_clock(), ask=lambda _: recorded[0])
    assert code_of(replay) == "USER_AUTH_CERT_OCSP_NONCE"


def test_answer__without_nonce_check__still_needs_everything_else(judge, build):
    loose = OcspRules(freshness=None, next_update_required=False)
    assert judge(build(nonce=None), nonce=None) is None
    old = {"this_update": timedelta(days=-3), "next_update": None}
    assert judge(build(**old), rules=loose) is None
    assert judge(build(**old)) == "USER_AUTH_CERT_OCSP_STALE"


class _Server:
    """A server that answers each connection with the given behaviour."""

    def __init__(self, behave):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._behave = behave
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/"

    def _run(self):
        try:
            line, _ = self._socket.accept()
        except OSError:
            return
        with line:
            line.recv(65536)
            try:
                self._behave(line)
            except OSError:
                return

    def close(self):
        self._socket.close()


def _drip(line):
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n\r\n")
    for _ in range(100):
        line.sendall(b"\x30")
        time.sleep(0.05)


def _reply(head, body=b""):
    return lambda line: line.sendall(head + b"\r\n\r\n" + body)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response"


@pytest.mark.parametrize(
    ("behave", "fault"),
    [
        (lambda line: time.sleep(1), TimeoutError),
        (_drip, TimeoutError),
        (_reply(b"HTTP/1.1 500 No\r\nContent-Length: 0"), OcspRefused),
        (_reply(b"HTTP/1.1 302 Away\r\nLocation: http://127.0.0.1:1/"), OcspRefused),
        (_reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/html", b"<html>"), OcspRefused),
        (_reply(OK, b"\x30" * 70_000), OcspRefused),
        (_reply(b"rubbish"), OcspRefused),
        (lambda line: None, OSError),
    ],
    ids=["silent", "dripping", "500", "redirect", "html", "endless", "rubbish", "hang-up"],
)
def test_transport__responder_misbehaves__never_gives_an_answer_in_time(behave, fault):
    server = _Server(behave)
    started = time.monotonic()
    with pytest.raises((fault, OcspRefused)):
        HttpOcsp(server.url, timeout_seconds=0.4)(b"request")
    assert time.monotonic() - started < 0.9
    server.close()


def test_transport__nobody_listens__is_an_os_error():
    server = _Server(lambda line: None)
    server.close()
    with pytest.raises(OSError, match=r".*"):
        HttpOcsp(server.url, timeout_seconds=0.4)(b"request")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The responder as a program with a good, a revoked and a suspended card."""
    folder = tmp_path_factory.mktemp("running")
    authority = Authority(folder / "jpki")
    at = clock.now()
    authority.initialise(at)
    period = Period(at - timedelta(days=1), at + timedelta(days=9))
    for number, name in enumerate(("good", "revoked", "suspended"), start=0x9FAB12345678901234A1):
        key = ec.generate_private_key(ec.SECP256R1())
        card = issue_card(
            authority, folder / f"{name}.card", serial_number=number, pin="1234",
            period=period, key=key,
        )  # fmt: skip
        cert = x509.load_der_x509_certificate(card.read_cert())
        (folder / f"{name}.pem").write_bytes(cert.public_bytes(Encoding.PEM))
    authority.set_state(0x9FAB12345678901234A2, State.REVOKED, at, reason="keyCompromise")
    authority.set_state(0x9FAB12345678901234A3, State.SUSPENDED, at)
    program = subprocess.Popen(
        [sys.executable, "-m", "bcl_sim.jpki", "serve", "--state", str(folder / "jpki"),
         "--bind", "127.0.0.1:0", "--workers", "2"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    address = json.loads(program.stdout.readline())["listening"][0]
    yield folder, f"http://{address}"
    program.terminate()
    program.wait(20)
    program.stdout.close()


def _openssl(folder, url, *arguments):
    ca = folder / "jpki" / "user-auth-ca.pem"
    done = subprocess.run(
        ["openssl", "ocsp", "-issuer", ca, "-CAfile", ca, "-url", url, *arguments],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("good", ["good.pem: good"]),
        ("revoked", ["revoked.pem: revoked", "Reason: keyCompromise"]),
        ("suspended", ["suspended.pem: revoked", "Reason: certificateHold"]),
    ],
)
def test_responder__asked_by_openssl__answers_good_and_revoked(running, name, words):
    folder, url = running
    report = _openssl(folder, url + "/ocsp", "-cert", folder / f"{name}.pem")
    assert "Response verify OK" in report
    assert "nonce" not in report.lower(), "openssl complains when the nonce is missing"
    for word in words:
        assert word in report


def test_responder__asked_by_openssl_for_a_strange_serial__answers_unknown(running):
    folder, url = running
    report = _openssl(folder, url, "-sha256", "-serial", "0x1234")
    assert "Response verify OK" in report
    assert "0x1234: unknown" in report


def test_responder__asked_by_openssl_for_another_issuer__is_unauthorized(running, world):
    _, url = running
    other = world.center_ca.cert_path
    report = subprocess.run(
        ["openssl", "ocsp", "-issuer", other, "-cert", world.kiosk(1).cert_path, "-url", url],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert "unauthorized" in report.stdout + report.stderr


def test_responder__over_real_http__is_believed_by_our_own_client(running, code_of):
    folder, url = running
    ca = x509.load_pem_x509_certificate((folder / "jpki" / "user-auth-ca.pem").read_bytes())
    for name, code in (
        ("good", None),
        ("revoked", "USER_AUTH_CERT_REVOKED"),
        ("suspended", "USER_AUTH_CERT_SUSPENDED"),
    ):
        cert = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
        refusal = check_revocation(cert, ca, at=clock.now(), ask=HttpOcsp(url + "/ocsp", 5))
        assert code_of(refusal) == code


def test_crl__read_by_openssl__lists_the_two_and_verifies(running):
    folder, url = running
    (folder / "list.crl").write_bytes(httpx.get(url + "/crl", trust_env=False).content)
    report = subprocess.run(
        ["openssl", "crl", "-inform", "DER", "-in", folder / "list.crl", "-noout", "-text",
         "-CAfile", folder / "jpki" / "user-auth-ca.pem"],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert "verify OK" in report.stderr
    assert report.stdout.count("Serial Number:") == 2
    assert "Key Compromise" in report.stdout
    assert "Certificate Hold" in report.stdout


@pytest.mark.parametrize(
    "request_der",
    [None, b"", b"\x30", b"\x00" * 100, b"\x30\x82\xff\xff"],
)
def test_responder__rubbish_request__says_malformed(responder, request_der):
    answer = ocsp.load_der_ocsp_response(responder.answer(request_der))
    assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_responder__signer_about_to_end__is_replaced(shared_authority, moving_clock, tmp_path):
    authority = Authority(tmp_path / "own")
    authority.initialise(moving_clock())
    first, _ = authority.ocsp_signer(moving_clock())
    assert authority.ocsp_signer(moving_clock())[0] == first
    moving_clock.forward(89.5 * 86400)
    second, _ = authority.ocsp_signer(moving_clock())
    assert second != first
    assert OcspResponder(authority, now=moving_clock)
