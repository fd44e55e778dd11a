"""A whole synthetic town, all its files: in, a day later in again, and out equal to its truth."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from pathlib import Path

import pytest
from store_world import FILES, START

from bcl.foundation.audit import SYSTEM
from bcl.resident_store import api as store
from bcl_sim.core_system.town import Town


def apply_export(town: str, exported, sequence: int) -> store.LoadResult:
    """Apply what the core system wrote into its drop folder."""
    files = []
    for path in sorted(exported.folder.glob("*.csv")):
        file_id = path.name.split("_")[1]
        files.append((file_id, FILES[file_id], io.BytesIO(path.read_bytes())))
    images = [(path.name, path.read_bytes()) for path in exported.folder.glob("seal/*.png")]
    return store.apply_files(
        municipality_code=town, transmission_id=f"t{sequence}", lane="main", sequence=sequence,
        mode=exported.mode, as_of=datetime.fromisoformat(exported.as_of), interface_version="1.0",
        open_files=[each for each in files if each[0] != "J07"], seal_images=images,
        decide=lambda _: store.Verdict.LAND, by=SYSTEM, at=START.replace(day=sequence),
    )


def living(folder: Path) -> int:
    """Residents as the standard library counts them in J01."""
    (path,) = folder.glob("*_J01_*.csv")
    with path.open(encoding="utf-8", newline="") as source:
        return sum(
            row["最新フラグ"] == "1" and row["住民状態"] == "1" and row["削除フラグ"] == "0"
            for row in csv.DictReader(source)
        )


@pytest.mark.requirement("R-009")
@pytest.mark.requirement("R-031")
def test_synthetic_town__goes_in_and_comes_back_equal(town: str, tmp_path: Path) -> None:
    core = Town.generate(tmp_path / "core", residents=600, seed=7, seal_image_share=0.3)
    exported = core.export(tmp_path / "drop", mode="full")
    landed = apply_export(town, exported, 1)
    assert landed.landed
    serious = {f.code for f in landed.summary.findings if f.severity in ("fatal", "row")}
    assert serious == set()
    assert landed.summary.residents_after == living(exported.folder)
    core.advance(days=2)
    second = apply_export(town, core.export(tmp_path / "drop", mode="differential"), 2)
    assert second.landed
    assert {f.code for f in second.summary.findings if f.severity in ("fatal", "row")} == set()
    recovered = tmp_path / "recovery.zip"
    with recovered.open("wb") as target:
        contents = store.write_recovery_zip(target, town, 2)
    compared = core.compare_recovery(recovered)
    assert compared.equal, compared
    assert {entry.file_id for entry in contents.files} >= {"J01", "J05", "S01", "S02", "T01"}
