"""Leaving out the lines that are stored already, before anything is parsed.

A daily full file repeats 99 lines of 100 byte for byte. Their keyed digests say so at about a
microsecond a line; parsing and checking them again would cost ten times that.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from bcl.resident_store.blind_keys import BlindKeys
from bcl.resident_store.current_state import CurrentState
from bcl_contract.linkage.findings import ROW, Finding

_BLOCK = 2 << 20
_CR, _LF = 0x0D, 0x0A


class ChangedLines:
    """A readable file of the header and those lines that no live record holds.

    Marks the records it finds as `seen` in the state. Lines keep their numbers in the original
    file: `take` gives them for the next rows, `line_of` for any row read so far.
    Broken or non-canonical input passes through whole: judging it is the parser's part.
    """

    def __init__(self, source: BinaryIO, state: CurrentState, keys: BlindKeys) -> None:
        self.unchanged = 0
        self.findings: list[Finding] = []
        self._source, self._state, self._keys = source, state, keys
        self._carry = b""
        self._line = 1  # of the next line of the original file
        self._ended = False
        self._numbers: list[np.ndarray] = []
        self._taken = 0
        self._header_done = False

    def readable(self) -> bool:
        """It is a file for reading."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Give the next lines that are not stored (of any length), b"" at the end."""
        del size
        while not self._ended:
            data = self._source.read(_BLOCK)
            self._ended = not data
            block = self._carry + data
            cut = len(block) if self._ended else block.rfind(b"\n") + 1
            self._carry = block[cut:]
            if cut and (kept := self._filter(block[:cut])):
                return kept
        return b""

    def take(self, rows: int) -> np.ndarray:
        """Line numbers in the original file of the next `rows` rows of the parser; int64."""
        numbers = np.concatenate(self._numbers) if self._numbers else np.zeros(0, np.int64)
        self._numbers = [numbers[rows:]]
        self._taken += rows
        return numbers[:rows]

    def line_of(self, filtered_line: int | None) -> int | None:
        """The original line of a line not yet taken (the header is line 1 in both)."""
        if filtered_line is None or filtered_line <= 1:
            return filtered_line
        numbers = np.concatenate(self._numbers) if self._numbers else np.zeros(0, np.int64)
        place = filtered_line - 2 - self._taken
        return int(numbers[place]) if 0 <= place < len(numbers) else None

    def _filter(self, block: bytes) -> bytes:
        head = b""
        if not self._header_done:
            cut = block.find(b"\n") + 1 or len(block)
            head, block = block[:cut], block[cut:]
            self._header_done = True
            self._line += 1
            if not block:
                return head
        first = self._line
        array = np.frombuffer(block, dtype=np.uint8)
        ends = np.flatnonzero(array == _LF)
        self._line += len(ends) + (not block.endswith(b"\n"))
        if not _ends_in_crlf(array, ends):
            self._numbers.append(np.arange(first, self._line))
            return head + block
        starts = np.concatenate(([0], ends[:-1] + 1))
        whole = memoryview(block)
        cuts = zip(starts.tolist(), (ends - 1).tolist(), strict=True)
        lines = [whole[start:end] for start, end in cuts]
        places = self._state.by_digest.find(self._keys.content_digests(lines))
        fresh = np.flatnonzero(places < 0)
        self._note_seen(places, first)
        self._numbers.append(first + fresh)
        return head + b"".join(
            [whole[starts[row] : ends[row] + 1] for row in fresh.tolist()]
        )

    def _note_seen(self, places: np.ndarray, first: int) -> None:
        """Count unchanged lines; a second equal line is a duplicate key."""
        rows = np.flatnonzero(places >= 0)
        found = places[rows]
        _, firsts = np.unique(found, return_index=True)
        once = np.zeros(len(found), dtype=bool)
        once[firsts] = True
        once &= ~self._state.seen[found]
        self._state.seen[found] = True
        self._state.touched[found] = True
        self.unchanged += int(once.sum())
        for row in rows[~once].tolist():
            self.findings.append(
                Finding("", first + row, None, "KEY_DUPLICATE", ROW, "LINKAGE_KEY_DUPLICATE")
            )


def _ends_in_crlf(array: np.ndarray, ends: np.ndarray) -> bool:
    """Whether a block ends with a line end, and CR stands before each LF and nowhere else."""
    return bool(
        len(ends)
        and ends[0] > 0
        and ends[-1] == len(array) - 1
        and (array[ends - 1] == _CR).all()
        and np.count_nonzero(array == _CR) == len(ends)
    )
