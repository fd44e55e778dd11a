"""Type checks of columns, vectorised: N X K J D T I F, lengths in base characters.

Each check gives the row numbers that break it. Byte matrices judge ordinary values; what they
suspect, and what is too long for them, is judged once more one by one, so speed never
changes an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime

import numpy as np

from bcl_contract.characters import base_length
from bcl_contract.linkage.columns_view import MATRIX_BYTES, ColumnsView, code_number
from bcl_contract.linkage.layouts import Column

NO_ROWS = np.zeros(0, dtype=np.int64)

_KANA = "ァ-ヾ　"
_KANA_ONLY = re.compile(f"[{_KANA}]+")
# Readings of buildings may hold full-width letters, digits and signs.
_KANA_AND_WIDE = re.compile(f"[{_KANA}！-～−‐―]+")
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_INTEGER = re.compile(r"(?:0|-?[1-9][0-9]*)", re.ASCII)
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\+[0-9]{2}:[0-9]{2}|Z)", re.ASCII
)

# UTF-8 in three bytes: the first, and the other two as one number.
_KANA_LEAD, _KANA_FIRST, _KANA_LAST, _WIDE_SPACE = 0xE3, 0x82A1, 0x83BE, 0x8080
_WIDE_LEAD, _WIDE_FIRST, _WIDE_LAST = 0xEF, 0xBC81, 0xBD9E
_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.uint8)
_SAFE_DAY = 28  # in every month
PLACEHOLDER_DATES = (b"0000-00-00", b"9999-99-99")


def _absolute(rows: np.ndarray | None, bad: np.ndarray) -> np.ndarray:
    """Turn a bool over the judged rows into row numbers of the chunk."""
    found = np.flatnonzero(bad)
    return found if rows is None else rows[found]


def _confirmed(
    view: ColumnsView, name: str, rows: np.ndarray, is_good: Callable[[str], bool]
) -> np.ndarray:
    """Judge suspected rows one by one."""
    bad = [row for row in rows.tolist() if not is_good(view.chunk.value(row, name))]
    return np.array(bad, dtype=np.int64)


def too_long(view: ColumnsView, column: Column) -> np.ndarray:
    """Rows whose value has more base characters than the column's length."""
    limit = column.length + (1 if column.type == "I" else 0)  # the sign is not a digit
    if view.longest(column.name) <= limit:
        return NO_ROWS
    lengths = view.lengths(column.name)
    suspects = np.flatnonzero(lengths > limit)
    # Code points are the bytes that don't continue one; selectors only make it fewer.
    width = min(MATRIX_BYTES, int(lengths.max()))
    matrix = view.matrix(column.name, width, suspects)
    points = np.count_nonzero(((matrix & 0xC0) != 0x80) & (matrix != 0), axis=1)
    suspects = suspects[(points > limit) | (lengths[suspects] > width)]
    return _confirmed(view, column.name, suspects, lambda text: base_length(text) <= limit)


def _judge_matrix(
    view: ColumnsView,
    column: Column,
    suspicious: Callable[[np.ndarray], np.ndarray],
    is_good: Callable[[str], bool],
) -> np.ndarray:
    """Judge filled rows by matrix; suspects and long values by `is_good`.

    `suspicious` gives bool (rows, any width) or (rows): what in a row must be looked at.
    """
    name = column.name
    rows = view.filled_rows(name)
    longest = view.longest(name)
    # Four bytes are gathered for comparisons of codes anyway; kana take three each.
    width = 4 if longest <= 4 and column.type != "K" else min(MATRIX_BYTES, -(-longest // 3) * 3)
    marks = suspicious(view.matrix(name, width, rows))
    if longest <= width and not marks.any():  # one look at all of them spares one at each row
        return NO_ROWS
    bad = marks if marks.ndim == 1 else marks.any(axis=1)
    if longest > width:
        lengths = view.lengths(name) if rows is None else view.lengths(name)[rows]
        bad = bad | (lengths > width)
    return _confirmed(view, name, _absolute(rows, bad), is_good)


def not_digits(view: ColumnsView, column: Column) -> np.ndarray:
    """Rows whose value holds anything but ASCII digits (type N)."""
    return _judge_matrix(
        view,
        column,
        lambda m: ((m - 48) > 9) & (m != 0),
        lambda text: text.isascii() and text.isdigit(),
    )


def not_printable(view: ColumnsView, column: Column) -> np.ndarray:
    """Rows whose value holds anything but printable ASCII (type X)."""
    return _judge_matrix(
        view,
        column,
        lambda m: ((m - 32) > 94) & (m != 0),
        lambda text: _PRINTABLE.fullmatch(text) is not None,
    )


def not_katakana(view: ColumnsView, column: Column) -> np.ndarray:
    """Rows whose value holds anything but full-width katakana (type K)."""
    wide = "building" in column.name
    pattern = _KANA_AND_WIDE if wide else _KANA_ONLY

    def suspicious(matrix: np.ndarray) -> np.ndarray:
        flat = matrix.reshape(-1)
        lead = flat[0::3]
        code = (flat[1::3].astype(np.uint16) << 8) | flat[2::3]
        good = (code - _KANA_FIRST <= _KANA_LAST - _KANA_FIRST) | (code == _WIDE_SPACE)
        good &= lead == _KANA_LEAD
        good |= lead == 0
        if wide:
            in_range = code - _WIDE_FIRST <= _WIDE_LAST - _WIDE_FIRST
            good |= (lead == _WIDE_LEAD) & in_range
        np.logical_not(good, out=good)
        return good.reshape(len(matrix), -1)

    return _judge_matrix(view, column, suspicious, lambda text: pattern.fullmatch(text) is not None)


def not_integer(view: ColumnsView, column: Column) -> np.ndarray:
    """Rows whose value is not a plain integer (type I)."""

    def suspicious(matrix: np.ndarray) -> np.ndarray:
        marks = ((matrix - 48) > 9) & (matrix != 0)
        marks[:, 0] |= (matrix[:, 0] == 48) & (matrix[:, 1] != 0)
        return marks

    return _judge_matrix(
        view, column, suspicious, lambda text: _INTEGER.fullmatch(text) is not None
    )


def not_flag(view: ColumnsView, column: Column) -> np.ndarray:
    """Rows whose value is not 0 or 1 (type F)."""
    good = view.equals(column.name, "0") | view.equals(column.name, "1")
    return np.flatnonzero(view.filled(column.name) & ~good)


def not_date(view: ColumnsView, column: Column) -> np.ndarray:
    """Rows whose value is not a real date in the form YYYY-MM-DD (type D)."""
    name = column.name
    rows = view.filled_rows(name)
    lengths = view.lengths(name) if rows is None else view.lengths(name)[rows]
    matrix = view.matrix(name, 10, rows)
    digits = matrix - 48  # whatever is no digit becomes more than 9
    bad = (lengths != 10) | (matrix[:, 4] != 45) | (matrix[:, 7] != 45)
    for place in (0, 1, 2, 3, 5, 6, 8, 9):
        bad |= digits[:, place] > 9
    month = digits[:, 5] * 10 + digits[:, 6]
    day = digits[:, 8] * 10 + digits[:, 9]
    bad |= (month - 1 > 11) | (day == 0)
    bad |= (digits[:, 0] | digits[:, 1] | digits[:, 2] | digits[:, 3]) == 0
    late = np.flatnonzero((day > _SAFE_DAY) & ~bad)
    if len(late):
        year = digits[late, :4].astype(np.int32) @ np.array([1000, 100, 10, 1], dtype=np.int32)
        leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
        bad[late] = day[late] > _DAYS[month[late]] + (leap & (month[late] == 2))
    return _absolute(rows, bad)


def equals_any(view: ColumnsView, name: str, values: tuple[bytes, ...]) -> np.ndarray:
    """bool (rows): where the value is one of `values`, all of the same length."""
    fixed, width = view.fixed(name, len(values[0])), len(values[0])
    head = np.ndarray((len(fixed),), np.uint32, fixed.data, strides=(width,))
    result = np.zeros(len(fixed), dtype=bool)
    for value in values:
        # Comparing numbers is ten times cheaper than comparing strings, and nearly always enough.
        near = np.flatnonzero(head == code_number(value))
        result[near] = fixed[near] == value
    return result & (view.lengths(name) == width)


def after(view: ColumnsView, name: str, day: date) -> np.ndarray:
    """bool (rows): where a well-formed date is later than `day` (ISO dates order as bytes)."""
    return view.filled(name) & (view.fixed(name, 10) > day.isoformat().encode())


def later_than(view: ColumnsView, name: str, other: str) -> np.ndarray:
    """bool (rows): where both dates are filled and the first is later than the second."""
    both = view.filled(name) & view.filled(other)
    return both & (view.fixed(name, 10) > view.fixed(other, 10))


def not_time(view: ColumnsView, column: Column) -> np.ndarray:
    """Rows whose value is not a time HH:MM:SS (type T)."""
    name = column.name
    rows = view.filled_rows(name)
    lengths = view.lengths(name) if rows is None else view.lengths(name)[rows]
    matrix = view.matrix(name, 8, rows)
    digits = matrix - 48
    bad = (lengths != 8) | (matrix[:, 2] != 58) | (matrix[:, 5] != 58)
    for place in (0, 1, 3, 4, 6, 7):
        bad |= digits[:, place] > 9
    bad |= digits[:, 0] * 10 + digits[:, 1] > 23
    bad |= digits[:, 3] > 5
    bad |= digits[:, 6] > 5
    return _absolute(rows, bad)


def not_length(view: ColumnsView, column: Column) -> np.ndarray:
    """Rows whose value is filled but not exactly as long as the column."""
    lengths = view.lengths(column.name)
    return np.flatnonzero((lengths != column.length) & (lengths > 0))


def wrong_check_digit(
    view: ColumnsView, name: str, *, weights: tuple[int, ...], municipality: bool
) -> np.ndarray:
    """Rows of digits of the right length whose last digit disagrees.

    `municipality` takes the rule of local government codes, else the one of 個人番号.
    """
    length = len(weights) + 1
    rows = np.flatnonzero(view.lengths(name) == length)
    if not len(rows):
        return NO_ROWS
    digits = view.matrix(name, length, rows) - 48
    total = np.zeros(len(rows), dtype=np.uint16)
    for place, weight in enumerate(weights):
        total += digits[:, place] * np.uint16(weight)
    rest = total % 11
    check = (11 - rest) % 10 if municipality else np.where(rest <= 1, 0, 11 - rest)
    wrong = np.flatnonzero(check != digits[:, -1])
    return rows[wrong[(digits[wrong] <= 9).all(axis=1)]]


def not_timestamp(view: ColumnsView, column: Column) -> np.ndarray:
    """Rows whose value is not a date and time with offset (ISO 8601)."""

    def is_good(text: str) -> bool:
        if not _TIMESTAMP.fullmatch(text):
            return False
        try:
            datetime.fromisoformat(text)
        except ValueError:
            return False
        return True

    return _confirmed(view, column.name, np.flatnonzero(view.filled(column.name)), is_good)


def not_matching(view: ColumnsView, column: Column, pattern: re.Pattern[str]) -> np.ndarray:
    """Rows whose filled value does not match a pattern whole."""
    rows = np.flatnonzero(view.filled(column.name))
    return _confirmed(view, column.name, rows, lambda text: pattern.fullmatch(text) is not None)
