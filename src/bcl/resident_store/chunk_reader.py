"""Reading a file of a transmission in checked chunks, one chunk ahead of whoever uses them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import BinaryIO, TypeVar, cast

import numpy as np

from bcl.resident_store.blind_keys import BlindKeys
from bcl.resident_store.changed_lines import ChangedLines
from bcl.resident_store.current_state import CurrentState
from bcl_contract.linkage.findings import Finding
from bcl_contract.linkage.layouts import Layout
from bcl_contract.linkage.table import Chunk, iter_chunks
from bcl_contract.linkage.validator import CheckContext, check_chunk

CHUNK_BYTES = 6 << 20
_LINE_END = b"\r\n"
Item = TypeVar("Item")


@dataclass
class ParsedChunk:
    """A checked chunk: original line `numbers` int64, and findings with these numbers."""

    chunk: Chunk
    numbers: np.ndarray
    findings: list[Finding]

    @cached_property
    def lines(self) -> list[bytes]:
        """The canonical lines without their line ends; cut by whoever asks first."""
        return bytes(self.chunk.canonical).split(_LINE_END)[: self.chunk.rows]

    def row_of(self, line: int) -> int:
        """The row of an original line number (numbers ascend)."""
        return int(np.searchsorted(self.numbers, line))


class ChunkReader:
    """Reads and checks the rows of a file that are not stored already.

    With an empty state every row is read and nothing is looked up.
    """

    def __init__(
        self, source: BinaryIO, layout: Layout, state: CurrentState, keys: BlindKeys,
        context: CheckContext,
    ) -> None:
        self._filter = ChangedLines(source, state, keys) if len(state) else None
        self._reader = iter_chunks(
            cast(BinaryIO, self._filter or source), layout, chunk_bytes=CHUNK_BYTES,
            name=context.file,
        )
        self._layout, self._context = layout, context

    @property
    def unchanged(self) -> int:
        """Rows left out because they are stored already."""
        return self._filter.unchanged if self._filter else 0

    def chunks(self) -> Iterator[ParsedChunk]:
        """Give the chunks in order. Raises `TableFault`."""
        for chunk in self._reader:
            numbers = self._numbers(chunk)
            findings = check_chunk(self._layout, chunk, self._context)
            if self._filter and findings:
                findings = [
                    replace(each, line=int(numbers[each.line - chunk.first_line]))
                    if each.line is not None else each
                    for each in findings
                ]
            yield ParsedChunk(chunk, numbers, findings)

    def in_original(self, findings: Sequence[Finding]) -> list[Finding]:
        """Findings about lines not yet taken, with their numbers in the original file."""
        if self._filter is None:
            return list(findings)
        return [replace(each, line=self._filter.line_of(each.line)) for each in findings]

    def leftover_findings(self) -> list[Finding]:
        """What was found beside the rows: repeated lines, a byte order mark."""
        found = self.in_original(self._reader.findings)
        if self._filter:
            found += [replace(each, file=self._context.file) for each in self._filter.findings]
        return found

    def _numbers(self, chunk: Chunk) -> np.ndarray:
        if self._filter is None:
            return np.arange(chunk.first_line, chunk.first_line + chunk.rows, dtype=np.int64)
        return self._filter.take(chunk.rows)


class KeysSeen:
    """Remembers 128-bit keys, 16 bytes each, and says which come again."""

    def __init__(self) -> None:
        self._high = np.zeros(0, dtype=np.uint64)
        self._runs: list[np.ndarray] = []

    def repeated(self, keys: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """Which of the counted keys, uint64 (n, 2), came before, here or earlier; bool (n)."""
        rows = np.flatnonzero(counted)
        chosen = keys[rows]
        again = np.zeros(len(keys), dtype=bool)
        order = np.lexsort((rows, chosen[:, 1], chosen[:, 0]))
        equal = (chosen[order[1:]] == chosen[order[:-1]]).all(axis=1)
        again[rows[order[1:][equal]]] = True
        fresh = np.sort(chosen[:, 0])
        place = np.searchsorted(self._high, fresh)
        met = np.zeros(len(fresh), dtype=bool)
        inside = place < len(self._high)
        met[inside] = self._high[place[inside]] == fresh[inside]
        if met.any():
            for row in rows[np.isin(chosen[:, 0], fresh[met])].tolist():
                again[row] |= any((run == keys[row]).all(axis=1).any() for run in self._runs)
        self._high = np.insert(self._high, place, fresh)
        self._runs.append(chosen)
        return again


class _Failure:
    """An exception on its way to the other thread."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def prefetched(items: Iterator[Item]) -> Iterator[Item]:
    """Run an iterator one item ahead in a thread of its own; its exceptions come out here."""
    ready: queue.Queue[object] = queue.Queue(maxsize=1)
    stop = threading.Event()
    end = object()

    def offer(item: object) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                offer(item)
                if stop.is_set():
                    return
        except BaseException as error:
            offer(_Failure(error))
        offer(end)

    thread = threading.Thread(target=work, name="bcl-parse", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not end:
            if isinstance(item, _Failure):
                raise item.error
            yield cast(Item, item)
    finally:
        stop.set()
        thread.join()
