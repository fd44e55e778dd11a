"""誰がこの方の情報を見たか: statements for residents, from request to paper."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts.screens import done, screen
from bcl.oversight import api as oversight
from bcl.oversight.actions.look_statements import approval_content
from bcl.oversight.models import LookStatement
from bcl.oversight.web.confirming import confirmed
from bcl.oversight.web.forms import CodeForm, StatementForm, first_days
from bcl_contract import clock
from bcl_contract.refusals import Refusal

STATES = {
    "REQUESTED": ("承認待ち", "warn"),
    "READY": ("作成できます", "good"),
    "PRINTED": ("印刷済み", "plain"),
}
_DAYS_AT_FIRST = 365


@screen("statements.view")
@require_http_methods(["GET"])
def listing(request: HttpRequest) -> HttpResponseBase:
    """The newest statements of the own town: numbers and states, nobody's name."""
    principal = request.principal  # type: ignore[attr-defined]
    context = {
        "rows": [
            _described(one) for one in oversight.list_statements(principal.municipality_code)
        ],
        "may_request": "statements.request" in principal.permissions,
    }
    return render(request, "oversight/statements.html", context)


def _described(row: LookStatement) -> dict[str, Any]:
    title, kind = STATES[row.state]
    return {"it": row, "state": title, "kind": kind}


@screen("statements.request")
@require_http_methods(["GET", "POST"])
def add(request: HttpRequest) -> HttpResponseBase:
    """Ask for the statement of one person."""
    if request.method == "GET":
        form = StatementForm(initial=first_days(_DAYS_AT_FIRST))
        return render(request, "oversight/statement_new.html", {"form": form})
    form, refusal = StatementForm(request.POST), None
    if form.is_valid():
        made = oversight.request_statement(
            request.principal,  # type: ignore[attr-defined]
            **form.wish(),
            at=clock.now(),
        )
        if not isinstance(made, Refusal):
            said = "statement-asked" if made.state == "REQUESTED" else "statement-ready"
            return done("statement", said, statement_id=made.pk)
        refusal = made
    context = {"form": form, "refusal": refusal}
    status = 422 if refusal is None else refusal.text.http_status
    return render(request, "oversight/statement_new.html", context, status=status)


@screen("statements.view")
@require_http_methods(["GET"])
def detail(request: HttpRequest, statement_id: int) -> HttpResponseBase:
    """One statement; its lines for whoever makes it out, and that they were read is on record."""
    return _detail(request, _get(request, statement_id))


def _detail(
    request: HttpRequest, row: LookStatement, refusal: Refusal | None = None
) -> HttpResponse:
    principal = request.principal  # type: ignore[attr-defined]
    may_read = "statements.request" in principal.permissions and row.state != "REQUESTED"
    made = oversight.make_statement(principal, row, at=clock.now()) if may_read else None
    if isinstance(made, Refusal):
        made, refusal = None, made
    waits = row.state == "REQUESTED" and row.requested_by != principal.actor.id
    context = {
        **_described(row),
        "sheet": None if made is None else made.sheet,
        "since": row.since.astimezone(clock.JST),
        "until": row.until.astimezone(clock.JST),
        "is_own": row.requested_by == principal.actor.id,
        "may_approve": waits and "statements.approve" in principal.permissions,
        "form": CodeForm(),
        "refusal": refusal,
    }
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "oversight/statement.html", context, status=status)


@screen("statements.approve")
@require_http_methods(["POST"])
def approve(request: HttpRequest, statement_id: int) -> HttpResponseBase:
    """The second person agrees to the request that stood on the page."""
    row = _get(request, statement_id)
    made = confirmed(
        request,
        "approve_statement",
        approval_content(row),
        lambda signed: oversight.approve_statement(
            row.municipality_code, row.pk, confirmed=signed, at=clock.now()
        ),
    )
    if isinstance(made, Refusal):
        return _detail(request, row, made)
    return done("statement", "statement-approved", statement_id=row.pk)


@screen("statements.request")
@require_http_methods(["POST"])
def paper(request: HttpRequest, statement_id: int) -> HttpResponseBase:
    """The statement as PDF/A for handing out."""
    row = _get(request, statement_id)
    pdf = oversight.print_statement(
        request.principal,  # type: ignore[attr-defined]
        row,
        at=clock.now(),
    )
    if isinstance(pdf, Refusal):
        return _detail(request, row, pdf)
    answer = HttpResponse(pdf, content_type="application/pdf")
    answer["Content-Disposition"] = f'attachment; filename="statement_{row.pk:06}.pdf"'
    return answer


def _get(request: HttpRequest, statement_id: int) -> LookStatement:
    principal = request.principal  # type: ignore[attr-defined]
    found = None
    if statement_id < 2**63:
        found = oversight.find_statement(principal.municipality_code, statement_id)
    if found is None:
        raise Http404
    return found
