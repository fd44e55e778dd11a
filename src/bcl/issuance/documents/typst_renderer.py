"""Drawing a placed page model as PDF/A-1b with typst.

The model reaches typst as data (JSON), never as source text: nothing a town wrote can become
markup. Same model, same bytes: the only time in the file is a fixed one.
Nothing is kept between two papers but the font, typst itself and the empty form.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import typst

from bcl.issuance.documents.font import FONT_FAMILY, FontNotInstalledError
from bcl.issuance.documents.model import PlacedModel, PlacedPage

# The day a paper was made is printed on it; the file's own time must not differ between two
# renderings of the same paper, so it is a constant.
FIXED_TIME = datetime(2020, 1, 1, tzinfo=UTC)

# `form` and `picture` are functions because typst remembers a function's result for equal
# arguments: the empty form and the seal of a town are the same in paper after paper. The values
# of a person are drawn outside of them.
_TEMPLATE = f"""
#let model = json("model.json")
#set document(title: model.title, keywords: (model.number,), date: auto)
#set page(width: model.width * 1mm, height: model.height * 1mm, margin: 0mm)
#set text(font: "{FONT_FAMILY}", fallback: false, lang: "ja", region: "jp", kerning: false,
  ligatures: false, hyphenate: false, cjk-latin-spacing: none,
  top-edge: 0.88em, bottom-edge: -0.12em)
#set par(leading: 0pt, spacing: 0pt, justify: false)
#let words(texts) = for (x, y, size, gap, value) in texts {{
  place(top + left, dx: x * 1mm, dy: y * 1mm, text(size: size * 1pt, tracking: gap * 1mm, value))
}}
#let form(width, height, lines, texts) = block(width: width * 1mm, height: height * 1mm, {{
  for (weight, path) in lines {{
    place(top + left, curve(stroke: weight * 1pt, ..path.map(((x1, y1, x2, y2)) => (
      curve.move((x1 * 1mm, y1 * 1mm)), curve.line((x2 * 1mm, y2 * 1mm)))).flatten()))
  }}
  words(texts)
}})
#let picture(name, side) = image(bytes(json(name)), format: "png", width: side * 1mm)
#for (index, side) in model.pages.enumerate() {{
  if index > 0 {{ pagebreak() }}
  for (x, y, size, name) in side.images {{
    place(top + left, dx: x * 1mm, dy: y * 1mm, picture(name, size))
  }}
  place(top + left, form(model.width, model.height, side.lines, side.form))
  words(side.values)
}}
""".encode()


@lru_cache(maxsize=2)
def _fonts(path: Path) -> typst.Fonts:
    if not path.is_file():
        raise FontNotInstalledError(f"証明書のフォントが {path} にありません。")
    return typst.Fonts(
        include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(path.parent)]
    )


class _Engines(threading.local):
    """One typst compiler per thread and font: making its library anew costs a tenth of a paper.

    A compiler gets every file of a paper with each call and belongs to one thread, so two papers
    never meet in it; should it ever draw an old one, the read-back finds another issue number.
    """

    def __init__(self) -> None:
        self.of_font: dict[Path, typst.Compiler] = {}

    def get(self, path: Path) -> typst.Compiler:
        engine = self.of_font.get(path)
        if engine is None:
            # The type hints of typst know paths and bytes only; its manual names dicts of files.
            engine = typst.Compiler({"main.typ": b""}, font_paths=_fonts(path))  # type: ignore[type-var]
            self.of_font[path] = engine
        return engine


_engines = _Engines()


@lru_cache(maxsize=64)
def _numbers(png: bytes) -> bytes:
    """Write a picture as a list of numbers: typst takes files of text only."""
    return json.dumps(list(png), separators=(",", ":")).encode()


def render(placed: PlacedModel, font_path: Path) -> bytes:
    """Return the PDF/A-1b of a placed model; equal models give equal bytes.

    Raises `FontNotInstalledError`; any fault of typst itself comes out as its own exception.
    """
    files: dict[str, bytes] = {"main.typ": _TEMPLATE}
    model = placed.model
    pages = [_page_data(page, files) for page in placed.pages]
    data = {
        "title": model.title,
        "number": model.issue_number,
        "width": model.width_mm,
        "height": model.height_mm,
        "pages": pages,
    }
    files["model.json"] = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    pdf = _engines.get(font_path).compile(  # type: ignore[type-var]
        input=files,
        format="pdf",
        timestamp=FIXED_TIME,
        pdf_standards=["a-1b"],
        pdf_tags=False,
    )
    if not isinstance(pdf, bytes):
        raise TypeError("typst gave no PDF")
    return pdf


def _page_data(page: PlacedPage, files: dict[str, bytes]) -> dict[str, Any]:
    images = []
    for image in page.images:
        name = f"image{len(files)}.json"
        files[name] = _numbers(image.png)
        images.append([image.box.x, image.box.y, image.box.width, name])
    weights: dict[float, list[list[float]]] = {}
    for line in page.lines:
        weights.setdefault(line.weight_pt, []).append([line.x1, line.y1, line.x2, line.y2])
    form: list[list[Any]] = []
    values: list[list[Any]] = []
    for text in page.lines_of_text:
        entry = [text.x, text.y, text.size_pt, text.tracking, text.value]
        (form if text.source.is_form else values).append(entry)
    return {
        "form": form,
        "values": values,
        "lines": [[weight, paths] for weight, paths in sorted(weights.items())],
        "images": images,
    }
