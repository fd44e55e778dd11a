"""データの持ち出し: asking, agreeing as the second person, taking, tracing a found file."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import done, refuse, screen
from bcl.foundation import audit, audit_looks, tenancy
from bcl.municipalities import api as municipalities
from bcl.oversight import api as oversight
from bcl.oversight import rules
from bcl.oversight.actions.exports import approval_content, read_conditions, take_content
from bcl.oversight.models import DataExport
from bcl.oversight.rules import ExportKind
from bcl.oversight.web.confirming import confirmed
from bcl.oversight.web.forms import CONDITIONS, CodeForm, ExportForm, first_days
from bcl_contract import clock
from bcl_contract.refusals import REFUSALS, Refusal

STATES = {
    "REQUESTED": ("承認待ち", "warn"),
    "APPROVED": ("作成中", "warn"),
    "BUILT": ("受取り可", "good"),
    "DECLINED": ("取りやめ", "plain"),
    "FAILED": ("失敗", "bad"),
    "EXPIRED": ("消去済み", "plain"),
}
STEPS = (("申請", "REQUESTED"), ("承認", "APPROVED"), ("作成", "BUILT"))
KINDS_JA = {
    ExportKind.RESIDENTS: "住民の一覧（中間DB参照）",
    ExportKind.AUDIT: "監査ログ",
    ExportKind.LINKAGE: "連携データの受信の記録",
}
CONDITIONS_JA = {
    "name": "氏名",
    "kana": "フリガナ",
    "birth_date": "生年月日",
    "addressee_number": "宛名番号",
    "address": "住所",
    "as_of": "どの反映までか",
    "since": "この時から",
    "until": "この時より前",
    "actor_id": "操作した人・装置",
    "act": "操作",
    "terminal": "端末",
    "outcome": "結果",
}


def _described(export: DataExport) -> dict[str, Any]:
    title, kind = STATES[export.state]
    day = export.requested_at.astimezone(clock.JST).date()
    return {
        "it": export,
        "state": title,
        "kind": kind,
        "kind_ja": KINDS_JA[ExportKind(export.kind)],
        "purpose_ja": rules.purposes_on(day).get(export.purpose, export.purpose),
    }


@screen("exports.view")
@require_http_methods(["GET"])
def listing(request: HttpRequest) -> HttpResponseBase:
    """The newest exports of the own tenant."""
    return _listing(request)


def _listing(request: HttpRequest, **more: Any) -> HttpResponse:
    principal = request.principal  # type: ignore[attr-defined]
    exports = oversight.list_exports(principal.municipality_code)
    context = {
        "rows": [_described(one) for one in exports],
        "kinds": _kinds_for(principal),
        **more,
    }
    return render(request, "oversight/exports.html", context)


def _kinds_for(principal: accounts.Principal) -> list[tuple[str, str]]:
    if "exports.request" not in principal.permissions:
        return []
    is_town = principal.municipality_code != accounts.AGENCY_CODE
    return [
        (kind.value.lower(), words)
        for kind, words in KINDS_JA.items()
        if rules.NEEDED_PERMISSION[kind] in principal.permissions
        and (is_town or kind is ExportKind.AUDIT)
    ]


@screen("exports.view")
@require_http_methods(["POST"])
def trace(request: HttpRequest) -> HttpResponseBase:
    """Which export a row of a found file comes from; asking is on record."""
    principal = request.principal  # type: ignore[attr-defined]
    mark = request.POST.get("mark", "")[:64]
    found = oversight.trace_canary(principal.municipality_code, mark)
    with tenancy.scope(principal.municipality_code):
        audit.record(
            act="trace_watermark",
            by=principal.actor,
            at=clock.now(),
            detail={"data_export": 0 if found is None else found.pk},
        )
    return _listing(request, traced=found, mark=mark, is_traced=True)


@screen("exports.request")
@require_http_methods(["GET", "POST"])
def add(request: HttpRequest, kind: str) -> HttpResponseBase:
    """Ask for data; `prefill` comes from a search page with its conditions."""
    principal = request.principal  # type: ignore[attr-defined]
    if kind not in {each.value.lower() for each in ExportKind}:
        raise Http404
    if kind not in dict(_kinds_for(principal)):
        return refuse(request, Refusal("ACCOUNT_PERMISSION_MISSING"))
    chosen = ExportKind(kind.upper())
    receivers = municipalities.list_recovery_receivers(principal.municipality_code)
    named = {"kind": chosen, "receivers": [one.id for one in receivers]}
    if request.method == "GET" or request.POST.get("prefill"):
        given = request.POST.dict() if request.method == "POST" else {}
        begin = given if "since" in given or chosen is ExportKind.RESIDENTS else first_days(30)
        form = ExportForm(**named)
        return _form_page(request, chosen, form, CONDITIONS[chosen](initial={**begin, **given}))
    form, conditions = ExportForm(request.POST, **named), CONDITIONS[chosen](request.POST)
    if not (form.is_valid() & conditions.is_valid()):
        return _form_page(request, chosen, form, conditions, status=422)
    made = oversight.request_export(
        principal, _wish(chosen, form, conditions), at=clock.now()
    )
    if isinstance(made, Refusal):
        status = made.text.http_status
        return _form_page(request, chosen, form, conditions, status=status, refusal=made)
    return done("export", "export-asked", export_id=made.pk)


def _wish(kind: ExportKind, form: ExportForm, conditions: Any) -> oversight.Wish:
    given = form.cleaned_data
    return oversight.Wish(
        kind=kind,
        purpose=given["purpose"],
        reference=given["reference"],
        columns=tuple(name for name in rules.columns_of(kind) if name in given["columns"]),
        conditions=conditions.conditions(),
        row_limit=given["row_limit"],
        recipient_id=given["recipient_id"],
    )


def _form_page(
    request: HttpRequest,
    kind: ExportKind,
    form: ExportForm,
    conditions: forms.Form,
    *,
    status: int = 200,
    refusal: Refusal | None = None,
) -> HttpResponse:
    context = {
        "kind_ja": KINDS_JA[kind],
        "form": form,
        "conditions": conditions,
        "has_receivers": bool(dict(form.fields["recipient_id"].choices)),  # type: ignore[attr-defined]
        "refusal": refusal,
    }
    return render(request, "oversight/export_new.html", context, status=status)


@screen("exports.view")
@require_http_methods(["GET"])
def detail(request: HttpRequest, export_id: int) -> HttpResponseBase:
    """One export: what, why, how far it is, what may be done."""
    return _detail(request, _get(request, export_id))


def _detail(
    request: HttpRequest, export: DataExport, refusal: Refusal | None = None
) -> HttpResponse:
    principal = request.principal  # type: ignore[attr-defined]
    permissions = principal.permissions
    is_own = export.requested_by == principal.actor.id
    waits = export.state == "REQUESTED"
    # The filter may name a person: only who may look there, or has to decide, reads it.
    may_read = not permissions.isdisjoint(
        {rules.NEEDED_PERMISSION[ExportKind(export.kind)], "exports.approve"}
    )
    context = {
        **_described(export),
        "columns": [rules.columns_of(ExportKind(export.kind))[name] for name in export.columns],
        "conditions": _conditions(export) if may_read else None,
        "steps": _steps(export),
        "left": export.take_limit - export.takes,
        "is_moving": export.state == "APPROVED",
        "is_own": is_own,
        "failed": REFUSALS.get(export.refusal_code),
        "may_approve": waits and not is_own and "exports.approve" in permissions,
        "may_decline": waits and (is_own or "exports.approve" in permissions),
        "may_take": export.state == "BUILT"
        and export.takes < export.take_limit
        and {"exports.take", rules.NEEDED_PERMISSION[ExportKind(export.kind)]} <= permissions,
        "form": CodeForm(),
        "refusal": refusal,
    }
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "oversight/export.html", context, status=status)


def _conditions(export: DataExport) -> list[tuple[str, str]]:
    with tenancy.scope(export.municipality_code):
        found = read_conditions(export)
    return [(CONDITIONS_JA[name], _in_words(name, text)) for name, text in found.items()]


def _in_words(name: str, text: str) -> str:
    if name in ("since", "until"):
        return f"{datetime.fromisoformat(text).astimezone(clock.JST):%Y-%m-%d %H:%M:%S}"
    if name == "act":
        return audit_looks.describe_act(text).label_ja
    return {"refused": "断られた操作", "allowed": "許可された操作"}.get(text, text)


def _steps(export: DataExport) -> list[tuple[str, str]]:
    order = [state for _, state in STEPS]
    at_step = order.index(export.state) if export.state in order else -1
    return [
        (title, "done" if place <= at_step else "now" if place == at_step + 1 else "")
        for place, (title, _) in enumerate(STEPS)
    ]


@screen("exports.approve")
@require_http_methods(["POST"])
def approve(request: HttpRequest, export_id: int) -> HttpResponseBase:
    """The second person agrees to exactly the rows the request means."""
    export = _get(request, export_id)
    made = confirmed(
        request,
        "approve_data_export",
        approval_content(export),
        lambda signed: oversight.approve_export(
            export.municipality_code, export.pk, confirmed=signed, at=clock.now()
        ),
    )
    if isinstance(made, Refusal):
        return _detail(request, export, made)
    return done("export", "export-approved", export_id=export.pk)


@screen("exports.view")
@require_http_methods(["POST"])
def decline(request: HttpRequest, export_id: int) -> HttpResponseBase:
    """The approver says no, or who asked takes it back."""
    export = _get(request, export_id)
    principal = request.principal  # type: ignore[attr-defined]
    may = export.requested_by == principal.actor.id or "exports.approve" in principal.permissions
    if not may:
        missing = Refusal("ACCOUNT_PERMISSION_MISSING", {"permission": "exports.approve"})
        return refuse(request, missing)
    made = oversight.decline_export(principal, export.pk, at=clock.now())
    if isinstance(made, Refusal):
        return _detail(request, export, made)
    return done("export", "export-declined", export_id=export.pk)


@screen("exports.take")
@require_http_methods(["POST"])
def take(request: HttpRequest, export_id: int) -> HttpResponseBase:
    """Hand out the file: encrypted to the receiver, counted, on record."""
    export = _get(request, export_id)
    path = confirmed(
        request,
        "take_data_export",
        take_content(export),
        lambda signed: oversight.take_export(
            request.principal,  # type: ignore[attr-defined]
            export.pk,
            confirmed=signed,
            at=clock.now(),
        ),
    )
    if isinstance(path, Refusal):
        return _detail(request, export, path)
    return FileResponse(path.open("rb"), as_attachment=True, filename=path.name)


def _get(request: HttpRequest, export_id: int) -> DataExport:
    principal = request.principal  # type: ignore[attr-defined]
    found = None
    if export_id < 2**63:
        found = oversight.find_export(principal.municipality_code, export_id)
    if found is None:
        raise Http404
    return found
