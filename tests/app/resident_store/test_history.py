"""Any history of transmissions equals its plain replay, now and as of every load."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from collections.abc import Callable

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from store_world import FILES, Row, Sender, line, resident, table

from bcl.foundation import tenancy
from bcl.resident_store import api as store
from bcl.resident_store import chunk_reader, deflate_splice, load_workers

TABLE = "J01"
_FEW = settings(
    max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def people(count: int) -> dict[int, Row]:
    return {number: resident(number, household=number) for number in range(1, count + 1)}


def edited(truth: dict[int, Row], chance: random.Random, day: int) -> dict[int, Row]:
    """A day of the register: some change, some go, some come."""
    after = dict(truth)
    for number in list(after):
        luck = chance.random()
        if luck < 0.15:
            after[number] = after[number] | {
                "sex_as_written": "女", "operated_on": f"2026-11-{day:02}",
            }
        elif luck < 0.25:
            del after[number]
    for number in chance.sample(range(1, 400), 12):
        if number not in after:
            after[number] = resident(number, household=number, operated_time=f"10:{day:02}:00")
    return after


def difference(before: dict[int, Row], after: dict[int, Row]) -> list[Row]:
    rows = [row for number, row in after.items() if before.get(number) != row]
    rows += [row | {"deleted": "1"} for number, row in before.items() if number not in after]
    return rows


def state_of(town: str, load_number: int) -> dict[str, bytes]:
    """Every table of the state after a load, out of the recovery zip; checks its digests."""
    target = io.BytesIO()
    contents = store.write_recovery_zip(target, town, load_number)
    with zipfile.ZipFile(target) as package:
        assert package.testzip() is None
        tables = {}
        for entry in contents.files:
            content = package.read(entry.name)
            assert hashlib.sha256(content).hexdigest() == entry.sha256
            assert len(content) == entry.bytes
            tables[entry.file_id] = content
            assert content.count(b"\r\n") == entry.rows + 1 or entry.file_id == "S02I"
    return tables


@pytest.mark.requirement("R-030")
@pytest.mark.requirement("R-031")
@_FEW
@given(seed=st.integers(0, 2**32), modes=st.lists(
    st.sampled_from(["full", "shuffled", "differential"]), min_size=1, max_size=5))
def test_history__of_any_edits__equals_the_replay_at_every_load(
    town: str, seed: int, modes: list[str]
) -> None:
    with transaction.atomic():
        run_history(town, random.Random(seed), modes)
        transaction.set_rollback(True)  # the next example starts from an empty store


def run_history(town: str, chance: random.Random, modes: list[str]) -> None:
    with tenancy.scope(town):
        sender = Sender(town)
        truths = {}
        truth = people(chance.randint(1, 300))
        sender.send({TABLE: truth.values()})
        truths[sender.loads] = truth
        replayed = {number: line(TABLE, row) for number, row in truth.items()}
        for day, mode in enumerate(modes, start=2):
            after = edited(truth, chance, day)
            rows = difference(truth, after) if mode == "differential" else list(after.values())
            if mode == "shuffled":
                chance.shuffle(rows)
            kind = "differential" if mode == "differential" else "full"
            result = sender.send({TABLE: rows}, mode=kind)
            counts = result.summary.files[0]
            assert result.landed, result.summary.findings
            assert counts.inserted == len(after.keys() - truth.keys())
            assert counts.ended == len(truth.keys() - after.keys())
            assert counts.changed == sum(truth[n] != after[n] for n in truth.keys() & after.keys())
            assert counts.after == len(after)
            assert result.summary.residents_after == len(after)
            replayed = follow_feed(town, sender.loads, replayed)
            assert sorted(replayed.values()) == sorted(line(TABLE, row) for row in after.values())
            truth = after
            truths[sender.loads] = truth
        for load_number, then in truths.items():
            expected = sorted(line(TABLE, row) for row in then.values())
            stored = state_of(town, load_number)[TABLE].splitlines(keepends=True)
            assert stored[0] == FILES[TABLE].header_line
            assert sorted(stored[1:]) == expected
            probe_persons(town, load_number, then, chance)


def follow_feed(town: str, load_number: int, before: dict[int, bytes]) -> dict[int, bytes]:
    """Apply the feed of one load to a plain copy, as a consumer does."""
    after = dict(before)
    entries = list(store.changes_of_load(town, load_number, [TABLE]))
    shown = {entry.new_record_id or entry.old_record_id or 0 for entry in entries}
    values = store.read_records(town, shown)
    for entry in entries:
        row = values[entry.new_record_id or entry.old_record_id or 0]
        number = int(row["addressee_number"] or 0)
        if entry.new_record_id is None:
            del after[number]
        else:
            assert (entry.old_record_id is None) == (number not in after)
            after[number] = line(TABLE, {name: value or "" for name, value in row.items()})
    return after


def probe_persons(
    town: str, load_number: int, truth: dict[int, Row], chance: random.Random
) -> None:
    for number in chance.sample(range(1, 400), 5):
        found = store.find_person(town, f"{number:015d}", as_of=load_number, file_ids=[TABLE])
        values = store.read_records(town, [each.id for each in found])
        wanted = [line(TABLE, truth[number])] if number in truth else []
        assert [
            line(TABLE, {name: value or "" for name, value in row.items()})
            for row in values.values()
        ] == wanted


@pytest.mark.requirement("R-032")
def test_recovery__of_a_fresh_full_file__is_the_file_byte_for_byte(town: str) -> None:
    content = table(TABLE, people(1000).values())
    sender = Sender(town)
    sender.send({TABLE: content})
    assert state_of(town, 1)[TABLE] == content


def _kept_digest(result: store.LoadResult) -> str:
    (counts,) = result.summary.files
    return counts.sha256


@pytest.mark.requirement("R-032")
@pytest.mark.parametrize("workers", [0, 2])
def test_digest_at_the_door__of_a_file_kept_whole__stands_in_the_package_without_hashing(
    town: str, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(load_workers, "worker_count", lambda: workers)
    monkeypatch.setattr(chunk_reader, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(chunk_reader, "LARGE_FILE_BYTES", 1 << 16)
    content = table(TABLE, people(300).values())
    sender = Sender(town)
    assert _kept_digest(sender.send({TABLE: content})) == hashlib.sha256(content).hexdigest()
    with monkeypatch.context() as nothing_inflated:
        nothing_inflated.setattr(deflate_splice, "inflate_page", None)
        assert state_of(town, 1)[TABLE] == content
    changed = people(300)[7] | {"operated_time": "10:00:00"}
    assert _kept_digest(sender.send({TABLE: [changed]}, mode="differential")) == ""
    assert state_of(town, 1)[TABLE] == content
    assert state_of(town, 2)[TABLE] != content


@pytest.mark.requirement("R-032")
@pytest.mark.parametrize(
    "unlike",
    [
        lambda whole: b"\xef\xbb\xbf" + whole,
        lambda whole: whole.removesuffix(b"\r\n"),
        lambda whole: whole.replace(b"\r\n", b"\n", 1),
        lambda whole: whole.replace(b"\r\n", b"\n"),
        lambda whole: whole.replace(b'"op1"', b"op1", 1),
        lambda whole: whole.replace(b'"1980-02-03"', b'"1980-02-31"', 1),
        lambda whole: whole + whole.splitlines(keepends=True)[-1].replace(b"op1", b"op2"),
        lambda whole: whole + line(TABLE, resident(999, household=999, deleted="1")),
    ],
    ids=["bom", "no last line end", "header", "line ends", "quotes", "bad row", "twice", "deleted"],
)
def test_digest_at_the_door__of_a_file_not_kept_as_it_came__is_not_used(
    town: str, unlike: Callable[[bytes], bytes]
) -> None:
    content = unlike(table(TABLE, people(20).values()))
    result = Sender(town).send({TABLE: content})
    assert result.landed
    assert _kept_digest(result) == ""
    assert state_of(town, 1)[TABLE] != content
