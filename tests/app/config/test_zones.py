"""The zone matrix is code: every route from every zone equals the table (R-158, R-159)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver

from bcl.config import env, zones

pytestmark = [pytest.mark.requirement("R-159"), pytest.mark.django_db]

# What the handbook's picture allows; the product's own table must say the same.
BY_PREFIX = {
    "health": {"LGWAN", "IP_VPN", "OPERATIONS"},
    "metrics": {"OPERATIONS"},
    "wire/uploads": {"LGWAN"},
    "wire/transmissions": {"LGWAN"},
    "wire/contact": {"LGWAN"},
    "wire/issuance": {"IP_VPN"},
    "wire/subscriptions": {"IP_VPN"},
}


def routes() -> Iterator[str]:
    def walk(entries: list, before: str) -> Iterator[str]:
        for entry in entries:
            here = before + str(entry.pattern)
            if isinstance(entry, URLResolver):
                yield from walk(entry.url_patterns, here)
            elif isinstance(entry, URLPattern):
                yield here

    yield from walk(importlib.import_module("bcl.config.urls").urlpatterns, "")


def test_table__names_every_route_and_no_other() -> None:
    assert set(zones.machine_routes()) == set(routes())


@pytest.mark.parametrize("zone", zones.ZONES)
def test_crawl__every_route_from_this_zone__answers_as_the_picture(zone, settings) -> None:
    from dataclasses import replace

    settings.BCL = replace(settings.BCL, zone=zone, process_role="wire")
    for route in routes():
        path = "/" + route.replace("<str:upload_id>", "x").replace("<str:bundle_id>", "x")
        answer = Client().get(path)
        refused = answer.status_code == 403 and b"NETWORK_ZONE_CLOSED" in answer.content
        (allowed,) = [those for prefix, those in BY_PREFIX.items() if route.startswith(prefix)]
        assert refused is (zone not in allowed), (route, zone, answer.status_code)


@pytest.mark.requirement("R-158")
def test_staff_pages__from_anywhere_but_lgwan__are_closed() -> None:
    for zone in zones.ZONES:
        assert zones.may_be_called("", door="console", zone=zone) is (zone == "LGWAN")


def test_unknown_route__is_closed_even_on_one_machine() -> None:
    assert not zones.may_be_called("wire/new-thing", door="wire", zone="ALL")
    assert zones.may_be_called("wire/issuance/issue", door="wire", zone="ALL")


def test_production__a_door_without_its_zone__does_not_start() -> None:
    variables = {"BCL_ENVIRONMENT": "production", "BCL_ROLE": "wire"}
    with pytest.raises(env.SettingsError, match="BCL_ZONE"):
        env.read(variables)
    assert env.read(variables | {"BCL_ZONE": "LGWAN"}).zone == "LGWAN"
    assert env.read(variables | {"BCL_ROLE": "worker"}).zone == "ALL"
