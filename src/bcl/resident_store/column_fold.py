"""Folding a whole column of names to what its search keys are made of.

Owns: one function of arrays. Nearly every name is made of kanji and kana of three bytes, each of
which folds to one such character or to nothing, whatever stands beside it: those go through a
table. A value with anything else in it is left to `characters`, one by one.
Promises: equal to folding each value with `characters` (tests assert it).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache

import numpy as np

_OTHERS = 0  # in the table: not for the table
_NOTHING = 1  # in the table: folds away
_FIRST = 0x0800  # of the characters that take three bytes
# Symbols, kana, CJK ideographs, compatibility ideographs, full-width forms.
_ORDINARY = ((0x3000, 0x3100), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00),
             (0xFF00, 0xFF9E))  # fmt: skip
# No register text holds this noncharacter; folding many characters at once keeps it in place.
_SEPARATOR = "\ufdd0"

Fold = Callable[[str], str]


@lru_cache(maxsize=8)
def _table(fold: Fold) -> np.ndarray:
    """uint16 (65536): what each character folds to, `_NOTHING`, or `_OTHERS`."""
    points = [point for first, end in _ORDINARY for point in range(first, end)]
    folded = fold(_SEPARATOR.join(map(chr, points))).split(_SEPARATOR)
    results = np.array(
        [ord(each) if len(each) == 1 else _OTHERS if each else _NOTHING for each in folded]
    )
    results[(results > _NOTHING) & ((results < _FIRST) | (results > 0xFFFF))] = _OTHERS
    table = np.zeros(1 << 16, dtype=np.uint16)
    table[points] = results
    # What joins the character before it depends on that one.
    joining = [point for point in {*points, *results.tolist()} if unicodedata.combining(chr(point))]
    table[np.isin(table, joining)] = _OTHERS
    table[joining] = _OTHERS
    table[0] = _NOTHING  # behind the end of a value
    return table


def fold_column(fold: Fold, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fold UTF-8 values, dtype S{3 k} (n), padded with NUL.

    Gives uint8 (n, width) the folded values with zeros behind, int64 (n) their lengths, and
    int64 (m) the rows that are left to be folded one by one.
    """
    triples = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1, 3)
    lead, middle, last = triples[:, :, 0], triples[:, :, 1], triples[:, :, 2]
    points = (lead & 0x0F).astype(np.uint16) << 12
    points |= (middle & 0x3F).astype(np.uint16) << 6
    points |= last & 0x3F
    folded = _table(fold)[points]
    # E0-EF begin three bytes; with all before it of three bytes each begins where it should.
    others = (folded == _OTHERS) | ((lead & 0xF0 != 0xE0) & (lead != 0))
    others |= (lead == 0) & (middle != 0)
    left = np.flatnonzero(others.any(axis=1)) if others.any() else np.zeros(0, dtype=np.int64)
    kept = (folded > _NOTHING) & ~others
    counts = kept.sum(axis=1)
    matrix = np.zeros((len(values), max(1, int(counts.max(initial=0))), 3), dtype=np.uint8)
    into = np.arange(matrix.shape[1]) < counts[:, None]
    points = folded[kept]
    matrix[:, :, 0][into] = 0xE0 | (points >> 12)
    matrix[:, :, 1][into] = 0x80 | ((points >> 6) & 0x3F)
    matrix[:, :, 2][into] = 0x80 | (points & 0x3F)
    return matrix.reshape(len(values), -1), counts * 3, left
