"""The state on a day as known after a load equals a replay of the town's own event log (J03)."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
import random
from collections import defaultdict
from pathlib import Path

import pytest
from store_world import Sender, resident
from test_with_core_system import apply_export

from bcl.foundation import tenancy
from bcl.resident_store import api as store
from bcl_sim.core_system.town import Town

PROBES = int(os.environ.get("BCL_EVENT_PROBES", "250"))
"""A soak run asks 10,000."""
SHOWN = {
    "household_number": "世帯番号", "full_name": "氏名", "resident_state": "住民状態",
    "address_town": "住所_町字",
}


class Replay:
    """What the town's event log says, event after event.

    Events of the town's life carry what they changed. Those from before its first day do not:
    for them, and for a person's first, the row of the event's number is taken.
    """

    def __init__(self, folder: Path, *, began: dt.date) -> None:
        (people,) = folder.glob("*_J01_*.csv")
        (events,) = folder.glob("*_J03_*.csv")
        self.began = began.isoformat()
        self.rows: dict[tuple[str, int], dict[str, str]] = {}
        self.events: dict[str, list[dict[str, str]]] = defaultdict(list)
        with people.open(encoding="utf-8", newline="") as source:
            for row in csv.DictReader(source):
                fields = {title: row[title] for title in SHOWN.values()}
                self.rows[row["宛名番号"], int(row["個人履歴番号"])] = fields
        with events.open(encoding="utf-8", newline="") as source:
            for row in csv.DictReader(source):
                self.events[row["宛名番号"]].append(row)
        for listed in self.events.values():
            listed.sort(key=lambda row: int(row["異動番号"]))

    def state(self, number: str, on: str, known_on: str) -> dict[str, str] | None:
        """The four fields on a day, of the events processed by the day they were known."""
        state: dict[str, str] | None = None
        for event in self.events[number]:
            if event["処理年月日"] > known_on or event["異動年月日"] > on:
                continue
            if state is None or event["処理年月日"] <= self.began:
                state = dict(self.rows[number, int(event["異動番号"])])
            else:
                state |= json.loads(event["変更後"])
        return state


@pytest.mark.requirement("R-030")
@pytest.mark.django_db(transaction=True)
def test_probes__of_any_person_day_and_load__equal_the_replay(town: str, tmp_path: Path) -> None:
    core = Town.generate(
        tmp_path / "core", residents=400, seed=11, with_tax=False, seal_image_share=0
    )
    start, known = core.today, {}
    for sequence, days in enumerate((0, 25, 25, 25), start=1):
        core.advance(days=days)
        mode = "full" if sequence == 1 else "differential"
        assert apply_export(town, core.export(tmp_path / "drop", mode=mode), sequence).landed
        known[sequence] = core.today.isoformat()
    replay = Replay(core.export(tmp_path / "truth", mode="full").folder, began=start)
    chance, days_back = random.Random(5), 3 * 365
    busy = [number for number, events in replay.events.items() if len(events) > 1]
    compared = 0
    with tenancy.scope(town):
        for _ in range(PROBES):
            number = chance.choice(busy if chance.random() < 0.7 else list(replay.events))
            load = chance.randint(1, 4)
            back = chance.randint(-75, 30 if chance.random() < 0.6 else days_back)
            on = start - dt.timedelta(days=back)
            version = store.find_person_on(town, number, on, as_of=load)
            wanted = replay.state(number, on.isoformat(), known[load])
            if version is None:
                assert wanted is None
                continue
            values = store.read_records(town, [version.id], columns=list(SHOWN))[version.id]
            assert {title: values[name] or "" for name, title in SHOWN.items()} == wanted
            compared += 1
    assert compared > PROBES / 2


@pytest.mark.requirement("R-030")
def test_late_notified_change__counts_from_its_day_once_it_is_known(town: str) -> None:
    sender = Sender(town)
    first = resident(1, household=1, changed_on="2020-04-01", address_town="一")
    second = first | {
        "history_number": "00002", "changed_on": "2024-05-10", "address_town": "二",
    }
    late = first | {
        "history_number": "00003", "changed_on": "2024-05-01", "address_town": "三",
    }
    sender.send({"J01": [first | {"latest": "0"}, second]})
    sender.send({"J01": [first | {"latest": "0"}, second | {"latest": "0"}, late]})

    def town_on(day: str, load: int) -> str | None:
        found = store.find_person_on(town, f"{1:015d}", dt.date.fromisoformat(day), as_of=load)
        if found is None:
            return None
        return store.read_records(town, [found.id])[found.id]["address_town"]

    assert town_on("2020-03-31", 2) is None
    assert [town_on("2024-05-05", load) for load in (1, 2)] == ["一", "三"]
    assert [town_on("2024-05-09", load) for load in (1, 2)] == ["一", "三"]
    assert [town_on("2024-05-10", load) for load in (1, 2)] == ["二", "三"]
    assert store.find_person_on(town, f"{9:015d}", dt.date(2024, 1, 1)) is None


@pytest.mark.requirement("R-030")
def test_household__on_a_day__is_who_belonged_to_it_then(town: str) -> None:
    head = resident(1, household=1)
    child = resident(2, household=1, order=2, latest="0")
    moved = resident(
        2, household=2, history_number="00002", changed_on="2024-05-01",
        head_of_household_name="試験　住民2",
    )
    Sender(town).send({"J01": [head, child, moved]})

    def members(household: int, day: dt.date) -> list[str | None]:
        found = store.find_household_on(town, f"{household:015d}", day)
        rows = store.read_records(town, [each.id for each in found])
        return [rows[each.id]["addressee_number"] for each in found]

    assert members(1, dt.date(2024, 4, 30)) == [f"{1:015d}", f"{2:015d}"]
    assert members(1, dt.date(2024, 5, 1)) == [f"{1:015d}"]
    assert members(2, dt.date(2024, 4, 30)) == []
    assert members(2, dt.date(2024, 5, 1)) == [f"{2:015d}"]
