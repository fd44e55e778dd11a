"""Where accounts keep sealed values."""

from __future__ import annotations

from uuid import UUID

from bcl.foundation.sealed_data import SealedCells, SealedData


def _account(account_id: UUID) -> bytes:
    return account_id.bytes


SEALED: list[SealedData] = [
    SealedCells("accounts_staffaccount", column, place=("id",), row_id=_account, key_type="uuid")
    for column in ("sealed_name", "sealed_totp_secret")
]
