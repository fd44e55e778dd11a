"""Moving transactions along the one transition table (decision D20), and closing the late ones."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from bcl.availability import api as availability
from bcl.foundation import audit, clock, tenancy
from bcl.foundation.audit import SYSTEM, Actor
from bcl.issuance import queries
from bcl.issuance.models import Inquiry, IssuanceTransaction, SeenMessage
from bcl.issuance.rules import TransactionState as State
from bcl.issuance.rules import check_transition, is_misissue, outward
from bcl_contract.refusals import Refusal

_ENDS = {
    "ISSUE_DEADLINE_PASSED": State.EXPIRED,
    "ISSUE_FAILED": State.FAILED,
    "ISSUE_DOCUMENT_CHECK_FAILED": State.FAILED,
}
MISISSUE_REASON = "MISISSUE_PREVENTED"
_OPEN = (State.REQUESTED, State.APPROVED, State.ISSUED)
_CONFIRMED_WITHIN = timedelta(minutes=30)
# A message older than the contract's time window is refused for its age; references to household
# members end long before.
_MESSAGES_KEPT = timedelta(minutes=10)
_INQUIRIES_KEPT = timedelta(hours=24)


def lock(municipality_code: str, transaction_number: str) -> IssuanceTransaction:
    """Fetch a transaction and keep it for the caller's database transaction."""
    return IssuanceTransaction.objects.select_for_update(of=("self",), no_key=True).get(
        municipality_code=municipality_code, transaction_number=transaction_number
    )


def move(row: IssuanceTransaction, state: State, **fields: Any) -> None:
    """Change the state, and fields with it. Raises `TransitionError`: a defect of ours."""
    check_transition(row.state, state)
    row.state = state
    for name, value in fields.items():
        setattr(row, name, value)
    row.save(update_fields=["state", *fields])


def close(municipality_code: str, transaction_number: str, *, refusal: Refusal, by: Actor) -> None:
    """End a transaction with a refusal: outward code in clear, inner code sealed.

    A paper that was sent already stays SENT: a refused repetition takes nothing back.
    A paper that named somebody else than it should stops the town's issuing in the same
    transaction (handbook II-6.2, reliability M7); staff resume it when the cause is known.
    """
    with tenancy.scope(municipality_code):
        row = lock(municipality_code, transaction_number)
        now = clock.now()
        code = outward(refusal).code
        if row.state in _OPEN:
            # One length for every code: the sealed cell's size must not tell which it is.
            reason = refusal.code.ljust(queries.REASON_BYTES).encode()
            move(
                row,
                _ENDS.get(refusal.code, State.REFUSED),
                refusal_code=code,
                reason=queries.seal_transaction_cell(row, "reason", reason),
                ended_at=now,
            )
        if is_misissue(refusal):
            _suspend(municipality_code, at=now)
        audit.record(
            act="refuse_certificate",
            by=by,
            at=now,
            detail={"transaction": transaction_number, "code": code},
        )


def stop_town(municipality_code: str, transaction_number: str, *, at: datetime) -> None:
    """Stop a town's issuing because of a paper that belongs to no transaction of it."""
    with tenancy.scope(municipality_code):
        _suspend(municipality_code, at=at)
        audit.record(
            act="refuse_certificate",
            by=SYSTEM,
            at=at,
            detail={"transaction": transaction_number, "code": "ISSUE_TRANSACTION_UNKNOWN"},
        )


def _suspend(municipality_code: str, *, at: datetime) -> None:
    availability.suspend(
        municipality_code, availability.Service.ISSUANCE, MISISSUE_REASON, by=SYSTEM, at=at
    )


def close_overdue(municipality_code: str, *, at: datetime) -> int:
    """End what nobody will end any more: past deadlines, and papers never confirmed.

    Returns how many changed. A process that died in the middle leaves its row to this.
    """
    changed = 0
    with tenancy.scope(municipality_code):
        rows = IssuanceTransaction.objects.filter(municipality_code=municipality_code)
        late = rows.filter(state__in=_OPEN, deadline_at__lte=at)
        for row in late.select_for_update(of=("self",), no_key=True, skip_locked=True):
            move(row, State.EXPIRED, refusal_code="CENTER_DEADLINE_PASSED", ended_at=at)
            changed += 1
        silent = rows.filter(state=State.SENT, deadline_at__lte=at - _CONFIRMED_WITHIN)
        for row in silent.select_for_update(of=("self",), no_key=True, skip_locked=True):
            move(row, State.UNCONFIRMED)
            changed += 1
        if changed:
            audit.record(
                act="close_overdue_transactions", by=SYSTEM, at=at, detail={"count": changed}
            )
    return changed


def forget_old_messages(municipality_code: str, *, at: datetime) -> int:
    """Drop message ids and inquiries that nothing can refer to any more; returns how many."""
    with tenancy.scope(municipality_code):
        messages, _ = SeenMessage.objects.filter(
            municipality_code=municipality_code, seen_at__lt=at - _MESSAGES_KEPT
        ).delete()
        inquiries, _ = Inquiry.objects.filter(
            municipality_code=municipality_code, asked_at__lt=at - _INQUIRIES_KEPT
        ).delete()
        return int(messages + inquiries)
