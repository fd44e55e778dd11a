"""Profiles refuse what they don't know; pages keep every record once and households together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bcl.subscriptions import pages
from bcl.subscriptions.rules import columns_asked, judge_position
from bcl_contract.refusals import Refusal
from bcl_contract.subscription_profile import SubscriptionProfile, parse_profile, profile_of

pytestmark = pytest.mark.requirement("R-029")
FIELDS = {
    "name": "school-roll", "title": "学齢簿", "purpose": "学齢簿の編製",
    "legal_basis": "学校教育法施行令第1条", "subscriber": "school-system",
    "towns": ["999997"], "columns": {"J01": ["full_name", "addressee_number"]},
}


def test_profile__whole__gives_the_columns_in_the_layout_s_order() -> None:
    profile = profile_of(FIELDS)
    assert isinstance(profile, SubscriptionProfile)
    assert profile.columns == {"J01": ("addressee_number", "full_name")}
    again = profile_of(profile.as_json())
    assert isinstance(again, SubscriptionProfile) and again.sha256 == profile.sha256


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": "Big Name"}, "SUBSCRIPTION_PROFILE_FORM"),
        ({"purpose": " "}, "SUBSCRIPTION_PROFILE_FORM"),
        ({"legal_basis": ""}, "SUBSCRIPTION_PROFILE_FORM"),
        ({"towns": []}, "SUBSCRIPTION_PROFILE_FORM"),
        ({"towns": ["999998"]}, "SUBSCRIPTION_PROFILE_FORM"),
        ({"more": True}, "SUBSCRIPTION_PROFILE_FORM"),
        ({"search": ["address"]}, "SUBSCRIPTION_PROFILE_FORM"),
        ({"history": "yes"}, "SUBSCRIPTION_PROFILE_FORM"),
        ({"allow": {"everything": "x"}}, "SUBSCRIPTION_PROFILE_FORM"),
        ({"allow": {"sensitive": ""}}, "SUBSCRIPTION_PROFILE_FORM"),
        ({"columns": {"J01": []}}, "SUBSCRIPTION_PROFILE_FORM"),
        ({"columns": {"J01": ["full_name", "full_name"]}}, "SUBSCRIPTION_PROFILE_FORM"),
        ({"columns": {"J01": ["no_such_column"]}}, "SUBSCRIPTION_PROFILE_INVALID"),
        ({"columns": {"Z99": ["full_name"]}}, "SUBSCRIPTION_PROFILE_INVALID"),
        ({"columns": {"J07": ["individual_number"]}}, "SUBSCRIPTION_PROFILE_INVALID"),
        ({"columns": {"J01": ["registered_domicile"]}}, "SUBSCRIPTION_CLASS_NOT_ALLOWED"),
        ({"columns": {"J04": ["measure_kind"]}}, "SUBSCRIPTION_CLASS_NOT_ALLOWED"),
        ({"columns": {"B01": ["individual_number"]}}, "SUBSCRIPTION_CLASS_NOT_ALLOWED"),
        ({"columns": {"B03": ["location", "owner_name"]}}, "SUBSCRIPTION_CLASS_NOT_ALLOWED"),
    ],
)
def test_profile__that_says_too_much_or_too_little__is_refused(changes, code) -> None:
    refused = profile_of(FIELDS | changes)
    assert isinstance(refused, Refusal) and refused.code == code


@given(st.binary(max_size=200))
def test_profile__of_any_bytes__is_refused_without_a_fault(content) -> None:
    assert isinstance(parse_profile(content), Refusal)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers()),
                            st.dictionaries(st.text(max_size=3), st.integers()))
            for name in (*FIELDS, "allow", "search", "history")
        },
    )
)
def test_profile__with_fields_of_any_kind__never_becomes_wider(changes) -> None:
    made = profile_of({**FIELDS, **changes})
    if isinstance(made, SubscriptionProfile):
        assert made.columns == {"J01": ("addressee_number", "full_name")}
        assert not made.allow and not made.search


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15), st.booleans()), max_size=300),
    st.integers(2, 30),
)
def test_pages__of_any_records__hold_each_once_and_cut_no_household(rows, size) -> None:
    items = np.zeros(len(rows), pages.ITEM)
    for place, (person, household, gone) in enumerate(rows):
        items[place] = (
            b"J01", 0 if gone else 128 + place, place.to_bytes(16, "big"), person, household
        )
    before, pages.PAGE_ITEMS = pages.PAGE_ITEMS, size
    try:
        cut = [pages.unpack(pages.pack(page)) for page in pages.cut(items)]
    finally:
        pages.PAGE_ITEMS = before
    keys = [bytes(key) for page in cut for key in page["key"]]
    assert sorted(keys) == sorted(bytes(key) for key in items["key"])
    where: dict[int, set[int]] = {}
    for number, page in enumerate(cut):
        for group in pages.groups_of(page).tolist():
            where.setdefault(group, set()).add(number)
    assert all(len(found) == 1 for group, found in where.items() if group)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.one_of(st.none(), st.just(3)))
def test_position__is_good_only_between_stored_and_delivered(stored, ahead, after, asked) -> None:
    refusal = judge_position(
        epoch=3, acknowledged=stored, delivered=stored + ahead, asked_epoch=asked, after=after
    )
    fits = stored <= after <= stored + ahead and (asked is not None or after == 0)
    assert (refusal is None) is fits


def test_columns__asked_for__are_a_part_of_the_profile_or_denied() -> None:
    profile = profile_of(FIELDS)
    assert columns_asked(profile, None) == profile.columns
    assert columns_asked(profile, {"J01": ["full_name"]}) == {"J01": ["full_name"]}
    assert isinstance(columns_asked(profile, {"J01": ["sex"]}), Refusal)
    assert isinstance(columns_asked(profile, {"J02": []}) or {}, dict)
