"""The statement 「誰がこの方の情報を見たか」 as one value, and as PDF/A drawn by typst.

Everything reaches typst as data (JSON), never as source text. The same statement gives the same
bytes: the file's own time is a fixed one, the day it was made is printed on it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from importlib import resources
from pathlib import Path

import typst
from django.conf import settings

from bcl.issuance.api import DEFAULT_FONT_PATH, FontNotInstalledError, load_typeface

_FIXED_TIME = datetime(2020, 1, 1, tzinfo=UTC)
_CONTROL = "\u3000 "


@dataclass(frozen=True)
class Line:
    """One act about the person. `kind` is that of `audit_looks.AuditAct`."""

    at: datetime
    kind: str
    kind_ja: str
    act_ja: str
    who_ja: str
    purpose_ja: str
    place_ja: str


@dataclass(frozen=True)
class Sheet:
    """Everything that stands in a statement; times in Japan."""

    title_ja: str
    town_ja: str
    number: int
    reference: str
    person_ja: str = field(repr=False)
    addressee_number: str = field(repr=False)
    since: datetime
    until: datetime
    made_on: date
    is_protected: bool
    lines: tuple[Line, ...]

    def of_kind(self, kind: str) -> int:
        """How many lines are of a kind."""
        return sum(line.kind == kind for line in self.lines)


def compose(*, lines: list[Line], **facts: object) -> Sheet:
    """Put a statement together."""
    return Sheet(
        title_ja="閲覧等の記録（誰がこの方の情報を見たか）",
        lines=tuple(lines),
        **facts,  # type: ignore[arg-type]
    )


def missing_character(sheet: Sheet) -> int | None:
    """Where the first character stands that the font can't draw, over all texts; else None.

    typst would leave a gap without a word.
    """
    texts = [sheet.town_ja, sheet.person_ja, sheet.reference]
    for line in sheet.lines:
        texts += [line.act_ja, line.who_ja, line.purpose_ja, line.place_ja]
    whole = "".join(texts).translate({ord(mark): None for mark in _CONTROL})
    return load_typeface(_font_path()).missing(whole)


def render(sheet: Sheet) -> bytes:
    """The statement as PDF/A-1b. Raises `FontNotInstalledError`."""
    data = {
        "title": sheet.title_ja,
        "town": sheet.town_ja,
        "number": sheet.number,
        "reference": sheet.reference,
        "person": sheet.person_ja or "（いまの記録にありません）",
        "addressee": sheet.addressee_number,
        "since": _day(sheet.since),
        "until": f"{_day(sheet.until)} {sheet.until:%H時%M分}",
        "made": _day(sheet.made_on),
        "protected": sheet.is_protected,
        "summary": [
            [line_kind, count]
            for line_kind, count in _summary(sheet)
        ],
        "lines": [
            [
                f"{_day(line.at)} {line.at:%H時%M分}",
                line.kind_ja,
                line.act_ja,
                line.who_ja,
                line.purpose_ja or "—",
                line.place_ja or "—",
            ]
            for line in sheet.lines
        ],
    }
    pdf = typst.compile(  # type: ignore[type-var]
        {"main.typ": _template(), "model.json": json.dumps(data, ensure_ascii=False).encode()},
        font_paths=_fonts(_font_path()),
        format="pdf",
        timestamp=_FIXED_TIME,
        pdf_standards=["a-1b"],
        pdf_tags=False,
    )
    if not isinstance(pdf, bytes):
        raise TypeError("typst gave no PDF")
    return pdf


def _summary(sheet: Sheet) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for line in sheet.lines:
        counts[line.kind_ja] = counts.get(line.kind_ja, 0) + 1
    return list(counts.items())


def _day(at: date) -> str:
    return f"{at.year}年{at.month}月{at.day}日"


def _font_path() -> Path:
    chosen: Path | None = settings.BCL.issuance.font_file
    return chosen or DEFAULT_FONT_PATH


@lru_cache(maxsize=1)
def _template() -> bytes:
    return resources.files("bcl.oversight.documents").joinpath("statement.typ").read_bytes()


@lru_cache(maxsize=2)
def _fonts(path: Path) -> typst.Fonts:
    if not path.is_file():
        raise FontNotInstalledError(f"回答書のフォントが {path} にありません。")
    return typst.Fonts(
        include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(path.parent)]
    )
