"""The decision: every reason, its order, and what may be seen of it from outside."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcl.issuance.kinds import all_kinds
from bcl.issuance.records import CopyOptions, HouseholdRecord, PersonRecord, Scope
from bcl.issuance.rules import (
    _PLAIN,
    _REASONS,
    TRANSITIONS,
    Approve,
    Block,
    BlockScope,
    CardLink,
    Freshness,
    IssueFacts,
    TownRules,
    TransactionState,
    TransitionError,
    Wish,
    birthday,
    check_transition,
    decide_issue,
    outward,
)
from bcl_contract.clock import JST
from bcl_contract.refusals import REFUSALS, Refusal

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=JST)
FINE = {
    "resident_state": "1",
    "removed_record": "0",
    "change_pending": "0",
    "born_on": "1970-05-01",
}


def member(number: str = "1", **columns: str) -> PersonRecord:
    return PersonRecord(number, FINE | columns, 7)


def facts(person: PersonRecord | None = None, **fields) -> IssueFacts:
    person = person or member()
    others = fields.pop("others", ())
    base = {
        "at": NOW,
        "wish": Wish("RESIDENT_RECORD_COPY", 1, CopyOptions(Scope.HOUSEHOLD)),
        "town": TownRules(),
        "closed": None,
        "set_up": True,
        "freshness": Freshness(7, 7, NOW - timedelta(hours=1), False),
        "links": (CardLink("1", "1", "1", None, date(2030, 1, 1)),),
        "person": person,
        "household": HouseholdRecord("999997", (person, *others), 7),
        "household_held": False,
    }
    base["definition"] = all_kinds().current((fields.get("wish") or base["wish"]).kind, NOW.date())
    return IssueFacts(**base | fields)


def link(number: str = "1", kind: str = "1", status: str = "1", **days) -> CardLink:
    return CardLink(number, kind, status, days.get("begins"), days.get("ends", date(2030, 1, 1)))


def block(scope: BlockScope = BlockScope.PERSON, number: str = "1", **fields) -> Block:
    base = {
        "certificate_kind": "",
        "starts_at": NOW - timedelta(days=1),
        "ends_at": None,
        "by_staff": True,
        "addressee_number": number if scope is BlockScope.PERSON else "",
    }
    return Block(scope, **base | fields)


SELF = Wish("RESIDENT_RECORD_COPY", 1, CopyOptions(Scope.SELF))
TABLE = [
    (facts(), None),
    (facts(wish=Wish("FAMILY_REGISTER", 1, CopyOptions(Scope.SELF))), "ISSUE_KIND_NOT_OFFERED"),
    (
        facts(wish=Wish("RESIDENT_RECORD_COPY", 2, CopyOptions(Scope.SELF))),
        "ISSUE_OPTION_NOT_ALLOWED",
    ),
    (
        facts(
            wish=Wish(
                "RESIDENT_RECORD_COPY", 1, CopyOptions(Scope.SELF, frozenset({"individual_number"}))
            )
        ),
        "ISSUE_OPTION_NOT_ALLOWED",
    ),
    (facts(closed=Refusal("ISSUE_OUTSIDE_HOURS")), "ISSUE_OUTSIDE_HOURS"),
    (facts(set_up=False), "ISSUE_NOT_SET_UP"),
    (facts(freshness=Freshness(8, 7, NOW, False)), "ISSUE_DATA_NOT_CURRENT"),
    (facts(freshness=Freshness(7, 7, NOW, True)), "ISSUE_DATA_NOT_CURRENT"),
    (facts(freshness=Freshness(0, 0, None, False)), "ISSUE_DATA_NOT_CURRENT"),
    (facts(freshness=Freshness(7, 7, NOW - timedelta(hours=73), False)), "ISSUE_DATA_NOT_CURRENT"),
    (facts(links=()), "ISSUE_CARD_NOT_LINKED"),
    (facts(links=(link(kind="3"),)), "ISSUE_CARD_NOT_LINKED"),
    (facts(links=(link(status="2"),)), "ISSUE_CARD_LINK_REVOKED"),
    (facts(links=(link(status="3"),)), "ISSUE_CARD_LINK_REVOKED"),
    (facts(links=(link(ends=date(2026, 11, 21)),)), "ISSUE_CARD_LINK_EXPIRED"),
    (facts(links=(link(ends=date(2026, 11, 22)),)), None),
    (facts(links=(link(ends=None),)), "ISSUE_CARD_LINK_EXPIRED"),
    (facts(links=(link(begins=date(2026, 11, 23)),)), "ISSUE_CARD_LINK_EXPIRED"),
    (facts(links=(link(), link("2"))), "ISSUE_CARD_LINK_AMBIGUOUS"),
    (facts(links=(link(), link("2", status="2"))), None),
    (facts(links=(link("2"),)), "ISSUE_PERSON_NOT_RESIDENT_HERE"),
    (facts(member(resident_state="3")), "ISSUE_PERSON_DEAD"),
    (facts(member(resident_state="2")), "ISSUE_PERSON_MOVED_OUT"),
    (facts(member(resident_state="9")), "ISSUE_PERSON_REMOVED"),
    (facts(member(resident_state="")), "ISSUE_PERSON_REMOVED"),
    (facts(member(removed_record="1")), "ISSUE_PERSON_REMOVED"),
    (facts(household_held=True), "ISSUE_HOUSEHOLD_HELD"),
    (facts(household=None), "ISSUE_HOUSEHOLD_HELD"),
    (facts(member(change_pending="1")), "ISSUE_CHANGE_PENDING"),
    (facts(member(change_pending="")), "ISSUE_CHANGE_PENDING"),
    (facts(others=(member("2", change_pending="1"),)), "ISSUE_CHANGE_PENDING"),
    (facts(measured=frozenset({"1"})), "ISSUE_PROTECTIVE_MEASURE"),
    (facts(measured=frozenset({"2"}), wish=SELF), "ISSUE_PROTECTIVE_MEASURE"),
    (facts(member(resident_state="2"), measured=frozenset({"1"})), "ISSUE_PROTECTIVE_MEASURE"),
    (facts(blocks=(block(),)), "ISSUE_BLOCKED_BY_STAFF"),
    (facts(blocks=(block(by_staff=False),)), "ISSUE_BLOCKED_BY_TOWN"),
    (facts(blocks=(block(BlockScope.HOUSEHOLD),)), "ISSUE_BLOCKED_BY_STAFF"),
    (facts(blocks=(block(BlockScope.MUNICIPALITY),)), "ISSUE_BLOCKED_BY_STAFF"),
    (facts(blocks=(block(certificate_kind="TAX"),)), None),
    (facts(blocks=(block(certificate_kind="RESIDENT_RECORD_COPY"),)), "ISSUE_BLOCKED_BY_STAFF"),
    (facts(blocks=(block(certificate_kind="??"),)), "ISSUE_BLOCKED_BY_STAFF"),
    (facts(blocks=(block(ends_at=NOW),)), None),
    (facts(blocks=(block(ends_at=NOW + timedelta(seconds=1)),)), "ISSUE_BLOCKED_BY_STAFF"),
    (facts(blocks=(block(starts_at=NOW + timedelta(seconds=1)),)), None),
    (facts(blocks=(block(starts_at=None),)), "ISSUE_BLOCKED_BY_STAFF"),
    (facts(others=(member("2"),), blocks=(block(number="2"),)), "ISSUE_BLOCKED_BY_STAFF"),
    (facts(others=(member("2"),), blocks=(block(number="2"),), wish=SELF), None),
    (facts(member(moving_out_planned_on="2026-11-22")), "ISSUE_MOVING_OUT_DATE_PASSED"),
    (facts(member(moving_out_planned_on="2026-11-23")), None),
    (
        facts(member(moving_out_planned_on="2026-12-31"), town=TownRules(until_moving_out=False)),
        "ISSUE_MOVING_OUT_DATE_PASSED",
    ),
    (facts(member(moving_out_confirmed_on="2026-12-31")), "ISSUE_MOVING_OUT_DATE_PASSED"),
    (
        facts(others=(member("2", moving_out_planned_on="2026-11-01"),)),
        "ISSUE_MOVING_OUT_DATE_PASSED",
    ),
    (facts(others=(member("2", moving_out_planned_on="2026-11-01"),), wish=SELF), None),
    (facts(member(born_on="2011-11-22")), None),
    (facts(member(born_on="2011-11-23")), "ISSUE_UNDER_AGE"),
    (facts(member(born_on="")), "ISSUE_RECORD_INCOMPLETE"),
    (
        facts(
            wish=Wish(
                "RESIDENT_RECORD_COPY", 1, CopyOptions(Scope.PART, selected=frozenset({"99"}))
            )
        ),
        "ISSUE_MEMBER_NOT_IN_HOUSEHOLD",
    ),
]


@pytest.mark.requirement("R-075")
@pytest.mark.requirement("R-047")
@pytest.mark.requirement("R-073")
@pytest.mark.requirement("R-074")
@pytest.mark.parametrize("number", range(len(TABLE)))
def test_decide__every_row_of_the_table__has_its_code(number):
    given_facts, code = TABLE[number]
    decision = decide_issue(given_facts)
    if code is None:
        assert isinstance(decision, Approve), decision
    else:
        assert isinstance(decision, Refusal) and decision.code == code


@pytest.mark.requirement("R-076")
def test_age__reached_at_midnight_of_the_birthday():
    assert birthday(date(2008, 2, 29), 15) == date(2023, 3, 1)
    young = member(born_on="2011-11-23")
    before = datetime(2026, 11, 22, 23, 59, 59, tzinfo=JST)
    assert decide_issue(facts(young, at=before)).code == "ISSUE_UNDER_AGE"
    midnight = datetime(2026, 11, 23, 0, 0, 0, tzinfo=JST)
    assert isinstance(decide_issue(facts(young, at=midnight)), Approve)


@pytest.mark.requirement("R-068")
def test_tax_years__open_on_the_first_of_june_by_default():
    assert TownRules().tax_years(date(2026, 5, 31)) == (2025,)
    assert TownRules().tax_years(date(2026, 6, 1)) == (2026,)
    assert TownRules(tax_years_offered=3).tax_years(date(2026, 6, 1)) == (2026, 2025, 2024)


@pytest.mark.requirement("R-076")
def test_minimum_age__a_town_may_ask_for_more_but_not_less():
    seal = all_kinds().current("SEAL_REGISTRATION", NOW.date())
    assert TownRules().minimum_age(seal) == 15
    assert TownRules(minimum_ages={"SEAL_REGISTRATION": 18}).minimum_age(seal) == 18
    assert TownRules(minimum_ages={"SEAL_REGISTRATION": 10}).minimum_age(seal) == 15


@pytest.mark.requirement("R-074")
@settings(max_examples=300)
@given(st.data())
def test_decide__a_protected_household__never_gets_a_paper_nor_a_code_of_its_own(data):
    """Whatever else holds: no approval, and outside one of the codes that others get too."""
    given_facts, _ = data.draw(st.sampled_from(TABLE))
    protected = replace(given_facts, measured=frozenset({data.draw(st.sampled_from("123"))}))
    decision = decide_issue(protected)
    assert isinstance(decision, Refusal)
    if decision.code == "ISSUE_PROTECTIVE_MEASURE":
        pending = decide_issue(facts(member(change_pending="1")))
        blocked = decide_issue(facts(blocks=(block(),)))
        held = decide_issue(facts(household_held=True))
        seen = {
            (outward(r).code, tuple(outward(r).detail)) for r in (decision, pending, blocked, held)
        }
        assert len(seen) == 1
    else:
        assert decision.code == decide_issue(given_facts).code


@settings(max_examples=200)
@given(
    state=st.sampled_from(["1", "2", "3", "9", ""]),
    pending=st.sampled_from(["0", "1", ""]),
    held=st.booleans(),
    lag=st.booleans(),
    link_status=st.sampled_from(["1", "2", "3"]),
    blocked=st.booleans(),
    measured=st.booleans(),
)
def test_decide__approves_only_when_nothing_stands_against_it(
    state, pending, held, lag, link_status, blocked, measured
):
    decision = decide_issue(
        facts(
            member(resident_state=state, change_pending=pending),
            household_held=held,
            freshness=Freshness(8 if lag else 7, 7, NOW, False),
            links=(link(status=link_status),),
            blocks=(block(),) if blocked else (),
            measured=frozenset("1") if measured else frozenset(),
        )
    )
    clean = state == "1" and pending == "0" and link_status == "1"
    assert isinstance(decision, Approve) is (
        clean and not held and not lag and not blocked and not measured
    )


@pytest.mark.requirement("R-074")
def test_outward__never_shows_an_inner_code_or_a_detail():
    for code in [c for c in REFUSALS if c.startswith("ISSUE_")]:
        said = outward(Refusal(code, {"field": "member.full_name"}))
        assert not said.code.startswith("ISSUE_") and dict(said.detail) == {}
    assert outward(Refusal("TRANSMISSION_NOT_FOUND")).code == "CENTER_VISIT_COUNTER"
    assert outward(Refusal("USER_AUTH_CERT_REVOKED")).code == "USER_AUTH_CERT_REVOKED"
    assert not set(_PLAIN) & set(_REASONS)
    inner = {c for c in REFUSALS if c.startswith("ISSUE_")}
    assert inner == set(_PLAIN) | set(_REASONS)


def test_transitions__ends_have_no_way_out_and_unknown_moves_raise():
    ends = {state for state, following in TRANSITIONS.items() if not following}
    assert ends == {
        TransactionState.REFUSED,
        TransactionState.DELIVERED,
        TransactionState.ABORTED,
        TransactionState.EXPIRED,
        TransactionState.FAILED,
    }
    assert set(TRANSITIONS) == set(TransactionState)
    for end in ends:
        for state in TransactionState:
            with pytest.raises(TransitionError):
                check_transition(end, state)
    with pytest.raises(TransitionError):
        check_transition("REQUESTED", "SENT")
