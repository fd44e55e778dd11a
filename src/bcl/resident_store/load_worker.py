"""A worker process of a load: blocks of lines in, checked and sealed rows out.

Started by `load_workers`, with one end of a socket pair as its only argument. Needs no settings
and no database; keys come over the socket, never by argument or environment. It ends when the
other end closes, however that process died.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass, field, replace
from datetime import date
from multiprocessing.connection import Connection

from bcl.resident_store.blind_keys import BlindKeys
from bcl.resident_store.checked_rows import CheckedRows, RowChecker
from bcl.resident_store.page_cutter import PageCutter
from bcl_contract import private_memory
from bcl_contract.linkage.findings import Finding, TableFault
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.table import Block
from bcl_contract.linkage.table_check import CheckContext


@dataclass(frozen=True)
class FileTask:
    """What a worker must know of a file before its first block."""

    interface_version: str
    file_id: str
    municipality_code: str | None
    lane: str
    mode: str
    as_of: date | None
    file: str
    urgent: bool
    cutter: PageCutter
    identity_secret: bytes = field(repr=False)
    search_secret: bytes = field(repr=False)

    def checker(self) -> RowChecker:
        """The checker of this file's blocks."""
        interface = load_interface(self.interface_version)
        return RowChecker(
            layout=interface.files[self.file_id],
            context=CheckContext(
                municipality_code=self.municipality_code, lane=self.lane, mode=self.mode,
                as_of=self.as_of, interface=interface, file=self.file,
            ),
            keys=BlindKeys(identity=self.identity_secret, search=self.search_secret),
            urgent=self.urgent, cutter=self.cutter,
        )


@dataclass(frozen=True)
class BlockTask:
    """A block to check; its pages are numbered from `first_page`."""

    block: Block
    first_page: int


@dataclass(frozen=True)
class Broken:
    """The block's structure is broken."""

    findings: list[Finding]


def answer(checker: RowChecker, task: BlockTask) -> CheckedRows | Broken:
    """Check one block. What the other side has already is left out of the answer."""
    try:
        checked = checker.check(task.block, first_page=task.first_page)
    except TableFault as fault:
        return Broken(fault.findings)
    as_it_came = checked.canonical == task.block.data
    return replace(
        checked, layout=None, _chunk=None, _lines=None,
        canonical=b"" if as_it_came else checked.canonical,
    )


def serve(connection: Connection) -> None:
    """Answer blocks until the other end closes."""
    checker: RowChecker | None = None
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        if isinstance(task, FileTask):
            checker = task.checker()
            continue
        if checker is None:
            raise RuntimeError("a block came before its file")
        found = answer(checker, task)
        del task
        try:
            connection.send(found)
        except BrokenPipeError:
            return


def main() -> None:
    """Serve the socket named by the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the load decides, not the keyboard
    private_memory.keep_out_of_dumps()  # its memory holds keys and clear text
    serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
