"""The live records of one file as arrays: what a load compares itself with.

Owns: reading the packed index of live pages, finding records by digest or key.
A million records take about 90 MB and a fraction of a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bcl.resident_store import database
from bcl.resident_store.pages import PAGE_ROWS, PageFault, Slots, live_slots, unpack_slots

_PAGES_AT_ONCE = 256


class DigestIndex:
    """Finds 128-bit digests, uint64 (n, 2), in an array of them."""

    def __init__(self, digests: np.ndarray) -> None:
        self._digests = digests
        self.order = np.argsort(digests[:, 0], kind="stable").astype(np.int32)
        self._high = digests[self.order, 0]

    def find(self, wanted: np.ndarray) -> np.ndarray:
        """Positions of `wanted` in the array, -1 where absent; int64."""
        if not len(self._high) or not len(wanted):
            return np.full(len(wanted), -1, dtype=np.int64)
        place = np.searchsorted(self._high, wanted[:, 0])
        near = np.minimum(place, len(self._high) - 1)
        found = self.order[near].astype(np.int64)
        equal = (self._digests[found] == wanted).all(axis=1)
        doubtful = ~equal & (self._high[near] == wanted[:, 0])
        result = np.where(equal, found, -1)
        for row in np.flatnonzero(doubtful):  # same upper half, other lower half: once in 2^64
            result[row] = self._walk(int(near[row]), wanted[row])
        return result

    def _walk(self, place: int, wanted: np.ndarray) -> int:
        while place < len(self._high) and self._high[place] == wanted[0]:
            candidate = int(self.order[place])
            if self._digests[candidate][1] == wanted[1]:
                return candidate
            place += 1
        return -1

    def equal_to(self, position: int) -> list[int]:
        """All positions that hold the same digest as `position`."""
        wanted = self._digests[position]
        start = int(np.searchsorted(self._high, wanted[0]))
        stop = int(np.searchsorted(self._high, wanted[0], side="right"))
        candidates = self.order[start:stop]
        same = (self._digests[candidates] == wanted).all(axis=1)
        return [int(each) for each in candidates[same]]


@dataclass
class CurrentState:
    """Live records of one file before a load, and what the load says about each.

    `seen`: stands unchanged in the file; `touched`: the file has a row for its key.
    """

    slots: Slots
    ids: np.ndarray
    by_digest: DigestIndex = field(init=False)
    by_record: DigestIndex = field(init=False)
    seen: np.ndarray = field(init=False)
    touched: np.ndarray = field(init=False)
    ended: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.by_digest = DigestIndex(self.slots.digests)
        self.by_record = DigestIndex(self.slots.records)
        self.seen = np.zeros(len(self), dtype=bool)
        self.touched = np.zeros(len(self), dtype=bool)
        self.ended = np.zeros(len(self), dtype=bool)

    def __len__(self) -> int:
        return len(self.ids)


def read_current_state(municipality_code: str, file_id: str) -> CurrentState:
    """Read the live records of a file. Needs the open scope."""
    count = _live_records(municipality_code, file_id)
    slots, ids = Slots.room_for(count), np.empty(count, dtype=np.int64)
    filled = 0
    with database.streaming_cursor("resident_store_state") as pages:
        pages.execute(
            "SELECT id, rows, live, slots FROM resident_store_page"
            " WHERE municipality_code = %s AND file_id = %s AND live_rows > 0"
            " ORDER BY load_number, page_number",
            [municipality_code, file_id],
            binary=True,
        )
        while rows := pages.fetchmany(_PAGES_AT_ONCE):
            part = unpack_slots([row[3] for row in rows], [row[1] for row in rows])
            live = np.concatenate([live_slots(row[2], row[1]) for row in rows])
            page_ids = np.repeat(
                np.array([row[0] for row in rows], dtype=np.int64), [row[1] for row in rows]
            )
            places = np.concatenate([np.arange(row[1]) for row in rows])
            record_ids = (page_ids * PAGE_ROWS + places)[live]
            into = slice(filled, filled + len(record_ids))
            slots.fill(into, part.take(live))
            ids[into] = record_ids
            filled = into.stop
    if filled != count:
        raise PageFault("the live records of a file are not as many as its pages say")
    return CurrentState(slots, ids)


def _live_records(municipality_code: str, file_id: str) -> int:
    with database.cursor() as db:
        db.execute(
            "SELECT coalesce(sum(live_rows), 0)::bigint FROM resident_store_page"
            " WHERE municipality_code = %s AND file_id = %s",
            [municipality_code, file_id],
        )
        row = db.fetchone()
    return int(row[0]) if row else 0
