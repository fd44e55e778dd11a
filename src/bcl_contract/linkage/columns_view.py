"""A chunk as vectors: what type checks, code checks and conditions ask of a column.

Every answer is computed once per chunk and column; nothing here makes an object per row.
"""

from __future__ import annotations

import numpy as np

from bcl_contract.linkage.table import Chunk

MATRIX_BYTES = 192
"""Values up to this many bytes are judged as a byte matrix; longer ones one by one."""


class ColumnsView:
    """Cached vectors of one chunk. Implements `conditions.Columns`."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        names = chunk.layout.names
        self._any_filled = dict(zip(names, chunk.filled_columns().tolist(), strict=True))
        self._all_filled = dict(zip(names, chunk.full_columns().tolist(), strict=True))
        self._filled: dict[str, np.ndarray] = {}
        self._fixed: dict[tuple[str, int], np.ndarray] = {}
        self._equals: dict[tuple[str, str], np.ndarray] = {}
        self._none = np.zeros(chunk.rows, dtype=bool)

    def any_filled(self, name: str) -> bool:
        """Whether at least one row has a value in the column."""
        return self._any_filled[name]

    def all_filled(self, name: str) -> bool:
        """Whether every row has a value in the column."""
        return self._all_filled[name]

    def lengths(self, name: str) -> np.ndarray:
        """int32 (rows): bytes of the values."""
        return self.chunk.lengths(name)

    def longest(self, name: str) -> int:
        """Bytes of the longest value."""
        return self.chunk.longest(name)

    def filled(self, name: str) -> np.ndarray:
        """bool (rows): where the column has a value."""
        if not self._any_filled[name]:
            return self._none
        if name not in self._filled:
            self._filled[name] = self.lengths(name) > 0
        return self._filled[name]

    def fixed(self, name: str, width: int) -> np.ndarray:
        """S{width} (rows): the values, cut and padded with NUL."""
        key = (name, width)
        if key not in self._fixed:
            self._fixed[key] = self.chunk.fixed(name, width)
        return self._fixed[key]

    def numbers(self, name: str) -> np.ndarray:
        """uint32 (rows): the first four bytes as one number; cheap to compare with codes."""
        return self.fixed(name, 4).view(np.uint32)

    def equals(self, name: str, value: str) -> np.ndarray:
        """bool (rows): where the value is exactly `value`; not to be changed."""
        if not self._any_filled[name]:
            return self._none
        key = (name, value)
        if key not in self._equals:
            self._equals[key] = self._compared(name, value)
        return self._equals[key]

    def _compared(self, name: str, value: str) -> np.ndarray:
        raw = value.encode()
        same_length = self.lengths(name) == len(raw)
        if len(raw) <= 4:
            return same_length & (self.numbers(name) == code_number(raw))
        return same_length & (self.fixed(name, len(raw)) == raw)

    def matrix(self, name: str, width: int, rows: np.ndarray | None) -> np.ndarray:
        """uint8 (rows, width): the bytes of the values of all rows or of those named."""
        if rows is None:
            gathered = self.fixed(name, width)
        else:
            gathered = self.chunk.fixed(name, width, rows)
        return gathered.view(np.uint8).reshape(len(gathered), width)

    def filled_rows(self, name: str) -> np.ndarray | None:
        """The numbers of the rows with a value; None when it is all of them."""
        return None if self._all_filled[name] else np.flatnonzero(self.filled(name))


def code_number(raw: bytes) -> int:
    """Give the number that `ColumnsView.numbers` holds for a code of up to four bytes."""
    return int(np.frombuffer(raw.ljust(4, b"\0")[:4], dtype=np.uint32)[0])
