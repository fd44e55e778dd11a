"""連携画面: what arrived, what is wrong with it and what to do (R-022, R-059)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import done, screen
from bcl.foundation import tenancy
from bcl.linkage import api as linkage
from bcl.linkage.models import Transmission
from bcl.linkage.web import reads
from bcl.municipalities import api as municipalities
from bcl_contract import clock
from bcl_contract.refusals import REFUSALS, Refusal

STATES = {
    "RECEIVED": ("受信済み", "plain"),
    "OPENED": ("反映待ち", "plain"),
    "LANDED": ("反映済み", "good"),
    "HELD": ("保留", "warn"),
    "REJECTED": ("却下", "bad"),
}
LANES = {"main": "通常", "urgent": "急ぎ", "": "—"}
MODES = {"full": "全件", "differential": "差分", "": "—"}
Decide = Callable[..., Transmission | Refusal]


def described(one: Transmission) -> dict[str, Any]:
    """A transmission in the words of the screen."""
    title, kind = STATES[one.state]
    return {
        "it": one,
        "state": title,
        "kind": kind,
        "lane": LANES.get(one.lane, one.lane),
        "mode": MODES.get(one.mode, one.mode),
        "rows": sum(int(each.get("rows", 0)) for each in one.counts),
        "reason": REFUSALS.get(one.refusal_code),
    }


@screen("linkage.view")
@require_http_methods(["GET"])
def overview(request: HttpRequest) -> HttpResponseBase:
    """The own town's intake; for the agency, all towns in one table."""
    code = request.principal.municipality_code
    if code == accounts.AGENCY_CODE:
        return _all_towns(request)
    state = request.GET.get("state", "")
    state = state if state in STATES else ""
    at = clock.now()
    with tenancy.scope(code):
        page = reads.list_transmissions(state=state, number=_page_number(request))
        bars = reads.trend()
    status = linkage.get_status(code, at=at, recent=0)
    context = {
        "status": status,
        "age": age_in_words(status.last_landed_at, at),
        "obstacle": linkage.issuing_obstacle(code, at),
        "notices": municipalities.open_notices(code),
        "rows": [described(one) for one in page.rows],
        "page": page,
        "states": [(key, title, key == state) for key, (title, _) in STATES.items()],
        "state": state,
        "bars": bars,
        "chart_width": reads.BAR_STEP * max(len(bars), 1),
    }
    return render(request, "linkage/overview.html", context)


def _all_towns(request: HttpRequest) -> HttpResponse:
    at = clock.now()
    rows = []
    for code in municipalities.list_municipality_codes():
        status = linkage.get_status(code, at=at, recent=0)
        rows.append(
            {
                "town": municipalities.get_municipality(code),
                "status": status,
                "age": age_in_words(status.last_landed_at, at),
                "obstacle": linkage.issuing_obstacle(code, at),
                "notices": len(municipalities.open_notices(code)),
            }
        )
    return render(request, "linkage/all_towns.html", {"rows": rows})


@screen("linkage.view")
@require_http_methods(["GET"])
def detail(request: HttpRequest, transmission_id: uuid.UUID) -> HttpResponseBase:
    """One transmission: counts by file, findings line by line, what may be decided."""
    return _detail(request, transmission_id)


def _detail(
    request: HttpRequest, transmission_id: uuid.UUID, refusal: Refusal | None = None
) -> HttpResponse:
    with tenancy.scope(request.principal.municipality_code):
        one = reads.find(transmission_id)
        if one is None:
            raise Http404
        findings = [
            {"it": each, "text": REFUSALS.get(each.code)} for each in reads.first_findings(one)
        ]
    context = {
        **described(one),
        "findings": findings,
        "may_decide": one.state == "HELD" and "linkage.release" in request.principal.permissions,
        "stamp": reads.stamp(one),
        "refusal": refusal,
    }
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "linkage/transmission.html", context, status=status)


class DecisionForm(forms.Form):
    """The stamp of what the person saw, and that it was checked."""

    stamp = forms.CharField(max_length=32)
    checked = forms.BooleanField()


@screen("linkage.release")
@require_http_methods(["POST"])
def release(request: HttpRequest, transmission_id: uuid.UUID) -> HttpResponseBase:
    """Confirm that a held transmission is right."""
    return _decide(request, transmission_id, linkage.release_held, "transmission-released")


@screen("linkage.release")
@require_http_methods(["POST"])
def reject(request: HttpRequest, transmission_id: uuid.UUID) -> HttpResponseBase:
    """Refuse a held transmission for good."""
    return _decide(request, transmission_id, linkage.reject_transmission, "transmission-rejected")


def _decide(
    request: HttpRequest, transmission_id: uuid.UUID, decide: Decide, said: str
) -> HttpResponseBase:
    code = request.principal.municipality_code
    form = DecisionForm(request.POST)
    with tenancy.scope(code):
        one = reads.find(transmission_id)
    if one is None:
        raise Http404
    if not form.is_valid():
        return _detail(request, transmission_id, Refusal("CONSOLE_NOT_CONFIRMED"))
    if form.cleaned_data["stamp"] != reads.stamp(one):
        return _detail(request, transmission_id, Refusal("CONSOLE_CHANGED_MEANWHILE"))
    decided = decide(code, transmission_id, by=request.principal.actor, at=clock.now())
    if isinstance(decided, Refusal):
        return _detail(request, transmission_id, decided)
    return done("transmission", said, transmission_id=transmission_id)


def age_in_words(since: datetime | None, at: datetime) -> str:
    """How long ago, in the largest unit that says enough."""
    if since is None:
        return "まだない"
    seconds = max(0, int((at - since).total_seconds()))
    for unit, name in ((86400, "日"), (3600, "時間"), (60, "分")):
        if seconds >= unit:
            return f"{seconds // unit}{name}前"
    return "1分以内"


def _page_number(request: HttpRequest) -> int:
    text = request.GET.get("page", "1")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1
