"""Refusals: the expected noes of the product, as values with a code.

Owns: the list of codes and their plain Japanese text (`data/refusals.csv`).
Promises: a `Refusal` can be shown to anybody: it carries a code, a place (file, line, column,
rule) and counts, never a value from a register.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from types import MappingProxyType

HEADER = ["code", "severity", "http_status", "text_ja", "who_can_fix_ja", "how_ja"]


@dataclass(frozen=True)
class RefusalText:
    """What people read for one code: what it is, who can fix it and how.

    `severity` is fatal, row, household, warning or refused; `http_status` is the status
    a wire answers with.
    """

    code: str
    severity: str
    http_status: int
    text_ja: str
    who_can_fix_ja: str
    how_ja: str


def _load() -> Mapping[str, RefusalText]:
    """Read the one list of codes; a doubled or malformed row stops the start."""
    texts: dict[str, RefusalText] = {}
    source = files("bcl_contract").joinpath("data/refusals.csv")
    with source.open("r", encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        if reader.fieldnames != HEADER:
            raise ValueError("refusals.csv: unexpected header")
        for row in reader:
            code = row["code"]
            if code in texts or None in row or None in row.values():
                raise ValueError(f"refusals.csv: doubled or malformed row {code}")
            texts[code] = RefusalText(
                code=code,
                severity=row["severity"],
                http_status=int(row["http_status"]),
                text_ja=row["text_ja"],
                who_can_fix_ja=row["who_can_fix_ja"],
                how_ja=row["how_ja"],
            )
    return MappingProxyType(texts)


REFUSALS: Mapping[str, RefusalText] = _load()


@dataclass(frozen=True)
class Refusal:
    """An expected no. `code` must be in `REFUSALS` (KeyError otherwise).

    `detail` says where (file, line, column, rule, counts) and never holds a register's value.
    """

    code: str
    detail: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        REFUSALS[self.code]
        object.__setattr__(self, "detail", MappingProxyType(dict(self.detail)))

    def __hash__(self) -> int:
        return hash((self.code, tuple(sorted(self.detail.items(), key=lambda item: item[0]))))

    @property
    def text(self) -> RefusalText:
        """The plain Japanese text of this refusal."""
        return REFUSALS[self.code]

    def as_json(self) -> dict[str, object]:
        """Give the wire form: code, text, who, how, detail."""
        text = self.text
        return {
            "code": self.code,
            "text": text.text_ja,
            "who": text.who_can_fix_ja,
            "how": text.how_ja,
            "detail": dict(self.detail),
        }
