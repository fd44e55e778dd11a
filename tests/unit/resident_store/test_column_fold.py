"""Folding a column gives what folding each value gives."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given

from bcl.resident_store.column_fold import fold_column
from bcl_contract import characters

NAMES = st.text(
    st.one_of(
        st.sampled_from("山田太郎ヶヴァーゝぁ゛゜・　ｶﾞＡａ０－〇々邊﨑A é"),
        st.characters(min_codepoint=0x3000, max_codepoint=0x30FF),
        st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF),
        st.characters(min_codepoint=0xF900, max_codepoint=0xFFEF),
        st.sampled_from(["\U000e0100", "\U00020bb7", "\u3099", "\uff9e", "\ufe00", "\u1161"]),
    ),
    max_size=12,
)


@pytest.mark.parametrize("fold", [characters.fold_name, characters.fold_kana])
@given(names=st.lists(NAMES, min_size=1, max_size=20))
@example(names=["", "　", "か\u3099", "ｶﾞ", "ー", "山田　太郎", "A"])
def test_fold_column__any_names__agrees_with_folding_each(fold, names) -> None:
    raw = [name.encode() for name in names]
    width = max(3, -(-max(map(len, raw)) // 3) * 3)
    matrix, lengths, left = fold_column(fold, np.array(raw, dtype=f"S{width}"))
    for row, name in enumerate(names):
        if row not in left:
            assert matrix[row, : lengths[row]].tobytes().decode() == fold(name)
            assert not matrix[row, lengths[row] :].any()


@pytest.mark.parametrize("fold", [characters.fold_name, characters.fold_kana])
def test_fold_column__ordinary_names__leaves_none_to_be_folded_alone(fold) -> None:
    names = ["山田　太郎", "ヤマダ　タロウ", "やまだ", "髙﨑", "佐々木　ミヨ子"]
    raw = np.array([name.encode() for name in names], dtype="S30")
    assert len(fold_column(fold, raw)[2]) == 0
