"""One running world for all journeys: real processes, real TLS, real PostgreSQL, two towns.

The journeys run in a pytest of their own (`pytest -c tests/journeys/pytest.ini
--confcutdir tests/journeys tests/journeys`), because this process loads Django for the world's
database, not for the test database.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from staff_visit import CHROMIUM, FLAGS

from bcl_cli.world.commands import by_day
from bcl_cli.world.line import Line
from bcl_cli.world.places import Places, default_state_root
from bcl_cli.world.walk import Walk
from bcl_cli.world.world import World

TOWN, OTHER_TOWN = "999997", "999989"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The daily sync comes first: it begins in a town hall that has never sent anything."""
    items.sort(key=lambda item: item.path.name != "test_daily_sync.py")


@pytest.fixture(scope="session", autouse=True)
def _service_hours() -> Iterator[None]:
    with by_day():
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_folder() -> Iterator[None]:
    """One folder for whatever the world's programs put away for a while, so that it can be looked
    through. Short: sockets lie in it. Others may pass through: the database's user does."""
    folder = Path(f"/tmp/bclj-{os.getpid()}")
    folder.mkdir(mode=0o711)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TMPDIR", str(folder))
        patched.setattr(tempfile, "tempdir", str(folder))
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    name = f"journeys-{os.getpid()}"
    places = Places(name, default_state_root() / name, tmp_path_factory.mktemp("results"))
    made = World(places, towns=[TOWN, OTHER_TOWN])
    try:
        with made:
            yield made
    finally:
        keep = os.environ.get("BCL_KEEP_WORLD")
        if not keep:
            made.destroy()


@pytest.fixture(scope="session")
def line(world: World) -> Iterator[Line]:
    """The first town, made and sent once."""
    made = Line(world, Walk(world.places.results), TOWN)
    made.make_the_town(1000)
    yield made
    made.close()


@pytest.fixture(scope="session")
def other_line(world: World) -> Iterator[Line]:
    """A second town in the same world."""
    made = Line(world, Walk(world.places.results), OTHER_TOWN)
    made.make_the_town(400)
    yield made
    made.close()


@pytest.fixture(scope="session")
def landed(line: Line) -> Line:
    """The first town with its first full transmission in the resident store."""
    if not line.town.exports():
        line.send_everything()
    return line


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    """A browser for one module's pages; skips without one. Worlds are made before it: a running
    Playwright has an event loop, in which Django refuses to work."""
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def empty_folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)
