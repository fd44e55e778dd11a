"""Reads of service hours and suspensions."""

from __future__ import annotations

import csv
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Literal

from bcl.availability import models, rules
from bcl.availability.rules import Hours, Service
from bcl.foundation import tenancy
from bcl_contract.refusals import Refusal


def is_open(
    municipality_code: str, service: Service | str, at: datetime
) -> Literal[True] | Refusal:
    """True when the service may be used at `at` (aware), else the `Refusal`; never False.

    06:30:00 is open, 22:59:59.999 is open, 23:00:00 is closed. A municipality's own hours take
    the place of the national ones from their date on. Opens the town's scope by itself.
    """
    service = Service(service)
    with tenancy.scope(municipality_code):
        own = [_hours(row) for row in _rows(municipality_code, service)]
        reasons = list(
            models.Suspension.objects.filter(
                municipality_code=municipality_code,
                service=service.value,
                resumed_at=None,
                suspended_at__lte=at,
            ).values_list("reason_code", flat=True)
        )
    day = at.astimezone(rules.JST).date()
    rows = own if rules.hours_on(day, own) else national_hours(service)
    refusal = rules.decide_open(service=service, at=at, rows=rows, suspension_reasons=reasons)
    return True if refusal is None else refusal


def list_suspensions(municipality_code: str, service: Service | str | None = None) -> list[str]:
    """Reason codes of the suspensions now in force, ascending."""
    with tenancy.scope(municipality_code):
        rows = models.Suspension.objects.filter(
            municipality_code=municipality_code, resumed_at=None
        )
        if service is not None:
            rows = rows.filter(service=Service(service).value)
        return sorted(rows.values_list("reason_code", flat=True))


@cache
def national_hours(service: Service) -> tuple[Hours, ...]:
    """The hours that hold where a municipality set none (data/service_hours.csv)."""
    text = files("bcl.availability").joinpath("data/service_hours.csv").read_text("utf-8")
    return tuple(
        Hours(
            effective_from=date.fromisoformat(row["effective_from"]),
            opens_at=_since_midnight(row["opens_at"]),
            closes_at=_since_midnight(row["closes_at"]),
            closed_days=frozenset(row["closed_days"].split()),
        )
        for row in csv.DictReader(text.splitlines())
        if row["service"] == service.value
    )


def _rows(municipality_code: str, service: Service) -> list[models.ServiceHours]:
    return list(
        models.ServiceHours.objects.filter(
            municipality_code=municipality_code, service=service.value
        )
    )


def _hours(row: models.ServiceHours) -> Hours:
    return Hours(
        row.effective_from,
        timedelta(hours=row.opens_at.hour, minutes=row.opens_at.minute),
        timedelta(hours=row.closes_at.hour, minutes=row.closes_at.minute),
        frozenset(row.closed_days),
    )


def _since_midnight(text: str) -> timedelta:
    hours, minutes = text.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes))
