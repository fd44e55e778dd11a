"""The condition grammar of the layouts."""

from __future__ import annotations

import pytest

from bcl_contract.linkage.conditions import ConditionFault, parse_condition
from bcl_contract.linkage.layouts import UnknownInterfaceVersion, load_interface


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("a=1", {"a": "1"}, True),
        ("a=1", {"a": "01"}, False),
        ("a=1", {}, False),
        ("a!=1", {"a": "2"}, True),
        ("a!=1", {"a": ""}, False),
        ("a in 2|3|5", {"a": "5"}, True),
        ("a in 2|3|5", {"a": "4"}, False),
        ("empty(a)", {"a": None}, True),
        ("filled(a)", {"a": "0"}, True),
        ("a=1 and b=2", {"a": "1", "b": "2"}, True),
        ("a=1 and b=2", {"a": "1", "b": "3"}, False),
        ("a=1 or b=2 and c=3", {"a": "1"}, True),
        ("a=1 or b=2 and c=3", {"b": "2"}, False),
        ("a=1 or b=2 and c=3", {"b": "2", "c": "3"}, True),
        ("warn(a=1)", {"a": "1"}, True),
    ],
)
def test_condition__one_record__holds_or_not(text, values, holds):
    assert parse_condition(text).holds_for(values) is holds


def test_condition__warn__is_told_apart():
    assert parse_condition("warn(a=1 and b=2)").warns
    assert not parse_condition("a=1").warns
    assert parse_condition("a=1 or empty(b)").names() == {"a", "b"}


@pytest.mark.parametrize(
    "text",
    ["", "a", "a=", "=1", "a==1", "a=1 and", "a in", "a in 1|", "warn(a=1", "empty a", "a=1)",
     "a=1 b=2", "and=1", "a>1", "warn(warn(a=1))"],
)  # fmt: skip
def test_condition__not_of_the_grammar__is_a_fault(text):
    with pytest.raises(ConditionFault):
        parse_condition(text)


def test_layouts__every_condition__names_columns_of_its_own_file():
    checked = 0
    for layout in load_interface().files.values():
        for text in [layout.urgent_condition, *(c.condition for c in layout.columns)]:
            if text:
                assert all(layout.has(name) for name in parse_condition(text).names())
                checked += 1
    assert checked > 40


@pytest.mark.requirement("R-010")
def test_layouts__the_interface__is_whole():
    interface = load_interface()
    assert (len(interface.files), sum(len(x.columns) for x in interface.files.values())) == (
        23, 586,
    )  # fmt: skip
    for layout in interface.files.values():
        assert layout.key_columns[0].name == "municipality_code"
        assert [c.key_order for c in layout.key_columns] == list(
            range(1, len(layout.key_columns) + 1)
        )
        assert [c.position for c in layout.columns] == list(range(1, len(layout.columns) + 1))
        for column in layout.columns:
            assert (column.required == "C") == bool(column.condition), column
    keys = [column.name for column in interface.files["J05"].key_columns]
    assert keys == ["municipality_code", "issuer_key", "serial_number"]
    assert [c.name for c in interface.files["J02"].search_columns("kana")] == [
        "alias_or_former_surname_kana"
    ]
    assert {f for f, x in interface.files.items() if x.urgent} == {
        "J04", "J05", "J06", "S01", "S02",
    }  # fmt: skip


def test_load_interface__unknown_version__is_refused():
    with pytest.raises(UnknownInterfaceVersion):
        load_interface("9.0")
