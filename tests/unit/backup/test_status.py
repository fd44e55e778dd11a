"""What alarms about the backup, judged from plain facts; and the log's segments by name."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timedelta

import pytest

from bcl.backup import drill
from bcl.backup.place import Base, Place, segment_number, segment_of
from bcl.backup.receive import SlotState
from bcl.backup.status import Facts, Limits, judge
from bcl.backup.take import prune
from bcl_contract.clock import JST

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=JST)
LIMITS = Limits(age=timedelta(hours=26), wal_behind_bytes=64 << 20, drill_age=timedelta(hours=26))


def base(age: timedelta, *, start: str = "000000010000000000000002") -> Base:
    at = NOW - age
    name = (at - timedelta(hours=9)).strftime("%Y%m%dT%H%M%SZ")
    return Base(name, at, at, start, 1, "7000000000000000001", 1000, "0" * 64)


GOOD = Facts(
    at=NOW,
    newest=base(timedelta(hours=3)),
    bases=3,
    missing_segment=None,
    slot=SlotState(exists=True, active=True, lost=False, behind_bytes=4096),
    same_device=False,
    database_site="site-a",
    backup_site="site-b",
    last_drill={"passed": True, "started_at": (NOW - timedelta(hours=8)).isoformat()},
)


@pytest.mark.requirement("R-042")
def test_status__all_well__does_not_alarm() -> None:
    assert judge(GOOD, LIMITS) == []


SLOT = GOOD.slot
assert SLOT is not None


@pytest.mark.requirement("R-042")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"newest": None}, "BACKUP_NONE"),
        ({"newest": base(timedelta(hours=26, seconds=1))}, "BACKUP_TOO_OLD"),
        ({"spoilt_records": 1}, "DRILL_BACKUP_BROKEN"),
        ({"missing_segment": 7}, "BACKUP_WAL_GAP"),
        ({"slot": None}, "BACKUP_SOURCE_AWAY"),
        ({"slot": dataclasses.replace(SLOT, active=False)}, "BACKUP_WAL_STOPPED"),
        ({"slot": dataclasses.replace(SLOT, exists=False)}, "BACKUP_WAL_STOPPED"),
        ({"slot": dataclasses.replace(SLOT, lost=True)}, "BACKUP_WAL_LOST"),
        ({"slot": dataclasses.replace(SLOT, behind_bytes=65 << 20)}, "BACKUP_WAL_BEHIND"),
        ({"same_device": True}, "BACKUP_SAME_DEVICE"),
        ({"backup_site": "site-a"}, "BACKUP_SAME_SITE"),
        ({"same_device": None, "backup_site": ""}, "BACKUP_SITE_UNKNOWN"),
        ({"last_drill": None}, "DRILL_OVERDUE"),
        ({"last_drill": {"passed": False, "started_at": NOW.isoformat()}}, "DRILL_FAILED"),
        (
            {"last_drill": {"passed": True, "started_at": "2026-11-22T09:59:00+09:00"}},
            "DRILL_OVERDUE",
        ),
    ],
)
def test_status__one_thing_wrong__alarms_by_exactly_its_code(changes, code) -> None:
    alarms = judge(dataclasses.replace(GOOD, **changes), LIMITS)
    assert [alarm.code for alarm in alarms] == [code]
    assert alarms[0].text.how_ja


@pytest.mark.requirement("R-042")
def test_status__exactly_at_the_limit__does_not_alarm() -> None:
    facts = dataclasses.replace(GOOD, newest=base(timedelta(hours=26)))
    assert judge(facts, LIMITS) == []


@pytest.fixture
def place(tmp_path) -> Place:
    made = Place(tmp_path / "second")
    for folder in (made.base_dir, made.wal_dir):
        folder.mkdir(parents=True)
    return made


def put(place: Place, taken: Base) -> Base:
    place.path_of(taken).mkdir()
    (place.base_dir / f"{taken.backup_id}.json").write_text(json.dumps(taken.as_json()))
    return taken


@pytest.mark.requirement("R-042")
@pytest.mark.requirement("R-177")
def test_prune__past_its_retention__goes_with_the_log_only_it_needed(place) -> None:
    ages = [timedelta(days=36), timedelta(days=35, seconds=1), timedelta(days=35), timedelta(1)]
    taken = [
        put(place, base(age, start=f"0000000100000000000000{number:02X}"))
        for age, number in zip(ages, (2, 4, 6, 9), strict=True)
    ]
    for number in range(2, 11):
        (place.wal_dir / f"0000000100000000000000{number:02X}").touch()
    assert place.bases() == taken
    gone = prune(place, retention_days=35, now=NOW)
    assert gone == [taken[0].backup_id, taken[1].backup_id]
    assert place.bases() == taken[2:]
    assert [segment_number(path.name) for path in place.segments()] == [6, 7, 8, 9, 10]


@pytest.mark.requirement("R-042")
def test_prune__only_old_ones_left__keeps_the_newest(place) -> None:
    taken = [put(place, base(timedelta(days=age))) for age in (90, 80)]
    prune(place, retention_days=35, now=NOW)
    assert place.bases() == [taken[1]]


@pytest.mark.requirement("R-034")
def test_record__with_any_bit_flipped__is_told_and_never_believed(place) -> None:
    taken = put(place, base(timedelta(days=40)))
    path = place.base_dir / f"{taken.backup_id}.json"
    good = path.read_bytes()
    for position in range(len(good) * 8):
        bad = bytearray(good)
        bad[position // 8] ^= 1 << position % 8
        path.write_bytes(bytes(bad))
        if place.bases() == [taken]:  # a blank between two words may become another blank
            assert json.loads(bad) == json.loads(good)
        else:
            assert (place.bases(), place.spoilt_records()) == ([], [taken.backup_id])
    newer = put(place, base(timedelta(days=1)))
    assert prune(place, retention_days=35, now=NOW) == [taken.backup_id]
    assert place.bases() == [newer] and not place.path_of(taken).exists()


def test_segments__over_the_border_of_a_log_file__are_counted_on(place) -> None:
    names = ["0000000100000000000000FE", "0000000100000000000000FF", "000000010000000100000001"]
    for name in [*names[:2], f"{names[2]}.partial", "00000002.history"]:
        (place.wal_dir / name).touch()
    assert place.missing_segments(names[0]) == [256]
    (place.wal_dir / "000000010000000100000000").touch()
    assert place.missing_segments(names[0]) == []
    assert segment_of("1/1000028") == segment_number(names[2]) == 257
    assert place.segments(since=names[2])[-1].name == "00000002.history"
    (place.wal_dir / names[2]).touch()  # whole now: its part does not count any more
    assert [path.name for path in place.segments(since=names[2])] == [names[2], "00000002.history"]


def test_bases__record_without_its_copy_or_foreign_files__do_not_count(place) -> None:
    put(place, base(timedelta(hours=1)))
    lonely = base(timedelta(hours=2))
    (place.base_dir / f"{lonely.backup_id}.json").write_text(json.dumps(lonely.as_json()))
    (place.base_dir / "notes.json").write_text("{}")
    assert len(place.bases()) == 1


@pytest.mark.requirement("R-034")
@pytest.mark.parametrize(
    ("version", "digest", "compared", "equal"),
    [(3, "aa", 1, True), (3, "bb", 1, False), (4, "bb", 0, None)],
)
def test_golden_certificate__of_the_same_version_with_other_bytes__fails_the_drill(
    version, digest, compared, equal
) -> None:
    """A paper of newer data may differ; one of the same data may not, by a single byte."""
    report = drill.DrillReport("20261123T120000", NOW)
    drill._compare_papers(report, "999997", {"row-1": [3, "aa"]}, {"row-1": (version, digest)})
    assert (report.certificates_compared, report.certificate_equal) == (compared, equal)
    found = [each["code"] for each in report.findings]
    assert found == (["DRILL_CERTIFICATE_DIFFERS"] if equal is False else [])
