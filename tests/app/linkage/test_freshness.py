"""Silence heard at the real door, and wishes for re-sending that reach the gateway."""

from __future__ import annotations

import json
import os
from datetime import timedelta

import pytest
from click.testing import CliRunner

from bcl.foundation import metrics, tenancy
from bcl.foundation.audit import Actor
from bcl.linkage import api as linkage
from bcl.linkage.models import GatewayContact, Transmission
from bcl.municipalities import api as municipalities
from bcl_cli.linkage import linkage as linkage_commands
from bcl_contract import clock

pytestmark = pytest.mark.django_db
STAFF = Actor("staff", "staff-a")
HOUR = timedelta(hours=1)


def codes(town: str) -> list[str]:
    return [notice.code for notice in municipalities.open_notices(town)]


def send(gateway, packages, content, **wishes) -> str:
    package, bundle_id = packages.make_package(gateway, content, **wishes)
    gateway.send(package, bundle_id)
    return bundle_id


@pytest.mark.requirement("R-035")
def test_stopped_gateway__then_silent_core_system__are_two_alarms_that_close(
    gateway, packages, run_jobs
) -> None:
    town, now = gateway.municipality_code, clock.now()
    assert gateway.request("GET", "/wire/contact").status_code == 200
    send(gateway, packages, packages.header_only("J01"))
    run_jobs()
    linkage.watch_silence(town, at=now)
    assert codes(town) == []

    linkage.watch_silence(town, at=now + HOUR)
    linkage.watch_silence(town, at=now + 2 * HOUR)
    assert codes(town) == ["LINKAGE_GATEWAY_SILENT"]

    later = now + timedelta(days=2)
    linkage.note_contact(town, gateway.gateway_id, at=later, asked=True)
    linkage.watch_silence(town, at=later)
    assert codes(town) == ["LINKAGE_CORE_SILENT"]
    assert b'bcl_linkage_late{code="LINKAGE_CORE_SILENT"' in metrics.render()

    with tenancy.scope(town):
        Transmission.objects.update(received_at=later)
    found = linkage.watch_silence(town, at=later)
    assert codes(town) == [] and found.alarms == frozenset()
    assert found.expected_by == later + timedelta(days=1, hours=2)
    assert len(municipalities.list_notices(town)) == 2


@pytest.mark.requirement("R-035")
def test_status_command__stopped_gateway_and_silent_core__alarm_by_different_codes(
    gateway, packages, run_jobs, monkeypatch
) -> None:
    """The gateway stops: an alarm at its limit. It lives and the core is silent: another, and
    only when the usual interval and the grace are over."""
    monkeypatch.setenv("BCL_ROLE", os.environ.get("BCL_ROLE", "command"))
    town, now = gateway.municipality_code, clock.now()
    terms = linkage.get_freshness(town, at=now).terms
    due = timedelta(seconds=terms.first_interval_seconds + terms.grace_seconds)
    assert gateway.request("GET", "/wire/contact").status_code == 200
    send(gateway, packages, packages.header_only("J01"))
    run_jobs()
    with tenancy.scope(town):
        Transmission.objects.update(received_at=now)

    def told(after: timedelta, *, heard: bool) -> tuple[int, list[str], str]:
        if heard:
            at = now + after - timedelta(seconds=1)
            linkage.note_contact(town, gateway.gateway_id, at=at, asked=True)
        with clock.use(clock.Clock(offset=now + after - clock.now())):
            asked = CliRunner().invoke(linkage_commands, ["status", "--json"])
            shown = CliRunner().invoke(linkage_commands, ["status", "--municipality", town])
        (row,) = json.loads(asked.output.splitlines()[-1])
        assert asked.exit_code == shown.exit_code
        return shown.exit_code, row["alarms"], shown.output

    limit = timedelta(seconds=terms.gateway_silent_seconds)
    assert told(limit - timedelta(seconds=5), heard=False)[:2] == (0, [])
    code, alarms, words = told(limit + timedelta(seconds=5), heard=False)
    assert (code, alarms) == (3, ["LINKAGE_GATEWAY_SILENT"])
    assert "警報 LINKAGE_GATEWAY_SILENT: 連携装置からの連絡" in words
    assert told(due - timedelta(seconds=5), heard=True)[:2] == (0, [])
    code, alarms, words = told(due + timedelta(seconds=5), heard=True)
    assert (code, alarms) == (3, ["LINKAGE_CORE_SILENT"])
    assert "警報 LINKAGE_CORE_SILENT: 連携装置は動いていますが" in words


@pytest.mark.requirement("R-035")
def test_town_with_its_own_grace__is_late_sooner(gateway, packages, run_jobs) -> None:
    town, now = gateway.municipality_code, clock.now()
    send(gateway, packages, packages.header_only("J01"))
    at = now + timedelta(hours=24, minutes=10)
    assert linkage.get_freshness(town, at=at).alarms == frozenset()
    municipalities.set_setting(
        town, "linkage_silence_grace_seconds", 60, effective_from=now, by=STAFF
    )
    assert linkage.get_freshness(town, at=at).alarms == {"LINKAGE_GATEWAY_SILENT"}


@pytest.mark.requirement("R-035")
def test_contact__is_written_at_most_twice_a_minute(gateway) -> None:
    town, now = gateway.municipality_code, clock.now()
    for seconds in (0, 10, 29):
        linkage.note_contact(
            town, gateway.gateway_id, at=now + timedelta(seconds=seconds), asked=False
        )
    with tenancy.scope(town):
        row = GatewayContact.objects.get()
        assert (row.seen_at, row.asked_at) == (now, None)
    for seconds in (30, 31):
        at = now + timedelta(seconds=seconds)
        linkage.note_contact(town, gateway.gateway_id, at=at, asked=True)
    with tenancy.scope(town):
        row = GatewayContact.objects.get()
        assert row.asked_at == now + timedelta(seconds=30)


@pytest.mark.requirement("R-022")
def test_wish_for_a_number__reaches_the_gateway_and_ends_with_its_coming(
    gateway, other_gateway, packages, run_jobs
) -> None:
    town = gateway.municipality_code
    wish = linkage.request_resend(
        town, lane="main", sequence=1, reason_code="TRANSMISSION_GAP", by=STAFF, at=clock.now()
    )
    again = linkage.request_resend(
        town, lane="main", sequence=1, reason_code="TRANSMISSION_GAP", by=STAFF, at=clock.now()
    )
    assert again.code == "LINKAGE_RESEND_ASKED_ALREADY"

    told = gateway.request("GET", "/wire/contact").json()["resend_requests"]
    assert [(one["id"], one["sequence"]) for one in told] == [(str(wish.id), 1)]
    assert other_gateway.request("GET", "/wire/contact").json()["resend_requests"] == []

    send(gateway, packages, packages.header_only("J01"))
    run_jobs()
    answer = gateway.request("GET", "/wire/contact").json()
    assert answer == {"resend_requests": [], "lanes": {"main": 1}}
    landed = linkage.request_resend(
        town, lane="main", sequence=1, reason_code="TRANSMISSION_GAP", by=STAFF, at=clock.now()
    )
    assert landed.code == "LINKAGE_RESEND_LANDED_ALREADY"


@pytest.mark.requirement("R-022")
def test_wish_for_a_full_file__is_not_answered_by_a_differential_and_can_be_withdrawn(
    gateway, packages, run_jobs
) -> None:
    town = gateway.municipality_code
    send(gateway, packages, packages.header_only("J01"))
    run_jobs()
    first, second = clock.now(), clock.now() + HOUR
    wish = linkage.request_resend(
        town, lane="main", sequence=None, reason_code="STAFF", by=STAFF, at=first
    )
    send(gateway, packages, packages.header_only("J01"), sequence=2, mode="differential")
    run_jobs()
    assert [one.id for one in linkage.list_resend_requests(town)] == [wish.id]
    send(gateway, packages, packages.header_only("J01"), sequence=3, mode="full")
    run_jobs()
    assert linkage.list_resend_requests(town) == []

    other = linkage.request_resend(
        town, lane="main", sequence=None, reason_code="STAFF", by=STAFF, at=second
    )
    assert linkage.end_resend(town, str(other.id), by=STAFF, at=second)
    assert not linkage.end_resend(town, str(other.id), by=STAFF, at=second)
    assert linkage.list_resend_requests(town) == []
