"""Blind keys: many at once equal one at a time; kinds and towns are apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcl.resident_store.blind_keys import FOLDS, BlindKeys, fold_all
from bcl_contract import characters

KEYS = BlindKeys(identity=bytes(range(32)), search=bytes(range(32, 64)))
NAMES = st.text(
    st.one_of(
        st.sampled_from("　 ・ーヴァｶﾞか゛゙髙﨑葛󠄀辻ＡBばﾊﾟは゜㍿①"),
        st.characters(blacklist_categories=("Cs", "Cn"), blacklist_characters="\0"),
    ),
    max_size=12,
)


@pytest.mark.parametrize("kind", sorted(FOLDS))
@settings(max_examples=200, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=10))
def test_folded_keys__of_many_names__equal_those_of_each(kind: str, names: list[str]) -> None:
    together = KEYS.folded_keys(kind, [name.encode() for name in names]).tolist()
    assert together == [KEYS.search_key(kind, name) for name in names]


@settings(max_examples=100, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=10))
def test_fold_all__equals_folding_each_alone(names: list[str]) -> None:
    folded = fold_all(characters.fold_name, [name.encode() for name in names])
    assert folded == [characters.fold_name(name).encode() for name in names]


def test_search_keys__of_another_kind_or_town__differ() -> None:
    other = BlindKeys(identity=bytes(range(32)), search=bytes(range(1, 33)))
    number = "000000000012345"
    found = {
        KEYS.search_key("person", number), KEYS.search_key("household", number),
        other.search_key("person", number),
    }
    assert len(found) == 3
    assert "12345" not in repr(KEYS)
    assert KEYS.search_key("name", "髙橋　一郎") == KEYS.search_key("name", "髙橋一郎")
