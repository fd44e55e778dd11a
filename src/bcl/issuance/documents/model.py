"""The page model: what stands where, in millimetres from the upper left corner.

`compose` makes it, the lints judge it, the renderer draws it, the read-back compares the
finished PDF with it. Nothing here knows how PDF works.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as attribute
from enum import StrEnum

from bcl.issuance.kinds.layout import Align, Box

__all__ = [
    "LABEL",
    "POINT_MM",
    "Align",
    "Box",
    "Fit",
    "Image",
    "Line",
    "Page",
    "PageModel",
    "PlacedLine",
    "PlacedModel",
    "PlacedPage",
    "Text",
]

POINT_MM = 25.4 / 72
LABEL = "label"


class Fit(StrEnum):
    """What may be done when a text is wider than its box; cutting it off never may."""

    FIXED = "FIXED"
    SHRINK = "SHRINK"
    SHRINK_THEN_WRAP = "SHRINK_THEN_WRAP"


@dataclass(frozen=True, slots=True, repr=False)
class Text:
    """One text in its box.

    `field` names what it is: `label`, `household.address`, `member.full_name` …;
    `person` is the addressee number it speaks of, or "" when it speaks of nobody in particular.
    """

    field: str
    value: str
    box: Box
    size_pt: float
    align: Align = Align.LEFT
    fit: Fit = Fit.SHRINK_THEN_WRAP
    person: str = ""

    def __repr__(self) -> str:
        return f"Text({self.field}, {len(self.value)} characters)"

    @property
    def is_form(self) -> bool:
        """True for a word of the empty form, the same on everybody's paper."""
        return self.field == LABEL


@dataclass(frozen=True, slots=True)
class Line:
    """A ruled line from one point to another, millimetres; its weight in points."""

    x1: float
    y1: float
    x2: float
    y2: float
    weight_pt: float


@dataclass(frozen=True, slots=True)
class Image:
    """A picture (公印) at its true size."""

    field: str
    png: bytes = attribute(repr=False)
    box: Box


@dataclass(frozen=True, slots=True, repr=False)
class Page:
    """One side of paper."""

    texts: tuple[Text, ...]
    lines: tuple[Line, ...]
    images: tuple[Image, ...]


@dataclass(frozen=True, slots=True, repr=False)
class PageModel:
    """A whole certificate before it is drawn.

    `persons` are the addressee numbers of everybody named as a member, in order.
    `layout_version` is stored with the transaction so that the same paper can be made again.
    """

    title: str
    issue_number: str
    layout_version: str
    width_mm: float
    height_mm: float
    persons: tuple[str, ...]
    pages: tuple[Page, ...]

    def __repr__(self) -> str:
        return f"PageModel({self.layout_version}, {len(self.pages)} pages)"


@dataclass(frozen=True, slots=True, repr=False)
class PlacedLine:
    """One line of characters ready to draw: its left end and the top of its em square, mm.

    `tracking` is the extra distance after each character, millimetres.
    """

    x: float
    y: float
    size_pt: float
    value: str
    source: Text
    tracking: float = 0.0

    def __repr__(self) -> str:
        return f"PlacedLine({self.source.field}, {len(self.value)} characters)"


@dataclass(frozen=True, slots=True, repr=False)
class PlacedPage:
    """A page whose every text has found its place: the form's words first, then the values.

    It is drawn in this order and read back in this order.
    """

    lines_of_text: tuple[PlacedLine, ...]
    lines: tuple[Line, ...]
    images: tuple[Image, ...]


@dataclass(frozen=True, slots=True, repr=False)
class PlacedModel:
    """A certificate whose every character has a place and a size; drawing decides nothing."""

    model: PageModel
    pages: tuple[PlacedPage, ...]
