"""When is a town late? Against its own rhythm, with medians, and with two kinds of silence."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcl.linkage.rhythm import (
    CORE_SILENT,
    GATEWAY_SILENT,
    Rhythm,
    SilenceFacts,
    SilenceTerms,
    judge_silence,
    learn_rhythm,
    load_silence_terms,
)
from bcl_contract.clock import JST

pytestmark = pytest.mark.requirement("R-035")
TERMS = SilenceTerms(86_400, 7_200, 1_800, 3)
MONDAY = datetime(2026, 11, 2, 20, 30, tzinfo=JST)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
GRACE = timedelta(seconds=TERMS.grace_seconds)


def working_days(weeks: int) -> list[datetime]:
    return [MONDAY + DAY * (7 * week + day) for week in range(weeks) for day in range(5)]


def test_daily_town__is_late_a_day_and_its_grace_after_the_last():
    rhythm = learn_rhythm([MONDAY + DAY * n for n in range(10)], TERMS)
    assert rhythm.interval == DAY
    due = rhythm.next_expected + GRACE
    heard = SilenceFacts(asked_at=due, seen_at=due)
    assert judge_silence(heard, rhythm, TERMS, due) == frozenset()
    late = due + timedelta(seconds=1)
    assert judge_silence(heard, rhythm, TERMS, late) == {CORE_SILENT}


def test_town_of_working_days__is_not_late_on_sunday_but_on_monday_night():
    arrivals = working_days(weeks=4)  # the last is a Friday
    rhythm = learn_rhythm(arrivals, TERMS)
    assert rhythm.interval == 3 * DAY
    sunday = arrivals[-1] + 2 * DAY
    assert judge_silence(SilenceFacts(sunday, sunday), rhythm, TERMS, sunday) == frozenset()
    tuesday = arrivals[-1] + 4 * DAY
    assert judge_silence(SilenceFacts(tuesday, tuesday), rhythm, TERMS, tuesday) == {CORE_SILENT}
    # Within the week it is a day all the same.
    assert learn_rhythm(arrivals[:-1], TERMS).interval == DAY


def test_hourly_town__is_late_within_hours():
    rhythm = learn_rhythm([MONDAY + HOUR * n for n in range(60)], TERMS)
    assert rhythm.interval == HOUR


def test_one_late_night_and_one_extra_transmission__move_nothing():
    usual = [MONDAY + DAY * n for n in range(28)]
    usual[10] += 5 * HOUR
    arrivals = sorted([*usual, usual[20] + timedelta(minutes=10)])
    assert abs(learn_rhythm(arrivals, TERMS).interval - DAY) < timedelta(minutes=30)


@pytest.mark.parametrize("arrivals", [[MONDAY], [MONDAY, MONDAY + HOUR]])
def test_before_a_rhythm_is_known__the_dated_interval_holds(arrivals):
    rhythm = learn_rhythm(arrivals, TERMS)
    assert (rhythm.interval, rhythm.learned) == (DAY, 0)


def test_silent_gateway__is_another_alarm_than_a_silent_core_system():
    rhythm = Rhythm(MONDAY, DAY, 10)
    noon = MONDAY + 12 * HOUR  # nothing is late yet
    stopped = SilenceFacts(asked_at=noon - HOUR, seen_at=noon - HOUR)
    assert judge_silence(stopped, rhythm, TERMS, noon) == {GATEWAY_SILENT}
    late = MONDAY + 2 * DAY
    assert judge_silence(SilenceFacts(late, late), rhythm, TERMS, late) == {CORE_SILENT}
    only_sends = SilenceFacts(asked_at=None, seen_at=MONDAY)
    assert judge_silence(only_sends, rhythm, TERMS, noon) == frozenset()
    assert judge_silence(only_sends, rhythm, TERMS, late) == {GATEWAY_SILENT}


def test_town_that_never_sent__raises_no_alarm_but_its_stopped_gateway_does():
    assert judge_silence(SilenceFacts(), None, TERMS, MONDAY) == frozenset()
    stopped = SilenceFacts(MONDAY - HOUR, MONDAY - HOUR)
    assert judge_silence(stopped, None, TERMS, MONDAY) == {GATEWAY_SILENT}


def test_terms__are_dated_and_the_grace_is_the_towns_own():
    assert load_silence_terms(MONDAY).grace_seconds == 7200
    assert load_silence_terms(MONDAY, grace_seconds=60).grace_seconds == 60
    with pytest.raises(ValueError, match="empty"):
        load_silence_terms(datetime(2020, 1, 1, tzinfo=JST))


@given(
    gaps=st.lists(st.integers(60, 5 * 86_400), min_size=1, max_size=80),
    asked=st.none() | st.integers(0, 10 * 86_400),
    elapsed=st.integers(0, 20 * 86_400),
)
def test_any_history__one_alarm_at_most_and_none_before_it_is_due(gaps, asked, elapsed):
    arrivals = [MONDAY]
    for gap in gaps:
        arrivals.append(arrivals[-1] + timedelta(seconds=gap))
    rhythm = learn_rhythm(arrivals, TERMS)
    now = arrivals[-1] + timedelta(seconds=elapsed)
    asked_at = None if asked is None else now - timedelta(seconds=asked)
    alarms = judge_silence(SilenceFacts(asked_at, asked_at), rhythm, TERMS, now)

    assert len(alarms) <= 1
    assert min([*gaps, 86_400]) <= rhythm.interval.total_seconds() <= max([*gaps, 86_400])
    if CORE_SILENT in alarms:
        assert now > rhythm.next_expected + GRACE
        assert asked is not None and asked <= TERMS.gateway_silent_seconds
    if not alarms:
        assert now <= rhythm.next_expected + GRACE or asked_at is not None
