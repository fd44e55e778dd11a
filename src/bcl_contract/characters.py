"""Characters of the register: what may be stored, how long it is, how it is searched.

Owns: the forbidden characters, the length in base characters, the folded search keys.
Promises: nothing here changes a stored value; folding makes separate keys (NFC would already
turn 塚 U+FA10 into another character).
Source: administrative standard characters (行政事務標準文字), domain rules of the interface.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

# One pattern per rule, in the order in which they are reported. Ranges are written as
# escapes on purpose: the characters themselves are invisible.
FORBIDDEN_PATTERNS: Mapping[str, str] = {
    "CHARACTER_CONTROL": "\u0000-\u001f\u007f-\u009f",
    "CHARACTER_LINE_SEPARATOR": "\u2028\u2029",
    "CHARACTER_BIDI": "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069",
    "CHARACTER_INVISIBLE": "\u00ad\u180e\u200b-\u200d\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb",
    "CHARACTER_SURROGATE": "\ud800-\udfff",
    "CHARACTER_PRIVATE_USE": "\ue000-\uf8ff\U000f0000-\U000ffffd",
    "CHARACTER_ADDITIONAL": "\U00100000-\U0010fffd",
    "CHARACTER_NONCHARACTER": "\ufdd0-\ufdef\ufffd-\uffff\U000e0000-\U000e007f",
}

_FORBIDDEN = {rule: re.compile("[" + ranges + "]") for rule, ranges in FORBIDDEN_PATTERNS.items()}
VARIATION_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_SELECTOR = re.compile("[" + VARIATION_SELECTORS + "]")
_LONE_SELECTOR = re.compile("(?:^|[" + VARIATION_SELECTORS + "\\s])[" + VARIATION_SELECTORS + "]")


def _is_additional_character(_: str) -> bool:
    """Say whether a plane-16 character is in the list of additional characters (GJ).

    The list is data of the agency that is not shipped here; without it every one is refused.
    """
    return False


_additional: Callable[[str], bool] = _is_additional_character


def install_additional_characters(contains: Callable[[str], bool]) -> None:
    """Put the list of additional administrative standard characters (plane 16) in force."""
    global _additional  # noqa: PLW0603 - one list per process, set once at start
    _additional = contains


def forbidden_character(text: str) -> str | None:
    """Give the id of the first rule that a text breaks, or None.

    Tabs and line ends are control characters here: a value is one line.
    """
    for rule, pattern in _FORBIDDEN.items():
        found = pattern.search(text)
        if found is None:
            continue
        if rule == "CHARACTER_ADDITIONAL" and all(
            _additional(hit) for hit in pattern.findall(text)
        ):
            continue
        return rule
    if _LONE_SELECTOR.search(text):
        return "CHARACTER_LONE_SELECTOR"
    # New ideographs are registered faster than Python's tables follow: planes 2 and 3 are
    # left to the fonts, which refuse what they can't draw.
    for character in text:
        if (
            unicodedata.category(character) == "Cn"
            and not "\U00020000" <= character <= "\U0003fffd"
        ):
            return "CHARACTER_UNASSIGNED"
    return None


def base_length(text: str) -> int:
    """Count base characters: code points without variation selectors (IVS, SVS)."""
    return len(text) - len(_SELECTOR.findall(text))


# --- folded search keys -----------------------------------------------------------------

_SMALL_KANA = str.maketrans("ァィゥェォッャュョヮヵヶ", "アイウエオツヤユヨワカケ")
_HIRAGANA = {code: code + 0x60 for code in range(0x3041, 0x3097)}
# Dashes that people type for the long vowel sign, and the sign itself.
_DASHES = dict.fromkeys(map(ord, "ー‐‑‒–—―−－ｰ─━-~〜～"), "ー")
_SPACES_AND_DOTS = re.compile(r"[\s・･·,，.．'’]+")
_HISTORIC_KANA = str.maketrans("ヰヱヲヂヅ", "イエオジズ")

_reduce: Callable[[str], str] = lambda text: text  # noqa: E731 - the identity until installed


def install_reduction(reduce: Callable[[str], str]) -> None:
    """Put a reduction of variant characters (縮退) in force for name and address keys.

    The published table is under CC BY-SA and is not part of the product (decision D33): a
    set-up step that builds it installs it here. Keys made before and after differ, so the
    store rebuilds its search keys when it changes.
    """
    global _reduce  # noqa: PLW0603 - one table per process, set once at start
    _reduce = reduce


def _fold_width(text: str) -> str:
    """Drop variation selectors first: NFKC would keep them and split equal names."""
    return unicodedata.normalize("NFKC", _SELECTOR.sub("", text))


def fold_kana(text: str) -> str:
    """Make the search key of a reading: katakana, large kana, no long vowel sign or spaces."""
    folded = _fold_width(text).translate(_HIRAGANA).upper()
    folded = folded.translate(_SMALL_KANA).translate(_HISTORIC_KANA).translate(_DASHES)
    return _SPACES_AND_DOTS.sub("", folded).replace("ー", "")


def fold_name(text: str) -> str:
    """Make the search key of a name: width, case, variants, kana spelling and spaces folded."""
    folded = _reduce(_fold_width(text)).translate(_HIRAGANA).upper()
    folded = folded.translate(_SMALL_KANA).translate(_DASHES)
    return _SPACES_AND_DOTS.sub("", folded)


_KANJI_DIGITS = {"〇": 0, "零": 0, "一": 1, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6,
                 "七": 7, "八": 8, "九": 9}  # fmt: skip
_KE_SPELLINGS = str.maketrans(dict.fromkeys("ヶケがガ", "ガ"))  # 霞ヶ関, 霞ケ関, 霞が関
_KANJI_NUMBER = re.compile("([〇零一二三四五六七八九十百]+)(?=(?:丁目|番地|番|号|条|の))")
_LOT_WORDS = re.compile("(?<=[0-9])(?:丁目|番地の|番地|番|の|ノ|号室|号|ー)(?=[0-9])")
_LOT_END = re.compile("(?<=[0-9])(?:番地|番|号室|号)(?![0-9])")


def _kanji_number(found: re.Match[str]) -> str:
    text = found.group(1)
    if "十" not in text and "百" not in text:
        return "".join(str(_KANJI_DIGITS[digit]) for digit in text)
    total, digit = 0, 0
    for character in text:
        if character in "十百":
            total += (digit or 1) * (10 if character == "十" else 100)
            digit = 0
        else:
            digit = _KANJI_DIGITS[character]
    return str(total + digit)


def fold_address(text: str) -> str:
    """Make the search key of an address: 一丁目２番地の３ and 1-2-3 become the same."""
    folded = _reduce(_fold_width(text)).upper().translate(_DASHES)
    folded = _SPACES_AND_DOTS.sub("", folded)
    folded = folded.translate(_KE_SPELLINGS)
    folded = _KANJI_NUMBER.sub(_kanji_number, folded)
    folded = _LOT_WORDS.sub("-", folded)
    return _LOT_END.sub("", folded)
