"""kill -9 of every program at random moments: what was acknowledged is stored, and applied once."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from bcl_cli.world import gateway_config
from bcl_cli.world.line import Line
from bcl_cli.world.processes import is_alive, written_down
from bcl_cli.world.walk import wait_until
from bcl_contract import clock
from bcl_gateway.config import load_config
from bcl_gateway.journal import Journal
from bcl_gateway.states import ItemState

CYCLES = int(os.environ.get("BCL_KILL_CYCLES", "25"))
SEED = int(os.environ.get("BCL_KILL_SEED", "20261122"))


def kill(line: Line, victim: str) -> None:
    """kill -9 of one program (with its children) or of the whole database."""
    if victim == "postgres":
        line.world.cluster().kill()
        line.world.cluster().ensure_running()
        return
    pid = written_down(line.world.places.state)[victim]
    os.killpg(pid, signal.SIGKILL)
    wait_until("終了", 10, lambda: not is_alive(pid))
    line.world.supervisor.restart_the_fallen()


@pytest.mark.requirement("R-017", "R-018", "R-020")
@pytest.mark.timeout(900)
def test_kills__at_random_moments__lose_nothing_and_apply_nothing_twice(landed: Line) -> None:
    """Set BCL_KILL_CYCLES for more; the seed is in the failure message."""
    from django.db import connections

    dice = random.Random(SEED)
    victims = ["wire", "worker", f"gateway-{landed.code}", "postgres"]
    config = load_config(gateway_config.path(landed.world, landed.code))
    for cycle in range(CYCLES):
        victim = victims[cycle % len(victims)]
        landed.town.advance(1)
        landed.town.export(config.drop_dir, mode="differential")
        time.sleep(dice.uniform(0.0, 2.0))
        kill(landed, victim)
        connections.close_all()
    sequence = _last_sequence(landed)
    from bcl.linkage import api as linkage
    from bcl.resident_store import api as store

    def all_landed() -> bool:
        # What a database that went away took with it comes back, as under `bcl world up`.
        landed.world.supervisor.restart_the_fallen()
        status = linkage.get_status(landed.code, at=clock.now())
        return status.lanes.get("main", 0) >= sequence

    wait_until("反映", 300, all_landed)
    landed.wait_fed()

    status = linkage.get_status(landed.code, at=clock.now())
    assert (status.backlog, status.rejected) == (0, 0), f"seed {SEED}"
    # Applied once each: as many loads as numbered transmissions, no more.
    assert store.applied_position(landed.code).load_number == status.landed, f"seed {SEED}"
    # The town hall hears of every one of them, too: no number is missing, none comes twice.
    wait_until("受領証", 120, lambda: len(_numbers(landed, ItemState.LANDED)) >= sequence)
    assert sorted(_numbers(landed, ItemState.LANDED)) == list(range(1, sequence + 1))
    landed.compare_everything()


def _numbers(line: Line, *states: ItemState) -> list[int]:
    """Numbers of the main lane that the gateway gave to transmissions in these states."""
    config = load_config(gateway_config.path(line.world, line.code))
    journal = Journal(config.journal_file)
    try:
        return [item.sequence for item in journal.items(*states, lane="main") if item.sequence]
    finally:
        journal.close()


def _last_sequence(line: Line) -> int:
    """Wait until every export has been taken and numbered; give the newest number."""
    config = load_config(gateway_config.path(line.world, line.code))

    def all_numbered() -> bool:
        line.world.supervisor.restart_the_fallen()
        journal = Journal(config.journal_file)
        try:
            unnumbered = journal.items(ItemState.FOUND, ItemState.COLLECTED, ItemState.CHECKED)
        finally:
            journal.close()
        return not unnumbered and not any(path.is_dir() for path in config.drop_dir.iterdir())

    wait_until("採番", 120, all_numbered)
    return max(_numbers(line))
