"""Merging what small loads leave in the search index, so that a year of them is not felt.

Owns: moving single rows into sorted blocks, and joining segments of one size into larger ones.
Promises: a step is one transaction of bounded work; before and after it, and for who reads in
between, every search answers the same. Loads go on meanwhile: a step touches only rows and
segments that were committed when it began. Killed, it has not happened.
Entries of pages that retention has deleted are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bcl.resident_store import database, search_index
from bcl.resident_store.models import HistoryStart
from bcl.resident_store.pages import PAGE_ROWS
from bcl.resident_store.retention import EMPTIED

ROWS_FOR_BLOCKS = 50_000
"""Single rows of a town from which on they go into blocks."""
ROWS_AT_ONCE = 250_000
SEGMENTS_TO_JOIN, MOST_TO_JOIN = 4, 16
LARGEST_SEGMENT = 16_000_000
_TIER_FACTOR = 4
_PART_ENTRIES = 500_000
_LOCK_CLASS = 0x42434C33  # "BCL3": one merge at a time per municipality
_LEAST, _MOST = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class _Segment:
    id: int
    file_id: str
    load_number: int
    entries: int

    @property
    def tier(self) -> int:
        """Segments of one tier differ in size by less than the factor."""
        tier, size = 0, max(1, ROWS_FOR_BLOCKS) * _TIER_FACTOR
        while self.entries >= size:
            tier, size = tier + 1, size * _TIER_FACTOR
        return tier


def advance(municipality_code: str) -> bool:
    """Do one step; False when nothing is worth it. Needs the open scope."""
    with database.cursor() as db:
        db.execute(
            "SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK_CLASS, int(municipality_code)]
        )
    if _many_rows(municipality_code):
        _move_rows(municipality_code)
        return True
    chosen = segments_to_join(_segments(municipality_code))
    if chosen:
        _join(municipality_code, chosen)
        return True
    return False


def _many_rows(municipality_code: str) -> bool:
    with database.cursor() as db:
        db.execute(
            "SELECT count(*) FROM (SELECT FROM resident_store_search_key"
            " WHERE municipality_code = %s LIMIT %b) taken",
            [municipality_code, ROWS_FOR_BLOCKS],
        )
        row = db.fetchone()
    return bool(row and row[0] >= ROWS_FOR_BLOCKS)


def _move_rows(municipality_code: str) -> None:
    with database.cursor() as db:
        db.execute(
            "DELETE FROM resident_store_search_key WHERE ctid = ANY(ARRAY("
            " SELECT ctid FROM resident_store_search_key WHERE municipality_code = %s"
            " ORDER BY search_key LIMIT %b)) RETURNING search_key, record_id",
            [municipality_code, ROWS_AT_ONCE],
            binary=True,
        )
        pairs = np.fromiter(db, dtype=np.dtype((np.int64, 2)))
    kept = _Remains(municipality_code).of(pairs[:, 0], pairs[:, 1])
    newest = _newest_load(municipality_code)
    _write(municipality_code, search_index.ANY_FILE, newest, iter([kept]))


def _newest_load(municipality_code: str) -> int:
    with database.cursor() as db:
        db.execute(
            "SELECT coalesce(max(load_number), 0) FROM resident_store_load"
            " WHERE municipality_code = %s",
            [municipality_code],
        )
        row = db.fetchone()
    return int(row[0]) if row else 0


# -- segments ------------------------------------------------------------------------------------


def _segments(municipality_code: str) -> list[_Segment]:
    with database.cursor() as db:
        db.execute(
            "SELECT id, file_id, load_number, entries FROM resident_store_searchsegment"
            " WHERE municipality_code = %s ORDER BY entries, id",
            [municipality_code],
        )
        return [_Segment(*row) for row in db.fetchall()]


def segments_to_join(segments: Sequence[_Segment]) -> list[_Segment]:
    """Four or more segments of one file and tier that make no too large one; else none.

    So a file keeps at most three segments a tier, and those too large to be joined. `segments`
    are in order of their size.
    """
    groups: dict[tuple[int, str], list[_Segment]] = {}
    for segment in segments:
        groups.setdefault((segment.tier, segment.file_id), []).append(segment)
    for _, group in sorted(groups.items()):
        chosen: list[_Segment] = []
        for segment in group[:MOST_TO_JOIN]:
            if sum(each.entries for each in chosen) + segment.entries <= LARGEST_SEGMENT:
                chosen.append(segment)
        if len(chosen) >= SEGMENTS_TO_JOIN:
            return chosen
    return []


def _join(municipality_code: str, chosen: Sequence[_Segment]) -> None:
    remains = _Remains(municipality_code)
    parts = (remains.of(keys, ids) for keys, ids in _parts(chosen))
    newest = max(segment.load_number for segment in chosen)
    _write(municipality_code, chosen[0].file_id, newest, parts)
    gone = [segment.id for segment in chosen]
    with database.cursor() as db:
        db.execute("DELETE FROM resident_store_searchblock WHERE segment_id = ANY(%s)", [gone])
        db.execute("DELETE FROM resident_store_searchsegment WHERE id = ANY(%s)", [gone])


def _parts(chosen: Sequence[_Segment]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of the segments by ranges of keys, a bounded number each: keys are spread evenly."""
    count = -(-sum(segment.entries for segment in chosen) // _PART_ENTRIES)
    step = (_MOST - _LEAST) // max(1, count) + 1
    for first in range(_LEAST, _MOST + 1, step):
        last = min(first + step - 1, _MOST)
        with database.cursor() as db:
            db.execute(
                "SELECT entries FROM resident_store_searchblock WHERE segment_id = ANY(%s)"
                " AND last_key >= %b AND first_key <= %b",
                [[segment.id for segment in chosen], first, last],
                binary=True,
            )
            blocks = [
                np.frombuffer(row[0], dtype=">i8").reshape(2, -1) for row in db.fetchall()
            ]
        if blocks:
            keys, ids = np.concatenate(blocks, axis=1).astype(np.int64)
            inside = (keys >= first) & (keys <= last)
            yield keys[inside], ids[inside]


class _Remains:
    """Leaves out entries whose records retention has deleted."""

    def __init__(self, municipality_code: str) -> None:
        start = HistoryStart.objects.filter(municipality_code=municipality_code).first()
        self._emptied: np.ndarray | None = None
        if start is not None:
            with database.cursor() as db:
                db.execute(
                    "SELECT record_id FROM resident_store_endedrecord"
                    " WHERE municipality_code = %s AND until_load <= %s AND record_key = %s::uuid",
                    [municipality_code, start.load_number, EMPTIED],
                )
                self._emptied = np.array([row[0] for row in db.fetchall()], dtype=np.int64)

    def of(self, keys: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs that are still about something: keys int64 (n), record ids int64 (n)."""
        if self._emptied is None or not len(ids):
            return keys, ids
        pages = ids // PAGE_ROWS
        with database.cursor() as db:
            db.execute(
                "SELECT id FROM resident_store_page WHERE id = ANY(%b::bigint[])",
                [np.unique(pages).tolist()],
            )
            present = np.array([row[0] for row in db.fetchall()], dtype=np.int64)
        kept = np.isin(pages, present) & ~np.isin(ids, self._emptied)
        return keys[kept], ids[kept]


def _write(
    municipality_code: str, file_id: str, load_number: int,
    parts: Iterator[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Write one segment of pairs that come in ascending ranges of keys."""
    segment = database.reserve_ids("resident_store_segment_id", 1)[0]
    entries = 0
    for keys, ids in parts:
        order = np.lexsort((ids, keys))
        search_index.insert_blocks(municipality_code, segment, keys[order], ids[order])
        entries += len(keys)
    if entries:
        with database.cursor() as db:
            search_index.insert_segment(
                db, (segment, municipality_code, file_id, load_number, entries)
            )
