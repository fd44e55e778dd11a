"""One small town for the tests of the core system, generated once."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcl_sim.core_system.plain_reading import Rows, read_export
from bcl_sim.core_system.town import Town

START = dt.date(2026, 11, 22)


@pytest.fixture(scope="session")
def sample_town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A town of 800 that stays as generated. Tests only read it."""
    return Town.generate(
        tmp_path_factory.mktemp("sample") / "state", residents=800, seed=7, start_on=START
    )


@pytest.fixture(scope="session")
def sample_export(sample_town: Town, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full export of the sample town."""
    return sample_town.export(tmp_path_factory.mktemp("drop")).folder


@pytest.fixture(scope="session")
def sample_cases(sample_town: Town) -> dict[str, dict]:
    """The planted cases by id."""
    listed = json.loads((sample_town.state / "edge_cases.json").read_text(encoding="utf-8"))
    return {case["id"]: case for case in listed}


@pytest.fixture(scope="session")
def sample_rows(sample_export: Path) -> dict[str, Rows]:
    """Rows of the sample export."""
    return read_export(sample_export)


@pytest.fixture(scope="session")
def prepared_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State directory of a town of 400, to be copied."""
    state = tmp_path_factory.mktemp("prepared") / "state"
    Town.generate(state, residents=400, seed=3, start_on=START).close()
    return state


@pytest.fixture
def living_town(tmp_path: Path, prepared_state: Path) -> Iterator[Town]:
    """A town of 400 of one's own, with tax."""
    shutil.copytree(prepared_state, tmp_path / "state")
    town = Town(tmp_path / "state")
    yield town
    town.close()
