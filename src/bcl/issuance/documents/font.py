"""The guard of characters: which glyph a character has in the very font that will draw it.

The renderer says nothing when a glyph is missing; it would leave a gap or draw a look-alike
(decision D36). So every character is looked up here first: the font's cmap for plain
characters, its format 14 table for a kanji with a variation selector (IVS).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

DEFAULT_FONT_PATH = Path("/usr/share/fonts/truetype/ipamj/ipamjm.ttf")
FONT_FAMILY = "IPAmjMincho"
_SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_NOT_DRAWN_ALONE = frozenset({"Mn", "Mc", "Me", "Cf", "Cc", "Cs", "Co", "Cn", "Zl", "Zp"})


class FontNotInstalledError(RuntimeError):
    """The certificate font is not where the setting says."""


def is_selector(character: str) -> bool:
    """Tell a variation selector, which belongs to the character before it."""
    return _SELECTOR.match(character) is not None


def clusters(text: str) -> list[str]:
    """Give each character together with its variation selector."""
    if _SELECTOR.search(text) is None:
        return list(text)
    found: list[str] = []
    for character in text:
        if is_selector(character) and found and len(found[-1]) == 1:
            found[-1] += character
        else:
            found.append(character)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Typeface:
    """The glyph tables of one font file; built once per process and never changed."""

    path: Path
    units_per_em: int
    glyph_names: dict[str, str]
    widths: dict[str, int]

    def glyph_of(self, cluster: str) -> str | None:
        """Return the name of the exact glyph of a character, or None when there is none.

        A sequence counts only if the font lists exactly this sequence: falling back to the
        plain character would print another shape of somebody's name.
        """
        return self.glyph_names.get(cluster)

    def missing(self, text: str) -> int | None:
        """Return the position (in characters) of the first one without a glyph, else None."""
        for index, cluster in enumerate(clusters(text)):
            if cluster not in self.glyph_names:
                return index
        return None

    def advance_em(self, cluster: str) -> float:
        """Return the advance width in em; the glyph must exist."""
        return self.widths[cluster] / self.units_per_em

    def width_mm(self, text: str, size_pt: float) -> float:
        """Return the width of a line set at a size, millimetres."""
        units = sum(self.widths[cluster] for cluster in clusters(text))
        return units / self.units_per_em * size_pt * 25.4 / 72


@lru_cache(maxsize=2)
def load_typeface(path: Path = DEFAULT_FONT_PATH) -> Typeface:
    """Read the glyph tables of the certificate font (about 0.3 s, once per process).

    Raises `FontNotInstalledError` with a sentence for the operator when the file is not there.
    """
    if not path.is_file():
        raise FontNotInstalledError(
            f"証明書の文字（IPAmj明朝）が {path} にありません。fonts-ipamj-mincho を入れるか、"
            "BCL_FONT_IPAMJ にフォントファイルの場所を指定してください。"
        )
    with TTFont(path, lazy=True) as font:
        metrics = font["hmtx"].metrics
        names = {
            chr(code): name
            for code, name in font.getBestCmap().items()
            if unicodedata.category(chr(code)) not in _NOT_DRAWN_ALONE
        }
        for table in font["cmap"].tables:
            if table.format != 14:
                continue
            for selector, pairs in table.uvsDict.items():
                for code, name in pairs:
                    exact = name or names.get(chr(code))
                    if exact:
                        names[chr(code) + chr(selector)] = exact
        widths = {cluster: metrics[name][0] for cluster, name in names.items()}
        return Typeface(path, font["head"].unitsPerEm, names, widths)
