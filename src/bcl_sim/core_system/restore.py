"""A core system that lost everything, filled again from a recovery export.

Only the published interface is read: CSV files in a zip or a folder. The new system goes on
from there: it lives and exports like the one that was lost.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from bcl_sim.core_system import numbers
from bcl_sim.core_system.certificate_link_rows import cards_of
from bcl_sim.core_system.recovery_check import Source, read_lines
from bcl_sim.core_system.store import CoreStore, frame_of_rows
from bcl_sim.core_system.tables import layouts

_ROWS_AT_ONCE = 20_000


def restore_store(
    state: Path, source: Path, *, municipality_code: str, seed: int, issuer_key: str, today: dt.date
) -> dict[str, int]:
    """A new state directory from a recovery export; gives the rows taken in by file.

    Raises FileExistsError when the state directory holds a town, ValueError for a table that
    is not in the published form or belongs to another municipality.
    """
    members = Source(source)
    tables = members.tables()
    store = CoreStore.create(
        state,
        {
            "municipality_code": municipality_code,
            "seed": str(seed),
            "residents": "0",
            "start_on": today.isoformat(),
            "today": today.isoformat(),
            "issuer_key": issuer_key,
            "with_tax": str(int("T01" in tables)),
            "seal_image_share": "0",
            "agenda": "[]",
        },
    )
    taken = {}
    for file_id, name in sorted(tables.items()):
        taken[file_id] = 0
        with members.open(name) as stream:
            for frame in _frames(read_lines(stream, file_id), file_id):
                if (frame["municipality_code"] != municipality_code).any():
                    raise ValueError(f"{file_id}: municipality_code")
                store.add_segment(file_id, frame)
                taken[file_id] += len(frame)
    _continue_counters(store)
    _write_lists(store)
    store.close()
    return taken


def _frames(lines: Iterator[bytes], file_id: str) -> Iterator[pl.DataFrame]:
    """Rows as frames of at most 20,000."""
    names = layouts()[file_id].names
    rows = []
    for values in csv.reader(line.decode("utf-8") for line in lines):
        rows.append(dict(zip(names, values, strict=True)))
        if len(rows) == _ROWS_AT_ONCE:
            yield frame_of_rows(file_id, rows)
            rows = []
    if rows:
        yield frame_of_rows(file_id, rows)


def _continue_counters(store: CoreStore) -> None:
    """New persons and households get numbers after the highest ones in use."""
    known = store.columns("J01", ["addressee_number", "household_number"])
    persons = known["addressee_number"].str.slice(0, 14).cast(pl.Int64)
    first_household = int(numbers.household_number(0))
    homes = known["household_number"].cast(pl.Int64) - first_household

    def used(values: pl.Series) -> int:
        highest = values.max()
        return max(0, int(str(highest)) - numbers.ARRIVAL_START) if highest is not None else 0

    store.set_meta("arrivals", json.dumps([used(persons), used(homes), used(persons)]))


def _write_lists(store: CoreStore) -> None:
    residents = store.columns("J01", ["addressee_number", "full_name", "born_on", "latest"])
    current = residents.filter(pl.col("latest") == "1")
    links = pl.concat(list(store.frames("J05"))) if store.segments("J05") else None
    path = store.directory / "cards.jsonl"
    path.write_bytes(b"")
    if links is not None:
        with path.open("ab") as stream:
            cards_of(links, current).write_ndjson(stream)
    (store.directory / "edge_cases.json").write_text("[]", encoding="utf-8")
