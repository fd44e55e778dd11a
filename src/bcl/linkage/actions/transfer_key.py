"""The key a town's packages are encrypted to while an external tool carries them (R-014)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyrage

from bcl.foundation import audit, crypto, tenancy
from bcl.linkage.models import TransferKey

_TABLE, _COLUMN = "linkage_transferkey", "sealed_identity"


@dataclass(frozen=True)
class TransferKeyPublic:
    """What the town hall's settings hold: the key's name and its age recipient."""

    key_id: str
    recipient: str


def get_transfer_key(
    municipality_code: str, *, by: audit.Actor, at: datetime, renew: bool = False
) -> TransferKeyPublic:
    """The town's current key; makes the first, or with `renew` the next one.

    Earlier keys stay: what was encrypted to them may still be on its way.
    """
    with tenancy.scope(municipality_code):
        newest = TransferKey.objects.order_by("-id").first()
        if newest is None or renew:
            newest = _make(municipality_code, by=by, at=at)
        return TransferKeyPublic(newest.key_id, newest.recipient)


def open_identity(municipality_code: str, key_id: str) -> str | None:
    """The private half (age identity), inside the caller's scope; None for an unknown name."""
    key = TransferKey.objects.filter(key_id=key_id).first()
    if key is None:
        return None
    clear = crypto.open_cell(municipality_code, _TABLE, _COLUMN, key_id, bytes(key.sealed_identity))
    return bytes(clear).decode("ascii")


def _make(municipality_code: str, *, by: audit.Actor, at: datetime) -> TransferKey:
    identity = pyrage.x25519.Identity.generate()
    key_id = f"transfer-{TransferKey.objects.count() + 1}"
    made, created = TransferKey.objects.get_or_create(
        municipality_code=municipality_code,
        key_id=key_id,
        defaults={
            "recipient": str(identity.to_public()),
            "sealed_identity": crypto.seal_cell(
                municipality_code, _TABLE, _COLUMN, key_id, str(identity).encode("ascii")
            ),
            "created_at": at,
        },
    )
    if created:
        audit.record(act="make_transfer_key", by=by, at=at, detail={"key": key_id})
    return made
