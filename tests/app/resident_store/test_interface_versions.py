"""Lines of two interface versions side by side: read in the newest terms, exported in the main
lane's, and history as it was."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from store_world import START

from bcl.foundation.audit import SYSTEM
from bcl.resident_store import api as store
from bcl_contract import clock
from bcl_contract.linkage import catalog
from bcl_contract.linkage.convert import ConversionReport, convert_path
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.validator import validate_path
from bcl_sim.core_system.town import Town

Rows = list[dict[str, str]]


@pytest.fixture
def draft(tmp_path: Path, draft_version):
    deadline = clock.now() + timedelta(days=30)
    with catalog.use(draft_version.write_draft(tmp_path / "draft", deadline=deadline)):
        yield


@pytest.fixture
def days(tmp_path: Path) -> list[Path]:
    """A full export and the differential of the next day, both in version 1.0."""
    town = Town.generate(
        tmp_path / "core", residents=200, seed=4, with_tax=False, start_on=START.date()
    )
    folders = [town.export(tmp_path / "drop").folder]
    town.advance(1, at_least_one_of_each=True)
    folders.append(town.export(tmp_path / "drop", mode="differential").folder)
    town.close()
    return folders


def apply_folder(town: str, folder: Path, sequence: int, version: str, mode: str) -> None:
    layouts = load_interface(version).files
    paths = sorted(folder.glob("*.csv"))
    file_ids = [path.name.split("_")[1] for path in paths]
    result = store.apply_files(
        municipality_code=town, transmission_id=f"t{sequence}", lane="main", sequence=sequence,
        mode=mode, as_of=START.replace(day=sequence), interface_version=version,
        open_files=[
            (file_id, layouts[file_id], io.BytesIO(path.read_bytes()))
            for file_id, path in zip(file_ids, paths, strict=True)
        ],
        seal_images=[(path.name, path.read_bytes()) for path in folder.glob("seal/*.png")],
        decide=lambda _: store.Verdict.LAND, by=SYSTEM, at=START.replace(day=sequence),
    )  # fmt: skip
    assert result.landed, result.summary


def rows_of(content: bytes, file_id: str, version: str) -> Rows:
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    layout = load_interface(version).files[file_id]
    assert header == [column.title_ja for column in layout.columns]
    return [dict(zip(layout.names, row, strict=True)) for row in rows]


def exported(folder: Path, file_id: str, version: str) -> Rows:
    (path,) = folder.glob(f"*_{file_id}_*.csv")
    return rows_of(path.read_bytes(), file_id, version)


def recover(town: str, load_number: int, folder: Path, version: str) -> dict[str, bytes]:
    """Export the state after a load; it validates in the version that it names."""
    folder.mkdir()
    content = io.BytesIO()
    found = store.write_recovery_zip(content, town, load_number)
    assert found.interface_version == version
    with zipfile.ZipFile(content) as package:
        package.extractall(folder)
    named = json.loads((folder / "datapackage.json").read_text("utf-8"))["bcl"]
    assert named["interface_version"] == version
    checked = validate_path(folder, version=version)
    assert checked.ok, [(file.file_id, file.counts) for file in checked.files]
    return {path.name.split("_")[1]: path.read_bytes() for path in folder.glob("*.csv")}


def sort(rows: Rows) -> list[tuple[str, ...]]:
    return sorted(tuple(row.values()) for row in rows)


@pytest.mark.requirement("R-036")
def test_both_versions_stored__every_state_comes_out_whole_in_its_own_version(
    draft, town: str, days: list[Path], tmp_path: Path
) -> None:
    full, differential = days
    apply_folder(town, full, 1, "1.0", "full")
    converted = tmp_path / "converted"
    report = convert_path(differential, converted, from_version="1.0", to_version="2.0")
    assert isinstance(report, ConversionReport)
    apply_folder(town, converted, 2, "2.0", "differential")

    before = recover(town, 1, tmp_path / "one", "1.0")
    for file_id in ("J01", "J02", "J08"):
        truth = sort(exported(full, file_id, "1.0"))
        assert sort(rows_of(before[file_id], file_id, "1.0")) == truth

    after = recover(town, 2, tmp_path / "two", "2.0")
    residents = rows_of(after["J01"], "J01", "2.0")
    assert {row["entry_channel"] for row in residents} == {"1"}
    changed = exported(converted, "J01", "2.0")
    kept = {tuple(row.values()) for row in residents}
    assert {tuple(row.values()) for row in changed if row["deleted"] == "0"} <= kept
    old_aliases = {row["alias_kind"] for row in exported(full, "J02", "1.0")}
    new_aliases = {row["alias_kind"] for row in rows_of(after["J02"], "J02", "2.0")}
    assert "2" in old_aliases and "2" not in new_aliases and "3" in new_aliases


@pytest.mark.requirement("R-036")
def test_both_versions_stored__a_person_reads_alike_from_either(
    draft, town: str, days: list[Path], tmp_path: Path
) -> None:
    full, differential = days
    apply_folder(town, full, 1, "1.0", "full")
    assert isinstance(
        convert_path(differential, tmp_path / "c", from_version="1.0", to_version="2.0"),
        ConversionReport,
    )
    apply_folder(town, tmp_path / "c", 2, "2.0", "differential")
    number = next(
        row["addressee_number"]
        for row in exported(tmp_path / "c", "J01", "2.0") if row["latest"] == "1"
    )  # fmt: skip
    other = next(
        row["addressee_number"]
        for row in exported(full, "J01", "1.0")
        if row["addressee_number"] != number and row["latest"] == "1"
    )
    for person in (number, other):
        found = store.find_person(town, person, as_of=None, file_ids=["J01"])
        columns = ["addressee_number", "full_name", "entry_channel", "deleted"]
        for values in store.read_records(town, [v.id for v in found], columns=columns).values():
            assert values["addressee_number"] == person
            assert values["full_name"] and (values["entry_channel"], values["deleted"]) == (
                "1", "0",
            )  # fmt: skip
    with pytest.raises(store.UnknownColumn):
        found = store.find_person(town, other, as_of=None, file_ids=["J01"])
        store.read_records(town, [found[0].id], columns=["district_code_10"])
