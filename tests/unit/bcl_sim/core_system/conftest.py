"""One small town for the tests of the core system, generated once."""

from __future__ import annotations

import datetime as dt
import json
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


@pytest.fixture
def living_town(tmp_path: Path) -> Town:
    """A town of 400 of one's own, with tax."""
    return Town.generate(tmp_path / "state", residents=400, seed=3, start_on=START)
