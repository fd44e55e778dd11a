"""Exports: form, what a differential carries, and the truth of any moment."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bcl_contract.linkage.transmission_check import validate_path
from bcl_sim.core_system import export as exporting
from bcl_sim.core_system.plain_reading import by_key, read_export
from bcl_sim.core_system.tables import layouts
from bcl_sim.core_system.town import Town


def test_export__ready__describes_exactly_what_lies_there(sample_export: Path) -> None:
    ready = json.loads((sample_export / "READY").read_text(encoding="utf-8"))
    assert (ready["mode"], ready["lane"]) == ("full", "main")
    assert ready["as_of"].startswith("2026-11-22T20:30:00") and ready["as_of"].endswith("+09:00")
    listed = {file["name"]: file for file in ready["files"]}
    found = {p.relative_to(sample_export).as_posix() for p in sample_export.rglob("*")
             if p.is_file()}  # fmt: skip
    assert found == set(listed) | {"READY"}
    for name, file in listed.items():
        content = (sample_export / name).read_bytes()
        assert file["bytes"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        if name.endswith(".csv"):
            assert file["rows"] == content.count(b"\r\n") - 1


def test_export__files__are_canonical(sample_export: Path) -> None:
    for path in sample_export.glob("*.csv"):
        content = path.read_bytes()
        assert content.startswith(b'"') and content.endswith(b'"\r\n')
        assert content.count(b"\n") == content.count(b"\r\n")
        titles = content.split(b"\r\n", 1)[0].decode()[1:-1].split('","')
        assert tuple(titles) == layouts()[path.name.split("_")[1]].titles
        width = len(titles)
        for line in content.decode().split("\r\n")[1:-1]:
            assert line.count('","') == width - 1 and line[0] == line[-1] == '"'


@pytest.mark.requirement("R-020")
def test_export__our_validator_over_all_files__finds_no_error(
    living_town: Town, tmp_path: Path
) -> None:
    for number in range(4):
        lane = "urgent" if number == 1 else "main"
        mode = "full" if number in (0, 3) else "differential"
        folder = living_town.export(tmp_path / "out", mode=mode, lane=lane).folder
        report = validate_path(folder)
        findings = [finding for file in report.files for finding in file.findings]
        assert report.refusal is None
        assert not [f for f in findings if f.severity != "warning"]
        living_town.advance(2, at_least_one_of_each=True)


def test_export__many_on_one_day__each_as_of_is_later(living_town: Town, tmp_path: Path) -> None:
    moments = [
        living_town.export(tmp_path / "out", mode="differential", files=("J01",)).as_of
        for _ in range(10)
    ]
    assert moments == sorted(set(moments)) and moments[0] == "2026-11-22T20:30:00+09:00"


def test_export__part_folder__is_gone_and_name_is_taken_once(
    living_town: Town, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = living_town.export(out)
    assert [p.name for p in out.iterdir()] == [result.folder.name]
    result.folder.rename(out / "999997_00000002_F_main")
    with pytest.raises(FileExistsError):
        living_town.export(out)


def test_export__fails_half_way__leaves_nothing_ready(
    living_town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(exporting, "write_image", fail)
    with pytest.raises(OSError, match="disk full"):
        living_town.export(tmp_path / "out")
    assert not [p for p in (tmp_path / "out").iterdir() if not p.name.endswith(".part")]
    assert not living_town.exports()


@pytest.mark.requirement("R-016")
def test_differential__carries_exactly_the_changed_keys_and_closes_households(
    living_town: Town, tmp_path: Path
) -> None:
    living_town.export(tmp_path / "out")
    before = living_town.truth()
    living_town.advance(2, at_least_one_of_each=True)
    after = living_town.truth()
    folder = living_town.export(tmp_path / "out", mode="differential").folder
    sent = read_export(folder)
    for file_id in living_town.file_ids:
        old, new = by_key(file_id, before[file_id]), by_key(file_id, after[file_id])
        changed = {key for key in new if old.get(key) != new[key]}
        ended = old.keys() - new.keys()
        rows = by_key(file_id, sent.get(file_id, []))
        if file_id == "J01":
            homes = {new[key]["household_number"] for key in changed}
            homes |= {old[key]["household_number"] for key in changed if key in old}
            closing = {
                key for key, row in new.items()
                if row["latest"] == "1" and row["resident_state"] == "1"
                and row["household_number"] in homes
            }  # fmt: skip
            assert set(rows) == changed | closing
            assert closing - changed, "nobody had to be added to close a household"
        else:
            assert set(rows) == changed | ended
        assert all(rows[key] == new[key] for key in rows.keys() - ended)
        assert all(rows[key]["deleted"] == "1" for key in ended)


def test_differential__nothing_happened__is_a_header_only_sign_of_life(
    living_town: Town, tmp_path: Path
) -> None:
    living_town.export(tmp_path / "out")
    result = living_town.export(tmp_path / "out", mode="differential")
    assert result.rows == {"J01": 0}
    assert len(read_export(result.folder)["J01"]) == 0


@pytest.mark.requirement("R-031")
def test_truth__replaying_all_exports__gives_the_truth_of_each(
    living_town: Town, tmp_path: Path
) -> None:
    """Play every export into an empty store of our own, as BCL would, and compare each time."""
    state: dict[str, dict] = {file_id: {} for file_id in living_town.file_ids}
    for number in range(1, 7):
        if number > 1:
            living_town.advance(4, at_least_one_of_each=True)
        lane = "urgent" if number in (3, 5) else "main"
        mode = "full" if number in (1, 6) else "differential"
        result = living_town.export(tmp_path / "out", mode=mode, lane=lane)
        for file_id, rows in read_export(result.folder).items():
            if mode == "full":
                state[file_id] = {}
            for key, row in by_key(file_id, rows).items():
                if row["deleted"] == "1":
                    state[file_id].pop(key, None)
                else:
                    state[file_id][key] = row
        truth = living_town.truth(number)
        assert {f: by_key(f, rows) for f, rows in truth.items()} == state
    # The truth of an earlier export can still be told.
    first = {f: by_key(f, rows) for f, rows in living_town.truth(1).items()}
    assert first == {f: by_key(f, r) for f, r in read_export(
        tmp_path / "out" / living_town.exports()[0].name).items()}  # fmt: skip


def test_urgent__carries_only_rows_that_restrict_and_each_once(
    living_town: Town, tmp_path: Path
) -> None:
    living_town.export(tmp_path / "out")
    living_town.advance(2, at_least_one_of_each=True)
    first = living_town.export(tmp_path / "out", mode="differential", lane="urgent")
    sent = read_export(first.folder)
    assert set(sent) == {"J04", "J05", "J06", "S01"}
    assert all(row["measure_kind"] != "3" and row["latest"] == "1" for row in sent["J04"])
    assert all(row["link_status"] in {"2", "3"} for row in sent["J05"])
    assert all(row["seal_status"] in {"2", "3", "4", "5"} for row in sent["S01"])
    assert all(row["deleted"] == "0" for rows in sent.values() for row in rows)
    again = living_town.export(tmp_path / "out", mode="differential", lane="urgent")
    assert not any(again.rows.values())
    main = read_export(living_town.export(tmp_path / "out", mode="differential").folder)
    for file_id, rows in sent.items():
        assert by_key(file_id, rows).keys() <= by_key(file_id, main[file_id]).keys()


def test_differential__deleted_row__travels_only_if_it_was_ever_sent(
    living_town: Town, tmp_path: Path
) -> None:
    """Two blocks are lifted: one that BCL has got, one that came and went between exports."""
    out = tmp_path / "out"
    living_town.export(out)
    living_town.advance(1, at_least_one_of_each=True)
    living_town.export(out, mode="differential")
    known = {r["block_id"] for r in living_town.truth()["J06"] if r["block_id"].startswith("L")}
    living_town.advance(1, at_least_one_of_each=True)
    new = {r["block_id"] for r in living_town.truth()["J06"] if r["block_id"].startswith("L")}
    assert len(known) == 1 and len(new) == 2
    living_town.advance(61)
    sent = read_export(living_town.export(out, mode="differential").folder)["J06"]
    ended = {row["block_id"] for row in sent if row["deleted"] == "1"}
    assert known <= ended
    assert not ended & (new - known)


def test_urgent__full__is_refused(living_town: Town, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="至急"):
        living_town.export(tmp_path / "out", lane="urgent")


def test_full__after_changes__keeps_the_place_of_every_row(
    living_town: Town, tmp_path: Path
) -> None:
    first = read_export(living_town.export(tmp_path / "out").folder)["J01"]
    living_town.advance(1, at_least_one_of_each=True)
    second = read_export(living_town.export(tmp_path / "out").folder)["J01"]
    keys = [list(by_key("J01", rows)) for rows in (first, second)]
    assert keys[1][: len(keys[0])] == keys[0]


def test_export__chosen_files__only_those(living_town: Town, tmp_path: Path) -> None:
    result = living_town.export(tmp_path / "out", files=("J01", "J05"))
    assert set(result.rows) == {"J01", "J05"}
