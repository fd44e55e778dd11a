"""Every deliberate defect is one, and the linkage's validator sees those of a single table."""

from __future__ import annotations

import datetime as dt
import io
import json
from hashlib import sha256
from pathlib import Path

import pytest

from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.validator import CheckContext, check_file
from bcl_sim.core_system.broken import DEFECTS, READY_DEFECTS, all_defects
from bcl_sim.core_system.plain_reading import household_faults, read_export
from bcl_sim.core_system.town import Town

START = dt.date(2026, 11, 22)
ACCEPTED = {"line_feed_only", "unquoted"}
"""Not canonical, but allowed by the interface."""
WARNED = {"encoding_bom", "open_code_unknown"}
BETWEEN_ROWS = {
    "duplicate_key", "two_latest_rows", "household_not_closed", "two_heads", "no_head",
    "order_gap", "head_name_differs", "address_differs", "mass_shrink", "serial_of_two_persons",
    "link_without_person", "image_hash_wrong", "household_half_applied",
}  # fmt: skip
"""Seen only over several rows or files."""
RULES = {"two_heads": "V01", "no_head": "V01", "household_not_closed": "V02", "order_gap": "V02",
         "head_name_differs": "V03", "address_differs": "V04",
         "two_latest_rows": "V05"}  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town.generate(
        tmp_path_factory.mktemp("broken") / "state", residents=300, seed=5, start_on=START
    )


def test_defects__there_are_many() -> None:
    assert len(all_defects()) >= 60
    assert set(DEFECTS) >= ACCEPTED | WARNED | BETWEEN_ROWS


@pytest.fixture(scope="module")
def healthy(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full export without any defect."""
    return town.export(tmp_path_factory.mktemp("healthy")).folder


def test_defect__export__is_described_by_ready_and_not_remembered(
    town: Town, healthy: Path, tmp_path: Path
) -> None:
    count = len(town.exports())
    broken = town.export(tmp_path / "bad", files=("J01", "J05"), defect="date_zero")
    assert len(town.exports()) == count
    ready = json.loads((broken.folder / "READY").read_text(encoding="utf-8"))
    for told in ready["files"]:
        content = (broken.folder / told["name"]).read_bytes()
        assert (told["bytes"], told["sha256"]) == (len(content), sha256(content).hexdigest())
        same = content == (healthy / told["name"]).read_bytes()
        assert same == (told["file_id"] == "J05")


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_defect__validator__sees_it(healthy: Path, name: str) -> None:
    file_id = DEFECTS[name].file_id
    content = (healthy / f"999997_{file_id}_F.csv").read_bytes()
    spoiled = DEFECTS[name].spoil(content)
    assert spoiled != content
    context = CheckContext(municipality_code="999997", as_of=START)
    layout = load_interface().files[file_id]
    findings = check_file(layout, io.BytesIO(spoiled), context=context).findings
    usual = {"EXPECTED_WHEN"}
    errors = [f for f in findings if f.severity != "warning"]
    warnings = [f for f in findings if f.severity == "warning" and f.rule not in usual]
    if name in ACCEPTED | BETWEEN_ROWS:
        assert not errors
    elif name in WARNED:
        assert warnings and not errors
    else:
        assert errors, "the validator saw nothing"


@pytest.mark.parametrize(("name", "rule"), sorted(RULES.items()))
def test_defect__household_rules__breaks_the_rule_it_names(
    town: Town, tmp_path: Path, name: str, rule: str
) -> None:
    folder = town.export(tmp_path / "bad", files=("J01",), defect=name).folder
    assert rule in household_faults(read_export(folder)["J01"])


def test_defect__serial_of_two_persons__both_valid(town: Town, tmp_path: Path) -> None:
    folder = town.export(tmp_path / "bad", files=("J05",), defect="serial_of_two_persons").folder
    seen: dict[tuple[str, str], set[str]] = {}
    for row in read_export(folder)["J05"]:
        if row["link_status"] == "1":
            key = (row["issuer_key"], row["serial_number"])
            seen.setdefault(key, set()).add(row["addressee_number"])
    assert any(len(holders) == 2 for holders in seen.values())


@pytest.mark.parametrize("name", sorted(READY_DEFECTS))
def test_defect__ready__does_not_fit_the_files(town: Town, tmp_path: Path, name: str) -> None:
    folder = town.export(tmp_path / "bad", files=("J01",), defect=name).folder
    told = json.loads((folder / "READY").read_text(encoding="utf-8"))["files"][0]
    path = folder / "999997_J01_F.csv"
    rows = len(read_export(folder)["J01"])
    assert (told["name"], told["bytes"], told["rows"]) != (
        path.name, path.stat().st_size, rows
    ) or told["sha256"] == "0" * 64  # fmt: skip


def test_defect__unknown_or_without_rows__is_refused(town: Town, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ありません"):
        town.export(tmp_path / "bad", defect="no_such_defect")
    with pytest.raises(ValueError, match="ありません"):
        town.export(tmp_path / "bad2", files=("J01",), defect="serial_of_two_persons")
