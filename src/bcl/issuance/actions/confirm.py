"""Taking the kiosk's word on what became of a paper (結果通知, domain 5.2 step 9)."""

from __future__ import annotations

from datetime import datetime

from bcl.foundation import audit, tenancy
from bcl.foundation.audit import Actor
from bcl.issuance import queries
from bcl.issuance.actions import states
from bcl.issuance.rules import TransactionState as State
from bcl.issuance.rules import outward
from bcl_contract.delivery_center import ConfirmRequest, DeliveryStatus
from bcl_contract.refusals import Refusal

_END_OF = {
    DeliveryStatus.PRINTED: State.DELIVERED,
    DeliveryStatus.ABORTED: State.ABORTED,
    DeliveryStatus.PRINT_FAILED: State.FAILED,
}
_AWAITING = (State.SENT, State.UNCONFIRMED)


def confirm_delivery(*, request: ConfirmRequest, by: Actor, at: datetime) -> str | Refusal:
    """Put the result on record and return the state; only DELIVERED is ever billed.

    The same result again gives the same state. Refuses (outward codes) an unknown transaction,
    another result than the one on record, more copies than were asked for, and a transaction
    whose paper never left.
    """
    code, number = request.municipality_code, request.transaction_number
    with tenancy.scope(code):
        if queries.find_transaction(code, number) is None:
            return outward(Refusal("ISSUE_TRANSACTION_UNKNOWN"))
        row = states.lock(code, number)
        told = (request.status.value, request.printed_copies, request.paid_yen)
        if (row.delivery_status, row.printed_copies, row.paid_yen) == told:
            return str(row.state)
        may_end = row.state in _AWAITING and request.printed_copies <= row.copies
        if not may_end:
            audit.record(act="refuse_confirmation", by=by, at=at, detail={"transaction": number})
            return outward(Refusal("ISSUE_TRANSACTION_STATE"))
        states.move(
            row,
            _END_OF[request.status],
            delivery_status=request.status.value,
            printed_copies=request.printed_copies,
            paid_yen=request.paid_yen,
            ended_at=request.confirmed_at,
        )
        audit.record(
            act="confirm_delivery",
            by=by,
            at=at,
            detail={
                "transaction": number,
                "status": request.status.value,
                "copies": request.printed_copies,
            },
        )
        return str(row.state)
