"""Wrong uses of the command line: exit code 2 and a Japanese sentence, never a traceback (D26)."""

from __future__ import annotations

import os
import re

import pytest

from bcl_cli.main import bcl
from bcl_cli.world import commands
from bcl_gateway.japanese_help import run_command_line
from bcl_gateway.main import gateway


@pytest.mark.requirement("R-266")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "nonsense というコマンドはありません"),
        (["wrold"], "近いもの: world"),
        (["linkage", "statsu"], "近いもの: status"),
        (["linkage", "status", "--jsom"], "近いもの: --json"),
        (["interface", "--data", "docs", "list"], "版の案を読めません: docs/versions.csv"),
        (["core", "generate", "--foo"], "--foo という指定はありません"),
        (["core", "generate"], "--state を指定してください"),
        (["core", "generate", "--state", "x", "--residents", "many"], "--residents の値"),
        (["kiosk", "issue", "--card", "/nowhere"], "--card の値"),
    ],
)
def test_bcl__wrong_use__says_so_in_japanese(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr("sys.argv", ["bcl", *arguments])
    assert run_command_line(bcl, prog_name="bcl") == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert not re.search(r"Error|Usage|Invalid|Try", shown)


def test_gateway__wrong_use__says_so_in_japanese(
    capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr("sys.argv", ["bcl-gateway", "nonsense"])
    assert run_command_line(gateway, prog_name="bcl-gateway") == 2
    assert "説明は" in capsys.readouterr().err


def test_help__every_command__is_japanese(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    import click

    for name in bcl.list_commands(click.Context(bcl)):
        monkeypatch.setattr("sys.argv", ["bcl", name, "--help"])
        assert run_command_line(bcl, prog_name="bcl") == 0
        shown = capsys.readouterr().out
        assert "使い方" in shown
        assert not re.search(r"Usage|Options:|Commands:|Show this message", shown)


def test_help__of_settings__names_values_and_defaults_in_japanese(
    capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr("sys.argv", ["bcl", "core", "generate", "--help"])
    assert run_command_line(bcl, prog_name="bcl") == 0
    shown = capsys.readouterr().out
    assert "省略時: " in shown and "必須]" in shown
    assert not re.search(r"\b(TEXT|INTEGER|RANGE|PATH)\b|default|required", shown)


@pytest.mark.parametrize("command", ["demo", "up"])
def test_world__already_running__is_left_alone(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr(commands, "written_down", lambda state: {"wire": os.getpid()})
    monkeypatch.setattr("sys.argv", ["bcl", "world", command])
    with pytest.raises(SystemExit) as ended:
        run_command_line(bcl, prog_name="bcl")
    assert ended.value.code == 3
    assert "すでに動いています" in capsys.readouterr().err
