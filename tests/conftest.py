"""Database fixtures: one embedded cluster per test session, tests connect as `bcl_app`.

    @pytest.mark.django_db            # or the `db` fixture; `town` brings it along
    def test_x(town):                 # "999997" with its keys
        with tenancy.scope(town): ...

A test runs in a transaction that is rolled back. Scopes may follow one another in it; a
`snapshot=True` scope then is READ COMMITTED (the outer transaction is the test's). Tests that need
commits, threads or other processes use `@pytest.mark.django_db(transaction=True)`; afterwards all
tables are emptied by the superuser. `town` etc. work in both.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

_PREFIX = "bcl-tests-"


def _remove_leftovers() -> None:
    """Stop and remove clusters of test runs that were killed: their process is gone."""
    for folder in Path("/tmp").glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            from bcl.foundation.postgres import EmbeddedCluster

            EmbeddedCluster(folder / "postgres").destroy()
            shutil.rmtree(folder, ignore_errors=True)


_remove_leftovers()
# Before anything reads the settings: tests never touch a world of this machine.
_STATE = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir="/tmp"))
_STATE.chmod(0o711)
os.environ |= {
    "BCL_ENVIRONMENT": "test",
    "BCL_WORLD": "test",
    "BCL_STATE_DIR": str(_STATE),
    "BCL_SHARED_BUFFERS_MB": "128",
    "BCL_MAX_WAL_SIZE_MB": "1024",
    "BCL_MINIMUM_FREE_MB": "64",
}
for _name in ("OWNER", "APP", "AGENCY"):
    os.environ.pop(f"BCL_DATABASE_URL_{_name}", None)

TOWN, OTHER_TOWN, THIRD_TOWN = "999997", "999989", "999971"


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_STATE, ignore_errors=True)


@pytest.fixture(scope="session")
def state_dir() -> Path:
    """State directory of this test session (keys, database, receive area)."""
    return _STATE


@pytest.fixture(scope="session")
def cluster(state_dir: Path) -> Iterator:
    """The session's running cluster, migrated by `bcl_owner`."""
    from bcl.config import env
    from bcl.foundation import migrate
    from bcl.foundation.postgres import EmbeddedCluster, Tuning

    sizes = env.read().cluster
    running = EmbeddedCluster(
        state_dir / "postgres",
        tuning=Tuning(
            sizes.shared_buffers_mb,
            sizes.max_wal_size_mb,
            sizes.maintenance_work_mem_mb,
            sizes.max_connections,
        ),
    )
    running.ensure_running()
    migrate.run()
    yield running
    running.destroy()


@pytest.fixture(scope="session")
def cluster_info(cluster):
    """Connection data of the session's cluster: `.url(role)`."""
    return cluster.connection_info()


@pytest.fixture(scope="session")
def django_db_setup(cluster, django_db_blocker) -> Iterator[None]:
    """Point Django (loaded before the cluster existed) at the session's cluster, as bcl_app."""
    from django.conf import settings
    from django.db import connections

    from bcl.config import database, env

    fresh = env.read()
    settings.BCL = fresh
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = fresh.wire.max_body_bytes
    place = database.database_settings(fresh)
    settings.DATABASES["default"] |= place
    connections["default"].settings_dict |= place
    yield
    with django_db_blocker.unblock():
        connections.close_all()


@pytest.fixture(autouse=True)
def _fresh_process_state() -> Iterator[None]:
    """No key of an earlier (rolled back) test stays in memory."""
    yield
    import sys

    if "bcl.foundation.keys" in sys.modules:
        sys.modules["bcl.foundation.keys"].forget_cached_keys()


@pytest.fixture(scope="session", autouse=True)
def _empty_tables_as_superuser() -> Iterator[None]:
    """Transactional tests commit; their tables are emptied past the append-only triggers."""
    from django.test import TransactionTestCase

    original = TransactionTestCase._fixture_teardown
    TransactionTestCase._fixture_teardown = lambda self: _truncate_all()  # type: ignore[method-assign]
    yield
    TransactionTestCase._fixture_teardown = original  # type: ignore[method-assign]


def _truncate_all() -> None:
    from bcl.foundation.postgres import EmbeddedCluster
    from bcl.foundation.roles import SUPERUSER

    info = EmbeddedCluster(_STATE / "postgres").connection_info()
    with psycopg.connect(info.url(SUPERUSER), autocommit=True) as connection:
        tables = connection.execute(
            "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables "
            "WHERE schemaname = 'public' "
            "AND tablename NOT IN ('django_migrations', 'foundation_clusterinfo')"
        ).fetchone()[0]
        # replica: the append-only triggers stand still for this one session.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET lock_timeout = '20s'")
        connection.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")


def _connect(info, role: str) -> psycopg.Connection:
    # A test that waits for its own other connection must fail, not hang.
    limits = "-c lock_timeout=10s -c statement_timeout=60s"
    return psycopg.connect(info.url(role), autocommit=True, options=limits)


@pytest.fixture
def owner_connection(cluster_info) -> Iterator[psycopg.Connection]:
    """A psycopg connection of its own as bcl_owner (autocommit)."""
    with _connect(cluster_info, "bcl_owner") as connection:
        yield connection


@pytest.fixture
def superuser_connection(cluster_info) -> Iterator[psycopg.Connection]:
    """A psycopg connection of its own as the superuser (autocommit)."""
    with _connect(cluster_info, "bcl_superuser") as connection:
        yield connection


@pytest.fixture
def app_connection(cluster_info) -> Iterator[psycopg.Connection]:
    """A psycopg connection of its own as bcl_app (autocommit), beside Django's."""
    with _connect(cluster_info, "bcl_app") as connection:
        yield connection


def _register(code: str, name_ja: str) -> str:
    from bcl.foundation import audit, clock
    from bcl.municipalities import api as municipalities

    municipalities.register_municipality(
        municipality_code=code,
        name_ja=name_ja,
        head_title_ja="市長",
        mayor_name_ja=f"{name_ja[:-1]} 太郎",
    )
    municipalities.enable_profile(
        code, municipalities.Profile.CERTIFICATES, by=audit.SYSTEM, at=clock.now()
    )
    return code


@pytest.fixture
def town(_database_access: None) -> str:
    """The default invented municipality, registered with its keys: "999997"."""
    return _register(TOWN, "見本市")


@pytest.fixture
def other_town(_database_access: None) -> str:
    """A second invented municipality: "999989"."""
    return _register(OTHER_TOWN, "隣町市")


@pytest.fixture
def third_town(_database_access: None) -> str:
    """A third invented municipality: "999971"."""
    return _register(THIRD_TOWN, "彼方市")


@pytest.fixture
def _database_access(request: pytest.FixtureRequest) -> None:
    # `transactional_db` if the test's marker asks for it, else the plain rolled back `db`.
    marker = request.node.get_closest_marker("django_db")
    transactional = bool(marker and marker.kwargs.get("transaction"))
    request.getfixturevalue("transactional_db" if transactional else "db")


@pytest.fixture(scope="session")
def draft_version():
    """The module that derives a draft of the next interface version from the shipped one."""
    import importlib.util

    place = Path(__file__).parent / "contract" / "linkage" / "draft_version.py"
    spec = importlib.util.spec_from_file_location("interface_draft_version", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
