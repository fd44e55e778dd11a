"""Cutting kept lines into pages, sealing them, and writing them while the next ones are parsed.

Two helper threads: one deflates and seals (both release the interpreter lock), one speaks with
the database, on the scope's own connection and in its transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import psycopg

from bcl.resident_store import database
from bcl.resident_store.page_cutter import PageCutter, SealedPage
from bcl.resident_store.pages import PAGE_ROWS, Slots, live_mask

Item = TypeVar("Item")

_PAGES_AT_ONCE = 64
_IDS_AT_ONCE = 1024
_WAITING_BATCHES = 3

_INSERT_PAGES = (
    "INSERT INTO resident_store_page (id, municipality_code, file_id, load_number, page_number,"
    " key_version, rows, clear_size, crc32, live, live_rows, slots, sealed)"
    " SELECT page.id, %s, %s, %b, page.number, %b, page.rows, page.size, page.crc32, page.live,"
    " page.rows, page.slots, page.sealed"
    " FROM unnest(%b::bigint[], %b::int[], %b::smallint[], %b::int[], %b::bigint[], %b::bytea[],"
    " %b::bytea[], %b::bytea[]) page(id, number, rows, size, crc32, live, slots, sealed)"
)


class WriterThreads:
    """The two helper threads of a load; use as a context manager.

    `write` queues a database step; steps run one after another in their order. An exception in a
    helper comes out of the next call here, or of `finish`.
    """

    def __init__(self) -> None:
        self._sealing = ThreadPoolExecutor(1, "bcl-seal")
        self._writing = ThreadPoolExecutor(1, "bcl-write")
        self._waiting: deque[Future[Any]] = deque()

    def __enter__(self) -> WriterThreads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Steps under way end first: the connection must be quiet before anybody rolls back.
        self._sealing.shutdown(wait=True, cancel_futures=True)
        self._writing.shutdown(wait=True, cancel_futures=kind is not None)

    def seal_then_write(
        self, make: Callable[[], Item], write: Callable[[psycopg.Cursor, Item], None]
    ) -> None:
        """Run `make` in the sealing thread, then `write` with its result in the other."""
        made = self._sealing.submit(make)
        self._queue(lambda db: write(db, made.result()))

    def write(self, step: Callable[[psycopg.Cursor], None]) -> None:
        """Run a database step in the writing thread."""
        self._queue(step)

    def finish(self) -> None:
        """Wait until everything queued is written."""
        while self._waiting:
            self._waiting.popleft().result()

    def _queue(self, step: Callable[[psycopg.Cursor], None]) -> None:
        with database.cursor() as db:
            connection = db.connection

        def run() -> None:
            with psycopg.Cursor(connection) as own:
                step(own)

        self._waiting.append(self._writing.submit(run))
        while len(self._waiting) > _WAITING_BATCHES:
            self._waiting.popleft().result()


class PageWriter:
    """Writes the pages of one file of one load, in the order the rows come.

    Either lines are added, and cut into pages here; or pages that were sealed elsewhere under
    numbers reserved before.
    """

    def __init__(self, threads: WriterThreads, cutter: PageCutter) -> None:
        self.pages = 0
        self.rows = 0
        self._threads = threads
        self._cutter = cutter
        self._lines: list[bytes] = []
        self._slots: list[Slots] = []
        self._ids: list[int] = []
        self._page_ids: deque[int] = deque()  # of pages begun and not yet written, in order
        self._open_id = 0  # of the page the next line goes to

    @property
    def cutter(self) -> PageCutter:
        """What makes the pages of this file."""
        return self._cutter

    def reserve(self, rows: int) -> int:
        """Set aside the page numbers for some rows; gives the first."""
        first = self.pages
        self.pages += -(-rows // PAGE_ROWS)
        return first

    def add_pages(self, pages: Sequence[SealedPage]) -> np.ndarray:
        """Take sealed pages with reserved numbers; gives the record ids of their rows, int64."""
        counts = [page.rows for page in pages]
        self.rows += sum(counts)
        ids = self._fresh_ids(len(pages))
        rows = list(zip(ids, pages, strict=True))
        self._threads.write(lambda db: self._insert(db, rows))
        return np.concatenate(
            [page_id * PAGE_ROWS + np.arange(count) for page_id, count in
             zip(ids, counts, strict=True)]
        )

    def add(self, lines: list[bytes], slots: Slots) -> np.ndarray:
        """Take lines (without line ends) and their slots; gives their record ids, int64."""
        ids = self._record_ids(len(lines))
        self._lines += lines
        self._slots.append(slots)
        full = len(self._lines) // PAGE_ROWS * PAGE_ROWS
        if full >= PAGE_ROWS * _PAGES_AT_ONCE:
            self._flush(full)
        return ids

    def finish(self) -> None:
        """Write what is left; the last page may be short."""
        if self._lines:
            self._flush(len(self._lines))

    def _record_ids(self, count: int) -> np.ndarray:
        place = self.rows % PAGE_ROWS
        pages_needed = -(-(place + count) // PAGE_ROWS) - (1 if place else 0)
        fresh = self._fresh_ids(pages_needed)
        page_ids = ([self._open_id] if place else []) + fresh
        if fresh:
            self._open_id = fresh[-1]
        self._page_ids.extend(fresh)
        self.rows += count
        slots = np.arange(place, place + count)
        pages = np.array(page_ids, dtype=np.int64)[slots // PAGE_ROWS]
        return pages * PAGE_ROWS + slots % PAGE_ROWS

    def _fresh_ids(self, count: int) -> list[int]:
        while len(self._ids) < count:
            wanted = _IDS_AT_ONCE if self.rows else max(1, count)
            self._ids += database.reserve_ids("resident_store_page_id", wanted)
        taken, self._ids = self._ids[:count], self._ids[count:]
        return taken

    def _flush(self, count: int) -> None:
        lines, self._lines = self._lines[:count], self._lines[count:]
        slots = Slots.joined(self._slots)
        self._slots = [slots.take(slice(count, None))]
        slots = slots.take(slice(0, count))
        first = self.reserve(count)
        ids = [self._page_ids.popleft() for _ in range(self.pages - first)]

        def make() -> list[tuple[int, SealedPage]]:
            pages = self._cutter.from_lines(lines, slots, first_number=first)
            return list(zip(ids, pages, strict=True))

        self._threads.seal_then_write(make, self._insert)

    def _insert(self, db: psycopg.Cursor, pages: Sequence[tuple[int, SealedPage]]) -> None:
        cut = self._cutter
        place = (cut.municipality_code, cut.file_id, cut.load_number, cut.key_version)
        for start in range(0, len(pages), _PAGES_AT_ONCE):
            _insert_pages(db, place, pages[start : start + _PAGES_AT_ONCE])


def _insert_pages(
    db: psycopg.Cursor, place: tuple[str, str, int, int], pages: Sequence[tuple[int, SealedPage]]
) -> None:
    """Store pages in one statement; `place` is town, file id, load number and key version."""
    db.execute(
        _INSERT_PAGES,
        [
            *place,
            [page_id for page_id, _ in pages],
            [page.number for _, page in pages],
            [page.rows for _, page in pages],
            [page.clear_size for _, page in pages],
            [page.crc32 for _, page in pages],
            [live_mask(np.ones(page.rows, dtype=bool)) for _, page in pages],
            [page.slots for _, page in pages],
            [page.sealed for _, page in pages],
        ],
    )
