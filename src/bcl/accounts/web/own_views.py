"""自分のサインイン: own password, passkeys and open sign-ins; passkeys at sign-in."""

from __future__ import annotations

import time
import uuid

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import before_sign_in, done, screen
from bcl.accounts.web import forms as pages
from bcl.accounts.web.cookie import keep_token, token_of
from bcl_contract import clock
from bcl_contract.refusals import Refusal


def origin_of(request: HttpRequest) -> str:
    """What the browser sees as this page's origin. A passkey remembers the one it was made at, so
    a name that somebody else put into the request fits no registered key."""
    return f"https://{request.get_host()}"


@before_sign_in
@require_http_methods(["GET", "POST"])
def sign_in_passkey(request: HttpRequest) -> HttpResponseBase:
    """Second factor with a passkey; the six digits stay possible."""
    if request.principal is None or request.principal.status != "ACTIVE":
        return redirect("sign-in")
    if request.method == "GET":
        return _question(request)
    whole = accounts.confirm_passkey(
        request.terminal,
        token_of(request),
        request.POST.get("answer", ""),
        origin=origin_of(request),
        at=clock.now(),
    )
    if isinstance(whole, Refusal):
        return _question(request, whole)
    return keep_token(request, redirect("home"), whole.token)


def _question(request: HttpRequest, refusal: Refusal | None = None) -> HttpResponse:
    options = accounts.ask_passkey(
        request.terminal, token_of(request), origin=origin_of(request), at=clock.now()
    )
    if isinstance(options, Refusal):
        context = {"form": pages.CodeForm(), "refusal": refusal or options}
        return render(request, "accounts/code.html", context, status=401)
    context = {"options": options, "refusal": refusal}
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "accounts/sign_in_passkey.html", context, status=status)


@screen("home.view")
@require_http_methods(["GET"])
def own(request: HttpRequest) -> HttpResponseBase:
    """The person's passkeys and open sign-ins."""
    return _own(request)


def _own(request: HttpRequest, refusal: Refusal | None = None) -> HttpResponse:
    principal = request.principal
    context = {
        "passkeys": accounts.list_passkeys(principal),
        "sessions": accounts.list_sessions(principal, principal.login_name, at=clock.now()),
        "form": pages.FreshCodeForm(),
        "refusal": refusal,
    }
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "accounts/own.html", context, status=status)


@screen("home.view")
@require_http_methods(["POST"])
def passkey_new(request: HttpRequest) -> HttpResponseBase:
    """With a fresh code: the page on which the device makes the key."""
    form = pages.FreshCodeForm(request.POST)
    if not form.is_valid():
        return _own(request, Refusal("CONSOLE_NOT_CONFIRMED"))
    options = accounts.offer_passkey(
        request.principal,
        form.cleaned_data["code"],
        origin=origin_of(request),
        unix_time=time.time(),
        at=clock.now(),
    )
    if isinstance(options, Refusal):
        return _own(request, options)
    context = {"options": options, "form": pages.PasskeyForm()}
    return render(request, "accounts/passkey_new.html", context)


@screen("home.view")
@require_http_methods(["POST"])
def passkey_keep(request: HttpRequest) -> HttpResponseBase:
    """The key that the device made."""
    form = pages.PasskeyForm(request.POST)
    if not form.is_valid():
        return _own(request, Refusal("PASSKEY_WRONG"))
    refusal = accounts.keep_passkey(
        request.principal,
        form.cleaned_data["answer"],
        label=form.cleaned_data["label"],
        origin=origin_of(request),
        at=clock.now(),
    )
    return _own(request, refusal) if refusal is not None else done("own", "passkey-added")


@screen("home.view")
@require_http_methods(["GET", "POST"])
def passkey_remove(request: HttpRequest, passkey_id: uuid.UUID) -> HttpResponseBase:
    """Remove an own key, with a fresh code."""
    found = [one for one in accounts.list_passkeys(request.principal) if one.id == passkey_id]
    if not found:
        raise Http404
    form = pages.FreshCodeForm(request.POST or None)
    refusal = None
    if request.method == "POST" and form.is_valid():
        refusal = accounts.remove_passkey(
            request.principal,
            passkey_id,
            form.cleaned_data["code"],
            unix_time=time.time(),
            at=clock.now(),
        )
        if refusal is None:
            return done("own", "passkey-removed")
    status = 200 if refusal is None else refusal.text.http_status
    context = {"passkey": found[0], "form": form, "refusal": refusal}
    return render(request, "accounts/passkey_remove.html", context, status=status)


@screen("home.view")
@require_http_methods(["GET", "POST"])
def password(request: HttpRequest) -> HttpResponseBase:
    """Change the own password, with the old one and a fresh code."""
    form = pages.OwnPasswordForm(request.POST or None)
    if request.method == "GET" or not form.is_valid():
        status = 422 if form.is_bound else 200
        return render(request, "accounts/own_password.html", {"form": form}, status=status)
    given = form.cleaned_data
    refusal = accounts.change_password(
        request.principal,
        given["current"],
        given["password"],
        given["code"],
        unix_time=time.time(),
        at=clock.now(),
    )
    if refusal is None:
        return done("own", "password-changed")
    context = {"form": form, "refusal": refusal}
    status = refusal.text.http_status
    return render(request, "accounts/own_password.html", context, status=status)


@screen("home.view")
@require_http_methods(["POST"])
def end_others(request: HttpRequest) -> HttpResponseBase:
    """End the person's other sign-ins."""
    accounts.end_sessions(request.principal, request.principal.login_name, at=clock.now())
    return done("own", "sessions-ended")
