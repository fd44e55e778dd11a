"""Who is held from certificates, from which row, and lifting a hold by two persons (R-022, D7)."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts.screens import done, screen
from bcl.linkage import api as linkage
from bcl.linkage.models import HoldRelease
from bcl.linkage.web.views import text_of
from bcl.resident_store import api as store
from bcl_contract import clock
from bcl_contract.refusals import Refusal

PAGE_ROWS = 100
REASONS = (
    ("CORE_IS_RIGHT", "住民情報システムの内容が正しいことを確かめた"),
    ("PAPER_CHECKED", "台帳・届出書で確かめた"),
)
KINDS = {True: "取り込まなかった行", False: "発行だけを止めている"}


class AskForm(forms.Form):
    """Which hold, and on what ground it may go."""

    hold = forms.CharField(max_length=24)
    reason = forms.ChoiceField(choices=REASONS)


class ApproveForm(forms.Form):
    """Which hold."""

    hold = forms.CharField(max_length=24)


@screen("linkage.view")
@require_http_methods(["GET"])
def listing(request: HttpRequest) -> HttpResponseBase:
    """All holds of the own town, the oldest first."""
    return _listing(request)


def _listing(request: HttpRequest, refusal: Refusal | None = None) -> HttpResponse:
    principal = request.principal
    holds = store.list_holds(principal.municipality_code)
    asked = linkage.waiting_releases(principal.municipality_code)
    rows = [
        {
            "it": hold,
            "kind": "世帯" if hold.id.startswith("H") else KINDS[hold.quarantined],
            "text": text_of(hold.code),
            "asked_by": asked.get(hold.id, ""),
            "is_own": asked.get(hold.id) == principal.actor.id,
        }
        for hold in holds[:PAGE_ROWS]
    ]
    context = {
        "rows": rows,
        "total": len(holds),
        "shown": PAGE_ROWS,
        "may_ask": "linkage.ask_release" in principal.permissions,
        "may_approve": "linkage.release" in principal.permissions,
        "reasons": REASONS,
        "refusal": refusal,
    }
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "linkage/holds.html", context, status=status)


@screen("linkage.ask_release")
@require_http_methods(["POST"])
def ask(request: HttpRequest) -> HttpResponseBase:
    """The first person: this hold may go."""
    form = AskForm(request.POST)
    if not form.is_valid():
        return _listing(request, Refusal("CONSOLE_INPUT_WRONG"))
    asked = linkage.ask_hold_release(
        request.principal.municipality_code,
        form.cleaned_data["hold"],
        reason=form.cleaned_data["reason"],
        by=request.principal.actor,
        at=clock.now(),
    )
    return _answer(request, asked, "hold-asked")


@screen("linkage.release")
@require_http_methods(["POST"])
def approve(request: HttpRequest) -> HttpResponseBase:
    """The second person agrees, and certificates come out again."""
    form = ApproveForm(request.POST)
    if not form.is_valid():
        return _listing(request, Refusal("CONSOLE_INPUT_WRONG"))
    approved = linkage.approve_hold_release(
        request.principal.municipality_code,
        form.cleaned_data["hold"],
        by=request.principal.actor,
        at=clock.now(),
    )
    return _answer(request, approved, "hold-lifted")


def _answer(request: HttpRequest, made: HoldRelease | Refusal, said: str) -> HttpResponseBase:
    return _listing(request, made) if isinstance(made, Refusal) else done("holds", said)
