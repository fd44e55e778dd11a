"""The hash tree of the audit log (RFC 6962 §2.1, SHA-256): heads and proofs.

Nothing here reads a database: leaf hashes come from the caller, in order. A leaf's hash starts
with 0x00 and a node's with 0x01, so that no node can pass for a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Range = tuple[int, int]
"""Leaves from the first number up to, without, the second."""


def leaf_hash(row: bytes) -> bytes:
    """Hash of one row's bytes."""
    return hashlib.sha256(b"\0" + row).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees side by side."""
    return hashlib.sha256(b"\1" + left + right).digest()


@dataclass
class Frontier:
    """A growing tree of which only the complete subtrees' hashes are kept, largest first."""

    size: int = 0
    peaks: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, size: int, stored: bytes) -> Frontier:
        """Read what `stored` wrote; ValueError when it can't be the frontier of such a tree."""
        peaks = [stored[at : at + HASH_BYTES] for at in range(0, len(stored), HASH_BYTES)]
        if len(stored) != HASH_BYTES * size.bit_count():
            raise ValueError("a frontier has one hash for every bit of its tree's size")
        return cls(size, peaks)

    def add(self, leaf: bytes) -> None:
        """Append one leaf by its hash."""
        self.peaks.append(leaf)
        complete = self.size
        while complete & 1:
            right = self.peaks.pop()
            self.peaks.append(node_hash(self.peaks.pop(), right))
            complete >>= 1
        self.size += 1

    def add_all(self, leaves: Iterable[bytes]) -> Frontier:
        for leaf in leaves:
            self.add(leaf)
        return self

    @property
    def root(self) -> bytes:
        """The head of the tree as it is now."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def stored(self) -> bytes:
        return b"".join(self.peaks)

    def peak_ranges(self) -> Iterator[tuple[Range, bytes]]:
        """Each complete subtree's range with its hash."""
        start = 0
        for peak, bit in zip(
            self.peaks, (b for b in range(self.size.bit_length(), -1, -1) if self.size >> b & 1),
            strict=True,
        ):
            yield (start, start + (1 << bit)), peak
            start += 1 << bit


def inclusion_ranges(leaf_number: int, size: int) -> list[Range]:
    """Ranges whose roots prove that a leaf is in a tree of `size` (RFC 6962 §2.1.1), in order."""
    if not 0 <= leaf_number < size:
        raise ValueError("no such leaf")
    low, high, found = 0, size, []
    while high - low > 1:
        middle = low + _split(high - low)
        if leaf_number < middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low = middle
    return found[::-1]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """Ranges whose roots prove that the tree of `first` leaves is the beginning of the tree of
    `second` leaves (RFC 6962 §2.1.2), in order. Empty for an empty or an equal tree."""
    if not 0 <= first <= second:
        raise ValueError("the earlier tree is the smaller one")
    if first in (0, second):
        return []
    low, high, found, whole = 0, second, [], True
    while high != first:
        middle = low + _split(high - low)
        if first <= middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low, whole = middle, False
    if not whole:
        found.append((low, high))
    return found[::-1]


def roots_of(
    ranges: Sequence[Range],
    leaves: Callable[[int, int], Iterable[bytes]],
    *,
    known: Frontier | None = None,
) -> list[bytes]:
    """The root of each range; `leaves(low, high)` gives leaf hashes. What `known` has is not
    computed again: from the frontier of the earlier tree a consistency proof needs new leaves
    only."""
    ready = dict(known.peak_ranges()) if known is not None else {}
    return [
        ready[each] if each in ready else Frontier().add_all(leaves(*each)).root
        for each in ranges
    ]


def _split(width: int) -> int:
    """The largest power of two smaller than `width`."""
    return 1 << (width - 1).bit_length() - 1
