"""Asking an issuer whether a certificate is still good, and trusting the answer only when it holds.

RFC 6960 over HTTP, with a nonce. Everything short of a signed, matching, current "good" is a
`Refusal` with a code of its own: no answer is never a pass (R-046, fail closed).
"""

import http.client
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from bcl_contract.refusals import Refusal

NONCE_BYTES = 32
ANSWER_BYTES = 64 << 10
FUTURE_TOLERANCE = timedelta(seconds=60)
FRESHNESS = timedelta(hours=1)

OcspTransport = Callable[[bytes], bytes]
"""Takes a DER request, gives the DER answer; raises TimeoutError, OSError or `OcspRefused`."""


class OcspRefused(Exception):
    """The responder's door answered, but with no OCSP answer behind it."""


@dataclass(frozen=True)
class OcspRules:
    """How strict to be. The defaults are the product's; tests with old vectors loosen them.

    `freshness` bounds the age of thisUpdate even when nextUpdate lies far ahead; None leaves it.
    """

    freshness: timedelta | None = FRESHNESS
    weak_hashes_allowed: bool = False
    next_update_required: bool = True


@dataclass(frozen=True)
class HttpOcsp:
    """The ordinary transport: POST to one configured address.

    The address comes from settings, never from the certificate: a card must not choose whom we ask.
    `timeout_seconds` bounds the whole exchange, also against an answer that drips.
    """

    url: str
    timeout_seconds: float = 2.0

    def __call__(self, request: bytes) -> bytes:
        """Send one request. Raises TimeoutError, OSError or OcspRefused."""
        ends = time.monotonic() + self.timeout_seconds
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname:
            raise OcspRefused("address")
        connection = http.client.HTTPConnection(
            parts.hostname, parts.port or 80, timeout=self.timeout_seconds
        )
        try:
            headers = {"Content-Type": "application/ocsp-request", "Connection": "close"}
            connection.request("POST", parts.path or "/", body=request, headers=headers)
            # The response takes the socket over on "close"; the deadline still needs it.
            line = connection.sock
            line.settimeout(_left(ends))
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise OcspRefused("status")
            if answer.headers.get_content_type() != "application/ocsp-response":
                raise OcspRefused("content type")
            return _read(answer, line, ends)
        except http.client.HTTPException as error:
            raise OcspRefused("http") from error
        finally:
            connection.close()


def _read(answer: http.client.HTTPResponse, line: socket.socket, ends: float) -> bytes:
    content = b""
    while True:
        line.settimeout(_left(ends))
        piece = answer.read1(8192)
        if not piece:
            return content
        content += piece
        if len(content) > ANSWER_BYTES:
            raise OcspRefused("size")


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def check_revocation(
    cert: x509.Certificate,
    issuer: x509.Certificate,
    *,
    at: datetime,
    ask: OcspTransport,
    rules: OcspRules | None = None,
) -> Refusal | None:
    """Ask whether `cert` is good now; None only for a trustworthy "good".

    Refuses with USER_AUTH_CERT_OCSP_UNREACHABLE, _SLOW, _REFUSES and all of `check_answer`.
    """
    nonce = secrets.token_bytes(NONCE_BYTES)
    request = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(cert, issuer, hashes.SHA256())
        .add_extension(x509.OCSPNonce(nonce), critical=False)
        .build()
    )
    try:
        answer = ask(request.public_bytes(serialization.Encoding.DER))
    except TimeoutError:
        return Refusal("USER_AUTH_CERT_OCSP_SLOW")
    except OcspRefused:
        return Refusal("USER_AUTH_CERT_OCSP_REFUSES")
    except OSError:
        return Refusal("USER_AUTH_CERT_OCSP_UNREACHABLE")
    return check_answer(answer, cert=cert, issuer=issuer, at=at, nonce=nonce, rules=rules)


def check_answer(
    answer: bytes,
    *,
    cert: x509.Certificate,
    issuer: x509.Certificate,
    at: datetime,
    nonce: bytes | None,
    rules: OcspRules | None = None,
) -> Refusal | None:
    """Judge one DER answer about `cert`; None only for a trustworthy "good".

    `nonce` None means none was sent (stapled or recorded answers).
    Refuses with USER_AUTH_CERT_ and OCSP_MALFORMED, OCSP_REFUSES, OCSP_OTHER_CERT,
    OCSP_WRONG_RESPONDER, OCSP_SIGNATURE_WRONG, OCSP_NONCE, OCSP_FROM_FUTURE, OCSP_STALE,
    REVOKED, SUSPENDED, UNKNOWN_TO_ISSUER.
    """
    rules = rules or OcspRules()
    try:
        response = ocsp.load_der_ocsp_response(answer)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise _Distrust("OCSP_REFUSES")
        _check_signature(response, issuer, at, rules)
        _check_extensions(response, nonce)
        matching = [single for single in response.responses if _is_about(single, cert, issuer)]
        if len(matching) != 1:
            raise _Distrust("OCSP_OTHER_CERT")
        _check_period(matching[0], at, rules)
        _check_status(matching[0])
    except _Distrust as distrust:
        return Refusal("USER_AUTH_CERT_" + distrust.reason)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return Refusal("USER_AUTH_CERT_OCSP_MALFORMED")
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion):
        return Refusal("USER_AUTH_CERT_OCSP_MALFORMED")
    return None


class _Distrust(Exception):
    """Why an answer is no "good"; carries the end of the refusal code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _check_signature(
    response: ocsp.OCSPResponse, issuer: x509.Certificate, at: datetime, rules: OcspRules
) -> None:
    signer = _find_signer(response, issuer, at, rules)
    if signer is None:
        raise _Distrust("OCSP_WRONG_RESPONDER")
    content, algorithm = response.tbs_response_bytes, response.signature_hash_algorithm
    if not _holds(signer, response.signature, content, algorithm, rules):
        raise _Distrust("OCSP_SIGNATURE_WRONG")


def _check_extensions(response: ocsp.OCSPResponse, nonce: bytes | None) -> None:
    extensions = list(response.extensions)
    if any(e.critical and not isinstance(e.value, x509.OCSPNonce) for e in extensions):
        raise _Distrust("OCSP_MALFORMED")
    if nonce is not None and not _has_nonce(extensions, nonce):
        raise _Distrust("OCSP_NONCE")


def _is_about(
    single: ocsp.OCSPSingleResponse, cert: x509.Certificate, issuer: x509.Certificate
) -> bool:
    """Compare the certID: serial, and the issuer's name and key under the answer's own hash."""
    if single.serial_number != cert.serial_number:
        return False
    algorithm = single.hash_algorithm
    return (
        _digest(issuer.subject.public_bytes(), algorithm) == single.issuer_name_hash
        and _digest(_key_bits(issuer), algorithm) == single.issuer_key_hash
    )


def _digest(content: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(content)
    return digest.finalize()


def _key_bits(cert: x509.Certificate) -> bytes:
    """Give the bytes of the public key as certIDs and responder ids hash them."""
    public = cert.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    if isinstance(public, ec.EllipticCurvePublicKey):
        return public.public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
    raise ValueError("key type")


def _find_signer(
    response: ocsp.OCSPResponse, issuer: x509.Certificate, at: datetime, rules: OcspRules
) -> x509.Certificate | None:
    """Find who signed: the issuer itself, or a delegate it certified for just this."""
    for candidate in (issuer, *response.certificates):
        if not _is_named(response, candidate):
            continue
        if candidate == issuer or _may_answer_for(candidate, issuer, at, rules):
            return candidate
    return None


def _is_named(response: ocsp.OCSPResponse, cert: x509.Certificate) -> bool:
    if response.responder_key_hash is not None:
        try:
            return _digest(_key_bits(cert), hashes.SHA1()) == response.responder_key_hash  # noqa: S303
        except ValueError:
            return False
    return cert.subject == response.responder_name


def _may_answer_for(
    delegate: x509.Certificate, issuer: x509.Certificate, at: datetime, rules: OcspRules
) -> bool:
    """Require direct issue, id-kp-OCSPSigning and a current period (RFC 6960 4.2.2.2)."""
    if delegate.issuer != issuer.subject:
        return False
    algorithm = delegate.signature_hash_algorithm
    if not _holds(issuer, delegate.signature, delegate.tbs_certificate_bytes, algorithm, rules):
        return False
    if not delegate.not_valid_before_utc <= at <= delegate.not_valid_after_utc:
        return False
    try:
        usage = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usage


def _holds(
    signer: x509.Certificate,
    signature: bytes,
    content: bytes,
    algorithm: hashes.HashAlgorithm | None,
    rules: OcspRules,
) -> bool:
    """Check a signature by a certificate's key; weak digests only where the rules allow them."""
    if algorithm is None or (algorithm.digest_size < 32 and not rules.weak_hashes_allowed):
        return False
    public = signer.public_key()
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, content, padding.PKCS1v15(), algorithm)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, content, ec.ECDSA(algorithm))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _has_nonce(extensions: Iterable[x509.Extension[x509.ExtensionType]], nonce: bytes) -> bool:
    return any(
        isinstance(extension.value, x509.OCSPNonce)
        and secrets.compare_digest(extension.value.nonce, nonce)
        for extension in extensions
    )


def _check_period(single: ocsp.OCSPSingleResponse, at: datetime, rules: OcspRules) -> None:
    this_update, next_update = single.this_update_utc, single.next_update_utc
    if this_update > at + FUTURE_TOLERANCE:
        raise _Distrust("OCSP_FROM_FUTURE")
    # An answer without nextUpdate promises nothing about how long it holds.
    if next_update is None and rules.next_update_required:
        raise _Distrust("OCSP_STALE")
    if next_update is not None and next_update < at:
        raise _Distrust("OCSP_STALE")
    if rules.freshness is not None and this_update < at - rules.freshness:
        raise _Distrust("OCSP_STALE")


def _check_status(single: ocsp.OCSPSingleResponse) -> None:
    if single.certificate_status is ocsp.OCSPCertStatus.GOOD:
        return
    if single.certificate_status is not ocsp.OCSPCertStatus.REVOKED:
        raise _Distrust("UNKNOWN_TO_ISSUER")
    held = single.revocation_reason is x509.ReasonFlags.certificate_hold
    raise _Distrust("SUSPENDED" if held else "REVOKED")
