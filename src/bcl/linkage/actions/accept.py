"""Accepting a transmission: the fact and the job that opens it are one transaction (step 5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction

from bcl.foundation import audit, jobs
from bcl.linkage.actions.obstacle import publish_obstacle
from bcl.linkage.models import Transmission, Upload
from bcl.linkage.rules import TransmissionState

OPEN_TASK = "linkage.open_transmission"
OPEN_URGENT_TASK = "linkage.open_urgent_transmission"


@dataclass(frozen=True)
class Accepted:
    """The transmission that stands for these bytes. `is_over`: nothing is left to do with them."""

    transmission: Transmission
    is_over: bool


def accept_transmission(
    *, upload: Upload, sha256: str, lane: str, gateway_id: str, at: datetime
) -> Accepted:
    """Record a finished upload as a transmission, inside the caller's transaction.

    `lane` is what its manifest says, empty when that can't be read; nothing is verified yet.

    The same bundle with the same content, however often and however parallel it is sent, is one
    transmission and gives the first answer again (R-018). Other content under a bundle id that
    is taken is refused as a fork: one of the two is not what the town hall believes it sent.
    """
    facts = {
        "municipality_code": upload.municipality_code,
        "bundle_id": upload.bundle_id,
        "sha256": sha256,
    }
    known = Transmission.objects.filter(**facts).first()
    if known is None:
        rivals = Transmission.objects.filter(bundle_id=upload.bundle_id).exclude(
            state=TransmissionState.REJECTED
        )
        forked = rivals.exists()
        try:
            # A savepoint: of five parallel twins one wins, the others wait here and read it.
            with transaction.atomic():
                created = Transmission.objects.create(
                    **facts,
                    bytes=upload.length,
                    upload_id=upload.id,
                    key_version=upload.key_version,
                    gateway_id=gateway_id,
                    lane=lane,
                    state=TransmissionState.REJECTED if forked else TransmissionState.RECEIVED,
                    refusal_code="TRANSMISSION_FORK" if forked else "",
                    received_at=at,
                )
        except IntegrityError:
            known = Transmission.objects.get(**facts)
    if known is not None:
        return Accepted(known, is_over=known.upload_id != upload.id)
    _record_acceptance(created, gateway_id=gateway_id, at=at)
    return Accepted(created, is_over=forked)


def _record_acceptance(transmission: Transmission, *, gateway_id: str, at: datetime) -> None:
    audit.record(
        act="reject_transmission" if transmission.refusal_code else "accept_transmission",
        by=audit.Actor("gateway", gateway_id),
        at=at,
        detail={
            "transmission": transmission.id.hex,
            "bytes": transmission.bytes,
            "sha256": transmission.sha256,
            "code": transmission.refusal_code,
        },
    )
    if not transmission.refusal_code:
        defer_opening(transmission, occasion="received")
    if transmission.lane == "urgent" or transmission.refusal_code:
        publish_obstacle(transmission.municipality_code, at=at)


def defer_opening(transmission: Transmission, *, occasion: str) -> None:
    """Queue the opening of a transmission in the current transaction, once per occasion.

    The urgent lane has a queue of its own: a restriction must not stand behind the landing of a
    million rows.
    """
    jobs.defer(
        OPEN_URGENT_TASK if transmission.lane == "urgent" else OPEN_TASK,
        municipality_code=transmission.municipality_code,
        idempotency_key=f"{transmission.id}:{occasion}",
        transmission_id=str(transmission.id),
    )
