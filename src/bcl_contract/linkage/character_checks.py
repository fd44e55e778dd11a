"""Forbidden characters of a whole chunk in one pass of a regular expression.

Almost every chunk has none, and then this is all that is asked. Only a chunk with a hit is
looked at row by row with `characters.forbidden_character`, which decides.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    return f"[{''.join(classes)}]|{unassigned}|[\"\\s]{selector}|{selector}{selector}"


_SUSPICIOUS = _pattern()


def forbidden_values(chunk: Chunk) -> Iterator[tuple[int, str, str]]:
    """Give (row, English column name, rule id) of every value with a forbidden character."""
    if not chunk.rows or not chunk.text.str.contains(_SUSPICIOUS)[0]:
        return
    starts = chunk.offsets.tolist()
    lines = [chunk.canonical[a:b] for a, b in zip(starts, starts[1:], strict=False)]
    hits = pl.Series(lines, dtype=pl.Binary).cast(pl.String).str.contains(_SUSPICIOUS)
    for row in hits.arg_true().to_list():
        for column in chunk.layout.columns:
            rule = forbidden_character(chunk.value(row, column.name))
            if rule is not None:
                yield row, column.name, rule
