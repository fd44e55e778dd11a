"""Findings: what a check of a table or a transmission has to say, and where.

Promises: a finding names file, line, column and rule; it never holds a value of the register.
"""

from __future__ import annotations

from dataclasses import dataclass

from bcl_contract.refusals import REFUSALS, RefusalText

FATAL = "fatal"
ROW = "row"
HOUSEHOLD = "household"
WARNING = "warning"
SEVERITIES = (FATAL, ROW, HOUSEHOLD, WARNING)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong at one place.

    `file` is the file's name (or its file id), `line` the physical line from 1 (the header is
    line 1; None for the whole file), `column` the Japanese title, `rule` the id of the rule,
    `severity` fatal (the transmission can't be read), row, household or warning,
    `code` a code of `REFUSALS`.
    """

    file: str
    line: int | None
    column: str | None
    rule: str
    severity: str
    code: str

    @property
    def text(self) -> RefusalText:
        """The plain Japanese text of the code."""
        return REFUSALS[self.code]

    def as_json(self) -> dict[str, object]:
        """Give the machine form with the text beside the code."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "rule": self.rule,
            "severity": self.severity,
            "code": self.code,
            "text": self.text.text_ja,
        }


def fatal(file: str, line: int | None, code: str, *, column: str | None = None) -> Finding:
    """Make a fatal finding whose rule is its code."""
    return Finding(file, line, column, code, FATAL, code)


class TableFault(Exception):
    """Raised when a table can't be read on: its structure, not its values, is wrong.

    `findings` holds the reason, with line numbers. Nothing of the file may be applied.
    """

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(f"{f.file}:{f.line}: {f.code}" for f in findings))
        self.findings = findings
