"""Fragments: the pieces of one or two characters that names and addresses are found by in part.

Owns: what a folded text's fragments are, their blind keys, and the packed form of a block.
Promises: a text that contains (begins with, ends with, is) a searched text has every fragment of
the search, so a search by fragments misses nobody; who has them all is then looked at in clear.
A fragment is a 45-bit number here: kind (3 bits), then two characters of 21 bits, or a number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import StrEnum

import numpy as np

from bcl.resident_store.blind_keys import BlindKeys

NAME, KANA, ADDRESS, BORN, RECORD_CODE = range(5)
"""Kinds of fragments: equal pieces of different kinds have unrelated keys."""
SEGMENT_RECORDS = 65_536
"""Records a segment may hold: an ordinal in it fits 16 bits."""

_BEGIN, _END = "\x02", "\x03"  # of a text; no register text holds either
_KIND_BITS, _CHARACTER_BITS, _ORDINAL_BITS = 42, 21, 16
_KEY_BYTES, _MESSAGE_BYTES = 8, 16
_DENSE = SEGMENT_RECORDS // 16  # from here on a bitmap is smaller than a list
_BITMAP_BYTES = SEGMENT_RECORDS // 8
_BLOCK_BYTES = 12 << 10
_COUNT = struct.Struct("<I")


class Match(StrEnum):
    """How a searched text must lie in the stored one."""

    CONTAINS = "contains"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    EXACT = "exact"


def fragments_of_texts(kind: int, texts: Sequence[str], ordinals: np.ndarray) -> np.ndarray:
    """All fragments of folded texts with the ordinal (below 65,536) of each; uint64 (m).

    An entry is fragment << 16 | ordinal: sorting them groups by fragment. Entries may repeat.
    """
    if not texts:
        return np.zeros(0, dtype=np.uint64)
    joined = "".join([f"{_BEGIN}{text}{_END}" for text in texts])
    points = np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    owners = np.repeat(
        ordinals.astype(np.uint64), np.fromiter((len(text) + 2 for text in texts), np.int64)
    )
    base = np.uint64(kind << _KIND_BITS)
    inner = (points != ord(_BEGIN)) & (points != ord(_END))
    singles = base | points[inner]
    paired = points[:-1] != ord(_END)
    pairs = base | (points[:-1][paired] << np.uint64(_CHARACTER_BITS)) | points[1:][paired]
    return np.concatenate([_entries(singles, owners[inner]), _entries(pairs, owners[:-1][paired])])


def fragments_of_numbers(kind: int, numbers: np.ndarray, ordinals: np.ndarray) -> np.ndarray:
    """The same for whole numbers below 2^42, each a fragment of its own."""
    return _entries(
        np.uint64(kind << _KIND_BITS) | numbers.astype(np.uint64), ordinals.astype(np.uint64)
    )


def distinct(entries: np.ndarray) -> np.ndarray:
    """Entries in order, each once (numpy's own `unique` hashes, which takes ten times as long)."""
    ordered = np.sort(entries)
    if not len(ordered):
        return ordered
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))]


def _entries(fragments: np.ndarray, ordinals: np.ndarray) -> np.ndarray:
    return (fragments << np.uint64(_ORDINAL_BITS)) | ordinals


def fragments_of_search(kind: int, text: str, match: Match) -> list[int]:
    """The fragments that every text matching a folded search text (not empty) has."""
    whole = text
    if match in (Match.PREFIX, Match.EXACT):
        whole = _BEGIN + whole
    if match in (Match.SUFFIX, Match.EXACT):
        whole += _END
    pieces = [whole[at : at + 2] for at in range(len(whole) - 1)] or [whole]
    found = []
    for piece in dict.fromkeys(pieces):
        points = [ord(character) for character in piece]
        packed = points[0] if len(points) == 1 else points[0] << _CHARACTER_BITS | points[1]
        found.append(kind << _KIND_BITS | packed)
    return found


def fragment_of_number(kind: int, number: int) -> int:
    """The fragment of a whole number."""
    return kind << _KIND_BITS | number


def blind(keys: BlindKeys, fragments: np.ndarray) -> np.ndarray:
    """Blind keys of fragments: uint64 (n) -> int64 (n), under the town's SEARCH key."""
    messages = np.zeros((len(fragments), _MESSAGE_BYTES), dtype=np.uint8)
    messages[:, :_KEY_BYTES] = fragments.astype(">u8").view(np.uint8).reshape(-1, _KEY_BYTES)
    return keys.search_keys("fragment", messages, np.full(len(fragments), _KEY_BYTES))


# -- blocks ------------------------------------------------------------------------------------


def pack(keys: BlindKeys, entries: np.ndarray) -> list[tuple[int, int, bytes]]:
    """Blocks of a segment's entries, uint64 (n) in any order: (first key, last key, content)."""
    if not len(entries):
        return []
    entries = distinct(entries)
    grouped = entries >> np.uint64(_ORDINAL_BITS)
    starts = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))
    fragments = grouped[starts]
    ordinals = (entries & np.uint64(SEGMENT_RECORDS - 1)).astype("<u2")
    ends = np.append(starts[1:], len(entries))
    blinded = blind(keys, fragments)
    order = np.argsort(blinded, kind="stable")
    blocks: list[tuple[int, int, bytes]] = []
    block: list[tuple[int, np.ndarray]] = []
    size = 0
    for key, start, end in zip(
        blinded[order].tolist(), starts[order].tolist(), ends[order].tolist(), strict=True
    ):
        if block and block[-1][0] == key:  # two fragments under one key: once in 2^64
            block[-1] = (key, np.union1d(block[-1][1], ordinals[start:end]))
            continue
        if size >= _BLOCK_BYTES:
            blocks.append(_block(block))
            block, size = [], 0
        block.append((key, ordinals[start:end]))
        size += min(2 * (end - start), _BITMAP_BYTES) + 12
    blocks.append(_block(block))
    return blocks


def _packed_ordinals(ordinals: np.ndarray) -> bytes:
    if len(ordinals) < _DENSE:
        return ordinals.tobytes()
    bits = np.zeros(SEGMENT_RECORDS, dtype=bool)
    bits[ordinals] = True
    return np.packbits(bits, bitorder="little").tobytes()


def _block(parts: Sequence[tuple[int, np.ndarray]]) -> tuple[int, int, bytes]:
    keys = np.array([key for key, _ in parts], dtype="<i8").tobytes()
    counts = np.array([len(ordinals) for _, ordinals in parts], dtype="<u4").tobytes()
    content = b"".join([_packed_ordinals(ordinals) for _, ordinals in parts])
    return parts[0][0], parts[-1][0], _COUNT.pack(len(parts)) + keys + counts + content


def ordinals_in(block: bytes, key: int) -> np.ndarray | None:
    """Ordinals of the records under a blind key in a block's content, ascending; None = none."""
    (size,) = _COUNT.unpack_from(block)
    keys = np.frombuffer(block, "<i8", size, _COUNT.size)
    place = int(np.searchsorted(keys, key))
    if place == size or keys[place] != key:
        return None
    counts = np.frombuffer(block, "<u4", size, _COUNT.size + 8 * size)
    sizes = np.where(counts[: place + 1] < _DENSE, counts[: place + 1] * 2, _BITMAP_BYTES)
    at = _COUNT.size + 12 * size + int(sizes[:-1].sum())
    if counts[place] < _DENSE:
        return np.frombuffer(block, "<u2", int(counts[place]), at)
    bits = np.frombuffer(block, np.uint8, _BITMAP_BYTES, at)
    return np.flatnonzero(np.unpackbits(bits, bitorder="little")).astype(np.uint16)


def in_all(found: Iterable[np.ndarray]) -> np.ndarray:
    """Ordinals that stand in every one of the arrays (at least one), ascending; int64."""
    shortest, *others = sorted(found, key=len)
    common = shortest
    for other in others:
        if not len(common):
            break
        near = np.minimum(np.searchsorted(other, common), len(other) - 1)
        common = common[other[near] == common]
    return common.astype(np.int64)
