"""Which record keys a file has brought already."""

from __future__ import annotations

import numpy as np

_SMALLEST = 1 << 12
_FULLEST = 0.6


class KeysSeen:
    """Remembers 128-bit keys and says which come again.

    An open hash table of two arrays, 16 bytes a place: a chunk of keys goes in with a few
    vector steps, however many are known. Keys are digests, so they spread by themselves.
    """

    def __init__(self) -> None:
        self._high = np.zeros(_SMALLEST, dtype=np.uint64)  # 0 marks a free place
        self._low = np.zeros(_SMALLEST, dtype=np.uint64)
        self._wanted_by = np.zeros(_SMALLEST, dtype=np.int32)
        self._count = 0
        self._without_high: set[int] = set()

    def repeated(self, keys: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """Which of the counted keys, uint64 (n, 2), came before, here or earlier; bool (n)."""
        again = np.zeros(len(keys), dtype=bool)
        rows = np.flatnonzero(counted)
        high, low = keys[rows, 0], keys[rows, 1]
        if not high.all():
            for place in np.flatnonzero(high == 0).tolist():
                again[rows[place]] = int(low[place]) in self._without_high
                self._without_high.add(int(low[place]))
            whole = high != 0
            rows, high, low = rows[whole], high[whole], low[whole]
        self._make_room(len(rows))
        again[rows[~self._put(high, low)]] = True
        return again

    def _put(self, high: np.ndarray, low: np.ndarray) -> np.ndarray:
        """Put keys in; gives bool (n): which were new. Of equal ones the first counts as new."""
        mask = len(self._high) - 1
        new = np.zeros(len(high), dtype=bool)
        waiting = np.arange(len(high))
        places = (high & np.uint64(mask)).astype(np.intp)
        while len(waiting):
            free = np.flatnonzero(self._high[places] == 0)
            # Several may want one free place: whoever is written there last gets it.
            self._wanted_by[places[free]] = free
            winners = free[self._wanted_by[places[free]] == free]
            won, wanted = waiting[winners], places[winners]
            self._high[wanted], self._low[wanted] = high[won], low[won]
            new[won] = True
            on = (self._high[places] != high[waiting]) | (self._low[places] != low[waiting])
            waiting, places = waiting[on], (places[on] + 1) & mask
        self._count += int(np.count_nonzero(new))
        return new if new.all() else _first_of_each(high, low, new)

    def _make_room(self, more: int) -> None:
        wanted = len(self._high)
        while self._count + more > _FULLEST * wanted:
            wanted *= 2
        if wanted == len(self._high):
            return
        filled = np.flatnonzero(self._high)
        high, low = self._high[filled], self._low[filled]
        self._high, self._low = np.zeros(wanted, np.uint64), np.zeros(wanted, np.uint64)
        self._wanted_by = np.zeros(wanted, np.int32)
        self._count = 0
        self._put(high, low)


def _first_of_each(high: np.ndarray, low: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Of equal keys of which one is new, let it be the first; bool (n)."""
    order = np.lexsort((low, high))
    high, low = high[order], low[order]
    starts = np.flatnonzero(np.append(True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])))
    first = np.zeros(len(new), dtype=bool)
    first[order[starts]] = np.logical_or.reduceat(new[order], starts)
    return first
