"""The life of interface versions at the intake: reminders, and the change from one to the next.

Pure: times in, notices and refusals out.

R-037: before the deadline the municipality is reminded, after it only the revised interface is
accepted. A reminder is a stage, not a day: whoever was away on the day gets it when he is back,
and of several missed stages only the last one still says something true.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files

from bcl.linkage.rules import InterfaceWindow
from bcl_contract.linkage.changes import reads_alike
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.refusals import Refusal

DEADLINE_NEAR = "LINKAGE_INTERFACE_DEADLINE"
EXPIRED = "TRANSMISSION_INTERFACE_EXPIRED"
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class DeadlineNotice:
    """A notice that has to be open now. `mark` tells it from others with the same code."""

    code: str
    mark: str
    interface_version: str
    accepted_until: datetime
    days_left: int


def judge_deadlines(
    versions_sent: Iterable[str],
    windows: Iterable[InterfaceWindow],
    days_before: Sequence[int],
    at: datetime,
) -> tuple[DeadlineNotice, ...]:
    """Which notices a town must have open that sends these versions; () when it may go on.

    `days_before` are the stages in days, e.g. (90, 30, 7, 1): the notice of the last stage
    reached. `days_left` counts begun days, 0 once the deadline is over.
    """
    sent = set(versions_sent)
    wanted = []
    for window in windows:
        until = window.accepted_until
        if window.version not in sent or until is None:
            continue
        left = math.ceil((until - at) / _DAY)
        if at >= until:
            wanted.append(DeadlineNotice(EXPIRED, window.version, window.version, until, 0))
            continue
        reached = [days for days in days_before if until - at <= days * _DAY]
        if reached:
            mark = f"{window.version}/{min(reached)}"
            wanted.append(DeadlineNotice(DEADLINE_NEAR, mark, window.version, until, left))
    return tuple(wanted)


def judge_version_change(
    before: str | None,
    after: str,
    *,
    mode: str,
    sent: Collection[str],
    records: Mapping[str, int],
) -> Refusal | None:
    """May the main lane go on in version `after` with these files?

    What the new version knows more has to come from the town itself once: every file with
    records whose lines say another thing in the new version is sent in full. `records` are those
    stored, by file id. The urgent lane is free: its rows are read in the terms of either version.
    """
    if before is None or before == after:
        return None
    old, new = load_interface(before), load_interface(after)
    for file_id, count in records.items():
        if not count or file_id not in new.files or reads_alike(old, new, file_id):
            continue
        if mode != "full" or file_id not in sent:
            return Refusal("LINKAGE_VERSION_CHANGE_NOT_FULL", {"file": file_id})
    return None


def load_reminder_days(at: datetime) -> tuple[int, ...]:
    """The stages in force at `at` (`data/interface_reminders.csv`), the earliest first."""
    text = files("bcl.linkage").joinpath("data", "interface_reminders.csv").read_text("utf-8")
    rows = [
        row
        for row in csv.DictReader(text.splitlines())
        if datetime.fromisoformat(row["effective_from"]) <= at
    ]
    newest = max(rows, key=lambda row: datetime.fromisoformat(row["effective_from"]))
    return tuple(sorted((int(days) for days in newest["days_before"].split()), reverse=True))
