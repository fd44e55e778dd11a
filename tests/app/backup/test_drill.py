"""The drill restores what the second place holds, and says loudly when it is not what it was."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from bcl.backup import api, drill
from bcl.backup.place import segment_number
from bcl.backup.take import server_time
from bcl.backup.throw_away import ThrowAwayCluster
from bcl.foundation import audit
from bcl.foundation.roles import SUPERUSER

pytestmark = pytest.mark.django_db(transaction=True)


def run(set_up, *, until=None) -> drill.DrillReport:
    from django.conf import settings

    return drill.run(
        set_up.place, set_up.tools, folder=settings.BCL.state_dir / "drill", until=until
    )


@pytest.mark.requirement("R-034")
@pytest.mark.requirement("R-042")
def test_restore__any_moment_of_five_states__gives_every_table_as_it_was(
    set_up, sender, residents, cluster_info
) -> None:
    base = set_up.take()
    moments, tables = [], []
    for step in range(5):
        assert sender.send({"J01": residents(20, "甲乙丙丁戊"[step])}).landed
        moments.append(server_time(set_up.source))
        tables.append(digest_of_tables(cluster_info.url(SUPERUSER)))
    drill._mark()  # something is committed after the last moment that is asked for
    set_up.wait_for_log()
    assert len({json.dumps(each) for each in tables}) == 5
    # Any moment up to where the next state could first have been committed.
    for step in random.sample(range(5), 5):
        moment = moments[step] + timedelta(milliseconds=random.random() * 5)
        with thrown_away(set_up) as copy:
            copy.copy_log(set_up.place, base)
            copy.copy_base(set_up.place, base)
            restored = copy.start(until=moment)
            assert restored.last_commit_at <= moment and restored.timeline > 1
            assert digest_of_tables(copy.url(SUPERUSER)) == tables[step], step
            with psycopg.connect(copy.url(SUPERUSER)) as db, pytest.raises(psycopg.Error):
                db.execute("DELETE FROM procrastinate_jobs")


@contextmanager
def thrown_away(set_up) -> Iterator[ThrowAwayCluster]:
    home = Path(tempfile.mkdtemp(prefix="bcl-copy-", dir="/tmp"))
    home.chmod(0o711)
    copy = ThrowAwayCluster(home / "copy", set_up.tools)
    try:
        yield copy
    finally:
        copy.destroy()
        shutil.rmtree(home)


def digest_of_tables(url: str) -> dict[str, str]:
    """A digest of every row of every table, as the superuser sees them."""
    with psycopg.connect(url, autocommit=True) as db:
        names = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return {
            name: db.execute(
                f'SELECT md5(COALESCE(string_agg(md5(t::text), \'\' ORDER BY t::text), \'\'))'
                f' FROM "{name}" t'
            ).fetchone()[0]
            for (name,) in sorted(names)
        }


@pytest.mark.requirement("R-034")
def test_drill__newest_state__passes_and_is_on_record(set_up, sender, residents) -> None:
    from bcl.foundation.models import AgencyAuditEntry

    set_up.take()
    assert sender.send({"J01": residents(12, "己")}).landed
    set_up.wait_for_log()
    report = api.run_drill(by=audit.SYSTEM)
    assert report.passed, report.findings
    assert report.digest_equal and report.records == 12 and report.towns == 1
    assert report.rpo_s is not None and report.rpo_s < 5
    assert report.rto_s is not None and report.checked_s is not None
    assert report.rto_s <= report.checked_s
    row = AgencyAuditEntry.objects.get(act="run_restore_drill")
    assert (row.detail["passed"], row.detail["backup"]) == (1, report.backup_id)
    path = api.reports_folder() / f"drill-{report.drill_id}.json"
    assert api.is_genuine(path)
    altered = json.loads(path.read_text(encoding="utf-8"))
    altered["content"]["rpo_s"] = 0.5
    path.write_text(json.dumps(altered), encoding="utf-8")
    assert not api.is_genuine(path)


@pytest.mark.requirement("R-034")
def test_drill__receiver_that_stopped__is_told_as_lost_data(set_up, sender, residents) -> None:
    set_up.take()
    assert sender.send({"J01": residents(5, "庚")}).landed
    set_up.wait_for_log()
    set_up.receiver.stop()
    try:
        borders = server_time(set_up.source)
        assert sender.send({"J01": residents(5, "辛")}).landed
        report = run(set_up)
        lost = (server_time(set_up.source) - borders).total_seconds()
        assert report.loads == {sender.town: 1}
        assert report.rpo_s is not None and 0 < report.rpo_s <= lost + 5
    finally:
        set_up.receiver.ensure_running()


@pytest.fixture
def taken(set_up, sender, residents):
    """A base backup of a landed town; removed afterwards, whatever was done to it."""
    assert sender.send({"J01": residents(30, "壬")}).landed
    base = set_up.take()
    yield base
    shutil.rmtree(set_up.place.path_of(base), ignore_errors=True)
    (set_up.place.base_dir / f"{base.backup_id}.json").unlink(missing_ok=True)


def flip(path, offset: int, bit: int = 4) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1 << bit]))


@pytest.mark.requirement("R-034")
def test_drill__one_flipped_bit_in_any_file_of_the_backup__fails_by_code(set_up, taken) -> None:
    files = [p for p in set_up.place.path_of(taken).rglob("*") if p.is_file() and p.stat().st_size]
    for _ in range(2):
        path = secrets.choice(files)
        offset = secrets.randbelow(path.stat().st_size)
        flip(path, offset)
        report = run(set_up)
        assert not report.passed
        assert [each["code"] for each in report.findings] == ["DRILL_BACKUP_BROKEN"], path
        flip(path, offset)
    (set_up.place.path_of(taken) / "global" / "pg_control").unlink()
    assert [each["code"] for each in run(set_up).findings] == ["DRILL_BACKUP_BROKEN"]


FLIPS = int(os.environ.get("BCL_BACKUP_FLIPS", "2"))
"""Trials here; a soak run makes 100 and keeps them in BCL_BACKUP_LEDGER (JSON lines)."""


def done_before() -> int:
    """Trials that an earlier, interrupted run has in the ledger."""
    path = Path(os.environ.get("BCL_BACKUP_LEDGER", "/nonexistent"))
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    assert all(json.loads(line)["found"] for line in lines)
    return len(lines)


def keep(trial: dict) -> None:
    """One line for one trial, on the disk before the next begins."""
    if path := os.environ.get("BCL_BACKUP_LEDGER"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(trial, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


@pytest.mark.requirement("R-034")
def test_drill__one_flipped_bit_in_what_the_backup_consists_of__is_found_every_time(
    set_up, sender, residents, taken
) -> None:
    """A file of the copy, its record, and the log up to the last thing the source did: even in
    the newest segment, which no later one shows to be cut short."""
    assert sender.send({"J01": residents(30, "未")}).landed
    drill._mark()
    set_up.wait_for_log()
    kinds = ("log", "record", "copy")  # two without a soak: test_status tries every bit of records
    for number in range(done_before(), FLIPS):
        kind = kinds[number % len(kinds)]
        if kind == "copy":
            top = set_up.place.path_of(taken)
            path = secrets.choice([p for p in top.rglob("*") if p.is_file() and p.stat().st_size])
            bit = secrets.randbelow(path.stat().st_size * 8)
        elif kind == "record":
            path = set_up.place.base_dir / f"{taken.backup_id}.json"
            bit = 8 * path.read_bytes().index(b"manifest_sha256") + secrets.randbelow(8 * 60)
        else:
            path, bit = bit_of_last_record(set_up)
        flip(path, bit // 8, bit % 8)
        report = run(set_up)
        keep({"trial": number, "kind": kind, "file": path.name, "bit": bit,
              "found": not report.passed, "codes": [e["code"] for e in report.findings]})
        assert not report.passed, (kind, path, bit)
        flip(path, bit // 8, bit % 8)
    assert run(set_up).passed


def bit_of_last_record(set_up) -> tuple[Path, int]:
    """Some bit of a page in the log that the landing wrote, in the newest segment there is."""
    path = [p for p in set_up.place.segments() if segment_number(p.name) is not None][-1]
    content = path.read_bytes()
    places = [at for at in range(0, len(content) - 11) if content.startswith(b"bcl-drill", at)]
    assert places
    return path, 8 * (places[-1] + secrets.randbelow(9)) + secrets.randbelow(8)


@pytest.mark.requirement("R-034")
def test_drill__page_altered_in_the_source_before_the_backup__is_found(
    set_up, sender, residents, superuser_connection
) -> None:
    """Nothing is wrong with the files then: only opening every page finds it."""
    assert sender.send({"J01": residents(30, "癸")}).landed
    superuser_connection.execute(
        "UPDATE resident_store_page SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1)"
    )
    set_up.take()
    set_up.wait_for_log()
    report = run(set_up)
    assert report.digest_equal is False
    assert [each["code"] for each in report.findings] == ["DRILL_PAGE_BROKEN"]


@pytest.mark.requirement("R-034")
@pytest.mark.requirement("R-042")
def test_drill__damaged_or_missing_log__is_told(
    set_up, sender, residents, taken, superuser_connection
) -> None:
    assert sender.send({"J01": residents(30, "子")}).landed
    for _ in range(3):  # the log must go over several segments
        superuser_connection.execute("SELECT pg_switch_wal()")
        drill._mark()
    set_up.wait_for_log()
    first = segment_number(taken.start_segment)
    middle = [
        path
        for path in set_up.place.segments(since=taken.start_segment)
        if segment_number(path.name) == first + 1
    ]
    content = middle[0].read_bytes()
    flip(middle[0], 40)
    report = run(set_up)
    assert "DRILL_WAL_BROKEN" in [each["code"] for each in report.findings]
    middle[0].unlink()
    report = run(set_up)
    assert "BACKUP_WAL_GAP" in [each["code"] for each in report.findings]
    middle[0].write_bytes(content)

