"""Where issuing keeps sealed values."""

from __future__ import annotations

from bcl.foundation.sealed_data import SealedCells, SealedData
from bcl.issuance.projection import place_of

_TRANSACTIONS = "issuance_issuancetransaction"


def _record_place(file_id: str, record_key: bytes, load_number: int) -> bytes:
    return place_of(file_id, bytes(record_key), load_number)


SEALED: list[SealedData] = [
    SealedCells(
        "issuance_issuablerecord",
        "content",
        place=("file_id", "record_key", "load_number"),
        row_id=_record_place,
    ),
    SealedCells(_TRANSACTIONS, "subject", place=("transaction_number",)),
    SealedCells(_TRANSACTIONS, "reason", place=("transaction_number",)),
    SealedCells("issuance_inquiry", "members", place=("transaction_number",)),
    SealedCells("issuance_officialseal", "image", place=("sha256",)),
]
