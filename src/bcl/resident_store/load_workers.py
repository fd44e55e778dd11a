"""The worker processes of a load, seen from the load.

Checking, digesting, compressing and sealing a row costs ten times what comparing and writing it
does, and Python does one thing at a time in a process: so blocks of a large file go to processes
of their own. They start when the first large file comes and end with the load.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType

from bcl.resident_store.checked_rows import CheckedRows
from bcl.resident_store.load_worker import BlockTask, Broken, FileTask

MOST_WORKERS = 2
_ROOT = Path(__file__).resolve().parents[2]
# Not `-m`: what goes over the socket must be of the same module on both sides.
_PROGRAM = "from bcl.resident_store.load_worker import main; main()"
_ENVIRONMENT = {
    "POLARS_MAX_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Blocks are all alike: memory is taken once and kept, instead of being given back and
    # taken again (a page fault every 4 KB) for each of them.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(96 << 20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


class WorkerLost(Exception):
    """A worker process ended before its work: the load can't go on, and may be tried again."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    file: FileTask | None = None


def worker_count() -> int:
    """How many workers a load gets here; 0 where a second process would only wait."""
    processors = len(os.sched_getaffinity(0))
    return min(MOST_WORKERS, processors) if processors > 1 else 0


class LoadWorkers:
    """Worker processes; use as a context manager around a load."""

    def __init__(self, count: int | None = None) -> None:
        self.count = worker_count() if count is None else count
        self._threads: ThreadPoolExecutor | None = None
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._workers: list[_Worker] = []

    def __enter__(self) -> LoadWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            for worker in self._workers:
                worker.process.kill()  # nobody waits for their answers any more
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.connection.close()
            worker.process.wait()

    def start(self) -> None:
        """Start the processes, unless they run already."""
        if self._threads is not None:
            return
        self._threads = ThreadPoolExecutor(self.count, "bcl-worker")
        for _ in range(self.count):
            worker = _started()
            self._workers.append(worker)
            self._idle.put(worker)

    def submit(self, file: FileTask, task: BlockTask) -> Future[CheckedRows | Broken]:
        """Have a block checked by whichever worker is free. The future raises `WorkerLost`."""
        if self._threads is None:
            raise RuntimeError("the workers have not been started")
        return self._threads.submit(self._ask, file, task)

    def process_ids(self) -> Iterator[int]:
        """The running processes."""
        return (worker.process.pid for worker in self._workers)

    def _ask(self, file: FileTask, task: BlockTask) -> CheckedRows | Broken:
        worker = self._idle.get()
        try:
            if worker.file is not file:
                worker.connection.send(file)
                worker.file = file
            worker.connection.send(task)
            found: CheckedRows | Broken = worker.connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerLost from error
        finally:
            self._idle.put(worker)
        return found


def _started() -> _Worker:
    ours, theirs = Pipe()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env={**_ENVIRONMENT, "PYTHONPATH": str(_ROOT)},  # no setting, no address, no secret
        )
    return _Worker(process, ours)
