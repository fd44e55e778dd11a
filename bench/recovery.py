"""A recovery package (all of J01, encrypted to its receiver) against the server's COPY TO in clear.

Ours is the whole of it: one snapshot, pages opened and spliced into the zip, SHA-256 of every
member, manifest, age encryption, fsync. The member of the fresh package is proved equal to the file
that was loaded, byte for byte; that of the later one holds the same lines as the table after 30
days. Peers, same data, same cluster, in turns: `copy_to` = server-side COPY of a plain text table
to a file; `pg_dump` = `pg_dump -Fc` of it (once). `copy_to_after_30_days` is ours after 30
differential files of 1 % each, when every page holds dead rows and is made anew.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import store_runs

_DAYS = 30
_SUM_BYTES = 16


def run(rows: int, repeats: int) -> dict[str, Any]:
    """Measure; gives the result line of `bcl bench`."""
    with store_runs.world() as state:
        folder = state / "data"
        data = store_runs.child(state, "generate", str(folder), str(rows), str(_DAYS))
        store_runs.child(state, "load", str(folder / "full.csv"), "1")
        fresh, copies = _measure(state, 1, folder / "full.csv", repeats)
        assert fresh[0]["sha256"] == _sha256(folder / "full.csv"), "not what was loaded"
        dump = _pg_dump(state)
        read = _child(state, "read", str(state / "package.zip.age"))
        for day in range(1, _DAYS + 1):
            words = (str(folder / f"day{day}.csv"), str(day + 1), "differential")
            store_runs.child(state, "load", *words)
        after, copies_after = _measure(state, _DAYS + 1, folder / "last.csv", repeats)
        equal = _child(state, "equal", str(state / "package.zip.age"), str(folder / "last.csv"))
        assert equal["lines"] == after[0]["rows"], "not the table after the last day"
    figures = store_runs.compared(fresh, {"copy_to": copies})
    later = store_runs.compared(after, {"copy_to": copies_after})
    for label, measure in (("ratios", "seconds"), ("cpu_ratios", "cpu_seconds")):
        figures[label]["pg_dump"] = dump[measure] / statistics.median(one[measure] for one in fresh)
        figures[label]["copy_to_after_30_days"] = later[label]["copy_to"]
    return {
        "name": "recovery",
        "rows": data["rows"],
        **figures,
        "peak_memory_mb": max(figures["peak_memory_mb"], later["peak_memory_mb"]),
        "seconds_after_30_days": later["seconds"],
        "cpu_seconds_after_30_days": later["cpu_seconds"],
        "package_bytes": fresh[0]["bytes"],
        "file_bytes": data["bytes"],
        "reader_check_seconds": read["seconds"],
        "reader_peak_memory_mb": read["peak_memory_mb"],
    }


def _measure(
    state: Path, load_number: int, table: Path, repeats: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Ours and COPY TO in turns; the plain table stays."""
    ours, copies = [], []
    out = state / "copy"
    out.mkdir(exist_ok=True)
    out.chmod(0o777)
    with store_runs.superuser(state) as db:
        store_runs.make_plain_table(db)
        store_runs.copy_plain(db, table)
        db.execute("VACUUM ANALYZE plain_j01")
        for _ in range(repeats):
            with store_runs.server_cost(state) as copying:
                db.execute(f"COPY plain_j01 TO '{out / 'plain.csv'}' (FORMAT csv, HEADER)")
            copies.append(copying.measured())
            ours.append(_child(state, "export", str(load_number), str(state / "package.zip.age")))
    return ours, copies


def _pg_dump(state: Path) -> dict[str, float]:
    """What pg_dump -Fc of the plain table costs."""
    from bcl.foundation.postgres import EmbeddedCluster
    from bcl.foundation.roles import SUPERUSER

    info = EmbeddedCluster(state / "postgres").connection_info()
    assert info is not None
    with store_runs.server_cost(state) as dumping:
        subprocess.run(
            [
                info.bin_dir / "pg_dump", "-Fc", "-t", "plain_j01", "-f", state / "plain.dump",
                info.url(SUPERUSER),
            ],
            check=True,
            capture_output=True,
        )
    (state / "plain.dump").unlink()
    return dumping.measured()


def _child(state: Path, *words: str) -> dict[str, Any]:
    return store_runs.child(state, "--step", *words, program=__file__)


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


# -- steps -----------------------------------------------------------------------------------------


def export(load_number: str, path: str) -> dict[str, Any]:
    """Write one package twice and measure the second; the receiver's key lies beside it.

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
        with store_runs.server_cost(Path(os.environ["BCL_STATE_DIR"])) as cost:
            sealed = seal_package(
                Path(path),
                str(identity.to_public()),
                lambda target: contents.append(
                    store.write_recovery_zip(target, store_runs.TOWN, int(load_number))
                ),
            )
    return {
        **cost.measured(),
        "bytes": sealed.bytes,
        "sha256": contents[0].files[0].sha256,
        "rows": contents[0].files[0].rows,
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


def equal(path: str, table: str) -> dict[str, Any]:
    """Prove that the package's table holds the lines of a file, in whatever order."""
    import pyrage

    identity = pyrage.x25519.Identity.from_str(Path(f"{path}.key").read_text())
    clear = io.BytesIO(pyrage.decrypt(Path(path).read_bytes(), [identity]))
    with zipfile.ZipFile(clear) as package, open(table, "rb") as expected:
        (name,) = (each for each in package.namelist() if "_J01_" in each)
        with package.open(name) as member:
            assert next(iter(member)) == next(iter(expected)), "another header"
            count, total = _sum_of_lines(member)
        assert (count, total) == _sum_of_lines(expected), "other lines"
    return {"lines": count}


def _sum_of_lines(lines: Iterable[bytes]) -> tuple[int, int]:
    """How many lines, and the sum of their digests: the same in any order."""
    count = total = 0
    for line in lines:
        count += 1
        total += int.from_bytes(hashlib.sha256(line).digest()[:_SUM_BYTES], "big")
    return count, total


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        steps = {"export": export, "read": read, "equal": equal}
        print(json.dumps(steps[sys.argv[2]](*sys.argv[3:])))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--rows", type=int, default=1_000_000)
        parser.add_argument("--repeats", type=int, default=3)
        parser.add_argument("--json", action="store_true")
        chosen = parser.parse_args()
        print(json.dumps(run(chosen.rows, chosen.repeats)))
