"""`bcl audit`: seal, verify, prove, export; and the stand-alone verifier over what they give."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from bcl.foundation import audit, audit_log, clock, tenancy
from bcl.foundation.audit_outside import HeadDirectory
from bcl.foundation.models import AuditEntry

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.requirement("R-171"),
]
CLERK = audit.Actor("staff", "clerk-01")


@pytest.fixture
def outside(tmp_path, monkeypatch) -> HeadDirectory:
    place = HeadDirectory(tmp_path / "heads")
    monkeypatch.setattr(audit_log, "outside_place", lambda: place)
    return place


def run(*arguments: str):
    from bcl_cli.main import bcl

    return CliRunner().invoke(bcl, ["audit", *arguments])


def write(town: str, count: int) -> list[int]:
    with tenancy.scope(town):
        return [
            audit.record(
                act="show_resident", by=CLERK, at=clock.now(), subject_key=b"000000000000001",
                detail={"number": number},
            )
            for number in range(count)
        ]


def alone(folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "audit_verifier.py", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )


def test_log__sealed_exported_and_proved__is_checked_without_bcl(
    town, outside, tmp_path, superuser_connection
):
    audit.record_agency(act="register_delivery_center", by=audit.SYSTEM, at=clock.now())
    for count in (3, 5, 2):
        rows = write(town, count)
        done = run("seal")
        assert done.exit_code == 0 and "通し番号を付けました" in done.output
    done = run("verify")
    assert done.exit_code == 0, done.output
    assert f"団体 {town}　記録 11 件" in done.output and "機構　記録 1 件" in done.output

    export = tmp_path / "log.jsonl"
    done = run("export", "--municipality", town, "--out", str(export))
    assert done.exit_code == 0, done.output
    assert "000000000000001" not in export.read_text(encoding="utf-8")
    done = alone(tmp_path, "log.jsonl", "--heads", str(outside.folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "外部の先頭値 3 個とすべて合いました" in done.stdout

    done = run("prove", str(rows[0]), "--municipality", town, "--out", str(tmp_path / "p.json"))
    assert done.exit_code == 0, done.output
    done = alone(tmp_path, "--proof", "p.json", "--heads", str(outside.folder))
    assert done.returncode == 0 and "通し番号 9" in done.stdout
    proof = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    proof["row"]["actor_id"] = "somebody"
    (tmp_path / "p.json").write_text(json.dumps(proof), encoding="utf-8")
    assert alone(tmp_path, "--proof", "p.json", "--heads", str(outside.folder)).returncode == 3

    superuser_connection.execute("SET session_replication_role = replica")
    superuser_connection.execute("DELETE FROM foundation_auditentry WHERE id = %s", [rows[1]])
    done = run("verify", "--municipality", town, "--heads", str(outside.folder))
    assert done.exit_code == 3
    assert f"［記録 {rows[1]}　通し番号 10］ 削除" in done.output
    assert "AUDIT_LOG_BROKEN" in done.output
    assert run("export", "--municipality", town, "--out", str(export)).exit_code == 0
    done = alone(tmp_path, "log.jsonl", "--heads", str(outside.folder))
    assert done.returncode == 3 and f"記録 {rows[1]}" in done.stdout


def test_commands__used_wrongly__say_so(town, outside, tmp_path):
    assert run("verify", "--municipality", "999971").exit_code == 2
    done = run("prove", "99999", "--municipality", town, "--out", str(tmp_path / "p.json"))
    assert done.exit_code == 3 and "AUDIT_ROW_NOT_SEALED" in done.output
    assert not (tmp_path / "p.json").exists()


def test_heads__that_can_not_be_put_outside__are_an_alarm(town, outside, monkeypatch):
    def full(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(HeadDirectory, "add", full)
    done = run("seal")
    assert done.exit_code == 3 and "AUDIT_LOG_NOT_SEALED" in done.output
    monkeypatch.undo()
    write(town, 1)
    assert audit_log.seal_all(place=outside) == 1
    with tenancy.scope(town):
        assert AuditEntry.objects.count() == 2
    assert [head["content"]["number"] for head in outside.read(town)] == [1, 2]


def test_worker__seals_by_itself_every_minute(town, outside):
    from bcl.foundation import jobs

    known = jobs._tasks["foundation.seal_all_audit_logs"]
    assert known.cron == "* * * * *" and known.prompt
    write(town, 2)
    known.function()
    assert outside.last(town)["content"]["tree_size"] == 3
