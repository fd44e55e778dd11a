"""What issuing knows of a household at one version of the data.

Plain values, made once per request out of one database snapshot and never changed: the
certificate is a pure function of them (design: an issue is a function of one immutable snapshot).
No clock, no database, no framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

JAPANESE = "1"
FOREIGN = "2"
RESIDENT = "1"


@dataclass(frozen=True, slots=True, repr=False)
class PersonRecord:
    """The newest row of one resident's record (linkage file J01, profile b columns).

    `columns` maps the English column name to the value exactly as the town wrote it; a column
    that is absent was empty. `version` is the load number the row arrived with.
    """

    addressee_number: str
    columns: Mapping[str, str]
    version: int

    def __getitem__(self, column: str) -> str:
        return self.columns.get(column, "")

    def __repr__(self) -> str:
        return f"PersonRecord(****{self.addressee_number[-4:]}, version={self.version})"

    @property
    def is_foreign(self) -> bool:
        """True for a foreign resident (外国人住民)."""
        return self["resident_kind"] == FOREIGN

    @property
    def entry_order(self) -> int:
        """Place within the household (記載順位); unnumbered members come last."""
        text = self["entry_order"]
        return int(text) if text.isdigit() else 999


@dataclass(frozen=True, slots=True, repr=False)
class HouseholdRecord:
    """The present members of one household in their order on the record (記載順位)."""

    municipality_code: str
    members: tuple[PersonRecord, ...]
    version: int

    def __repr__(self) -> str:
        return f"HouseholdRecord({len(self.members)} members, version={self.version})"

    def member(self, addressee_number: str) -> PersonRecord | None:
        """Return the member with this addressee number, or None."""
        return next((m for m in self.members if m.addressee_number == addressee_number), None)


class Scope(StrEnum):
    """Whose records are copied (世帯全員・世帯の一部・本人のみ)."""

    HOUSEHOLD = "HOUSEHOLD"
    PART = "PART"
    SELF = "SELF"


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """What the resident chose at the kiosk; everything not chosen is omitted (法12条5項).

    `selected` holds addressee numbers for PART (always with the applicant's own).
    """

    scope: Scope
    relationship: bool = False
    registered_domicile: bool = False
    foreign_items: bool = False
    individual_number: bool = False
    resident_record_code: bool = False
    selected: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class Marks:
    """The two marks that keep a cell from being written into later; they must differ."""

    omitted: str = "（省略）"
    empty: str = "＊＊＊"

    def __post_init__(self) -> None:
        if self.omitted == self.empty or not self.omitted or not self.empty:
            raise ValueError("the marks for omitted and empty cells must be two different words")


@dataclass(frozen=True, slots=True)
class Certifier:
    """Who certifies, with which words and which seal, on one day (認証者・電子公印)."""

    head_title: str
    name: str
    seal_png: bytes = field(repr=False)
    seal_side_mm: float
    sentence_household: str = "この写しは、世帯全員の住民票の原本と相違ないことを証明する。"
    sentence_part: str = "この写しは、世帯の一部の住民票の原本と相違ないことを証明する。"


@dataclass(frozen=True, slots=True)
class Edition:
    """What is particular to this one paper: its number and its date (発行番号・交付年月日)."""

    issue_number: str
    issued_on: date
