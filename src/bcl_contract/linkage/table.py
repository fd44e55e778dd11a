"""Reading and writing the tables of a transmission (CSV), in bounded memory.

Owns: the canonical line form: UTF-8, every field in double quotes, comma, CRLF, one line a row.
Promises: a chunk is canonical whatever came in; a canonical chunk is recognised by arithmetic
on the positions of its quotes, without a Python object per row; a structure that can't be
read exactly stops with `TableFault`, naming the line.
Never: guesses. What is not canonical takes the strict line parser (`table_lines`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO

import numpy as np
import polars as pl

from bcl_contract.linkage import table_lines
from bcl_contract.linkage.findings import WARNING, Finding, TableFault, fatal
from bcl_contract.linkage.layouts import Layout

BOM = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 1 << 20
MAX_FIXED_WIDTH = 4096
"""Gathers of a column may read this far behind the last byte; the array is padded by it."""

_BLOCK = 1 << 20
_QUOTE, _COMMA, _CR, _LF = 0x22, 0x2C, 0x0D, 0x0A
_FOUR_BYTE_MASKS = np.frombuffer(
    b"".join((b"\xff" * kept).ljust(4, b"\0") for kept in range(5)), dtype=np.uint32
)


@lru_cache(maxsize=64)
def _prefix_masks(width: int) -> np.ndarray:
    """Give uint8 (width + 1, width): row n has n ones, then zeros."""
    return np.tril(np.ones((width + 1, width), dtype=np.uint8), -1)


@dataclass(frozen=True)
class _Fields:
    """Where every field lies in `array`: its quotes, int32 (rows, columns) each."""

    array: np.ndarray
    opening: np.ndarray
    closing: np.ndarray
    escaped: bool


@dataclass
class Chunk:
    """Rows of one table in canonical form.

    `first_line` is the physical line of row 0; row k stands on line first_line + k.
    `canonical` holds all rows (every field quoted, CRLF); `offsets` int64 (rows + 1) their
    byte positions in it.
    """

    layout: Layout
    first_line: int
    rows: int
    canonical: bytes
    offsets: np.ndarray
    _fields: _Fields = field(repr=False)
    _text: pl.Series = field(repr=False)

    def frame(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Parse the rows: all columns (or those named, in layout order) as strings.

        Empty fields are null. Parsing few columns is several times cheaper than all.
        """
        names = self.layout.names
        chosen = None if columns is None else [n for n in names if n in set(columns)]
        if not self.rows:
            return pl.DataFrame(schema=dict.fromkeys(chosen or names, pl.String))
        return pl.read_csv(
            self.canonical,
            has_header=False,
            schema=dict.fromkeys(names, pl.String),
            columns=None if chosen is None else [names.index(n) for n in chosen],
            null_values="",  # quoted empty fields too, unlike empty_string_is_null
        )

    @property
    def text(self) -> pl.Series:
        """The whole chunk as one valid UTF-8 string in a series of length 1."""
        return self._text

    @property
    def array(self) -> np.ndarray:
        """The canonical bytes as uint8, followed by padding zeros."""
        return self._fields.array

    @property
    def escaped(self) -> bool:
        """Whether some value holds a double quote (doubled in the canonical bytes)."""
        return self._fields.escaped

    def filled_columns(self) -> np.ndarray:
        """Give bool (columns): which columns have a value in at least one row."""
        fields = self._fields
        if not self.rows:
            return np.zeros(len(self.layout.columns), dtype=bool)
        return (fields.closing - fields.opening > 1).any(axis=0)

    def lengths(self, name: str) -> np.ndarray:
        """Give int32 (rows): the bytes of a column's values as they stand between quotes."""
        index = self.layout.index_of[name]
        return self._fields.closing[:, index] - self._fields.opening[:, index] - 1

    def fixed(self, name: str, width: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Give dtype S{width}: a column's UTF-8 bytes, cut at width, padded with NUL.

        For all rows, or for the row numbers given. The cheapest way to a column of short
        values: no object per row.
        Raises ValueError for a width above `MAX_FIXED_WIDTH`.
        """
        if not 0 < width <= MAX_FIXED_WIDTH:
            raise ValueError("width out of range")
        index = self.layout.index_of[name]
        fields = self._fields
        opening, closing = fields.opening[:, index], fields.closing[:, index]
        if rows is not None:
            opening, closing = opening[rows], closing[rows]
        starts = opening + 1
        lengths = closing - starts
        window = np.ndarray(
            shape=(len(fields.array) - width + 1,),
            dtype=f"S{width}",
            buffer=fields.array.data,
            strides=(1,),
        )
        gathered = window[starts]
        if width == 4:
            gathered.view(np.uint32)[:] &= _FOUR_BYTE_MASKS[np.minimum(lengths, 4)]
        elif len(lengths) and lengths.min() < width:
            matrix = gathered.view(np.uint8).reshape(len(starts), width)
            kept = np.minimum(lengths, width)
            matrix *= _prefix_masks(width)[kept]
        if fields.escaped:
            for at in np.flatnonzero(np.char.find(gathered, b'"') >= 0):
                row = int(at if rows is None else rows[at])
                gathered[at] = self.value_bytes(row, name)[:width]
        return gathered

    def value_bytes(self, row: int, name: str) -> bytes:
        """Give one value as UTF-8 bytes, quotes un-doubled."""
        index = self.layout.index_of[name]
        start, end = self._fields.opening[row, index] + 1, self._fields.closing[row, index]
        value = self.canonical[start:end]
        return value.replace(b'""', b'"') if self._fields.escaped else value

    def value(self, row: int, name: str) -> str:
        """Give one value as text ("" when empty)."""
        return self.value_bytes(row, name).decode()

    def line(self, row: int) -> int:
        """Give the physical line of a row."""
        return self.first_line + row


def _quote_positions(array: np.ndarray, end: int) -> np.ndarray:
    """Give the positions of all double quotes, int32; block by block to stay in the cache."""
    parts: list[np.ndarray] = []
    for start in range(0, end, _BLOCK):
        found = np.flatnonzero(array[start : min(end, start + _BLOCK)] == _QUOTE)
        parts.append((found + start).astype(np.int32))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)


def _locate_fields(array: np.ndarray, end: int, columns: int) -> _Fields | None:
    """Find all fields when the first `end` bytes are exactly canonical, else give None.

    Quotes alternate between opening and closing; an opening quote right behind a closing one
    is a doubled quote inside a value. With those pairs out, every gap must be one comma
    (inside a row) or one CRLF (between rows), and no other CR or LF may exist.
    """
    body = array[:end]
    rows = int(np.count_nonzero(body == _LF))
    quotes = _quote_positions(array, end)
    if rows == 0 or not len(quotes) or len(quotes) % 2:
        return None
    opening, closing = quotes[0::2], quotes[1::2]
    escaped = len(opening) != rows * columns
    if escaped:
        doubled = opening[1:] == closing[:-1] + 1
        opening = opening[np.concatenate(([True], ~doubled))]
        closing = closing[np.concatenate((~doubled, [True]))]
    if len(opening) != rows * columns or int(np.count_nonzero(body == _CR)) != rows:
        return None
    fields = _Fields(array, opening.reshape(rows, columns), closing.reshape(rows, columns), escaped)
    return fields if _is_gapless(fields, end) else None


def _is_gapless(fields: _Fields, end: int) -> bool:
    """Whether fields are parted by exactly one comma, rows by exactly one CRLF, to the end."""
    array, opening, closing = fields.array, fields.opening, fields.closing
    row_ends = closing[:, -1]
    return bool(
        opening[0, 0] == 0
        and row_ends[-1] + 3 == end
        and (opening[1:, 0] == row_ends[:-1] + 3).all()
        and (opening[:, 1:] - closing[:, :-1] == 2).all()
        and ((array[row_ends + 1] == _CR) & (array[row_ends + 2] == _LF)).all()
        and (array.take((closing[:, :-1] + 1).ravel()) == _COMMA).all()
    )


def _padded(data: bytes) -> np.ndarray:
    array = np.zeros(len(data) + MAX_FIXED_WIDTH, dtype=np.uint8)
    array[: len(data)] = np.frombuffer(data, dtype=np.uint8)
    return array


class TableReader(Iterator[Chunk]):
    """Iterates over the chunks of one table; see `iter_chunks`.

    `findings` collects warnings about the structure (a BOM); `rows` counts rows so far.
    """

    def __init__(self, source: BinaryIO, layout: Layout, chunk_bytes: int, name: str) -> None:
        self.findings: list[Finding] = []
        self.rows = 0
        self._source = source
        self._layout = layout
        self._chunk_bytes = chunk_bytes
        self._name = name
        self._carry = b""
        self._line = 1
        self._ended = False

    def __iter__(self) -> TableReader:
        return self

    def __next__(self) -> Chunk:
        if self._line == 1:
            self._read_header()
        block = self._next_block()
        if not block:
            raise StopIteration
        chunk = self._chunk(block)
        self._line += chunk.rows
        self.rows += chunk.rows
        return chunk

    def _fail(self, line: int | None, code: str, column: str | None = None) -> TableFault:
        return TableFault([*self.findings, fatal(self._name, line, code, column=column)])

    def _read_header(self) -> None:
        while len(self._carry) < 4 and (more := self._source.read(4 - len(self._carry))):
            self._carry += more
        start = self._carry
        if start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in start:
            raise self._fail(1, "LINKAGE_UTF16")
        block = self._next_block(limit=min(self._chunk_bytes, 64 << 10))
        if block.startswith(BOM):
            block = block[len(BOM) :]
            self.findings.append(
                Finding(self._name, 1, None, "LINKAGE_BOM", WARNING, "LINKAGE_BOM")
            )
        if not block.strip():
            raise self._fail(1, "LINKAGE_HEADER_MISSING")
        header, _, rest = block.partition(b"\n")
        self._check_text(header)
        code = table_lines.judge_header(header.removesuffix(b"\r"), self._layout)
        if code is not None:
            raise self._fail(1, code)
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
        if self._line == 1:
            if b"\r" in line:
                raise self._fail(1, "LINKAGE_CR_ONLY")
            return line + b"\n"
        self._check_text(line)
        if not table_lines.is_complete(line, len(self._layout.columns)):
            raise self._fail(self._line, "LINKAGE_TRUNCATED")
        return line.removesuffix(b"\r") + b"\r\n"

    def _check_text(self, data: bytes) -> pl.Series:
        """Give the bytes as one UTF-8 string; TableFault with the line when they are not."""
        nul = data.find(b"\0")
        if nul >= 0:
            raise self._fail(self._line + data.count(b"\n", 0, nul), "LINKAGE_NUL")
        try:
            return pl.Series([data], dtype=pl.Binary).cast(pl.String)
        except pl.exceptions.PolarsError:
            line, code = table_lines.judge_encoding(data)
            raise self._fail(self._line + line, code) from None

    def _chunk(self, block: bytes) -> Chunk:
        text = self._check_text(block)
        columns = len(self._layout.columns)
        array = _padded(block)
        fields = _locate_fields(array, len(block), columns)
        if fields is None:
            block = self._rewritten(block, columns)
            text = pl.Series([block], dtype=pl.Binary).cast(pl.String)
            array = _padded(block)
            fields = _locate_fields(array, len(block), columns)
            if fields is None:
                raise RuntimeError("the strict parser wrote lines that are not canonical")
        rows = len(fields.opening)
        offsets = np.empty(rows + 1, dtype=np.int64)
        offsets[:-1] = fields.opening[:, 0]
        offsets[-1] = len(block)
        too_long = np.flatnonzero(np.diff(offsets) > MAX_LINE_BYTES)
        if len(too_long):
            raise self._fail(self._line + int(too_long[0]), "LINKAGE_ROW_TOO_LONG")
        return Chunk(self._layout, self._line, rows, block, offsets, fields, text)

    def _rewritten(self, block: bytes, columns: int) -> bytes:
        """Give the canonical form of a block that is not; TableFault when it is broken."""
        if b"\r" not in block:
            # Only the line ends differ, most often: try before parsing line by line.
            candidate = block.replace(b"\n", b"\r\n")
            if _locate_fields(_padded(candidate), len(candidate), columns) is not None:
                return candidate
        rewritten = table_lines.canonical_lines(block, columns)
        if isinstance(rewritten, bytes):
            return rewritten
        code = rewritten.code
        if code == "LINKAGE_UNCLOSED_QUOTE" and self._closes_later():
            code = "LINKAGE_NEWLINE_IN_VALUE"
        raise self._fail(self._line + rewritten.line, code)

    def _closes_later(self) -> bool:
        """Whether a quote left open in this block is closed by a line not far behind it."""
        ahead = self._carry + self._source.read(MAX_LINE_BYTES)
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
