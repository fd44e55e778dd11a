"""監査ログの検証: the state of the chain, a check as a job, the log as a file for the verifier."""

from __future__ import annotations

import tempfile
from datetime import datetime
from importlib.resources import files
from typing import Any

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import done, screen
from bcl.foundation import audit, audit_export, audit_log, audit_words, tenancy
from bcl.foundation.audit_check import Finding, FindingKind
from bcl.foundation.models import AuditPending
from bcl.oversight import api as oversight
from bcl.oversight.web.confirming import confirmed
from bcl.oversight.web.forms import CodeForm
from bcl_contract import clock
from bcl_contract.refusals import Refusal

STATES = {
    "WAITING": ("順番待ち", "warn"),
    "RUNNING": ("検証中", "warn"),
    "DONE": ("終了", "good"),
    "FAILED": ("中断", "bad"),
}
_EXPORT = "export_audit_log"


@screen("audit.verify")
@require_http_methods(["GET"])
def overview(request: HttpRequest) -> HttpResponseBase:
    """How the chain stands and what the newest check found."""
    return _overview(request)


def _overview(request: HttpRequest, refusal: Refusal | None = None) -> HttpResponse:
    code = request.principal.municipality_code  # type: ignore[attr-defined]
    with tenancy.scope(code):
        head = audit_log.latest_head(code)
        waiting = AuditPending.objects.filter(municipality_code=code).count()
    outside = audit_log.outside_place().last(code)
    inside_number = None if head is None else head.number
    outside_number = None if outside is None else outside["content"]["number"]
    context: dict[str, Any] = {
        "head": None if head is None else _head(head.content),
        "outside": None if outside is None else _head(outside["content"]),
        "waiting": waiting,
        "is_even": inside_number == outside_number,
        "form": CodeForm(),
        "refusal": refusal,
        **_check(code),
    }
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "oversight/verification.html", context, status=status)


def _head(content: dict[str, Any]) -> dict[str, Any]:
    return content | {"sealed_at": datetime.fromisoformat(content["sealed_at"])}


def _check(code: str) -> dict[str, Any]:
    check = oversight.latest_verification(code)
    if check is None:
        return {"check": None}
    title, kind = STATES[check.state]
    return {
        "check": check,
        "state": title,
        "kind": kind,
        "is_moving": check.state in ("WAITING", "RUNNING"),
        "is_sound": check.state == "DONE" and check.findings_total == 0,
        "findings": [_finding(each) for each in check.findings],
    }


def _finding(stored: dict[str, Any]) -> dict[str, str]:
    finding = Finding(**{**stored, "kind": FindingKind(stored["kind"])})
    return {
        "where": audit_words.where(finding),
        "words": audit_words.label(finding.kind),
        "code": finding.kind.value,
    }


@screen("audit.verify")
@require_http_methods(["POST"])
def start(request: HttpRequest) -> HttpResponseBase:
    """Check the whole log; one at a time."""
    oversight.request_verification(request.principal, at=clock.now())  # type: ignore[attr-defined]
    return done("audit-verification", "audit-check-started")


@screen("audit.verify")
@require_http_methods(["POST"])
def download(request: HttpRequest) -> HttpResponseBase:
    """The whole log as a file: ids, codes and keyed digests, no name and no number of a person."""
    principal = request.principal  # type: ignore[attr-defined]
    code, at = principal.municipality_code, clock.now()

    def write(_: accounts.ConfirmedAct) -> FileResponse | Refusal:
        # On record before it leaves, and in the file itself only with the next sealing.
        with tenancy.scope(code):
            audit.record(
                act=_EXPORT, by=principal.actor, at=at, detail={"terminal": principal.terminal.id}
            )
        kept = tempfile.TemporaryFile()
        audit_export.write(kept, code, at=at)
        kept.seek(0)
        name = f"audit_{code}_{at.astimezone(clock.JST):%Y%m%d}.jsonl"
        return FileResponse(kept, as_attachment=True, filename=name)

    answer = confirmed(request, _EXPORT, {"log": code}, write)
    return _overview(request, answer) if isinstance(answer, Refusal) else answer


@screen("audit.verify")
@require_http_methods(["GET"])
def verifier(request: HttpRequest) -> HttpResponseBase:
    """The stand-alone verifier: one file, runs with Python alone."""
    content = files("bcl_contract").joinpath("audit_verifier.py").read_bytes()
    answer = HttpResponse(content, content_type="text/x-python; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="audit_verifier.py"'
    return answer
