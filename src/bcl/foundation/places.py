"""The place of a sealed value as bytes: what its sealing is bound to (D12).

Needs neither settings nor database, so that a process without either can seal.
"""

from __future__ import annotations

import struct


def aad(
    municipality_code: str, table: str, column: str, row_id: str | int | bytes, key_version: int
) -> bytes:
    """Associated data of a sealed value: its place, unambiguous by lengths.

    The same place gives the same bytes, different places never do: an integer row id and the
    same digits as text are told apart as well.
    """
    parts = [
        municipality_code.encode(),
        table.encode(),
        column.encode(),
        _row_id_bytes(row_id),
        key_version.to_bytes(4, "big"),
    ]
    return b"bcl1" + b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _row_id_bytes(row_id: str | int | bytes) -> bytes:
    if isinstance(row_id, bytes | bytearray | memoryview):
        return b"b" + bytes(row_id)
    if isinstance(row_id, int):
        return b"i" + str(row_id).encode()
    return b"t" + row_id.encode()
