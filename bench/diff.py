"""A daily full file with 1 % of changes against the server's COPY of the same file in clear.

The file holds every row again, shuffled: 0.6 % changed, 0.2 % gone, 0.2 % new. Ours finds the
changes by keyed digest, checks, encrypts and indexes them and ends what is gone, in one
transaction. Peer `copy` = server-side COPY of that file into an empty plain text table.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import store_runs


def run(rows: int, repeats: int) -> dict[str, Any]:
    """Measure; gives the result line of `bcl bench`."""
    ours: list[dict[str, Any]] = []
    copies: list[dict[str, Any]] = []
    with store_runs.world() as state:
        data = store_runs.child(state, "generate", str(state / "data"), str(rows))
        today, tomorrow = state / "data" / "full.csv", state / "data" / "next.csv"
        store_runs.child(state, "load", str(today), "1")
        for repeat in range(repeats):
            with store_runs.superuser(state) as db:
                store_runs.make_plain_table(db)
                db.execute("CHECKPOINT")
                with store_runs.server_cost(state) as copying:
                    store_runs.copy_plain(db, tomorrow)
                copies.append(copying.measured())
                db.execute("DROP TABLE plain_j01")
                db.execute("CHECKPOINT")
            # There and back: every second day is the first day's file again, 1 % away as well.
            path = tomorrow if repeat % 2 == 0 else today
            ours.append(store_runs.child(state, "load", str(path), str(repeat + 2)))
    return {
        "name": "diff",
        "rows": data["rows"],
        **store_runs.compared(ours, {"copy": copies}),
        "counts": ours[0]["counts"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    print(json.dumps(run(chosen.rows, chosen.repeats)))
