"""A large file goes through worker processes; what comes out is what one process makes of it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
from store_world import FILES, Row, Sender, cert_link, line, resident

from bcl.foundation import tenancy
from bcl.resident_store import api as store
from bcl.resident_store import chunk_reader, load_workers
from bcl.resident_store.current_state import read_current_state


@pytest.fixture
def always_workers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two workers for every file, in blocks of about a hundred rows; gives their processes."""
    processes: list[int] = []
    start = load_workers.LoadWorkers.start

    def noted(workers: load_workers.LoadWorkers) -> None:
        start(workers)
        processes.extend(workers.process_ids())

    monkeypatch.setattr(load_workers, "worker_count", lambda: 2)
    monkeypatch.setattr(load_workers.LoadWorkers, "start", noted)
    monkeypatch.setattr(chunk_reader, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(chunk_reader, "LARGE_FILE_BYTES", 1 << 16)
    return processes


def people(count: int) -> list[Row]:
    """Residents with a bad row, a row that ends nobody, a person of unknown code, a doubled key."""
    rows = [resident(number, household=number) for number in range(1, count)]
    rows[30] |= {"born_on": "1980-02-31"}
    rows[170] |= {"deleted": "1"}
    rows[290] |= {"change_reason": "97"}
    rows.append(rows[5] | {"operator_id": "op2"})
    rows.append(rows[count - 3] | {"operator_id": "op2"})
    return rows


def stored(town: str) -> dict[bytes, set[str]]:
    """Every live line of J01 and J05 in its page order."""
    found = {}
    with tenancy.scope(town):
        for file_id in ("J01", "J05"):
            state = read_current_state(town, file_id)
            records = store.read_records(town, state.ids.tolist())
            lines = [records[each] for each in state.ids.tolist()]
            found[file_id] = [line(file_id, row) for row in lines]
    return found


def send_days(town: str) -> tuple[list[store.LoadSummary], dict]:
    sender = Sender(town)
    rows = [row | {"municipality_code": town} for row in people(400)]
    links = [cert_link(n, f"A{n}") | {"municipality_code": town} for n in range(1, 500)]
    links += [cert_link(7, "A300") | {"municipality_code": town}]
    first = sender.send({"J01": rows, "J05": links})
    # The next day: nearly all rows are new versions, some stand as they were.
    after = [row | {"operated_time": "10:00:00"} for row in rows[:-2]]
    after[100:120] = rows[100:120]
    after[20] |= {"deleted": "1"}
    second = sender.send({"J01": after, "J05": links[:-1]})
    assert first.landed
    assert second.landed
    return [first.summary, second.summary], stored(town)


def _without_digests(summary: store.LoadSummary) -> list[store.FileCounts]:
    """The counts of the files: their digests hold the code of the town, too."""
    return [replace(each, sha256="") for each in summary.files]


@pytest.mark.requirement("R-015")
def test_large_file__by_workers__comes_out_as_by_one_process(
    town: str, other_town: str, monkeypatch: pytest.MonkeyPatch, always_workers: list[int]
) -> None:
    by_workers, lines = send_days(town)
    assert always_workers
    with monkeypatch.context() as alone:
        alone.setattr(load_workers, "worker_count", lambda: 0)
        del always_workers[:]
        by_one, expected = send_days(other_town)
        assert not always_workers
    for one, other in zip(by_workers, by_one, strict=True):
        assert _without_digests(one) == _without_digests(other)
        assert [bool(each.sha256) for each in one.files] == [
            bool(each.sha256) for each in other.files
        ]
        assert one.finding_counts == other.finding_counts
        assert sorted(map(repr, one.findings)) == sorted(map(repr, other.findings))
        assert one.residents_after == other.residents_after
        assert one.persons_held == other.persons_held
        assert one.households_held == other.households_held
    assert {file_id: len(rows) for file_id, rows in lines.items()} == {"J01": 396, "J05": 499}
    for file_id, rows in lines.items():
        ours, theirs = town.encode(), other_town.encode()
        assert [each.replace(ours, theirs) for each in rows] == [
            each.replace(ours, theirs) for each in expected[file_id]
        ]
    for number in (1, 30, 399):
        found = store.find_person(town, f"{number:015d}", file_ids=["J01"])
        assert len(found) == len(store.find_person(other_town, f"{number:015d}", file_ids=["J01"]))
    assert len(store.find_person(town, f"{200:015d}", file_ids=["J01"])) == 1


@pytest.mark.requirement("R-020")
def test_large_file__whose_worker_is_killed__leaves_nothing(
    town: str, monkeypatch: pytest.MonkeyPatch, always_workers: list[int]
) -> None:
    from bcl.resident_store import page_writer

    original = page_writer._insert_pages

    def kill(db, place, pages) -> None:
        os.kill(always_workers[0], signal.SIGKILL)
        os.kill(always_workers[1], signal.SIGKILL)
        monkeypatch.setattr(page_writer, "_insert_pages", original)
        original(db, place, pages)

    monkeypatch.setattr(page_writer, "_insert_pages", kill)
    sender = Sender(town)
    rows = [resident(n, household=n, municipality_code=town) for n in range(1, 3000)]
    with pytest.raises(load_workers.WorkerLost):
        sender.send({"J01": rows})
    assert store.counts(town).get("J01", 0) == 0
    sender.sequences["main"] = 0
    assert sender.send({"J01": rows}).landed  # the same transmission, tried again
    assert store.counts(town)["J01"] == 2999


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda data: data[:-40], "LINKAGE_TRUNCATED"),
        (lambda data: data.replace(b'"op1"', b'"op1', 1), "LINKAGE_UNCLOSED_QUOTE"),
        (lambda data: data.replace(b'"op1"', b'"o\r\np1"', 1), "LINKAGE_NEWLINE_IN_VALUE"),
        (lambda data: data.replace("試験".encode(), b"\xff\xfe", 1), "LINKAGE_ENCODING"),
    ],
)
def test_large_file__with_a_broken_structure__is_told_alike(
    town: str, monkeypatch: pytest.MonkeyPatch, always_workers: list[int], spoil, code: str
) -> None:
    rows = [resident(n, household=n, municipality_code=town) for n in range(1, 600)]
    lines = b"".join(line("J01", row) for row in rows)
    data = FILES["J01"].header_line + lines[: len(lines) // 2] + spoil(lines[len(lines) // 2 :])
    results = []
    for count in (2, 0):
        monkeypatch.setattr(load_workers, "worker_count", lambda count=count: count)
        result = Sender(town).send({"J01": data})
        assert not result.landed
        results.append([(f.line, f.code) for f in result.summary.findings if f.severity == "fatal"])
    assert results[0] == results[1]
    assert results[0][0][1] == code
