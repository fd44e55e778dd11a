"""Drawing an official seal for demonstrations: a red square with a title in seal order.

A real town registers its own picture (電子公印); this one says 見本 so that no paper of a
demonstration can be taken for a real one.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pypdfium2  # type: ignore[import-untyped]
import typst

from bcl.issuance.documents.font import DEFAULT_FONT_PATH, FONT_FAMILY

_DOTS_PER_INCH = 300.0
_COLUMNS = 3
_TEMPLATE = f"""
#let data = json("seal.json")
#set page(width: data.side * 1mm, height: data.side * 1mm, margin: 0mm, fill: white)
#set text(font: "{FONT_FAMILY}", fallback: false, fill: rgb("#c8102e"), cjk-latin-spacing: none,
  top-edge: 0.88em, bottom-edge: -0.12em)
#place(top + left, dx: 0.6mm, dy: 0.6mm, rect(width: (data.side - 1.2) * 1mm,
  height: (data.side - 1.2) * 1mm, stroke: 1mm + rgb("#c8102e")))
#for (x, y, width, height, character) in data.cells {{
  place(top + left, dx: x * 1mm, dy: y * 1mm, scale(x: width * 100%, y: height * 100%,
    origin: top + left, text(size: 10mm, character)))
}}
""".encode()


def draw_demo_seal(
    head_title: str, *, side_mm: float = 20.0, font_path: Path = DEFAULT_FONT_PATH
) -> bytes:
    """Return an opaque PNG, 300 dpi, `side_mm` square: 見本 + title + 之印, right to left."""
    characters = f"見本{head_title}之印"
    rows = -(-len(characters) // _COLUMNS)
    characters = characters.ljust(rows * _COLUMNS, "印")
    inner = side_mm - 4.0
    width, height = inner / _COLUMNS, inner / rows
    cells = []
    for index, character in enumerate(characters):
        column, row = divmod(index, rows)
        x = 2.0 + (_COLUMNS - 1 - column) * width
        cells.append([x, 2.0 + row * height, width / 10, height / 10, character])
    files = {
        "main.typ": _TEMPLATE,
        "seal.json": json.dumps({"side": side_mm, "cells": cells}).encode(),
    }
    fonts = typst.Fonts(
        include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(font_path.parent)]
    )
    drawing = typst.compile(  # type: ignore[call-overload]
        files, font_paths=fonts, format="pdf", pdf_tags=False
    )
    with pypdfium2.PdfDocument(drawing) as document:
        # PDF/A-1 knows no transparency, and typst's own PNG always carries an alpha channel.
        pixels = document[0].render(scale=_DOTS_PER_INCH / 72, rev_byteorder=True).to_numpy()
        return _png(pixels[:, :, :3].tobytes(), pixels.shape[1], pixels.shape[0])


def _png(rgb: bytes, width: int, height: int) -> bytes:
    """Write 8-bit RGB pixels as a PNG file."""
    rows = b"".join(b"\0" + rgb[y * width * 3 : (y + 1) * width * 3] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
