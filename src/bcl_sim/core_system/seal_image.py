"""Small seal imprints as PNG: 1 bit, 400 dots per inch, drawn from the registration number.

The same number always gives the same picture, so images need not be kept. Written with the
standard library only (PNG specification: signature, IHDR, pHYs, IDAT, IEND).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from functools import cache

import numpy as np

DOTS_PER_INCH = 400
SMALLEST_MM, LARGEST_MM = 8.0, 25.0
_MM_PER_INCH = 25.4


def pixels(millimetres: float) -> int:
    """Edge length in dots of a square of so many millimetres."""
    return round(millimetres * DOTS_PER_INCH / _MM_PER_INCH)


def edge_millimetres(seal_registration_number: str, image_number: int) -> float:
    """Edge of the imprint of a registration: 10 to 18 mm."""
    digest = _digest(seal_registration_number, image_number)
    return 10.0 + digest[0] % 17 * 0.5


def _digest(seal_registration_number: str, image_number: int) -> bytes:
    text = f"{seal_registration_number}/{image_number}".encode()
    return hashlib.blake2b(text, digest_size=32).digest()


def draw_seal(seal_registration_number: str, image_number: int, edge: int | None = None) -> bytes:
    """PNG bytes of the imprint, `edge` dots wide: a ring with strokes in it, no two alike."""
    digest = _digest(seal_registration_number, image_number)
    edge = edge or pixels(edge_millimetres(seal_registration_number, image_number))
    ring, disc, rows, inside = _blank(edge)
    # An 8 by 8 pattern of strokes stands for the carved characters.
    bits = np.unpackbits(np.frombuffer(digest[1:9], dtype=np.uint8)).reshape(8, 8)
    strokes = bits.astype(bool)[rows][:, rows] & inside
    return write_png(~(ring | (strokes & disc)))


@cache
def _blank(edge: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What all imprints of a size share: ring, disc, pattern row of each dot, stroke grid."""
    y, x = np.ogrid[0:edge, 0:edge]
    middle = (edge - 1) / 2
    distance = np.hypot(x - middle, y - middle) / (edge / 2)
    rows = np.minimum(np.arange(edge) * 8 // edge, 7)
    line = (np.arange(edge) * 8 % edge) < edge * 0.7
    ring = (distance > 0.88) & (distance <= 0.99)
    return ring, distance < 0.8, rows, line[:, None] & line[None, :]


def write_png(white: np.ndarray) -> bytes:
    """A 1-bit greyscale PNG of a boolean array (True = white)."""
    height, width = white.shape
    packed = np.packbits(white, axis=1)
    lines = np.zeros((height, packed.shape[1] + 1), dtype=np.uint8)
    lines[:, 1:] = packed
    per_metre = round(DOTS_PER_INCH / _MM_PER_INCH * 1000)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
            _chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1)),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), 4)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )
