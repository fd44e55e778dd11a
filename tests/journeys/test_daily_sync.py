"""Journey: daily sync. Step numbers as in docs/journeys/daily-sync.md."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from bcl_cli.world import gateway_config
from bcl_cli.world.line import Line
from bcl_cli.world.walk import wait_until
from bcl_contract import clock
from bcl_gateway.config import load_config
from bcl_gateway.journal import Item, Journal
from bcl_gateway.states import ItemState


def items(line: Line, *states: ItemState) -> list[Item]:
    journal = Journal(load_config(gateway_config.path(line.world, line.code)).journal_file)
    try:
        return journal.items(*states)
    finally:
        journal.close()


@pytest.mark.requirement("R-012", "R-013", "R-015", "R-025", "R-028", "R-267")
def test_daily_sync__a_towns_data__lands_step_by_step(line: Line) -> None:
    config = load_config(gateway_config.path(line.world, line.code))

    # step 1: a folder without its READY marker is left where it is
    unfinished = config.drop_dir / "still-writing"
    unfinished.mkdir()
    (unfinished / f"{line.code}_J01_F.csv").write_text("half a file", encoding="utf-8")
    time.sleep(1.5)
    assert unfinished.is_dir()
    assert items(line) == []
    (unfinished / f"{line.code}_J01_F.csv").unlink()
    unfinished.rmdir()

    # step 2: what is wrong goes back to the hall with a report, and nothing is sent
    broken = line.town.export(config.drop_dir, mode="full", defect="encoding_cp932")
    wait_until("差戻し", 60, lambda: any(config.rejected_dir.iterdir()))
    assert not broken.folder.exists()
    wait_until("報告", 10, lambda: any(config.rejected_dir.rglob("*.json")))
    [report] = [p for p in config.rejected_dir.rglob("*.json") if p.name != "READY"]
    told = report.read_text("utf-8")
    assert '"fatal": 1' in told
    assert "LINKAGE_" in told
    assert items(line, ItemState.SIGNED, ItemState.SENDING, ItemState.SENT) == []

    # step 3: the next good one is signed with the first number of its lane
    result = line.town.export(config.drop_dir, mode="full")
    wait_until("反映", 120, lambda: bool(items(line, ItemState.LANDED)))
    [item] = items(line, ItemState.LANDED)
    assert (item.lane, item.sequence) == ("main", 1)

    # step 4: every state was journalled in order, and the spool is empty again
    journal = Journal(config.journal_file)
    states = [state for _, state, _ in journal.history(item)]
    journal.close()
    order = [ItemState.COLLECTED, ItemState.SIGNED, ItemState.SENDING, ItemState.SENT]
    assert [state for state in states if state in order][: len(order)] == order
    assert list(config.spool_dir.iterdir()) == []

    # step 5: what BCL received is byte for byte what the gateway sent, by a receipt it can't deny
    assert item.receipt is not None

    # step 6, # step 7: opened and judged by the worker; nothing waits and nothing was refused
    from bcl.linkage import api as linkage

    status = linkage.get_status(line.code, at=clock.now())
    assert (status.landed, status.backlog, status.rejected) == (1, 0, 0)

    # step 8: the counts of the store are the counts of the town
    from bcl.resident_store import api as store

    counts = store.counts(line.code)
    assert {file: counts[file] for file in result.rows} == result.rows
    assert counts["residents"] == line.town.counts()["住民"]

    # step 9: issuing follows the feed to the same load
    line.wait_fed()

    # step 10: the receipt in the gateway's hands is BCL's, of these bytes, and says LANDED
    assert item.receipt["state"] == "LANDED"
    assert item.receipt["sha256"] == item.package_sha256


@pytest.mark.requirement("R-009", "R-030")
def test_daily_sync__a_day_of_changes__brings_the_store_to_the_same_state(landed: Line) -> None:
    landed.live_a_day()
    landed.compare_everything()


@pytest.mark.requirement("R-002", "R-025")
def test_daily_sync__two_towns__neither_sees_the_other(landed: Line, other_line: Line) -> None:
    from bcl.foundation import tenancy
    from bcl.resident_store import api as store

    before = store.counts(landed.code)
    other_line.send_everything()
    assert store.counts(landed.code) == before
    assert store.counts(other_line.code)["residents"] == other_line.town.counts()["住民"]
    with tenancy.scope(other_line.code):
        [row] = [r for r in landed.town.truth()["J01"] if r["latest"] == "1"][:1]
        found = store.find_person(other_line.code, row["addressee_number"], as_of=None)
        same_number = {r["addressee_number"] for r in other_line.town.truth()["J01"]}
        assert bool(found) == (row["addressee_number"] in same_number)


@pytest.mark.requirement("R-026", "R-041")
def test_daily_sync__no_clear_name_is_anywhere_at_rest(
    landed: Line, empty_folder: Path
) -> None:
    """1,000 names of the town: none in data files, WAL, logs, spool, receive area, journals."""
    names = {
        row["full_name"].encode()
        for row in landed.town.truth()["J01"]
        if len(row["full_name"]) >= 4
    }
    codes = {
        row["resident_record_code"].encode()
        for row in landed.town.truth()["J01"]
        if row["resident_record_code"]
    }
    assert len(names) > 500
    state = landed.world.places.state
    halls = [state / "towns" / code for code in landed.world.towns]
    own = {hall / part for hall in halls for part in ("core", "drop", "gateway-rejected")}
    searched = [path for path in state.rglob("*") if path.is_file() and not own & set(path.parents)]
    assert sum(path.stat().st_size for path in searched if path.exists()) > 10_000_000
    patterns = empty_folder / "names"  # gone afterwards: other tests search everything, too
    patterns.write_bytes(b"\n".join(sorted(names | codes)))
    found = subprocess.run(
        ["xargs", "-0", "grep", "-laFs", "-f", str(patterns)],
        input=b"\0".join(os.fsencode(path) for path in searched),
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
    )
    assert found.stdout.decode() == ""
    # The search itself works: the core system's own folder is full of hits.
    core = subprocess.run(
        ["grep", "-rlaFs", "-f", str(patterns), str(state / "towns" / landed.code / "core")],
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
    )
    assert core.stdout
