"""What a person decides about a transmission: release what is held, or refuse it for good."""

from __future__ import annotations

import uuid
from datetime import datetime

from bcl.foundation import audit, tenancy
from bcl.linkage.actions.accept import defer_opening
from bcl.linkage.actions.move import move_transmission
from bcl.linkage.actions.obstacle import publish_obstacle
from bcl.linkage.actions.opening import WAITS_FOR_TURN, clear_bytes, lock_transmission
from bcl.linkage.models import Transmission
from bcl.linkage.rules import TransmissionState
from bcl_contract.refusals import Refusal

TAKES_TWO = frozenset({"TRANSMISSION_MASS_CHANGE", "TRANSMISSION_AS_OF_BACKWARDS"})
"""Doubts that only two persons may set aside."""


def release_held(
    municipality_code: str, transmission_id: uuid.UUID | str, *, by: audit.Actor, at: datetime
) -> Transmission | Refusal:
    """Confirm that a held transmission is right; it is judged again without the doubt.

    Data that would change many records, or go back in time, takes two persons: the first call
    notes who has asked (`released_at` stays None), the second one, of somebody else, releases.
    A transmission that waits for its predecessor can't be released: applying it out of order
    would lose what lies between (R-019).
    """
    with tenancy.scope(municipality_code):
        transmission = _find(transmission_id)
        if isinstance(transmission, Refusal):
            return transmission
        if transmission.state != TransmissionState.HELD:
            return Refusal("TRANSMISSION_NOT_HELD")
        if transmission.refusal_code in WAITS_FOR_TURN:
            return Refusal("TRANSMISSION_WAITS_FOR_PREDECESSOR")
        if transmission.refusal_code in TAKES_TWO and transmission.release_asked_by in ("", by.id):
            return _ask(transmission, by=by, at=at)
        transmission.released_at, transmission.released_by = at, by.id
        transmission.save()
        audit.record(
            act="release_transmission",
            by=by,
            at=at,
            detail={"transmission": transmission.id.hex, "code": transmission.refusal_code},
        )
        defer_opening(transmission, occasion=f"released-{at.timestamp():.0f}")
        return transmission


def ask_release(
    municipality_code: str, transmission_id: uuid.UUID | str, *, by: audit.Actor, at: datetime
) -> Transmission | Refusal:
    """Note that somebody has checked a held transmission and asks another person to release it."""
    with tenancy.scope(municipality_code):
        transmission = _find(transmission_id)
        if isinstance(transmission, Refusal):
            return transmission
        if transmission.state != TransmissionState.HELD or transmission.released_at:
            return Refusal("TRANSMISSION_NOT_HELD")
        if transmission.refusal_code in WAITS_FOR_TURN:
            return Refusal("TRANSMISSION_WAITS_FOR_PREDECESSOR")
        return _ask(transmission, by=by, at=at)


def reject_transmission(
    municipality_code: str, transmission_id: uuid.UUID | str, *, by: audit.Actor, at: datetime
) -> Transmission | Refusal:
    """Refuse a held transmission for good, or confirm that a refused fork was rightly refused.

    Either way a person has looked: its number is free for a corrected transmission again, and a
    confirmed fork no longer stops issuing.
    """
    with tenancy.scope(municipality_code):
        transmission = _find(transmission_id)
        if isinstance(transmission, Refusal):
            return transmission
        if transmission.state not in (TransmissionState.HELD, TransmissionState.REJECTED):
            return Refusal("TRANSMISSION_NOT_HELD")
        _confirm(transmission, by=by, at=at)
        publish_obstacle(municipality_code, at=at)
    clear_bytes(transmission)
    return transmission


def _ask(transmission: Transmission, *, by: audit.Actor, at: datetime) -> Transmission | Refusal:
    if transmission.release_asked_by:
        return Refusal("RELEASE_NEEDS_SECOND_PERSON")
    transmission.release_asked_at, transmission.release_asked_by = at, by.id
    transmission.save()
    audit.record(
        act="ask_release",
        by=by,
        at=at,
        detail={"transmission": transmission.id.hex, "code": transmission.refusal_code},
    )
    return transmission


def _confirm(transmission: Transmission, *, by: audit.Actor, at: datetime) -> None:
    transmission.confirmed_at, transmission.confirmed_by = at, by.id
    if transmission.state == TransmissionState.HELD:
        refusal = Refusal("TRANSMISSION_REJECTED_BY_STAFF")
        move_transmission(transmission, TransmissionState.REJECTED, by=by, at=at, refusal=refusal)
        return
    transmission.save()
    audit.record(
        act="confirm_rejection",
        by=by,
        at=at,
        detail={"transmission": transmission.id.hex, "code": transmission.refusal_code},
    )


def _find(transmission_id: uuid.UUID | str) -> Transmission | Refusal:
    try:
        return lock_transmission(uuid.UUID(str(transmission_id)))
    except (ValueError, Transmission.DoesNotExist):
        return Refusal("TRANSMISSION_NOT_FOUND")
