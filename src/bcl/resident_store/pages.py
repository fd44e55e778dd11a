"""Pages: 128 canonical lines, deflated and sealed as one; and the slots that index them.

Owns: the packed form of a page's slots, sealing, opening, cutting a page into lines.
Promises: a sealed page opens only in its own place (municipality, file, load, page number, key
version); the contents of a page never change.
"""

from __future__ import annotations

import secrets
import struct
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bcl.foundation.places import aad
from bcl.resident_store import deflate_splice
from bcl.resident_store.blind_keys import DIGEST_BYTES, halves, whole

PAGE_ROWS = 128
TABLE = "resident_store_page"
LATEST, URGENT = 1, 2
"""Flags of a slot: the register's latest row of its subject; came by the urgent lane."""
_NONCE_BYTES = 12
_LINE_END = b"\r\n"
_KEY = struct.Struct(">q")
SLOT_BYTES = 2 * DIGEST_BYTES + 3 * 8 + 1


class PageFault(Exception):
    """A page can't be opened or does not hold what its index says. Raised without any value."""


@dataclass
class Slots:
    """The index of some records, one row each.

    `digests`, `records` uint64 (n, 2); `persons`, `households` int64 (n), 0 = none;
    `facts` uint64 (n), padded household facts; `flags` uint8 (n).
    """

    digests: np.ndarray
    records: np.ndarray
    persons: np.ndarray
    households: np.ndarray
    facts: np.ndarray
    flags: np.ndarray

    def __len__(self) -> int:
        return len(self.flags)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """The columns in their packed order."""
        return (
            self.digests, self.records, self.persons, self.households, self.facts, self.flags,
        )

    def take(self, chosen: np.ndarray | slice) -> Slots:
        """Some of the records."""
        return Slots(*(array[chosen] for array in self.arrays()))

    @staticmethod
    def joined(parts: Sequence[Slots]) -> Slots:
        """Several runs of records as one."""
        if len(parts) == 1:
            return parts[0]
        columns = zip(*(part.arrays() for part in parts), strict=True)
        return Slots(*(np.concatenate(column) for column in columns))

    @staticmethod
    def empty() -> Slots:
        """No record."""
        return Slots.room_for(0)

    @staticmethod
    def room_for(count: int) -> Slots:
        """Arrays to be filled with so many records."""
        return Slots(
            np.empty((count, 2), np.uint64), np.empty((count, 2), np.uint64),
            np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.uint64),
            np.empty(count, np.uint8),
        )

    def fill(self, into: slice, part: Slots) -> None:
        """Put records in their places."""
        for array, source in zip(self.arrays(), part.arrays(), strict=True):
            array[into] = source

    def packed(self) -> bytes:
        """Column after column, big-endian: `SLOT_BYTES` a record."""
        return b"".join(
            (
                whole(self.digests).tobytes(), whole(self.records).tobytes(),
                self.persons.astype(">i8").tobytes(), self.households.astype(">i8").tobytes(),
                self.facts.astype(">u8").tobytes(), self.flags.tobytes(),
            )
        )


def unpack_slots(packed: Sequence[bytes], rows: Sequence[int]) -> Slots:
    """Undo `Slots.packed` for many pages, in their order. Raises `PageFault` on a wrong size."""
    if not packed:
        return Slots.empty()
    if all(count == rows[0] for count in rows):
        return _unpack_equal(packed, rows[0])
    runs: list[tuple[int, list[bytes]]] = []  # neighbours of equal size: nearly all are full
    for each, count in zip(packed, rows, strict=True):
        if not runs or runs[-1][0] != count:
            runs.append((count, []))
        runs[-1][1].append(each)
    return Slots.joined([_unpack_equal(each, count) for count, each in runs])


@dataclass(frozen=True)
class SlotView:
    """The index of one record; keys 0 = none."""

    record_key: uuid.UUID
    person_key: int
    household_key: int
    flags: int


def one_slot(packed: bytes, rows: int, slot: int) -> SlotView:
    """The index of one record of a page, without unpacking the others."""
    if len(packed) != rows * SLOT_BYTES:
        raise PageFault("the index of a page has a wrong size")
    at = rows * DIGEST_BYTES + slot * DIGEST_BYTES
    record = uuid.UUID(bytes=packed[at : at + DIGEST_BYTES])
    at = rows * 2 * DIGEST_BYTES + slot * 8
    (person,) = _KEY.unpack_from(packed, at)
    (household,) = _KEY.unpack_from(packed, at + rows * 8)
    return SlotView(record, person, household, packed[rows * (SLOT_BYTES - 1) + slot])


def _unpack_equal(packed: Sequence[bytes], rows: int) -> Slots:
    if any(len(each) != rows * SLOT_BYTES for each in packed):
        raise PageFault("the index of a page has a wrong size")
    matrix = np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(len(packed), -1)
    columns, at = [], 0
    for width in (DIGEST_BYTES, DIGEST_BYTES, 8, 8, 8, 1):
        part = np.ascontiguousarray(matrix[:, at : at + rows * width])
        columns.append(part.reshape(-1, width))
        at += rows * width
    return Slots(
        halves(columns[0]), halves(columns[1]),
        columns[2].view(">i8")[:, 0].astype(np.int64),
        columns[3].view(">i8")[:, 0].astype(np.int64),
        columns[4].view(">u8")[:, 0].astype(np.uint64),
        columns[5][:, 0].copy(),
    )


# -- liveness ----------------------------------------------------------------------------------


def live_mask(live: np.ndarray) -> bytes:
    """bool (rows) -> bitmap, slot 0 in the lowest bit."""
    return np.packbits(live, bitorder="little").tobytes()


def live_slots(mask: bytes, rows: int) -> np.ndarray:
    """Bitmap -> bool (rows)."""
    bits = np.unpackbits(np.frombuffer(mask, dtype=np.uint8), bitorder="little")
    return bits[:rows].astype(bool)


# -- sealing -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PagePlace:
    """Where a page stands: what its sealing is bound to."""

    municipality_code: str
    file_id: str
    load_number: int
    page_number: int
    key_version: int

    def associated_data(self) -> bytes:
        """Associated data of the page (D12)."""
        place = f"{self.load_number}/{self.page_number}"
        return aad(self.municipality_code, TABLE, self.file_id, place, self.key_version)


def seal(secret: bytes, place: PagePlace, deflated: bytes) -> bytes:
    """Seal a deflated page: nonce (12 bytes), ciphertext, tag (16)."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(secret).encrypt(nonce, deflated, place.associated_data())


def open_deflated(secret: bytes, place: PagePlace, sealed: bytes) -> bytes:
    """Open a page, still deflated. Raises `PageFault` when altered or moved."""
    try:
        return AESGCM(secret).decrypt(
            sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.associated_data()
        )
    except (InvalidTag, ValueError):
        raise PageFault(f"page {place.load_number}/{place.page_number} does not open") from None


def open_some_lines(
    secret: Callable[[int], bytes], place: PagePlace, sealed: bytes, *, clear_size: int,
    slots: Sequence[int],
) -> list[bytes]:
    """Open a page and take the lines of some slots, in their order. Raises `PageFault`."""
    last = max(slots, default=-1)
    pieces = _clear(secret, place, sealed, clear_size).split(_LINE_END, last + 1)
    if len(pieces) <= last + 1:
        raise PageFault(f"page {place.load_number}/{place.page_number} has a wrong row count")
    return [pieces[slot] + _LINE_END for slot in slots]


def _clear(
    secret: Callable[[int], bytes], place: PagePlace, sealed: bytes, clear_size: int
) -> bytes:
    deflated = open_deflated(secret(place.key_version), place, sealed)
    try:
        return deflate_splice.inflate_page(deflated, clear_size)
    except (ValueError, deflate_splice.InflateError):
        where = f"page {place.load_number}/{place.page_number}"
        raise PageFault(f"{where} does not inflate") from None


def open_lines(
    secret: Callable[[int], bytes], place: PagePlace, sealed: bytes, clear_size: int, rows: int
) -> list[bytes]:
    """Open a page and cut it into canonical lines with their CRLF. Raises `PageFault`."""
    clear = _clear(secret, place, sealed, clear_size)
    lines = [line + _LINE_END for line in clear.split(_LINE_END)[:-1]]
    if len(lines) != rows:  # values hold no line ends: the check refuses them before a page
        raise PageFault(f"page {place.load_number}/{place.page_number} has a wrong row count")
    return lines
