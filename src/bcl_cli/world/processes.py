"""Starting, watching and stopping the programs of a world.

Each program is a process group of its own with its own log file. What runs is written down in
`processes.json`, so that another command can see it and stop it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 15.0


class ProgramFault(RuntimeError):
    """A program of the world did not come up, or ended by itself."""


@dataclass(frozen=True)
class Program:
    """One program: its name on the page, its command line, and how to tell that it answers."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool]


@dataclass
class Supervisor:
    """Runs programs in order and stops them in the reverse order."""

    state: Path
    logs: Path
    running: dict[str, tuple[Program, subprocess.Popen[bytes]]] = field(default_factory=dict)

    def start(self, program: Program) -> None:
        """Start a program and wait until it answers; `ProgramFault` with the log's place if not."""
        log = (self.logs / f"{program.name}.log").open("ab")
        child = subprocess.Popen(
            list(program.argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **program.environment},
            start_new_session=True,
        )
        log.close()
        self.running[program.name] = (program, child)
        self._write_down()
        give_up = time.monotonic() + START_SECONDS
        while not program.is_ready():
            if child.poll() is not None:
                raise ProgramFault(
                    f"{program.name} が起動しません（記録: {self.logs / program.name}.log）"
                )
            if time.monotonic() > give_up:
                raise ProgramFault(f"{program.name} が {START_SECONDS:.0f} 秒たっても応答しません")
            time.sleep(0.05)

    def is_called_off(self) -> bool:
        """Whether `bcl world down` in another window stopped what runs here."""
        return not (self.state / "processes.json").is_file()

    def restart_the_fallen(self) -> list[str]:
        """Start again what ended by itself (a kill -9, say); gives the names."""
        fallen = [name for name, (_, child) in self.running.items() if child.poll() is not None]
        for name in fallen:
            self.start(self.running[name][0])
        return fallen

    def stop_all(self) -> None:
        """Ask every program to end, then end it; the last started goes first."""
        for _, child in reversed(list(self.running.values())):
            end_group(child.pid, child.poll)
        self.running.clear()
        (self.state / "processes.json").unlink(missing_ok=True)

    def _write_down(self) -> None:
        rows = {name: child.pid for name, (_, child) in self.running.items()}
        path = self.state / "processes.json"
        part = path.with_suffix(".part")
        part.write_text(json.dumps(rows), encoding="utf-8")
        part.replace(path)


def end_group(pid: int, poll: Callable[[], int | None]) -> None:
    """TERM the process group, wait, then KILL what is left of it."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            return
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            if poll() is not None:
                break
            time.sleep(0.02)
        else:
            continue
        return


def written_down(state: Path) -> dict[str, int]:
    """Names and process ids of a world's programs, as another command wrote them."""
    path = state / "processes.json"
    if not path.is_file():
        return {}
    rows: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def is_alive(pid: int) -> bool:
    """Does a process with this id run (and is no zombie)?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def stop_written_down(state: Path) -> list[str]:
    """Stop what another command started; gives the names that were alive.

    The list goes first: whoever keeps these programs running sees that they are to stay down.
    """
    programs = written_down(state)
    (state / "processes.json").unlink(missing_ok=True)
    stopped = []
    for name, pid in reversed(programs.items()):
        if is_alive(pid):
            stopped.append(name)
            end_group(pid, lambda pid=pid: None if is_alive(pid) else 0)
    return stopped
