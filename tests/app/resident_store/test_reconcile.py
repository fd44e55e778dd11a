"""Reconciling names every difference by key, line and column, and never a value."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner
from store_world import FILES, START, Sender, resident, table

from bcl.resident_store import api as store


def compare(town: str, rows: Iterable[Mapping[str, str]] | bytes) -> store.Differences:
    content = rows if isinstance(rows, bytes) else table("J01", rows)
    return store.reconcile(town, [("J01", FILES["J01"], io.BytesIO(content))], at=START)


@pytest.mark.requirement("R-024")
def test_reconcile__of_one_planted_field__names_its_line_and_title(town: str) -> None:
    rows = [resident(number, household=number) for number in range(1, 600)]
    Sender(town).send({"J01": rows})
    equal = compare(town, reversed(rows))
    assert equal.equal
    assert equal.files[0].core_digest == equal.files[0].store_digest
    planted = [dict(row) for row in rows]
    planted[321] |= {"address_postal_code": "1234567"}
    found = compare(town, planted)
    (difference,) = found.files[0].differences
    assert not found.equal
    assert (difference.kind, difference.line) == ("CHANGED", 323)
    assert difference.columns == ("住所_郵便番号",)
    (version,) = store.find_person(town, f"{322:015d}")
    assert difference.record_key == version.record_key
    assert found.files[0].buckets == [int(version.record_key[:2], 16)]
    assert "1234567" not in json.dumps(found.as_json(), ensure_ascii=False)


@pytest.mark.requirement("R-023")
def test_reconcile__of_missing_and_surplus_rows__names_them(town: str) -> None:
    rows = [resident(number, household=number) for number in range(1, 200)]
    Sender(town).send({"J01": rows})
    theirs = [*rows[5:], resident(900, household=900), rows[0] | {"deleted": "1"}, rows[10]]
    found = compare(town, theirs)
    kinds = [difference.kind for difference in found.files[0].differences]
    # The deleted row counts as absent, so its record stands only in the store.
    assert sorted(kinds) == ["ONLY_IN_CORE"] + ["ONLY_IN_STORE"] * 5 + ["REPEATED"]
    assert found.files[0].store_rows == 199


def test_reconcile__of_the_same_rows_written_otherwise__is_equal(town: str) -> None:
    rows = [resident(number, household=number) for number in range(1, 50)]
    Sender(town).send({"J01": rows})
    assert compare(town, table("J01", rows).replace(b"\r\n", b"\n")).equal


@pytest.mark.requirement("R-024")
def test_reconcile_command__ends_with_0_when_equal_and_3_when_not(
    town: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bcl_cli import reconcile as command

    monkeypatch.setattr(command, "start", lambda: None)
    rows = [resident(number, household=number) for number in range(1, 30)]
    Sender(town).send({"J01": rows})
    name = f"{town}_J01_F_00000001_20261101200000.csv"
    (tmp_path / name).write_bytes(table("J01", rows))
    call = ["--municipality", town, "--against"]
    runner = CliRunner()
    equal = runner.invoke(command.reconcile, [*call, str(tmp_path)])
    assert (equal.exit_code, "等しい" in equal.output) == (0, True)
    with zipfile.ZipFile(tmp_path / "full.zip", "w") as package:
        package.writestr(name, table("J01", [rows[0] | {"sex": "2"}, *rows[1:]]))
    found = runner.invoke(command.reconcile, [*call, str(tmp_path / "full.zip")])
    assert found.exit_code == 3
    assert "2 行目" in found.output
    assert "項目: 性別" in found.output
    machine = runner.invoke(command.reconcile, [*call, str(tmp_path / "full.zip"), "--json"])
    assert json.loads(machine.output)["files"][0]["differences_total"] == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = runner.invoke(command.reconcile, [*call, str(empty)])
    assert refused.exit_code == 3
    assert "RECONCILE_NO_FILES" in refused.output


SEAL = {
    "municipality_code": "999997", "seal_registration_number": "12345",
    "history_number": "00001", "latest": "1", "addressee_number": f"{7:015d}",
    "seal_status": "1", "seal_registered_on": "2020-05-01", "registered_name_kind": "1",
    "registered_name": "試験　住民7", "seal_image_number": "1", "deleted": "0",
    "operator_id": "op1", "operated_on": "2026-10-01", "operated_time": "09:00:00",
}  # fmt: skip
PERSON = resident(7, household=7)
# What happened in the town hall -> file, the row before, what the event changes, where it shows.
ENDINGS = {
    "seal_abolished": (
        "S01", SEAL,
        {"seal_status": "2", "seal_ended_on": "2026-11-20", "seal_end_reason": "01"},
        "登録状態",
    ),
    "died": (
        "J01", PERSON,
        {"resident_state": "3", "removal_reason": "21", "removal_changed_on": "2026-11-20",
         "removed_record": "1", "entry_order": ""},
        "住民状態",
    ),
    "moved_out": (
        "J01", PERSON,
        {"resident_state": "2", "removal_reason": "20", "removal_changed_on": "2026-11-20",
         "removed_record": "1", "entry_order": ""},
        "住民状態",
    ),
}  # fmt: skip


@pytest.mark.requirement("R-023")
@pytest.mark.parametrize("ending", ENDINGS)
def test_reconcile__of_an_ending_that_never_came__names_its_key_until_it_comes(
    town: str, ending: str
) -> None:
    file_id, before, event, title = ENDINGS[ending]
    sender, after = Sender(town), before | event
    sender.send({"J01": [PERSON, resident(8, household=8)], "S01": [SEAL]})
    # The day's transmission arrives, without the row of the event.
    other = resident(8, household=8, full_name="改名　住民8")
    assert sender.send({"J01": [other]}, mode="differential").landed

    def reconciled() -> store.FileDifferences:
        rows = [after, other] if file_id == "J01" else [after]
        content = io.BytesIO(table(file_id, rows))
        return store.reconcile(town, [(file_id, FILES[file_id], content)], at=START).files[0]

    (difference,) = reconciled().differences
    (version,) = store.find_person(town, f"{7:015d}", file_ids=[file_id])
    assert (difference.kind, difference.record_key) == ("CHANGED", version.record_key)
    assert any(title in each for each in difference.columns), difference.columns
    urgent = {"lane": "urgent"} if file_id == "S01" else {}
    assert sender.send({file_id: [after]}, mode="differential", **urgent).landed
    assert reconciled().equal
