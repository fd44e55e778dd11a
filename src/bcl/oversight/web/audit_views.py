"""監査ログ: searching who did what, one row with everything about it. Each look is on record."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import screen
from bcl.foundation import audit, audit_log, audit_search, tenancy
from bcl.municipalities import api as municipalities
from bcl.oversight import api as oversight
from bcl.oversight.web.forms import AuditSearchForm, first_days, place_text
from bcl_contract import clock
from bcl_contract.refusals import Refusal

PAGE_ROWS = 50
KINDS_JA = {
    "staff": "職員",
    "terminal": "端末",
    "gateway": "連携装置",
    "center": "証明書交付センター",
    "system": "システム",
}
DETAIL_JA = {
    "purpose": "目的",
    "reference": "受付番号",
    "terminal": "端末",
    "terminal_id": "端末",
    "persons": "表示した人数",
    "fields": "使った条件",
    "rows": "件数",
    "count": "件数",
    "code": "理由のコード",
    "refusal": "理由のコード",
    "export": "リカバリの番号",
    "data_export": "持ち出しの番号",
    "statement": "回答書の番号",
    "login_name": "対象の職員番号",
    "role": "役割",
    "state": "状態",
    "in": "この人を表示した操作",
    "look": "一度の表示の番号",
    "name": "設定の名前",
    "log": "団体コード",
}


@screen("audit.view")
@require_http_methods(["GET", "POST"])
def search(request: HttpRequest) -> HttpResponseBase:
    """The newest rows, or those that were asked for."""
    principal = request.principal  # type: ignore[attr-defined]
    is_agency = principal.municipality_code == accounts.AGENCY_CODE
    asked = request.POST if request.method == "POST" else first_days()
    form = AuditSearchForm(asked, is_agency=is_agency)
    if not form.is_valid():
        return _page(request, form, status=422)
    log = _log_of(principal, form.cleaned_data.get("log", ""))
    if isinstance(log, Refusal):
        _record_refused(principal)
        return _page(request, form, refusal=log, status=log.text.http_status)
    question = form.question()
    found = audit_search.search(
        log, question, limit=PAGE_ROWS, after=form.cleaned_data["after"]
    )
    _record(principal, log, question, len(found.rows))
    return _page(request, form, found=found, log=log)


def _page(
    request: HttpRequest,
    form: AuditSearchForm,
    *,
    status: int = 200,
    found: audit_search.Page | None = None,
    log: str = "",
    refusal: Refusal | None = None,
) -> HttpResponse:
    principal = request.principal  # type: ignore[attr-defined]
    given = {name: form.data.get(name, "") for name in form.fields if name != "after"}
    own = log == principal.municipality_code
    context: dict[str, Any] = {
        "form": form,
        "given": given,
        "rows": [] if found is None else [_described(row) for row in found.rows],
        "is_read": found is not None,
        "log": log,
        "next": place_text(found.next) if found is not None and found.next else "",
        "is_later_page": bool(form.data.get("after")),
        "may_export": own and "exports.request" in principal.permissions,
        "may_verify": "audit.verify" in principal.permissions,
        "refusal": refusal,
    }
    return render(request, "oversight/audit.html", context, status=status)


def _described(row: audit_search.FoundRow) -> dict[str, Any]:
    detail = row.detail
    return {
        "it": row,
        "key": f"{'a' if row.is_agency else ''}{row.entry_id}",
        "at": row.at.astimezone(clock.JST),
        "who_ja": KINDS_JA.get(row.actor_kind, row.actor_kind),
        "terminal": detail.get("terminal") or detail.get("terminal_id", ""),
        "persons": detail.get("persons", ""),
        "purpose": detail.get("purpose", ""),
    }


@screen("audit.view")
@require_http_methods(["GET"])
def row(request: HttpRequest, log: str, key: str) -> HttpResponseBase:
    """One row of a log with everything that stands in it, and its place in the chain."""
    principal = request.principal  # type: ignore[attr-defined]
    code = _log_of(principal, log)
    number = key.removeprefix("a")
    if isinstance(code, Refusal) or code != log or not _is_number(number):
        raise Http404
    found = audit_search.find(code, int(number), is_agency=key.startswith("a"))
    if found is None:
        raise Http404
    with tenancy.scope(code):
        leaf = audit_log.find_leaf(code, found.entry_id, is_agency=found.is_agency)
        audit.record(
            act="view_audit_row",
            by=principal.actor,
            at=clock.now(),
            detail={"entry": found.entry_id, "terminal": principal.terminal.id},
        )
    account = None
    if found.actor_kind == "staff":
        account = accounts.find_account(code, found.actor_id)
    context = {
        **_described(found),
        "leaf": leaf,
        "log": code,
        "name_ja": "" if account is None else account.name_ja,
        "details": [(DETAIL_JA.get(name, name), value) for name, value in found.detail.items()],
    }
    return render(request, "oversight/audit_row.html", context)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _log_of(principal: accounts.Principal, wanted: str) -> str | Refusal:
    """Whose log is read: the own one; for the agency also a town's, where the town lets it."""
    own = principal.municipality_code
    if wanted in ("", own):
        return own
    at = clock.now()
    if own != accounts.AGENCY_CODE or municipalities.find_municipality(wanted) is None:
        return Refusal("AUDIT_TOWN_NOT_OPEN")
    return wanted if oversight.agency_may_read(wanted, at) else Refusal("AUDIT_TOWN_NOT_OPEN")


def _record(
    principal: accounts.Principal, log: str, question: audit_search.Question, rows: int
) -> None:
    """In the log that was read, and where the agency read a town's, in its own as well."""
    used = [
        name for name in ("actor_id", "act", "terminal", "outcome", "addressee_number")
        if getattr(question, name)
    ]
    facts: dict[str, str | int] = {
        "fields": "+".join(used) or "period",
        "rows": rows,
        "terminal": principal.terminal.id,
        "from_at": question.since.date().isoformat(),
        "until_at": question.until.date().isoformat(),
    }
    person = question.addressee_number.encode() or None
    at = clock.now()
    with tenancy.scope(log):
        audit.record(
            act="search_audit_log", by=principal.actor, at=at, subject_key=person, detail=facts
        )
    if log != principal.municipality_code:
        with tenancy.scope(principal.municipality_code):
            audit.record(
                act="search_audit_log", by=principal.actor, at=at, detail={**facts, "log": log}
            )


def _record_refused(principal: accounts.Principal) -> None:
    with tenancy.scope(principal.municipality_code):
        audit.record(
            act="refuse_audit_search",
            by=principal.actor,
            at=clock.now(),
            detail={"terminal": principal.terminal.id, "code": "AUDIT_TOWN_NOT_OPEN"},
        )
