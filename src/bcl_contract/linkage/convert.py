"""Carrying test data from one version of the interface to another (試験用の変換).

Owns: rewriting tables column by column as `conversion_rules` say: new columns are empty or take
their default, columns that are gone are dropped and counted, codes are replaced.
Promises: what can't be carried over without guessing is refused by code, and then nothing is
left at the target; the target appears in one rename.
Never: for real transmissions. Those the core system writes itself (R-038).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from bcl_contract import strict_json
from bcl_contract.linkage.changes import is_wider_type
from bcl_contract.linkage.conversion_rules import ConversionRules, load_rules
from bcl_contract.linkage.findings import TableFault
from bcl_contract.linkage.layouts import Column, Interface, Layout, load_interface
from bcl_contract.linkage.table import iter_chunks
from bcl_contract.linkage.table_chunk import Chunk
from bcl_contract.linkage.transmission_check import READY_NAME, file_id_of_name
from bcl_contract.refusals import Refusal

_VARIATION_SELECTORS = r"[\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}]"


@dataclass
class FileConversion:
    """What became of one table. Counts are of filled values, by Japanese column title."""

    name: str
    file_id: str
    rows: int = 0
    bytes: int = 0
    sha256: str = ""
    dropped: Counter[str] = field(default_factory=Counter)
    defaulted: Counter[str] = field(default_factory=Counter)
    recoded: Counter[str] = field(default_factory=Counter)


@dataclass
class ConversionReport:
    """What was converted; `left_out` are the file ids that the target version doesn't have."""

    files: list[FileConversion] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """What was done, for people."""
        lines = []
        for file in self.files:
            lines.append(f"{file.name}: {file.rows:,}行")
            for label, counts in (
                ("落とした値", file.dropped),
                ("既定値を入れた", file.defaulted),
                ("コードを置き換えた", file.recoded),
            ):
                lines += [f"  {label}: {title} {count:,}件" for title, count in counts.items()]
        for file_id, rows in self.left_out.items():
            lines.append(f"{file_id}: 変換先にないファイルのため、{rows:,}行を落としました")
        return lines


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


@dataclass(frozen=True)
class _Terms:
    old: Interface
    new: Interface
    rules: ConversionRules


def convert_path(
    source: Path, target: Path, *, from_version: str, to_version: str, file_id: str | None = None
) -> ConversionReport | Refusal:
    """Convert a folder of tables (with or without READY) or one CSV file.

    Refuses INTERFACE_CONVERT_* and TRANSMISSION_NOT_FOUND. Raises `UnknownInterfaceVersion`.
    """
    terms = _Terms(
        load_interface(from_version),
        load_interface(to_version),
        load_rules(from_version, to_version),
    )
    if target.exists():
        return Refusal("INTERFACE_CONVERT_EXISTS")
    try:
        if source.is_dir():
            return _convert_folder(source, target, terms)
        if not source.is_file():
            return Refusal("TRANSMISSION_NOT_FOUND")
        if zipfile.is_zipfile(source):
            return Refusal("INTERFACE_CONVERT_SIGNED")
        return _convert_single(source, target, terms, file_id)
    except _Refused as refused:
        return refused.refusal


def _convert_single(
    source: Path, target: Path, terms: _Terms, file_id: str | None
) -> ConversionReport:
    known = file_id or file_id_of_name(source.name)
    if known is None or known not in terms.old.files or known not in terms.new.files:
        raise _Refused(Refusal("LINKAGE_FILE_UNKNOWN"))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".convert-", dir=target.parent) as work:
        made = Path(work) / "table.csv"
        report = ConversionReport([_convert_table(source, made, known, terms)])
        made.rename(target)
    return report


def _convert_folder(source: Path, target: Path, terms: _Terms) -> ConversionReport:
    ready = _read_ready(source, terms)
    tables = sorted(source.glob("*.csv"))
    if not tables:
        raise _Refused(Refusal("TRANSMISSION_NOT_FOUND"))
    report = ConversionReport()
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".convert-", dir=target.parent))
    try:
        for path in tables:
            _convert_member(path, work, terms, report)
        if (source / "seal").is_dir():
            shutil.copytree(source / "seal", work / "seal")
        if ready is not None:
            _write_ready(work / READY_NAME, ready, report, terms.new.version)
        work.chmod(0o755)
        work.rename(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return report


def _convert_member(path: Path, work: Path, terms: _Terms, report: ConversionReport) -> None:
    file_id = file_id_of_name(path.name)
    if file_id is None or file_id not in terms.old.files:
        raise _Refused(Refusal("INTERFACE_CONVERT_INPUT", {"file": path.name}))
    if file_id not in terms.new.files:
        report.left_out[file_id] += _count_rows(path, terms.old.files[file_id])
        return
    report.files.append(_convert_table(path, work / path.name, file_id, terms))


def _read_ready(source: Path, terms: _Terms) -> dict[str, object] | None:
    """READY as it stands; refuses one of another version than the source's."""
    path = source / READY_NAME
    if not path.is_file():
        return None
    try:
        value = strict_json.parse(path.read_bytes())
    except strict_json.JsonFault as fault:
        detail = {"file": READY_NAME, "reason": fault.reason}
        raise _Refused(Refusal("INTERFACE_CONVERT_INPUT", detail)) from None
    if not isinstance(value, dict) or value.get("interface_version", "1.0") != terms.old.version:
        detail = {"file": READY_NAME, "reason": "interface_version"}
        raise _Refused(Refusal("INTERFACE_CONVERT_INPUT", detail))
    return value


def _write_ready(
    path: Path, ready: dict[str, object], report: ConversionReport, version: str
) -> None:
    listed = ready.get("files")
    images = [
        file
        for file in (listed if isinstance(listed, list) else [])
        if isinstance(file, dict) and str(file.get("name", "")).startswith("seal/")
    ]
    tables = [
        {"name": f.name, "file_id": f.file_id, "rows": f.rows, "bytes": f.bytes,
         "sha256": f.sha256}
        for f in report.files
    ]  # fmt: skip
    value = ready | {"interface_version": version, "files": [*tables, *images]}
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def _count_rows(path: Path, layout: Layout) -> int:
    try:
        with path.open("rb") as lines:
            return sum(chunk.rows for chunk in iter_chunks(lines, layout, name=path.name))
    except TableFault as fault:
        raise _Refused(_unreadable(path.name, fault)) from None


def _convert_table(source: Path, target: Path, file_id: str, terms: _Terms) -> FileConversion:
    table = _TableConversion(source.name, file_id, terms)
    digest = hashlib.sha256()
    with source.open("rb") as lines, target.open("wb") as out:

        def write(data: bytes) -> None:
            out.write(data)
            digest.update(data)
            table.report.bytes += len(data)

        write(terms.new.files[file_id].header_line)
        try:
            for chunk in iter_chunks(lines, terms.old.files[file_id], name=source.name):
                write(table.convert(chunk))
        except TableFault as fault:
            raise _Refused(_unreadable(source.name, fault)) from None
        out.flush()
        os.fsync(out.fileno())
    table.report.sha256 = digest.hexdigest()
    return table.report


def _unreadable(name: str, fault: TableFault) -> Refusal:
    finding = fault.findings[-1]
    detail: dict[str, str | int] = {"file": name, "rule": finding.rule}
    if finding.line is not None:
        detail["line"] = finding.line
    return Refusal("INTERFACE_CONVERT_INPUT", detail)


class _TableConversion:
    """One table's way from the old layout to the new one; refuses what it can't do at once."""

    def __init__(self, name: str, file_id: str, terms: _Terms) -> None:
        self.report = FileConversion(name, file_id)
        self._terms = terms
        self._old, self._new = terms.old.files[file_id], terms.new.files[file_id]
        self._source = {
            column.name: terms.rules.renamed.get((file_id, column.name), column.name)
            for column in self._new.columns
        }
        self._gone = [
            column for column in self._old.columns if column.name not in self._source.values()
        ]
        self._judge_keys()
        self._judge_new_columns()

    def _refuse(self, code: str, column: Column | None = None, line: int | None = None) -> _Refused:
        detail: dict[str, str | int] = {"file": self.report.name}
        if line is not None:
            detail["line"] = line
        if column is not None:
            detail["column"] = column.name
        return _Refused(Refusal(code, detail))

    def _judge_keys(self) -> None:
        before = [column.name for column in self._old.key_columns]
        if before != [self._source[column.name] for column in self._new.key_columns]:
            raise self._refuse("INTERFACE_CONVERT_KEY")

    def _judge_new_columns(self) -> None:
        for column in self._new.columns:
            is_new = not self._old.has(self._source[column.name])
            if is_new and column.required == "Y" and self._default(column) is None:
                raise self._refuse("INTERFACE_CONVERT_NO_VALUE", column)

    def _default(self, column: Column) -> str | None:
        return self._terms.rules.defaults.get((self._new.file_id, column.name))

    def convert(self, chunk: Chunk) -> bytes:
        """Give the rows of a chunk in the new layout, canonical."""
        frame = chunk.frame()
        self.report.rows += len(frame)
        for column in self._gone:
            if filled := frame[column.name].len() - frame[column.name].null_count():
                self.report.dropped[column.title_ja] += filled
        columns = [self._column(frame, column, chunk) for column in self._new.columns]
        made = pl.DataFrame(columns)
        return made.write_csv(
            include_header=False, quote_style="always", line_terminator="\r\n"
        ).encode()

    def _column(self, frame: pl.DataFrame, column: Column, chunk: Chunk) -> pl.Series:
        source = self._source[column.name]
        if not self._old.has(source):
            default = self._default(column)
            if default is not None:
                self.report.defaulted[column.title_ja] += len(frame)
            return pl.Series(column.name, [default] * len(frame), dtype=pl.String)
        before = self._old.column(source)
        values = frame[source].alias(column.name)
        if not is_wider_type(before.type, column.type):
            self._refuse_rows(values.is_not_null(), "INTERFACE_CONVERT_TYPE", column, chunk)
        if before.code_list is not None:
            values = self._recoded(values, before.code_list, column)
        if column.code_list is not None:
            self._judge_codes(values, column, chunk)
        if column.length < before.length:
            lengths = values.str.replace_all(_VARIATION_SELECTORS, "").str.len_chars()
            too_long = (lengths > column.length).fill_null(False)
            self._refuse_rows(too_long, "INTERFACE_CONVERT_LENGTH", column, chunk)
        return values

    def _recoded(self, values: pl.Series, code_list: str, column: Column) -> pl.Series:
        pairs = self._terms.rules.codes.get(code_list)
        if not pairs:
            return values
        changed = values.is_in(list(pairs)).fill_null(False).sum()
        if changed:
            self.report.recoded[column.title_ja] += int(changed)
        return values.replace(dict(pairs))

    def _judge_codes(self, values: pl.Series, column: Column, chunk: Chunk) -> None:
        codes = self._terms.new.code_lists[str(column.code_list)]
        if codes.closed:
            unknown = ~values.is_in(list(codes.values)) & values.is_not_null()
            self._refuse_rows(unknown, "INTERFACE_CONVERT_CODE", column, chunk)

    def _refuse_rows(self, wrong: pl.Series, code: str, column: Column, chunk: Chunk) -> None:
        rows = wrong.fill_null(False).arg_true()
        if len(rows):
            raise self._refuse(code, column, chunk.line(int(rows[0])))
