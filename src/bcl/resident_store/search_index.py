"""The search index: blind keys to record ids, written in sorted blocks or single rows.

A large load writes blocks of 512 sorted pairs: a million records cost a sort and some thousand
rows. A small load writes single rows under one b-tree. A search asks both; `search_merge` moves
rows into blocks and joins segments at night. Entries are never taken out while their pages exist,
so that a search as of an earlier load finds them too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import psycopg

from bcl.resident_store import database
from bcl.resident_store.page_writer import WriterThreads

ANY_FILE = ""
"""File id of a segment that was merged from single rows: it may hold those of any file."""
_BLOCK_ENTRIES = 512
_SEGMENT_ENTRIES = 1_000_000
_FEWEST_FOR_BLOCKS = 200_000
_BLOCKS_AT_ONCE = 128
_ROWS_AT_ONCE = 20_000

_INSERT_BLOCK = (
    "INSERT INTO resident_store_searchblock"
    " (municipality_code, segment_id, first_key, last_key, entries)"
    " VALUES (%s, %b, %b, %b, %b)"
)
_INSERT_SEGMENT = (
    "INSERT INTO resident_store_searchsegment"
    " (id, municipality_code, file_id, load_number, entries) VALUES (%s, %s, %s, %s, %s)"
)
_FIND_IN_BLOCKS = (
    "SELECT near.last_key, near.entries FROM resident_store_searchsegment segment"
    " CROSS JOIN LATERAL (SELECT first_key, last_key, entries FROM resident_store_searchblock"
    "  WHERE segment_id = segment.id AND last_key >= %(key)s"
    "  ORDER BY last_key LIMIT %(blocks)s) near"
    " WHERE segment.municipality_code = %(town)s AND near.first_key <= %(key)s"
)


class SearchIndexWriter:
    """Gathers the search keys of one file of one load and writes them."""

    def __init__(
        self, threads: WriterThreads, *, municipality_code: str, file_id: str, load_number: int
    ) -> None:
        self._threads = threads
        self._town, self._file_id, self._load = municipality_code, file_id, load_number
        self._keys: list[np.ndarray] = []
        self._ids: list[np.ndarray] = []
        self._count = 0

    def add(self, keys: np.ndarray, record_ids: np.ndarray) -> None:
        """Take pairs: search keys int64 (n), record ids int64 (n)."""
        self._keys.append(keys)
        self._ids.append(record_ids)
        self._count += len(keys)
        if self._count >= _SEGMENT_ENTRIES:
            self._flush()

    def finish(self) -> None:
        """Write what is left."""
        if self._count:
            self._flush()

    def _flush(self) -> None:
        keys, ids = np.concatenate(self._keys), np.concatenate(self._ids)
        self._keys, self._ids, self._count = [], [], 0
        if len(keys) >= _FEWEST_FOR_BLOCKS:
            self._write_blocks(keys, ids)
        else:
            self._write_rows(keys, ids)

    def _write_blocks(self, keys: np.ndarray, ids: np.ndarray) -> None:
        segment = database.reserve_ids("resident_store_segment_id", 1)[0]
        order = np.argsort(keys)  # equal keys in any order: a stable sort takes three times as long
        keys, ids = keys[order], ids[order]
        town, load, file_id = self._town, self._load, self._file_id

        def write_segment(db: psycopg.Cursor) -> None:
            insert_segment(db, (segment, town, file_id, load, len(keys)))

        self._threads.write(write_segment)
        for first in range(0, len(keys), _BLOCK_ENTRIES * _BLOCKS_AT_ONCE):
            last = min(len(keys), first + _BLOCK_ENTRIES * _BLOCKS_AT_ONCE)

            def write_blocks(db: psycopg.Cursor, first: int = first, last: int = last) -> None:
                db.executemany(
                    _INSERT_BLOCK,
                    [
                        (town, segment, *_block(keys, ids, start, last))
                        for start in range(first, last, _BLOCK_ENTRIES)
                    ],
                )

            self._threads.write(write_blocks)

    def _write_rows(self, keys: np.ndarray, ids: np.ndarray) -> None:
        town = self._town
        for first in range(0, len(keys), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)

            def write(db: psycopg.Cursor, part: slice = part) -> None:
                db.execute(
                    "INSERT INTO resident_store_search_key"
                    " SELECT %s, pair.* FROM unnest(%b::bigint[], %b::bigint[]) pair",
                    [town, keys[part].tolist(), ids[part].tolist()],
                )

            self._threads.write(write)


def insert_segment(db: psycopg.Cursor, values: tuple[int, str, str, int, int]) -> None:
    """Note a segment: id, municipality, file, load number, entries."""
    db.execute(_INSERT_SEGMENT, values)


def insert_blocks(
    municipality_code: str, segment: int, keys: np.ndarray, ids: np.ndarray
) -> None:
    """Write sorted pairs of a segment in the open scope, without helper threads."""
    with database.cursor() as db:
        db.executemany(
            _INSERT_BLOCK,
            [
                (municipality_code, segment, *_block(keys, ids, start, len(keys)))
                for start in range(0, len(keys), _BLOCK_ENTRIES)
            ],
        )


def _block(
    keys: np.ndarray, ids: np.ndarray, start: int, end: int
) -> tuple[int, int, bytes]:
    part = slice(start, min(end, start + _BLOCK_ENTRIES))
    packed = keys[part].astype(">i8").tobytes() + ids[part].astype(">i8").tobytes()
    return int(keys[part][0]), int(keys[part][-1]), packed


def find_record_ids(
    municipality_code: str, search_key: int, file_ids: Sequence[str] | None = None
) -> list[int]:
    """Record ids under a search key, of any file or load, ascending.

    With `file_ids`, segments of other files are left out; single rows of other files may still
    come along, and what was merged from such rows (callers look at the page's file anyway).
    Single rows are read first: a merge moves them into blocks, never back. Needs the open scope.
    """
    found: set[int] = set()
    with database.cursor() as db:
        db.execute(
            "SELECT record_id FROM resident_store_search_key WHERE search_key = %b",
            [search_key],
        )
        found.update(row[0] for row in db.fetchall())
        blocks = 2
        while True:
            query = _FIND_IN_BLOCKS
            if file_ids is not None:
                query += " AND (segment.file_id = ANY(%(files)s) OR segment.file_id = '')"
            db.execute(
                query,
                {
                    "key": search_key, "town": municipality_code, "blocks": blocks,
                    "files": list(file_ids or ()),
                },
                binary=True,
            )
            rows = db.fetchall()
            for _, entries in rows:
                found.update(_ids_in_block(entries, search_key))
            # A key that fills the last block asked for may go on in the next.
            if len(rows) < blocks or all(last != search_key for last, _ in rows):
                break
            blocks *= 8
    return sorted(found)


def _ids_in_block(entries: bytes, search_key: int) -> list[int]:
    pairs = np.frombuffer(entries, dtype=">i8").reshape(2, -1)
    start = np.searchsorted(pairs[0], search_key, side="left")
    stop = np.searchsorted(pairs[0], search_key, side="right")
    return [int(each) for each in pairs[1][start:stop]]
