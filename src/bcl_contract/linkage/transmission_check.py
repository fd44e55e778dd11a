"""Checking a whole transmission at a desk: a zip, a folder, or one CSV file.

Needs no database, no network and no key: a package's signature is not judged here (the
receiver does that), its structure, manifest and digests are.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import BinaryIO

from bcl_contract import clock, strict_json
from bcl_contract.linkage import catalog as catalogs
from bcl_contract.linkage.cross_rules import TransmissionRules
from bcl_contract.linkage.findings import SEVERITIES, WARNING, fatal
from bcl_contract.linkage.layouts import (
    Interface,
    Layout,
    UnknownInterfaceVersion,
    load_interface,
)
from bcl_contract.linkage.manifest import LANES, parse_file_name
from bcl_contract.linkage.package import OpenPackage, PackageFault, PackageLimits, open_package
from bcl_contract.linkage.seal_rules import MAX_IMAGE_BYTES
from bcl_contract.linkage.table_check import CheckContext, FileReport, check_file
from bcl_contract.refusals import Refusal

FINDINGS_IN_JSON = 1000
READY_NAME = "READY"

_DROPPED_NAME = re.compile(
    r"(?P<municipality>[0-9]{6})_(?P<file_id>[A-Z][0-9]{2})_(?P<mode>[FD])(?:_[0-9_]+)?\.csv",
    re.ASCII,
)


@dataclass
class Report:
    """What a check of a path found. `refusal` is set when it could not be opened at all."""

    path: str
    refusal: Refusal | None = None
    files: list[FileReport] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(report.rows for report in self.files)

    def count(self, severity: str) -> int:
        """Findings of one severity in all tables."""
        return sum(report.count(severity) for report in self.files)

    @property
    def ok(self) -> bool:
        """Whether nothing worse than a warning was found."""
        bad = sum(self.count(severity) for severity in SEVERITIES if severity != WARNING)
        return self.refusal is None and bad == 0

    def as_json(self) -> dict[str, object]:
        """Give the machine form: counts of all findings, and the first ones themselves."""
        return {
            "path": self.path,
            "ok": self.ok,
            "refusal": self.refusal.as_json() if self.refusal else None,
            "rows": self.rows,
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "files": [
                {
                    "file": report.file,
                    "file_id": report.file_id,
                    "rows": report.rows,
                    "readable": report.readable,
                    "rules": [
                        {"severity": severity, "rule": rule, "count": count}
                        for (severity, rule), count in sorted(report.counts.items())
                    ],
                    "findings": [f.as_json() for f in report.findings[:FINDINGS_IN_JSON]],
                }
                for report in self.files
            ],
        }


@dataclass(frozen=True)
class _Table:
    """One table to check: where it comes from and what is known about it beforehand."""

    layout: Layout
    name: str
    open: Callable[[], AbstractContextManager[BinaryIO]]
    context: CheckContext
    rows: int | None = None


def validate_path(
    path: Path | str,
    *,
    file_id: str | None = None,
    version: str | None = None,
    limits: PackageLimits | None = None,
) -> Report:
    """Check a transmission zip, a folder with its tables, or one CSV file.

    `file_id` names the layout of a single file whose name doesn't say it, `version` the
    interface of files that don't (the newest one accepted today when not given). Never raises
    for what is in the files; `Report.refusal` says when there was nothing to check.
    """
    path = Path(path)
    report = Report(str(path))
    if path.is_dir():
        _check_folder(path, report, version)
    elif not path.is_file():
        report.refusal = Refusal("TRANSMISSION_NOT_FOUND")
    elif path.suffix.lower() == ".zip" or (path.suffix == "" and zipfile.is_zipfile(path)):
        _check_package(path, report, limits)
    else:
        _check_single(path, report, file_id, version)
    return report


def _interface(version: str | None) -> Interface:
    """The interface asked for, else the one in force today."""
    if version is not None:
        return load_interface(version)
    newest = catalogs.current().newest_accepted(clock.now())
    return load_interface(newest.version) if newest is not None else load_interface()


def file_id_of_name(name: str) -> str | None:
    """Give the file id that a table's name says, None when it says none."""
    found = _DROPPED_NAME.fullmatch(name)
    return found["file_id"] if found else None


def _check_tables(tables: list[_Table], rules: TransmissionRules, report: Report) -> None:
    """Check all tables, then the rules over them; household rules only on readable tables.

    In the order of their file ids: J01 first, and the parts of one table together.
    """
    readable = True
    for table in sorted(tables, key=lambda each: each.layout.file_id):
        rules.open_table(table.layout, file=table.name)
        with table.open() as source:
            result = check_file(
                table.layout,
                source,
                context=table.context,
                expected_rows=table.rows,
                on_chunk=lambda chunk, t=table: rules.see(t.layout, chunk, file=t.name),
            )
        readable = readable and result.readable
        report.files.append(result)
    if not readable:
        return
    by_id = {result.file_id: result for result in report.files}
    for file_id, findings in rules.finish().items():
        if file_id not in by_id:
            by_id[file_id] = FileReport(file=file_id, file_id=file_id)
            report.files.append(by_id[file_id])
        by_id[file_id].add(findings)


def _check_package(path: Path, report: Report, limits: PackageLimits | None) -> None:
    with path.open("rb") as source:
        opened = open_package(source, verify_key=None, limits=limits)
        if isinstance(opened, Refusal):
            report.refusal = opened
            return
        with opened as package:
            try:
                _check_opened(package, report)
            except PackageFault as fault:
                report.refusal = fault.as_refusal()


def _check_opened(package: OpenPackage, report: Report) -> None:
    manifest = package.manifest
    interface = load_interface(manifest.interface_version)
    rules = TransmissionRules(interface, mode=manifest.mode, lane=manifest.lane)
    images = [entry.name for entry in manifest.seal_images]
    rules.seal.offer_images(images, lambda name: package.read_member(name, limit=MAX_IMAGE_BYTES))
    tables = [
        _Table(
            layout=interface.files[entry.file_id],
            name=entry.name,
            open=lambda name=entry.name: package.open_member(name),
            context=CheckContext(
                municipality_code=manifest.municipality_code,
                lane=manifest.lane,
                mode=manifest.mode,
                as_of=manifest.as_of.astimezone(clock.JST).date(),
                interface=interface,
                file=entry.name,
            ),
            rows=entry.rows,
        )
        for entry in manifest.tables
    ]
    _check_tables(tables, rules, report)


def _named_table(path: Path, interface: Interface) -> _Table | None:
    """Make a table of a file whose name says town, file id and mode, else None.

    Both the name inside a transmission and the one a core system writes (no sequence yet).
    """
    found = _DROPPED_NAME.fullmatch(path.name)
    if found is None or found["file_id"] not in interface.files:
        return None
    as_of = clock.today()
    parts = parse_file_name(path.name)
    if parts is not None:
        try:
            as_of = datetime.strptime(parts[4], "%Y%m%d%H%M%S").replace(tzinfo=clock.JST).date()
        except ValueError:
            return None
    context = CheckContext(
        municipality_code=found["municipality"],
        mode="full" if found["mode"] == "F" else "differential",
        as_of=as_of,
        interface=interface,
        file=path.name,
    )
    return _Table(interface.files[found["file_id"]], path.name, lambda: path.open("rb"), context)


@dataclass(frozen=True)
class _Marker:
    """What the `READY` marker of a drop folder says about all of it."""

    municipality_code: str
    mode: str
    lane: str
    as_of: date
    interface_version: str
    files: dict[str, tuple[int, int, str]]  # name -> rows, bytes, SHA-256


def _read_marker(folder: Path) -> _Marker | Refusal | None:
    """Read the `READY` marker a core system writes last; None when there is none."""
    path = folder / READY_NAME
    if not path.is_file():
        return None
    try:
        value = strict_json.parse(path.read_bytes())
    except strict_json.JsonFault as fault:
        return Refusal("TRANSMISSION_MANIFEST_JSON", {"reason": fault.reason})
    try:
        if not isinstance(value, dict):
            raise TypeError("object")
        mode, lane = value["mode"], value.get("lane", "main")
        if mode not in ("full", "differential") or lane not in LANES:
            raise TypeError("mode")
        return _Marker(
            municipality_code=str(value["municipality_code"]),
            mode=mode,
            lane=lane,
            as_of=datetime.fromisoformat(value["as_of"]).astimezone(clock.JST).date(),
            interface_version=str(value.get("interface_version", "1.0")),
            files={
                str(file["name"]): (int(file["rows"]), int(file["bytes"]), str(file["sha256"]))
                for file in value["files"]
            },
        )
    except (KeyError, TypeError, ValueError):
        return Refusal("TRANSMISSION_MANIFEST_FIELDS", {"field": READY_NAME})


def _marked(table: _Table, marker: _Marker) -> _Table:
    """Let the marker decide what the file's name only suggests."""
    context = replace(
        table.context,
        municipality_code=marker.municipality_code,
        mode=marker.mode,
        lane=marker.lane,
        as_of=marker.as_of,
    )
    rows = marker.files[table.name][0] if table.name in marker.files else None
    return replace(table, context=context, rows=rows)


def _judge_marker(folder: Path, marker: _Marker, report: Report) -> None:
    """Compare the folder with its marker: the same files, the same bytes."""
    present = {path.name: path for path in folder.glob("*.csv")}
    present |= {f"seal/{path.name}": path for path in (folder / "seal").glob("*.png")}
    judged = FileReport(file=READY_NAME, file_id="")
    if set(present) != set(marker.files):
        judged.add([fatal(READY_NAME, None, "TRANSMISSION_MANIFEST_FILES")])
    for name in sorted(set(present) & set(marker.files)):
        size, digest = 0, hashlib.sha256()
        with present[name].open("rb") as source:
            while block := source.read(1 << 20):
                size += len(block)
                digest.update(block)
        if (size, digest.hexdigest()) != marker.files[name][1:]:
            judged.add([fatal(name, None, "TRANSMISSION_DIGEST")])
    if judged.counts:
        report.files.append(judged)


def _check_folder(folder: Path, report: Report, version: str | None) -> None:
    marker = _read_marker(folder)
    if isinstance(marker, Refusal):
        report.refusal = marker
        return
    try:
        interface = _interface(marker.interface_version if marker else version)
    except UnknownInterfaceVersion:
        report.refusal = Refusal("TRANSMISSION_INTERFACE_VERSION")
        return
    tables: list[_Table] = []
    for path in sorted(folder.glob("*.csv")):
        table = _named_table(path, interface)
        if table is not None:
            tables.append(table if marker is None else _marked(table, marker))
            continue
        unknown = FileReport(file=path.name, file_id="", readable=False)
        unknown.add([fatal(path.name, None, "TRANSMISSION_FILE_NAME")])
        report.files.append(unknown)
    if marker is not None:
        _judge_marker(folder, marker, report)
    if not tables:
        if not report.files:
            report.refusal = Refusal("TRANSMISSION_NOT_FOUND")
        return
    full = all(table.context.mode == "full" for table in tables)
    rules = TransmissionRules(
        interface,
        mode="full" if full else "differential",
        lane=marker.lane if marker else "main",
    )
    seals = {f"seal/{path.name}": path for path in (folder / "seal").glob("*.png")}
    rules.seal.offer_images(seals, lambda name: _read_limited(seals[name]))
    _check_tables(tables, rules, report)


def _read_limited(path: Path) -> bytes:
    with path.open("rb") as source:
        return source.read(MAX_IMAGE_BYTES + 1)


def _check_single(path: Path, report: Report, file_id: str | None, version: str | None) -> None:
    interface = _interface(version)
    table = _named_table(path, interface)
    if table is None or (file_id is not None and file_id != table.layout.file_id):
        layout = _layout_of(path, interface, file_id)
        if layout is None:
            report.refusal = Refusal("LINKAGE_FILE_UNKNOWN")
            return
        context = CheckContext(as_of=clock.today(), interface=interface, file=path.name)
        table = _Table(layout, path.name, lambda: path.open("rb"), context)
    rules = TransmissionRules(interface, mode=table.context.mode)
    _check_tables([table], rules, report)


def _layout_of(path: Path, interface: Interface, file_id: str | None) -> Layout | None:
    """Give the layout asked for, else the one whose header the file has most titles of."""
    if file_id is not None:
        return interface.files.get(file_id)
    with path.open("rb") as source:
        first = source.readline(1 << 16)
    titles = set(first.decode("utf-8-sig", errors="replace").strip().replace('"', "").split(","))
    best = max(
        interface.files.values(),
        key=lambda layout: len(titles & {c.title_ja for c in layout.columns}) / len(layout.columns),
    )
    shared = len(titles & {column.title_ja for column in best.columns})
    return best if shared * 2 >= len(best.columns) else None
