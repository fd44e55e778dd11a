"""One person by blind key, decrypted, against a b-tree read of a plain row of the same width.

Peer `plain_row_p50` / `plain_row_p99`: SELECT of the row in clear by an index on the addressee
number, same connection, alternating with ours. Ratios are speeds: 0.2 = ours takes five times as
long. Ours opens a transaction, computes the key, asks the index, opens the page, cuts the line.
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

_QUESTIONS = 1000


def run(rows: int, repeats: int) -> dict[str, Any]:
    """Measure; gives the result line of `bcl bench`."""
    answers = []
    with store_runs.world() as state:
        data = store_runs.child(state, "generate", str(state / "data"), str(rows))
        path = state / "data" / "full.csv"
        store_runs.child(state, "load", str(path), "1")
        with store_runs.superuser(state) as db:
            store_runs.make_plain_table(db)
            store_runs.copy_plain(db, path)
            db.execute("CREATE INDEX ON plain_j01 (addressee_number)")
            db.execute("GRANT SELECT ON plain_j01 TO bcl_app")
            db.execute("VACUUM ANALYZE")
        answers = [store_runs.child(state, "lookup", str(_QUESTIONS)) for _ in range(repeats)]
    middle = {name: statistics.median(answer[name] for answer in answers) for name in answers[0]}
    return {
        "name": "lookup",
        "rows": data["rows"],
        "seconds": middle["ours_p50_ms"] / 1000,
        "peak_memory_mb": max(answer["peak_memory_mb"] for answer in answers),
        **{name: value for name, value in middle.items() if name.endswith("_ms")},
        "ratios": {
            "plain_row_p50": middle["plain_p50_ms"] / middle["ours_p50_ms"],
            "plain_row_p99": middle["plain_p99_ms"] / middle["ours_p99_ms"],
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    print(json.dumps(run(chosen.rows, chosen.repeats)))
