"""Decisions of oversight: what an export may hold, who agrees to it, when it ends. Pure.

Figures, purposes and columns are dated data (`data/`).
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib import resources
from types import MappingProxyType

from bcl_contract.receipts import canonical_json
from bcl_contract.refusals import Refusal

AGENCY_VIEW_SETTING = "oversight.agency_view"
AGENCY_VIEW_ALL = "all"
"""A town's dated setting: "all" lets the agency's auditor read its log; anything else does not."""

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z", re.ASCII)
_LONGEST_NUMBER = 10


class VerificationState(StrEnum):
    """Where a check of the log stands."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


class StatementState(StrEnum):
    """Where a statement for a resident stands."""

    REQUESTED = "REQUESTED"
    READY = "READY"
    PRINTED = "PRINTED"


class ExportKind(StrEnum):
    """What is taken out."""

    RESIDENTS = "RESIDENTS"
    AUDIT = "AUDIT"
    LINKAGE = "LINKAGE"


class ExportState(StrEnum):
    """Where an export stands; moves only along `TRANSITIONS`."""

    REQUESTED = "REQUESTED"
    APPROVED = "APPROVED"
    BUILT = "BUILT"
    DECLINED = "DECLINED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


TRANSITIONS: Mapping[ExportState, frozenset[ExportState]] = MappingProxyType(
    {
        ExportState.REQUESTED: frozenset(
            {ExportState.APPROVED, ExportState.DECLINED, ExportState.EXPIRED}
        ),
        ExportState.APPROVED: frozenset(
            {ExportState.BUILT, ExportState.FAILED, ExportState.EXPIRED}
        ),
        ExportState.BUILT: frozenset({ExportState.EXPIRED}),
        ExportState.DECLINED: frozenset(),
        ExportState.FAILED: frozenset(),
        ExportState.EXPIRED: frozenset(),
    }
)
# Whoever may look at data of a kind on the pages may ask to take it out; nobody else.
NEEDED_PERMISSION: Mapping[ExportKind, str] = MappingProxyType(
    {
        ExportKind.RESIDENTS: "residents.view",
        ExportKind.AUDIT: "audit.view",
        ExportKind.LINKAGE: "linkage.view",
    }
)


def may_move(before: ExportState, after: ExportState) -> bool:
    """Is this step in the table?"""
    return after in TRANSITIONS[before]


@dataclass(frozen=True)
class Limits:
    """The figures in force on a day."""

    residents_rows: int
    audit_rows: int
    linkage_rows: int
    take_limit: int
    kept_days: int
    statement_days: int

    def rows_of(self, kind: ExportKind) -> int:
        """How many rows one export of this kind may hold at most."""
        return {
            ExportKind.RESIDENTS: self.residents_rows,
            ExportKind.AUDIT: self.audit_rows,
            ExportKind.LINKAGE: self.linkage_rows,
        }[kind]


@cache
def _rows(name: str) -> list[dict[str, str]]:
    path = resources.files("bcl.oversight") / "data" / name
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def limits_on(day: date) -> Limits:
    """The figures in force on `day`: for each name the newest row not after it."""
    chosen: dict[str, tuple[str, int]] = {}
    for row in _rows("limits.csv"):
        begins = row["effective_from"]
        if chosen.get(row["name"], ("", 0))[0] <= begins <= day.isoformat():
            chosen[row["name"]] = begins, int(row["value"])
    return Limits(**{name: value for name, (_, value) in chosen.items()})


def purposes_on(day: date) -> dict[str, str]:
    """The purposes for which data may be taken out that day: code -> label."""
    return {
        row["code"]: row["label_ja"]
        for row in _rows("purposes.csv")
        if row["effective_from"] <= day.isoformat()
    }


def columns_of(kind: ExportKind) -> dict[str, str]:
    """The columns an export of this kind may have, in their order: name -> title."""
    rows = [row for row in _rows("columns.csv") if row["kind"] == kind]
    return {
        row["column"]: row["title_ja"] for row in sorted(rows, key=lambda row: int(row["sort"]))
    }


def is_reference(text: str) -> bool:
    """Whether this can be a case number: ids only, and no number of a person by mistake."""
    digits = sum(character.isdigit() for character in text)
    return bool(_REFERENCE.match(text)) and digits <= _LONGEST_NUMBER


def digest(facts: Mapping[str, object]) -> str:
    """SHA-256 of a request with everything that decides its outcome, lower-case hex."""
    return hashlib.sha256(canonical_json(facts)).hexdigest()


def judge_export(
    kind: ExportKind,
    *,
    purpose: str,
    reference: str,
    columns: Sequence[str],
    row_limit: int,
    permissions: frozenset[str],
    day: date,
) -> Refusal | None:
    """Whether this may be asked for at all (R-175)."""
    if NEEDED_PERMISSION[kind] not in permissions:
        return Refusal("ACCOUNT_PERMISSION_MISSING", {"permission": NEEDED_PERMISSION[kind]})
    if purpose not in purposes_on(day) or not is_reference(reference):
        return Refusal("DATA_EXPORT_PURPOSE_MISSING")
    if not columns or not set(columns) <= set(columns_of(kind)):
        return Refusal("DATA_EXPORT_COLUMNS")
    if not 1 <= row_limit <= limits_on(day).rows_of(kind):
        return Refusal("DATA_EXPORT_LIMIT", {"rows": limits_on(day).rows_of(kind)})
    return None


def judge_rows(found: int, row_limit: int) -> Refusal | None:
    """An export holds everything that fits or nothing: never a part that looks whole."""
    if found == 0:
        return Refusal("DATA_EXPORT_EMPTY")
    if found > row_limit:
        return Refusal("DATA_EXPORT_TOO_MANY", {"rows": row_limit})
    return None


def judge_approval(
    *, is_waiting: bool, requested_by: str, approved_by: str, same_request: bool
) -> Refusal | None:
    """Four eyes: another person, on exactly what stood on the page."""
    if not is_waiting:
        return Refusal("DATA_EXPORT_NOT_REQUESTED")
    if requested_by == approved_by:
        return Refusal("DATA_EXPORT_SAME_PERSON")
    if not same_request:
        return Refusal("DATA_EXPORT_CHANGED")
    return None


def judge_take(
    state: ExportState,
    *,
    needed: str,
    permissions: frozenset[str],
    takes: int,
    take_limit: int,
    expires_at: datetime,
    at: datetime,
) -> Refusal | None:
    """Whether the file may leave once more, in these hands."""
    if needed not in permissions:
        return Refusal("ACCOUNT_PERMISSION_MISSING", {"permission": needed})
    if state is ExportState.EXPIRED or at >= expires_at:
        return Refusal("DATA_EXPORT_EXPIRED")
    if state is not ExportState.BUILT:
        return Refusal("DATA_EXPORT_NOT_BUILT")
    if takes >= take_limit:
        return Refusal("DATA_EXPORT_TAKEN_OUT", {"times": take_limit})
    return None


def judge_period(since: datetime, until: datetime, *, days: int) -> Refusal | None:
    """A statement's period: forward, and no longer than the log's figure."""
    if not since < until or until - since > timedelta(days=days):
        return Refusal("STATEMENT_PERIOD", {"days": days})
    return None
