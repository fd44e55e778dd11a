"""Reads an export back in the plainest way and checks the rules of households by hand.

For oracles and tests: standard library only, nothing of the product's reader or validator.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

from bcl_sim.core_system.store import Row
from bcl_sim.core_system.tables import layouts

Rows = list[Row]


def read_export(folder: Path) -> dict[str, Rows]:
    """Rows of an export folder by file id, read with the standard library only."""
    found = {}
    for path in folder.glob("*.csv"):
        file_id = path.name.split("_")[1]
        with path.open(encoding="utf-8", newline="") as stream:
            lines = list(csv.reader(stream))
        if tuple(lines[0]) != layouts()[file_id].titles:
            raise ValueError(f"{path.name}: header")
        names = layouts()[file_id].names
        found[file_id] = [dict(zip(names, line, strict=True)) for line in lines[1:]]
    return found


def by_key(file_id: str, rows: Rows) -> dict[str, dict[str, str]]:
    """Rows by record key. ValueError for a doubled key."""
    keyed = {layouts()[file_id].key_of(row): row for row in rows}
    if len(keyed) != len(rows):
        raise ValueError(f"{file_id}: doubled keys")
    return keyed


def household_faults(residents: Rows) -> Counter[str]:
    """Faults against the rules V01-V07 and V09 over whole J01 rows, counted by rule."""
    faults: Counter[str] = Counter()
    people: dict[str, Rows] = defaultdict(list)
    homes: dict[str, Rows] = defaultdict(list)
    for row in residents:
        people[row["addressee_number"]].append(row)
    for rows in people.values():
        latest = [row for row in rows if row["latest"] == "1"]
        faults["V05"] += len(latest) != 1
        newest = max(int(row["history_number"]) for row in rows)
        faults["V09"] += bool(latest) and int(latest[0]["history_number"]) != newest
        for row in latest:
            faults["V06"] += (row["resident_state"] != "1") != (row["removed_record"] == "1")
            if row["resident_state"] == "1":
                homes[row["household_number"]].append(row)
        for row in rows:
            foreign = row["resident_kind"] == "2"
            faults["V07"] += bool(
                row["registered_domicile"] if foreign else row["nationality_name"]
            )
    for rows in homes.values():
        heads = [row for row in rows if row["relationship_code_1"] == "02"]
        faults["V01"] += len(heads) != 1
        orders = sorted(int(row["entry_order"]) for row in rows)
        faults["V02"] += orders != list(range(1, len(rows) + 1))
        names = {row["head_of_household_name"] for row in rows}
        faults["V03"] += names != {heads[0]["full_name"]} if heads else 0
        places = {(row["address_town"], row["address_lot_as_written"]) for row in rows}
        faults["V04"] += len(places) != 1
    return +faults
