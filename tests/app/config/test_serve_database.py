"""`bcl serve database`: our own PostgreSQL for an installation that is not the demo's world."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcl.foundation.postgres import EmbeddedCluster


@pytest.fixture
def state(state_dir: Path, cluster) -> Iterator[Path]:
    # Reachable for the database's own user, which pytest's private folders are not.
    folder = Path(tempfile.mkdtemp(prefix="bcl-serve-", dir="/tmp"))
    folder.chmod(0o711)
    (folder / "postgres").mkdir(mode=0o711)
    (folder / "postgres" / "binaries").symlink_to(state_dir / "postgres" / "binaries")
    yield folder
    EmbeddedCluster(folder / "postgres").destroy()
    shutil.rmtree(folder, ignore_errors=True)


def _wait_for(holds, seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, "it did not come about in time"
        time.sleep(0.1)


@pytest.mark.requirement("R-025")
def test_serve_database__killed_server__runs_again_until_told_to_stop(
    state: Path, tmp_path: Path
) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("BCL_")}
    environment |= {
        "BCL_STATE_DIR": str(state),
        "BCL_ENVIRONMENT": "test",
        "BCL_SHARED_BUFFERS_MB": "32",
    }
    said = tmp_path / "said"
    with said.open("wb") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "bcl_cli.main", "serve", "database"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    cluster = EmbeddedCluster(state / "postgres")
    try:
        _wait_for(lambda: "表を最新にしました" in said.read_text(encoding="utf-8"))
        assert "shared_buffers = 32MB" in (state / "postgres/data/bcl.conf").read_text()
        cluster.kill()
        _wait_for(lambda: "起動し直しました" in said.read_text(encoding="utf-8"))
        assert cluster.status() == "running"
    finally:
        keeper.send_signal(signal.SIGTERM)
        assert keeper.wait(60) == 0
    assert cluster.status() == "stopped"


@pytest.mark.parametrize("program", ["database", "migrate"])
def test_serve__external_or_stopped_cluster__is_said_in_one_sentence(
    program: str, tmp_path: Path
) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("BCL_")}
    environment |= {"BCL_STATE_DIR": str(tmp_path), "BCL_ENVIRONMENT": "test"}
    if program == "database":
        environment["BCL_DATABASE_URL_APP"] = "postgresql://bcl_app@db.example/bcl"
    done = subprocess.run(
        [sys.executable, "-m", "bcl_cli.main", "serve", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (2 if program == "database" else 3)
    assert "Traceback" not in done.stderr
    assert "データベース" in done.stderr
