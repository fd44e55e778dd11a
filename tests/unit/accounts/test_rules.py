"""Who may do what, how long a session lives, whom throttling hits."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcl.accounts import rules
from bcl.accounts.rules import AGENCY_CODE, Role
from bcl_contract.clock import JST

LIMITS = rules.limits_on(date(2026, 11, 23))
NOON = datetime(2026, 11, 23, 12, tzinfo=JST)
ROLES = st.frozensets(st.sampled_from(list(Role)))


@pytest.mark.requirement("R-060")
@given(role=st.sampled_from(list(Role)), granter=ROLES, town=st.booleans())
def test_may_grant__only_managers_and_only_roles_of_the_own_kind(role, granter, town) -> None:
    code = "999997" if town else AGENCY_CODE
    refusal = rules.may_grant(role, municipality_code=code, granter_roles=granter)
    allowed = "accounts.manage" in rules.permissions_of(granter) and (
        role.startswith("AGENCY_") is not town
    )
    assert (refusal is None) is allowed


@pytest.mark.requirement("R-060")
def test_permissions__no_agency_role_sees_residents_or_approves_for_a_town() -> None:
    for role in Role:
        held = rules.permissions_of([role])
        assert "home.view" in held, "every role has a place to land"
        if role.startswith("AGENCY_"):
            assert not held & {"residents.view", "recovery.approve", "linkage.release"}
        if role != Role.TOWN_APPROVER:
            assert "recovery.approve" not in held


@given(roles=ROLES, more=ROLES)
def test_permissions__more_roles_never_take_a_right_away(roles, more) -> None:
    assert rules.permissions_of(roles) <= rules.permissions_of(roles | more)


@given(
    idle=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=2)),
    age=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=2)),
)
def test_judge_session__lives_only_inside_both_limits(idle, age) -> None:
    times = rules.SessionTimes(NOON - max(age, idle), NOON - idle)
    alive = rules.judge_session(times, NOON, LIMITS) is None
    assert alive is (
        idle < timedelta(minutes=LIMITS.idle_minutes)
        and max(age, idle) < timedelta(hours=LIMITS.absolute_hours)
    )


def test_judge_throttle__another_terminal_is_not_hit() -> None:
    at_fault = rules.Failures(of_pair=LIMITS.pair_failures, of_terminal=LIMITS.pair_failures)
    assert rules.judge_throttle(at_fault, LIMITS).code == "SIGN_IN_TOO_MANY"
    assert rules.judge_throttle(rules.Failures(0, LIMITS.pair_failures), LIMITS) is None
    assert rules.judge_throttle(rules.Failures(0, LIMITS.terminal_failures), LIMITS) is not None


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short", "PASSWORD_TOO_SHORT"),
        ("xx-staff-a-1234", "PASSWORD_TOO_SIMPLE"),
        ("aaaaaaaaaaaaaaaa", "PASSWORD_TOO_SIMPLE"),
        ("x" * 5000, "PASSWORD_TOO_LONG"),
        ("あさがおの咲く日に海へ行く", None),
        ("correct horse battery", None),
    ],
)
def test_judge_password__weak_ones_are_named(password, code) -> None:
    refusal = rules.judge_password(password, login_name="staff-a", limits=LIMITS)
    assert (refusal.code if refusal else None) == code


def test_limits__before_the_first_row__are_a_fault() -> None:
    with pytest.raises(TypeError):
        rules.limits_on(date(2000, 1, 1))
