"""What every request of the machine door passes: limits, numbers, the caller's certificate."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.http.response import HttpResponseBase

from bcl.foundation import log, metrics
from bcl_contract.refusals import Refusal

logger = log.get(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase]


def refuse(code: str) -> JsonResponse:
    """The JSON answer of a refusal with its HTTP status."""
    refusal = Refusal(code)
    return JsonResponse(
        refusal.as_json(),
        status=refusal.text.http_status,
        json_dumps_params={"ensure_ascii": False},
    )


class MachineHeaders:
    """What every answer of the machine door says, refusals too: keep nothing, guess nothing."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        if isinstance(response, HttpResponseNotAllowed):
            allowed = response["Allow"]
            response = refuse("WIRE_METHOD_NOT_ALLOWED")
            response["Allow"] = allowed
        response["Cache-Control"] = "no-store"
        response["X-Content-Type-Options"] = "nosniff"
        response["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
        return response


# Uploads are streamed and bounded by their own door (tus): a piece may be as large as the file.
_STREAMED = "/wire/uploads/"


class RequestGuard:
    """Refuses bodies beyond BCL_WIRE_MAX_BODY_BYTES before reading them, counts and times.

    A body without a length (chunked) is refused too: nothing here could bound it.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.monotonic()
        response = self._too_large(request) or self._get_response(request)
        metrics.REQUEST_SECONDS.observe(time.monotonic() - started)
        metrics.REQUESTS.labels(request.method or "", str(response.status_code)).inc()
        if response.status_code >= 500:
            logger.error(
                "request_failed",
                method=request.method,
                status=response.status_code,
                path=request.resolver_match.route if request.resolver_match else "unknown",
            )
        return response

    def _too_large(self, request: HttpRequest) -> HttpResponse | None:
        if request.path.startswith(_STREAMED):
            return None
        if request.META.get("HTTP_TRANSFER_ENCODING"):
            return refuse("WIRE_LENGTH_REQUIRED")
        try:
            length = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            return refuse("WIRE_LENGTH_REQUIRED")
        if not 0 <= length <= settings.BCL.wire.max_body_bytes:
            return refuse("WIRE_BODY_TOO_LARGE")
        return None


class ClientCertificate:
    """Puts the caller's TLS certificate (DER bytes, or None) at `request.client_certificate_der`.

    It comes from the TLS socket itself, never from a header, so nobody can claim one. Whether it
    is registered, not revoked and for which municipality, each door asks `municipalities.api`.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not hasattr(request, "client_certificate_der"):
            socket = request.META.get("gunicorn.socket")
            read = getattr(socket, "getpeercert", None)
            request.client_certificate_der = read(True) if read else None  # type: ignore[attr-defined]
        return self._get_response(request)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    return refuse("WIRE_BAD_REQUEST")


def not_found(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    return refuse("WIRE_UNKNOWN_PLACE")


def server_fault(request: HttpRequest) -> JsonResponse:
    return refuse("WIRE_FAULT")
