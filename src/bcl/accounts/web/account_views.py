"""ユーザ管理画面: the tenant administers its own staff (R-060)."""

from __future__ import annotations

from collections.abc import Callable

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import done, screen
from bcl.accounts.web import forms as pages
from bcl_contract import clock
from bcl_contract.refusals import Refusal

STATES = {
    "INVITED": ("登録待ち", "warn"),
    "ACTIVE": ("有効", "good"),
    "LOCKED": ("停止中", "bad"),
    "CLOSED": ("廃止", "plain"),
}
REASONS = {
    "DORMANT": "90日以上サインインがないため、自動で止めました",
    "CODE_GUESSED": "確認コードの失敗が続いたため、自動で止めました",
    "BY_ADMINISTRATOR": "管理者が止めました",
    "RESET": "再登録を待っています",
    "CLOSED": "廃止しました",
}


def _described(account: accounts.Account) -> dict[str, object]:
    title, kind = STATES[account.status]
    return {
        "account": account,
        "state": title,
        "kind": kind,
        "reason": REASONS.get(account.status_reason, ""),
        "roles": [accounts.ROLE_NAMES_JA[role] for role in sorted(account.roles)],
    }


@screen("accounts.view")
@require_http_methods(["GET"])
def listing(request: HttpRequest) -> HttpResponseBase:
    """All accounts of the own tenant; `?state=` narrows them."""
    wanted = request.GET.get("state", "")
    found = accounts.list_accounts(request.principal.municipality_code)
    shown = [one for one in found if not wanted or one.status == wanted]
    at = clock.now()
    context = {
        "rows": [_described(one) for one in shown],
        "due": sum(accounts.is_review_due(one, at=at) for one in found),
        "states": [(code, title, code == wanted) for code, (title, _) in STATES.items()],
        "wanted": wanted,
        "may_manage": "accounts.manage" in request.principal.permissions,
    }
    return render(request, "accounts/accounts.html", context)


@screen("accounts.manage")
@require_http_methods(["GET", "POST"])
def add(request: HttpRequest) -> HttpResponseBase:
    """Create an account; the answer shows the one-time code, once."""
    code = request.principal.municipality_code
    form = pages.NewAccountForm(request.POST or None, municipality_code=code)
    if request.method == "GET" or not form.is_valid():
        return render(request, "accounts/account_new.html", {"form": form})
    given = form.cleaned_data
    made = accounts.create_account(
        request.principal,
        login_name=given["login_name"],
        name_ja=given["name_ja"],
        roles=[accounts.Role(role) for role in given["roles"]],
        valid_until_on=given["valid_until_on"],
        at=clock.now(),
    )
    if isinstance(made, Refusal):
        context = {"form": form, "refusal": made}
        return render(request, "accounts/account_new.html", context, status=made.text.http_status)
    return _invited(request, made)


@screen("accounts.view")
@require_http_methods(["GET"])
def detail(request: HttpRequest, login_name: str) -> HttpResponseBase:
    """One account with what may be done about it."""
    return _detail(request, login_name)


def _detail(request: HttpRequest, login_name: str, refusal: Refusal | None = None) -> HttpResponse:
    code = request.principal.municipality_code
    account = accounts.find_account(code, login_name)
    if account is None:
        raise Http404
    form = pages.RolesForm(
        initial={"roles": [role.value for role in account.roles]}, municipality_code=code
    )
    context = {
        **_described(account),
        "form": form,
        "validity": pages.ValidityForm(initial={"valid_until_on": account.valid_until_on}),
        "sessions": accounts.list_sessions(request.principal, login_name, at=clock.now()),
        "refusal": refusal,
        "is_own": login_name == request.principal.login_name,
        "may_manage": "accounts.manage" in request.principal.permissions,
    }
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "accounts/account.html", context, status=status)


def _act(
    request: HttpRequest, login_name: str, code: str, act: Callable[[], Refusal | None]
) -> HttpResponseBase:
    refusal = act()
    if refusal is not None and refusal.code == "ACCOUNT_UNKNOWN":
        raise Http404
    if refusal is not None:
        return _detail(request, login_name, refusal)
    return done("account", code, login_name=login_name)


@screen("accounts.manage")
@require_http_methods(["POST"])
def lock(request: HttpRequest, login_name: str) -> HttpResponseBase:
    """Stop an account."""
    return _act(
        request,
        login_name,
        "account-locked",
        lambda: accounts.lock_account(
            request.principal,
            login_name,
            reason="BY_ADMINISTRATOR",
            at=clock.now(),
            seen=_seen(request),
        ),
    )


@screen("accounts.manage")
@require_http_methods(["POST"])
def unlock(request: HttpRequest, login_name: str) -> HttpResponseBase:
    """Let a stopped account in again."""
    return _act(
        request,
        login_name,
        "account-unlocked",
        lambda: accounts.unlock_account(
            request.principal, login_name, at=clock.now(), seen=_seen(request)
        ),
    )


@screen("accounts.manage")
@require_http_methods(["POST"])
def review(request: HttpRequest, login_name: str) -> HttpResponseBase:
    """Periodic review: still needed as it is."""
    return _act(
        request,
        login_name,
        "account-reviewed",
        lambda: accounts.review_account(
            request.principal, login_name, at=clock.now(), seen=_seen(request)
        ),
    )


@screen("accounts.manage")
@require_http_methods(["POST"])
def close(request: HttpRequest, login_name: str) -> HttpResponseBase:
    """End an account for good."""
    refusal = accounts.close_account(
        request.principal, login_name, at=clock.now(), seen=_seen(request)
    )
    if refusal is not None and refusal.code == "ACCOUNT_UNKNOWN":
        raise Http404
    if refusal is not None:
        return _detail(request, login_name, refusal)
    return done("accounts", "account-closed")


@screen("accounts.manage")
@require_http_methods(["POST"])
def roles(request: HttpRequest, login_name: str) -> HttpResponseBase:
    """Change the roles of an account."""
    code = request.principal.municipality_code
    form = pages.RolesForm(request.POST, municipality_code=code)
    if not form.is_valid():
        return _detail(request, login_name, Refusal("ACCOUNT_ROLE_NOT_YOURS"))
    wanted = [accounts.Role(role) for role in form.cleaned_data["roles"]]
    return _act(
        request,
        login_name,
        "account-roles",
        lambda: accounts.set_roles(
            request.principal, login_name, wanted, at=clock.now(), seen=_seen(request)
        ),
    )


@screen("accounts.manage")
@require_http_methods(["POST"])
def reset(request: HttpRequest, login_name: str) -> HttpResponseBase:
    """Password or app lost: a new one-time code."""
    made = accounts.reset_account(
        request.principal, login_name, at=clock.now(), seen=_seen(request)
    )
    if isinstance(made, Refusal):
        if made.code == "ACCOUNT_UNKNOWN":
            raise Http404
        return _detail(request, login_name, made)
    return _invited(request, made)


@screen("accounts.manage")
@require_http_methods(["POST"])
def validity(request: HttpRequest, login_name: str) -> HttpResponseBase:
    """Until when the account may be used."""
    form = pages.ValidityForm(request.POST)
    if not form.is_valid():
        return _detail(request, login_name, Refusal("CONSOLE_INPUT_WRONG"))
    until = form.cleaned_data["valid_until_on"]
    return _act(
        request,
        login_name,
        "account-validity",
        lambda: accounts.set_validity(
            request.principal, login_name, until, at=clock.now(), seen=_seen(request)
        ),
    )


@screen("accounts.manage")
@require_http_methods(["POST"])
def end_sessions(request: HttpRequest, login_name: str) -> HttpResponseBase:
    """End all sign-ins of a colleague."""
    return _act(
        request,
        login_name,
        "sessions-ended",
        lambda: accounts.end_sessions(request.principal, login_name, at=clock.now()),
    )


@screen("accounts.view")
@require_http_methods(["POST"])
def review_list(request: HttpRequest) -> HttpResponseBase:
    """The periodic review as a signed file to keep."""
    at = clock.now()
    answer = HttpResponse(
        accounts.make_review_archive(request.principal, at=at), content_type="application/zip"
    )
    day = at.astimezone(clock.JST).strftime("%Y%m%d")
    code = request.principal.municipality_code
    answer["Content-Disposition"] = f'attachment; filename="accounts_{code}_{day}.zip"'
    return answer


def _seen(request: HttpRequest) -> int:
    """The account's revision on the page that was acted on; -1 (fits nothing) without one."""
    given = request.POST.get("seen", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else -1


def _invited(request: HttpRequest, made: accounts.Invitation) -> HttpResponse:
    return render(request, "accounts/invited.html", {"invitation": made})
