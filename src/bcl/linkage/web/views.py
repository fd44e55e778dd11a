"""連携画面: what arrived, what is wrong with it and what to do (R-022, R-059)."""

from __future__ import annotations

import csv
import uuid
from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import screen
from bcl.foundation import tenancy
from bcl.linkage import api as linkage
from bcl.linkage.actions.staff import TAKES_TWO
from bcl.linkage.models import Transmission
from bcl.linkage.web import reads, resends
from bcl.municipalities import api as municipalities
from bcl.resident_store import api as store
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
_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


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
        "chart_width": reads.BAR_STEP * reads.TREND_LENGTH,
        **resends.context_of(request),
        "held": store.held_counts(code),
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
    return show_transmission(request, transmission_id)


def show_transmission(
    request: HttpRequest, transmission_id: uuid.UUID, refusal: Refusal | None = None
) -> HttpResponse:
    """The page of one transmission, with what was refused just now."""
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
        **_what_may_be_decided(request, one),
        "stamp": reads.stamp(one),
        "refusal": refusal,
    }
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "linkage/transmission.html", context, status=status)


def _what_may_be_decided(request: HttpRequest, one: Transmission) -> dict[str, bool]:
    """Which buttons the person gets: some doubts take one who asks and another who releases."""
    held = one.state == "HELD" and one.released_at is None
    permissions = request.principal.permissions
    by_two = one.refusal_code in TAKES_TWO
    asked_by = one.release_asked_by
    may_release = not by_two or asked_by not in ("", request.principal.actor.id)
    return {
        "by_two": by_two,
        "may_ask": held and by_two and not asked_by and "linkage.ask_release" in permissions,
        "may_release": held and may_release and "linkage.release" in permissions,
        "may_reject": held and "linkage.release" in permissions,
    }


@screen("linkage.view")
@require_http_methods(["GET"])
def findings_csv(request: HttpRequest, transmission_id: uuid.UUID) -> HttpResponseBase:
    """All kept findings as CSV, to hand to the core system's vendor: places and rules only."""
    with tenancy.scope(request.principal.municipality_code):
        one = reads.find(transmission_id)
        if one is None:
            raise Http404
        rows = [
            [plain_cell(one) for one in (each.file, each.line or "", each.column, each.rule)]
            + [each.code, text_of(each.code)]
            for each in one.findings.order_by("position")
        ]
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    name = f"findings_{plain_name(one.bundle_id)}.csv"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.write("\ufeff")  # spreadsheets take it for the local code page without
    writer = csv.writer(answer, quoting=csv.QUOTE_ALL)
    writer.writerow(("ファイル", "行", "項目", "規則", "コード", "内容"))
    writer.writerows(rows)
    return answer


def plain_name(text: str) -> str:
    """What a sender chose, as part of a file's name: letters, digits and hyphens only."""
    return "".join(one for one in text if one.isascii() and (one.isalnum() or one == "-"))


def plain_cell(value: str | int) -> str:
    """A cell that a spreadsheet shows and never calculates: a file's name came from outside."""
    text = str(value)
    return f"'{text}" if text.startswith(_BEGINS_A_FORMULA) else text


def text_of(code: str) -> str:
    """A refusal code in plain words; the code itself when it has none."""
    text = REFUSALS.get(code)
    return code if text is None else text.text_ja


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
