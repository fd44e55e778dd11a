"""Decisions of the resident store: dataclasses in, dataclasses out; no clock, no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bcl_contract.linkage.findings import Finding

MAIN, URGENT = "main", "urgent"
FULL, DIFFERENTIAL = "full", "differential"


class Verdict(StrEnum):
    """What the judge of a load says. Anything but LAND leaves nothing of it in the database."""

    LAND = "LAND"
    HOLD = "HOLD"
    REJECT = "REJECT"


@dataclass(frozen=True)
class FileCounts:
    """What a load did to one file.

    `rows` were read; `inserted`, `changed`, `unchanged` count records, `ended` records that
    this load ends without a successor. `before`/`after` are the live records on both sides.
    `quarantined` rows had row errors: the record's earlier version stays, the person is held.
    `kept_urgent` rows of the main lane were older than what the urgent lane had brought.
    `sha256` (hex) is that of the file, when its pages hold it byte for byte; else "".
    """

    file_id: str
    rows: int
    inserted: int = 0
    changed: int = 0
    ended: int = 0
    unchanged: int = 0
    before: int = 0
    after: int = 0
    quarantined: int = 0
    kept_urgent: int = 0
    sha256: str = ""

    def is_whole_file(self, mode: str) -> bool:
        """Whether every row of a full file was stored, and nothing stands beside them."""
        return mode == FULL and self.rows == self.inserted == self.after


@dataclass(frozen=True)
class LoadSummary:
    """What one pass over a transmission found, before anybody decided.

    `findings` holds the first ones only; `finding_counts` (by severity: fatal, row, household,
    warning) counts them all. `residents_*` are latest rows of J01 with resident_state 1.
    """

    load_number: int
    lane: str
    mode: str
    as_of: datetime
    files: tuple[FileCounts, ...]
    findings: tuple[Finding, ...] = ()
    finding_counts: Mapping[str, int] = field(default_factory=dict)
    residents_before: int = 0
    residents_after: int = 0
    households_held: int = 0
    households_lifted: int = 0
    persons_held: int = 0

    @property
    def findings_total(self) -> int:
        """All findings, kept or not."""
        return sum(self.finding_counts.values())

    def count(self, severity: str) -> int:
        """All findings of a severity, kept or not."""
        return self.finding_counts.get(severity, 0)


@dataclass(frozen=True)
class LoadResult:
    """What came of `apply_files`. Nothing is stored unless `landed`."""

    landed: bool
    verdict: Verdict
    summary: LoadSummary
    load_number: int | None


@dataclass(frozen=True)
class Position:
    """How far a municipality's data is applied. Sequences are 0 before the first load."""

    load_number: int
    main_sequence: int
    urgent_sequence: int
    applied_at: datetime | None
    as_of: datetime | None
    gaps: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class RecordVersion:
    """One version of one record: where it is and when it was in force, without its content.

    In force from load `since_load` up to and without `until_load` (None: still).
    `person_key` and `household_key` are blind keys, 0 when the file has none.
    """

    id: int
    file_id: str
    record_key: str
    since_load: int
    until_load: int | None
    latest: bool
    person_key: int
    household_key: int


@dataclass(frozen=True)
class FeedEntry:
    """One change of one load: which record, its version before and after (None: none).

    `household_key` is that of the new version (of the old one when it ended);
    `old_household_key` differs when a person changed households, and is 0 without an old one.
    `latest`: the new version is the register's newest row of its subject.
    """

    file_id: str
    record_key: str
    old_record_id: int | None
    new_record_id: int | None
    person_key: int
    household_key: int
    old_household_key: int = 0
    latest: bool = True


@dataclass(frozen=True)
class CertLink:
    """A digital certificate's link to a person (J05). `values` are the columns of the row."""

    record_id: int
    since_load: int
    addressee_number: str
    values: Mapping[str, str | None] = field(repr=False)

    def __repr__(self) -> str:
        return f"CertLink(record_id={self.record_id})"


@dataclass(frozen=True)
class Ambiguous:
    """A certificate linked to several persons at once: nobody may be served with it (D8)."""

    record_ids: tuple[int, ...]


# -- urgent lane (D3) --------------------------------------------------------------------------

# A restriction is a state that refuses a certificate; `None` in `before` = nothing known yet.
_RESTRICTING_LINKS = frozenset({"2", "3"})
_RESTRICTING_SEALS = frozenset({"2", "3", "4", "5"})
_MEASURE_ENDED = "3"
_BLOCK_REACH = (
    "block_scope", "addressee_number", "household_number", "certificate_kind",
    "seal_registration_number", "tax_year",
)

Values = Mapping[str, str | None]


def may_travel_urgently(file_id: str, row: Values, before: Values | None) -> bool:
    """Whether a row of the urgent lane only restricts, compared with the version in force.

    S02 is not judged here: it may only accompany an S01 row of the same registration.
    """
    if row.get("deleted") != "0":
        return False  # taking a row away could bring an older, milder one back
    if file_id == "J05":
        return row.get("link_status") in _RESTRICTING_LINKS
    if file_id == "S01":
        return row.get("seal_status") in _RESTRICTING_SEALS
    if file_id == "J04":
        return row.get("measure_kind") != _MEASURE_ENDED and _measure_not_milder(row, before)
    if file_id == "J06":
        return before is None or _block_not_milder(row, before)
    return False


def _measure_not_milder(row: Values, before: Values | None) -> bool:
    if before is None:
        return True
    old, new = before.get("measure_block_targets") or "", row.get("measure_block_targets") or ""
    blocked = {place for place, bit in enumerate(old) if bit == "1"}
    return blocked <= {place for place, bit in enumerate(new) if bit == "1"}


def _block_not_milder(row: Values, before: Values) -> bool:
    if any(row.get(name) != before.get(name) for name in _BLOCK_REACH):
        return False
    old_end, new_end = before.get("block_ends_at"), row.get("block_ends_at")
    if (row.get("block_starts_at") or "") > (before.get("block_starts_at") or ""):
        return False
    return new_end is None or (old_end is not None and new_end >= old_end)


def operated_at(row: Values) -> str:
    """When the town hall made the row, as sortable text; "" when it does not say."""
    return f"{row.get('operated_on') or ''}T{row.get('operated_time') or ''}"
