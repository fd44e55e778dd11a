"""Deleting what ended long ago from the store, page by page (R-177, decision 0004).

A page whose records have all ended before the cutoff goes; in a mixed page the expired records'
lines are emptied and their index zeroed, so that the ids of the others stay. `HistoryStart` says
from which load on states are still whole. Loads of the town wait meanwhile (milliseconds).
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from django.db.models import Max

from bcl.foundation import retention
from bcl.foundation.retention import Deleted
from bcl.resident_store import database, deflate_splice, fragment_index, town_keys
from bcl.resident_store.models import HistoryStart, Load
from bcl.resident_store.pages import PAGE_ROWS, PagePlace, Slots, open_lines, seal, unpack_slots

EMPTIED = "00000000-0000-0000-0000-000000000000"
"""Record key of an ended record whose content retention has deleted."""
_PAGES_AT_ONCE = 64


@dataclass(frozen=True)
class _Page:
    """A stored page as retention needs it."""

    id: int
    place: PagePlace
    rows: int
    clear_size: int
    slots: bytes
    sealed: bytes


class EndedRecords:
    """Record versions that a load ended before the cutoff."""

    data_class = "store.ended_records"

    def expired(self, municipality_code: str, cutoff: datetime) -> int:
        start = _new_start(municipality_code, cutoff)
        with database.cursor() as db:
            db.execute(
                "SELECT count(*) FROM resident_store_endedrecord WHERE municipality_code = %s"
                " AND until_load <= %s AND record_key <> %s::uuid",
                [municipality_code, start, EMPTIED],
            )
            row = db.fetchone()
        return int(row[0]) if row else 0

    def delete(self, municipality_code: str, cutoff: datetime, *, limit: int) -> Deleted:
        database.lock_town(municipality_code)
        start = _new_start(municipality_code, cutoff)
        pages = _expired_pages(municipality_code, start, min(limit, _PAGES_AT_ONCE))
        if not pages:
            return Deleted()
        _move_start(municipality_code, start, cutoff)
        fragment_index.mark_stale(municipality_code, [page.id for page in pages])
        total, records, dropped = hashlib.sha256(), 0, 0
        for page in pages:
            slots = _expired_slots(page.id, start)
            total.update(page.id.to_bytes(8, "big") + hashlib.sha256(page.sealed).digest())
            records += _forget_page(page, slots, start)
            dropped += len(slots) == page.rows
        return Deleted(
            {"records": records, "pages_dropped": dropped, "pages_rewritten": len(pages) - dropped},
            first=str(pages[0].id),
            last=str(pages[-1].id),
            digest=total.hexdigest(),
        )


def _new_start(municipality_code: str, cutoff: datetime) -> int:
    """The load up to which what it ended may go: by time, and never past the slowest reader."""
    newest = Load.objects.filter(
        municipality_code=municipality_code, applied_at__lt=cutoff
    ).aggregate(last=Max("load_number"))["last"]
    reader = retention.slowest_reader(municipality_code)
    return min(newest or 0, newest or 0 if reader is None else reader)


def _move_start(municipality_code: str, start: int, at: datetime) -> None:
    row, created = HistoryStart.objects.get_or_create(
        municipality_code=municipality_code, defaults={"load_number": start, "moved_at": at}
    )
    if not created and row.load_number < start:
        row.load_number, row.moved_at = start, at
        row.save(update_fields=["load_number", "moved_at"])


def _expired_pages(municipality_code: str, start: int, limit: int) -> list[_Page]:
    with database.cursor() as db:
        db.execute(
            "SELECT id, file_id, load_number, page_number, key_version, rows, clear_size, slots,"
            " sealed FROM resident_store_page WHERE municipality_code = %s AND id IN ("
            " SELECT record_id / %s FROM resident_store_endedrecord WHERE municipality_code = %s"
            "  AND until_load <= %s AND record_key <> %s::uuid GROUP BY 1 ORDER BY 1 LIMIT %s)"
            " ORDER BY id FOR NO KEY UPDATE",
            [municipality_code, PAGE_ROWS, municipality_code, start, EMPTIED, limit],
            binary=True,
        )
        return [
            _Page(
                page_id, PagePlace(municipality_code, file_id, load, number, version), rows, size,
                bytes(slots), bytes(sealed),
            )
            for page_id, file_id, load, number, version, rows, size, slots, sealed in db.fetchall()
        ]


def _expired_slots(page_id: int, start: int) -> list[int]:
    with database.cursor() as db:
        db.execute(
            "SELECT record_id FROM resident_store_endedrecord"
            " WHERE record_id BETWEEN %s AND %s AND until_load <= %s ORDER BY record_id",
            [page_id * PAGE_ROWS, page_id * PAGE_ROWS + PAGE_ROWS - 1, start],
        )
        return [row[0] % PAGE_ROWS for row in db.fetchall()]


def _forget_page(page: _Page, slots: list[int], start: int) -> int:
    """Drop a page or empty some of its records; gives how many were not emptied before."""
    first = page.id * PAGE_ROWS
    ids = [first + slot for slot in slots]
    with database.cursor() as db:
        db.execute(
            "SELECT count(*) FROM resident_store_endedrecord"
            " WHERE record_id = ANY(%s) AND record_key <> %s::uuid",
            [ids, EMPTIED],
        )
        fresh = db.fetchone()
        db.execute("DELETE FROM resident_store_search_key WHERE record_id = ANY(%s)", [ids])
        if len(slots) == page.rows:
            db.execute("DELETE FROM resident_store_endedrecord WHERE record_id = ANY(%s)", [ids])
            db.execute("DELETE FROM resident_store_page WHERE id = %s", [page.id])
        else:
            db.execute(
                "UPDATE resident_store_endedrecord SET record_key = %s::uuid, person_key = 0,"
                " household_key = 0 WHERE record_id = ANY(%s)",
                [EMPTIED, ids],
            )
            _rewrite(db, page, slots)
    return int(fresh[0]) if fresh else 0


def _rewrite(db, page: _Page, slots: list[int]) -> None:  # noqa: ANN001 - a psycopg cursor
    secret = town_keys.page_secrets(page.place.municipality_code)
    lines = open_lines(secret, page.place, page.sealed, page.clear_size, page.rows)
    for slot in slots:
        lines[slot] = _emptied(lines[slot])
    clear = b"".join(lines)
    sealed = seal(
        secret(page.place.key_version), page.place, deflate_splice.deflate_page(clear)
    )
    index = _zeroed(unpack_slots([page.slots], [page.rows]), slots)
    db.execute(
        "UPDATE resident_store_page SET clear_size = %s, crc32 = %s, slots = %s, sealed = %s"
        " WHERE id = %s",
        [len(clear), deflate_splice.crc32(clear), index.packed(), sealed, page.id],
    )


def _emptied(line: bytes) -> bytes:
    """A line with as many fields as before, all empty."""
    fields = next(csv.reader([line.decode().removesuffix("\r\n")], strict=True))
    return b"," * (len(fields) - 1) + b"\r\n"


def _zeroed(index: Slots, slots: list[int]) -> Slots:
    chosen = np.array(slots)
    arrays = [array.copy() for array in index.arrays()]
    for array in arrays:
        array[chosen] = 0
    return Slots(*arrays)


def history_start(municipality_code: str) -> int:
    """The earliest load whose state is whole; 0 when nothing was ever deleted."""
    row = HistoryStart.objects.filter(municipality_code=municipality_code).first()
    return 0 if row is None else row.load_number


RETENTION = [EndedRecords()]
