"""データの配り先: which system gets what of a town, since when, and how far it is (R-029).

Asking, approving and pausing are acts of the command line, signed by staff (D31): the pages show
and name the command.
"""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import screen
from bcl.municipalities import api as municipalities
from bcl.subscriptions import api
from bcl.subscriptions.api import SubscriptionStatus
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.specification import SENSITIVITY_TEXTS

STATES = {
    "REQUESTED": ("承認待ち", "warn"),
    "ACTIVE": ("配信中", "good"),
    "PAUSED": ("一時停止", "warn"),
    "ENDED": ("終了", "plain"),
}
SEARCH = {
    "person": "宛名番号", "household": "世帯番号", "name": "氏名", "kana": "振り仮名",
    "born": "生年月日",
}
CLASSES = {
    "sensitive": "要配慮の項目",
    "individual_number": "個人番号",
    "secret_image": "印影",
    "protected_places": "支援措置対象者の居所",
}


@screen("subscriptions.view")
@require_http_methods(["GET"])
def listing(request: HttpRequest) -> HttpResponseBase:
    """Every running or waiting subscription of the own town; for the agency, of all towns."""
    code = request.principal.municipality_code
    is_agency = code == accounts.AGENCY_CODE
    codes = municipalities.list_municipality_codes() if is_agency else [code]
    rows = [
        described(one, municipalities.get_municipality(each))
        for each in codes
        for one in api.list_subscriptions(each)
    ]
    return render(
        request, "subscriptions/listing.html", {"rows": rows, "is_agency": is_agency}
    )


@screen("subscriptions.view")
@require_http_methods(["GET"])
def detail(request: HttpRequest, town: str, name: str) -> HttpResponseBase:
    """One subscription: the columns with their classes, the approvals, the position."""
    code = request.principal.municipality_code
    known = municipalities.find_municipality(town)
    if known is None or code not in (town, accounts.AGENCY_CODE):
        raise Http404
    versions = api.list_versions(town, name)
    if not versions:
        raise Http404
    shown = next((one for one in versions if one.is_running), versions[0])
    waiting = next((one for one in versions if one.row.state == "REQUESTED"), None)
    context = {
        **described(shown, known),
        "files": _files(shown),
        "search": [SEARCH[each] for each in shown.profile.search],
        "allowed": [(CLASSES[each], why) for each, why in shown.profile.allow.items()],
        "versions": [described(one, known) for one in versions],
        "waiting": waiting if waiting is not shown else None,
    }
    return render(request, "subscriptions/detail.html", context)


def described(status: SubscriptionStatus, town: municipalities.Municipality) -> dict[str, Any]:
    """A subscription in the words of the screen."""
    title, kind = STATES[status.row.state]
    columns = status.profile.columns
    return {
        "it": status.row,
        "status": status,
        "profile": status.profile,
        "town": town,
        "state": title,
        "kind": kind,
        "column_count": sum(len(names) for names in columns.values()),
        "is_late": status.row.state == "ACTIVE" and status.loads_behind > 1,
        "share": _share(status),
    }


def _share(status: SubscriptionStatus) -> int | None:
    """How much of what is prepared the subscriber has stored, in percent; None before that."""
    if not status.row.last_page:
        return None
    return 100 * status.row.acknowledged_page // status.row.last_page


def _files(status: SubscriptionStatus) -> list[dict[str, Any]]:
    layouts = load_interface().files
    return [
        {
            "id": file_id,
            "title": layouts[file_id].title_ja,
            "columns": [
                {
                    "title": layouts[file_id].column(name).title_ja,
                    "class": SENSITIVITY_TEXTS[layouts[file_id].column(name).sensitivity],
                    "is_special": layouts[file_id].column(name).sensitivity in CLASSES,
                }
                for name in names
            ],
        }
        for file_id, names in status.profile.columns.items()
    ]
