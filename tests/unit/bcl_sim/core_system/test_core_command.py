"""`bcl core`: the commands, their words and exit codes (decision D26)."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bcl_cli.core import core


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(core, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("core") / "state"
    result = _run("generate", "--residents", 300, "--start", "2026-11-22", "--no-tax",
                  "--state", folder)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "300" in result.output
    return folder


def test_core__generate_advance_export_status__work_together(state: Path, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    full = _run("export", "--mode", "full", "--out", drop, "--state", state)
    day = _run("advance", "--days", 1, "--at-least-one-of-each", "--state", state)
    more = _run("export", "--mode", "differential", "--out", drop, "--state", state)
    shown = _run("status", "--state", state)
    assert [r.exit_code for r in (full, day, more, shown)] == [0, 0, 0, 0]
    assert "出生: 1 件" in day.output
    assert len([p for p in drop.iterdir() if (p / "READY").is_file()]) == 2
    assert "2026-11-23" in shown.output and "送っていない異動: 0 件" in shown.output


def test_core__state_exists__is_refused_with_its_code(state: Path) -> None:
    result = _run("generate", "--residents", 300, "--state", state)
    assert result.exit_code == 3
    assert "CORE_TOWN_EXISTS" in result.output


def test_core__no_town__is_refused_with_its_code(tmp_path: Path) -> None:
    result = _run("status", "--state", tmp_path / "nothing")
    assert result.exit_code == 3
    assert "CORE_TOWN_NOT_FOUND" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "--municipality", "999998", "--state", "unused"),
        ("generate", "--residents", "3", "--state", "unused"),
        ("export", "--mode", "half", "--out", "x", "--state", "unused"),
    ],
)
def test_core__wrong_usage__exits_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    found = tuple(str(tmp_path / "s") if a == "unused" else a for a in arguments)
    assert _run(*found).exit_code == 2


def test_core__urgent_and_full__is_wrong_usage(state: Path, tmp_path: Path) -> None:
    result = _run("export", "--mode", "full", "--lane", "urgent", "--out", tmp_path,
                  "--state", state)  # fmt: skip
    assert result.exit_code == 2 and "至急" in result.output


def test_core__break_list__names_every_defect(state: Path, tmp_path: Path) -> None:
    result = _run("export", "--mode", "full", "--out", tmp_path, "--break", "list",
                  "--state", state)  # fmt: skip
    assert result.exit_code == 0
    assert "two_heads" in result.output and "世帯主が二人" in result.output
    assert not list(tmp_path.iterdir())


def test_core__restore_and_compare__prove_a_recovery(state: Path, tmp_path: Path) -> None:
    assert (
        _run("export", "--mode", "full", "--out", tmp_path / "o", "--state", state).exit_code == 0
    )
    (folder,) = (tmp_path / "o").iterdir()
    assert _run("compare", "--with", folder, "--state", state).exit_code == 0
    new = tmp_path / "new"
    assert _run("restore", "--from", folder, "--state", new).exit_code == 0
    assert _run("compare", "--with", folder, "--state", new).exit_code == 0
    (folder / "999997_J05_F.csv").unlink()
    result = _run("compare", "--with", folder, "--state", state)
    assert result.exit_code == 3 and "CORE_RECOVERY_DIFFERENT" in result.output
    (folder / "999997_J04_F.csv").write_bytes(b"not a table")
    result = _run("compare", "--with", folder, "--state", state)
    assert result.exit_code == 3 and "CORE_RECOVERY_UNREADABLE" in result.output
    (tmp_path / "no.zip").write_bytes(b"PK no zip")
    result = _run("compare", "--with", tmp_path / "no.zip", "--state", state)
    assert result.exit_code == 3 and "CORE_RECOVERY_UNREADABLE" in result.output


def test_core__help__is_japanese() -> None:
    for command in (
        (),
        ("generate",),
        ("advance",),
        ("export",),
        ("restore",),
        ("compare",),
        ("status",),
    ):
        result = _run(*command, "--help")
        assert result.exit_code == 0 and "使い方" in result.output
