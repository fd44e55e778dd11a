"""Following the resident store's feed into the issuable records (journey daily-sync, step 9).

One load of the store is one transaction here: a household is never half updated (F4), and a
kill in between leaves the position where it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db import connection

from bcl.foundation import clock, tenancy
from bcl.issuance import projection, subscription
from bcl.issuance.digests import BlindKeys
from bcl.issuance.models import IssuableRecord, ProjectionPosition
from bcl.municipalities import api as municipalities
from bcl.municipalities.api import Profile
from bcl.resident_store import api as resident_store

_BATCH = 2000


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What one call did: the position reached, loads followed, records written and removed."""

    load_number: int
    loads: int
    written: int
    removed: int


def refresh_issuable_records(municipality_code: str) -> Refreshed:
    """Bring the issuable records of one town up to the store's position.

    Safe to call at any time and twice at once: the position row is locked per load. Issuing
    refuses while the two positions differ, so a lag is visible and never a stale paper. A town
    that does not use its data for certificates has no records and follows nothing (R-011).
    """
    loads = written = removed = 0
    while True:
        with tenancy.scope(municipality_code):
            position = _locked_position(municipality_code)
            if not municipalities.is_profile_enabled(municipality_code, Profile.CERTIFICATES):
                return Refreshed(position.load_number, loads, written, removed)
            target = resident_store.applied_position(municipality_code).load_number
            if position.load_number >= target:
                return Refreshed(position.load_number, loads, written, removed)
            following = position.load_number + 1
            added, dropped = _follow(municipality_code, following)
            position.load_number = following
            position.refreshed_at = clock.now()
            position.save(update_fields=["load_number", "refreshed_at"])
        loads, written, removed = loads + 1, written + added, removed + dropped


def rebuild_issuable_records(municipality_code: str) -> Refreshed:
    """Drop a town's issuable records and build them again from the first load (R-044).

    Issuing refuses (ISSUE_DATA_NOT_CURRENT) until the rebuild has caught up.
    """
    with tenancy.scope(municipality_code):
        clear_issuable_records(municipality_code)
    return refresh_issuable_records(municipality_code)


def clear_issuable_records(municipality_code: str) -> None:
    """Drop a town's issuable records and go back to before the first load; needs the scope."""
    position = _locked_position(municipality_code)
    IssuableRecord.objects.filter(municipality_code=municipality_code).delete()
    position.load_number, position.refreshed_at = 0, clock.now()
    position.save(update_fields=["load_number", "refreshed_at"])


def _locked_position(municipality_code: str) -> ProjectionPosition:
    rows = ProjectionPosition.objects.filter(municipality_code=municipality_code)
    position = rows.select_for_update(of=("self",), no_key=True).first()
    if position is None:
        ProjectionPosition.objects.bulk_create(
            [ProjectionPosition(municipality_code=municipality_code)], ignore_conflicts=True
        )
        position = rows.select_for_update(of=("self",), no_key=True).get()
    return position


def _follow(municipality_code: str, load_number: int) -> tuple[int, int]:
    """Apply one load; returns records written and removed."""
    blind = BlindKeys.of(municipality_code)
    empty = not IssuableRecord.objects.filter(municipality_code=municipality_code).exists()
    entries = resident_store.changes_of_load(
        municipality_code, load_number, list(subscription.COLUMNS)
    )
    written = removed = 0
    for file_id, batch in _batches(entries):
        gone = [e.record_key.encode() for e in batch if e.old_record_id is not None]
        if gone and not empty:
            removed += _remove(municipality_code, file_id, gone)
        fresh = {
            e.new_record_id: e.record_key.encode() for e in batch if e.new_record_id is not None
        }
        columns_of = resident_store.read_records(
            municipality_code, list(fresh), columns=subscription.COLUMNS[file_id]
        )
        rows = (
            projection.make_row(
                municipality_code,
                blind,
                file_id,
                fresh[record_id],
                columns=columns,
                load_number=load_number,
            )
            for record_id, columns in columns_of.items()
        )
        written += _write(municipality_code, load_number, [row for row in rows if row])
    return written, removed


def _batches(
    entries: Iterable[resident_store.FeedEntry],
) -> Iterator[tuple[str, list[resident_store.FeedEntry]]]:
    waiting: dict[str, list[resident_store.FeedEntry]] = defaultdict(list)
    for entry in entries:
        batch = waiting[entry.file_id]
        batch.append(entry)
        if len(batch) >= _BATCH:
            yield entry.file_id, batch
            waiting[entry.file_id] = []
    yield from ((file_id, batch) for file_id, batch in waiting.items() if batch)


def _remove(municipality_code: str, file_id: str, record_keys: list[bytes]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM issuance_issuablerecord WHERE municipality_code = %s AND file_id = %s"
            " AND record_key = ANY(%s::bytea[])",
            [municipality_code, file_id, record_keys],
        )
        return int(cursor.rowcount)


def _write(municipality_code: str, load_number: int, rows: list[projection.Row]) -> int:
    # COPY is not possible into a table under row level security; arrays come close to it.
    if not rows:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO issuance_issuablerecord (municipality_code, file_id, record_key,"
            " person_key, household_key, lookup_key, load_number, content)"
            " SELECT %s, %s, r, p, h, l, %s, c FROM unnest(%s::bytea[], %s::bytea[], %s::bytea[],"
            " %s::bytea[], %s::bytea[]) AS rows(r, p, h, l, c)",
            [
                municipality_code,
                rows[0].file_id,
                load_number,
                [row.record_key for row in rows],
                [row.person_key for row in rows],
                [row.household_key for row in rows],
                [row.lookup_key for row in rows],
                [row.content for row in rows],
            ],
        )
    return len(rows)
