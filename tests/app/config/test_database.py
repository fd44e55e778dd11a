"""The database entry for Django: our own cluster, an external one, or none yet."""

from __future__ import annotations

import socket
import urllib.request

import psycopg
import pytest

from bcl.config import env
from bcl.config.database import database_settings
from bcl.foundation import metrics


def _connect(entry: dict) -> psycopg.Connection:
    return psycopg.connect(
        host=entry["HOST"],
        port=entry["PORT"],
        dbname=entry["NAME"],
        user=entry["USER"],
        password=entry["PASSWORD"],
        **entry["OPTIONS"],
    )


@pytest.mark.parametrize(("role", "user"), [("app", "bcl_app"), ("owner", "bcl_owner")])
def test_entry__for_our_cluster__connects_as_the_processs_role(cluster_info, state_dir, role, user):
    settings = env.read({"BCL_STATE_DIR": str(state_dir), "BCL_DATABASE_ROLE": role})
    with _connect(database_settings(settings)) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (user,)
        limit = connection.execute("SHOW lock_timeout").fetchone()[0]
        assert limit == ("4s" if role == "owner" else "0")


def test_entry__for_an_external_cluster__keeps_its_options(cluster_info):
    url = cluster_info.url("bcl_app", tcp=True) + "?sslmode=disable&connect_timeout=7"
    settings = env.read({"BCL_DATABASE_URL_APP": url})
    entry = database_settings(settings)
    assert entry["OPTIONS"]["connect_timeout"] == "7"
    with _connect(entry) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("bcl_app",)


def test_entry__before_the_cluster_exists__fails_only_when_used(tmp_path):
    entry = database_settings(env.read({"BCL_STATE_DIR": str(tmp_path)}))
    assert entry["HOST"].startswith("/nonexistent")


def test_probe_port__when_set__answers_health_and_numbers(db, settings):
    from dataclasses import replace

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings.BCL = replace(settings.BCL, health=env.HealthServer(port=port))
    server = metrics.serve_if_configured()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert answer.status == 200 and b'"database": "ok"' in answer.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert b"bcl_jobs_total" in answer.read()
    finally:
        server.shutdown()
        server.server_close()
