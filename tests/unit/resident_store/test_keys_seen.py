"""Keys seen: which record keys come again, however they are spread over chunks."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from bcl.resident_store.keys_seen import KeysSeen

# Few different keys, so that they meet; with halves of zero, which the table can't hold.
KEYS = st.tuples(st.integers(0, 5), st.integers(0, 3))


@given(st.lists(st.lists(st.tuples(KEYS, st.booleans()), max_size=30), max_size=8))
def test_repeated__any_chunks__agrees_with_a_set(chunks) -> None:
    seen, known = KeysSeen(), set()
    for chunk in chunks:
        keys = np.array([key for key, _ in chunk], dtype=np.uint64).reshape(-1, 2)
        counted = np.array([count for _, count in chunk], dtype=bool)
        expected = []
        for key, count in chunk:
            expected.append(count and key in known)
            if count:
                known.add(key)
        assert seen.repeated(keys, counted).tolist() == expected


def test_repeated__many_keys__grows_and_remembers_them_all() -> None:
    dice = np.random.default_rng(7)
    keys = dice.integers(0, 2**64, (50_000, 2), dtype=np.uint64)
    seen = KeysSeen()
    for part in np.array_split(keys, 9):
        assert not seen.repeated(part, np.ones(len(part), dtype=bool)).any()
    assert seen.repeated(keys[::3], np.ones(len(keys[::3]), dtype=bool)).all()
