"""What a step costs: CPU seconds and peak memory of a process with everything it started.

Peak memory of a process tree = the largest sum of resident memory (pages that processes share
counted once) seen in samples 0.1 s apart, and never less than what the kernel recorded as the
largest single process. CPU of the database server = that of the postmaster
and all processes it ever waited for, so that background writers count for both sides.
"""

from __future__ import annotations

import itertools
import os
import resource
import threading
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.1
_SAMPLES_PER_SEARCH = 3  # looking for new processes reads all of /proc
# Fields of /proc/PID/stat behind the name in brackets.
_PARENT, _USER, _SYSTEM, _WAITED_USER, _WAITED_SYSTEM = 1, 11, 12, 13, 14


def descendants(pid: int) -> list[int]:
    """A process and all it started that still runs."""
    parents: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[_PARENT]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # ended meanwhile
        return []


def resident_mb(pid: int) -> float:
    """Resident memory of one process, shared pages by its share; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("Pss:"))
    return int(kilobytes) / 1024


def server_cpu_seconds(data_dir: Path) -> float:
    """CPU seconds a PostgreSQL server has used since its start, all its processes."""
    postmaster = int((data_dir / "postmaster.pid").read_text().split()[0])
    ticks = 0
    for pid in descendants(postmaster):
        if not (fields := _stat(pid)):
            continue
        ticks += int(fields[_USER]) + int(fields[_SYSTEM])
        if pid == postmaster:
            ticks += int(fields[_WAITED_USER]) + int(fields[_WAITED_SYSTEM])
    return ticks / _TICK


class PeakMemory:
    """Samples this process and its children while the block runs; `mb` is the peak."""

    def __init__(self, pid: int | None = None) -> None:
        self.mb = 0.0
        self._pid = pid or os.getpid()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="peak-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._pid == os.getpid():
            largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            self.mb = max(self.mb, largest)

    def _sample(self) -> None:
        for turn in itertools.count():
            if turn % _SAMPLES_PER_SEARCH == 0:
                tree = descendants(self._pid)
            self.mb = max(self.mb, sum(map(resident_mb, tree)))
            if self._stop.wait(_SAMPLE_SECONDS):
                return


def own_cpu_seconds() -> float:
    """CPU seconds of this process and of its children that ended."""
    own, waited = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + waited.ru_utime + waited.ru_stime


class Cost:
    """What a block cost: `seconds` by the clock, CPU of our processes and of the server, memory.

    Without a `server` (its data directory) the CPU of the server is 0.
    """

    def __init__(self, server: Path | None = None) -> None:
        self._server, self._memory = server, PeakMemory()
        self.seconds = self.own_cpu = self.server_cpu = 0.0

    def __enter__(self) -> Cost:
        self._memory.__enter__()
        self.server_cpu = -self._server_cpu()
        self.own_cpu, self.seconds = -own_cpu_seconds(), -time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter()
        self.own_cpu += own_cpu_seconds()
        self.server_cpu += self._server_cpu()
        self._memory.__exit__()

    def measured(self) -> dict[str, float]:
        """The figures of a result."""
        return {
            "seconds": self.seconds,
            "own_cpu_seconds": self.own_cpu,
            "server_cpu_seconds": self.server_cpu,
            "cpu_seconds": self.own_cpu + self.server_cpu,
            "peak_memory_mb": self._memory.mb,
        }

    def _server_cpu(self) -> float:
        return server_cpu_seconds(self._server) if self._server else 0.0


def total(*parts: Cost) -> dict[str, float]:
    """The figures of several blocks that follow one another."""
    figures = [part.measured() for part in parts]
    return {
        name: (max if name == "peak_memory_mb" else sum)(each[name] for each in figures)
        for name in figures[0]
    }
