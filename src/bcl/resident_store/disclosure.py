"""What of a record a person at a terminal may see: decided by column, never by screen (R-056).

Classes come from the interface's layout. Individual numbers and seal impressions are shown to
nobody here. Sensitive columns need a permission of their own. Where somebody of the household is
under a protective measure, everything that tells where they live is held back until it is asked
for separately.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

from bcl.resident_store.protection import tells_a_place
from bcl_contract.linkage.layouts import Column, Interface, Layout

SEE_SENSITIVE = "residents.view_sensitive"
NEVER_SHOWN = frozenset({"individual_number", "secret_image"})
_HERE = Path(__file__).parent

HIDDEN_CLASS = "表示しません"
HIDDEN_SENSITIVE = "権限がないため表示しません"
HIDDEN_PLACE = "支援措置のため表示していません"


@dataclass(frozen=True)
class Sight:
    """What one look may show: permissions, and whether places are held back."""

    permissions: Collection[str]
    hides_places: bool


@dataclass(frozen=True)
class Field:
    """One filled item as shown; `is_hidden` when `text` only says why it is not."""

    title_ja: str
    text: str
    is_hidden: bool = False


@dataclass(frozen=True)
class Section:
    """Items of a record under one heading."""

    title_ja: str
    fields: tuple[Field, ...]


def why_hidden(column: Column, sight: Sight) -> str | None:
    """The words in place of a value, or None when it may be shown."""
    if column.sensitivity in NEVER_SHOWN:
        return HIDDEN_CLASS
    if sight.hides_places and tells_a_place(column):
        return HIDDEN_PLACE
    if column.sensitivity == "sensitive" and SEE_SENSITIVE not in sight.permissions:
        return HIDDEN_SENSITIVE
    return None


def show_field(
    interface: Interface, column: Column, value: str | None, sight: Sight
) -> Field | None:
    """A filled item with its code in words; None for an empty one."""
    if value is None:
        return None
    hidden = why_hidden(column, sight)
    if hidden is not None:
        return Field(column.title_ja, hidden, is_hidden=True)
    if column.code_list is not None:
        label = interface.code_lists[column.code_list].values.get(value)
        return Field(column.title_ja, f"{label}（{value}）" if label else f"{value}（名称なし）")
    if column.type == "F":
        return Field(column.title_ja, {"0": "いいえ", "1": "はい"}.get(value, value))
    return Field(column.title_ja, value)


def show_record(
    interface: Interface, layout: Layout, values: Mapping[str, str | None], sight: Sight
) -> list[Section]:
    """A record's filled items in their sections, in the layout's order."""
    grouped: dict[str, list[Field]] = {}
    for column in layout.columns:
        field = show_field(interface, column, values.get(column.name), sight)
        if field is not None:
            grouped.setdefault(_section_of(layout, column), []).append(field)
    return [Section(title, tuple(fields)) for title, fields in grouped.items()]


def _section_of(layout: Layout, column: Column) -> str:
    title = layout.title_ja
    for first_position, name in _sections().get(layout.file_id, ()):
        if column.position >= first_position:
            title = name
    return title


@lru_cache(maxsize=1)
def _sections() -> dict[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for row in _rows("sections.csv"):
        place = (int(row["first_position"]), row["title_ja"])
        found.setdefault(row["file_id"], []).append(place)
    return found


def purposes_on(day: date) -> dict[str, str]:
    """The purposes for which residents may be looked up that day: code -> label."""
    return {
        row["code"]: row["label_ja"]
        for row in _rows("purposes.csv")
        if date.fromisoformat(row["effective_from"]) <= day
    }


@lru_cache(maxsize=2)
def _rows(name: str) -> list[dict[str, str]]:
    with (_HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
