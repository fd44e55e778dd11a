"""Acts on service hours and suspensions, each with its audit row."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime, time

from bcl.availability import models
from bcl.availability.rules import Service
from bcl.foundation import audit, tenancy

_REASON = re.compile(r"[A-Z][A-Z0-9_]{2,63}\Z")
_MONTH_DAY = re.compile(r"(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z")


def suspend(
    municipality_code: str,
    service: Service | str,
    reason_code: str,
    by: audit.Actor,
    at: datetime,
) -> bool:
    """Stop a service of a municipality for a reason (upper case words with underscores).

    Gives True when this call stopped it, False when it was stopped for this reason already.
    Several reasons add up: the service runs again when each has been resumed.
    """
    service = Service(service)
    if not _REASON.match(reason_code):
        raise ValueError("a reason code is upper case words joined by underscores")
    with tenancy.scope(municipality_code):
        before = models.Suspension.objects.filter(
            municipality_code=municipality_code,
            service=service.value,
            reason_code=reason_code,
            resumed_at=None,
        ).exists()
        # Two callers may stop at once: the unique index lets one row in.
        models.Suspension.objects.bulk_create(
            [
                models.Suspension(
                    municipality_code=municipality_code,
                    service=service.value,
                    reason_code=reason_code,
                    suspended_at=at,
                    suspended_by=f"{by.kind}:{by.id}",
                )
            ],
            ignore_conflicts=True,
        )
        if not before:
            audit.record(
                act="suspend_service",
                by=by,
                at=at,
                detail={"service": service.value, "reason": reason_code},
            )
    return not before


def resume(
    municipality_code: str,
    service: Service | str,
    reason_code: str,
    by: audit.Actor,
    at: datetime,
) -> bool:
    """End the suspension for this reason; False when there was none."""
    service = Service(service)
    with tenancy.scope(municipality_code):
        changed = models.Suspension.objects.filter(
            municipality_code=municipality_code,
            service=service.value,
            reason_code=reason_code,
            resumed_at=None,
        ).update(resumed_at=at, resumed_by=f"{by.kind}:{by.id}")
        if changed:
            audit.record(
                act="resume_service",
                by=by,
                at=at,
                detail={"service": service.value, "reason": reason_code},
            )
    return bool(changed)


def set_service_hours(
    municipality_code: str,
    service: Service | str,
    *,
    effective_from: date,
    opens_at: time,
    closes_at: time,
    closed_days: Iterable[str] = (),
    by: audit.Actor,
    at: datetime,
) -> None:
    """Set a municipality's own hours from a date on; `closed_days` are `MM-DD`.

    Hours outside 06:30–23:00 aren't offered to the delivery center, so ISSUANCE may only be
    narrower (ValueError otherwise).
    """
    service, days = Service(service), sorted(set(closed_days))
    if not all(_MONTH_DAY.match(day) for day in days):
        raise ValueError("a closed day is written MM-DD")
    if opens_at >= closes_at:
        raise ValueError("a service must open before it closes")
    if service is Service.ISSUANCE and (opens_at < time(6, 30) or closes_at > time(23, 0)):
        raise ValueError("issuance hours must lie within 06:30-23:00")
    with tenancy.scope(municipality_code):
        models.ServiceHours.objects.update_or_create(
            municipality_code=municipality_code,
            service=service.value,
            effective_from=effective_from,
            defaults={
                "opens_at": opens_at,
                "closes_at": closes_at,
                "closed_days": days,
                "set_by": f"{by.kind}:{by.id}"[:128],
                "set_at": at,
            },
        )
        audit.record(
            act="set_service_hours",
            by=by,
            at=at,
            detail={"service": service.value, "effective_from": effective_from.isoformat()},
        )
