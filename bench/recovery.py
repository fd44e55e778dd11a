"""A recovery package (all of J01, encrypted to its receiver) against the server's COPY TO in clear.

Ours is the whole of it: one snapshot, pages opened and spliced into the zip, SHA-256 of every
member, manifest, age encryption, fsync. The member is proved equal to the file that was loaded,
byte for byte, by the stand-alone reader's own decryption. Peers, same data, same cluster, in
turns: `copy_to` = server-side COPY of a plain text table to a file; `pg_dump` = `pg_dump -Fc` of
it. `copy_to_after_a_day` is ours after 1 % of changes scattered over the town, when most pages
hold a dead row and must be made anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
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

_BLOCK = 1 << 20


def run(rows: int, repeats: int) -> dict[str, Any]:
    """Measure; gives the result line of `bcl bench`."""
    with store_runs.world() as state:
        data = store_runs.child(state, "generate", str(state / "data"), str(rows))
        store_runs.child(state, "load", str(state / "data" / "full.csv"), "1")
        fresh, copies, dumps = _measure(state, load_number=1, table="full.csv", repeats=repeats)
        read = _child(state, "read", str(state / "package.zip.age"))
        store_runs.child(state, "load", str(state / "data" / "next.csv"), "2")
        after, copies_after, _ = _measure(state, load_number=2, table="next.csv", repeats=1)
    seconds = statistics.median(one["seconds"] for one in fresh)
    return {
        "name": "recovery",
        "rows": data["rows"],
        "seconds": seconds,
        "peak_memory_mb": max(one["peak_memory_mb"] for one in fresh + after),
        "package_bytes": fresh[0]["bytes"],
        "file_bytes": data["bytes"],
        "reader_check_seconds": read["seconds"],
        "reader_peak_memory_mb": read["peak_memory_mb"],
        "ratios": {
            "copy_to": statistics.median(copies) / seconds,
            **({"pg_dump": statistics.median(dumps) / seconds} if dumps else {}),
            "copy_to_after_a_day": copies_after[0] / after[0]["seconds"],
        },
    }


def _measure(
    state: Path, *, load_number: int, table: str, repeats: int
) -> tuple[list[dict[str, Any]], list[float], list[float]]:
    ours, copies, dumps = [], [], []
    out = state / "copy"
    out.mkdir(exist_ok=True)
    out.chmod(0o777)
    with store_runs.superuser(state) as db:
        store_runs.make_plain_table(db)
        store_runs.copy_plain(db, state / "data" / table)
        db.execute("VACUUM ANALYZE plain_j01")
        for _ in range(repeats):
            began = time.perf_counter()
            db.execute(f"COPY plain_j01 TO '{out / 'plain.csv'}' (FORMAT csv, HEADER)")
            copies.append(time.perf_counter() - began)
            ours.append(_child(state, "export", str(load_number), str(state / "package.zip.age")))
            if load_number == 1:
                dumps += _pg_dump(state, out / "plain.dump")
        db.execute("DROP TABLE plain_j01")
    if load_number == 1:
        source = hashlib.file_digest((state / "data" / table).open("rb"), "sha256").hexdigest()
        assert ours[0]["sha256"] == source, "the package is not what was loaded"
    return ours, copies, dumps


def _pg_dump(state: Path, target: Path) -> list[float]:
    """Seconds of pg_dump -Fc of the plain table; empty where the server came without it."""
    from bcl.foundation.postgres import EmbeddedCluster
    from bcl.foundation.roles import SUPERUSER

    found = next((state / "postgres").rglob("bin/pg_dump"), None)
    info = EmbeddedCluster(state / "postgres").connection_info()
    if found is None or info is None:
        return []
    began = time.perf_counter()
    subprocess.run(
        [found, "-Fc", "-t", "plain_j01", "-f", target, info.url(SUPERUSER)],
        check=True,
        capture_output=True,
    )
    return [time.perf_counter() - began]


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
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def export(load_number: str, path: str) -> dict[str, Any]:
    """Write one package twice and time the second; the receiver's key lies beside it.

    The first one warms this new process up (imports, keys), as the peers' server is warm: the
    table they copy was written and vacuumed a moment before.
    """
    import django
    import pyrage

    django.setup()
    from bcl.recovery.adapters.release_area import seal_package
    from bcl.resident_store import api as store

    identity = pyrage.x25519.Identity.generate()
    Path(f"{path}.key").write_text(str(identity))
    contents: list[store.RecoveryContents] = []
    for _ in range(2):
        began, cpu = time.perf_counter(), time.process_time()
        sealed = seal_package(
            Path(path),
            str(identity.to_public()),
            lambda target: contents.append(
                store.write_recovery_zip(target, store_runs.TOWN, int(load_number))
            ),
        )
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "bytes": sealed.bytes,
        "sha256": contents[0].files[0].sha256,
    }


def read(path: str) -> dict[str, Any]:
    """The receiver's check of every member, with the stand-alone reader."""
    reader = store_runs.SOURCE / "bcl_contract" / "recovery_reader.py"
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-I", "-S", reader, path, "--key", f"{path}.key", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        "seconds": time.perf_counter() - began,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps({"export": export, "read": read}[sys.argv[2]](*sys.argv[3:])))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--rows", type=int, default=1_000_000)
        parser.add_argument("--repeats", type=int, default=3)
        parser.add_argument("--json", action="store_true")
        chosen = parser.parse_args()
        print(json.dumps(run(chosen.rows, chosen.repeats)))
