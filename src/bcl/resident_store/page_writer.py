"""Cutting kept lines into pages, sealing them, and writing them while the next ones are parsed.

Two helper threads: one deflates and seals (both release the interpreter lock), one speaks with
the database, on the scope's own connection and in its transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy as np
import psycopg

from bcl.resident_store import database, deflate_splice
from bcl.resident_store.pages import PAGE_ROWS, PagePlace, Slots, live_mask, seal

_PAGES_AT_ONCE = 64
_IDS_AT_ONCE = 1024
_WAITING_BATCHES = 3
_LINE_END = b"\r\n"

_INSERT_PAGE = (
    "INSERT INTO resident_store_page (id, municipality_code, file_id, load_number, page_number,"
    " key_version, rows, clear_size, crc32, live, live_rows, slots, sealed)"
    " VALUES (%b, %s, %s, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)"
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
        self, make: Callable[[], list[tuple]], write: Callable[[psycopg.Cursor, list[tuple]], None]
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
    """Writes the pages of one file of one load, in the order the lines come."""

    def __init__(
        self, threads: WriterThreads, *, municipality_code: str, file_id: str,
        load_number: int, key_version: int, secret: bytes,
    ) -> None:
        self.pages = 0
        self.rows = 0
        self._threads = threads
        self._town, self._file_id, self._load = municipality_code, file_id, load_number
        self._key_version, self._secret = key_version, secret
        self._lines: list[bytes] = []
        self._slots: list[Slots] = []
        self._ids: list[int] = []
        self._page_ids: deque[int] = deque()  # of pages begun and not yet written, in order
        self._open_id = 0  # of the page the next line goes to

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
        first = self.pages
        self.pages += -(-count // PAGE_ROWS)
        ids = [self._page_ids.popleft() for _ in range(self.pages - first)]

        def make() -> list[tuple]:
            return [
                self._page(
                    page_id, first + index,
                    lines[index * PAGE_ROWS : (index + 1) * PAGE_ROWS],
                    slots.take(slice(index * PAGE_ROWS, (index + 1) * PAGE_ROWS)),
                )
                for index, page_id in enumerate(ids)
            ]

        self._threads.seal_then_write(make, _insert_pages)

    def _page(self, page_id: int, number: int, lines: list[bytes], slots: Slots) -> tuple:
        clear = _LINE_END.join(lines) + _LINE_END
        place = PagePlace(self._town, self._file_id, self._load, number, self._key_version)
        rows = len(lines)
        return (
            page_id, self._town, self._file_id, self._load, number, self._key_version,
            rows, len(clear), deflate_splice.crc32(clear),
            live_mask(np.ones(rows, dtype=bool)), rows, slots.packed(),
            seal(self._secret, place, deflate_splice.deflate_page(clear)),
        )


def _insert_pages(db: psycopg.Cursor, pages: list[tuple]) -> None:
    for start in range(0, len(pages), _PAGES_AT_ONCE):
        db.executemany(_INSERT_PAGE, pages[start : start + _PAGES_AT_ONCE])
