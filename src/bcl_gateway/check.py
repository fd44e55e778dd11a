"""Step 2: check a folder with the validator BCL uses, before anything is sent.

A folder with a fatal finding or a wrong row is not sent: it goes to `rejected_dir` with a report
that names file, line, column and rule, and never a value (R-041). Household findings and warnings
are reported and sent: BCL holds those households and lands the rest (decision D7).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from bcl_contract import clock
from bcl_contract.linkage.cross_rules import TransmissionRules
from bcl_contract.linkage.findings import FATAL, ROW, SEVERITIES, Finding, fatal
from bcl_contract.linkage.layouts import (
    Interface,
    Layout,
    UnknownInterfaceVersion,
    load_interface,
)
from bcl_contract.linkage.manifest import SEAL_IMAGE_FILE_ID
from bcl_contract.linkage.seal_rules import MAX_IMAGE_BYTES
from bcl_contract.linkage.validator import CheckContext, FileReport, check_file
from bcl_contract.refusals import REFUSALS, Refusal
from bcl_gateway.config import GatewayConfig
from bcl_gateway.ready import Ready, ReadyFile, compare_with_folder

FINDINGS_IN_REPORT = 1000
SEVERITY_TEXTS = {
    "fatal": "重大（送信できません）",
    "row": "行の誤り（送信できません）",
    "household": "世帯の不整合（送信し、その世帯の証明書を保留します）",
    "warning": "注意（送信します）",
}


@dataclass
class CheckReport:
    """What the check of one folder found. `refusal` None = it may be sent.

    `findings` are the first `FINDINGS_IN_REPORT`; `counts` by severity count all of them;
    `rows` by file id.
    """

    refusal: Refusal | None = None
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    rows: dict[str, int] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Take in one finding: count it, and keep it if there is room."""
        self.counts[finding.severity] += 1
        if len(self.findings) < FINDINGS_IN_REPORT:
            self.findings.append(finding)

    def add_file(self, report: FileReport) -> None:
        """Take in the report of one table."""
        self.rows[report.file_id] = report.rows
        kept: Counter[str] = Counter()
        for finding in report.findings:
            self.add(finding)
            kept[finding.severity] += 1
        for severity in SEVERITIES:
            self.counts[severity] += report.count(severity) - kept[severity]

    def as_json(self) -> dict[str, Any]:
        """Give the machine form."""
        return {
            "refusal": self.refusal.as_json() if self.refusal else None,
            "counts": {severity: self.counts[severity] for severity in SEVERITIES},
            "rows": dict(self.rows),
            "findings": [finding.as_json() for finding in self.findings],
        }


def check_folder(config: GatewayConfig, folder: Path, ready: Ready) -> CheckReport:
    """Check the tables and images of a taken folder against READY and the interface's rules."""
    report = CheckReport()
    if ready.municipality_code != config.municipality_code:
        report.refusal = Refusal("GATEWAY_DROP_WRONG_MUNICIPALITY")
        return report
    report.refusal = compare_with_folder(folder, ready)
    if report.refusal is not None:
        return report
    try:
        interface = load_interface(ready.interface_version)
    except UnknownInterfaceVersion:
        report.refusal = Refusal("TRANSMISSION_INTERFACE_VERSION")
        return report
    report.refusal = _check_content(folder, ready, interface, report)
    if report.refusal is None and (report.counts[FATAL] or report.counts[ROW]):
        detail = {"fatal": report.counts[FATAL], "row": report.counts[ROW]}
        report.refusal = Refusal("GATEWAY_CONTENT_INVALID", detail)
    return report


def _check_content(
    folder: Path, ready: Ready, interface: Interface, report: CheckReport
) -> Refusal | None:
    """Every table by itself, then the rules over several rows and files (households, parents).

    Refuses GATEWAY_DROP_DIGEST for a file whose bytes are not those READY speaks of.
    """
    rules = TransmissionRules(interface, mode=ready.mode, lane=ready.lane)
    images = [file.name for file in ready.files if file.file_id == SEAL_IMAGE_FILE_ID]
    rules.seal.offer_images(images, lambda name: _read_image(folder / name))
    readable = True
    for file in sorted(ready.files, key=lambda each: each.file_id):  # J01 before its children
        layout = interface.files.get(file.file_id)
        with open_regular(folder / file.name) as raw:
            source = _HashingReader(raw)
            if layout is not None:
                found = _check_table(layout, file, ready, rules=rules, source=source)
                readable = readable and found.readable
                report.add_file(found)
            elif file.file_id != SEAL_IMAGE_FILE_ID:
                report.add(fatal(file.name, None, "LINKAGE_FILE_UNKNOWN"))
            if source.rest_of_digest() != (file.bytes, file.sha256):
                return Refusal("GATEWAY_DROP_DIGEST", {"file": file.name})
    if readable:
        for findings in rules.finish().values():
            for finding in findings:
                report.add(finding)
    return None


def _check_table(
    layout: Layout,
    file: ReadyFile,
    ready: Ready,
    *,
    rules: TransmissionRules,
    source: _HashingReader,
) -> FileReport:
    context = CheckContext(
        municipality_code=ready.municipality_code,
        lane=ready.lane,
        mode=ready.mode,
        as_of=ready.as_of.astimezone(clock.JST).date(),
        interface=load_interface(ready.interface_version),
        file=file.name,
    )
    binary: BinaryIO = source  # type: ignore[assignment]
    rules.open_table(layout, file=file.name)
    return check_file(
        layout,
        binary,
        context=context,
        expected_rows=file.rows,
        on_chunk=lambda chunk: rules.see(layout, chunk, file=file.name),
    )


def _read_image(path: Path) -> bytes:
    with open_regular(path) as source:
        return source.read(MAX_IMAGE_BYTES + 1)


class _HashingReader:
    """A file that is digested while the check reads it: the disk is read once."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._digest = hashlib.sha256()
        self._size = 0

    def read(self, size: int = -1) -> bytes:
        block = self._raw.read(size)
        self._digest.update(block)
        self._size += len(block)
        return block

    def readinto(self, target: Any) -> int:
        block = self.read(len(target))
        target[: len(block)] = block
        return len(block)

    def rest_of_digest(self) -> tuple[int, str]:
        """Read what the check left; give length and SHA-256 of the whole file."""
        while self.read(1 << 20):
            pass
        return self._size, self._digest.hexdigest()


def open_regular(path: Path) -> BinaryIO:
    """Open a file of the core system for reading; a link in its place is an OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return os.fdopen(descriptor, "rb")


# --- the report in the hall ------------------------------------------------------------


def write_report(folder: Path, *, title: str, report: dict[str, Any]) -> None:
    """Write 結果.txt (for people) and 結果.json (for programs) beside the returned files."""
    (folder / "結果.json").write_text(
        json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    (folder / "結果.txt").write_text("\n".join(report_lines(title, report)), encoding="utf-8")


def report_lines(title: str, report: dict[str, Any]) -> list[str]:
    """The report as Japanese lines: what, who can fix it, then place by place."""
    lines = [f"連携データの検査結果: {title}", ""]
    refusal = report.get("refusal")
    if refusal:
        lines += [
            f"結論: 送信していません（{refusal['code']}）",
            f"  {refusal['text']}",
            f"  直せる人: {refusal['who']}",
            f"  直し方: {refusal['how']}",
        ]
        lines += [f"  {name}: {value}" for name, value in refusal["detail"].items()]
    else:
        lines.append("結論: 送信できます")
    lines.append("")
    for severity, number in report.get("counts", {}).items():
        if number:
            lines.append(f"{SEVERITY_TEXTS[severity]}: {number}件")
    findings = report.get("findings", [])
    lines += [finding_line(found) for found in findings]
    left = sum(report.get("counts", {}).values()) - len(findings)
    if left > 0:
        lines.append(f"（ほかに{left}件あります）")
    return [*lines, ""]


def finding_line(found: dict[str, Any]) -> str:
    """One finding as a line: file, line, column, what is wrong, rule and code."""
    line = "" if found["line"] is None else f" {found['line']}行目"
    column = "" if found["column"] is None else f" 「{found['column']}」"
    code = found["code"]
    text = REFUSALS[code].text_ja if code in REFUSALS else ""
    return f"・{found['file']}{line}{column} {text}（{found['rule']} {code}）"
