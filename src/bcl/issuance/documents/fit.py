"""Finding a place for every character: shrink, then wrap, else say no; never cut off.

Widths come from the advances of the font itself (hmtx), so a line that fits here fits on paper.
"""

from __future__ import annotations

import math

from bcl.issuance.documents.font import Typeface, clusters
from bcl.issuance.documents.model import (
    POINT_MM,
    Align,
    Fit,
    Page,
    PageModel,
    PlacedLine,
    PlacedModel,
    PlacedPage,
    Text,
)
from bcl_contract.refusals import Refusal

SMALLEST_PT = 6.0
_STEP_PT = 0.25
_PADDING_MM = 0.8
_SPREAD_INSET_MM = 0.6
_LINE_PITCH_EM = 1.05


def place(model: PageModel, typeface: Typeface) -> PlacedModel | Refusal:
    """Give every text its size and its lines.

    Refuses with ISSUE_GLYPH_MISSING when the font lacks a character and with
    ISSUE_LAYOUT_OVERFLOW when a text doesn't fit its box even at 6 pt on several lines
    (domain 4.8). The detail names the field, never the text.
    """
    pages = []
    for page in model.pages:
        placed = _place_page(page, typeface)
        if isinstance(placed, Refusal):
            return placed
        pages.append(placed)
    return PlacedModel(model, tuple(pages))


def _place_page(page: Page, typeface: Typeface) -> PlacedPage | Refusal:
    lines: list[PlacedLine] = []
    for text in page.texts:
        position = typeface.missing(text.value)
        if position is not None:
            return Refusal("ISSUE_GLYPH_MISSING", {"field": text.field, "position": position + 1})
        fitted = _fit(text, typeface)
        if fitted is None:
            return Refusal("ISSUE_LAYOUT_OVERFLOW", {"field": text.field})
        lines.extend(fitted)
    # The form's words first: the order of drawing, and so of reading back.
    lines.sort(key=lambda line: not line.source.is_form)
    return PlacedPage(tuple(lines), page.lines, page.images)


def _fit(text: Text, typeface: Typeface) -> list[PlacedLine] | None:
    room = text.box.width - 2 * _PADDING_MM
    units = [(cluster, typeface.advance_em(cluster)) for cluster in clusters(text.value)]
    width_em = sum(advance for _, advance in units)
    size = text.size_pt
    if text.fit is Fit.FIXED:
        return _stack(text, [text.value], size, typeface) if _fits(width_em, size, room) else None
    while not _fits(width_em, size, room) and size > SMALLEST_PT:
        size = max(SMALLEST_PT, size - _STEP_PT)
    if _fits(width_em, size, room):
        return _stack(text, [text.value], size, typeface)
    if text.fit is not Fit.SHRINK_THEN_WRAP:
        return None
    rows = _wrap(units, room / (SMALLEST_PT * POINT_MM))
    if rows is None or len(rows) * SMALLEST_PT * POINT_MM * _LINE_PITCH_EM > text.box.height:
        return None
    return _stack(text, rows, SMALLEST_PT, typeface)


def _fits(width_em: float, size_pt: float, room_mm: float) -> bool:
    return width_em * size_pt * POINT_MM <= room_mm


def _wrap(units: list[tuple[str, float]], room_em: float) -> list[str] | None:
    """Break into lines; a Latin word goes to the next line whole when it can."""
    rows: list[str] = []
    row: list[tuple[str, float]] = []
    used = 0.0
    for unit in units:
        if unit[1] > room_em:
            return None
        if used + unit[1] > room_em:
            kept = _break_at_space(row)
            rows.append("".join(cluster for cluster, _ in row[:kept]))
            row = row[kept:]
            used = sum(advance for _, advance in row)
        row.append(unit)
        used += unit[1]
    rows.append("".join(cluster for cluster, _ in row))
    return rows


def _break_at_space(row: list[tuple[str, float]]) -> int:
    for index in range(len(row) - 1, len(row) // 2, -1):
        if row[index][0] == " ":
            return index + 1
        if not row[index][0].isascii():
            break
    return len(row)


def _stack(text: Text, rows: list[str], size: float, typeface: Typeface) -> list[PlacedLine]:
    em = size * POINT_MM
    pitch = em * _LINE_PITCH_EM
    top = text.box.y + (text.box.height - (pitch * (len(rows) - 1) + em)) / 2
    placed = []
    for number, row in enumerate(rows):
        y = top + number * pitch
        spread = text.align is Align.SPREAD and len(clusters(row)) > 1
        lines = _spread(text, row, size, y=y, typeface=typeface) if spread else None
        placed.extend(lines or [_align(text, row, size, y=y, typeface=typeface)])
    return placed


def _spread(text: Text, row: str, size: float, *, y: float, typeface: Typeface) -> list[PlacedLine]:
    """Distribute the characters over the box (均等割付), one by one where scripts mix.

    typst puts no tracking between kanji and kana, so a mixed word is placed by character.
    """
    characters = clusters(row)
    left, right = text.box.x + _PADDING_MM, text.box.right - _PADDING_MM
    free = right - left - typeface.width_mm(row, size)
    # Distributed words keep a little distance from the rules on both sides.
    inset = min(_SPREAD_INSET_MM, free / 2)
    gap = (free - 2 * inset) / (len(characters) - 1)
    if all("一" <= character <= "龥" for character in characters):
        tracking = math.floor(gap * 100) / 100
        return [PlacedLine(_mm(left + inset), _mm(y), size, row, text, tracking)]
    placed, x = [], left + inset
    for character in characters:
        placed.append(PlacedLine(_mm(x), _mm(y), size, character, text))
        x += typeface.width_mm(character, size) + gap
    return placed


def _align(text: Text, row: str, size: float, *, y: float, typeface: Typeface) -> PlacedLine:
    width = typeface.width_mm(row, size)
    left, right = text.box.x + _PADDING_MM, text.box.right - _PADDING_MM
    middle = (left + right - width) / 2
    x = {Align.LEFT: left, Align.RIGHT: right - width}.get(text.align, middle)
    return PlacedLine(_mm(x), _mm(y), size, row, text)


def _mm(value: float) -> float:
    # A hundredth of a millimetre is finer than any printer and keeps the source short.
    return round(value, 2)
