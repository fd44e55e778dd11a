"""`bcl recovery` and `bcl linkage` as an operator types them."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from bcl_cli.linkage import linkage as linkage_commands
from bcl_cli.recovery import recovery as recovery_commands

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_role(monkeypatch) -> None:
    monkeypatch.setenv("BCL_ROLE", os.environ.get("BCL_ROLE", "command"))


def key_file(folder, staff) -> str:
    path = folder / f"{staff.staff_id}.key"
    path.write_bytes(staff.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(path)


def call(command, *words: str):
    return CliRunner().invoke(command, [str(word) for word in words])


@pytest.mark.requirement("R-031")
@pytest.mark.requirement("R-033")
def test_recovery__from_request_to_reading__with_two_persons(
    town, landed, first, second, receiver_key, run_jobs, tmp_path
) -> None:
    keys = {staff.staff_id: key_file(tmp_path, staff) for staff in (first, second)}

    def acting(staff_id: str) -> list[str]:
        return ["--municipality", town, "--as", staff_id, "--key", keys[staff_id]]

    asked = call(
        recovery_commands,
        "request",
        *acting("staff-a"),
        "--sequence",
        "2",
        "--reason",
        "庁舎の浸水",
        "--incident",
        "2026-0001",
        "--receiver",
        "receiver-1",
    )
    assert asked.exit_code == 0, asked.output
    number = asked.output.split("申請番号 ")[1].split()[0]

    alone = call(recovery_commands, "approve", *acting("staff-a"), "--export", number, "--yes")
    assert alone.exit_code == 3 and "RECOVERY_SAME_PERSON" in alone.output
    approved = call(recovery_commands, "approve", *acting("staff-b"), "--export", number, "--yes")
    assert approved.exit_code == 0, approved.output
    assert "庁舎の浸水" in approved.output
    run_jobs()
    out = tmp_path / "out"
    taken = call(recovery_commands, "export", *acting("staff-b"), "--export", number, "--out", out)
    assert taken.exit_code == 0, taken.output
    package = next(out.glob("*.zip.age"))
    key = tmp_path / "receiver.key"
    key.write_text(f"{receiver_key}\n", encoding="utf-8")
    read = call(recovery_commands, "read", package, "--key", key, "--check", "--list", "1")
    assert read.exit_code == 0
    listed = call(recovery_commands, "status", "--municipality", town)
    assert "受渡し済み" in listed.output


def test_recovery__with_a_key_that_is_none__is_wrong_usage(town, first, tmp_path) -> None:
    bad = tmp_path / "bad.key"
    bad.write_text("not a key", encoding="utf-8")
    answer = call(
        recovery_commands,
        "request",
        "--municipality",
        town,
        "--as",
        "staff-a",
        "--key",
        bad,
        "--sequence",
        "1",
        "--reason",
        "理由",
        "--incident",
        "1",
        "--receiver",
        "receiver-1",
    )
    assert answer.exit_code == 2
    both = call(
        recovery_commands,
        "request",
        "--municipality",
        town,
        "--as",
        "staff-a",
        "--key",
        key_file(tmp_path, first),
        "--sequence",
        "1",
        "--at",
        "2026-11-22T10:00",
        "--reason",
        "理由",
        "--incident",
        "1",
        "--receiver",
        "receiver-1",
    )
    assert both.exit_code == 2


def test_recovery_export__nobody_asked_for__is_refused_with_its_code(
    town, second, tmp_path
) -> None:
    answer = call(
        recovery_commands,
        "export",
        "--municipality",
        town,
        "--as",
        "staff-b",
        "--key",
        key_file(tmp_path, second),
        "--export",
        "999999",
        "--out",
        tmp_path / "out",
    )
    assert answer.exit_code == 3
    assert "RECOVERY_EXPORT_NOT_FOUND" in answer.output


@pytest.mark.requirement("R-266")
def test_linkage_status__counts_what_is_there(town, other_town) -> None:
    answer = call(linkage_commands, "status", "--json")
    assert answer.exit_code == 0, answer.output
    rows = {row["municipality_code"]: row for row in json.loads(answer.output.splitlines()[-1])}
    assert set(rows) == {town, other_town}
    assert rows[town]["backlog"] == 0 and rows[town]["recent"] == []
    shown = call(linkage_commands, "status", "--municipality", town)
    assert "滞留 0件" in shown.output


def test_linkage_release__of_what_is_not_held__is_refused(town, first, tmp_path) -> None:
    answer = call(
        linkage_commands,
        "release",
        "--municipality",
        town,
        "--as",
        "staff-a",
        "--key",
        key_file(tmp_path, first),
        "0f0e0d0c-0000-4000-8000-000000000000",
    )
    assert answer.exit_code == 3
    assert "TRANSMISSION_NOT_FOUND" in answer.output
    stranger = call(
        linkage_commands,
        "release",
        "--municipality",
        town,
        "--as",
        "staff-z",
        "--key",
        key_file(tmp_path, first),
        "0f0e0d0c-0000-4000-8000-000000000000",
    )
    assert stranger.exit_code == 3 and "STAFF_UNKNOWN" in stranger.output
