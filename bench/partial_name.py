"""Searching persons by a part of a name, decrypted, against pg_trgm on the names in clear.

The same questions, drawn from persons of the town, in turns over the same connection, warm: a
surname, a given name (mostly one or two characters), surname with the first character of the given
name, the whole name, a reading from its beginning, three characters out of a reading; the first 50
latest rows with the columns of a list. Peer `pg_trgm` = LIKE on one clear text column with a GIN
trigram index (the planner may choose to read the table instead, and does for short texts); the
peer's answer is not folded and knows one name of a person, ours all of them. Ratios are speeds at
the 95th percentile (0.33 = ours takes three times as long), over all questions and by kind.
`index_seconds` is the background job that builds our index after the load.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import store_runs

_QUESTIONS = 40  # of each kind
_WARM_UP = 5
_LIMIT = 50
_NAME, _KANA = "full_name", "full_name_kana"
_LISTED = "addressee_number, full_name, full_name_kana, born_on, sex, address_town"


def run(rows: int, repeats: int) -> dict[str, Any]:
    """Measure; gives the result line of `bcl bench`."""
    with store_runs.world() as state:
        data = store_runs.child(state, "generate", str(state / "data"), str(rows))
        path = state / "data" / "full.csv"
        store_runs.child(state, "load", str(path), "1")
        built = _child(state, "index")
        with store_runs.superuser(state) as db:
            sizes = db.execute(
                "SELECT pg_total_relation_size('resident_store_fragmentblock')"
            ).fetchone()
            store_runs.make_plain_table(db)
            store_runs.copy_plain(db, path)
            db.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            began = time.perf_counter()
            for column in (_NAME, _KANA):
                db.execute(f"CREATE INDEX ON plain_j01 USING gin ({column} gin_trgm_ops)")
            trigram_seconds = time.perf_counter() - began
            db.execute("GRANT SELECT ON plain_j01 TO bcl_app")
            db.execute("VACUUM ANALYZE")
        answers = [_child(state, "ask", str(seed)) for seed in range(repeats)]
    kinds = list(answers[0]["p95"])
    ours, theirs = (
        {kind: statistics.median(one["p95"][kind][side] for one in answers) for kind in kinds}
        for side in ("ours", "plain")
    )
    assert sizes is not None
    return {
        "name": "partial_name",
        "rows": data["rows"],
        "seconds": statistics.median(one["p50"]["all"]["ours"] for one in answers) / 1000,
        "peak_memory_mb": max(one["peak_memory_mb"] for one in [built, *answers]),
        "index_seconds": built["seconds"],
        "index_bytes": sizes[0],
        "index_peak_memory_mb": built["peak_memory_mb"],
        "pg_trgm_index_seconds": trigram_seconds,
        "ours_p95_ms": {kind: round(value, 2) for kind, value in ours.items()},
        "pg_trgm_p95_ms": {kind: round(value, 2) for kind, value in theirs.items()},
        "ours_p50_ms": {kind: round(answers[0]["p50"][kind]["ours"], 2) for kind in kinds},
        "pg_trgm_p50_ms": {kind: round(answers[0]["p50"][kind]["plain"], 2) for kind in kinds},
        "ratios": {
            ("pg_trgm_p95" if kind == "all" else f"pg_trgm_p95_{kind}"): theirs[kind] / ours[kind]
            for kind in kinds
        },
    }


def _child(state: Path, *words: str) -> dict[str, Any]:
    """One step of ours in a process of its own, so that its peak memory is its own."""
    environment = os.environ | {
        "BCL_STATE_DIR": str(state),
        "BCL_ENVIRONMENT": "test",
        "BCL_WORLD": "bench",
        "DJANGO_SETTINGS_MODULE": "bcl.config.settings",
        "PYTHONPATH": str(store_runs.SOURCE),
        "BCL_MINIMUM_FREE_MB": "64",
    }
    done = subprocess.run(
        [sys.executable, __file__, "--step", *words],
        env=environment, capture_output=True, text=True, check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


# -- steps -----------------------------------------------------------------------------------------


def index() -> dict[str, Any]:
    """Build the index as the background job does."""
    import django

    django.setup()
    from bcl.resident_store.tasks import tidy_search

    began = time.perf_counter()
    tidy_search(municipality_code=store_runs.TOWN)
    return {
        "seconds": time.perf_counter() - began,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def ask(seed: str) -> dict[str, Any]:
    """Ask both sides every question once; times in milliseconds by kind."""
    import django

    django.setup()
    from bcl.foundation import tenancy
    from bcl.resident_store import api as store

    times: dict[str, dict[str, list[float]]] = {}
    for place, (kind, column, match, text) in enumerate(_questions(int(seed))):
        asked = {"name" if column == _NAME else "kana": text}
        began = time.perf_counter()
        with tenancy.scope(store_runs.TOWN):
            found = store.search_persons(
                store_runs.TOWN, **asked, match=match, file_ids=["J01"], limit=_LIMIT
            )
        ours = time.perf_counter() - began
        plain, numbers = _ask_plain(column, match, text)
        assert isinstance(found, store.PersonSearchResult), found
        if not found.more:
            assert numbers <= {hit.addressee_number for hit in found.hits}, "somebody is missing"
        if place < _WARM_UP:
            continue
        for name in (kind, "all"):
            sides = times.setdefault(name, {"ours": [], "plain": []})
            sides["ours"].append(ours * 1000)
            sides["plain"].append(plain * 1000)
    return {
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **{
            label: {
                kind: {side: sorted(values)[int(len(values) * share)]
                       for side, values in sides.items()}
                for kind, sides in times.items()
            }
            for label, share in (("p50", 0.5), ("p95", 0.95))
        },
    }


def _ask_plain(column: str, match: str, text: str) -> tuple[float, set[str]]:
    from django.db import connection, transaction

    pattern = f"{text}%" if match == "prefix" else f"%{text}%"
    began = time.perf_counter()
    with transaction.atomic(), connection.cursor() as db:
        db.execute(
            f"SELECT {_LISTED} FROM plain_j01 WHERE {column} LIKE %s AND latest = '1'"
            f" LIMIT {_LIMIT}",
            [pattern],
        )
        found = db.fetchall()
    return time.perf_counter() - began, {row[0] for row in found}


def _questions(seed: int) -> list[tuple[str, str, str, str]]:
    """(kind, column, match, text) in random order, the same for the same seed."""
    dice = random.Random(seed)
    with store_runs.superuser(Path(os.environ["BCL_STATE_DIR"])) as db:
        people = db.execute(
            "SELECT full_name, full_name_kana FROM plain_j01"
            " WHERE latest = '1' AND full_name LIKE '%%　%%' AND full_name_kana LIKE '%%　%%'"
            " ORDER BY md5(addressee_number || %s) LIMIT %s",
            [str(seed), 6 * _QUESTIONS + 6 * _WARM_UP],
        ).fetchall()
    asked = []
    for name, kana in people:
        surname, given = name.split("　", 1)
        reading = kana.split("　", 1)[0]
        start = dice.randrange(max(1, len(kana) - 2))
        asked.append(
            [
                ("surname", _NAME, "contains", surname),
                ("given", _NAME, "contains", given[:2]),
                ("surname_and_initial", _NAME, "contains", f"{surname}　{given[0]}"),
                ("whole", _NAME, "contains", name),
                ("kana_prefix", _KANA, "prefix", reading),
                ("kana_part", _KANA, "contains", kana[start : start + 3]),
            ][len(asked) % 6]
        )
    dice.shuffle(asked)
    return asked


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps({"index": index, "ask": ask}[sys.argv[2]](*sys.argv[3:])))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--rows", type=int, default=1_000_000)
        parser.add_argument("--repeats", type=int, default=3)
        parser.add_argument("--json", action="store_true")
        chosen = parser.parse_args()
        print(json.dumps(run(chosen.rows, chosen.repeats)))
