"""Which network a route may be called from (handbook I-2, I-3③⑤⑥; R-157 to R-159).

A listening process stands in one zone (`BCL_ZONE`): the operator binds one to the LGWAN address,
another to the IP-VPN's. The table of machine routes is `data/zones.csv`; staff pages are reached
over LGWAN. A route that no row names is closed everywhere.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from bcl.config.middleware import refuse
from bcl.foundation import log

Zone = Literal["LGWAN", "IP_VPN", "OPERATIONS", "INTERNET"]
ZONES: tuple[str, ...] = get_args(Zone)
STAFF_ZONES = frozenset({"LGWAN"})

logger = log.get(__name__)


@cache
def machine_routes() -> Mapping[str, frozenset[str]]:
    """Route of the wire door -> zones it may be called from."""
    path = resources.files("bcl.config") / "data" / "zones.csv"
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return {row["route"]: frozenset(row["zones"].split()) for row in rows}


def may_be_called(route: str, *, door: str, zone: str) -> bool:
    """Whether this route of a door is open to a zone; ALL is one machine's demonstration."""
    zones = STAFF_ZONES if door == "console" else machine_routes().get(route, frozenset())
    return bool(zones) if zone == "ALL" else zone in zones


class ZoneGate:
    """Refuses a known route that is called from a zone it isn't open to."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, arguments: Any, named: Any
    ) -> HttpResponseBase | None:
        """Called when the route is known and before its view runs."""
        match = request.resolver_match
        route = match.route if match is not None else ""
        door, zone = settings.BCL.process_role, settings.BCL.zone
        door = "console" if door == "console" else "wire"
        if may_be_called(route, door=door, zone=zone):
            return None
        logger.warning("zone_refused", route=route, zone=zone)
        return refuse("NETWORK_ZONE_CLOSED")
