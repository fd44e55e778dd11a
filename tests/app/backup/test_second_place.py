"""The second place through the real command, and against those who would rather have it gone."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from bcl.backup.take import server_time
from bcl.foundation import postgres_binaries
from bcl.foundation.roles import APP, OWNER, SUPERUSER

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.requirement("R-042")]


@pytest.fixture
def taken(set_up, sender, residents):
    assert sender.send({"J01": residents(5, "寅")}).landed
    return set_up.take()


def status(second, **settings: str) -> tuple[int, list[str], str]:
    """`bcl backup status` of the running database: exit code, codes of its alarms, its words."""
    from django.conf import settings as django_settings

    environment = os.environ | {
        "BCL_BACKUP_DIR": str(second.place.root),
        "BCL_STATE_DIR": str(django_settings.BCL.state_dir),
        **settings,
    }
    command = [sys.executable, "-m", "bcl_cli.main", "backup", "status"]
    shown, told = (
        subprocess.run(
            [*command, *words],
            env=environment, capture_output=True, text=True, check=False, timeout=60,
        )
        for words in ((), ("--json",))
    )  # fmt: skip
    codes = [alarm["code"] for alarm in json.loads(told.stdout)["alarms"]]
    assert shown.returncode == told.returncode
    return told.returncode, codes, shown.stdout


def write_record(second, base) -> None:
    path = second.place.base_dir / f"{base.backup_id}.json"
    path.write_text(json.dumps(base.as_json()), encoding="utf-8")


def test_status_command__old_backup_or_both_copies_in_one_zone__alarms_by_code(
    set_up, taken
) -> None:
    apart = {"BCL_DATABASE_SITE": "tokyo", "BCL_BACKUP_SITE": "osaka"}
    code, alarms, words = status(set_up, **apart)
    assert "BACKUP_TOO_OLD" not in alarms and "BACKUP_SAME_SITE" not in alarms
    assert "受信中" in words and "BACKUP_SAME_DEVICE" in alarms and code == 3  # one disk: this box

    code, alarms, words = status(set_up, BCL_DATABASE_SITE="tokyo", BCL_BACKUP_SITE="tokyo")
    assert code == 3 and "BACKUP_SAME_SITE" in alarms
    assert "データベースとバックアップが同じ場所（サイト）にあります。" in words

    bases = set_up.place.bases()
    for base in bases:
        at = server_time(set_up.source) - timedelta(hours=27)
        write_record(set_up, dataclasses.replace(base, finished_at=at))
    code, alarms, words = status(set_up, **apart)
    assert code == 3 and "BACKUP_TOO_OLD" in alarms and "bcl backup run" in words
    for base in bases:
        write_record(set_up, base)

    set_up.receiver.stop()
    try:
        _, alarms, _ = status(set_up, **apart)
        assert "BACKUP_WAL_STOPPED" in alarms
    finally:
        set_up.receiver.ensure_running()


@pytest.mark.skipif(os.geteuid() != 0, reason="users of their own need root")
def test_copies__application_and_database_administrator__can_neither_delete_nor_change(
    set_up, taken, cluster_info
) -> None:
    manifest = set_up.place.path_of(taken) / "backup_manifest"
    segment = set_up.place.segments()[0]
    before = manifest.read_bytes()
    with psycopg.connect(cluster_info.url(SUPERUSER), autocommit=True) as db:
        for path in (manifest, segment):
            for words in (f"rm -f {path}", f"rm -rf {set_up.place.root}", f"echo x > {path}",
                          f"mv {set_up.place.base_dir} /tmp/gone"):  # fmt: skip
                # The database's superuser is the most that a taken-over application can become.
                with pytest.raises(psycopg.errors.ExternalRoutineException):
                    db.execute(f"COPY (SELECT 1) TO PROGRAM '{words}'")
    for role in (APP, OWNER):
        with psycopg.connect(cluster_info.url(role), autocommit=True) as db, pytest.raises(
            psycopg.errors.InsufficientPrivilege
        ):
            db.execute("COPY (SELECT 1) TO PROGRAM 'true'")
    application = postgres_binaries.database_os_user()
    for path in (manifest, segment, set_up.place.base_dir):
        done = subprocess.run(
            ["rm", "-rf", str(path)], capture_output=True, check=False, cwd="/",
            **application.run_arguments(),
        )  # fmt: skip
        assert done.returncode != 0 and Path(path).exists()
    assert manifest.read_bytes() == before
