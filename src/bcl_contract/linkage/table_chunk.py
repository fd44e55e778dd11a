"""One chunk of a table: where every field lies, and the values of whole columns at once.

Owns: recognising canonical bytes (every field quoted, CRLF) by arithmetic on the positions of
their quotes, without a Python object per row; gathering columns.
Promises: a chunk is canonical whatever came in; what is not canonical takes the strict line
parser (`table_lines`); a structure that can't be read exactly is told with its line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import polars as pl

from bcl_contract.linkage import table_lines
from bcl_contract.linkage.findings import TableFault, fatal
from bcl_contract.linkage.layouts import Layout

MAX_LINE_BYTES = 1 << 20
MAX_FIXED_WIDTH = 4096
"""Gathers of a column may read this far behind the last byte; the array is padded by it."""

_BLOCK = 1 << 18
_QUOTE, _COMMA, _CR, _LF = 0x22, 0x2C, 0x0D, 0x0A


_MASKED_WIDTH = 256


@lru_cache(maxsize=_MASKED_WIDTH)
def _prefix_masks(width: int) -> np.ndarray:
    """Give S{width} (width + 1): entry n has n bytes of ones, then zeros."""
    ones = np.tril(np.full((width + 1, width), 0xFF, dtype=np.uint8), -1)
    return np.ascontiguousarray(ones).view(f"S{width}")[:, 0]


def _blank_behind(gathered: np.ndarray, lengths: np.ndarray, width: int) -> None:
    """Put NUL behind the end of every value, in place."""
    target = gathered.view(np.uint8)
    if width <= _MASKED_WIDTH:
        masks = _prefix_masks(width)[np.minimum(lengths, width).astype(np.intp)]
        target &= masks.view(np.uint8)
    else:
        target.reshape(-1, width)[np.arange(width) >= lengths[:, None]] = 0


@dataclass(frozen=True)
class _Fields:
    """Where every field lies in `array`, column after column.

    `starts` (the first byte) and `lengths` are int32 (columns, rows); `longest` and `shortest`
    int32 (columns) are those of each column.
    """

    array: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    longest: np.ndarray
    shortest: np.ndarray
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
        return self._fields.longest > 0

    def full_columns(self) -> np.ndarray:
        """Give bool (columns): which columns have a value in every row."""
        return self._fields.shortest > 0

    def lengths(self, name: str) -> np.ndarray:
        """Give int32 (rows): the bytes of a column's values as they stand between quotes."""
        lengths: np.ndarray = self._fields.lengths[self.layout.index_of[name]]
        return lengths

    def longest(self, name: str) -> int:
        """Give the bytes of a column's longest value as it stands between quotes."""
        return int(self._fields.longest[self.layout.index_of[name]])

    def fixed(self, name: str, width: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Give dtype S{width}: a column's UTF-8 bytes, cut at width, padded with NUL.

        For all rows, or for the row numbers given. The cheapest way to a column of short
        values: no object per row.
        Raises ValueError for a width above `MAX_FIXED_WIDTH`.
        """
        if not 0 < width <= MAX_FIXED_WIDTH:
            raise ValueError("width out of range")
        index, fields = self.layout.index_of[name], self._fields
        starts = fields.starts[index] if rows is None else fields.starts[index][rows]
        window = np.ndarray(
            shape=(len(fields.array) - width + 1,),
            dtype=f"S{width}",
            buffer=fields.array.data,
            strides=(1,),
        )
        gathered: np.ndarray = window[starts.astype(np.intp)]
        if fields.shortest[index] < width:
            lengths = fields.lengths[index] if rows is None else fields.lengths[index][rows]
            _blank_behind(gathered, lengths, width)
        if fields.escaped:
            for at in np.flatnonzero(np.char.find(gathered, b'"') >= 0):
                row = int(at if rows is None else rows[at])
                gathered[at] = self.value_bytes(row, name)[:width]
        return gathered

    def value_bytes(self, row: int, name: str) -> bytes:
        """Give one value as UTF-8 bytes, quotes un-doubled."""
        index, fields = self.layout.index_of[name], self._fields
        start = int(fields.starts[index, row])
        value = self.canonical[start : start + int(fields.lengths[index, row])]
        return value.replace(b'""', b'"') if fields.escaped else value

    def value(self, row: int, name: str) -> str:
        """Give one value as text ("" when empty)."""
        return self.value_bytes(row, name).decode()

    def line(self, row: int) -> int:
        """Give the physical line of a row."""
        return self.first_line + row


@dataclass(frozen=True)
class Block:
    """Whole lines of a table as they came: `data` begins on physical line `first_line`.

    `lines` counts them.
    """

    first_line: int
    data: bytes
    lines: int


def _quote_positions(array: np.ndarray, end: int) -> np.ndarray:
    """Give the positions of all double quotes, int32; block by block to stay in the cache."""
    parts: list[np.ndarray] = []
    for start in range(0, end, _BLOCK):
        found = np.flatnonzero(array[start : min(end, start + _BLOCK)] == _QUOTE)
        found += start
        parts.append(found.astype(np.int32))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)


def _locate_fields(array: np.ndarray, end: int, columns: int) -> _Fields | None:
    """Find all fields when the first `end` bytes are exactly canonical, else give None.

    Quotes alternate between opening and closing; an opening quote right behind a closing one
    is a doubled quote inside a value. With those pairs out, every gap must be one comma
    (inside a row) or one CRLF (between rows), and no other CR or LF may exist.
    """
    body = array[:end]
    rows = int(np.count_nonzero(body == _LF))
    if rows == 0 or int(np.count_nonzero(body == _CR)) != rows:
        return None
    quotes = _quote_positions(array, end)
    escaped = len(quotes) != 2 * rows * columns
    if escaped:
        if not len(quotes) or len(quotes) % 2:
            return None
        inside = np.flatnonzero(quotes[2::2] == quotes[1:-1:2] + 1) * 2
        quotes = np.delete(quotes, np.concatenate((inside + 1, inside + 2)))
        if len(quotes) != 2 * rows * columns:
            return None
    if not _is_gapless(array, quotes.reshape(rows, columns, 2), end):
        return None
    # Column after column: whatever asks next, asks for whole columns.
    places = np.ascontiguousarray(quotes.reshape(rows, columns, 2).transpose(2, 1, 0))
    del quotes
    starts, lengths = places[0], places[1]
    starts += 1
    lengths -= starts
    return _Fields(array, starts, lengths, lengths.max(axis=1), lengths.min(axis=1), escaped)


def _is_gapless(array: np.ndarray, quotes: np.ndarray, end: int) -> bool:
    """Whether fields are parted by exactly one comma, rows by exactly one CRLF, to the end.

    `quotes` are positions, int32 (rows, columns, 2): opening and closing.
    """
    opening, closing = quotes[:, :, 0], quotes[:, :, 1]
    row_ends = closing[:, -1]
    if not (
        opening[0, 0] == 0
        and row_ends[-1] + 3 == end
        and (opening[1:, 0] == row_ends[:-1] + 3).all()
        and (array[row_ends + 2] == _LF).all()
        and (opening[:, 1:] - closing[:, :-1] == 2).all()
    ):
        return False
    behind = array[closing.astype(np.intp) + 1]
    return bool((behind[:, :-1] == _COMMA).all() and (behind[:, -1] == _CR).all())


def count_lines(data: bytes) -> int:
    """Count the line ends: ten times faster than `bytes.count` where lines are this short."""
    return int(np.count_nonzero(np.frombuffer(data, dtype=np.uint8) == _LF))


def _padded(data: bytes) -> np.ndarray:
    array = np.empty(len(data) + MAX_FIXED_WIDTH, dtype=np.uint8)
    array[: len(data)] = np.frombuffer(data, dtype=np.uint8)
    array[len(data) :] = 0
    return array


def checked_text(data: bytes, *, name: str, first_line: int) -> pl.Series:
    """Give the bytes as one UTF-8 string; TableFault with the line when they are not."""
    nul = data.find(b"\0")
    if nul >= 0:
        line = first_line + data.count(b"\n", 0, nul)
        raise TableFault([fatal(name, line, "LINKAGE_NUL")])
    try:
        return pl.Series([data], dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.PolarsError:
        line, code = table_lines.judge_encoding(data)
        raise TableFault([fatal(name, first_line + line, code)]) from None


def parse_block(
    block: Block, layout: Layout, *, name: str, closes_later: Callable[[], bool]
) -> Chunk:
    """Make the chunk of a block, rewriting what is legal but not canonical.

    `name` stands in findings. `closes_later` is asked, when a quote is left open in the block,
    whether the lines behind it close it. Raises `TableFault`.
    """
    columns, data = len(layout.columns), block.data
    text = checked_text(data, name=name, first_line=block.first_line)
    array = _padded(data)
    fields = _locate_fields(array, len(data), columns)
    if fields is None:
        data = _rewritten(block, columns, name=name, closes_later=closes_later)
        text = pl.Series([data], dtype=pl.Binary).cast(pl.String)
        array = _padded(data)
        fields = _locate_fields(array, len(data), columns)
        if fields is None:
            raise RuntimeError("the strict parser wrote lines that are not canonical")
    rows = fields.starts.shape[1]
    offsets = np.empty(rows + 1, dtype=np.int64)
    offsets[:-1] = fields.starts[0] - 1
    offsets[-1] = len(data)
    too_long = np.flatnonzero(np.diff(offsets) > MAX_LINE_BYTES)
    if len(too_long):
        line = block.first_line + int(too_long[0])
        raise TableFault([fatal(name, line, "LINKAGE_ROW_TOO_LONG")])
    return Chunk(layout, block.first_line, rows, data, offsets, fields, text)


def _rewritten(
    block: Block, columns: int, *, name: str, closes_later: Callable[[], bool]
) -> bytes:
    """Give the canonical form of a block that is not; TableFault when it is broken."""
    if b"\r" not in block.data:
        # Only the line ends differ, most often: try before parsing line by line.
        candidate = block.data.replace(b"\n", b"\r\n")
        if _locate_fields(_padded(candidate), len(candidate), columns) is not None:
            return candidate
    rewritten = table_lines.canonical_lines(block.data, columns)
    if isinstance(rewritten, bytes):
        return rewritten
    code = rewritten.code
    if code == "LINKAGE_UNCLOSED_QUOTE" and closes_later():
        code = "LINKAGE_NEWLINE_IN_VALUE"
    raise TableFault([fatal(name, block.first_line + rewritten.line, code)])
