"""Retention: how long each class of data is kept, and its deletion with proof (R-177).

Periods are dated data (`retention_periods.csv`, with the source of each); a municipality's own
period is a dated setting `retention.<class>` in days. Each app names its classes in its module
`retention.py`:

    RETENTION = [OldFindings()]

One call of `delete` is one small transaction, and writes its certificate in it: what was deleted
and the proof of it stay or go together. Certificates of a town form a signed chain.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from django.apps import apps
from django.db import connection

from bcl.foundation import agency_signing, audit, clock, log, tenancy
from bcl.foundation.models import DeletionCertificate
from bcl_contract.receipts import canonical_json

FORMAT = "bcl-deletion-certificate-1"
ROWS_AT_ONCE = 500
_PERIODS = Path(__file__).with_name("retention_periods.csv")
_LOCK = 0x42434C33

logger = log.get(__name__)


@dataclass(frozen=True)
class Period:
    """How long one class is kept. `by`: run (deleted here), own_job, owner (the municipality's
    own system decides), never. `keep_days` is None where nothing is deleted."""

    data_class: str
    effective_from: date
    keep_days: int | None
    label_ja: str
    by: str
    source_ja: str


@dataclass
class Deleted:
    """What one step deleted: counts by name, the range, and the digests of what is gone."""

    counts: dict[str, int] = field(default_factory=dict)
    first: str = ""
    last: str = ""
    digest: str = ""

    @property
    def total(self) -> int:
        return sum(self.counts.values())


class RetentionClass(Protocol):
    """Data of one class. All methods need the town's open scope."""

    data_class: str

    def expired(self, municipality_code: str, cutoff: datetime) -> int:
        """How much is past its period."""
        ...

    def delete(self, municipality_code: str, cutoff: datetime, *, limit: int) -> Deleted:
        """Delete up to `limit` of it; counts of zero when nothing is left."""
        ...


@lru_cache(maxsize=1)
def _all_periods() -> tuple[Period, ...]:
    with _PERIODS.open(encoding="utf-8", newline="") as file:
        return tuple(
            Period(
                row["data_class"],
                date.fromisoformat(row["effective_from"]),
                int(row["keep_days"]) if row["keep_days"] else None,
                row["label_ja"],
                row["by"],
                row["source_ja"],
            )
            for row in csv.DictReader(file)
        )


def periods(at: datetime) -> list[Period]:
    """The periods in force on the day of `at`, one a class, in the file's order."""
    day = at.astimezone(clock.JST).date()
    current: dict[str, Period] = {}
    for each in sorted(_all_periods(), key=lambda period: period.effective_from):
        if each.effective_from <= day:
            current[each.data_class] = each
    order = {each.data_class: place for place, each in enumerate(_all_periods())}
    return sorted(current.values(), key=lambda period: order[period.data_class])


def _from_apps(attribute: str) -> list[Any]:
    found: list[Any] = []
    for app in apps.get_app_configs():
        name = f"{app.name}.retention"
        if app.name.startswith("bcl.") and name != __name__ and importlib.util.find_spec(name):
            found += getattr(importlib.import_module(name), attribute, [])
    return found


def classes() -> dict[str, RetentionClass]:
    """Every class that is deleted here, by name."""
    return {each.data_class: each for each in _from_apps("RETENTION")}


def slowest_reader(municipality_code: str) -> int | None:
    """The smallest load number that anybody still needs the changes or the state of.

    Apps name their readers in `retention.READERS`: functions from a municipality to a load number
    (None: needs nothing). A reader that lags keeps ended records alive (decision 0004).
    """
    readers: list[Callable[[str], int | None]] = _from_apps("READERS")
    positions = [position for each in readers if (position := each(municipality_code)) is not None]
    return min(positions, default=None)


def cutoff_of(keep_days: int, at: datetime) -> datetime:
    """What is older than this is past its period."""
    return at - timedelta(days=keep_days)


def delete_step(
    municipality_code: str, period: Period, *, keep_days: int, at: datetime
) -> DeletionCertificate | None:
    """Delete one portion of a class, with its certificate; None when nothing is left."""
    cutoff = cutoff_of(keep_days, at)
    with tenancy.scope(municipality_code):
        deleted = classes()[period.data_class].delete(
            municipality_code, cutoff, limit=ROWS_AT_ONCE
        )
        if not deleted.total:
            return None
        facts = {
            "keep_days": keep_days,
            "cutoff": cutoff.astimezone(clock.JST).isoformat(),
            "counts": deleted.counts,
            "first": deleted.first,
            "last": deleted.last,
            "deleted_sha256": deleted.digest,
        }
        return _certify(municipality_code, period.data_class, facts, at=at)


def _certify(
    municipality_code: str, data_class: str, facts: dict[str, Any], *, at: datetime
) -> DeletionCertificate:
    with connection.cursor() as db:  # one chain: one writer at a time
        db.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, int(municipality_code)])
    last = DeletionCertificate.objects.order_by("-number").first()
    number = 1 if last is None else last.number + 1
    content = {
        "format": FORMAT,
        "municipality_code": municipality_code,
        "number": number,
        "data_class": data_class,
        "run_at": at.astimezone(clock.JST).isoformat(),
        "previous_sha256": "" if last is None else last.sha256,
        **facts,
    }
    signed = agency_signing.sign(content)
    row = DeletionCertificate.objects.create(
        municipality_code=municipality_code,
        number=number,
        data_class=data_class,
        run_at=at,
        content=content,
        sha256=hashlib.sha256(canonical_json(content)).hexdigest(),
        key_id=signed.key_id,
        signature=signed.signature,
    )
    audit.record(
        act="delete_expired_data",
        by=audit.SYSTEM,
        at=at,
        detail={"certificate": number, "data_class": data_class, "certificate_sha256": row.sha256},
    )
    return row


def list_certificates(municipality_code: str) -> list[DeletionCertificate]:
    """The town's chain, oldest first."""
    with tenancy.scope(municipality_code):
        return list(DeletionCertificate.objects.order_by("number"))


def first_broken(certificates: list[DeletionCertificate]) -> int | None:
    """Number of the first certificate that doesn't fit: altered, missing or not signed by the
    agency; None for a whole chain."""
    previous = ""
    for place, row in enumerate(certificates, start=1):
        content = row.content
        signed = agency_signing.Signature(row.key_id, "", row.signature)
        fits = (
            row.number == place
            and content["number"] == row.number
            and content["data_class"] == row.data_class
            and content["previous_sha256"] == previous
            and hashlib.sha256(canonical_json(content)).hexdigest() == row.sha256
            and agency_signing.is_genuine(content, signed)
        )
        if not fits:
            return place
        previous = row.sha256
    return None
