"""A first full load (checked, encrypted, searchable) against the server's COPY in clear.

Peers, same file, same cluster, in turns: `copy` = server-side COPY into a plain text table without
an index; `copy_with_indexes` = the same and b-trees on the columns our search keys are made of.
Ours holds the whole transaction: parse, every rule, digests, search index, pages, household rules.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import process_cost
import store_runs


def run(rows: int, repeats: int) -> dict[str, Any]:
    """Measure; gives the result line of `bcl bench`."""
    ours: list[dict[str, Any]] = []
    peers: dict[str, list[dict[str, Any]]] = {"copy": [], "copy_with_indexes": []}
    with store_runs.world() as state:
        data = store_runs.child(state, "generate", str(state / "data"), str(rows))
        path = state / "data" / "full.csv"
        for _ in range(repeats):
            with store_runs.superuser(state) as db:
                store_runs.make_plain_table(db)
                db.execute("CHECKPOINT")
                with store_runs.server_cost(state) as copying:
                    store_runs.copy_plain(db, path)
                with store_runs.server_cost(state) as indexing:
                    store_runs.index_plain(db)
                db.execute("DROP TABLE plain_j01")
            peers["copy"].append(copying.measured())
            peers["copy_with_indexes"].append(process_cost.total(copying, indexing))
            store_runs.empty_store(state)
            ours.append(store_runs.child(state, "load", str(path), "1"))
    return {
        "name": "load",
        "rows": data["rows"],
        **store_runs.compared(ours, peers),
        "file_bytes": data["bytes"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    print(json.dumps(run(chosen.rows, chosen.repeats)))
