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


@dataclass(frozen=True, slots=True, repr=False)
class SealRecord:
    """The newest seal registration of one person (S01) with its imprint (S02 and the picture).

    `image` is empty columns and `png` None where the imprint is not there or is not the one its
    digest names.
    """

    columns: Mapping[str, str]
    image: Mapping[str, str]
    png: bytes | None
    version: int

    def __getitem__(self, column: str) -> str:
        return self.columns.get(column, "")

    def __repr__(self) -> str:
        return f"SealRecord(version={self.version})"


@dataclass(frozen=True, slots=True, repr=False)
class TaxYearRecord:
    """What the town assessed for one person in one tax year (T01 to T07).

    `amounts` are yen by list ("income", "deduction", "amount") and code, as the town wrote them.
    `payments` are the rows of T07 of the year, by term.
    """

    year: int
    payer: Mapping[str, str]
    assessment: Mapping[str, str]
    amounts: Mapping[str, Mapping[str, str]]
    dependents: Mapping[str, str]
    payments: tuple[Mapping[str, str], ...]
    version: int

    def __repr__(self) -> str:
        return f"TaxYearRecord({self.year}, version={self.version})"


@dataclass(frozen=True, slots=True, repr=False)
class Records:
    """Everything one paper may be made of, out of one snapshot (証明発行DB)."""

    household: HouseholdRecord
    seal: SealRecord | None = None
    tax: TaxYearRecord | None = None

    @property
    def version(self) -> int:
        """The newest load any of it came with."""
        others = [each.version for each in (self.seal, self.tax) if each is not None]
        return max([self.household.version, *others])

    def __repr__(self) -> str:
        return f"Records({self.household!r})"


class Scope(StrEnum):
    """Whose records are copied (世帯全員・世帯の一部・本人のみ)."""

    HOUSEHOLD = "HOUSEHOLD"
    PART = "PART"
    SELF = "SELF"


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """What the resident chose at the kiosk; everything not chosen is omitted (法12条5項).

    `shown` holds the names of the kind's options; `selected` addressee numbers for PART (always
    with the applicant's own); `tax_year` the year of a tax certificate.
    """

    scope: Scope
    shown: frozenset[str] = frozenset()
    selected: frozenset[str] = field(default=frozenset(), repr=False)
    tax_year: int | None = None


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
    """Who certifies and with which seal, on one day (認証者・電子公印).

    `sentences` holds the town's own words of certification by "KIND.SCOPE"; where it has none,
    the kind's definition speaks.
    """

    head_title: str
    name: str
    seal_png: bytes = field(repr=False)
    seal_side_mm: float
    sentences: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edition:
    """What is particular to this one paper: its number and its date (発行番号・交付年月日)."""

    issue_number: str
    issued_on: date
