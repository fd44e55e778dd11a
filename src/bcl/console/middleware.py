"""What every request to the staff pages passes before a view sees it."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from bcl.accounts import api as accounts
from bcl.accounts.web.cookie import token_of
from bcl.foundation import log
from bcl_contract import clock
from bcl_contract.refusals import Refusal

GetResponse = Callable[[HttpRequest], HttpResponseBase]

logger = log.get(__name__)

# Nothing from outside, nothing inline; pictures may be data (QR codes, charts without a file).
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "Strict-Transport-Security": "max-age=31536000",
}


class SecurityHeaders:
    """The same headers on every answer; pages are never kept by a browser or a proxy."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        for name, value in _HEADERS.items():
            response[name] = value
        if response.status_code != 200 or not request.path.startswith("/static/"):
            response["Cache-Control"] = "no-store"
        return response


class RegisteredTerminal:
    """Only registered terminals get anything at all (R-061): `request.terminal`."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        certificate = getattr(request, "client_certificate_der", None)
        terminal = (
            accounts.find_terminal_by_cert(certificate, at=clock.now()) if certificate else None
        )
        if terminal is None:
            logger.warning("unknown_terminal", path=request.path_info[:64])
            context = {"refusal": Refusal("TERMINAL_UNKNOWN")}
            return render(request, "look/refused.html", context, status=403)
        request.terminal = terminal  # type: ignore[attr-defined]
        return self._get_response(request)


class StaffSession:
    """Who sits there: `request.principal`, read anew with every request; None before sign-in."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.principal = None  # type: ignore[attr-defined]
        request.session_refusal = None  # type: ignore[attr-defined]
        token = token_of(request)
        if token:
            at = clock.now()
            found = accounts.find_session(request.terminal, token, at)  # type: ignore[attr-defined]
            if isinstance(found, Refusal):
                request.session_refusal = found  # type: ignore[attr-defined]
            else:
                request.principal = found  # type: ignore[attr-defined]
                accounts.keep_session(found, at=at)
        return self._get_response(request)
