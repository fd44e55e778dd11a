"""The kinds of certificates as declarative definitions: one file is one version of one kind.

A definition names everything that is particular to a kind: what is printed where, what may be
left out, who may have it, what it costs by default, and the source in law of each. A new kind is
one new file here (R-087); a change is a new file with a later `in_force_from`, since a version
that has issued papers must be able to make them again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from bcl.issuance.kinds.layout import Layout, LayoutError, parse_layout
from bcl.issuance.records import Scope

# More folders of definitions may be put in front; the product's own come last.
FOLDERS: tuple[Path, ...] = (Path(str(resources.files(__package__))),)


class KindError(ValueError):
    """A definition contradicts itself: a defect of ours, found when it is loaded."""


@dataclass(frozen=True, slots=True)
class Option:
    """Items that are printed only when the resident asks for them.

    `name` is what the town's settings call it, `word` what the delivery center calls it.
    """

    name: str
    word: str
    label: str
    fields: frozenset[str]
    offered: bool = True
    foreign_only: bool = False
    needs_assessment: bool = False


@dataclass(frozen=True, slots=True)
class KindDefinition:
    """One version of one kind of certificate.

    Of `complete_lists` (income, deduction, amount) every amount must have a cell.
    """

    version: str
    code: str
    family: str
    title: str
    legal_source: str
    in_force_from: date
    offered: bool
    fee_yen: int
    copies_max: int
    minimum_age: int
    minimum_age_source: str
    scopes: tuple[Scope, ...]
    by_tax_year: bool
    complete_lists: tuple[str, ...]
    rules: tuple[str, ...]
    sentences: Mapping[str, str]
    options: tuple[Option, ...]
    layout: Layout = field(repr=False)

    def option_of(self, printed_field: str) -> Option | None:
        """The choice that shows this item; None when it is always printed."""
        return next((o for o in self.options if printed_field in o.fields), None)

    def option_by_word(self, word: str) -> Option | None:
        """The choice the delivery center calls by this word."""
        return next((option for option in self.options if option.word == word), None)

    @property
    def whole_household(self) -> bool:
        """Whether others than the holder of the card may stand on it."""
        return self.scopes != (Scope.SELF,)


@dataclass(frozen=True, slots=True)
class Kinds:
    """All definitions there are."""

    by_version: Mapping[str, KindDefinition]

    def current(self, code: str, on: date) -> KindDefinition | None:
        """The version of a kind in force on a day; None when there is none."""
        versions = [
            d for d in self.by_version.values() if d.code == code and d.in_force_from <= on
        ]
        return max(versions, key=lambda d: d.in_force_from, default=None)

    def on(self, day: date) -> tuple[KindDefinition, ...]:
        """One definition of each kind in force on a day, in the order of their codes."""
        codes = sorted({d.code for d in self.by_version.values()})
        found = (self.current(code, day) for code in codes)
        return tuple(definition for definition in found if definition is not None)

    @property
    def codes(self) -> frozenset[str]:
        """Every code and every family that is known."""
        return frozenset(
            word for each in self.by_version.values() for word in (each.code, each.family)
        )


def all_kinds() -> Kinds:
    """Every definition; read once per set of folders. Raises `KindError`, `LayoutError`."""
    return _read(FOLDERS)


def definition_of(version: str) -> KindDefinition:
    """The definition a paper was made by. Raises `LayoutError` for an unknown version."""
    definition = all_kinds().by_version.get(version)
    if definition is None:
        raise LayoutError("there is no definition of this version")
    return definition


@lru_cache(maxsize=8)
def _read(folders: tuple[Path, ...]) -> Kinds:
    found: dict[str, KindDefinition] = {}
    for path in _files(folders):
        definition = _parse(tomllib.loads(path.read_text("utf-8")))
        if definition.version != path.stem or definition.version in found:
            raise KindError(f"{path.name}: a definition is named by its version, and once")
        found[definition.version] = definition
    return Kinds(found)


def _files(folders: tuple[Path, ...]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.glob("*.toml"))


def _parse(raw: dict[str, Any]) -> KindDefinition:
    layout = parse_layout(raw)
    options = tuple(_option(each) for each in raw.get("option", ()))
    scopes = tuple(Scope(word) for word in raw["scopes"])
    definition = KindDefinition(
        version=raw["version"],
        code=raw["code"],
        family=raw["family"],
        title=raw["kiosk_title"],
        legal_source=raw["legal_source"],
        in_force_from=raw["in_force_from"],
        offered=bool(raw["offered"]),
        fee_yen=int(raw["fee_yen"]),
        copies_max=int(raw.get("copies_max", 1)),
        minimum_age=int(raw["minimum_age"]["years"]),
        minimum_age_source=raw["minimum_age"]["source"],
        scopes=scopes,
        by_tax_year=bool(raw.get("by_tax_year", False)),
        complete_lists=tuple(raw.get("complete_lists", ())),
        rules=tuple(raw.get("rules", ())),
        sentences=dict(raw["sentence"]),
        options=options,
        layout=layout,
    )
    _check(definition)
    return definition


def _option(raw: dict[str, Any]) -> Option:
    return Option(
        name=raw["name"],
        word=raw["word"],
        label=raw["label"],
        fields=frozenset(raw["fields"]),
        offered=bool(raw.get("offered", True)),
        foreign_only=bool(raw.get("foreign_only", False)),
        needs_assessment=bool(raw.get("needs_assessment", False)),
    )


def _check(definition: KindDefinition) -> None:
    if {scope.value for scope in definition.scopes} != set(definition.sentences):
        raise KindError(f"{definition.version}: one sentence for each scope, and no other")
    printed = definition.layout.fields()
    for option in definition.options:
        if not option.fields <= printed:
            raise KindError(f"{definition.version}: {option.name} shows what is not printed")
