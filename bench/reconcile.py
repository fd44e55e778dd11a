"""Reconciling a town with its core system, one field in a million rows flipped, against COPY TO.

The core system's full file holds every row, one of them with another postal code. Ours reads it,
compares it with the store by keyed digest and must name exactly that row and that column. Peer
`copy_to` = the server's own COPY TO of the same data, in clear, once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import store_runs

COLUMN = "address_postal_code"


def run(rows: int, repeats: int) -> dict[str, Any]:
    """Measure; gives the result line of `bcl bench`."""
    ours, copies, memory = [], [], []
    with store_runs.world() as state:
        data = store_runs.child(state, "generate", str(state / "data"), str(rows))
        full, planted = state / "data" / "full.csv", state / "data" / "planted.csv"
        place = store_runs.plant_one_field(full, planted, COLUMN)
        store_runs.child(state, "load", str(full), "1")
        with store_runs.superuser(state) as db:
            store_runs.make_plain_table(db)
            store_runs.copy_plain(db, full)
            db.execute("VACUUM ANALYZE plain_j01")
        out = state / "copy"
        out.mkdir()
        out.chmod(0o777)
        for _ in range(repeats):
            with store_runs.superuser(state) as db:
                copies.append(store_runs.copy_plain_out(db, out / "plain.csv"))
            done = store_runs.child(state, "reconcile", str(planted))
            ours.append(done["seconds"])
            memory.append(done["peak_memory_mb"])
            if done["found"] != [["CHANGED", place, ["住所_郵便番号"]]]:
                raise RuntimeError("reconcile did not name exactly the planted field")
    seconds = statistics.median(ours)
    return {
        "name": "reconcile",
        "rows": data["rows"],
        "seconds": seconds,
        "peak_memory_mb": max(memory),
        "planted_line": place,
        "ratios": {"copy_to": statistics.median(copies) / seconds},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    print(json.dumps(run(chosen.rows, chosen.repeats)))
