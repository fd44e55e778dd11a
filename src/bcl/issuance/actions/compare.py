"""Comparing the issuable records with the resident store, record by record (R-024).

The store is read anew through the same feed and the same columns; what the projection holds is
opened and compared. Says which record and which columns differ, never a value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from bcl.foundation import tenancy
from bcl.foundation.crypto import SealFault
from bcl.issuance import projection, subscription
from bcl.issuance.models import IssuableRecord
from bcl.resident_store import api as resident_store

_BATCH = 2000
_LISTED = 1000
RecordKey = tuple[str, bytes]
Columns = dict[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One record that is not the same: its keyed digest (hex) and the columns' English names."""

    file_id: str
    record_key: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many records were compared, and the first 1,000 differences."""

    compared: int
    total: int
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether the projection is exactly what the store says."""
        return self.total == 0


def compare_with_store(municipality_code: str) -> Comparison:
    """Compare every issuable record of a town with the store, in one snapshot."""
    with tenancy.scope(municipality_code):
        expected = _expected(municipality_code)
        found = _found(municipality_code)
    differences = [
        Difference(key[0], key[1].hex(), _columns_that_differ(expected[key], found[key]))
        for key in sorted(expected.keys() | found.keys())
        if sorted(map(_plain, expected[key])) != sorted(map(_plain, found[key]))
    ]
    compared = sum(map(len, expected.values()))
    return Comparison(compared, len(differences), tuple(differences[:_LISTED]))


def _plain(columns: Columns) -> list[tuple[str, str]]:
    return sorted(columns.items())


def _columns_that_differ(mine: list[Columns], theirs: list[Columns]) -> tuple[str, ...]:
    if len(mine) != 1 or len(theirs) != 1:
        return ()
    names = mine[0].keys() | theirs[0].keys()
    return tuple(sorted(name for name in names if mine[0].get(name) != theirs[0].get(name)))


def _expected(municipality_code: str) -> defaultdict[RecordKey, list[Columns]]:
    rows: defaultdict[RecordKey, list[Columns]] = defaultdict(list)
    for file_id, live in _live_records(municipality_code).items():
        ids = list(live)
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            columns_of = resident_store.read_records(
                municipality_code, batch, columns=subscription.COLUMNS[file_id]
            )
            for record_id, columns in columns_of.items():
                filled = {name: value for name, value in columns.items() if value}
                if projection.counts(file_id, filled):
                    rows[file_id, live[record_id]].append(filled)
    return rows


def _live_records(municipality_code: str) -> dict[str, dict[int, bytes]]:
    """Record id -> key of every record in force, by file: the feed replayed from its beginning."""
    live: dict[str, dict[int, bytes]] = {file_id: {} for file_id in subscription.COLUMNS}
    last = resident_store.applied_position(municipality_code).load_number
    for load_number in range(1, last + 1):
        for entry in resident_store.changes_of_load(municipality_code, load_number, list(live)):
            if entry.old_record_id is not None:
                live[entry.file_id].pop(entry.old_record_id, None)
            if entry.new_record_id is not None:
                live[entry.file_id][entry.new_record_id] = entry.record_key.encode()
    return live


def _found(municipality_code: str) -> defaultdict[RecordKey, list[Columns]]:
    rows: defaultdict[RecordKey, list[Columns]] = defaultdict(list)
    for record in _records(municipality_code):
        try:
            content = projection.open_row(
                municipality_code,
                record.file_id,
                bytes(record.record_key),
                record.load_number,
                bytes(record.content),
            )
        except SealFault:
            # Made by hand or moved from another row: it equals nothing the store says.
            content = {"unreadable": "1"}
        rows[record.file_id, bytes(record.record_key)].append(content)
    return rows


def _records(municipality_code: str) -> Iterator[IssuableRecord]:
    records = IssuableRecord.objects.filter(municipality_code=municipality_code)
    yield from records.iterator(chunk_size=_BATCH)
