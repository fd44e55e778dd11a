"""Asking a town hall to send again: one number of a lane, or a full file (R-022, domain §3.8)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from bcl.foundation import audit, tenancy
from bcl.linkage.models import Lane, ResendRequest, Transmission
from bcl_contract.refusals import Refusal

Kind = Literal["SEQUENCE", "FULL"]


def request_resend(
    municipality_code: str,
    *,
    lane: str,
    sequence: int | None,
    reason_code: str,
    by: audit.Actor,
    at: datetime,
) -> ResendRequest | Refusal:
    """Ask for transmission `sequence` of a lane again, or with None for a full file.

    The gateway hears of it the next time it asks. A number that has landed can't come again: its
    place in the line is taken, and a correction of it is a full file or a later change.
    """
    with tenancy.scope(municipality_code):
        # The lane's row is the lock: two clerks who ask at once make one request.
        Lane.objects.get_or_create(municipality_code=municipality_code, lane=lane)
        place = Lane.objects.select_for_update(of=("self",), no_key=True).get(lane=lane)
        if sequence is not None and sequence <= place.last_sequence:
            return Refusal("LINKAGE_RESEND_LANDED_ALREADY", {"sequence": sequence})
        kind: Kind = "FULL" if sequence is None else "SEQUENCE"
        wanted = {"lane": lane, "kind": kind, "sequence": sequence, "ended_at": None}
        if ResendRequest.objects.filter(**wanted).exists():
            return Refusal("LINKAGE_RESEND_ASKED_ALREADY")
        made = ResendRequest.objects.create(
            municipality_code=municipality_code,
            **wanted,
            reason_code=reason_code,
            requested_at=at,
            requested_by=by.id,
        )
        audit.record(
            act="request_resend",
            by=by,
            at=at,
            detail={"request": made.id.hex, "lane": lane, "sequence": sequence or 0, "kind": kind},
        )
        return made


def end_resend(municipality_code: str, request_id: str, *, by: audit.Actor, at: datetime) -> bool:
    """Take a request back; False when it is not open."""
    with tenancy.scope(municipality_code):
        ended = ResendRequest.objects.filter(id=request_id, ended_at=None).update(ended_at=at)
        if ended:
            audit.record(
                act="withdraw_resend", by=by, at=at, detail={"request": request_id.replace("-", "")}
            )
        return bool(ended)


def open_requests(*, lane: str | None = None) -> Sequence[ResendRequest]:
    """What is asked for and not here yet, the oldest first; in the caller's scope."""
    rows = ResendRequest.objects.filter(ended_at=None).order_by("requested_at", "id")
    return list(rows if lane is None else rows.filter(lane=lane))


def tell_requests(*, at: datetime) -> Sequence[ResendRequest]:
    """The same for the gateway's ears; remembers when it was told first."""
    found = open_requests()
    ResendRequest.objects.filter(ended_at=None, told_at=None).update(told_at=at)
    return found


def fulfil_requests(transmission: Transmission, *, at: datetime) -> int:
    """End the requests that a transmission answers, in its own transaction.

    Called when it has been placed in its lane: a number is answered by that number, a full file
    by a full transmission received after the wish.
    """
    waiting = ResendRequest.objects.filter(
        lane=transmission.lane, ended_at=None, requested_at__lte=transmission.received_at
    )
    answered = waiting.filter(kind="SEQUENCE", sequence=transmission.sequence)
    if transmission.mode == "full":
        answered = answered | waiting.filter(kind="FULL")
    return answered.update(ended_at=at, fulfilled_by=transmission.id)
