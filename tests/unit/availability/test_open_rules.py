"""Service hours at their borders, in Japan time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcl.availability import queries
from bcl.availability.rules import JST, Hours, Service, decide_open, hours_on

pytestmark = [pytest.mark.requirement("R-263"), pytest.mark.requirement("R-266")]


def _verdict(at: datetime, **changes) -> str:
    given = {
        "service": Service.ISSUANCE,
        "rows": queries.national_hours(Service.ISSUANCE),
        "suspension_reasons": (),
    } | changes
    refusal = decide_open(at=at, **given)
    return "OPEN" if refusal is None else refusal.code


@pytest.mark.parametrize(
    ("clock_time", "verdict"),
    [
        ("00:00:00", "SERVICE_OUTSIDE_HOURS"),
        ("06:29:59.999999", "SERVICE_OUTSIDE_HOURS"),
        ("06:30:00", "OPEN"),
        ("12:00:00", "OPEN"),
        ("22:59:59.999999", "OPEN"),
        ("23:00:00", "SERVICE_OUTSIDE_HOURS"),
        ("23:59:59", "SERVICE_OUTSIDE_HOURS"),
    ],
)
@pytest.mark.requirement("R-216")
@pytest.mark.requirement("R-217")
@pytest.mark.parametrize("service", [Service.ISSUANCE, Service.BACKUP, Service.DISASTER])
def test_service__at_the_borders__opens_at_0630_and_closes_at_2300(service, clock_time, verdict):
    at = datetime.fromisoformat(f"2026-11-22T{clock_time}").replace(tzinfo=JST)
    rows = queries.national_hours(service)
    assert _verdict(at, service=service, rows=rows) == verdict
    assert _verdict(at.astimezone(UTC), service=service, rows=rows) == verdict, (
        "the zone of the question must not matter"
    )


@given(st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001
def test_issuance__at_any_moment__is_open_exactly_from_0630_to_2300(naive):
    at = naive.replace(tzinfo=JST)
    minutes = at.hour * 60 + at.minute
    assert (_verdict(at) == "OPEN") == (390 <= minutes < 1380)


def test_suspension__at_any_hour__is_named_before_the_hours():
    night = datetime(2026, 11, 22, 3, tzinfo=JST)
    refusal = decide_open(
        service=Service.ISSUANCE, at=night, rows=(), suspension_reasons=["B_GAP", "A_MISISSUE"]
    )
    assert refusal.code == "SERVICE_SUSPENDED" and refusal.detail["reason"] == "A_MISISSUE"


def test_hours__with_a_later_row__change_on_that_day_in_japan():
    early = Hours(date(2026, 1, 1), timedelta(hours=7), timedelta(hours=20))
    late = Hours(date(2026, 12, 1), timedelta(hours=9), timedelta(hours=17))
    rows = [late, early]
    assert _verdict(datetime(2026, 11, 30, 19, tzinfo=JST), rows=rows) == "OPEN"
    assert _verdict(datetime(2026, 12, 1, 19, tzinfo=JST), rows=rows) == "SERVICE_OUTSIDE_HOURS"
    assert hours_on(date(2025, 12, 31), rows) is None


def test_closed_day__of_the_year__is_refused_each_year():
    rows = [
        Hours(
            date(2020, 1, 1), timedelta(hours=7), timedelta(hours=20), frozenset({"12-31", "01-01"})
        )
    ]
    for day in (datetime(2026, 12, 31, 12, tzinfo=JST), datetime(2027, 1, 1, 12, tzinfo=JST)):
        assert _verdict(day, rows=rows) == "SERVICE_CLOSED_DAY"
    assert _verdict(datetime(2027, 1, 2, 12, tzinfo=JST), rows=rows) == "OPEN"


@pytest.mark.parametrize("service", list(Service))
def test_national_hours__of_every_service__are_there(service):
    assert queries.national_hours(service)


@pytest.mark.requirement("R-217")
def test_issuance__on_new_years_day__is_open():
    assert _verdict(datetime(2027, 1, 1, 6, 30, tzinfo=JST)) == "OPEN"


def test_recovery__at_night__is_open():
    at = datetime(2026, 11, 22, 23, 59, 59, tzinfo=JST)
    rows = queries.national_hours(Service.RECOVERY)
    assert _verdict(at, service=Service.RECOVERY, rows=rows) == "OPEN"
