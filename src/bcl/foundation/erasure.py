"""Crypto-erasure: what is on record before, the destruction itself, and the proof (R-027).

Who may ask and approve stands in `municipalities.erasure`; here the keys go. The steps can be
repeated from any point: what is destroyed already is reported as it is.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from bcl.foundation import clock, crypto, escrow, keys, sealed_data, tenancy
from bcl.foundation.key_cache import CONFIRM_SECONDS
from bcl.foundation.models import DataKey, KeyEscrow, TownKey

FORMAT = "bcl-erasure-proof-1"
_REFUSED = "refused"
_OPENED = "OPENED"


def facts_before(municipality_code: str) -> dict[str, Any]:
    """Digests of the wrapped keys and the number of sealed values, for the proof."""
    with tenancy.scope(municipality_code):
        return {
            "town_keys": [
                {
                    "version": row.version,
                    "kek": row.provider_key_id,
                    "wrapped_sha256": _digest(row.wrapped_key),
                }
                for row in TownKey.objects.order_by("version")
            ],
            "data_keys": [
                {
                    "purpose": row.purpose,
                    "version": row.version,
                    "wrapped_sha256": _digest(row.wrapped_key),
                }
                for row in DataKey.objects.order_by("purpose", "version")
            ],
            "escrows": list(
                KeyEscrow.objects.filter(destroyed_at=None)
                .order_by("pk")
                .values_list("package_sha256", flat=True)
            ),
            "sealed_values": {
                each.name: each.count(municipality_code) for each in sealed_data.all_sealed()
            },
            "readable_before": _attempts(municipality_code),
        }


def destroy(municipality_code: str, before: dict[str, Any], *, at: datetime) -> dict[str, Any]:
    """Destroy every key of the town and give what was done; safe to repeat.

    The provider's key goes first: from then on no backup opens, even if the rest is interrupted.
    """
    kek_ids = sorted({each["kek"] for each in before["town_keys"]})
    keks = keys.destroy_keks(municipality_code, kek_ids)
    # KEKs that a rolled back transaction left behind belong to the town as well.
    left_over = [each for each in keys.provider().kek_ids(municipality_code) if each not in keks]
    keks |= keys.destroy_keks(municipality_code, left_over)
    keys.destroy_town_keys(municipality_code, at=at)
    escrow.retire_escrows(municipality_code, at=at)
    keys.forget_cached_keys()
    return {"keks": keks, "attempts_after": _attempts(municipality_code)}


def proof(
    municipality_code: str,
    *,
    before: dict[str, Any],
    after: dict[str, Any],
    at: datetime,
) -> dict[str, Any]:
    """The proof's content about keys and data; the caller adds who asked and signs."""
    shared = sorted(kek for kek, outcome in after["keks"].items() if outcome == "shared")
    aged_out = (at + timedelta(days=settings.BCL.backup_retention_days)).astimezone(clock.JST)
    return {
        "format": FORMAT,
        "municipality_code": municipality_code,
        "erased_at": at.astimezone(clock.JST).isoformat(),
        "before": before,
        "keks": after["keks"],
        "attempts_after": after["attempts_after"],
        "unreadable_values": sum(before["sealed_values"].values()),
        "nothing_opens": _OPENED not in after["attempts_after"].values(),
        "memory_forgotten_within_seconds": CONFIRM_SECONDS,
        "backups": {
            "hold_wrapped_keys_until": aged_out.isoformat(),
            "readable_until": aged_out.isoformat() if shared else None,
            "why": "keks_destroyed" if not shared else "shared_kek_of_the_first_version",
            "escrow_copies_to_destroy": before["escrows"],
        },
    }


def _attempts(municipality_code: str) -> dict[str, str]:
    """Try to open one value of every kind: OPENED, refused, or empty where there is none."""
    outcome = {}
    for each in sealed_data.all_sealed():
        with tenancy.scope(municipality_code):
            try:
                opened = each.open_one(municipality_code)
            except (keys.KeyFault, crypto.SealFault):
                outcome[each.name] = _REFUSED
            else:
                outcome[each.name] = "empty" if opened is None else _OPENED
    return outcome


def _digest(wrapped: bytes | memoryview | None) -> str | None:
    return None if wrapped is None else hashlib.sha256(bytes(wrapped)).hexdigest()
