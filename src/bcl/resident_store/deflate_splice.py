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
_POLYNOMIAL, _ONE, _WORD = 0xEDB88320, 0x80000000, 0xFFFFFFFF
_A_BYTE = 0x00800000  # x to the 8th


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


def _times(first: int, second: int) -> int:
    """Multiply two polynomials over GF(2), bits reversed as CRC-32 has them, modulo its own."""
    product = 0
    while first:
        if first & _ONE:
            product ^= second
        first = first << 1 & _WORD
        second = second >> 1 ^ _POLYNOMIAL if second & 1 else second >> 1
    return product


@lru_cache(maxsize=8)
def _powers(place: int) -> tuple[int, ...]:
    """What carries a CRC over `n << 8 * place` zero bytes, for each n of a byte."""
    step = _A_BYTE if place == 0 else _times(_powers(place - 1)[-1], _powers(place - 1)[1])
    powers = [_ONE]
    for _ in range(255):
        powers.append(_times(powers[-1], step))
    return tuple(powers)


def crc32_joined(first: int, second: int, second_length: int) -> int:
    """CRC-32 of A + B from the CRC-32 of A, that of B, and the length of B in bytes."""
    if second_length == 0:
        return first
    for place in range((second_length.bit_length() + 7) // 8):
        if digit := second_length >> 8 * place & 0xFF:
            first = _times(_powers(place)[digit], first)
    return first ^ second


def is_spliced_stream(stream: bytes) -> bool:
    """Say whether zlib itself accepts the bytes as one finished deflate stream."""
    inflater = zlib.decompressobj(_RAW)
    inflater.decompress(stream)
    return inflater.eof and not inflater.unused_data
