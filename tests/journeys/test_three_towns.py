"""Three towns at once, one of them large: none sees another, and the small ones go on.

Takes minutes and gigabytes: part of `make soak`. BCL_LARGE_TOWN is the large town's size.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcl_cli.world.line import Line
from bcl_cli.world.places import Places, default_state_root
from bcl_cli.world.processes import written_down
from bcl_cli.world.walk import Walk, wait_until
from bcl_cli.world.world import World
from bcl_contract import clock
from bcl_contract.refusals import Refusal
from bcl_sim.kiosk import Choice

LARGE = int(os.environ.get("BCL_LARGE_TOWN", "0"))
SMALL = 2000


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Line]]:
    name = f"three-{os.getpid()}"
    made = World(
        Places(name, default_state_root() / name, tmp_path), towns=["999997", "999989", "999971"]
    )
    try:
        with made:
            yield [Line(made, Walk(tmp_path), code) for code in made.towns]
    finally:
        made.destroy()


def peak_memory_mb(world: World, program: str) -> float:
    """Highest resident memory of a program so far (VmHWM)."""
    pid = written_down(world.places.state)[program]
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


@pytest.mark.requirement("R-002", "R-025")
@pytest.mark.skipif(not LARGE, reason="set BCL_LARGE_TOWN (make soak does)")
@pytest.mark.timeout(3600)
def test_three_towns__at_once__land_apart_and_issue_meanwhile(three: list[Line]) -> None:
    from bcl.foundation import tenancy
    from bcl.linkage import api as linkage
    from bcl.resident_store import api as store

    *small, large = three
    for line in small:
        line.make_the_town(SMALL)
    large.make_the_town(LARGE, with_tax=False)
    started = time.monotonic()
    results = [line.export("full") for line in (large, *small)]
    print(
        f"\n書き出し {time.monotonic() - started:.0f} 秒", [sum(r.rows.values()) for r in results]
    )

    for line in small:
        line.wait_landed(1)
        line.wait_fed()
    paper = small[0].visit_kiosk(small[0].case("family_of_five"), Choice())
    assert not isinstance(paper, Refusal)
    landed_yet = linkage.get_status(large.code, at=clock.now()).landed
    print(f"小さい町は {time.monotonic() - started:.0f} 秒で発行。大きい町の反映 {landed_yet}")
    wait_until(
        "大きい町の反映",
        3000,
        lambda: linkage.get_status(large.code, at=clock.now()).landed == 1,
    )
    print(f"大きい町の反映 {time.monotonic() - started:.0f} 秒")
    for program in ("worker", "wire", *(f"gateway-{line.code}" for line in three)):
        print(f"  {program} 最大 {peak_memory_mb(large.world, program):.0f} MB")
    print(f"  この試験 最大 {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")

    for line, result in zip((large, *small), results, strict=True):
        counts = store.counts(line.code)
        assert {file: counts[file] for file in result.rows} == result.rows
    # The same addressee number lives in every town; each sees its own person only.
    for line in small:
        number = line.case("family_of_five")
        truth = {
            r["full_name"] for r in line.town.truth()["J01"] if r["addressee_number"] == number
        }
        with tenancy.scope(line.code):
            versions = store.find_person(line.code, number, file_ids=["J01"])
            read = store.read_records(line.code, [v.id for v in versions], columns=["full_name"])
        assert {row["full_name"] for row in read.values()} == truth
