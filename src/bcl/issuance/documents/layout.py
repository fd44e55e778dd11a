"""Layouts as data: rows of cells in millimetres, one file per version.

A printed sentence or a box moves by editing a file in `layouts/`, under a new version name:
a version that has issued papers is never edited, since the same paper must come out again.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from bcl.issuance.documents.model import Align, Box

CURRENT_RESIDENT_RECORD_COPY = "resident_record_copy-household-1"


class LayoutError(ValueError):
    """A layout file contradicts itself: a defect of ours, found when it is loaded."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A label and the value beside it; widths in millimetres; "" = no label."""

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


@dataclass(frozen=True, slots=True)
class Place:
    """A single text outside the table: its box, size and alignment."""

    box: Box
    size_pt: float
    align: Align


@dataclass(frozen=True, slots=True)
class Layout:
    """One version of the 住民票の写し, 世帯連記式 (domain 4.8)."""

    version: str
    title: str
    width: float
    height: float
    label_pt: float
    thin_pt: float
    thick_pt: float
    left: float
    household_top: float
    household: Block
    members_top: float
    members_per_page: int
    members: dict[str, Block]
    places: dict[str, Place]
    phrases: dict[str, str]
    article_30_45_kinds: dict[str, str]


def _cell(raw: dict[str, Any], size_pt: float) -> Cell:
    return Cell(
        field=raw["field"],
        label=raw.get("label", ""),
        label_width=float(raw.get("label_width", 0)),
        width=float(raw["width"]),
        size_pt=float(raw.get("size_pt", size_pt)),
        align=Align(raw.get("align", "LEFT")),
    )


def _block(raw: dict[str, Any], width: float, size_pt: float) -> Block:
    number_width = float(raw.get("number_width", 0))
    rows = tuple(
        Row(float(row["height"]), tuple(_cell(cell, size_pt) for cell in row["cells"]))
        for row in raw["rows"]
    )
    for row in rows:
        used = number_width + sum(cell.label_width + cell.width for cell in row.cells)
        if abs(used - width) > 0.001:
            raise LayoutError(f"a row is {used} mm wide, the table {width} mm")
    return Block(width, number_width, rows)


def _place(raw: dict[str, Any]) -> Place:
    return Place(Box(*map(float, raw["box"])), float(raw["size_pt"]), Align(raw["align"]))


@lru_cache(maxsize=16)
def load_layout(version: str = CURRENT_RESIDENT_RECORD_COPY) -> Layout:
    """Return the layout of this version; `LayoutError` when there is none or it is unsound."""
    if not version.replace("-", "").replace("_", "").isalnum():
        raise LayoutError("a layout version is letters, digits, '-' and '_'")
    try:
        text = (
            resources.files(__package__).joinpath("layouts", f"{version}.toml").read_text("utf-8")
        )
    except FileNotFoundError:
        raise LayoutError(f"no layout file for version {version}") from None
    raw = tomllib.loads(text)
    size_pt, width = float(raw["size_pt"]), float(raw["table_width"])
    blocks = {name: _block(block, width, size_pt) for name, block in raw["member"].items()}
    if len({block.height for block in blocks.values()}) != 1:
        raise LayoutError("all kinds of member blocks must be equally high")
    return Layout(
        version=raw["version"],
        title=raw["title"],
        width=float(raw["page_width"]),
        height=float(raw["page_height"]),
        label_pt=float(raw["label_pt"]),
        thin_pt=float(raw["thin_pt"]),
        thick_pt=float(raw["thick_pt"]),
        left=float(raw["left"]),
        household_top=float(raw["household_top"]),
        household=_block(raw["household"], width, size_pt),
        members_top=float(raw["members_top"]),
        members_per_page=int(raw["members_per_page"]),
        members=blocks,
        places={name: _place(place) for name, place in raw["place"].items()},
        phrases=raw["phrase"],
        article_30_45_kinds=raw["article_30_45_kind"],
    )
