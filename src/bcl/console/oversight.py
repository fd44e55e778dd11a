"""Screens for who looks after things: security self-report, retention report, uses of the data."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import screen
from bcl.console import self_report
from bcl.foundation import audit, retention, tenancy
from bcl.issuance import api as issuance
from bcl.municipalities import api as municipalities
from bcl.municipalities import retention_run
from bcl.municipalities.api import Profile, ProfileUse
from bcl_contract import clock

BY = {
    "run": "毎晩自動で消します",
    "own_job": "それぞれの仕組みがすぐに消します",
    "owner": "住民情報システムが決めます",
    "never": "消しません",
}
CERTIFICATES_SHOWN = 100
_YEAR = 365  # a period of n years is given with its leap days


@screen("security.view")
@require_http_methods(["GET"])
def security(request: HttpRequest) -> HttpResponseBase:
    """Each item of the security policy, looked at now, with what was seen (R-168)."""
    at, principal = clock.now(), request.principal
    findings = self_report.make_report(principal.municipality_code, at=at)
    with tenancy.scope(principal.municipality_code):
        audit.record(act="view_security_report", by=principal.actor, at=at)
    context = {
        "findings": findings,
        "broken": sum(one.holds is False for one in findings),
        "at": at.astimezone(clock.JST),
    }
    return render(request, "console/security.html", context)


def _kept(days: int | None) -> str:
    """A period as people say it; in years from one on, leap days apart."""
    if days is None:
        return "期限なし"
    return f"{days:,}日" if days < _YEAR else f"{days // _YEAR}年"


@screen("retention.view")
@require_http_methods(["GET"])
def retention_report(request: HttpRequest) -> HttpResponseBase:
    """Every class of data: how long it is kept, what is past it, the proofs of deletion (R-177)."""
    at, code = clock.now(), request.principal.municipality_code
    certificates = retention.list_certificates(code) if code != accounts.AGENCY_CODE else []
    context = {
        "rows": [
            (each, BY[each.period.by], _kept(each.keep_days))
            for each in retention_run.report(code, at=at)
        ],
        "certificates": certificates[::-1][:CERTIFICATES_SHOWN],
        "total": len(certificates),
        "broken": retention.first_broken(certificates),
    }
    return render(request, "console/retention.html", context)


COMMANDS = {
    Profile.BACKUP: "backup",
    Profile.CERTIFICATES: "certificates",
    Profile.DISASTER: "disaster",
}


@screen("subscriptions.view")
@require_http_methods(["GET"])
def data_uses(request: HttpRequest) -> HttpResponseBase:
    """Which uses of its data a municipality has begun, and how far the first build is (R-011)."""
    code = request.principal.municipality_code
    is_agency = code == accounts.AGENCY_CODE
    codes = municipalities.list_municipality_codes() if is_agency else [code]
    towns = [
        {
            "town": municipalities.get_municipality(each),
            "uses": [_use(each, use) for use in municipalities.list_profile_uses(each)],
        }
        for each in codes
    ]
    building = any(use["is_building"] for one in towns for use in one["uses"])
    return render(request, "console/data_uses.html", {"towns": towns, "building": building})


def _use(code: str, use: ProfileUse) -> dict[str, Any]:
    progress = None
    if use.is_enabled and use.profile is Profile.CERTIFICATES:
        progress = issuance.find_projection_progress(code)
    return {
        "it": use,
        "name": COMMANDS[use.profile],
        "progress": progress,
        "is_building": progress is not None and progress.is_building,
    }
