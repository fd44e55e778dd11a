"""Speaking with BCL's wire door: outbound HTTPS, TLS 1.3, certificates on both sides.

Why not tuspy, which can upload too (tuspy 1.1.0, read in its source): its checksums are SHA-1
only, it can neither take a town's own list of authorities nor ask for TLS 1.3, it waits for an
answer without a time limit, opens a new connection for every chunk, and offers no moment to look
at the server's key before the first byte goes out. BCL's door speaks plain tus 1.0 all the same,
and tests send with tuspy to prove it.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import httpx
from cryptography import x509

from bcl_contract import clock
from bcl_contract.refusals import REFUSALS, Refusal
from bcl_gateway.config import GatewayConfig, fingerprint_of

MAXIMUM_CLOCK_SKEW = timedelta(seconds=60)
"""R-263 and the linkage specification: ±60 seconds."""

_MAXIMUM_ANSWER_BYTES = 32 << 20
_HANDSHAKE_EVENTS = frozenset({"connection.start_tls.complete"})


class LineBroken(Exception):
    """The line or the server failed for now; what was acknowledged stays, try again later."""


class ServerRefuses(Exception):
    """The server, or what we know of it, says no; trying again at once changes nothing."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


@dataclass(frozen=True)
class Answer:
    """One answer, read whole. Header names in `headers` are compared without case."""

    status: int
    headers: httpx.Headers
    content: bytes

    def json(self) -> Any:
        """The content as JSON; ValueError if it is none."""
        return json.loads(self.content)


class _UnknownServer(Exception):
    """Raised inside the handshake hook; the request is never written."""


def tls_context(config: GatewayConfig) -> ssl.SSLContext:
    """TLS 1.3 only, only the configured authorities, with our client certificate.

    Raises ServerRefuses(GATEWAY_KEY_UNUSABLE) if certificate or key can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    server = config.server
    try:
        context.load_verify_locations(cafile=server.ca_file)
        context.load_cert_chain(server.certificate_file, server.key_file)
    except (OSError, ssl.SSLError):
        raise ServerRefuses(Refusal("GATEWAY_KEY_UNUSABLE")) from None
    return context


class WireConnection:
    """One keep-alive connection to the wire door; use as a context manager.

    Every request says our environment and our clock, every answer BCL's: both ends refuse when
    they differ (R-040, R-263). Nothing of the register leaves before the first answer was judged.
    """

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        limits = httpx.Timeout(
            config.answer_timeout_seconds, connect=config.connect_timeout_seconds
        )
        # No proxies or .netrc of the environment: where data goes stands in the settings alone.
        self._client = httpx.Client(
            verify=tls_context(config), timeout=limits, trust_env=False, follow_redirects=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def url(self, path: str) -> str:
        """A path below the wire door, or what the server gave as Location."""
        if path.startswith("/"):
            return str(httpx.URL(self._config.server.url).copy_with(raw_path=path.encode()))
        return f"{self._config.server.url}/{path}"

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        """Send one request and read its answer whole (bounded).

        Raises LineBroken (nothing or something may have arrived) and ServerRefuses.
        """
        sent_at = clock.now()
        own = {
            "X-BCL-Sent-At": sent_at.isoformat(),
            "X-BCL-Environment": self._config.environment,
        }
        request = self._client.build_request(
            method, url, headers=own | dict(headers or {}), content=content,
            extensions=self._client_extensions(),
        )  # fmt: skip
        if not self._is_own(request.url):
            raise ServerRefuses(Refusal("GATEWAY_SERVER_ANSWER", {"reason": "location"}))
        try:
            answer = self._client.send(request, stream=True)
            try:
                body = _read_bounded(answer)
            finally:
                answer.close()
        except _UnknownServer:
            raise ServerRefuses(Refusal("GATEWAY_SERVER_UNKNOWN")) from None
        except httpx.HTTPError as fault:
            raise _classified(fault) from None
        whole = Answer(answer.status_code, answer.headers, body)
        refusal = judge_answer(whole, self._config, sent_at=sent_at, at=clock.now())
        if refusal is not None:
            raise ServerRefuses(refusal)
        return whole

    def _client_extensions(self) -> dict[str, Any]:
        timeout = self._client.timeout.as_dict()
        return {"trace": self._look_at_handshake, "timeout": timeout}

    def _is_own(self, url: httpx.URL) -> bool:
        own = httpx.URL(self._config.server.url)
        return (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port)

    def _look_at_handshake(self, event: str, info: Mapping[str, Any]) -> None:
        """Between handshake and first byte: is this the server of our environment (R-040)?"""
        if event not in _HANDSHAKE_EVENTS:
            return
        stream = info["return_value"]
        tls = stream.get_extra_info("ssl_object")
        der = tls.getpeercert(True) if tls else None
        known = (
            der is not None
            and fingerprint_of(x509.load_der_x509_certificate(der))
            in self._config.server.public_keys
        )
        if not known:
            stream.close()
            raise _UnknownServer


def judge_answer(
    answer: Answer, config: GatewayConfig, *, sent_at: datetime, at: datetime
) -> Refusal | None:
    """Is the answer of our environment, and does BCL's clock agree with ours?

    BCL's time must lie between asking and answering, with `MAXIMUM_CLOCK_SKEW` on either side.
    The TLS connection authenticates both headers. What the server's own software answers before
    BCL's program (an error) carries neither.
    """
    environment = answer.headers.get("X-BCL-Environment")
    said_time = answer.headers.get("X-BCL-Time")
    if environment is None or said_time is None:
        if answer.status >= 400:
            return None
        return Refusal("GATEWAY_SERVER_ANSWER", {"header": "X-BCL-Environment"})
    if environment != config.environment:
        return Refusal("GATEWAY_SERVER_ENVIRONMENT", {"own": config.environment})
    try:
        theirs = datetime.fromisoformat(said_time)
        ahead = _seconds_ahead(theirs, sent_at=sent_at, at=at)
    except (ValueError, TypeError):
        return Refusal("GATEWAY_SERVER_ANSWER", {"header": "X-BCL-Time"})
    if abs(ahead) > MAXIMUM_CLOCK_SKEW.total_seconds():
        return Refusal("GATEWAY_CLOCK_SKEW", {"seconds": round(ahead)})
    return None


def _seconds_ahead(theirs: datetime, *, sent_at: datetime, at: datetime) -> float:
    """How far our clock is ahead of theirs for certain; negative when it is behind."""
    if theirs < sent_at:
        return (sent_at - theirs).total_seconds()
    return min(0.0, (at - theirs).total_seconds())


def refusal_in(answer: Answer) -> Refusal:
    """The refusal an answer carries; GATEWAY_SERVER_ANSWER if it carries none we know."""
    try:
        content = answer.json()
        code, detail = content["code"], content.get("detail", {})
        fine = code in REFUSALS and isinstance(detail, dict)
    except (ValueError, KeyError, TypeError):
        fine = False
    if not fine:
        return Refusal("GATEWAY_SERVER_ANSWER", {"status": answer.status})
    plain = {str(k): v for k, v in detail.items() if isinstance(v, str | int)}
    if code == "LINKAGE_GATEWAY_NOT_REGISTERED":
        return Refusal("GATEWAY_CERTIFICATE_REFUSED")
    return Refusal(code, plain)


def _read_bounded(answer: httpx.Response) -> bytes:
    parts, size = [], 0
    for part in answer.iter_bytes():
        size += len(part)
        if size > _MAXIMUM_ANSWER_BYTES:
            raise httpx.DecodingError("the answer is too long", request=answer.request)
        parts.append(part)
    return b"".join(parts)


def _classified(fault: httpx.HTTPError) -> Exception:
    """A failed handshake about certificates is a no; everything else is a broken line."""
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ServerRefuses(Refusal("GATEWAY_SERVER_UNKNOWN"))
        cause = cause.__cause__ or cause.__context__
    text = str(fault).lower()
    if "alert" in text and "certificate" in text:
        return ServerRefuses(Refusal("GATEWAY_CERTIFICATE_REFUSED"))
    return LineBroken(type(fault).__name__)
