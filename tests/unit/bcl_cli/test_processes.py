"""Starting, watching and stopping programs."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from bcl_cli.world.places import Places, free_ports
from bcl_cli.world.processes import (
    Program,
    ProgramFault,
    Supervisor,
    is_alive,
    stop_written_down,
    written_down,
)
from bcl_cli.world.walk import Walk, display_columns

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True);"
    "time.sleep(60)",
]


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    return Supervisor(tmp_path, tmp_path)


def test_supervisor__starts_and_stops__and_writes_down_what_runs(supervisor: Supervisor) -> None:
    supervisor.start(Program("sleeper", SLEEPER, {}, lambda: True))
    pid = written_down(supervisor.state)["sleeper"]
    assert is_alive(pid)
    supervisor.stop_all()
    assert not is_alive(pid)
    assert written_down(supervisor.state) == {}


def test_supervisor__program_that_ends_at_once__is_named_with_its_log(
    supervisor: Supervisor,
) -> None:
    with pytest.raises(ProgramFault, match="broken"):
        supervisor.start(Program("broken", [sys.executable, "-c", "raise SystemExit(1)"], {}, bool))


def test_supervisor__killed_program__is_started_again(supervisor: Supervisor) -> None:
    supervisor.start(Program("sleeper", SLEEPER, {}, lambda: True))
    first = written_down(supervisor.state)["sleeper"]
    os.kill(first, signal.SIGKILL)
    give_up = time.monotonic() + 5
    while is_alive(first) and time.monotonic() < give_up:
        time.sleep(0.01)
    assert supervisor.restart_the_fallen() == ["sleeper"]
    assert written_down(supervisor.state)["sleeper"] != first
    supervisor.stop_all()


def test_stop__program_that_ignores_term__is_killed_by_another_command(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bcl_cli.world.processes.STOP_SECONDS", 0.3)
    log = supervisor.logs / "stubborn.log"
    supervisor.start(Program("stubborn", STUBBORN, {}, lambda: b"up" in log.read_bytes()))
    child = supervisor.running["stubborn"][1]
    assert not supervisor.is_called_off()
    assert stop_written_down(supervisor.state) == ["stubborn"]
    assert supervisor.is_called_off()  # whoever keeps it running lets it be
    assert child.wait(timeout=5) == -signal.SIGKILL


def test_places__ports__are_different_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bcl_cli.world.places.default_state_root", lambda: tmp_path)
    ports = Places.of("trial").ports()
    assert len(set(ports.values())) == len(ports)
    assert Places.of("trial").ports() == ports
    assert len(set(free_ports(20))) == 20


def test_places__default_name__differs_by_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BCL_WORLD", raising=False)
    here = Places.of().name
    monkeypatch.setattr("bcl_cli.world.places.__file__", "/elsewhere/src/bcl_cli/world/places.py")
    assert Places.of().name != here


def test_walk__keeps_steps_with_time_and_results_for_the_page(tmp_path: Path) -> None:
    walk = Walk(tmp_path)
    with walk.step("町を作る") as step:
        step.count, step.result = "10 人", "できました"
    walk.link("住民票", "paper.pdf")
    report = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert "1 町を作る" in report
    assert "/results/paper.pdf" in report
    assert display_columns("町ab") == 4
