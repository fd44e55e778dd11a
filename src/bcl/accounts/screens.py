"""Staff pages: who may call which. Every staff view carries one of these marks.

    @screen("linkage.view")
    def transmissions(request): ...          # request.principal is there and may

    @before_sign_in
    def sign_in(request): ...                # a registered terminal is enough

`bcl.console.middleware` puts `request.terminal` and `request.principal` (or None). A view without a
mark is a fault: a guard test walks all routes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse

from bcl_contract.refusals import Refusal

View = Callable[..., HttpResponseBase]
BEFORE_SIGN_IN = "before sign-in"
# Why a session ended, where knowing it helps the person; the rest only asks to sign in.
ENDS_WORTH_TELLING = ("SESSION_IDLE", "SESSION_TOO_OLD", "ACCOUNT_LOCKED", "ACCOUNT_EXPIRED")


def screen(permission: str) -> Callable[[View], View]:
    """Only for principals with both factors and this permission."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponseBase:
            principal = getattr(request, "principal", None)
            if principal is None or not principal.has_second_factor:
                return _send_to_sign_in(request)
            refusal = principal.why_not(permission)
            if refusal is not None:
                return refuse(request, refusal)
            return view(request, *arguments, **named)

        guarded.bcl_permission = permission  # type: ignore[attr-defined]
        return guarded

    return decorate


def before_sign_in(view: View) -> View:
    """For pages that a registered terminal shows before anybody has signed in."""
    view.bcl_permission = BEFORE_SIGN_IN  # type: ignore[attr-defined]
    return view


def refuse(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """A page of its own for an expected no, with the refusal's status and words."""
    return render(
        request, "look/refused.html", {"refusal": refusal}, status=refusal.text.http_status
    )


def done(
    where: str, code: str, *, query: Mapping[str, str] | None = None, **named: Any
) -> HttpResponse:
    """Redirect after an act; the page that follows says what was done (`console/frame.py`)."""
    return redirect(f"{reverse(where, kwargs=named)}?{urlencode({**(query or {}), 'done': code})}")


def _send_to_sign_in(request: HttpRequest) -> HttpResponse:
    ended = getattr(request, "session_refusal", None)
    told = ended is not None and ended.code in ENDS_WORTH_TELLING
    query = f"?{urlencode({'ended': ended.code})}" if told else ""
    return redirect(reverse("sign-in") + query)
