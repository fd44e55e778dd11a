"""Who saw this person: the audit rows about one person, as data (R-171, R-172).

    audit_looks.who_saw("999997", "000000000012345", since=begin, until=end)

The rows know a person only by a keyed digest, so the question has to name the person. Acts that
concerned everybody of the town at once (a whole export handed out) belong to the answer too.
Names of staff come from `bcl.accounts.api.who_saw`, which stands above this module.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bcl.foundation import crypto, tenancy
from bcl.foundation.audit import EVERYBODY, SHOW_RESIDENT
from bcl.foundation.models import AuditEntry

_ACTS = Path(__file__).with_name("audit_acts.csv")
_PLACES = ("screen", "terminal", "transaction", "export", "data_export", "center", "subscription")


@dataclass(frozen=True)
class AuditAct:
    """What an act is called, and what it meant for the persons it names: SHOWN, PRINTED,
    HANDED_OUT, DECIDED (something about the person was decided), DATA or OTHER."""

    act: str
    kind: str
    label_ja: str


@dataclass(frozen=True)
class Look:
    """One act about one person. `act` is what was done (the search, the issue), also where the
    row itself is the person's own beside it; `covers_everybody` where the whole town was meant.

    `purpose` is the code chosen at the screen, `reference` the case number typed there; `place`
    is where it was seen or in which document, as (kind, id): ("terminal", "t-01").
    """

    entry_id: int
    at: datetime
    act: AuditAct
    actor_kind: str
    actor_id: str
    covers_everybody: bool = False
    purpose: str = ""
    reference: str = ""
    places: tuple[tuple[str, str], ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict, repr=False)


@lru_cache(maxsize=1)
def _acts() -> Mapping[str, AuditAct]:
    with _ACTS.open(encoding="utf-8", newline="") as file:
        return MappingProxyType({row["act"]: AuditAct(**row) for row in csv.DictReader(file)})


def describe_act(act: str) -> AuditAct:
    """The act's Japanese name; an act without one stands under its own."""
    return _acts().get(act) or AuditAct(act, "OTHER", act)


def all_acts() -> list[AuditAct]:
    """Every act that has a name."""
    return list(_acts().values())


def who_saw(
    municipality_code: str,
    addressee_number: str,
    *,
    since: datetime,
    until: datetime,
) -> list[Look]:
    """Every act on record about this person from `since` up to, without, `until`, oldest first.

    One look that left several rows (the act's own and the person's) comes once.
    """
    with tenancy.scope(municipality_code):
        person = crypto.subject_digest(municipality_code, addressee_number.encode())
        everybody = crypto.subject_digest(municipality_code, EVERYBODY)
        rows = AuditEntry.objects.filter(
            municipality_code=municipality_code,
            subject_digest__in=[person, everybody],
            at__gte=since,
            at__lt=until,
        ).order_by("at", "pk")
        looks: dict[str, Look] = {}
        for row in rows:
            look = _look(row, covers_everybody=bytes(row.subject_digest or b"") == everybody)
            # Acts of one look share its id; the same act again is the same event.
            key = f"{row.detail.get('look', row.pk)}:{look.act.act}"
            looks.setdefault(key, look)
        return list(looks.values())


def _look(row: AuditEntry, *, covers_everybody: bool) -> Look:
    detail = row.detail
    act = detail.get("in", row.act) if row.act == SHOW_RESIDENT else row.act
    return Look(
        entry_id=int(row.pk),
        at=row.at,
        act=describe_act(act),
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        covers_everybody=covers_everybody,
        purpose=str(detail.get("purpose", "")),
        reference=str(detail.get("reference", "")),
        places=tuple((name, str(detail[name])) for name in _PLACES if detail.get(name)),
        detail=detail,
    )
