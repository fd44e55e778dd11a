"""Cells of a CSV that a spreadsheet will open: nothing in them may run, everything comes back.

    safe_cell("=HYPERLINK(…)")  -> "'=HYPERLINK(…)"
    original_cell(safe_cell(x)) == x, for every text

A spreadsheet takes a cell for a formula by its first character, spaces and full-width forms
included; an apostrophe in front makes it a text (OWASP, CSV injection).
"""

from __future__ import annotations

import unicodedata

MARK = "'"
_STARTS = frozenset("=+-@\t\r\n|%")


def safe_cell(text: str) -> str:
    """The text as it may stand in a file."""
    return MARK + text if _would_run(text) or text.startswith(MARK) else text


def original_cell(cell: str) -> str:
    """The text behind a cell of `safe_cell`."""
    return cell[1:] if cell.startswith(MARK) else cell


def _would_run(text: str) -> bool:
    if text[:1] in _STARTS and text:
        return True
    seen = unicodedata.normalize("NFKC", text).lstrip()
    # Marks without a width of their own may hide the sign from us and not from a program.
    seen = seen.lstrip("\ufeff\u200b\u200c\u200d\u2060\u00ad\x00")
    return seen[:1] in _STARTS and bool(seen)
