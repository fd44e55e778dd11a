"""Deflate blocks that end on a byte boundary can be joined like bricks.

Owns: deflating one page on its own, joining pages to one stream, joining CRC-32 values.
Promises: pages joined in any order and ended with `FINAL_BLOCK` are one ordinary deflate
stream of their contents (RFC 1951); `crc32_joined` is the CRC-32 of the joined contents.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

from isal import isal_zlib

FINAL_BLOCK = b"\x03\x00"
"""An empty block with fixed codes and the final bit: what ends a spliced stream."""

InflateError: type[Exception] = isal_zlib.error  # type: ignore[assignment]

_LEVEL = 1
_RAW = -15
_POLYNOMIAL = 0xEDB88320


def deflate_page(clear: bytes) -> bytes:
    """Deflate bytes so that the result ends on a byte and refers to nothing before it."""
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW)
    return compressor.compress(clear) + compressor.flush(isal_zlib.Z_FULL_FLUSH)


def inflate_page(deflated: bytes, clear_size: int) -> bytes:
    """Undo `deflate_page`. Raises ValueError when the size is not as recorded."""
    clear: bytes = isal_zlib.decompressobj(_RAW).decompress(deflated + FINAL_BLOCK)
    if len(clear) != clear_size:
        raise ValueError("a page is not as long as recorded")
    return clear


def crc32(clear: bytes) -> int:
    """CRC-32 as in zip files."""
    value: int = isal_zlib.crc32(clear)
    return value


def _times(matrix: list[int], vector: int) -> int:
    total, row = 0, 0
    while vector:
        if vector & 1:
            total ^= matrix[row]
        vector >>= 1
        row += 1
    return total


def _square(matrix: list[int]) -> list[int]:
    return [_times(matrix, row) for row in matrix]


@lru_cache(maxsize=4096)
def _shift_matrix(length: int) -> tuple[int, ...]:
    """The GF(2) matrix that carries a CRC over `length` zero bytes."""
    matrix = [_POLYNOMIAL, *(1 << bit for bit in range(31))]
    for _ in range(3):
        matrix = _square(matrix)
    result = [1 << bit for bit in range(32)]
    while length:
        if length & 1:
            result = [_times(matrix, row) for row in result]
        matrix = _square(matrix)
        length >>= 1
    return tuple(result)


def crc32_joined(first: int, second: int, second_length: int) -> int:
    """CRC-32 of A + B from the CRC-32 of A, that of B, and the length of B in bytes."""
    if second_length == 0:
        return first
    return _times(list(_shift_matrix(second_length)), first) ^ second


def is_spliced_stream(stream: bytes) -> bool:
    """Say whether zlib itself accepts the bytes as one finished deflate stream."""
    inflater = zlib.decompressobj(_RAW)
    inflater.decompress(stream)
    return inflater.eof and not inflater.unused_data
