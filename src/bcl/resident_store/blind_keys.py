"""Keyed digests that find and compare records without showing them (D4, D12).

Owns: record keys, content digests, search keys, and the pad over household facts.
Promises: keys belong to one municipality (its IDENTITY and SEARCH keys); kinds are apart: the
same value searched as a person and as a household gives unrelated keys.
Never: normalises a stored value. Only the search key of a name is made of its folded form.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

import numpy as np

from bcl.resident_store.column_cmac import BLOCK, ColumnCmac
from bcl_contract import characters
from bcl_contract.linkage.layouts import Layout
from bcl_contract.linkage.table import MAX_FIXED_WIDTH, Chunk

DIGEST_BYTES = 16
_SHA256_BYTES = 32
# No register text holds this noncharacter; folding many values at once keeps it in place.
_SEPARATOR = "\ufdd0"
_CACHE_LIMIT = 100_000
_WIDE_SPACE = "\u3000".encode()

Fold = Callable[[str], str]
FOLDS: dict[str, Fold] = {
    "name": characters.fold_name,
    "kana": characters.fold_kana,
}


def derive(secret: bytes, label: str) -> bytes:
    """Derive a 32-byte key for one use from a data key (HMAC-SHA-256)."""
    return hmac.digest(secret, b"bcl resident_store " + label.encode(), "sha256")


class BlindKeys:
    """All keyed digests of one municipality. Holds secrets: no repr, never stored."""

    def __init__(self, *, identity: bytes, search: bytes) -> None:
        self._content = ColumnCmac(derive(identity, "content digest"))
        self._part = ColumnCmac(derive(identity, "record key part"))
        self._record = ColumnCmac(derive(identity, "record key"))
        self._name_check = ColumnCmac(derive(identity, "household name"))
        self._pad = ColumnCmac(derive(identity, "facts pad"))
        self._search_secret = search
        self._search: dict[str, ColumnCmac] = {}
        self._cache: dict[str, dict[bytes, bytes]] = {}

    def __repr__(self) -> str:
        return "BlindKeys(…)"

    # -- content and record ------------------------------------------------------------------

    def content_digests(self, lines: Sequence[bytes | memoryview]) -> np.ndarray:
        """Keyed 128-bit digests of canonical lines; gives uint64 (n, 2), big-endian halves.

        AES-CMAC over SHA-256: half the time of a keyed hash of each line.
        """
        sha256 = hashlib.sha256
        joined = b"".join([sha256(line).digest() for line in lines])
        hashes = np.frombuffer(joined, dtype=np.uint8).reshape(-1, _SHA256_BYTES)
        return halves(self._content.tags(hashes, np.full(len(hashes), _SHA256_BYTES)))

    def record_keys(self, chunk: Chunk) -> np.ndarray:
        """128-bit digests of the key columns of all rows; gives uint64 (n, 2).

        Each part is digested alone first, so that the length of a column may change with the
        interface version without changing any key.
        """
        parts = []
        for column in chunk.layout.key_columns:
            messages, lengths = column_matrix(chunk, column.name)
            parts.append(self._part.tags(messages, lengths))
        joined = np.concatenate(parts, axis=1)
        return halves(self._record.tags(joined, np.full(chunk.rows, joined.shape[1])))

    def record_key(self, layout: Layout, values: dict[str, str]) -> np.ndarray:
        """The record key of one record from its key values; gives uint64 (1, 2)."""
        parts = [self._part.tag(values[c.name].encode()) for c in layout.key_columns]
        tag = self._record.tag(b"".join(parts))
        return halves(np.frombuffer(tag, dtype=np.uint8).reshape(1, DIGEST_BYTES))

    # -- search ------------------------------------------------------------------------------

    def search_key(self, kind: str, value: str) -> int:
        """The search key of one value (folded first where the kind says so)."""
        folded = FOLDS[kind](value) if kind in FOLDS else value
        return int.from_bytes(self._searcher(kind).tag(folded.encode())[:8], "big", signed=True)

    def search_keys(self, kind: str, messages: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Search keys of a column of exact values; gives int64 (n)."""
        return _truncated(self._searcher(kind).tags(messages, lengths))

    def folded_keys(self, kind: str, values: Sequence[bytes]) -> np.ndarray:
        """Search keys of UTF-8 values of a folded kind; gives int64 (n).

        Folding drops spaces, so a name folds part by part; surnames and given names repeat, and
        parts already seen come from a bounded memory.
        """
        known = self._cache.setdefault(kind, {})
        if len(known) > _CACHE_LIMIT:
            known.clear()
        parts = [value.split(_WIDE_SPACE) for value in values]
        missing = list({part for row in parts for part in row if part not in known})
        if missing:
            known.update(zip(missing, fold_all(FOLDS[kind], missing), strict=True))
        folded = [b"".join([known[part] for part in row]) for row in parts]
        matrix = np.array(folded, dtype=f"S{max(1, *map(len, folded))}")
        return self.search_keys(kind, bytes_matrix(matrix), np.char.str_len(matrix))

    def _searcher(self, kind: str) -> ColumnCmac:
        if kind not in self._search:
            self._search[kind] = ColumnCmac(derive(self._search_secret, f"search {kind}"))
        return self._search[kind]

    # -- household facts ---------------------------------------------------------------------

    def name_checks(self, messages: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """64-bit digests of exact names, to compare the head's name; gives uint64 (n)."""
        return self._name_check.tags(messages, lengths)[:, :8].copy().view(">u8")[:, 0].astype(
            np.uint64
        )

    def pads(self, digests: np.ndarray) -> np.ndarray:
        """A 64-bit pad per content digest, uint64 (n, 2) -> uint64 (n).

        Equal content has equal facts, so a pad never covers two different ones.
        """
        blocks = whole(digests)
        return np.ascontiguousarray(self._pad.encrypt_blocks(blocks)[:, :8]).view(np.uint64)[:, 0]


# -- arrays ------------------------------------------------------------------------------------


def halves(digests: np.ndarray) -> np.ndarray:
    """uint8 (n, 16) -> uint64 (n, 2), read big-endian so that order is kept."""
    return np.ascontiguousarray(digests).view(">u8").reshape(-1, 2).astype(np.uint64)


def whole(digests: np.ndarray) -> np.ndarray:
    """uint64 (n, 2) -> uint8 (n, 16): the bytes again."""
    return digests.astype(">u8").view(np.uint8).reshape(-1, DIGEST_BYTES)


def _truncated(tags: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(tags[:, :8]).view(">i8")[:, 0].astype(np.int64)


def bytes_matrix(values: np.ndarray) -> np.ndarray:
    """dtype S{width} (n) -> uint8 (n, width)."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)


def column_matrix(chunk: Chunk, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A column's UTF-8 bytes as uint8 (n, width) with zeros behind, and lengths int64 (n)."""
    # Longer than any legal value: such a row is refused, its key only has to be some key.
    lengths = np.minimum(chunk.lengths(name).astype(np.int64), MAX_FIXED_WIDTH)
    width = max(BLOCK, -(-int(lengths.max(initial=1)) // BLOCK) * BLOCK)
    values = chunk.fixed(name, width)
    if chunk.escaped:
        # Doubled quotes shrink when undone; the true lengths are those of the values.
        lengths = np.char.str_len(values).astype(np.int64)
    return bytes_matrix(values), lengths


def fold_all(fold: Fold, values: Sequence[bytes]) -> list[bytes]:
    """Fold many UTF-8 values with one call; equal to folding each alone (tests assert it)."""
    text = fold(_SEPARATOR.join(value.decode(errors="replace") for value in values))
    folded = text.encode().split(_SEPARATOR.encode())
    if len(folded) != len(values):  # a value held the separator: only in rows that are refused
        folded = [fold(value.decode(errors="replace")).encode() for value in values]
    return folded
