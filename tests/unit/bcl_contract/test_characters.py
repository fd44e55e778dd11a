"""Characters: what is forbidden, how long a text is, what a search key folds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcl_contract import characters
from bcl_contract.characters import (
    base_length,
    fold_address,
    fold_kana,
    fold_name,
    forbidden_character,
)

IVS = "\U000e0100"


@pytest.mark.parametrize(
    "text",
    [
        "辻" + IVS,
        "﨑塚隆",
        "𠮷",
        "\U0002f9f4",
        "JOHN O'DOE",
        "ヴァ・ー",
        "１番地−２",
        "㈱",
        "Ⅲ",
        "",
    ],
)
def test_forbidden_character__legal_text__gives_none(text):
    assert forbidden_character(text) is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a\nb", "CHARACTER_CONTROL"),
        ("\x00", "CHARACTER_CONTROL"),
        ("\x9f", "CHARACTER_CONTROL"),
        ("\u2029", "CHARACTER_LINE_SEPARATOR"),
        ("\u2066", "CHARACTER_BIDI"),
        ("\ufeff", "CHARACTER_INVISIBLE"),
        ("\ud800", "CHARACTER_SURROGATE"),
        ("\uf8ff", "CHARACTER_PRIVATE_USE"),
        ("\U000f0000", "CHARACTER_PRIVATE_USE"),
        ("\U0010de92", "CHARACTER_ADDITIONAL"),
        ("\ufdd0", "CHARACTER_NONCHARACTER"),
        (IVS, "CHARACTER_LONE_SELECTOR"),
        ("辻" + IVS + IVS, "CHARACTER_LONE_SELECTOR"),
        ("\u3040", "CHARACTER_UNASSIGNED"),
    ],
)
def test_forbidden_character__illegal_text__gives_its_rule(text, rule):
    assert forbidden_character("甲" * (not text.startswith(IVS)) + text) == rule


def test_forbidden_character__additional_characters_in_the_list__pass(monkeypatch):
    monkeypatch.setattr(characters, "_additional", lambda c: c == "\U0010de92")
    assert forbidden_character("\U0010de92") is None
    assert forbidden_character("\U0010de92\U0010de93") == "CHARACTER_ADDITIONAL"


def test_base_length__selectors__are_not_counted():
    assert base_length("辻" + IVS + "葛\ufe00") == 2
    assert base_length("𠮷野") == 2


@pytest.mark.requirement("R-077")
@pytest.mark.parametrize(
    ("fold", "one", "other"),
    [
        (fold_name, "渡辺　太郎", "渡辺 太郎"),
        (fold_name, "辻" + IVS + "太郎", "辻太郎"),
        (fold_name, "ＪＯＨＮ　Doe", "john doe"),
        (fold_name, "ｼﾞｮﾝ・ﾄﾞｳ", "じょん どう"),
        (fold_kana, "キョウコ", "キヨウコ"),
        (fold_kana, "ﾜﾀﾅﾍﾞ", "わたなべ"),
        (fold_kana, "オーノ", "オノ"),
        (fold_kana, "オーノ", "オ－ノ"),
        (fold_kana, "カヲル", "カオル"),
        (fold_kana, "アイヅ", "アイズ"),
        (fold_address, "本町一丁目２番地の３", "本町1-2-3"),
        (fold_address, "本町１丁目２番３号", "本町１－２－３"),
        (fold_address, "十二番地", "12"),
        (fold_address, "二十三番地１", "23-1"),
        (fold_address, "霞ヶ関", "霞が関"),
    ],
)
def test_fold__two_spellings_of_one_thing__make_one_key(fold, one, other):
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("fold", "one", "other"),
    [
        (fold_name, "太郎", "次郎"),
        (fold_kana, "カトウ", "サトウ"),
        (fold_kana, "カギ", "カキ"),
        (fold_address, "１番地１１", "１１番地１"),
        (fold_address, "三宅町", "3宅町"),
    ],
)
def test_fold__two_different_things__keep_two_keys(fold, one, other):
    assert fold(one) != fold(other)


JAPANESE = "".join(
    chr(code)
    for first, last in ((0x41, 0x7A), (0x3041, 0x3096), (0x30A1, 0x30FE), (0xFF21, 0xFF9F))
    for code in range(first, last + 1)
)


@given(st.text(JAPANESE + "渡辺髙﨑　 ・", max_size=30))
def test_fold__a_key__folds_to_itself(text):
    for fold in (fold_kana, fold_name):
        key = fold(text)
        assert fold(key) == key


def test_install_reduction__variants_of_a_character__share_a_key(monkeypatch):
    monkeypatch.setattr(characters, "_reduce", lambda text: text.replace("邊", "辺"))
    assert fold_name("渡邊") == fold_name("渡辺")
