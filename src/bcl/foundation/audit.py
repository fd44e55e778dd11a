"""The audit trail: every act writes its row in its own transaction (D18).

    with tenancy.scope(code):
        ...the act...
        audit.record(act="approve_export", by=actor, at=at, detail={"export": 12})

No row, no act: the row is inserted in the caller's transaction, so either both stay or neither.
Rows are never changed or removed; the database refuses it to every role. A row names its subject
only as a keyed digest, and `detail` takes ids, codes and counts, never a value from a register.
Within a minute each row gets its place in the town's log (`audit_log`).

Who was shown, printed or handed out goes along as `subjects`, person by person (R-172):

    audit.record(act="search_residents", by=actor, at=at, subjects=[each.addressee_number.encode()
                 for each in hits], detail={"purpose": "COUNTER", "screen": "residents"})

An act that concerns everybody of the town at once (a whole export) has `subject_key=EVERYBODY`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from django.db import transaction

from bcl.foundation import audit_rows, crypto, log, tenancy
from bcl.foundation.models import AgencyAuditEntry, AuditEntry

ActorKind = Literal["staff", "terminal", "gateway", "center", "subscriber", "system"]

_ACT = re.compile(r"[a-z][a-z_]{2,63}\Z")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}\Z")


@dataclass(frozen=True)
class Actor:
    """Who acts: kind, and the id by which the organisation knows them (never a name).

    `ticket` is there while somebody holds privileges for a time: every row says so.
    """

    kind: ActorKind
    id: str
    ticket: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(ActorKind):
            raise ValueError("unknown kind of actor")
        if not _WORD.match(self.id) or (self.ticket and not _WORD.match(self.ticket)):
            raise ValueError("an actor's id has only letters, digits and . _ : / + = -")


SYSTEM = Actor("system", "bcl")
SHOW_RESIDENT = "show_resident"
EVERYBODY = b"everybody"
"""As `subject_key`: the act concerned every person of the town at once (a whole export)."""


def record(
    *,
    act: str,
    by: Actor,
    at: datetime,
    subject_key: bytes | None = None,
    subjects: Sequence[bytes] | None = None,
    detail: Mapping[str, str | int] | None = None,
) -> int:
    """Write one audit row for the open scope's municipality and return its id.

    `act` is a verb phrase from the glossary (`approve_export`); `subject_key` identifies the
    person concerned (the addressee number) and is stored as a keyed digest only. `subjects` are
    the persons who were returned, printed or handed out: each gets a row `show_resident` of its
    own beside the act's, with the same detail, the act as `in` and the same `look`; none shown
    (`[]`) is on record too. Raises
    `TenancyError` without a scope and ValueError when a detail isn't an id, code or count.
    """
    municipality_code = tenancy.require()
    facts: dict[str, str | int] = dict(detail or {})
    seen = list(dict.fromkeys(subjects or ()))
    if subjects is not None:
        facts |= {"look": secrets.token_hex(8), "persons": len(seen)}
    entries = [_entry(municipality_code, subject_key, _checked(act, by, at, facts))]
    for key in seen:
        shown = _checked(SHOW_RESIDENT, by, at, {**facts, "in": act})
        entries.append(_entry(municipality_code, key, shown))
    return int(AuditEntry.objects.bulk_create(entries)[0].pk)


def _entry(municipality_code: str, subject_key: bytes | None, row: dict[str, Any]) -> AuditEntry:
    digest = None if subject_key is None else crypto.subject_digest(municipality_code, subject_key)
    return AuditEntry(
        municipality_code=municipality_code,
        subject_digest=digest,
        row_tag=audit_rows.make_tag(municipality_code, subject_digest=digest, **row),
        **row,
    )


def record_agency(
    *, act: str, by: Actor, at: datetime, detail: Mapping[str, str | int] | None = None
) -> int:
    """Write one audit row for an act of the agency that concerns no single municipality."""
    with transaction.atomic():
        return AgencyAuditEntry.objects.create(**_checked(act, by, at, detail)).pk


def _checked(
    act: str, by: Actor, at: datetime, detail: Mapping[str, str | int] | None
) -> dict[str, Any]:
    if not _ACT.match(act):
        raise ValueError("an act is named by lower case words")
    if at.tzinfo is None:
        raise ValueError("the time of an act must carry its zone")
    facts = {**(detail or {}), **({"privileged_by": by.ticket} if by.ticket else {})}
    for name, value in facts.items():
        if not log.is_harmless(name, value) or value is None or isinstance(value, float):
            raise ValueError(f"audit detail {name!r} must be an id, a code or a count")
    return {
        "act": act,
        "actor_kind": by.kind,
        "actor_id": by.id,
        "at": at,
        "detail": facts,
    }
