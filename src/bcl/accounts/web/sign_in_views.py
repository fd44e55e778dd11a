"""Pages before a session is whole: sign-in, second factor, enrolment."""

from __future__ import annotations

import time

import segno
from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import ENDS_WORTH_TELLING, before_sign_in
from bcl.accounts.web import forms as pages
from bcl.accounts.web.cookie import drop_session, keep_token, token_of
from bcl.accounts.web.own_views import origin_of
from bcl_contract import clock
from bcl_contract.refusals import Refusal

_both = require_http_methods(["GET", "POST"])


def _show(
    request: HttpRequest,
    page: str,
    form: forms.Form | None,
    *,
    refusal: Refusal | None = None,
    **more: object,
) -> HttpResponse:
    status = refusal.text.http_status if refusal is not None else 200
    context = {"form": form, "refusal": refusal, **more}
    return render(request, f"accounts/{page}.html", context, status=status)


@before_sign_in
@_both
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Login name and password."""
    if request.method == "GET":
        ended = request.GET.get("ended", "")
        refusal = Refusal(ended) if ended in ENDS_WORTH_TELLING else None
        context = {"form": pages.SignInForm(), "refusal": refusal}
        return render(request, "accounts/sign_in.html", context)
    form = pages.SignInForm(request.POST)
    if not form.is_valid():
        return _show(request, "sign_in", form)
    given = form.cleaned_data
    begun = accounts.sign_in(
        request.terminal, given["login_name"], given["password"], at=clock.now()
    )
    if isinstance(begun, Refusal):
        return _show(request, "sign_in", form, refusal=begun)
    with_key = accounts.has_passkey(begun.principal, origin_of(request))
    following = "sign-in-passkey" if with_key else "sign-in-code"
    return keep_token(request, redirect(following), begun.token)


@before_sign_in
@_both
def code(request: HttpRequest) -> HttpResponseBase:
    """Six digits of the authenticator app."""
    if request.principal is None or request.principal.status != "ACTIVE":
        return redirect("sign-in")
    if request.method == "GET":
        return _show(request, "code", pages.CodeForm())
    form = pages.CodeForm(request.POST)
    if not form.is_valid():
        return _show(request, "code", form)
    whole = accounts.confirm_code(
        request.terminal,
        token_of(request),
        form.cleaned_data["code"],
        unix_time=time.time(),
        at=clock.now(),
    )
    if isinstance(whole, Refusal):
        return _show(request, "code", pages.CodeForm(), refusal=whole)
    return keep_token(request, redirect("home"), whole.token)


@before_sign_in
@_both
def enrol(request: HttpRequest) -> HttpResponseBase:
    """First visit: the code from the administrator."""
    if request.method == "GET":
        return _show(request, "enrol", pages.EnrolmentForm())
    form = pages.EnrolmentForm(request.POST)
    if not form.is_valid():
        return _show(request, "enrol", form)
    given = form.cleaned_data
    begun = accounts.begin_enrolment(
        request.terminal, given["login_name"], given["code"], at=clock.now()
    )
    if isinstance(begun, Refusal):
        return _show(request, "enrol", form, refusal=begun)
    return keep_token(request, redirect("enrol-password"), begun.token)


@before_sign_in
@_both
def enrol_password(request: HttpRequest) -> HttpResponseBase:
    """First visit: the own password."""
    if request.principal is None or request.principal.status != "INVITED":
        return redirect("enrol")
    if request.method == "GET":
        return _show(request, "enrol_password", pages.PasswordForm())
    form = pages.PasswordForm(request.POST)
    if not form.is_valid():
        return _show(request, "enrol_password", form)
    refusal = accounts.choose_password(
        request.principal, form.cleaned_data["password"], at=clock.now()
    )
    if refusal is not None:
        return _show(request, "enrol_password", form, refusal=refusal)
    return redirect("enrol-app")


@before_sign_in
@_both
def enrol_app(request: HttpRequest) -> HttpResponseBase:
    """First visit: the authenticator app. A wrong code shows the page with a new key."""
    if request.principal is None or request.principal.status != "INVITED":
        return redirect("enrol")
    if request.method == "GET":
        return _offer(request, None)
    form = pages.CodeForm(request.POST)
    if not form.is_valid():
        return _offer(request, None)
    begun = accounts.SignedIn(token_of(request), request.principal)
    whole = accounts.confirm_totp(
        request.terminal,
        begun,
        form.cleaned_data["code"],
        unix_time=time.time(),
        at=clock.now(),
    )
    if isinstance(whole, Refusal):
        return _offer(request, whole)
    return keep_token(request, redirect("home"), whole.token)


@before_sign_in
@require_http_methods(["POST"])
def sign_out(request: HttpRequest) -> HttpResponseBase:
    """End the session, whole or half."""
    if request.principal is not None:
        accounts.sign_out(request.principal, at=clock.now())
    return drop_session(request, redirect("sign-in"))


def _offer(request: HttpRequest, refusal: Refusal | None) -> HttpResponse:
    secret = accounts.offer_totp(request.principal)
    picture = segno.make(accounts.totp_uri(request.principal, secret), error="m")
    return _show(
        request,
        "enrol_app",
        pages.CodeForm(),
        refusal=refusal,
        secret=" ".join(secret[i : i + 4] for i in range(0, len(secret), 4)),
        qr=picture.svg_data_uri(scale=4, border=2),
    )
