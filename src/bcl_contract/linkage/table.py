"""Reading and writing the tables of a transmission (CSV), in bounded memory.

Owns: the canonical line form: UTF-8, every field in double quotes, comma, CRLF, one line a row;
the header, and cutting a file into blocks of whole lines.
Promises: a structure that can't be read exactly stops with `TableFault`, naming the line.
Never: guesses. What a block becomes is `table_chunk`'s part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from bcl_contract.linkage import table_lines
from bcl_contract.linkage.findings import WARNING, Finding, TableFault, fatal
from bcl_contract.linkage.layouts import Layout
from bcl_contract.linkage.table_chunk import (
    MAX_FIXED_WIDTH,
    MAX_LINE_BYTES,
    Block,
    Chunk,
    checked_text,
    count_lines,
    parse_block,
)

__all__ = [
    "BOM",
    "MAX_FIXED_WIDTH",
    "MAX_LINE_BYTES",
    "Block",
    "CanonicalWriter",
    "Chunk",
    "TableFault",
    "TableReader",
    "canonical_line",
    "iter_chunks",
    "write_rows",
]

BOM = b"\xef\xbb\xbf"


class TableReader(Iterator[Chunk]):
    """Iterates over the chunks of one table; see `iter_chunks`.

    `findings` collects warnings about the structure (a BOM); `rows` counts rows so far; `exact`
    says whether the blocks so far, behind the layout's own header line, are the very bytes read.
    Who wants to make the chunks elsewhere takes the `blocks` instead.
    """

    def __init__(self, source: BinaryIO, layout: Layout, chunk_bytes: int, name: str) -> None:
        self.findings: list[Finding] = []
        self.rows = 0
        self.exact = True
        self._source = source
        self._layout = layout
        self._chunk_bytes = chunk_bytes
        self._name = name
        self._carry = b""
        self._line = 1
        self._ended = False
        self._blocks = self.blocks()

    def __iter__(self) -> TableReader:
        return self

    def __next__(self) -> Chunk:
        try:
            chunk = parse_block(
                next(self._blocks), self._layout, name=self._name,
                closes_later=self.closes_later,
            )
        except TableFault as fault:
            raise TableFault([*self.findings, *fault.findings]) from None
        self.rows += chunk.rows
        return chunk

    def blocks(self) -> Iterator[Block]:
        """Give the table's lines behind the header in blocks, as they came. Raises `TableFault`.

        Take either blocks or chunks of one reader.
        """
        self._read_header()
        while data := self._next_block():
            block = Block(self._line, data, count_lines(data))
            yield block
            self._line += block.lines

    def closes_later(self) -> bool:
        """Whether a quote left open in the block given last is closed by a line not far behind."""
        return closes_quote(self._carry + self._source.read(MAX_LINE_BYTES))

    def _fail(self, line: int | None, code: str, column: str | None = None) -> TableFault:
        return TableFault([fatal(self._name, line, code, column=column)])

    def _read_header(self) -> None:
        while len(self._carry) < 4 and (more := self._source.read(4 - len(self._carry))):
            self._carry += more
        start = self._carry
        if start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in start:
            raise self._fail(1, "LINKAGE_UTF16")
        block = self._next_block(limit=min(self._chunk_bytes, 64 << 10))
        if block.startswith(BOM):
            self.exact = False
            block = block[len(BOM) :]
            self.findings.append(
                Finding(self._name, 1, None, "LINKAGE_BOM", WARNING, "LINKAGE_BOM")
            )
        if not block.strip():
            raise self._fail(1, "LINKAGE_HEADER_MISSING")
        header, _, rest = block.partition(b"\n")
        checked_text(header, name=self._name, first_line=1)
        code = table_lines.judge_header(header.removesuffix(b"\r"), self._layout)
        if code is not None:
            raise self._fail(1, code)
        self.exact = self.exact and header + b"\n" == self._layout.header_line
        self._carry = rest + self._carry
        self._line = 2

    def _next_block(self, limit: int | None = None) -> bytes:
        """Read whole lines, about `limit` bytes of them, at least one; b"" at the end."""
        want = limit or self._chunk_bytes
        parts, held = [self._carry], len(self._carry)
        has_line_end = b"\n" in self._carry
        while not self._ended and (held < want or not has_line_end):
            data = self._source.read(max(want - held, min(want, 1 << 16)))
            self._ended = not data
            parts.append(data)
            held += len(data)
            has_line_end = has_line_end or b"\n" in data
            if not has_line_end and held > MAX_LINE_BYTES:
                raise self._fail(self._line, "LINKAGE_ROW_TOO_LONG")
        block = b"".join(parts)
        if not has_line_end:
            self._carry = b""
            return self._last_line(block) if block else b""
        cut = block.rfind(b"\n", 0, want) + 1 or block.find(b"\n", want) + 1
        self._carry = block[cut:]
        return block[:cut]

    def _last_line(self, line: bytes) -> bytes:
        """Complete a last line that has no line end, unless it was cut off."""
        self.exact = False
        if self._line == 1:
            if b"\r" in line:
                raise self._fail(1, "LINKAGE_CR_ONLY")
            return line + b"\n"
        checked_text(line, name=self._name, first_line=self._line)
        if not table_lines.is_complete(line, len(self._layout.columns)):
            raise self._fail(self._line, "LINKAGE_TRUNCATED")
        return line.removesuffix(b"\r") + b"\r\n"


def closes_quote(ahead: bytes) -> bool:
    """Whether a quote left open is closed by one of the lines behind it."""
    return table_lines.has_odd_quotes(ahead.split(b"\n"))


def iter_chunks(
    fileobj: BinaryIO, layout: Layout, *, chunk_bytes: int = 8 << 20, name: str | None = None
) -> TableReader:
    """Read a table in chunks of about `chunk_bytes`, each canonical whatever came in.

    The result iterates over `Chunk` and keeps warnings in `.findings`. A file with only its
    header gives no chunk. `name` stands in findings (the file id when not given).
    Raises `TableFault` while iterating when encoding, header, quoting or column count is
    wrong: nothing of the file may be used then.
    """
    if chunk_bytes < 1 or chunk_bytes > 1 << 30:
        raise ValueError("chunk_bytes out of range")
    return TableReader(fileobj, layout, chunk_bytes, name or layout.file_id)


class CanonicalWriter:
    """Writes rows of one layout in canonical form; the header is written at once.

    `rows` counts the rows written. Values are written as given: nothing is normalised.
    """

    def __init__(self, target: BinaryIO, layout: Layout) -> None:
        self.rows = 0
        self._target = target
        self._layout = layout
        target.write(layout.header_line)

    def write_row(self, values: Sequence[str | None]) -> None:
        """Write one row in layout order; None is an empty field.

        Raises ValueError for a wrong number of values or a line end inside one.
        """
        if len(values) != len(self._layout.columns):
            raise ValueError(f"{self._layout.file_id}: wrong number of values")
        line = canonical_line(values)
        if line.count(b"\n") != 1 or line.count(b"\r") != 1:
            raise ValueError(f"{self._layout.file_id}: a value holds a line end")
        self._target.write(line)
        self.rows += 1


def canonical_line(values: Sequence[str | None]) -> bytes:
    """Write one row's canonical line in UTF-8."""
    return table_lines.quoted(values)


def write_rows(target: BinaryIO, layout: Layout, rows: Iterable[Sequence[str | None]]) -> int:
    """Write a whole table (header and rows) in canonical form; gives the number of rows."""
    writer = CanonicalWriter(target, layout)
    for values in rows:
        writer.write_row(values)
    return writer.rows
