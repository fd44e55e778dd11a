"""Small loads for most of a year: few segments are left, and every search answers the same."""

from __future__ import annotations

import random
import threading

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st
from store_world import Row, Sender, resident

from bcl.foundation import tenancy
from bcl.resident_store import api as store
from bcl.resident_store import search_merge

PEOPLE = 120


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A year of a town in small: thresholds of the merge scaled down by about a thousand."""
    monkeypatch.setattr(search_merge, "ROWS_FOR_BLOCKS", 60)
    monkeypatch.setattr(search_merge, "ROWS_AT_ONCE", 90)
    monkeypatch.setattr(search_merge, "LARGEST_SEGMENT", 3_000)
    monkeypatch.setattr(search_merge, "_PART_ENTRIES", 200)


def merge(town: str) -> None:
    with tenancy.scope(town):
        while search_merge.advance(town):
            pass


def sizes(town: str) -> tuple[int, int]:
    """How many segments and single rows a search has to ask."""
    with tenancy.scope(town), connection.cursor() as db:
        db.execute(
            "SELECT (SELECT count(*) FROM resident_store_searchsegment),"
            " (SELECT count(*) FROM resident_store_search_key)"
        )
        segments, rows = db.fetchone()
        return segments, rows


def answers(town: str, loads: list[int | None]) -> list[list[store.RecordVersion]]:
    with tenancy.scope(town):
        return [
            store.find_person(town, f"{number:015d}", as_of=load, file_ids=["J01"])
            for number in range(1, PEOPLE + 1, 7)
            for load in loads
        ] + [store.find_by_search(town, "kana", "シケンジュウミン")]


def day_of(number: int, day: int) -> Row:
    return resident(number, household=number, operated_time=f"{day // 60:02}:{day % 60:02}:00")


@pytest.mark.requirement("R-030")
@pytest.mark.django_db(transaction=True)
def test_two_hundred_small_loads__stay_few_segments_with_equal_answers(town: str) -> None:
    chance, sender = random.Random(4), Sender(town)
    sender.send({"J01": [day_of(number, 0) for number in range(1, PEOPLE + 1)]})
    truth: dict[int, int] = dict.fromkeys(range(1, PEOPLE + 1), 0)
    most = 0
    for day in range(1, 201):
        changed = chance.sample(range(1, PEOPLE + 1), 4)
        sender.send({"J01": [day_of(number, day) for number in changed]}, mode="differential")
        truth |= dict.fromkeys(changed, day)
        if day % 25 == 0:
            before = answers(town, [None, 1, day // 2, day])
            merge(town)
            assert answers(town, [None, 1, day // 2, day]) == before
            segments, rows = sizes(town)
            most = max(most, segments)
            assert rows < search_merge.ROWS_FOR_BLOCKS
    assert most <= 10
    with tenancy.scope(town):
        for number, day in truth.items():
            (version,) = store.find_person(town, f"{number:015d}", file_ids=["J01"])
            values = store.read_records(town, [version.id])[version.id]
            assert values["operated_time"] == f"{day // 60:02}:{day % 60:02}:00"


def test_merge__that_dies_on_the_way__has_not_happened(
    town: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Sender(town).send({"J01": [day_of(number, 0) for number in range(1, PEOPLE + 1)]})
    before, rows = answers(town, [None]), sizes(town)

    def dies(*_: object) -> None:
        raise RuntimeError("the process dies here")

    with monkeypatch.context() as patched:
        patched.setattr(search_merge.search_index, "insert_segment", dies)
        with pytest.raises(RuntimeError), transaction.atomic():
            merge(town)
    assert sizes(town) == rows
    assert answers(town, [None]) == before
    merge(town)
    assert sizes(town)[1] < rows[1]
    assert answers(town, [None]) == before


@pytest.mark.django_db(transaction=True)
def test_merge__beside_loads_and_searches__loses_and_doubles_nothing(town: str) -> None:
    sender = Sender(town)
    sender.send({"J01": [day_of(number, 0) for number in range(1, PEOPLE + 1)]})
    ended, faults = threading.Event(), []

    def keep_merging() -> None:
        try:
            while not ended.is_set():
                merge(town)
        except Exception as fault:  # told to the main thread
            faults.append(fault)
        finally:
            connection.close()

    merging = threading.Thread(target=keep_merging)
    merging.start()
    try:
        for day in range(1, 16):
            changed = [day_of(number, day) for number in range(day, PEOPLE, 9)]
            sender.send({"J01": changed}, mode="differential")
            for number in range(1, PEOPLE + 1, 5):
                assert len(store.find_person(town, f"{number:015d}", file_ids=["J01"])) == 1
    finally:
        ended.set()
        merging.join()
    assert faults == []
    merge(town)
    assert sizes(town)[1] < search_merge.ROWS_FOR_BLOCKS
    found = store.find_by_search(town, "kana", "シケンジュウミン")
    assert len(found) == len({each.record_key for each in found}) == PEOPLE


def test_merge__of_one_town__leaves_others_alone(town: str, other_town: str) -> None:
    for code in (town, other_town):
        rows = [day_of(number, 0) | {"municipality_code": code} for number in range(1, 40)]
        Sender(code).send({"J01": rows})
    untouched = sizes(other_town)
    merge(town)
    assert sizes(other_town) == untouched
    assert sizes(town)[0] >= 1


@given(st.lists(st.integers(1, 5_000), max_size=60))
def test_joining__any_sizes__ends_with_few_segments(entries: list[int]) -> None:
    segments = [search_merge._Segment(n, "J01", 1, size) for n, size in enumerate(entries)]
    total = sum(entries)
    for _ in range(200):
        segments.sort(key=lambda each: (each.entries, each.id))
        chosen = search_merge.segments_to_join(segments)
        if not chosen:
            break
        joined = sum(each.entries for each in chosen)
        assert joined <= search_merge.LARGEST_SEGMENT
        segments = [each for each in segments if each not in chosen]
        segments.append(search_merge._Segment(1000 + len(segments), "J01", 1, joined))
    assert sum(each.entries for each in segments) == total
    large = [each for each in segments if each.entries > search_merge.LARGEST_SEGMENT // 4]
    assert len(segments) - len(large) <= 3 * 8
