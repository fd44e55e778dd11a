"""The OCSP responder of the simulated JPKI (RFC 6960) as a plain WSGI application.

Answers POST and GET, signs as a delegate of the authority, echoes the nonce, and reads the register
for every question: a revocation counts from the next question on, in every process. Beside it:
``/crl`` (the current list, DER) and ``/status`` (counts, JSON).
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp

from bcl_contract import clock
from bcl_sim.jpki.authority import Authority, PublicKey, State

REQUEST_BYTES = 4096
ANSWER_LIFETIME = timedelta(minutes=5)
NONCE_BYTES = range(1, 129)
_RESPONSE_TYPE = "application/ocsp-response"

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Environ = dict[str, Any]
HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - names a key in a certID, protects nothing
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


class OcspResponder:
    """A WSGI application over one authority's directory."""

    def __init__(self, authority: Authority, *, now: Callable[[], datetime] = clock.now) -> None:
        self._authority = authority
        self._now = now
        self._ca = authority.ca_cert()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one HTTP request."""
        status, content_type, content = self._route(environ)
        headers = [("Content-Type", content_type), ("Content-Length", str(len(content)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [content]

    def _route(self, environ: Environ) -> tuple[HTTPStatus, str, bytes]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/")
        if method == "GET" and path == "/crl":
            content = self._authority.crl(self._now()).public_bytes(serialization.Encoding.DER)
            return HTTPStatus.OK, "application/pkix-crl", content
        if method == "GET" and path == "/status":
            counts = json.dumps(self._authority.counts()).encode("ascii")
            return HTTPStatus.OK, "application/json", counts
        if method == "POST":
            request = _read_body(environ)
        elif method == "GET":
            request = _from_path(path)
        else:
            return HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b""
        return HTTPStatus.OK, _RESPONSE_TYPE, self.answer(request)

    def answer(self, request_der: bytes | None) -> bytes:
        """Answer one DER request with one DER response."""
        if request_der is None:
            return _unsuccessful(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        try:
            request = ocsp.load_der_ocsp_request(request_der)
            algorithm = HASHES.get(request.hash_algorithm.name)
            nonce = _nonce_of(request)
        except (ValueError, TypeError, NotImplementedError, UnsupportedAlgorithm):
            return _unsuccessful(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        except x509.DuplicateExtension:
            return _unsuccessful(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        if algorithm is None or not self._is_ours(request, algorithm):
            return _unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
        return self._sign(request, algorithm, nonce)

    def _is_ours(self, request: ocsp.OCSPRequest, algorithm: hashes.HashAlgorithm) -> bool:
        name = _digest(self._ca.subject.public_bytes(), algorithm)
        public_key = self._ca.public_key()
        if not isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise TypeError("authority key")
        key = _digest(_key_bits(public_key), algorithm)
        return (request.issuer_name_hash, request.issuer_key_hash) == (name, key)

    def _sign(
        self, request: ocsp.OCSPRequest, algorithm: hashes.HashAlgorithm, nonce: bytes | None
    ) -> bytes:
        now = self._now()
        entry = self._authority.find(request.serial_number)
        revoked_at, reason = None, None
        if entry is None:
            status = ocsp.OCSPCertStatus.UNKNOWN
        elif entry.state is State.GOOD:
            status = ocsp.OCSPCertStatus.GOOD
        else:
            status = ocsp.OCSPCertStatus.REVOKED
            revoked_at, reason = entry.changed_at, x509.ReasonFlags(entry.reason)
        signer, key = self._authority.ocsp_signer(now)
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response_by_hash(
                request.issuer_name_hash,
                request.issuer_key_hash,
                request.serial_number,
                algorithm,
                status,
                now,
                now + ANSWER_LIFETIME,
                revoked_at,
                None if reason is x509.ReasonFlags.unspecified else reason,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, signer)
            .certificates([signer])
        )
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _read_body(environ: Environ) -> bytes | None:
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return None
    if environ.get("CONTENT_TYPE") != "application/ocsp-request":
        return None
    if not 0 < length <= REQUEST_BYTES:
        return None
    body: bytes = environ["wsgi.input"].read(length)
    return body


def _from_path(path: str) -> bytes | None:
    """Read the GET form: the base64 of the request is the path (RFC 6960 A.1)."""
    text = unquote(path.removeprefix("/ocsp").removeprefix("/"))
    if not 0 < len(text) <= REQUEST_BYTES:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _nonce_of(request: ocsp.OCSPRequest) -> bytes | None:
    for extension in request.extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            if len(extension.value.nonce) not in NONCE_BYTES:
                raise ValueError("nonce length")
            return extension.value.nonce
        if extension.critical:
            raise ValueError("unknown critical extension")
    return None


def _unsuccessful(status: ocsp.OCSPResponseStatus) -> bytes:
    response = ocsp.OCSPResponseBuilder.build_unsuccessful(status)
    return response.public_bytes(serialization.Encoding.DER)


def _digest(content: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(content)
    return digest.finalize()


def _key_bits(public: PublicKey) -> bytes:
    if isinstance(public, rsa.RSAPublicKey):
        return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    return public.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
