"""The rules that one row can break, over all rows of a chunk at once.

Owns: presence, type, length, codes, check digits, dates, and what a row says about itself.
Rules over several rows stand in `household_rules`, `cross_rules` and `seal_rules`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import BinaryIO

import numpy as np

from bcl_contract.linkage import type_checks
from bcl_contract.linkage.character_checks import forbidden_values
from bcl_contract.linkage.columns_view import ColumnsView, code_number
from bcl_contract.linkage.conditions import Condition, parse_condition
from bcl_contract.linkage.findings import (
    FATAL,
    HOUSEHOLD,
    ROW,
    WARNING,
    Finding,
    TableFault,
    fatal,
)
from bcl_contract.linkage.layouts import CodeList, Column, Interface, Layout, load_interface
from bcl_contract.linkage.table import Chunk, iter_chunks

MAX_FINDINGS = 10_000
"""Findings kept per file; all are counted."""
_CHUNK_BYTES = 3 << 20

_MUNICIPALITY_WEIGHTS = (6, 5, 4, 3, 2)
_INDIVIDUAL_NUMBER_WEIGHTS = (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)
_RECORD_CODE_WEIGHTS = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)
_EXACT_LENGTH = re.compile(
    r"(\w*_)?municipality_code|(\w*_)?postal_code|individual_number|resident_record_code"
    r"|tax_year|levy_year|built_year"
)
_PATTERNS = {
    "serial_number": re.compile(r"[1-9A-F][0-9A-F]*", re.ASCII),
    "image_sha256": re.compile(r"[0-9a-f]{64}", re.ASCII),
}
_TIMESTAMPS = frozenset({"block_starts_at", "block_ends_at"})
_DATE_ORDERS = (
    ("measure_started_on", "measure_ended_on"),
    ("valid_from_on", "expires_on"),
    ("seal_registered_on", "seal_ended_on"),
    ("delivery_starts_on", "delivery_ends_on"),
    ("care_certification_starts_on", "care_certification_ends_on"),
    ("entered_on", "removed_on"),
)


@dataclass(frozen=True)
class CheckContext:
    """What a check must know beside the table.

    `municipality_code` None accepts any town (a desk check of one file). `as_of` is the date
    no birth may be later than. `mapped_codes` is the town's own mapping table for code lists
    without values: list name -> known codes; None when it isn't at hand (they then pass).
    `file` is the name that stands in findings, the file id when empty.
    """

    municipality_code: str | None = None
    lane: str = "main"
    mode: str = "full"
    as_of: date | None = None
    interface: Interface = field(default_factory=load_interface)
    mapped_codes: Mapping[str, frozenset[str]] | None = None
    file: str = ""


@dataclass
class FileReport:
    """What a check of one table found: `rows`, `findings` (at most `MAX_FINDINGS`), `counts`
    by (severity, rule) of all findings, and `readable` False when the structure is broken."""

    file: str
    file_id: str
    rows: int = 0
    readable: bool = True
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, findings: Iterable[Finding]) -> None:
        """Take in findings: keep the first ones, count all."""
        for finding in findings:
            self.counts[finding.severity, finding.rule] += 1
            if len(self.findings) < MAX_FINDINGS:
                self.findings.append(finding)

    def count(self, severity: str) -> int:
        """Give how many findings of a severity there were."""
        return sum(n for (found, _), n in self.counts.items() if found == severity)


class _Collector:
    """Turns row numbers into findings of one chunk."""

    def __init__(self, chunk: Chunk, file: str) -> None:
        self.findings: list[Finding] = []
        self._chunk = chunk
        self._file = file

    def add(
        self, rows: np.ndarray, column: Column | None, rule: str, severity: str, code: str
    ) -> None:
        title = column.title_ja if column is not None else None
        for row in rows.tolist():
            line = self._chunk.line(row)
            self.findings.append(Finding(self._file, line, title, rule, severity, code))


_TypeCheck = Callable[[ColumnsView, Column], np.ndarray]
_TYPE_CHECKS: dict[str, tuple[_TypeCheck, str, str]] = {
    "N": (type_checks.not_digits, "TYPE_DIGITS", "LINKAGE_TYPE"),
    "X": (type_checks.not_printable, "TYPE_ASCII", "LINKAGE_TYPE"),
    "K": (type_checks.not_katakana, "TYPE_KATAKANA", "LINKAGE_TYPE"),
    "D": (type_checks.not_date, "TYPE_DATE", "LINKAGE_DATE"),
    "T": (type_checks.not_time, "TYPE_TIME", "LINKAGE_TIME"),
    "I": (type_checks.not_integer, "TYPE_INTEGER", "LINKAGE_INTEGER"),
    "F": (type_checks.not_flag, "TYPE_FLAG", "LINKAGE_FLAG"),
}


def _check_presence(view: ColumnsView, column: Column, out: _Collector) -> None:
    """R: required always, or when the column's condition holds."""
    if column.required == "N" or view.all_filled(column.name):
        return
    empty = ~view.filled(column.name)
    if column.required == "Y":
        out.add(np.flatnonzero(empty), column, "REQUIRED", ROW, "LINKAGE_REQUIRED")
        return
    condition: Condition = parse_condition(column.condition)
    missing = np.flatnonzero(empty & condition.holds(view))
    if condition.warns:
        out.add(missing, column, "EXPECTED_WHEN", WARNING, "LINKAGE_EXPECTED_WHEN")
    else:
        out.add(missing, column, "REQUIRED_WHEN", ROW, "LINKAGE_REQUIRED_WHEN")


def _check_type(view: ColumnsView, column: Column, out: _Collector) -> None:
    """Type, length, and the forms that some columns have beyond their type."""
    check = _TYPE_CHECKS.get(column.type)
    bad = type_checks.NO_ROWS
    if check is not None:
        function, rule, code = check
        bad = function(view, column)
        if column.type == "D" and len(bad):
            bad = _report_placeholders(view, column, bad, out)
        out.add(bad, column, rule, ROW, code)
    if column.type in "DTF":
        return
    if column.type == "N" and _EXACT_LENGTH.fullmatch(column.name):
        wrong = type_checks.not_length(view, column)
        out.add(wrong, column, "LENGTH_FIXED", ROW, "LINKAGE_LENGTH_FIXED")
    else:
        out.add(type_checks.too_long(view, column), column, "LENGTH", ROW, "LINKAGE_LENGTH")
    if column.name in _PATTERNS and column.type == "X":
        wrong = type_checks.not_matching(view, column, _PATTERNS[column.name])
        out.add(np.setdiff1d(wrong, bad), column, "TYPE_HEXADECIMAL", ROW, "LINKAGE_TYPE")
    if column.name in _TIMESTAMPS:
        wrong = type_checks.not_timestamp(view, column)
        out.add(np.setdiff1d(wrong, bad), column, "TYPE_TIMESTAMP", ROW, "LINKAGE_TIMESTAMP")


def _report_placeholders(
    view: ColumnsView, column: Column, bad: np.ndarray, out: _Collector
) -> np.ndarray:
    """Report 0000-00-00 and 9999-99-99 under their own code; give the other bad rows."""
    placeholder = type_checks.equals_any(view, column.name, type_checks.PLACEHOLDER_DATES)[bad]
    out.add(bad[placeholder], column, "DATE_PLACEHOLDER", ROW, "LINKAGE_DATE_PLACEHOLDER")
    return bad[~placeholder]


def _check_code(
    view: ColumnsView, column: Column, codes: CodeList, context: CheckContext, out: _Collector
) -> None:
    """Codes: a closed list makes a row error, an open one a warning about the person (D9)."""
    known = frozenset(codes.values)
    if not codes.closed:
        if context.mapped_codes is None and not known:
            return
        known |= (context.mapped_codes or {}).get(codes.name, frozenset())
    filled, lengths = view.filled(column.name), view.lengths(column.name)
    short = [code for code in known if len(code.encode()) <= 4]
    numbers = np.array([code_number(code.encode()) for code in short], dtype=np.uint32)
    good = np.isin(view.numbers(column.name), numbers) & (lengths <= 4)
    for code in known.difference(short):
        good |= view.equals(column.name, code)
    unknown = np.flatnonzero(filled & ~good)
    if codes.closed:
        out.add(unknown, column, "CODE_CLOSED", ROW, "LINKAGE_CODE")
    else:
        out.add(unknown, column, "CODE_UNKNOWN", WARNING, "LINKAGE_CODE_UNKNOWN")


def _check_digits(
    view: ColumnsView, column: Column, context: CheckContext, out: _Collector
) -> None:
    """Check digits, and the town of the row."""
    name = column.name
    if column.type != "N":
        return
    if name == "individual_number":
        bad = type_checks.wrong_check_digit(
            view, name, weights=_INDIVIDUAL_NUMBER_WEIGHTS, municipality=False
        )
        out.add(bad, column, "CHECK_DIGIT", ROW, "LINKAGE_CHECK_DIGIT")
    elif name == "resident_record_code":
        bad = type_checks.wrong_check_digit(
            view, name, weights=_RECORD_CODE_WEIGHTS, municipality=False
        )
        code = "LINKAGE_CHECK_DIGIT_DOUBTFUL"
        out.add(bad, column, "CHECK_DIGIT_DOUBTFUL", WARNING, code)
    elif name.endswith("municipality_code"):
        bad = type_checks.wrong_check_digit(
            view, name, weights=_MUNICIPALITY_WEIGHTS, municipality=True
        )
        out.add(bad, column, "CHECK_DIGIT", ROW, "LINKAGE_CHECK_DIGIT")
    if name == "municipality_code" and context.municipality_code is not None:
        strange = view.filled(name) & ~view.equals(name, context.municipality_code)
        code = "LINKAGE_WRONG_MUNICIPALITY"
        out.add(np.flatnonzero(strange), column, "MUNICIPALITY", FATAL, code)


def _check_unknown_dates(view: ColumnsView, layout: Layout, out: _Collector) -> None:
    """An unknown date needs its written form; a provisional one needs its flag."""
    for column in layout.columns:
        flag = f"{column.name}_unknown"
        if column.type != "D" or not layout.has(flag):
            continue
        unknown = view.equals(flag, "1")
        if view.any_filled(column.name):
            provisional = type_checks.equals_any(view, column.name, (b"1900-01-01",)) & ~unknown
            code = "LINKAGE_DATE_PROVISIONAL"
            out.add(np.flatnonzero(provisional), column, "DATE_PROVISIONAL", WARNING, code)
        written = f"{column.name}_as_written"
        if layout.has(written):
            bad = np.flatnonzero(unknown & ~view.filled(written))
            code = "LINKAGE_DATE_AS_WRITTEN"
            out.add(bad, layout.column(written), "DATE_AS_WRITTEN", ROW, code)


def _check_date_orders(view: ColumnsView, layout: Layout, out: _Collector) -> None:
    for first, second in _DATE_ORDERS:
        if layout.has(first) and layout.has(second) and view.any_filled(second):
            bad = np.flatnonzero(type_checks.later_than(view, first, second))
            out.add(bad, layout.column(second), "DATE_ORDER", WARNING, "LINKAGE_DATE_ORDER")


def _check_person_row(
    view: ColumnsView, layout: Layout, context: CheckContext, out: _Collector
) -> None:
    """V06, V07, V08: what a row of J01 says about itself (household severity)."""
    if layout.has("born_on") and context.as_of is not None and view.any_filled("born_on"):
        bad = np.flatnonzero(type_checks.after(view, "born_on", context.as_of))
        out.add(bad, layout.column("born_on"), "V08", HOUSEHOLD, "LINKAGE_DATE_FUTURE")
    if layout.file_id != "J01":
        return
    latest = view.equals("latest", "1") & ~view.equals("deleted", "1")
    removed = view.equals("removed_record", "1")
    left = view.filled("resident_state") & ~view.equals("resident_state", "1")
    bad = np.flatnonzero(latest & (removed != left))
    column = layout.column("removed_record")
    out.add(bad, column, "V06", HOUSEHOLD, "LINKAGE_REMOVED_STATE")
    foreign = latest & view.equals("resident_kind", "2")
    japanese = latest & view.equals("resident_kind", "1")
    for name, kind in (
        ("registered_domicile", foreign),
        ("nationality_country_code", japanese),
        ("nationality_name", japanese),
    ):
        bad = np.flatnonzero(kind & view.filled(name))
        out.add(bad, layout.column(name), "V07", HOUSEHOLD, "LINKAGE_KIND_MISMATCH")


def _check_urgent(view: ColumnsView, layout: Layout, out: _Collector) -> None:
    """Only rows that restrict may travel in the urgent lane (decisions D3, D35)."""
    restricts = parse_condition(layout.urgent_condition).holds(view)
    out.add(np.flatnonzero(~restricts), None, "URGENT_LIFTS", ROW, "LINKAGE_URGENT_LIFTS")


def check_chunk(layout: Layout, chunk: Chunk, context: CheckContext) -> list[Finding]:
    """Check every rule that one row can break, over all rows of a chunk at once.

    Gives all findings, by column and rule. Not here: duplicate keys, households, parents,
    images (see `cross_rules`, `household_rules`).
    """
    out = _Collector(chunk, context.file or layout.file_id)
    if context.lane == "urgent" and not layout.urgent:
        out.findings.append(fatal(context.file or layout.file_id, None, "LINKAGE_URGENT_FILE"))
        return out.findings
    if not chunk.rows:
        return out.findings
    view = ColumnsView(chunk)
    for row, name, rule in forbidden_values(chunk):
        out.add(np.array([row]), layout.column(name), rule, ROW, "LINKAGE_CHARACTER")
    for column in layout.columns:
        _check_presence(view, column, out)
        if not view.any_filled(column.name):
            continue
        _check_type(view, column, out)
        if column.code_list is not None:
            _check_code(view, column, context.interface.code_lists[column.code_list], context, out)
        _check_digits(view, column, context, out)
    _check_unknown_dates(view, layout, out)
    _check_date_orders(view, layout, out)
    _check_person_row(view, layout, context, out)
    if context.lane == "urgent":
        _check_urgent(view, layout, out)
    return out.findings


def check_file(
    layout: Layout,
    fileobj: BinaryIO,
    *,
    context: CheckContext | None = None,
    expected_rows: int | None = None,
    on_chunk: Callable[[Chunk], None] | None = None,
) -> FileReport:
    """Check one table from beginning to end; never raises for what is in it.

    `on_chunk` sees every chunk (to gather what rules over several rows need).
    A broken structure gives a report with `readable` False and the fatal finding.
    """
    context = context or CheckContext()
    report = FileReport(file=context.file or layout.file_id, file_id=layout.file_id)
    reader = iter_chunks(fileobj, layout, chunk_bytes=_CHUNK_BYTES, name=report.file)
    try:
        for chunk in reader:
            report.rows += chunk.rows
            report.add(check_chunk(layout, chunk, context))
            if on_chunk is not None:
                on_chunk(chunk)
        report.add(reader.findings)
    except TableFault as fault:
        report.readable = False
        report.add(fault.findings)
        return report
    if expected_rows is not None and expected_rows != report.rows:
        report.add([fatal(report.file, None, "TRANSMISSION_ROW_COUNT")])
    return report
