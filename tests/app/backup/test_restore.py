"""A restore for good: a new database from the second place, fenced until somebody lets it in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bcl.backup import drill
from bcl.foundation import jobs
from bcl.foundation.postgres import EmbeddedCluster
from bcl.foundation.roles import SUPERUSER

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def state(cluster_info) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bcl-restored-", dir="/tmp"))
    folder.chmod(0o711)  # pytest-like private folders are not for the database user
    yield folder / "state"
    EmbeddedCluster(folder / "state" / "postgres").destroy()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def command(state, second, cluster_info, state_dir):
    """Runs `bcl …` in the restored installation; gives what it printed and its exit code."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "BCL_STATE_DIR": str(state),
            "BCL_KEY_FILE": str(state_dir / "keys" / "provider.key"),
            "BCL_BACKUP_DIR": str(second.place.root),
            "BCL_POSTGRES_BIN_DIR": str(cluster_info.bin_dir),
            "BCL_SHARED_BUFFERS_MB": "32",
        }
        return subprocess.run(
            [sys.executable, "-m", "bcl_cli.main", *words],
            env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    return run


@pytest.mark.requirement("R-034")
@pytest.mark.requirement("R-042")
def test_restore__newest_backup_broken_and_log_torn__takes_the_one_before_and_says_both(
    set_up, sender, residents, state, command, superuser_connection
) -> None:
    older = set_up.take()
    assert sender.send({"J01": residents(7, "午")}).landed
    for _ in range(2):  # the log must go over several segments
        superuser_connection.execute("SELECT pg_switch_wal()")
        drill._mark()
    time.sleep(1.0)  # backups are named by the second
    newer = set_up.take()
    set_up.wait_for_log()
    path = set_up.place.path_of(newer) / "base"
    victim = max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = victim.read_bytes()
    victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    done = command("backup", "restore", "--to", str(state))
    assert done.returncode == 0, done.stderr
    assert f"{newer.backup_id} は壊れていた" in done.stderr and "警報" not in done.stderr
    assert older.backup_id in done.stdout
    info = EmbeddedCluster(state / "postgres", bin_dir=set_up.tools.bin_dir).ensure_running()
    with psycopg.connect(info.url(SUPERUSER)) as db:
        query = "SELECT sum(live_rows) FROM resident_store_page"
        assert db.execute(query).fetchone() == (7,)

    # Somebody moves the folder away under the running server and restores in its place.
    moved = state / "moved-away"
    (state / "postgres").rename(moved)
    refused = command("backup", "restore", "--to", str(state))
    assert refused.returncode == 3 and "BACKUP_TARGET_SERVED" in refused.stderr
    moved.rename(state / "postgres")
    EmbeddedCluster(state / "postgres").destroy()

    gone = set_up.place.segments(since=older.start_segment)[1]
    kept = gone.read_bytes()
    gone.unlink()
    try:
        done = command("backup", "restore", "--to", str(state))
        assert done.returncode == 0 and "BACKUP_WAL_GAP" in done.stderr, done.stderr
        assert "最後の記録より後のデータは、この中にありません" in done.stderr
    finally:
        gone.write_bytes(kept)
        shutil.rmtree(set_up.place.path_of(newer))
        (set_up.place.base_dir / f"{newer.backup_id}.json").unlink()


def waiting(state: Path) -> list[str]:
    info = EmbeddedCluster(state / "postgres").connection_info()
    with psycopg.connect(info.url(SUPERUSER)) as db:
        rows = db.execute("SELECT status::text FROM procrastinate_jobs ORDER BY id").fetchall()
    return [status for (status,) in rows]


@pytest.mark.requirement("R-034")
@pytest.mark.requirement("R-042")
def test_restore__old_queue__stays_still_until_it_is_let_in(
    set_up, sender, residents, state, command
) -> None:
    assert sender.send({"J01": residents(7, "丑")}).landed
    jobs.defer("linkage.tidy_all_intakes", municipality_code=None)
    jobs.defer("linkage.watch_silence", municipality_code=None)
    set_up.take()
    set_up.wait_for_log()

    done = command("backup", "restore", "--to", str(state))
    assert done.returncode == 0, done.stdout + done.stderr
    again = command("backup", "restore", "--to", str(state))
    assert again.returncode == 3 and "BACKUP_TARGET_EXISTS" in again.stderr

    info = EmbeddedCluster(state / "postgres", bin_dir=set_up.tools.bin_dir).ensure_running()
    before = waiting(state)
    assert before.count("todo") >= 2
    refused = command("serve", "worker")
    assert refused.returncode == 3 and "DATABASE_FENCED" in refused.stderr, refused.stderr
    assert waiting(state) == before
    asked = command("backup", "promote", "--yes")
    assert asked.returncode == 2 and "--old-jobs" in asked.stderr  # nobody decides by accident
    accepted = command("backup", "promote", "--old-jobs", "discard", "--yes")
    assert accepted.returncode == 0, accepted.stderr
    assert "todo" not in waiting(state) and "cancelled" in waiting(state)
    with psycopg.connect(info.url(SUPERUSER)) as db:
        epoch, acts = db.execute(
            "SELECT fencing_epoch, (SELECT count(*) FROM foundation_agencyauditentry"
            " WHERE act = 'accept_restored_database') FROM foundation_clusterinfo"
        ).fetchone()
    assert (epoch, acts) == (2, 1)
    assert command("backup", "promote", "--yes").returncode == 3  # it is in already
