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
    sequence = _last_sequence(landed, exports=len(landed.town.exports()))
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
    journal = Journal(config.journal_file)
    acknowledged = journal.items(ItemState.LANDED, lane="main")
    journal.close()
    assert sorted(item.sequence for item in acknowledged) == list(range(1, sequence + 1))
    landed.compare_everything()


def _last_sequence(line: Line, *, exports: int) -> int:
    """Wait until every export has been numbered, and give the newest number of the main lane."""
    config = load_config(gateway_config.path(line.world, line.code))

    def numbers() -> list[int]:
        journal = Journal(config.journal_file)
        try:
            return [item.sequence for item in journal.items(lane="main") if item.sequence]
        finally:
            journal.close()

    def all_taken() -> bool:
        line.world.supervisor.restart_the_fallen()
        return not any(path.is_dir() for path in config.drop_dir.iterdir())

    wait_until("受け取り", 120, all_taken)
    wait_until("採番", 120, lambda: bool(numbers()))
    time.sleep(3)
    return max(numbers())
