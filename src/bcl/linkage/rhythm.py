"""When should the next transmission of a town have been here? Pure: times in, decisions out.

R-035: missing deliveries alarm, measured against the town's own rhythm. A town that sends on
working days only is not late on Sunday; one that sends every hour is late after three.

    rhythm = learn_rhythm(arrivals, terms)
    judge_silence(SilenceFacts(...), rhythm, terms, now)   # set of codes that hold now
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from statistics import median

from bcl_contract.clock import JST

GATEWAY_SILENT = "LINKAGE_GATEWAY_SILENT"
CORE_SILENT = "LINKAGE_CORE_SILENT"


@dataclass(frozen=True)
class SilenceTerms:
    """Amounts in seconds, as dated data; `samples` intervals make a rhythm."""

    first_interval_seconds: int
    grace_seconds: int
    gateway_silent_seconds: int
    samples: int


@dataclass(frozen=True)
class Rhythm:
    """The interval a lane is expected to keep after its last arrival; `learned` from how many."""

    last_arrival: datetime
    interval: timedelta
    learned: int

    @property
    def next_expected(self) -> datetime:
        """When the next transmission should be here."""
        return self.last_arrival + self.interval


@dataclass(frozen=True)
class SilenceFacts:
    """What was heard last: `asked_at` of a gateway that asks all day, `seen_at` of any request."""

    asked_at: datetime | None = None
    seen_at: datetime | None = None


def learn_rhythm(arrivals: Sequence[datetime], terms: SilenceTerms) -> Rhythm | None:
    """Learn from the arrivals of one lane, ascending; None when there was none yet.

    The interval after an arrival is the median of those that began on the same day of the week;
    until there are enough of them, the longest of those few and the median of all. Medians,
    because one late night and one extra transmission must not move what is expected.
    """
    if not arrivals:
        return None
    last = arrivals[-1]
    gaps = [
        (_weekday(before), (after - before).total_seconds()) for before, after in pairwise(arrivals)
    ]
    if len(gaps) < terms.samples:
        return Rhythm(last, timedelta(seconds=terms.first_interval_seconds), 0)
    usual = median(seconds for _, seconds in gaps)
    own = [seconds for weekday, seconds in gaps if weekday == _weekday(last)]
    interval = median(own) if len(own) >= terms.samples else max([usual, *own])
    return Rhythm(last, timedelta(seconds=interval), len(gaps))


def judge_silence(
    facts: SilenceFacts, rhythm: Rhythm | None, terms: SilenceTerms, now: datetime
) -> frozenset[str]:
    """Which alarms hold now.

    A gateway that asks all day and has stopped asking is silent, however the data stands. Data
    that is late is the core system's silence if its gateway was heard of within the same limit,
    else the gateway's: a gateway that never asks (an external transfer tool) is known by its
    data alone.
    """
    limit = timedelta(seconds=terms.gateway_silent_seconds)
    heard = [at for at in (facts.asked_at, facts.seen_at) if at is not None]
    is_alive = bool(heard) and now - max(heard) <= limit
    if facts.asked_at is not None and not is_alive:
        return frozenset({GATEWAY_SILENT})
    if rhythm is None or now <= rhythm.next_expected + timedelta(seconds=terms.grace_seconds):
        return frozenset()
    return frozenset({CORE_SILENT if is_alive else GATEWAY_SILENT})


def load_silence_terms(
    at: datetime, *, lane: str = "main", grace_seconds: int | None = None
) -> SilenceTerms:
    """The terms in force at `at` (`data/silence.csv`); `grace_seconds` is the town's own."""
    text = files("bcl.linkage").joinpath("data", "silence.csv").read_text("utf-8")
    rows = [
        row
        for row in csv.DictReader(text.splitlines())
        if row["lane"] == lane and datetime.fromisoformat(row["effective_from"]) <= at
    ]
    newest = max(rows, key=lambda row: datetime.fromisoformat(row["effective_from"]))
    return SilenceTerms(
        first_interval_seconds=int(newest["first_interval_seconds"]),
        grace_seconds=int(newest["grace_seconds"]) if grace_seconds is None else grace_seconds,
        gateway_silent_seconds=int(newest["gateway_silent_seconds"]),
        samples=int(newest["samples"]),
    )


def _weekday(at: datetime) -> int:
    return at.astimezone(JST).weekday()
