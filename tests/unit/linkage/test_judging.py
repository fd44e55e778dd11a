"""The pure decisions of the intake: sequence, verdict, interface windows, obstacles, states."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcl.linkage.rules import (
    TRANSITIONS,
    ChangeLimits,
    FileCounts,
    FileLimits,
    IntakeFacts,
    InterfaceWindow,
    LaneFacts,
    Place,
    TransmissionState,
    TransmissionSummary,
    VerdictKind,
    judge_interface_version,
    judge_obstacle,
    judge_sequence,
    judge_transmission,
    load_interface_windows,
    load_limits,
    may_move,
)
from bcl_contract.clock import JST
from bcl_contract.refusals import Refusal

AT = datetime(2026, 11, 22, 12, 0, tzinfo=JST)
LIMITS = ChangeLimits(by_file={}, default=FileLimits(5, 5, 30))


def summary(**changes) -> TransmissionSummary:
    facts = {
        "lane": "main",
        "mode": "full",
        "as_of": AT,
        "files": (FileCounts("J01", 1000, 1000, unchanged=1000, before=1000),),
    }
    return TransmissionSummary(**facts | changes)


def verdict_of(changed: TransmissionSummary, *, last=None, limits=LIMITS, released=False):
    verdict = judge_transmission(changed, last, limits, released=released)
    return verdict.kind, verdict.refusal.code if verdict.refusal else None


@pytest.mark.requirement("R-021")
@pytest.mark.parametrize("rows", [999, 1001, 0])
def test_judge__when_the_totals_differ_by_one__rejects(rows) -> None:
    counts = FileCounts("J01", declared=1000, rows=rows)
    assert verdict_of(summary(files=(counts,))) == (
        VerdictKind.REJECT,
        "TRANSMISSION_CONTROL_TOTALS",
    )


@pytest.mark.parametrize(
    ("before", "ended", "inserted", "kind"),
    [
        (1000, 50, 0, VerdictKind.LAND),
        (1000, 51, 0, VerdictKind.HOLD),
        (1000, 0, 50, VerdictKind.LAND),
        (1000, 0, 51, VerdictKind.HOLD),
        (100, 30, 0, VerdictKind.LAND),  # 30 percent, but thirty persons
        (100, 31, 0, VerdictKind.HOLD),
        (0, 0, 1000, VerdictKind.LAND),  # the first load of a file
    ],
)
def test_judge__at_the_mass_change_limit__holds_only_beyond_it(
    before, ended, inserted, kind
) -> None:
    rows = before - ended + inserted
    counts = FileCounts("J01", rows, rows, inserted=inserted, ended=ended, before=before)
    judged, code = verdict_of(summary(files=(counts,)), last=summary())
    assert judged is kind
    assert code == (None if kind is VerdictKind.LAND else "TRANSMISSION_MASS_CHANGE")


def test_judge__of_growth_in_change_history__never_holds() -> None:
    counts = FileCounts("J03", 500, 500, inserted=500, before=100)
    limits = load_limits(AT, on_row_errors="reject")
    assert (
        verdict_of(summary(files=(counts,)), last=summary(), limits=limits)[0] is VerdictKind.LAND
    )


def test_judge__of_protection_vanishing__holds_early() -> None:
    counts = FileCounts("J04", 90, 90, ended=10, before=100)
    limits = load_limits(AT, on_row_errors="reject")
    assert (
        verdict_of(summary(files=(counts,)), last=summary(), limits=limits)[0] is VerdictKind.HOLD
    )


def test_judge__with_row_errors__does_what_the_town_has_set() -> None:
    wrong = summary(row_errors=3)
    for setting, kind, code in (
        ("reject", VerdictKind.REJECT, "TRANSMISSION_ROW_ERRORS"),
        ("hold", VerdictKind.HOLD, "TRANSMISSION_ROW_ERRORS_HELD"),
        ("quarantine", VerdictKind.LAND, None),
        ("a word nobody knows", VerdictKind.REJECT, "TRANSMISSION_ROW_ERRORS"),
    ):
        limits = ChangeLimits({}, LIMITS.default, on_row_errors=setting)
        assert verdict_of(wrong, limits=limits) == (kind, code)
    held = ChangeLimits({}, LIMITS.default, on_row_errors="hold")
    assert verdict_of(wrong, limits=held, released=True)[0] is VerdictKind.LAND


def test_judge__of_a_first_differential__rejects() -> None:
    assert verdict_of(summary(mode="differential")) == (
        VerdictKind.REJECT,
        "TRANSMISSION_FIRST_NOT_FULL",
    )
    urgent = summary(mode="differential", lane="urgent")
    assert verdict_of(urgent)[0] is VerdictKind.LAND


def test_judge__of_an_older_state__holds() -> None:
    older = summary(as_of=AT - timedelta(seconds=1))
    assert verdict_of(older, last=summary()) == (VerdictKind.HOLD, "TRANSMISSION_AS_OF_BACKWARDS")
    assert verdict_of(summary(), last=summary())[0] is VerdictKind.LAND


counts_strategy = st.builds(
    FileCounts,
    file_id=st.sampled_from(["J01", "J03", "J04", "S01", "T02"]),
    declared=st.integers(0, 1000),
    rows=st.integers(0, 1000),
    inserted=st.integers(0, 1000),
    changed=st.integers(0, 1000),
    ended=st.integers(0, 1000),
    before=st.integers(0, 2000),
)
summary_strategy = st.builds(
    TransmissionSummary,
    lane=st.sampled_from(["main", "urgent"]),
    mode=st.sampled_from(["full", "differential"]),
    as_of=st.datetimes(
        min_value=datetime(2026, 1, 1),  # noqa: DTZ001 - the zone comes below
        max_value=datetime(2027, 1, 1),  # noqa: DTZ001
        timezones=st.just(JST),
    ),
    files=st.lists(counts_strategy, max_size=4).map(tuple),
    fatal=st.integers(0, 2),
    row_errors=st.integers(0, 2),
)
limits_strategy = st.builds(
    ChangeLimits,
    by_file=st.just({}),
    default=st.builds(
        FileLimits,
        shrink_percent=st.one_of(st.none(), st.integers(0, 100)),
        growth_percent=st.one_of(st.none(), st.integers(0, 100)),
        free_rows=st.integers(0, 100),
    ),
    on_row_errors=st.sampled_from(["reject", "hold", "quarantine"]),
)
last_strategy = st.one_of(st.none(), summary_strategy)


@given(summary_strategy, last_strategy, limits_strategy)
def test_judge__whatever_comes__never_lands_what_is_wrong(one, last, limits) -> None:
    verdict = judge_transmission(one, last, limits)
    wrong = one.fatal or any(counts.rows != counts.declared for counts in one.files)
    if wrong:
        assert verdict.kind is VerdictKind.REJECT
    assert (verdict.refusal is None) == (verdict.kind is VerdictKind.LAND)


@given(summary_strategy, last_strategy, limits_strategy)
def test_judge__after_a_release__turns_hold_into_land_and_nothing_else(one, last, limits) -> None:
    before = judge_transmission(one, last, limits).kind
    after = judge_transmission(one, last, limits, released=True).kind
    expected = VerdictKind.LAND if before is VerdictKind.HOLD else before
    assert after is expected


@given(summary_strategy, last_strategy, limits_strategy, st.integers(0, 3))
def test_judge__with_more_vanishing__never_gets_milder(one, last, limits, more) -> None:
    order = [VerdictKind.LAND, VerdictKind.HOLD, VerdictKind.REJECT]
    files = tuple(
        FileCounts(
            **{
                name: getattr(counts, name) + (more if name == "ended" else 0)
                for name in FileCounts.__dataclass_fields__
                if name != "file_id"
            },
            file_id=counts.file_id,
        )
        for counts in one.files
    )
    worse = TransmissionSummary(one.lane, one.mode, one.as_of, files, one.fatal, one.row_errors)
    before = order.index(judge_transmission(one, last, limits).kind)
    assert order.index(judge_transmission(worse, last, limits).kind) >= before


# --- sequence ---------------------------------------------------------------------------------


@pytest.mark.requirement("R-019")
@pytest.mark.parametrize(
    ("sequence", "previous", "expected"),
    [
        (8, 7, Place.NEXT),
        (9, 8, Place.AHEAD),
        (100, 99, Place.AHEAD),
        (7, 6, "TRANSMISSION_FORK"),
        (1, 0, "TRANSMISSION_FORK"),
        (11, 10, "TRANSMISSION_FORK"),  # 11 is waiting under other content
        (8, 6, "TRANSMISSION_SEQUENCE_BROKEN"),
        (8, 8, "TRANSMISSION_SEQUENCE_BROKEN"),
    ],
)
def test_sequence__is_placed_or_refused(sequence, previous, expected) -> None:
    placed = judge_sequence(
        sequence=sequence, previous_sequence=previous, lane=LaneFacts(7, frozenset({11}))
    )
    assert (placed.code if isinstance(placed, Refusal) else placed) == expected


@given(st.permutations(range(1, 8)))
def test_sequence__in_any_order_of_arrival__applies_each_number_once_and_in_order(order) -> None:
    """A small model of the intake: what is ahead waits, what is next lands and wakes the next."""
    landed: list[int] = []
    waiting: set[int] = set()
    for arrived in order:
        lane = LaneFacts(len(landed), frozenset(waiting))
        placed = judge_sequence(sequence=arrived, previous_sequence=arrived - 1, lane=lane)
        assert isinstance(placed, Place)
        if placed is Place.AHEAD:
            waiting.add(arrived)
            continue
        landed.append(arrived)
        while len(landed) + 1 in waiting:
            waiting.remove(len(landed) + 1)
            landed.append(len(landed) + 1)
    assert landed == sorted(order)
    assert waiting == set()


# --- interface versions -------------------------------------------------------------------------


def test_interface_version__outside_its_window__is_refused_to_the_second() -> None:
    windows = [
        InterfaceWindow("1.0", AT - timedelta(days=300), AT),
        InterfaceWindow("2.0", AT - timedelta(days=30), None),
    ]

    def code(version: str, at: datetime) -> str | None:
        refusal = judge_interface_version(version, at, windows)
        return None if refusal is None else refusal.code

    second = timedelta(seconds=1)
    assert code("1.0", AT - second) is None
    assert code("1.0", AT) == "TRANSMISSION_INTERFACE_EXPIRED"
    assert code("2.0", AT - timedelta(days=30) - second) == "TRANSMISSION_INTERFACE_NOT_YET_VALID"
    assert code("2.0", AT - timedelta(days=30)) is None
    assert code("3.0", AT) == "TRANSMISSION_INTERFACE_VERSION"


def test_dated_data__is_there_for_today() -> None:
    assert judge_interface_version("1.0", AT, load_interface_windows()) is None
    limits = load_limits(AT, on_row_errors="reject", percent=9)
    assert (limits.default.shrink_percent, limits.default.growth_percent) == (9, 9)
    assert limits.of("J03").growth_percent is None


# --- obstacles ----------------------------------------------------------------------------------


@pytest.mark.requirement("R-019")
@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (IntakeFacts(seconds_since_landing=60), None),
        (IntakeFacts(), None),
        (IntakeFacts(held={"TRANSMISSION_GAP": 2}), "TRANSMISSION_GAP"),
        (IntakeFacts(held={"TRANSMISSION_MASS_CHANGE": 1}), "LINKAGE_TRANSMISSION_HELD"),
        (IntakeFacts(unconfirmed_forks=1), "TRANSMISSION_FORK"),
        (IntakeFacts(urgent_waiting=1), "LINKAGE_URGENT_WAITING"),
        (IntakeFacts(urgent_rejected=1), "LINKAGE_URGENT_REJECTED"),
        (IntakeFacts(oldest_waiting_seconds=1800), None),
        (IntakeFacts(oldest_waiting_seconds=1801), "LINKAGE_BACKLOG"),
        (IntakeFacts(seconds_since_landing=72 * 3600), None),
        (IntakeFacts(seconds_since_landing=72 * 3600 + 1), "LINKAGE_STALE"),
    ],
)
def test_obstacle__names_what_forbids_issuing(facts, code) -> None:
    refusal = judge_obstacle(facts, grace_seconds=1800, stale_seconds=72 * 3600)
    assert (None if refusal is None else refusal.code) == code


# --- states -------------------------------------------------------------------------------------


def test_states__every_one_is_in_the_table_and_the_last_ones_are_final() -> None:
    assert set(TRANSITIONS) == set(TransmissionState)
    for final in (TransmissionState.LANDED, TransmissionState.REJECTED):
        assert not any(may_move(final, after) for after in TransmissionState)
    assert not may_move(TransmissionState.RECEIVED, TransmissionState.LANDED)
    assert not may_move(TransmissionState.HELD, TransmissionState.LANDED)
