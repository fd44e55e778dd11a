"""Suspensions and a municipality's own hours, over the database."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pytest

from bcl.availability import api as availability
from bcl.availability.api import Service
from bcl.foundation import audit, clock, tenancy
from bcl.foundation.models import AuditEntry
from bcl_contract.refusals import Refusal

pytestmark = pytest.mark.requirement("R-266")

CLERK = audit.Actor("staff", "clerk-01")
NOON = datetime(2026, 11, 22, 12, tzinfo=clock.JST)


def _code(town, at=NOON, service=Service.ISSUANCE) -> str:
    verdict = availability.is_open(town, service, at)
    return verdict.code if isinstance(verdict, Refusal) else "OPEN" if verdict is True else "?"


def test_suspension__of_one_town__stops_that_town_and_service_only(town, other_town):
    assert availability.suspend(town, Service.ISSUANCE, "SEQUENCE_GAP", CLERK, NOON)
    assert _code(town) == "SERVICE_SUSPENDED"
    assert _code(town, service=Service.BACKUP) == "OPEN"
    assert _code(other_town) == "OPEN"


def test_suspension__begins_at_its_moment(town):
    availability.suspend(town, Service.ISSUANCE, "MAINTENANCE", CLERK, NOON)
    assert _code(town, NOON - timedelta(seconds=1)) == "OPEN"
    assert _code(town, NOON) == "SERVICE_SUSPENDED"


def test_suspensions__of_two_reasons__both_must_be_resumed(town):
    for reason in ("SEQUENCE_GAP", "MISISSUE"):
        availability.suspend(town, Service.ISSUANCE, reason, CLERK, NOON)
    assert availability.list_suspensions(town) == ["MISISSUE", "SEQUENCE_GAP"]
    assert availability.resume(town, Service.ISSUANCE, "MISISSUE", CLERK, NOON)
    assert _code(town) == "SERVICE_SUSPENDED"
    assert availability.resume(town, Service.ISSUANCE, "SEQUENCE_GAP", CLERK, NOON)
    assert not availability.resume(town, Service.ISSUANCE, "SEQUENCE_GAP", CLERK, NOON)
    assert _code(town) == "OPEN"


def test_suspension__said_twice__is_one_with_one_audit_row(town):
    assert availability.suspend(town, Service.ISSUANCE, "SEQUENCE_GAP", CLERK, NOON)
    assert not availability.suspend(town, Service.ISSUANCE, "SEQUENCE_GAP", CLERK, NOON)
    with tenancy.scope(town):
        assert AuditEntry.objects.filter(act="suspend_service").count() == 1
    assert availability.resume(town, Service.ISSUANCE, "SEQUENCE_GAP", CLERK, NOON)
    assert availability.suspend(town, Service.ISSUANCE, "SEQUENCE_GAP", CLERK, NOON)


def test_hours__set_by_a_town__hold_from_their_day_for_that_town(town, other_town):
    availability.set_service_hours(
        town,
        Service.ISSUANCE,
        effective_from=date(2026, 12, 1),
        opens_at=time(9),
        closes_at=time(17),
        closed_days=["12-31"],
        by=CLERK,
        at=NOON,
    )
    evening = datetime(2026, 11, 30, 20, tzinfo=clock.JST)
    assert _code(town, evening) == "OPEN"
    assert _code(town, evening + timedelta(days=1)) == "SERVICE_OUTSIDE_HOURS"
    assert _code(other_town, evening + timedelta(days=1)) == "OPEN"
    assert _code(town, datetime(2026, 12, 31, 10, tzinfo=clock.JST)) == "SERVICE_CLOSED_DAY"


@pytest.mark.parametrize(
    ("opens", "closes", "days"),
    [
        (time(6, 29), time(23), ()),
        (time(7), time(23, 1), ()),
        (time(9), time(9), ()),
        (time(9), time(17), ["2-30x"]),
        (time(9), time(17), ["13-01"]),
    ],
)
def test_hours__outside_what_the_center_offers__are_refused(town, opens, closes, days):
    with pytest.raises(ValueError, match=r"hours|open|closed"):
        availability.set_service_hours(
            town,
            Service.ISSUANCE,
            effective_from=date(2026, 12, 1),
            opens_at=opens,
            closes_at=closes,
            closed_days=days,
            by=CLERK,
            at=NOON,
        )


@pytest.mark.parametrize("reason", ["", "gap", "山田", "A B", "A" * 70])
def test_reason__that_is_no_code__is_refused(town, reason):
    with pytest.raises(ValueError, match="reason"):
        availability.suspend(town, Service.ISSUANCE, reason, CLERK, NOON)
