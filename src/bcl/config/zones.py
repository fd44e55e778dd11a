"""Which network a route may be called from (handbook I-2, I-3③⑤⑥; R-157 to R-159).

A listening process stands in one zone (`BCL_ZONE`): the operator binds one to the LGWAN address,
another to the IP-VPN's. That is the only thing that says where a caller stands: no header, address
or claim of the request is looked at, so none can be forged. The table of all routes, machine doors
and staff pages, is `data/zones.csv`. A route that no row names is closed everywhere.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from bcl.config.middleware import refuse
from bcl.foundation import log
from bcl_contract.refusals import Refusal

Zone = Literal["LGWAN", "IP_VPN", "OPERATIONS", "INTERNET"]
ZONES: tuple[str, ...] = get_args(Zone)
STATIC_ROUTE = "static/"
"""Stands for every file below it: they are answered before any route is looked up."""

logger = log.get(__name__)


@cache
def _table() -> Mapping[tuple[str, str], frozenset[str]]:
    path = resources.files("bcl.config") / "data" / "zones.csv"
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return {(row["door"], row["route"]): frozenset(row["zones"].split()) for row in rows}


def routes_of(door: str) -> Mapping[str, frozenset[str]]:
    """Route of a door (`wire` or `console`) -> zones it may be called from."""
    return {route: zones for (of, route), zones in _table().items() if of == door}


def may_be_called(route: str, *, door: str, zone: str) -> bool:
    """Whether this route of a door is open to a zone; ALL is one machine's demonstration."""
    zones = _table().get((door, route), frozenset())
    return bool(zones) if zone == "ALL" else zone in zones


class ZoneGate:
    """Refuses a known route that is called from a zone it isn't open to."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(settings.STATIC_URL):
            return _refuse_outside(request, STATIC_ROUTE) or self._get_response(request)
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, arguments: Any, named: Any
    ) -> HttpResponseBase | None:
        """Called when the route is known and before its view runs."""
        match = request.resolver_match
        return _refuse_outside(request, match.route if match is not None else "")


def _refuse_outside(request: HttpRequest, route: str) -> HttpResponseBase | None:
    door, zone = settings.BCL.process_role, settings.BCL.zone
    door = "console" if door == "console" else "wire"
    if may_be_called(route, door=door, zone=zone):
        return None
    logger.warning("zone_refused", path=route, reason=zone)
    if door == "wire":
        return refuse("NETWORK_ZONE_CLOSED")
    refusal = Refusal("NETWORK_ZONE_CLOSED")
    return render(
        request, "look/refused.html", {"refusal": refusal}, status=refusal.text.http_status
    )
