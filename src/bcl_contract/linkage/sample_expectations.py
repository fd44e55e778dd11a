"""What the validator has to say of each sample of the kit (`samples.csv`), and whether it did."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bcl_contract.linkage.transmission_check import Report

COLUMNS = ("sample", "ok", "severity", "code", "column", "text_ja", "note_ja")


@dataclass(frozen=True)
class Expectation:
    """One sample: its path below the samples, whether it may be sent, and the one finding that
    must be told of it (`code` empty: none). `column` is the Japanese title, empty for none."""

    sample: str
    ok: bool
    severity: str
    code: str
    column: str
    text_ja: str
    note_ja: str

    def is_met_by(self, report: Report) -> bool:
        """Whether the validator said what it has to say."""
        if report.ok != self.ok or report.refusal is not None:
            return False
        if not self.code:
            return True
        wanted = (self.severity, self.code, self.column or None)
        return any(
            (finding.severity, finding.code, finding.column) == wanted
            for file in report.files
            for finding in file.findings
        )


def read_expectations(path: Path) -> list[Expectation]:
    """Read `samples.csv`. Raises OSError, KeyError, ValueError or csv.Error."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return [
            Expectation(
                sample=_inside(row["sample"]),
                ok=row["ok"] == "1",
                **{name: row[name] for name in COLUMNS[2:]},
            )
            for row in csv.DictReader(lines, strict=True)
        ]


def write_expectations(path: Path, expectations: Iterable[Expectation]) -> None:
    """Write `samples.csv`: UTF-8 with BOM, so that a spreadsheet opens it as it is."""
    with path.open("w", encoding="utf-8-sig", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(COLUMNS)
        for each in expectations:
            writer.writerow(
                (each.sample, int(each.ok), *(getattr(each, name) for name in COLUMNS[2:]))
            )


def _inside(name: str) -> str:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError("a sample lies below the list of samples")
    return name
