"""Whether a service is open: pure decisions over hours and suspensions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from bcl_contract.clock import JST
from bcl_contract.refusals import Refusal

_WHOLE_DAY = timedelta(hours=24)


class Service(StrEnum):
    """The services whose hours and suspensions are kept."""

    BACKUP = "BACKUP"
    ISSUANCE = "ISSUANCE"
    RECOVERY = "RECOVERY"
    DISASTER = "DISASTER"


@dataclass(frozen=True)
class Hours:
    """Hours of a service from a date on. Times count from midnight in Japan; `closes_at` is
    exclusive. `closed_days` are month and day as `12-29`."""

    effective_from: date
    opens_at: timedelta
    closes_at: timedelta
    closed_days: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not timedelta(0) <= self.opens_at < self.closes_at <= _WHOLE_DAY:
            raise ValueError("a service must open before it closes, within one day")


def hours_on(day: date, rows: Iterable[Hours]) -> Hours | None:
    """The hours in force on `day`: of those that have begun, the latest."""
    begun = [row for row in rows if row.effective_from <= day]
    return max(begun, key=lambda row: row.effective_from, default=None)


def decide_open(
    *, service: Service, at: datetime, rows: Iterable[Hours], suspension_reasons: Iterable[str]
) -> Refusal | None:
    """Why the service isn't available at `at`, or None when it is.

    A suspension comes first: it is what staff have to act on, at any hour.
    """
    reason = min(suspension_reasons, default=None)
    if reason is not None:
        return Refusal("SERVICE_SUSPENDED", {"service": service.value, "reason": reason})
    local = at.astimezone(JST)
    hours = hours_on(local.date(), rows)
    if hours is None:
        return Refusal("SERVICE_OUTSIDE_HOURS", {"service": service.value})
    if f"{local:%m-%d}" in hours.closed_days:
        return Refusal("SERVICE_CLOSED_DAY", {"service": service.value})
    since_midnight = timedelta(
        hours=local.hour,
        minutes=local.minute,
        seconds=local.second,
        microseconds=local.microsecond,
    )
    if not hours.opens_at <= since_midnight < hours.closes_at:
        return Refusal("SERVICE_OUTSIDE_HOURS", {"service": service.value})
    return None
