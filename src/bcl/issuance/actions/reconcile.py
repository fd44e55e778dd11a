"""Comparing one day with the delivery center (照合, domain 5.2 step 10)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from bcl.foundation import audit, tenancy
from bcl.foundation.audit import Actor
from bcl.issuance.models import IssuanceTransaction
from bcl.issuance.rules import PAPER_LEFT
from bcl_contract.clock import JST
from bcl_contract.delivery_center import DeliveryStatus, ReconcileEntry, ReconcileRequest


@dataclass(frozen=True, slots=True)
class DayDifference:
    """One transaction on which the two sides disagree; None = that side doesn't know of it."""

    transaction_number: str
    center_status: DeliveryStatus | None
    state: str | None


def reconcile_day(
    *, request: ReconcileRequest, by: Actor, at: datetime
) -> tuple[DayDifference, ...]:
    """List every transaction of a day (JST, by the time of the request) that is not the same.

    Changes nothing: what a difference means, people decide. Sorted by number.
    """
    begin = datetime.combine(request.day, time(0), tzinfo=JST)
    theirs = {entry.transaction_number: entry for entry in request.transactions}
    with tenancy.scope(request.municipality_code):
        rows = IssuanceTransaction.objects.filter(
            municipality_code=request.municipality_code,
            requested_at__gte=begin,
            requested_at__lt=begin + timedelta(days=1),
        )
        ours = {row.transaction_number: row for row in rows.iterator()}
        found = tuple(
            DayDifference(
                number,
                theirs[number].status if number in theirs else None,
                str(ours[number].state) if number in ours else None,
            )
            for number in sorted(theirs.keys() | ours.keys())
            if not _agree(ours.get(number), theirs.get(number))
        )
        audit.record(
            act="reconcile_day",
            by=by,
            at=at,
            detail={"day": request.day.isoformat(), "differences": len(found)},
        )
    return found


def _agree(ours: IssuanceTransaction | None, theirs: ReconcileEntry | None) -> bool:
    if theirs is None or theirs.status is None:
        # Nothing was handed out there: then no paper may have left here.
        return ours is None or ours.state not in PAPER_LEFT
    return ours is not None and (
        ours.delivery_status,
        ours.printed_copies,
        ours.paid_yen,
    ) == (theirs.status.value, theirs.printed_copies, theirs.paid_yen)
