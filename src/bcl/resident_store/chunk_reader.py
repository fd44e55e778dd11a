"""Reading a file of a transmission in checked blocks, ahead of whoever uses them."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import BinaryIO, TypeVar, cast

import numpy as np

from bcl.resident_store.blind_keys import BlindKeys
from bcl.resident_store.changed_lines import ChangedLines
from bcl.resident_store.checked_rows import CheckedRows, RowChecker
from bcl.resident_store.current_state import CurrentState
from bcl.resident_store.load_worker import BlockTask, Broken, FileTask
from bcl.resident_store.load_workers import LoadWorkers
from bcl.resident_store.page_writer import PageWriter
from bcl_contract.linkage.findings import Finding, TableFault
from bcl_contract.linkage.layouts import Layout
from bcl_contract.linkage.table import Block, closes_quote, iter_chunks
from bcl_contract.linkage.table_check import CheckContext

BLOCK_BYTES = 3 << 20
LARGE_FILE_BYTES = 12 << 20
"""Starting workers takes what checking this many bytes takes."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Helpers:
    """Workers that share the work on a large file, and what they must know of it."""

    workers: LoadWorkers
    task: FileTask


class ChunkReader:
    """Reads and checks the rows of a file that are not stored already.

    With an empty state every row is read and nothing is looked up. A large file is checked and
    sealed by `helpers`, where there are any; a small one here.
    """

    def __init__(
        self, source: BinaryIO, *, layout: Layout, state: CurrentState, keys: BlindKeys,
        context: CheckContext, urgent: bool, pages: PageWriter, helpers: Helpers | None = None,
    ) -> None:
        self._filter = ChangedLines(source, state, keys) if len(state) else None
        self._reader = iter_chunks(
            cast(BinaryIO, self._filter or source), layout, chunk_bytes=BLOCK_BYTES,
            name=context.file,
        )
        self._blocks = self._reader.blocks()
        self._layout, self._pages, self._helpers = layout, pages, helpers
        self._file = context.file
        self._as_it_came = True
        self._checker = RowChecker(layout=layout, context=context, keys=keys, urgent=urgent)

    @property
    def unchanged(self) -> int:
        """Rows left out because they are stored already."""
        return self._filter.unchanged if self._filter else 0

    @property
    def exact(self) -> bool:
        """Whether header and rows read so far are canonical as they came, none left out."""
        return self._filter is None and self._reader.exact and self._as_it_came

    def chunks(self) -> Iterator[CheckedRows]:
        """Give the blocks in order. Raises `TableFault`, `WorkerLost`."""
        first = self._first_blocks() if self._helpers else []
        if self._helpers and sum(len(block.data) for block in first) > LARGE_FILE_BYTES:
            checked = self._elsewhere(self._helpers, first)
        else:
            checked = self._here(first)
        for rows in checked:
            yield self._numbered(rows)

    def _first_blocks(self) -> list[Block]:
        blocks: list[Block] = []
        size = 0
        while size <= LARGE_FILE_BYTES and (block := next(self._blocks, None)) is not None:
            blocks.append(block)
            size += len(block.data)
        return blocks

    def _here(self, first: Sequence[Block]) -> Iterator[CheckedRows]:
        waiting = deque(first)
        while (block := waiting.popleft() if waiting else next(self._blocks, None)) is not None:
            checked = self._checker.check(
                block, closes_later=lambda: self._closes_later([each.data for each in waiting])
            )
            self._as_it_came = self._as_it_came and checked.canonical == block.data
            yield checked

    def _elsewhere(self, helpers: Helpers, first: list[Block]) -> Iterator[CheckedRows]:
        helpers.workers.start()
        under_way: deque[tuple[Block, Future[CheckedRows | Broken]]] = deque()
        waiting = deque(first)
        del first[:]  # a list of blocks kept to the end of the file would be memory held for it
        most = 2 * helpers.workers.count
        ended = False
        while under_way or not ended:
            while not ended and len(under_way) < most:
                block = waiting.popleft() if waiting else next(self._blocks, None)
                if block is None:
                    ended = True
                    break
                first_page = self._pages.reserve(block.lines)
                task = BlockTask(block, first_page)
                under_way.append((block, helpers.workers.submit(helpers.task, task)))
            if under_way:
                block, future = under_way.popleft()
                found = future.result()
                if isinstance(found, Broken):
                    behind = [each.data for each, _ in under_way]
                    behind += [each.data for each in waiting]
                    raise TableFault(self._told_exactly(found.findings, behind))
                self._as_it_came = self._as_it_came and not found.canonical
                yield replace(
                    found, layout=self._layout, canonical=found.canonical or block.data
                )

    def _told_exactly(self, findings: list[Finding], behind: list[bytes]) -> list[Finding]:
        """A worker sees one block: only here is known whether a later one closes its quote."""
        (finding,) = findings
        if finding.code == "LINKAGE_UNCLOSED_QUOTE" and self._closes_later(behind):
            code = "LINKAGE_NEWLINE_IN_VALUE"
            return [replace(finding, code=code, rule=code)]
        return findings

    def _closes_later(self, behind: list[bytes]) -> bool:
        """Whether lines read already, or the next ones, close a quote."""
        return closes_quote(behind[0]) if behind else self._reader.closes_later()

    def _numbered(self, checked: CheckedRows) -> CheckedRows:
        """Put the numbers of the original lines in."""
        first = checked.first_line
        if self._filter is None:
            checked.numbers = np.arange(first, first + len(checked), dtype=np.int64)
            return checked
        checked.numbers = self._filter.take(len(checked))
        checked.findings = [
            replace(each, line=int(checked.numbers[each.line - first]))
            if each.line is not None else each
            for each in checked.findings
        ]
        return checked

    def in_original(self, findings: Sequence[Finding]) -> list[Finding]:
        """Findings about lines not yet taken, with their numbers in the original file."""
        if self._filter is None:
            return list(findings)
        return [replace(each, line=self._filter.line_of(each.line)) for each in findings]

    def leftover_findings(self) -> list[Finding]:
        """What was found beside the rows: repeated lines, a byte order mark."""
        found = self.in_original(self._reader.findings)
        if self._filter:
            found += [replace(each, file=self._file) for each in self._filter.findings]
        return found


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
