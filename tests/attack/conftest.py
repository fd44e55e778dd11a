"""One running world for all attacks: real processes, real TLS, two towns, one with its data.

`make attack` runs it. Everything goes to loopback, is bounded in count and time and ends by itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from staff_client import OTHER_TOWN, TOWN

from bcl_cli.world.commands import by_day
from bcl_cli.world.line import Line
from bcl_cli.world.places import Places, default_state_root
from bcl_cli.world.walk import Walk
from bcl_cli.world.world import World

TOOLS = Path(__file__).parents[2] / "packaging" / "attack" / "node_modules"


@pytest.fixture(scope="session", autouse=True)
def _service_hours() -> Iterator[None]:
    with by_day():
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world with the first town's data; `BCL_ATTACK_WORLD` names one that runs already."""
    running = os.environ.get("BCL_ATTACK_WORLD")
    name = running or f"attack-{os.getpid()}"
    places = Places(name, default_state_root() / name, tmp_path_factory.mktemp("results"))
    made = World(places, towns=[TOWN, OTHER_TOWN])
    if running:
        yield made
        return
    try:
        with made:
            line = Line(made, Walk(places.results), TOWN)
            line.make_the_town(1000)
            line.send_everything()
            line.close()
            yield made
    finally:
        made.destroy()


@pytest.fixture(scope="session")
def tell() -> Iterator[dict]:
    """Figures that the tests found; printed at the end."""
    figures: dict = {}
    yield figures
    print("\n" + json.dumps(figures, ensure_ascii=False, indent=1))


@pytest.fixture(scope="session")
def tools() -> Path:
    """The page tools that `make attack` sets up."""
    if not TOOLS.is_dir():
        pytest.skip("the page tools are not set up (make setup-attack)")
    return TOOLS
