"""JSON with exactly one meaning."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcl_contract import strict_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_parse__what_was_written__comes_back(value):
    assert strict_json.parse(strict_json.write(value)) == value
    assert strict_json.parse(json.dumps(value).encode()) == value  # with \u escapes


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":2}', "duplicate name"),
        (b'{"a":1,"\\u0061":2}', "duplicate name"),
        (b"[NaN]", "not a number"),
        (b"[Infinity]", "not a number"),
        (b"[1e999]", "number too large"),
        (b"[9007199254740993]", "integer too large"),
        (b"[" + b"1" * 5000 + b"]", "integer too large"),
        (b'["\\udc00"]', "not UTF-8"),
        (b'["\xed\xa0\x80"]', "not UTF-8"),
        (b"\xef\xbb\xbf[]", "not JSON"),
        (b"[] []", "not JSON"),
        (b"[1,]", "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 33 + b"]" * 33, "too deep"),
        (b"[" * 100_000, "too deep"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "too deep"),
    ],
)
def test_parse__more_than_one_meaning__is_refused(data, reason):
    with pytest.raises(strict_json.JsonFault) as caught:
        strict_json.parse(data)
    assert caught.value.reason == reason


def test_parse__brackets_inside_a_string__are_not_depth():
    assert strict_json.parse(b'"' + b"[" * 100 + b'\\"[' + b'"') == "[" * 100 + '"['


def test_parse__too_many_bytes__is_refused_first():
    with pytest.raises(strict_json.JsonFault, match="too large"):
        strict_json.parse(b"[" + b" " * 100 + b"]", max_bytes=50)


VECTORS = Path(os.environ.get("BCL_VECTORS", "/nonexistent")) / "jsontestsuite"


@pytest.mark.skipif(not VECTORS.is_dir(), reason="BCL_VECTORS is not set")
def test_parse__the_json_test_suite__invalid_is_refused_valid_is_read():
    paths = sorted(VECTORS.glob("**/[yn]_*.json"))
    assert len(paths) > 200
    for path in paths:
        data = path.read_bytes()
        try:
            strict_json.parse(data)
        except strict_json.JsonFault as fault:
            # Valid by the grammar, but with more than one meaning: refused on purpose.
            if path.name.startswith("y_"):
                assert fault.reason in ("duplicate name", "integer too large", "not UTF-8"), path
            continue
        assert path.name.startswith("y_"), path.name
