"""Where accounts keep sealed values."""

from __future__ import annotations

from uuid import UUID

from bcl.foundation.sealed_data import SealedCells, SealedData


def _uuid(row_id: UUID) -> bytes:
    return row_id.bytes


SEALED: list[SealedData] = [
    SealedCells(table, column, place=("id",), row_id=_uuid, key_type="uuid")
    for table, column in (
        ("accounts_staffaccount", "sealed_name"),
        ("accounts_staffaccount", "sealed_totp_secret"),
        ("accounts_passkey", "sealed_label"),
        ("accounts_elevation", "sealed_reason"),
    )
]
