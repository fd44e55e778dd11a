"""What alarms about the backup: a pure judgement of facts, and how the facts are gathered.

Needs no Django. Alarms are refusals with a code, so that the person who reads one also reads who
can put it right and how.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from bcl.backup.place import Base, Place
from bcl.backup.receive import SlotState, slot_state
from bcl.backup.take import server_time
from bcl.backup.tools import Source
from bcl_contract.refusals import Refusal

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """From which values on it alarms."""

    age: timedelta
    wal_behind_bytes: int
    drill_age: timedelta


@dataclass(frozen=True)
class Facts:
    """What is known at one moment. `slot` is None when the database does not answer."""

    at: datetime
    newest: Base | None
    bases: int
    missing_segment: int | None
    slot: SlotState | None
    same_device: bool | None
    database_site: str
    backup_site: str
    last_drill: dict[str, Any] | None
    spoilt_records: int = 0


def gather(
    place: Place, source: Source, *, sites: tuple[str, str], reports: Path, now: datetime
) -> Facts:
    """Look at the second place and ask the database. `sites`: where the database and where the
    second place stand. Raises OSError when the place can't be read."""
    bases = place.bases()
    newest = bases[-1] if bases else None
    missing = place.missing_segments(bases[0].start_segment) if bases else []
    slot, at = None, now
    try:
        slot, at = slot_state(source), server_time(source)
    except psycopg.Error:
        slot = None
    return Facts(
        at=at,
        newest=newest,
        bases=len(bases),
        missing_segment=missing[0] if missing else None,
        slot=slot,
        same_device=_same_device(place, source),
        database_site=sites[0],
        backup_site=sites[1],
        last_drill=last_report(reports),
        spoilt_records=len(place.spoilt_records()),
    )


def _same_device(place: Place, source: Source) -> bool | None:
    """Whether both copies lie on one device; None when the database's is not on this machine."""
    if source.data_dir is None:
        return None
    try:
        return source.data_dir.stat().st_dev == place.root.stat().st_dev
    except OSError:
        return None


def last_report(folder: Path) -> dict[str, Any] | None:
    """The newest drill report in a folder."""
    paths = sorted(folder.glob("drill-*.json")) if folder.is_dir() else []
    if not paths:
        return None
    content: dict[str, Any] = json.loads(paths[-1].read_text(encoding="utf-8"))["content"]
    return content


def judge(facts: Facts, limits: Limits) -> list[Refusal]:
    """Everything that alarms, worst first; empty when all is well (R-042)."""
    alarms = []
    if facts.newest is None:
        alarms.append(Refusal("BACKUP_NONE"))
    elif facts.at - facts.newest.finished_at > limits.age:
        hours = int((facts.at - facts.newest.finished_at).total_seconds() // 3600)
        alarms.append(Refusal("BACKUP_TOO_OLD", {"hours": hours}))
    if facts.spoilt_records:
        alarms.append(Refusal("DRILL_BACKUP_BROKEN", {"count": facts.spoilt_records}))
    if facts.missing_segment is not None:
        alarms.append(Refusal("BACKUP_WAL_GAP", {"segment": facts.missing_segment}))
    alarms += _judge_slot(facts.slot, limits)
    if facts.same_device:
        alarms.append(Refusal("BACKUP_SAME_DEVICE"))
    if not facts.database_site or not facts.backup_site:
        if facts.same_device is None:
            alarms.append(Refusal("BACKUP_SITE_UNKNOWN"))
    elif facts.database_site == facts.backup_site:
        alarms.append(Refusal("BACKUP_SAME_SITE"))
    alarms += _judge_drill(facts, limits)
    return alarms


def _judge_slot(slot: SlotState | None, limits: Limits) -> list[Refusal]:
    if slot is None:
        return [Refusal("BACKUP_SOURCE_AWAY")]
    if slot.lost:
        return [Refusal("BACKUP_WAL_LOST")]
    if not slot.exists or not slot.active:
        return [Refusal("BACKUP_WAL_STOPPED")]
    if slot.behind_bytes > limits.wal_behind_bytes:
        return [Refusal("BACKUP_WAL_BEHIND", {"megabytes": slot.behind_bytes // _MEBIBYTE})]
    return []


def _judge_drill(facts: Facts, limits: Limits) -> list[Refusal]:
    if facts.last_drill is None:
        return [Refusal("DRILL_OVERDUE")]
    if not facts.last_drill["passed"]:
        return [Refusal("DRILL_FAILED")]
    if facts.at - datetime.fromisoformat(facts.last_drill["started_at"]) > limits.drill_age:
        return [Refusal("DRILL_OVERDUE")]
    return []
