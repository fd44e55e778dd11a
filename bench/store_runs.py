"""What the benchmarks of the resident store share: data, a cluster of their own, child processes.

Our side always runs in a child process, so that its peak memory is its own. The peers run on the
same cluster in the same run, in turns with ours. J01 comes from the synthetic core system, all
159 columns; above 200,000 residents the town is repeated under other numbers.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import process_cost

SOURCE = Path(__file__).resolve().parents[1] / "src"
TOWN = "999997"
_LARGEST_TOWN = 200_000
_NUMBER_AT = 10  # where the addressee number's digits begin in a canonical line of J01
_CHANGED_PER_MILLE, _GONE_PER_MILLE, _NEW_PER_MILLE = 6, 2, 2


# -- the cluster ---------------------------------------------------------------------------------


@contextlib.contextmanager
def world() -> Iterator[Path]:
    """A state directory with a running, migrated cluster and one registered town."""
    state = Path(tempfile.mkdtemp(prefix="bcl-bench-", dir="/tmp"))
    state.chmod(0o711)
    try:
        child(state, "prepare")
        yield state
    finally:
        child(state, "destroy")
        shutil.rmtree(state, ignore_errors=True)


def child(state: Path, *words: str, program: str = __file__) -> dict[str, Any]:
    """Run one step of this (or another) benchmark in a process of its own; gives its JSON answer.

    So its peak memory is its own.
    """
    environment = os.environ | {
        "BCL_STATE_DIR": str(state),
        "BCL_ENVIRONMENT": "test",
        "BCL_WORLD": "bench",
        "DJANGO_SETTINGS_MODULE": "bcl.config.settings",
        "PYTHONPATH": str(SOURCE),
        "BCL_MINIMUM_FREE_MB": "64",
    }
    done = subprocess.run(
        [sys.executable, program, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def superuser(state: Path):
    """A superuser's connection, for the peers (server-side COPY reads files)."""
    import psycopg

    from bcl.foundation.postgres import EmbeddedCluster
    from bcl.foundation.roles import SUPERUSER

    info = EmbeddedCluster(state / "postgres").connection_info()
    assert info is not None
    return psycopg.connect(info.url(SUPERUSER), autocommit=True)


def _set_up() -> None:
    import django

    django.setup()


def prepare(_: list[str]) -> dict[str, Any]:
    """Start the cluster, migrate, register the town."""
    from bcl.config import env
    from bcl.foundation import migrate
    from bcl.foundation.postgres import EmbeddedCluster, Tuning

    settings = env.read()
    sizes = settings.cluster
    EmbeddedCluster(
        settings.postgres_dir,
        tuning=Tuning(
            sizes.shared_buffers_mb,
            sizes.max_wal_size_mb,
            sizes.maintenance_work_mem_mb,
            sizes.max_connections,
        ),
    ).ensure_running()
    _set_up()
    migrate.run()
    child(settings.state_dir, "register")
    return {}


def register(_: list[str]) -> dict[str, Any]:
    """Register the town with its keys."""
    _set_up()
    from bcl.municipalities import api as municipalities

    municipalities.register_municipality(
        municipality_code=TOWN, name_ja="見本市", head_title_ja="市長", mayor_name_ja="見本 太郎"
    )
    return {}


def destroy(_: list[str]) -> dict[str, Any]:
    """Stop the cluster and remove it."""
    from bcl.foundation.postgres import EmbeddedCluster

    EmbeddedCluster(Path(os.environ["BCL_STATE_DIR"]) / "postgres").destroy()
    return {}


def empty_store(state: Path) -> None:
    """Take every record out, so that a full load can be repeated."""
    with superuser(state) as db:
        tables = db.execute(
            "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables"
            " WHERE tablename LIKE 'resident_store_%'"
        ).fetchone()
        assert tables is not None
        db.execute(f"TRUNCATE {tables[0]}")
        db.execute("CHECKPOINT")


# -- data ----------------------------------------------------------------------------------------


def generate(words: list[str]) -> dict[str, Any]:
    """generate FOLDER ROWS [DAYS]: full.csv (J01) and, 1 % changed and shuffled, next.csv.

    With DAYS, a differential file of 1 % of changes for each day (`day1.csv`, …), and last.csv:
    what the table holds after them.
    """
    from bcl_sim.core_system.town import Town

    folder, rows = Path(words[0]), int(words[1])
    folder.mkdir(mode=0o755)
    residents = max(1000, min(rows, _LARGEST_TOWN))
    town = Town.generate(
        folder / "town",
        municipality_code=TOWN,
        residents=residents,
        with_tax=False,
        seal_image_share=0,
    )
    exported = town.export(folder / "drop", files=["J01"])
    town.close()
    (source,) = exported.folder.glob("*_J01_*.csv")
    header, *lines = source.read_bytes().splitlines(keepends=True)
    lines = _repeated(lines, rows)
    (folder / "full.csv").write_bytes(header + b"".join(lines))
    (folder / "next.csv").write_bytes(header + b"".join(_next_day(lines)))
    shutil.rmtree(folder / "town")
    shutil.rmtree(folder / "drop")
    if len(words) > 2:
        _write_days(folder, header, lines, int(words[2]))
    for path in folder.glob("*.csv"):
        path.chmod(0o644)
    return {"rows": len(lines), "bytes": (folder / "full.csv").stat().st_size}


def _renumbered(line: bytes, number: bytes) -> bytes:
    """The same person in another copy of the town: other addressee and household numbers."""
    fields = line.split(b'","', 7)
    fields[1] = number + fields[1][len(number) :]
    fields[6] = number + fields[6][len(number) :]
    return b'","'.join(fields)


def _repeated(lines: list[bytes], rows: int) -> list[bytes]:
    whole = list(lines[:rows])
    copy = 0
    while len(whole) < rows:
        copy += 1
        number = f"{copy:03}".encode()
        whole += [_renumbered(line, number) for line in lines[: rows - len(whole)]]
    return whole


def _next_day(lines: list[bytes]) -> list[bytes]:
    """One per cent of changes, with insertions and deletions, in another order."""
    dice = random.Random(1)
    count = len(lines)
    chosen = dice.sample(range(count), count * (_CHANGED_PER_MILLE + _GONE_PER_MILLE) // 1000)
    gone = set(chosen[: count * _GONE_PER_MILLE // 1000])
    changed = set(chosen) - gone
    after = []
    for place, line in enumerate(lines):
        if place in gone:
            continue
        after.append(line[:-12] + b'"23:59:59"\r\n' if place in changed else line)
    # Newcomers come from the first copy of the town only, else two would be one person.
    for line in dice.sample(lines[:_LARGEST_TOWN], count * _NEW_PER_MILLE // 1000):
        after.append(_renumbered(line, b"987"))
    dice.shuffle(after)
    return after


def plant_one_field(source: Path, target: Path, column: str) -> int:
    """Copy a full file with another value in one column of its middle row; gives the line."""
    from bcl_contract.linkage.layouts import load_interface

    position = load_interface().files["J01"].names.index(column)
    lines = source.read_bytes().splitlines(keepends=True)
    place = len(lines) // 2
    fields = lines[place].split(b'","')
    fields[position] = b"0000000" if fields[position] != b"0000000" else b"1111111"
    lines[place] = b'","'.join(fields)
    target.write_bytes(b"".join(lines))
    return place + 1


def _write_days(folder: Path, header: bytes, lines: list[bytes], days: int) -> None:
    """Files of day after day with what changed in it, and the table after the last one."""
    dice = random.Random(2)
    now, count = list(lines), len(lines)
    for day in range(1, days + 1):
        time_of_day = f'"23:{day:02}:59"\r\n'.encode()
        # Each newcomer is a copy of somebody under a number that no other day uses.
        fresh = [
            _renumbered(line, f"{900 + day}".encode())
            for line in dice.sample(lines[:_LARGEST_TOWN], count * _NEW_PER_MILLE // 1000)
        ]
        chosen = dice.sample(
            range(len(now)), count * (_CHANGED_PER_MILLE + _GONE_PER_MILLE) // 1000
        )
        gone = sorted(chosen[: count * _GONE_PER_MILLE // 1000], reverse=True)
        sent = [_deleted(now[place]) for place in gone]
        for place in set(chosen) - set(gone):
            now[place] = now[place][:-12] + time_of_day
            sent.append(now[place])
        for place in gone:
            now[place] = now[-1]
            now.pop()
        now += fresh
        (folder / f"day{day}.csv").write_bytes(header + b"".join(sent + fresh))
    (folder / "last.csv").write_bytes(header + b"".join(now))


def _deleted(line: bytes) -> bytes:
    """The row that says that a record has ended."""
    head, flag, *rest = line.rsplit(b'","', 4)
    assert flag == b"0"
    return b'","'.join([head, b"1", *rest])


# -- comparing -----------------------------------------------------------------------------------


def server_cost(state: Path) -> process_cost.Cost:
    """Measures what a peer inside the database server costs."""
    return process_cost.Cost(data_dir(state))


def data_dir(state: Path) -> Path:
    """Where the cluster's data lies."""
    return state / "postgres" / "data"


def compared(
    ours: list[dict[str, Any]], peers: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """The figures of a result: medians of ours, and of the ratios turn by turn.

    `ratios` are of wall time, `cpu_ratios` of CPU seconds (all of our processes and the server
    against all of the peer's): 2.0 = ours takes half.
    """
    middle = {
        name: statistics.median(one[name] for one in ours)
        for name in ("seconds", "own_cpu_seconds", "server_cpu_seconds")
    }
    return {
        **middle,
        "cpu_seconds": statistics.median(one["cpu_seconds"] for one in ours),
        "peak_memory_mb": max(one["peak_memory_mb"] for one in ours),
        "peer_seconds": {
            peer: statistics.median(one["seconds"] for one in turns)
            for peer, turns in peers.items()
        },
        **{
            label: {
                peer: statistics.median(
                    their[measure] / our[measure]
                    for our, their in zip(ours, turns, strict=False)
                )
                for peer, turns in peers.items()
            }
            for label, measure in (("ratios", "seconds"), ("cpu_ratios", "cpu_seconds"))
        },
    }


# -- our side --------------------------------------------------------------------------------------


def load(words: list[str]) -> dict[str, Any]:
    """load PATH SEQUENCE [MODE]: apply one file of J01."""
    _set_up()
    from bcl.foundation.audit import SYSTEM
    from bcl.resident_store import api as store
    from bcl_contract.clock import JST
    from bcl_contract.linkage.layouts import load_interface

    layout = load_interface().files["J01"]
    sequence = int(words[1])
    with open(words[0], "rb") as source:  # what the door's reader of a transmission proves
        declared = hashlib.file_digest(source, "sha256").hexdigest()
    at = datetime(2026, 11, 1, 20, 0, tzinfo=JST) + timedelta(days=sequence)
    with server_cost(Path(os.environ["BCL_STATE_DIR"])) as cost, open(words[0], "rb") as source:
        result = store.apply_files(
            municipality_code=TOWN,
            transmission_id=f"bench{sequence}",
            lane="main",
            sequence=sequence,
            mode=words[2] if len(words) > 2 else "full",
            as_of=at,
            interface_version="1.0",
            open_files=[("J01", layout, io.BufferedReader(source, 1 << 20))],
            declared_sha256={"J01": declared},
            seal_images=(),
            decide=lambda _: store.Verdict.LAND,
            by=SYSTEM,
            at=at,
        )
    assert result.landed
    (counts,) = result.summary.files
    return {
        **cost.measured(),
        "counts": {
            name: getattr(counts, name)
            for name in (
                "rows",
                "inserted",
                "changed",
                "ended",
                "unchanged",
                "after",
                "quarantined",
            )
        },
    }


def reconcile(words: list[str]) -> dict[str, Any]:
    """reconcile PATH: compare one full file of J01 with the store."""
    _set_up()
    from bcl.resident_store import api as store
    from bcl_contract import clock
    from bcl_contract.linkage.layouts import load_interface

    began = time.perf_counter()
    with open(words[0], "rb") as source:
        opened = [("J01", load_interface().files["J01"], io.BufferedReader(source, 1 << 20))]
        (found,) = store.reconcile(TOWN, opened, at=clock.now()).files
    return {
        "seconds": time.perf_counter() - began,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "found": [[each.kind, each.line, list(each.columns)] for each in found.differences],
    }


def lookup(words: list[str]) -> dict[str, Any]:
    """lookup COUNT: find persons by blind key and decrypt, against primary key reads in clear.

    Both ask one after another over the same connection, one transaction each question, warm.
    """
    _set_up()
    from django.db import connection, transaction

    from bcl.foundation import tenancy
    from bcl.resident_store import api as store

    count = int(words[0])
    with superuser(Path(os.environ["BCL_STATE_DIR"])) as db:
        rows = db.execute(
            "SELECT addressee_number FROM plain_j01 WHERE latest = '1' ORDER BY random() LIMIT %s",
            [count + 50],
        ).fetchall()
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    for place, (number,) in enumerate(rows):
        began = time.perf_counter()
        with tenancy.scope(TOWN):
            versions = store.find_person(TOWN, number, file_ids=["J01"])
            values = store.read_records(TOWN, [each.id for each in versions])
        ours = time.perf_counter() - began
        assert all(row["addressee_number"] == number for row in values.values())
        began = time.perf_counter()
        with transaction.atomic(), connection.cursor() as db:
            db.execute("SELECT * FROM plain_j01 WHERE addressee_number = %s", [number])
            found = db.fetchall()
        plain = time.perf_counter() - began
        assert len(found) == len(values)
        if place >= min(50, len(rows) // 2):  # the first ones warm caches up
            times["ours"].append(ours * 1000)
            times["plain"].append(plain * 1000)
    return {
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **{
            f"{name}_{label}_ms": sorted(values)[int(len(values) * share)]
            for name, values in times.items()
            for label, share in (("p50", 0.5), ("p99", 0.99))
        },
    }


# -- the peers -----------------------------------------------------------------------------------

# The columns our search keys and record key are made of (J01).
PEER_INDEXES = (
    "addressee_number, history_number, history_branch_number",
    "addressee_number",
    "household_number",
    "full_name",
    "full_name_kana",
    "born_on",
    "preferred_full_name",
)


def make_plain_table(db: Any, name: str = "plain_j01") -> None:
    """A text table with the columns of J01 and no index."""
    from bcl_contract.linkage.layouts import load_interface

    columns = ", ".join(f"{each} text" for each in load_interface().files["J01"].names)
    db.execute(f"DROP TABLE IF EXISTS {name}")
    db.execute(f"CREATE TABLE {name} ({columns})")


def copy_plain(db: Any, path: Path, name: str = "plain_j01") -> None:
    """The server's own COPY of a file into the plain table."""
    db.execute(f"COPY {name} FROM '{path}' (FORMAT csv, HEADER)")


def copy_plain_out(db: Any, path: Path, name: str = "plain_j01") -> float:
    """Seconds of the server's own COPY TO a file."""
    began = time.perf_counter()
    db.execute(f"COPY {name} TO '{path}' (FORMAT csv, HEADER)")
    return time.perf_counter() - began


def index_plain(db: Any, name: str = "plain_j01") -> None:
    """Build b-trees on the columns we search by."""
    for columns in PEER_INDEXES:
        db.execute(f"CREATE INDEX ON {name} ({columns})")


STEPS = {
    "prepare": prepare,
    "register": register,
    "destroy": destroy,
    "generate": generate,
    "load": load,
    "reconcile": reconcile,
    "lookup": lookup,
}


if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](sys.argv[2:])))
