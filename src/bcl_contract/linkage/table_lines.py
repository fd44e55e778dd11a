"""The strict line parser: the slow, exact path of `table` (RFC 4180, one line a row).

Reads what is legal but not canonical (unquoted fields, LF, mixed line ends) and finds the
first line of what is not legal. Only ever sees blocks whose encoding was judged already or
that failed it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from bcl_contract.linkage.layouts import Layout


@dataclass(frozen=True)
class BrokenLine:
    """The first line that can't be read: `line` counts from 0 inside the block."""

    line: int
    code: str


def quoted(values: Sequence[str | None]) -> bytes:
    """Write one row's canonical line: every field quoted, quotes doubled, CRLF."""
    fields = ((value or "").replace('"', '""') for value in values)
    return ('"' + '","'.join(fields) + '"\r\n').encode()


def judge_encoding(data: bytes) -> tuple[int, str]:
    """Give (line from 0, code) of the first byte that is not UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start)
        # An encoded surrogate decodes as CP932 too, but it came from a broken UTF-8 writer.
        surrogate = data[fault.start] == 0xED and data[fault.start + 1 : fault.start + 2] >= b"\xa0"
        if not surrogate and _is_cp932(data, fault.start):
            return line, "LINKAGE_CP932"
        return line, "LINKAGE_ENCODING"
    raise ValueError("the data is valid UTF-8")


def _is_cp932(data: bytes, position: int) -> bool:
    """Say whether the line around a bad byte reads as CP932 with Japanese in it."""
    start = data.rfind(b"\n", 0, position) + 1
    end = data.find(b"\n", position)
    line = data[start : end if end >= 0 else len(data)]
    try:
        text = line.decode("cp932")
    except UnicodeDecodeError:
        return False
    return any("\u3040" <= character <= "\u9fff" for character in text)


def split_line(line: bytes) -> list[str] | str:
    """Give the fields of one line, or the code of what is wrong with it.

    Strict: a quote may stand only around a whole field or doubled inside a quoted one.
    """
    text = line.decode()
    if text.count('"') % 2:
        return "LINKAGE_UNCLOSED_QUOTE"
    if "\r" in text:
        inside = text[: text.index("\r")].count('"') % 2
        return "LINKAGE_NEWLINE_IN_VALUE" if inside else "LINKAGE_CR_ONLY"
    try:
        values = next(csv.reader([text], strict=True))
    except csv.Error:
        return "LINKAGE_QUOTE"
    if '"' in text and not _quotes_are_legal(text, values):
        return "LINKAGE_QUOTE"
    return values


def _quotes_are_legal(text: str, values: list[str]) -> bool:
    """Rebuild the line field by field: the csv module lets a"b and blanks before quotes pass."""
    position = 0
    for value in values:
        quoted_form = '"' + value.replace('"', '""') + '"'
        if text.startswith('"', position):
            form = quoted_form
        else:
            form = value
            if '"' in value:
                return False
        if not text.startswith(form, position):
            return False
        position += len(form) + 1
    return position == len(text) + 1


def is_complete(line: bytes, columns: int) -> bool:
    """Say whether a last line without line end is a whole row."""
    values = split_line(line.removesuffix(b"\r"))
    return isinstance(values, list) and len(values) == columns


def canonical_lines(block: bytes, columns: int) -> bytes | BrokenLine:
    """Rewrite a block of whole lines canonically, or give its first broken line."""
    lines = block.split(b"\n")
    lines.pop()  # behind the last line end
    written: list[bytes] = []
    for index, raw in enumerate(lines):
        line = raw.removesuffix(b"\r")
        if not line.strip():
            return BrokenLine(index, "LINKAGE_BLANK_LINE")
        values = split_line(line)
        if isinstance(values, str):
            return BrokenLine(index, _refine(values, lines, index))
        if len(values) != columns:
            return BrokenLine(index, "LINKAGE_COLUMN_COUNT")
        written.append(quoted(values))
    return b"".join(written)


def _refine(code: str, lines: list[bytes], index: int) -> str:
    """Tell a line end inside a value from a quote that never closes: does a later line close it?"""
    if code != "LINKAGE_UNCLOSED_QUOTE":
        return code
    return "LINKAGE_NEWLINE_IN_VALUE" if has_odd_quotes(lines[index + 1 :]) else code


def has_odd_quotes(lines: Sequence[bytes]) -> bool:
    """Say whether some line has an odd number of quotes: it opens or closes a value alone."""
    return any(line.count(b'"') % 2 for line in lines)


def judge_header(line: bytes, layout: Layout) -> str | None:
    """Give the code of what is wrong with a header line, or None when it is exact."""
    titles = split_line(line)
    if isinstance(titles, str):
        return titles
    expected = [column.title_ja for column in layout.columns]
    if titles == expected:
        return None
    known = set(expected)
    if not known & set(titles):
        return "LINKAGE_HEADER_MISSING"
    if len(set(titles)) != len(titles):
        return "LINKAGE_HEADER_DUPLICATE"
    if set(titles) == known:
        return "LINKAGE_HEADER_ORDER"
    return "LINKAGE_HEADER_UNKNOWN"
