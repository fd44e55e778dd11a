"""An empty core system, filled from a recovery export, is the lost one again."""

from __future__ import annotations

import datetime as dt
import zipfile
from pathlib import Path

import pytest

from bcl_sim.core_system.plain_reading import by_key, household_faults
from bcl_sim.core_system.town import Town

TODAY = dt.date(2026, 11, 25)


def _package(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "READY"):
            archive.write(path, path.relative_to(folder).as_posix())
    return target


def _keyed(town: Town) -> dict[str, dict]:
    return {file_id: by_key(file_id, rows) for file_id, rows in town.truth().items()}


@pytest.mark.requirement("R-031")
def test_restore__from_an_export__has_the_same_rows_and_goes_on_living(
    living_town: Town, tmp_path: Path
) -> None:
    living_town.advance(3, at_least_one_of_each=True)
    package = _package(living_town.export(tmp_path / "out").folder, tmp_path / "recovery.zip")
    again = Town.restore(
        tmp_path / "again", package, municipality_code="999997", today=TODAY, seed=3
    )
    assert _keyed(again) == _keyed(living_town)
    assert again.counts() == living_town.counts()
    numbers = {row["addressee_number"] for row in again.truth()["J01"]}
    again.export(tmp_path / "new")
    counts = again.advance(2, at_least_one_of_each=True)
    truth = again.truth()
    assert counts["転入"] and not household_faults(truth["J01"])
    assert len({row["addressee_number"] for row in truth["J01"]}) > len(numbers)
    assert again.export(tmp_path / "new", mode="differential").rows["J01"] > 0


def test_restore__cards__list_is_the_same(living_town: Town, tmp_path: Path) -> None:
    folder = living_town.export(tmp_path / "out").folder
    again = Town.restore(tmp_path / "again", folder, municipality_code="999997", today=TODAY)
    lists = [set((t.state / "cards.jsonl").read_text(encoding="utf-8").splitlines())
             for t in (living_town, again)]  # fmt: skip
    assert lists[0] == lists[1]


def test_restore__other_municipality_or_existing_state__is_refused(
    living_town: Town, tmp_path: Path
) -> None:
    folder = living_town.export(tmp_path / "out").folder
    with pytest.raises(ValueError, match="municipality_code"):
        Town.restore(tmp_path / "other", folder, municipality_code="999989", today=TODAY)
    with pytest.raises(FileExistsError):
        Town.restore(living_town.state, folder, municipality_code="999997", today=TODAY)
