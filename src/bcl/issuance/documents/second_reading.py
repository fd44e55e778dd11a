"""Reading a finished PDF a second time, with poppler: whose names and which number stand on it.

Shares nothing with the renderer (typst) nor with the read-back (PDFium). Works from the finished
bytes and from where the kind's definition puts names and numbers; what ought to stand there comes
from the caller, who works it out from the store (decision D21).
"""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from bcl.issuance.documents.font import Typeface, clusters
from bcl.issuance.documents.model import POINT_MM, Box
from bcl.issuance.kinds import KindDefinition
from bcl.issuance.kinds.layout import Block
from bcl.issuance.records import PersonRecord

_SECONDS = 10.0
_NAME = "member.full_name"
# Levels of poppler's list.
_PAGE, _WORD = "1", "5"


@dataclass(frozen=True, slots=True, repr=False)
class _Word:
    """A word of poppler with the middle of its box, millimetres."""

    text: str
    x: float
    y: float


class UnreadablePaperError(RuntimeError):
    """Poppler could not read the PDF, or is not installed; the message never holds a text."""


def find_slip(
    pdf: bytes,
    *,
    definition: KindDefinition,
    persons: Sequence[PersonRecord],
    issue_number: str,
    typeface: Typeface,
) -> str | None:
    """Name what is wrong with a finished paper, None when it is right.

    Right means: as many pages as these persons need, on each the issue number and nothing beside
    it, in each place for a name the name of the person whose turn it is, and after the last one
    nothing but the words that close the form.
    """
    pages = _read(pdf)
    groups = _groups(definition, persons)
    if len(pages) != len(groups):
        return "pages"
    for number, (words, group) in enumerate(zip(pages, groups, strict=True), start=1):
        slip = _slip_of_page(words, group, definition, issue_number, typeface)
        if slip is None and number == len(groups):
            slip = _slip_below(words, group, definition)
        if slip is not None:
            return slip
    return None


def _read(pdf: bytes) -> list[list[_Word]]:
    try:
        done = subprocess.run(
            ["pdftotext", "-tsv", "-", "-"],
            input=pdf,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
        return _pages(done.stdout.decode())
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as fault:
        raise UnreadablePaperError(type(fault).__name__) from None


def _pages(listing: str) -> list[list[_Word]]:
    """Read poppler's list of words: one line each, in points from the upper left corner."""
    rows = csv.DictReader(listing.split("\n"), delimiter="\t", quoting=csv.QUOTE_NONE)
    pages: list[list[_Word]] = []
    for row in rows:
        if row["level"] == _PAGE:
            pages.append([])
        elif row["level"] == _WORD:
            pages[int(row["page_num"]) - 1].append(_word(row))
    return pages


def _word(row: dict[str, str]) -> _Word:
    left, top, width, height = (float(row[n]) for n in ("left", "top", "width", "height"))
    return _Word(row["text"], (left + width / 2) * POINT_MM, (top + height / 2) * POINT_MM)


def _groups(
    definition: KindDefinition, persons: Sequence[PersonRecord]
) -> list[Sequence[PersonRecord]]:
    members = definition.layout.members
    size = members.per_page if members else max(len(persons), 1)
    return [persons[start : start + size] for start in range(0, len(persons), size)]


def _slip_of_page(
    words: list[_Word],
    group: Sequence[PersonRecord],
    definition: KindDefinition,
    issue_number: str,
    typeface: Typeface,
) -> str | None:
    layout = definition.layout
    printed = _inside(words, layout.places["issue_number"].box)
    if printed != f"{layout.phrases['issue_number']}{issue_number}":
        return "issue_number"
    for box, person in zip(_name_boxes(definition, group), group, strict=True):
        found = _glyphs(_inside(words, box), typeface)
        if not found or found != _glyphs(_name_of(person), typeface):
            return "names"
    return None


def _slip_below(
    words: list[_Word], group: Sequence[PersonRecord], definition: KindDefinition
) -> str | None:
    """After the last person nobody else is named: only the closing words stand there."""
    layout = definition.layout
    if layout.members is None:
        return None
    top = layout.members.top + sum(_block(definition, p).height for p in group)
    bottom = layout.places["sentence"].box.y
    rest = _inside(words, Box(0, top, layout.width, bottom - top))
    return None if rest == layout.phrases["blank_below"] else "names"


def _name_boxes(definition: KindDefinition, group: Sequence[PersonRecord]) -> list[Box]:
    layout = definition.layout
    if layout.members is None:
        boxes = [_cell_box(t.block, layout.left, t.top) for t in layout.tables]
        return [box for box in boxes if box is not None]
    found, top = [], layout.members.top
    for person in group:
        block = _block(definition, person)
        box = _cell_box(block, layout.left, top)
        found += [box] if box is not None else []
        top += block.height
    return found


def _block(definition: KindDefinition, person: PersonRecord) -> Block:
    members = definition.layout.members
    assert members is not None  # noqa: S101 (asked for kinds with members only)
    return members.blocks["foreign" if person.is_foreign else "japanese"]


def _cell_box(block: Block, left: float, top: float) -> Box | None:
    y = top
    for row in block.rows:
        x = left + block.number_width
        for cell in row.cells:
            if cell.field == _NAME:
                return Box(x + cell.label_width, y, cell.width, row.height)
            x += cell.label_width + cell.width
        y += row.height
    return None


def _inside(words: list[_Word], box: Box) -> str:
    """Join the words whose middle lies in a box, line by line, without spaces."""
    found = [w for w in words if box.x <= w.x <= box.right and box.y <= w.y <= box.bottom]
    found.sort(key=lambda word: (round(word.y, 1), word.x))
    return _bare("".join(word.text for word in found))


def _bare(text: str) -> str:
    return text.replace(" ", "").replace("\u3000", "").replace("\u00a0", "")


def _glyphs(text: str, typeface: Typeface) -> list[str]:
    """The shapes of a text: a PDF names one text for each, so shapes are what can be compared."""
    return [typeface.glyph_of(cluster) or cluster for cluster in clusters(_bare(text))]


def _name_of(person: PersonRecord) -> str:
    if person.is_foreign:
        columns = ("full_name_roman", "full_name_kanji", "full_name")
        return next((person[column] for column in columns if person[column]), "")
    return person["full_name"]
