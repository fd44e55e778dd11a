"""管理端末: registering (with privileges), revoking at once, when each was last used (R-061)."""

from __future__ import annotations

from datetime import datetime

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import done, screen
from bcl.accounts.web import forms as pages
from bcl.municipalities import api as municipalities
from bcl_contract import clock
from bcl_contract.refusals import Refusal

CLASSES = {"LGWAN": "LGWAN系", "INDIVIDUAL_NUMBER": "マイナンバー利用事務系"}


def _towns(principal: accounts.Principal) -> list[tuple[str, str]]:
    """The tenants whose terminals this person looks after: the own one; the agency, all."""
    own = principal.municipality_code
    if own != accounts.AGENCY_CODE:
        return []
    codes = municipalities.list_municipality_codes()
    named = [(code, municipalities.get_municipality(code).name_ja) for code in codes]
    return [(own, "機構"), *named]


def _owner(request: HttpRequest, given: str) -> str:
    """The tenant that a request names, when it may: everybody else's doesn't exist."""
    own: str = request.principal.municipality_code
    if given not in (own, *(code for code, _ in _towns(request.principal))):
        raise Http404
    return given


def _described(one: accounts.Terminal, at: datetime) -> dict[str, object]:
    if one.revoked_at is not None:
        state, kind = f"失効（{one.revoked_at.astimezone(clock.JST):%Y-%m-%d}）", "plain"
    elif one.valid_until_on is not None and at.date() > one.valid_until_on:
        state, kind = "期限切れ", "bad"
    elif not one.has_certificate:
        state, kind = "証明書待ち", "warn"
    else:
        state, kind = "有効", "good"
    return {"it": one, "state": state, "kind": kind, "class_ja": CLASSES[one.terminal_class]}


@screen("terminals.view")
@require_http_methods(["GET"])
def listing(request: HttpRequest) -> HttpResponseBase:
    """Registered terminals of the own tenant; the agency chooses whose."""
    principal, at = request.principal, clock.now()
    owner = _owner(request, request.GET.get("owner") or principal.municipality_code)
    context = {
        "rows": [_described(one, at) for one in accounts.list_terminals(owner)],
        "towns": _towns(principal),
        "owner": owner,
        "may_revoke": "terminals.revoke" in principal.permissions,
        "may_register": principal.may_by_role("terminals.register"),
    }
    return render(request, "accounts/terminals.html", context)


@screen("terminals.register")
@require_http_methods(["GET", "POST"])
def add(request: HttpRequest) -> HttpResponseBase:
    """Register a terminal for any tenant."""
    form = pages.TerminalForm(request.POST or None, towns=_towns(request.principal))
    if request.method == "GET":
        return _form(request, form)
    if not form.is_valid():
        return _form(request, form, Refusal("TERMINAL_INPUT_WRONG"))
    given = form.cleaned_data
    made = accounts.register_terminal(
        owner_code=given["owner"],
        terminal_id=given["terminal_id"],
        name_ja=given["name_ja"],
        place_ja=given["place_ja"],
        terminal_class=accounts.TerminalClass(given["terminal_class"]),
        valid_until_on=given["valid_until_on"],
        cert_pem=given["papers"].encode(),
        by=request.principal.actor,
        at=clock.now(),
    )
    if isinstance(made, Refusal):
        return _form(request, form, made)
    return done("terminals", "terminal-registered", query={"owner": made.owner_code})


def _form(
    request: HttpRequest, form: pages.TerminalForm, refusal: Refusal | None = None
) -> HttpResponse:
    status = 200 if refusal is None else refusal.text.http_status
    context = {"form": form, "refusal": refusal}
    return render(request, "accounts/terminal_new.html", context, status=status)


@screen("terminals.revoke")
@require_http_methods(["POST"])
def revoke(request: HttpRequest, owner: str, terminal_id: str) -> HttpResponseBase:
    """Revoke a lost terminal at once; nobody waits for anybody's consent."""
    if terminal_id not in {one.id for one in accounts.list_terminals(_owner(request, owner))}:
        raise Http404
    # A second click finds it revoked already, which is what was wanted.
    accounts.revoke_terminal(
        terminal_id, owner_code=owner, by=request.principal.actor, at=clock.now()
    )
    own = owner == request.principal.municipality_code
    return done("terminals", "terminal-revoked", query={} if own else {"owner": owner})
