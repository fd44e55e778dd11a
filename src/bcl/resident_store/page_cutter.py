"""Cutting rows into pages, deflating and sealing them: arithmetic only, no database.

Runs in a load's own process or in one of its workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from bcl.resident_store import deflate_splice
from bcl.resident_store.pages import PAGE_ROWS, PagePlace, Slots, seal

_LINE_END = b"\r\n"


@dataclass(frozen=True)
class SealedPage:
    """One page ready to be stored; `slots` packed, `crc32` and `clear_size` of the clear page."""

    number: int
    rows: int
    clear_size: int
    crc32: int
    slots: bytes
    sealed: bytes


@dataclass(frozen=True)
class PageCutter:
    """Makes the pages of one file of one load."""

    municipality_code: str
    file_id: str
    load_number: int
    key_version: int
    secret: bytes = field(repr=False)

    def from_lines(
        self, lines: Sequence[bytes], slots: Slots, *, first_number: int
    ) -> Iterator[SealedPage]:
        """Pages of lines without their line ends; the last one may be short."""
        for number, first in enumerate(range(0, len(lines), PAGE_ROWS), first_number):
            part = slice(first, first + PAGE_ROWS)
            yield self._page(number, _LINE_END.join(lines[part]) + _LINE_END, slots.take(part))

    def from_canonical(
        self, canonical: bytes, offsets: np.ndarray, slots: Slots, *, first_number: int
    ) -> Iterator[SealedPage]:
        """Pages of all rows of a canonical text; `offsets` int64 (rows + 1) of its lines."""
        for number, first in enumerate(range(0, len(slots), PAGE_ROWS), first_number):
            last = min(first + PAGE_ROWS, len(slots))
            clear = canonical[int(offsets[first]) : int(offsets[last])]
            yield self._page(number, clear, slots.take(slice(first, last)))

    def _page(self, number: int, clear: bytes, slots: Slots) -> SealedPage:
        place = PagePlace(
            self.municipality_code, self.file_id, self.load_number, number, self.key_version
        )
        return SealedPage(
            number, len(slots), len(clear), deflate_splice.crc32(clear), slots.packed(),
            seal(self.secret, place, deflate_splice.deflate_page(clear)),
        )
