"""Layouts as data: tables of rows of cells in millimetres, part of a kind's definition.

A printed sentence or a box moves by editing a definition in `issuance/kinds/`, under a new
version name: a version that has issued papers is never edited, since the same paper must come
out again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Align(StrEnum):
    """Where a line stands in its box; SPREAD distributes the characters (均等割付)."""

    LEFT = "LEFT"
    CENTER = "CENTER"
    RIGHT = "RIGHT"
    SPREAD = "SPREAD"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in millimetres."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height


class LayoutError(ValueError):
    """A layout contradicts itself: a defect of ours, found when it is loaded."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A label and the value beside it; widths in millimetres; "" = no label or no value."""

    field: str
    label: str
    label_width: float
    width: float
    size_pt: float
    align: Align


@dataclass(frozen=True, slots=True)
class Row:
    """Cells side by side."""

    height: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Rows on top of each other; the left margin column holds the running number."""

    width: float
    number_width: float
    rows: tuple[Row, ...]

    @property
    def height(self) -> float:
        """Sum of the rows' heights."""
        return sum(row.height for row in self.rows)

    @property
    def fields(self) -> frozenset[str]:
        """The items that have a cell here."""
        return frozenset(cell.field for row in self.rows for cell in row.cells if cell.field)


@dataclass(frozen=True, slots=True)
class Table:
    """A block at a fixed place, on every page."""

    top: float
    block: Block


@dataclass(frozen=True, slots=True)
class Place:
    """A single text outside the tables: its box, size and alignment."""

    box: Box
    size_pt: float
    align: Align


@dataclass(frozen=True, slots=True)
class Note:
    """Words of the form outside the tables, the same on everybody's paper."""

    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Members:
    """Blocks repeated for each person, several to a page; by the kind of resident."""

    top: float
    per_page: int
    blocks: Mapping[str, Block]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one version of a certificate stands."""

    version: str
    title: str
    width: float
    height: float
    label_pt: float
    thin_pt: float
    thick_pt: float
    left: float
    tables: tuple[Table, ...]
    members: Members | None
    imprint: Box | None
    places: Mapping[str, Place]
    phrases: Mapping[str, str]
    notes: tuple[Note, ...]
    words: Mapping[str, Mapping[str, str]]

    def fields(self) -> frozenset[str]:
        """Every item that has a cell somewhere."""
        return frozenset().union(*(block.fields for block in self._blocks()))

    def _blocks(self) -> Iterator[Block]:
        yield from (table.block for table in self.tables)
        if self.members is not None:
            yield from self.members.blocks.values()


def parse_layout(raw: Mapping[str, Any]) -> Layout:
    """Read the layout out of a definition; `LayoutError` when it is unsound."""
    size_pt, width = float(raw["size_pt"]), float(raw["table_width"])
    members = raw.get("members")
    imprint = raw.get("imprint")
    return Layout(
        version=raw["version"],
        title=raw["title"],
        width=float(raw["page_width"]),
        height=float(raw["page_height"]),
        label_pt=float(raw["label_pt"]),
        thin_pt=float(raw["thin_pt"]),
        thick_pt=float(raw["thick_pt"]),
        left=float(raw["left"]),
        tables=tuple(
            Table(float(table["top"]), _block(table, width, size_pt)) for table in raw["table"]
        ),
        members=_members(members, width, size_pt) if members else None,
        imprint=Box(*map(float, imprint["box"])) if imprint else None,
        places={name: _place(place) for name, place in raw["place"].items()},
        phrases=raw["phrase"],
        notes=tuple(Note(note["text"], _place(note)) for note in raw.get("note", ())),
        words=raw.get("words", {}),
    )


def _members(raw: Mapping[str, Any], width: float, size_pt: float) -> Members:
    blocks = {name: _block(block, width, size_pt) for name, block in raw["block"].items()}
    if len({block.height for block in blocks.values()}) != 1:
        raise LayoutError("all kinds of member blocks must be equally high")
    return Members(float(raw["top"]), int(raw["per_page"]), blocks)


def _cell(raw: Mapping[str, Any], size_pt: float) -> Cell:
    return Cell(
        field=raw.get("field", ""),
        label=raw.get("label", ""),
        label_width=float(raw.get("label_width", 0)),
        width=float(raw.get("width", 0)),
        size_pt=float(raw.get("size_pt", size_pt)),
        align=Align(raw.get("align", "LEFT")),
    )


def _block(raw: Mapping[str, Any], width: float, size_pt: float) -> Block:
    number_width = float(raw.get("number_width", 0))
    rows = tuple(
        Row(float(row["height"]), tuple(_cell(cell, size_pt) for cell in row["cells"]))
        for row in raw["rows"]
    )
    wide = float(raw.get("width", width))
    for row in rows:
        used = number_width + sum(cell.label_width + cell.width for cell in row.cells)
        if abs(used - wide) > 0.001:
            raise LayoutError(f"a row is {used} mm wide, the table {wide} mm")
        if any(bool(cell.field) != (cell.width > 0) for cell in row.cells):
            raise LayoutError("a cell has room for a value exactly when it has one")
    return Block(wide, number_width, rows)


def _place(raw: Mapping[str, Any]) -> Place:
    return Place(Box(*map(float, raw["box"])), float(raw["size_pt"]), Align(raw["align"]))
