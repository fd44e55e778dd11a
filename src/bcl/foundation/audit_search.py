"""Searching the audit log of a town, newest first, page by page (R-171).

    page = audit_search.search("999997", Question(since=a, until=b, actor_id="clerk-1"), limit=50)
    page = audit_search.search("999997", question, limit=50, after=page.next)

Every page begins at the last row of the former one, so the thousandth is as fast as the first.
A person is asked for by number and found by the town's keyed digest; the number goes nowhere.
Who searches puts that on record (`bcl.oversight`); this module only reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from bcl.foundation import crypto, tenancy
from bcl.foundation.audit_looks import AuditAct, describe_act
from bcl.foundation.audit_rows import AGENCY_LOG

REFUSED, ALLOWED = "refused", "allowed"
_ROWS_AT_ONCE = 2_000
_COLUMNS = "id, at, act, actor_kind, actor_id, detail::text, is_refused"


@dataclass(frozen=True)
class Question:
    """What is looked for: from `since` up to, without, `until`; the rest empty for everything.

    `outcome` is REFUSED or ALLOWED. `addressee_number` is the person concerned.
    """

    since: datetime
    until: datetime
    actor_id: str = ""
    act: str = ""
    terminal: str = ""
    outcome: str = ""
    addressee_number: str = field(default="", repr=False)


@dataclass(frozen=True, order=True)
class Place:
    """Where a page ended: the next one begins before it."""

    at: datetime
    entry_id: int
    is_agency: bool = False


@dataclass(frozen=True)
class FoundRow:
    """One row of the log, without the digest of whom it concerns; `concerns_person` says whether
    there is one."""

    entry_id: int
    is_agency: bool
    at: datetime
    act: AuditAct
    actor_kind: str
    actor_id: str
    detail: dict[str, Any]
    is_refused: bool
    concerns_person: bool

    @property
    def place(self) -> Place:
        return Place(self.at, self.entry_id, self.is_agency)


@dataclass(frozen=True)
class Page:
    """Rows, newest first, and where to go on; None at the end."""

    rows: list[FoundRow]
    next: Place | None


def search(log: str, question: Question, *, limit: int, after: Place | None = None) -> Page:
    """One page of a log: the agency's ("000000") has the rows of both tables."""
    with tenancy.scope(log):
        found = _read(log, question, limit + 1, after, is_agency=False)
        if log == AGENCY_LOG and not question.addressee_number:
            found += _read(log, question, limit + 1, after, is_agency=True)
            found.sort(key=lambda row: row.place, reverse=True)
    rows = found[:limit]
    return Page(rows, rows[-1].place if len(found) > limit else None)


def stream(log: str, question: Question) -> Iterator[FoundRow]:
    """All rows that fit, newest first, read in portions."""
    after: Place | None = None
    while True:
        page = search(log, question, limit=_ROWS_AT_ONCE, after=after)
        yield from page.rows
        after = page.next
        if after is None:
            return


def count_up_to(log: str, question: Question, most: int) -> int:
    """How many rows fit; counting ends at `most` + 1."""
    with tenancy.scope(log):
        total = _count(log, question, most + 1, is_agency=False)
        if log == AGENCY_LOG and not question.addressee_number and total <= most:
            total += _count(log, question, most + 1 - total, is_agency=True)
    return total


def find(log: str, entry_id: int, *, is_agency: bool = False) -> FoundRow | None:
    """One row of a log by its number."""
    if is_agency and log != AGENCY_LOG:
        return None
    table, town = _source(log, is_agency)
    with tenancy.scope(log), connection.cursor() as db:
        db.execute(
            f"SELECT {_columns(is_agency)} FROM {table} WHERE {town} AND id = %s",  # noqa: S608
            [log, entry_id],
        )
        row = db.fetchone()
    return None if row is None else _found(row, is_agency)


def _read(
    log: str, question: Question, limit: int, after: Place | None, *, is_agency: bool
) -> list[FoundRow]:
    where, values = _conditions(log, question, is_agency)
    if after is not None:
        where += " AND (at, id) <= (%s, %s)" if is_agency < after.is_agency else (
            " AND (at, id) < (%s, %s)"
        )
        values += [after.at, after.entry_id]
    table, _ = _source(log, is_agency)
    with connection.cursor() as db:
        # Names are ours, no part of the statement comes from outside.
        db.execute(
            f"SELECT {_columns(is_agency)} FROM {table} WHERE {where}"  # noqa: S608
            " ORDER BY at DESC, id DESC LIMIT %s",
            [*values, limit],
        )
        return [_found(row, is_agency) for row in db.fetchall()]


def _count(log: str, question: Question, most: int, *, is_agency: bool) -> int:
    where, values = _conditions(log, question, is_agency)
    table, _ = _source(log, is_agency)
    with connection.cursor() as db:
        db.execute(
            f"SELECT count(*) FROM (SELECT FROM {table} WHERE {where} LIMIT %s) few",  # noqa: S608
            [*values, most],
        )
        return int(db.fetchone()[0])


def _conditions(log: str, question: Question, is_agency: bool) -> tuple[str, list[Any]]:
    _, town = _source(log, is_agency)
    parts, values = [town, "at >= %s", "at < %s"], [log, question.since, question.until]
    for column in ("actor_id", "act", "terminal"):
        wanted = getattr(question, column)
        if wanted:
            parts.append(f"{column} = %s")
            values.append(wanted)
    if question.outcome:
        parts.append("is_refused" if question.outcome == REFUSED else "NOT is_refused")
    if question.addressee_number:
        parts.append("subject_digest = %s")
        values.append(crypto.subject_digest(log, question.addressee_number.encode()))
    return " AND ".join(parts), values


def _source(log: str, is_agency: bool) -> tuple[str, str]:
    if is_agency:
        return "foundation_agencyauditentry", "%s = '000000'"
    return "foundation_auditentry", "municipality_code = %s"


def _columns(is_agency: bool) -> str:
    return f"{_COLUMNS}, {'false' if is_agency else 'subject_digest IS NOT NULL'}"


def _found(row: tuple, is_agency: bool) -> FoundRow:
    entry_id, at, act, actor_kind, actor_id, detail, is_refused, concerns_person = row
    return FoundRow(
        entry_id,
        is_agency,
        at,
        describe_act(act),
        actor_kind,
        actor_id,
        json.loads(detail),
        is_refused,
        concerns_person,
    )
