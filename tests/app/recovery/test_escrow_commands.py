"""A town's key is lost with its keeper: custodians bring it back, and the package opens (D6)."""

from __future__ import annotations

import os
from dataclasses import replace

import pyrage
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from bcl.foundation import keys
from bcl_cli.keys import keys as key_commands
from bcl_cli.main import ENDS_WITH_A_REFUSAL
from bcl_cli.recovery import recovery as recovery_commands

pytestmark = [pytest.mark.requirement("R-033"), pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _own_role(monkeypatch) -> None:
    monkeypatch.setenv("BCL_ROLE", os.environ.get("BCL_ROLE", "command"))


def call(command, *words: object):
    return CliRunner().invoke(command, [str(word) for word in words])


@pytest.fixture
def acting(town, first, second, tmp_path):
    """The words that say who acts, with the key file."""

    def words(staff_id: str) -> list[str]:
        return ["--municipality", town, "--as", staff_id, "--key", str(paths[staff_id])]

    paths = {}
    for staff in (first, second):
        paths[staff.staff_id] = tmp_path / f"{staff.staff_id}.key"
        paths[staff.staff_id].write_bytes(
            staff.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
    return words


@pytest.fixture
def custodians(tmp_path):
    """Three custodians' key files as age-keygen writes them, and their public keys."""
    found = []
    for name in "abc":
        identity = pyrage.x25519.Identity.generate()
        path = tmp_path / f"custodian-{name}.key"
        path.write_text(f"# public key: {identity.to_public()}\n{identity}\n")
        found.append((path, str(identity.to_public())))
    return found


def test_lost_key__two_of_three_custodians__bring_back_an_opened_package_and_one_does_not(
    town, landed, acting, custodians, receiver_key, run_jobs, settings, tmp_path
) -> None:
    escrow = tmp_path / "escrow.json"
    public = [word for _, key in custodians for word in ("--custodian", key)]
    made = call(
        key_commands, "escrow", "create", *public, "--threshold", 2, "--out", escrow,
        *acting("staff-a"),
    )  # fmt: skip
    assert made.exit_code == 0 and "3人のうち2人で開けられます" in made.output, made.output

    # The key file burns; an empty installation's new one stands in its place.
    settings.BCL = replace(settings.BCL, key_file=tmp_path / "new" / "provider.key")
    keys.provider()
    keys.forget_cached_keys()
    lost = call(key_commands, "status", "--municipality", town)
    assert lost.exit_code == 3 and "開けません" in lost.output
    wish = ["--sequence", 2, "--reason", "庁舎の焼失", "--incident", "2026-0002",
            "--receiver", "receiver-1"]  # fmt: skip
    shut = call(recovery_commands, "request", *wish, *acting("staff-a"))
    assert ENDS_WITH_A_REFUSAL[type(shut.exception).__name__] == "KEY_LOST"

    def restore(*chosen: int):
        identities = [word for each in chosen for word in ("--identity", custodians[each][0])]
        return call(
            key_commands, "escrow", "restore", "--package", escrow, *identities,
            *acting("staff-a"),
        )  # fmt: skip

    alone = restore(1)
    assert alone.exit_code == 3 and "KEY_ESCROW_TOO_FEW" in alone.output
    shut = call(recovery_commands, "request", *wish, *acting("staff-a"))
    assert ENDS_WITH_A_REFUSAL[type(shut.exception).__name__] == "KEY_LOST"
    together = restore(0, 2)
    assert together.exit_code == 0 and "第2版として戻しました" in together.output, together.output
    again = restore(0, 1)
    assert again.exit_code == 3 and "KEY_ESCROW_UNKNOWN" in again.output
    assert "団体のデータを開けます" in call(key_commands, "status").output

    asked = call(recovery_commands, "request", *wish, *acting("staff-a"))
    assert asked.exit_code == 0, asked.output
    number = asked.output.split("申請番号 ")[1].split()[0]
    approved = call(recovery_commands, "approve", *acting("staff-b"), "--export", number, "--yes")
    assert approved.exit_code == 0, approved.output
    run_jobs()
    out = tmp_path / "out"
    taken = call(recovery_commands, "export", *acting("staff-b"), "--export", number, "--out", out)
    assert taken.exit_code == 0, taken.output
    key = tmp_path / "receiver.key"
    key.write_text(f"{receiver_key}\n")
    package = next(out.glob("*.zip.age"))
    read = call(recovery_commands, "read", package, "--key", key, "--check", "--list", "3")
    assert read.exit_code == 0 and "すべて一致しました" in read.output, read.output
    assert f"住民 {landed.core.counts()['住民']}人" in read.output
