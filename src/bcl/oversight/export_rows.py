"""The rows an export means: residents as listed on the pages, the audit log, transmissions.

Conditions are texts by name: for RESIDENTS those of the search page and `as_of` (a load), for
AUDIT and LINKAGE `since` and `until` (ISO times), for AUDIT also actor_id, act, terminal, outcome.
They are fixed at the request, so that the same conditions give the same rows when it is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bcl.foundation import audit_search, clock
from bcl.foundation.audit_search import FoundRow, Question
from bcl.linkage import api as linkage
from bcl.oversight import rules
from bcl.oversight.rules import ExportKind
from bcl.resident_store import api as store
from bcl_contract.refusals import Refusal

RESIDENT_CONDITIONS = ("name", "kana", "birth_date", "addressee_number", "address")
_AUDIT_CONDITIONS = ("actor_id", "act", "terminal", "outcome")


@dataclass(frozen=True)
class Content:
    """Rows as texts by column, to be read once; `conditions` with everything fixed."""

    conditions: Mapping[str, str] = field(repr=False)
    rows: Iterable[Mapping[str, str]] = field(repr=False)
    persons: tuple[str, ...] = field(default=(), repr=False)


def read_content(
    municipality_code: str,
    kind: ExportKind,
    conditions: Mapping[str, str],
    *,
    limit: int,
    at: datetime,
) -> Content | Refusal:
    """What these conditions mean; up to one row more than `limit`, so that too many are seen."""
    if kind is ExportKind.RESIDENTS:
        return _residents(municipality_code, conditions, limit)
    begin, end = _period(conditions, at)
    refusal = rules.judge_period(
        begin, end, days=rules.limits_on(at.astimezone(clock.JST).date()).statement_days
    )
    if refusal is not None:
        return refusal
    fixed = {**conditions, "since": begin.isoformat(), "until": end.isoformat()}
    if kind is ExportKind.LINKAGE:
        return Content(
            fixed, linkage.list_received(municipality_code, begin, end, limit=limit + 1)
        )
    question = Question(
        begin, end, **{name: conditions.get(name, "") for name in _AUDIT_CONDITIONS}
    )
    if audit_search.count_up_to(municipality_code, question, limit) > limit:
        return Refusal("DATA_EXPORT_TOO_MANY", {"rows": limit})
    return Content(fixed, _audit_rows(audit_search.stream(municipality_code, question)))


def _residents(
    municipality_code: str, conditions: Mapping[str, str], limit: int
) -> Content | Refusal:
    wanted = {name: conditions[name] for name in RESIDENT_CONDITIONS if conditions.get(name)}
    load = int(conditions.get("as_of") or store.applied_position(municipality_code).load_number)
    if not load:
        return Refusal("DATA_EXPORT_EMPTY")
    found = store.list_residents(municipality_code, wanted, as_of=load, limit=limit)
    if isinstance(found, Refusal):
        return found
    listed, more = found
    if more:
        return Refusal("DATA_EXPORT_TOO_MANY", {"rows": limit})
    return Content(
        {**wanted, "as_of": str(load)},
        [one.values for one in listed],
        tuple(one.addressee_number for one in listed),
    )


def _period(conditions: Mapping[str, str], at: datetime) -> tuple[datetime, datetime]:
    """Up to the request at most: rows of later would make the second reading another one."""
    begin = datetime.fromisoformat(conditions["since"])
    return begin, min(datetime.fromisoformat(conditions["until"]), at)


def _audit_rows(found: Iterable[FoundRow]) -> Iterator[Mapping[str, str]]:
    for row in found:
        detail = row.detail
        yield {
            "entry": str(row.entry_id),
            "at": row.at.astimezone(clock.JST).isoformat(),
            "act": row.act.act,
            "act_ja": row.act.label_ja,
            "actor_kind": row.actor_kind,
            "actor_id": row.actor_id,
            "outcome": "拒否" if row.is_refused else "許可",
            "terminal": str(detail.get("terminal") or detail.get("terminal_id", "")),
            "purpose": str(detail.get("purpose", "")),
            "reference": str(detail.get("reference", "")),
            "persons": str(detail.get("persons", "")),
        }
