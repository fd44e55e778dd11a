"""Forbidden characters of a whole chunk, in three steps that each spare the next.

1. Lead bytes: an ordinary Japanese chunk (kana, ideographs, full-width signs, ASCII, variation
   sequences) is recognised by a few comparisons of its bytes.
2. One pass of a regular expression over the chunk.
3. Row by row with `characters.forbidden_character`, which decides.
Step 1 lets the three unassigned code points between the kana (U+3040, 3097, 3098) pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import polars as pl

from bcl_contract.characters import (
    FORBIDDEN_PATTERNS,
    VARIATION_SELECTORS,
    forbidden_character,
)
from bcl_contract.linkage.table import Chunk


def _escaped(ranges: str) -> str:
    return "".join(c if c == "-" else f"\\x{{{ord(c):X}}}" for c in ranges)


def _pattern() -> str:
    """Write the pattern for the regex engine of polars.

    CR and LF are left out: the table reader proved that they stand only at line ends.
    Surrogates can't occur in valid UTF-8. Unassigned characters of the ideographic planes are
    left to the fonts: new ideographs are registered faster than this engine is renewed.
    """
    classes = [
        _escaped(ranges)
        for rule, ranges in FORBIDDEN_PATTERNS.items()
        if rule not in ("CHARACTER_SURROGATE", "CHARACTER_CONTROL")
    ]
    classes.append(r"\x00-\x09\x0B\x0C\x0E-\x1F\x7F-\x{9F}")
    unassigned = r"[\p{Cn}--[\x{20000}-\x{3FFFD}]]"
    selector = "[" + _escaped(VARIATION_SELECTORS) + "]"
    return f'[{"".join(classes)}]|{unassigned}|["\\s]{selector}|{selector}{selector}'


_SUSPICIOUS = _pattern()

_BLOCK = 1 << 17
# Second bytes behind these lead bytes that begin only assigned, harmless characters.
_PLAIN_SECONDS = {
    0xE2: (0x84, 0x85, 0x88, 0x96, 0x97),  # letterlike, Roman numerals, operators, shapes
    0xEF: (*range(0xA4, 0xA9), 0xBC, 0xBD),  # compatibility ideographs, full-width forms
}
_PLAIN_FOLLOWERS = np.zeros((256, 256), dtype=bool)
for _lead, _seconds in _PLAIN_SECONDS.items():
    _PLAIN_FOLLOWERS[_lead, list(_seconds)] = True
_PLAIN_FOLLOWERS[0xF0, 0xA0:0xC0] = True  # planes 2 and 3: ideographs


def _is_selector(array: np.ndarray, at: np.ndarray) -> np.ndarray:
    """bool: where an ideographic variation selector (F3 A0 84-87 xx) stands in its place.

    In its place means: behind a character of more than one byte that is not a selector.
    """
    selector = (array[at] == 0xF3) & (array[at + 1] == 0xA0)
    selector &= (array[at + 2] >= 0x84) & (array[at + 2] <= 0x87)
    return selector & (array[at - 1] >= 0x80) & (array[at - 4] != 0xF3)


def _looks_ordinary(chunk: Chunk) -> bool:
    """Say whether the bytes of a chunk can hold no forbidden character."""
    array, end = chunk.array, len(chunk.canonical)
    controls = 0
    for start in range(0, end, _BLOCK):
        block = array[start : min(end, start + _BLOCK)]
        controls += int(np.count_nonzero(block < 0x20))
        # 7F, C0-E2 and EA-FF; E3-E9 lead kana and ideographs, 80-BF continue a character.
        odd = (block >= 0xEA) | ((block - np.uint8(0xC0)) <= 0x22) | (block == 0x7F)
        at = np.flatnonzero(odd) + start
        if (
            len(at)
            and not (_PLAIN_FOLLOWERS[array[at], array[at + 1]] | _is_selector(array, at)).all()
        ):
            return False
    return controls == 2 * chunk.rows


def forbidden_values(chunk: Chunk) -> Iterator[tuple[int, str, str]]:
    """Give (row, English column name, rule id) of every value with a forbidden character."""
    if not chunk.rows or _looks_ordinary(chunk):
        return
    if not chunk.text.str.contains(_SUSPICIOUS)[0]:
        return
    starts = chunk.offsets.tolist()
    lines = [chunk.canonical[a:b] for a, b in pairwise(starts)]
    hits = pl.Series(lines, dtype=pl.Binary).cast(pl.String).str.contains(_SUSPICIOUS)
    for row in hits.arg_true().to_list():
        for column in chunk.layout.columns:
            rule = forbidden_character(chunk.value(row, column.name))
            if rule is not None:
                yield row, column.name, rule
