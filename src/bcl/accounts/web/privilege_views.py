"""特権: asking for rights for a time, agreeing as the second person, ending them (S4)."""

from __future__ import annotations

import time
import uuid

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import done, screen
from bcl.accounts.web import forms as pages
from bcl_contract import clock
from bcl_contract.refusals import Refusal

STATES = {
    "ASKED": ("承認待ち", "warn"),
    "RUNNING": ("使用中", "bad"),
    "REFUSED": ("却下", "plain"),
    "LAPSED": ("承認がなく無効", "plain"),
    "ENDED": ("終了", "plain"),
}


def _described(one: accounts.PrivilegeRequest) -> dict[str, object]:
    state, kind = STATES[one.state]
    is_open = one.state in ("ASKED", "RUNNING")
    return {"it": one, "state": state, "kind": kind, "is_open": is_open}


@screen("privileges.view")
@require_http_methods(["GET"])
def listing(request: HttpRequest) -> HttpResponseBase:
    """What was asked for, agreed to and used."""
    return _listing(request, pages.PrivilegeForm())


def _listing(
    request: HttpRequest, form: pages.PrivilegeForm, refusal: Refusal | None = None
) -> HttpResponse:
    principal = request.principal
    found = accounts.list_privileges(principal.municipality_code, at=clock.now())
    context = {
        "rows": [_described(one) for one in found],
        "may_use": "privileges.use" in principal.permissions,
        "form": form,
        "refusal": refusal,
    }
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "accounts/privileges.html", context, status=status)


@screen("privileges.use")
@require_http_methods(["GET", "POST"])
def ask(request: HttpRequest) -> HttpResponseBase:
    """Ask for privileges."""
    form = pages.PrivilegeForm(request.POST or None)
    if request.method == "GET" or not form.is_valid():
        wrong = None if request.method == "GET" else Refusal("PRIVILEGE_REQUEST_WRONG")
        return _listing(request, form, wrong)
    made = accounts.ask_privilege(
        request.principal,
        ticket=form.cleaned_data["ticket"],
        reason=form.cleaned_data["reason"],
        minutes=form.cleaned_data["minutes"],
        at=clock.now(),
    )
    if isinstance(made, Refusal):
        return _listing(request, form, made)
    return done("privilege", "privilege-asked", request_id=made.id)


@screen("privileges.view")
@require_http_methods(["GET"])
def detail(request: HttpRequest, request_id: uuid.UUID) -> HttpResponseBase:
    """One request with what may be done about it."""
    return _detail(request, request_id)


def _detail(
    request: HttpRequest, request_id: uuid.UUID, refusal: Refusal | None = None
) -> HttpResponse:
    principal = request.principal
    found = accounts.list_privileges(principal.municipality_code, at=clock.now())
    chosen = [one for one in found if one.id == request_id]
    if not chosen:
        raise Http404
    is_own = chosen[0].login_name == principal.login_name
    may_approve = "privileges.approve" in principal.permissions
    context = {
        **_described(chosen[0]),
        "is_own": is_own,
        "may_decide": chosen[0].state == "ASKED" and not is_own and may_approve,
        "may_end": chosen[0].state == "RUNNING" and (is_own or may_approve),
        "form": pages.FreshCodeForm(),
        "refusal": refusal,
    }
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "accounts/privilege.html", context, status=status)


@screen("privileges.approve")
@require_http_methods(["POST"])
def approve(request: HttpRequest, request_id: uuid.UUID) -> HttpResponseBase:
    """The second person agrees, with a fresh code."""
    form = pages.FreshCodeForm(request.POST)
    if not form.is_valid():
        return _detail(request, request_id, Refusal("CONSOLE_NOT_CONFIRMED"))
    made = accounts.approve_privilege(
        request.principal,
        request_id,
        form.cleaned_data["code"],
        unix_time=time.time(),
        at=clock.now(),
    )
    if isinstance(made, Refusal):
        return _detail(request, request_id, made)
    return done("privilege", "privilege-approved", request_id=request_id)


@screen("privileges.approve")
@require_http_methods(["POST"])
def refuse(request: HttpRequest, request_id: uuid.UUID) -> HttpResponseBase:
    """The second person says no."""
    refusal = accounts.refuse_privilege(request.principal, request_id, at=clock.now())
    if refusal is not None:
        return _detail(request, request_id, refusal)
    return done("privilege", "privilege-refused", request_id=request_id)


@screen("privileges.view")
@require_http_methods(["POST"])
def end(request: HttpRequest, request_id: uuid.UUID) -> HttpResponseBase:
    """End running privileges before their time."""
    refusal = accounts.end_privilege(request.principal, request_id, at=clock.now())
    if refusal is not None:
        return _detail(request, request_id, refusal)
    return done("privilege", "privilege-ended", request_id=request_id)
