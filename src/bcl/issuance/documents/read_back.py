"""Reading a finished PDF with another library (PDFium) and comparing it with the page model.

The renderer is not believed: every character that PDFium finds must be one the model placed, in
the order and in the box where the model placed it, and nothing else may be on the paper.
Reliability M1 and M8: equal, not "contains".
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass, replace

import pypdfium2  # type: ignore[import-untyped]
import pypdfium2.raw as pdfium  # type: ignore[import-untyped]

from bcl.issuance.documents.font import Typeface, clusters, is_selector
from bcl.issuance.documents.model import POINT_MM, PlacedLine, PlacedModel, PlacedPage

_TOLERANCE_MM = 0.1
# Punctuation at the beginning of a line hangs out by half of its em square (JIS X 4051).
_HANGING_EM = 0.5
_SPACES = " \u00a0"
# PDFium keeps global state and must not be entered by two threads; nothing of a request is kept.
_pdfium_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the paper and the model part: a page (from 1) and a field, never a text."""

    reason: str
    page: int
    field: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class _Found:
    cluster: str
    x: float
    y: float


def compare(pdf: bytes, placed: PlacedModel, typeface: Typeface) -> Difference | None:
    """Return the first difference between a PDF and its model, None when they are equal.

    Characters are equal when the font draws them with the same glyph: a PDF can name only one
    text per glyph, so 籍 and 籍+U+E0102 (one shape in the font) can't be told apart in it.
    """
    with _pdfium_lock:
        pages = _extract(pdf, placed.model.height_mm)
    if isinstance(pages, Difference):
        return pages
    if len(pages) != len(placed.pages):
        return Difference("page_count", len(pages))
    for number, (found, page) in enumerate(zip(pages, placed.pages, strict=True), start=1):
        difference = _compare_page(found, page, number, typeface)
        if difference is not None:
            return difference
    return None


def _extract(pdf: bytes, height_mm: float) -> list[list[_Found]] | Difference:
    try:
        document = pypdfium2.PdfDocument(pdf)
    except pypdfium2.PdfiumError:
        return Difference("not_readable", 0)
    try:
        pages = []
        for index in range(len(document)):
            page = document[index]
            text = page.get_textpage()
            pages.append(_characters(text.raw, text.count_chars(), height_mm))
            text.close()
            page.close()
        return pages
    finally:
        document.close()


def _characters(text: object, count: int, height_mm: float) -> list[_Found]:
    x, y = ctypes.c_double(), ctypes.c_double()
    found: list[_Found] = []
    high = 0
    for index in range(count):
        unit = pdfium.FPDFText_GetUnicode(text, index)
        if pdfium.FPDFText_IsGenerated(text, index) == 1:
            continue
        if 0xD800 <= unit < 0xDC00:
            high = unit
            continue
        if high and 0xDC00 <= unit < 0xE000:
            unit, high = 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00), 0
        character = chr(unit)
        if is_selector(character) and found:
            found[-1] = replace(found[-1], cluster=found[-1].cluster + character)
            continue
        if character in _SPACES:
            # PDFium joins spaces into one; the letters around them are what counts.
            continue
        pdfium.FPDFText_GetCharOrigin(text, index, x, y)
        found.append(_Found(character, x.value * POINT_MM, height_mm - y.value * POINT_MM))
    return found


def _compare_page(
    found: list[_Found], page: PlacedPage, number: int, typeface: Typeface
) -> Difference | None:
    position = 0
    for line in page.lines_of_text:
        for cluster in clusters(line.value):
            if cluster in _SPACES:
                continue
            if position >= len(found) or not _is_same(found[position].cluster, cluster, typeface):
                return Difference("text", number, line.source.field)
            if not _inside(found[position], line):
                return Difference("position", number, line.source.field)
            position += 1
    if position != len(found):
        return Difference("more_than_the_model", number)
    return None


def _is_same(found: str, expected: str, typeface: Typeface) -> bool:
    if found == expected:
        return True
    glyph = typeface.glyph_of(found)
    return glyph is not None and glyph == typeface.glyph_of(expected)


def _inside(found: _Found, line: PlacedLine) -> bool:
    em = line.size_pt * POINT_MM
    box = line.source.box
    baseline = line.y + 0.88 * em
    return (
        box.x - _HANGING_EM * em - _TOLERANCE_MM <= found.x <= box.right + _TOLERANCE_MM
        and abs(found.y - baseline) <= _TOLERANCE_MM
    )
