"""Which columns of a person's row are searched in part, and when a row matches a search.

Owns: the texts the fragment index is made of, and the same texts judged in clear afterwards.
Promises: what `PersonMatcher` accepts has every fragment that `fragments` names.
Values are compared folded (`bcl_contract.characters`); nothing stored is changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from bcl.resident_store import fragments
from bcl.resident_store.fragments import Match
from bcl.resident_store.record_columns import search_kind
from bcl_contract import characters
from bcl_contract.linkage.layouts import Layout

PERSON_FILES = ("J01", "J08")
"""Files whose rows are persons: residents, and persons registered without residence."""
ADDRESS_COLUMNS = (
    "address_prefecture", "address_municipality_name", "address_town", "address_lot_as_written",
    "address_building",
)
RECORD_CODE_COLUMN = "resident_record_code"
_CHOME_AT_END = re.compile("(?<=[0-9])丁目$")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_RECORD_CODE = re.compile(r"[0-9]{1,12}\Z")

Values = Mapping[str, str | None]


def fold_search_address(text: str) -> str:
    """Fold an address as somebody types it: 本町1丁目 finds 本町一丁目2番3号."""
    return _CHOME_AT_END.sub("", characters.fold_address(text))


def columns_of_kind(layout: Layout, kind: int) -> tuple[str, ...]:
    """The columns that texts of a kind are made of, in layout order."""
    if kind == fragments.ADDRESS:
        return tuple(name for name in ADDRESS_COLUMNS if layout.has(name))
    if kind == fragments.RECORD_CODE:
        return (RECORD_CODE_COLUMN,) if layout.has(RECORD_CODE_COLUMN) else ()
    wanted = {fragments.NAME: "name", fragments.KANA: "kana", fragments.BORN: "born"}[kind]
    return tuple(
        column.name for column in layout.columns if search_kind(layout, column.name) == wanted
    )


def date_number(value: str | None) -> int | None:
    """A date as a number for the index: 1980-02-03 -> 19800203; None when it is none."""
    return int(value.replace("-", "")) if value and _DATE.match(value) else None


def record_code_number(value: str | None) -> int | None:
    """A resident record code as a number, its length in front; None when it is none."""
    return int(f"1{value}") if value and _RECORD_CODE.match(value) else None


@dataclass(frozen=True, repr=False)
class PersonConditions:
    """What is searched; None = any. All conditions given must hold. Holds values: no repr.

    `name`, `kana` and `address` are folded; `birth_date` is YYYY-MM-DD.
    """

    name: str | None = None
    kana: str | None = None
    birth_date: str | None = None
    address: str | None = None
    addressee_number: str | None = None
    resident_record_code: str | None = None
    match: Match = Match.CONTAINS

    def __repr__(self) -> str:
        names = [each.name for each in fields(self) if each.name != "match"]
        given = [name for name in names if getattr(self, name) is not None]
        return f"PersonConditions({', '.join(given)})"

    @property
    def is_empty(self) -> bool:
        """Whether nothing is searched, or a text that folds away."""
        given = [
            self.name, self.kana, self.birth_date, self.address, self.addressee_number,
            self.resident_record_code,
        ]
        return all(value is None for value in given) or "" in given

    def fragments(self) -> list[int]:
        """The fragments that a matching row has; empty when the index can't help."""
        found: list[int] = []
        for kind, text, match in (
            (fragments.NAME, self.name, self.match),
            (fragments.KANA, self.kana, self.match),
            (fragments.ADDRESS, self.address, Match.CONTAINS),
        ):
            if text is not None:
                found += fragments.fragments_of_search(kind, text, match)
        for kind, number in (
            (fragments.BORN, date_number(self.birth_date)),
            (fragments.RECORD_CODE, record_code_number(self.resident_record_code)),
        ):
            if number is not None:
                found.append(fragments.fragment_of_number(kind, number))
        return found


class PersonMatcher:
    """Judges rows in clear: does this row fulfil every condition?"""

    def __init__(self, conditions: PersonConditions, layout: Layout) -> None:
        self._conditions = conditions
        self._exact = [
            (name, wanted)
            for name, wanted in (
                ("born_on", conditions.birth_date),
                ("addressee_number", conditions.addressee_number),
                (RECORD_CODE_COLUMN, conditions.resident_record_code),
            )
            if wanted is not None
        ]
        self._texts = [
            (columns_of_kind(layout, kind), wanted, fold)
            for kind, wanted, fold in (
                (fragments.NAME, conditions.name, characters.fold_name),
                (fragments.KANA, conditions.kana, characters.fold_kana),
            )
            if wanted is not None
        ]
        self._address = columns_of_kind(layout, fragments.ADDRESS)

    def matches(self, values: Values) -> bool:
        """Whether the row, by column name, matches."""
        if any(values.get(name) != wanted for name, wanted in self._exact):
            return False
        for columns, wanted, fold in self._texts:
            texts = {values.get(name) for name in columns}
            match = self._conditions.match
            if not any(_lies_in(wanted, fold(text), match) for text in texts if text):
                return False
        address = self._conditions.address
        if address is None:
            return True
        whole = "".join(values.get(name) or "" for name in self._address)
        return _lies_in_address(address, characters.fold_address(whole))


def _lies_in(wanted: str, text: str, match: Match) -> bool:
    if match is Match.PREFIX:
        return text.startswith(wanted)
    if match is Match.SUFFIX:
        return text.endswith(wanted)
    return wanted == text if match is Match.EXACT else wanted in text


def _lies_in_address(wanted: str, text: str) -> bool:
    """Whether it lies there without cutting a number: 本町1-2 is not in 本町1-23."""
    at = text.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        cuts_left = at > 0 and wanted[0].isdigit() and text[at - 1].isdigit()
        cuts_right = end < len(text) and wanted[-1].isdigit() and text[end].isdigit()
        if not cuts_left and not cuts_right:
            return True
        at = text.find(wanted, at + 1)
    return False
