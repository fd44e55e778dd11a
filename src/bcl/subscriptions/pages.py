"""Items in their packed form, and cutting them into pages that keep a household together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

PAGE_ITEMS = 500
_LARGEST_PAGE = 2000

ITEM = np.dtype(
    [
        ("file", "S3"),
        ("record", ">i8"),  # 0: the record is gone
        ("key", "V16"),
        ("person", ">i8"),
        ("household", ">i8"),
    ]
)
"""One record of a page: file, record id, record key, blind keys of person and household."""


def pack(items: np.ndarray) -> bytes:
    """Items as they are stored."""
    # Joining arrays gives them this machine's byte order; what is stored has one of its own.
    return items.astype(ITEM, copy=False).tobytes()


def unpack(stored: bytes) -> np.ndarray:
    """Undo `pack`. Raises ValueError when the size is wrong."""
    return np.frombuffer(stored, ITEM)


def groups_of(items: np.ndarray) -> np.ndarray:
    """The blind key that keeps items together: household, else person, else none (0)."""
    return np.where(items["household"] != 0, items["household"], items["person"])


def cut(items: np.ndarray) -> Iterator[np.ndarray]:
    """Pages of about `PAGE_ITEMS`; a group lies on one page up to 2,000 records.

    Groups come in the order of their first record, so that a page's records lie near each other
    in the store; what is gone comes before what takes its place.
    """
    if not len(items):
        return
    groups = groups_of(items)
    _, place = np.unique(groups, return_inverse=True)
    first = np.full(int(place.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, place, items["record"].astype(np.int64))
    order = np.lexsort((items["record"], items["file"], place, first[place]))
    ordered, groups = items[order], groups[order]
    begin = 0
    while begin < len(ordered):
        yield ordered[begin : (end := _end(groups, begin))]
        begin = end


def _end(groups: np.ndarray, begin: int) -> int:
    """Where the page that begins here ends: not inside a group unless it is too large."""
    end = begin + PAGE_ITEMS
    if end >= len(groups):
        return len(groups)
    here = int(groups[end])
    if here == 0 or here != int(groups[end - 1]):
        return end
    start = end - 1
    while start > begin and int(groups[start - 1]) == here:
        start -= 1
    if start > begin:
        return start
    while end < len(groups) and int(groups[end]) == here and end - begin < _LARGEST_PAGE:
        end += 1
    return end
