"""From a block of lines to everything a load must know about its rows.

Owns: checking, digests, keys, and (when asked) the sealed pages of one block.
Promises: needs no database, no settings and no other block, so it runs in any process; the same
block gives the same answer in each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bcl.resident_store import record_columns
from bcl.resident_store.blind_keys import BlindKeys
from bcl.resident_store.page_cutter import PageCutter, SealedPage
from bcl.resident_store.pages import Slots
from bcl_contract.linkage.findings import FATAL, ROW, Finding
from bcl_contract.linkage.layouts import Layout
from bcl_contract.linkage.table import Block, Chunk, parse_block
from bcl_contract.linkage.table_check import CheckContext, check_chunk

_LINE_END = b"\r\n"
NO_NUMBERS = np.zeros(0, dtype=np.int64)


def never() -> bool:
    """What a checker assumes about the lines behind a block it sees alone."""
    return False


@dataclass(frozen=True)
class SealedRows:
    """Pages made of the rows marked in `rows`, bool (rows of the block), before anybody knew
    whether all of them would be stored."""

    rows: np.ndarray
    pages: list[SealedPage]


@dataclass
class CheckedRows:
    """What is known of the rows of one block. Arrays run over its rows.

    `canonical` holds the rows in canonical form; `numbers` int64 are their lines in the original
    file, which the findings name too. `bad` rows have an error and are never stored; `deleted`
    rows say that their record ends; `valid_links` are those rows of J05 that link a certificate.
    `search_keys` int64 (m) are found by, each for one of the rows `search_rows` int32 (m).
    """

    layout: Layout
    first_line: int
    canonical: bytes
    findings: list[Finding]
    slots: Slots
    bad: np.ndarray
    deleted: np.ndarray
    valid_links: np.ndarray
    search_keys: np.ndarray
    search_rows: np.ndarray
    sealed: SealedRows | None = None
    numbers: np.ndarray = field(default_factory=lambda: NO_NUMBERS)
    _chunk: Chunk | None = None
    _lines: list[bytes] | None = None

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def lines(self) -> list[bytes]:
        """The canonical lines without their line ends."""
        if self._lines is None:
            self._lines = self.canonical.split(_LINE_END)[:-1]
        return self._lines

    def row_of(self, line: int) -> int:
        """The row of an original line number (numbers ascend)."""
        return int(np.searchsorted(self.numbers, line))

    def value_bytes(self, row: int, name: str) -> bytes:
        """One value as UTF-8."""
        return self._parsed().value_bytes(row, name)

    def values(self, row: int) -> dict[str, str | None]:
        """All values of a row, None when empty."""
        chunk = self._parsed()
        return {name: chunk.value(row, name) or None for name in self.layout.names}

    def _parsed(self) -> Chunk:
        if self._chunk is None:  # the rows came from another process
            block = Block(self.first_line, self.canonical, len(self))
            self._chunk = parse_block(block, self.layout, name="", closes_later=never)
        return self._chunk


class RowChecker:
    """Checks the blocks of one file; with a `cutter` it seals their pages at once."""

    def __init__(
        self, *, layout: Layout, context: CheckContext, keys: BlindKeys, urgent: bool,
        cutter: PageCutter | None = None,
    ) -> None:
        self._layout, self._context, self._keys = layout, context, keys
        self._urgent, self._cutter = urgent, cutter

    def check(
        self, block: Block, *, closes_later: Callable[[], bool] = never, first_page: int = 0
    ) -> CheckedRows:
        """Check a block. `first_page` numbers its pages. Raises `TableFault`."""
        chunk = parse_block(
            block, self._layout, name=self._context.file, closes_later=closes_later
        )
        findings = check_chunk(self._layout, chunk, self._context)
        slots = record_columns.slots_of(
            chunk, self._keys, digests=self._keys.content_digests(_views(chunk)),
            urgent=self._urgent,
        )
        search_keys, search_rows = record_columns.search_entries(chunk, self._keys, slots)
        checked = CheckedRows(
            layout=self._layout, first_line=block.first_line, canonical=chunk.canonical,
            findings=findings, slots=slots, bad=_bad_rows(chunk, findings),
            deleted=record_columns.equals(chunk, "deleted", b"1"),
            valid_links=record_columns.valid_links(chunk),
            search_keys=search_keys, search_rows=search_rows, _chunk=chunk,
        )
        if self._cutter is not None:
            checked.sealed = _sealed(self._cutter, checked, chunk, first_page)
        return checked


def _views(chunk: Chunk) -> list[memoryview]:
    """The lines without their line ends, not copied."""
    whole, offsets = memoryview(chunk.canonical), chunk.offsets
    ends = (offsets[1:] - len(_LINE_END)).tolist()
    return [whole[a:b] for a, b in zip(offsets[:-1].tolist(), ends, strict=True)]


def _bad_rows(chunk: Chunk, findings: list[Finding]) -> np.ndarray:
    bad = np.zeros(chunk.rows, dtype=bool)
    for finding in findings:
        if finding.severity in (ROW, FATAL) and finding.line is not None:
            bad[finding.line - chunk.first_line] = True
    return bad


def _sealed(
    cutter: PageCutter, checked: CheckedRows, chunk: Chunk, first_page: int
) -> SealedRows:
    """The pages of those rows that will be stored unless another block has them too."""
    rows = ~(checked.bad | checked.deleted)
    if rows.all():
        pages = cutter.from_canonical(
            chunk.canonical, chunk.offsets, checked.slots, first_number=first_page
        )
    else:
        kept = np.flatnonzero(rows)
        lines = checked.lines
        pages = cutter.from_lines(
            [lines[row] for row in kept.tolist()], checked.slots.take(kept),
            first_number=first_page,
        )
    return SealedRows(rows, list(pages))
