"""Comparing a day with BCL: what the center delivered against what BCL has on record (R-083)."""

from datetime import date

from bcl_contract.delivery_center import (
    ReconcileDifference,
    ReconcileEntry,
    ReconcileRequest,
    new_number,
)
from bcl_contract.refusals import Refusal
from bcl_sim.delivery_center.transactions import Center, delivery_status


def reconcile_day(
    center: Center, municipality_code: str, day: date
) -> tuple[ReconcileDifference, ...] | Refusal:
    """Send the day's list of one town and give the differences; empty is agreement."""
    at = center.now()
    entries = center.journal.list_day(municipality_code, day)
    request = ReconcileRequest(
        message_id=new_number(at),
        sent_at=at,
        municipality_code=municipality_code,
        day=day,
        transactions=tuple(
            ReconcileEntry(
                transaction_number=entry.transaction_number,
                status=delivery_status(entry.state),
                printed_copies=entry.printed_copies,
                paid_yen=entry.paid_yen - entry.refund_yen,
            )
            for entry in entries
        ),
    )
    answer = center.bcl.reconcile(request)
    if isinstance(answer, Refusal):
        return answer
    if answer.refusal is not None:
        return Refusal("CENTER_ANSWER_WRONG")
    return answer.differences
