"""Rules over several rows and files, whole paths, and `bcl interface`."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import socket

import pytest
from click.testing import CliRunner

from bcl_cli.interface import interface
from bcl_contract.linkage import household_rules
from bcl_contract.linkage.cross_rules import TransmissionRules
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.table import iter_chunks, write_rows
from bcl_contract.linkage.validator import Report, validate_path


@pytest.fixture
def check(sample, tmp_path):
    """Check a package made of tables; gives (file id, line, rule, severity) of every finding."""

    def run(tables, images=None, **changes) -> set[tuple[str, int | None, str, str]]:
        path = tmp_path / "transmission.zip"
        path.write_bytes(sample.package(tables, images, **changes))
        report = validate_path(path)
        assert report.refusal is None
        return {
            (file.file_id, f.line, f.rule, f.severity)
            for file in report.files
            for f in file.findings
        }

    return run


@pytest.fixture
def family(sample):
    """A household of three: head, wife, child. Changes are given by position."""

    def make(**changes: dict[str, str]) -> list[dict[str, str]]:
        relations = [("02", "世帯主"), ("12", "妻"), ("20", "子")]
        rows = []
        for index, (code, written) in enumerate(relations, start=1):
            given = "太郎花子一郎"[index * 2 - 2 : index * 2]
            row = sample.row(
                "J01",
                addressee_number=f"{index:015}",
                entry_order=str(index),
                full_name=f"甲野　{given}",
                relationship_code_1=code,
                relationship_as_written=written,
            )
            rows.append(row | changes.get(f"p{index}", {}))
        return rows

    return make


@pytest.mark.requirement("R-010")
def test_households__a_sound_family__has_no_finding(check, family):
    assert check({"J01": family()}) == set()


@pytest.mark.requirement("R-010")
@pytest.mark.parametrize(
    ("changes", "rule", "lines"),
    [
        ({"p2": {"relationship_code_1": "02"}}, "V01", {2, 3, 4}),
        ({"p1": {"relationship_code_1": "99"}}, "V01", {2, 3, 4}),
        ({"p3": {"entry_order": "4"}}, "V02", {2, 3, 4}),
        ({"p3": {"entry_order": "2"}}, "V02", {2, 3, 4}),
        ({"p2": {"head_of_household_name": "乙川　太郎"}}, "V03", {3}),
        ({"p2": {"addressee_number": "000000000000001"}}, "V05", {2, 3}),
        ({"p2": {"latest": "0"}}, "V05", {3}),
    ],
)
def test_households__a_broken_rule__holds_every_row_concerned(check, family, changes, rule, lines):
    found = {(line, severity) for _, line, r, severity in check({"J01": family(**changes)})
             if r == rule}  # fmt: skip
    assert found == {(line, "household") for line in lines}


def test_households__another_address__only_warns(check, family):
    found = check({"J01": family(p3={"address_town": "本町二丁目"})})
    assert found == {("J01", line, "V04", "warning") for line in (2, 3, 4)}


def test_households__nobody_knows_the_head__needs_none(check, family):
    unknown = {"relationship_code_1": "01", "head_of_household_name": ""}
    rows = family(p1=unknown, p2=unknown, p3=unknown)
    assert check({"J01": rows}) == set()


def test_households__foreign_head_under_another_name__may_be_named_by_any_of_them(check, family):
    head = {
        "full_name": "JOHN DOE", "alias": "甲野　ジョン", "preferred_full_name": "甲野　ジョン",
        "head_of_household_name": "甲野　ジョン",
    }  # fmt: skip
    others = {"head_of_household_name": "甲野　ジョン"}
    assert check({"J01": family(p1=head, p2=others, p3=others)}) == set()


def test_households__those_who_left__do_not_count(check, family):
    gone = {
        "resident_state": "2", "removed_record": "1", "removal_reason": "20",
        "removal_changed_on": "2026-11-01",
    }  # fmt: skip
    assert check({"J01": family(p3=gone)}) == set()


def test_persons__latest_row_is_not_the_newest__is_held(check, family, sample):
    rows = [*family(), family(p1={"history_number": "00002", "latest": "0"})[0]]
    assert check({"J01": rows}) == {("J01", 2, "V09", "household")}


@pytest.mark.requirement("R-010")
def test_differential__a_household_with_gaps__is_open_not_headless(check, family):
    only_child = family()[2:]
    assert check({"J01": only_child}, mode="differential") == {("J01", 2, "V10", "household")}
    assert check({"J01": family()}, mode="differential") == set()


@pytest.mark.requirement("R-010")
def test_keys__the_same_key_twice__is_a_row_error_on_the_later_line(check, sample):
    rows = [sample.row("J07"), sample.row("J07", addressee_number="2"), sample.row("J07")]
    assert check({"J07": rows}) == {("J07", 4, "KEY_DUPLICATE", "row")}


@pytest.mark.requirement("R-010")
@pytest.mark.requirement("R-047")
def test_serials__valid_for_two_persons__land_and_are_ambiguous(check, sample):
    other = sample.row("J05", addressee_number="2")
    assert check({"J05": [sample.row("J05"), other]}) == {
        ("J05", 2, "SERIAL_AMBIGUOUS", "warning"),
        ("J05", 3, "SERIAL_AMBIGUOUS", "warning"),
    }
    revoked = other | {"link_status": "2", "revoked_on": "2026-11-01"}
    assert check({"J05": [sample.row("J05"), revoked]}) == {("J05", 3, "KEY_DUPLICATE", "row")}
    elsewhere = other | {"issuer_key": "CD" * 20}
    assert check({"J05": [sample.row("J05"), elsewhere]}) == set()


@pytest.mark.requirement("R-010")
@pytest.mark.parametrize(
    ("file_id", "rule", "severity"),
    [
        ("J02", "PARENT_MISSING", "row"),
        ("J05", "PARENT_MISSING", "row"),
        ("J07", "PARENT_MISSING", "row"),
        ("S01", "PARENT_MISSING", "row"),
        ("J04", "PARENT_ABSENT", "warning"),
        ("T02", "PARENT_ABSENT", "warning"),
    ],
)
def test_parents__person_missing_from_a_full_transmission__is_judged_by_file(
    check, sample, file_id, rule, severity
):
    child = sample.row(file_id, addressee_number="000000000000555")
    resident = sample.row("J01")
    found = check({"J01": [resident], file_id: [sample.row(file_id), child]})
    assert (file_id, 3, rule, severity) in found
    assert (file_id, 2, rule, severity) not in found
    alone = check({file_id: [child]})
    assert not {f for f in alone if f[2] == rule}, "without J01 the state decides"
    change = check({"J01": [resident], file_id: [child]}, mode="differential")
    assert not {f for f in change if f[2] == rule}


def test_parents__no_resident_at_all__every_child_is_an_orphan(check, sample):
    assert check({"J01": [], "J05": [sample.row("J05")]}) == {("J05", 2, "PARENT_MISSING", "row")}


# --- seals -------------------------------------------------------------------------------


@pytest.fixture
def seals(check, sample):
    def run(png: bytes | None, **changes: str):
        row = sample.row("S02")
        if png is not None:
            row["image_sha256"] = hashlib.sha256(png).hexdigest()
        images = {} if png is None else {"seal/12345_1.png": png}
        found = check({"S01": [sample.row("S01")], "S02": [row | changes]}, images)
        return {(file_id, line, rule) for file_id, line, rule, _ in found}

    return run


@pytest.mark.requirement("R-010")
def test_seals__image_and_row_agree__no_finding(seals, sample):
    assert seals(sample.png()) == set()
    grey = sample.png(300, 300, depth=8)
    assert seals(grey, image_width_pixels="300", image_height_pixels="300") == set()


@pytest.mark.requirement("R-010")
def test_seals__each_defect__has_its_rule(seals, sample):
    assert seals(None) == {("S02", 2, "IMAGE_MISSING")}
    assert seals(sample.png(), image_sha256="0" * 64) == {("S02", 2, "IMAGE_DIGEST")}
    assert seals(sample.png(depth=8, colour=2)) == {("S02", 2, "IMAGE_FORMAT")}
    assert seals(sample.png(depth=16)) == {("S02", 2, "IMAGE_FORMAT")}
    assert seals(sample.png()[:-12]) == {("S02", 2, "IMAGE_FORMAT")}
    assert seals(b"GIF89a" + b"\0" * 60) == {("S02", 2, "IMAGE_FORMAT")}
    assert seals(sample.png(), image_width_pixels="201") == {("S02", 2, "IMAGE_SIZE")}
    assert seals(sample.png(), image_dots_per_inch="900") == {("S02", 2, "IMAGE_SIZE")}
    assert seals(sample.png(), image_dots_per_inch="200") == {("S02", 2, "IMAGE_SIZE")}
    assert seals(sample.png(), image_file_name="seal/1_1.png") == {
        ("S02", 2, "IMAGE_NAME"),
        ("S02", None, "IMAGE_UNLISTED"),
    }


def test_seals__sides_at_the_borders__8_mm_is_too_small_and_25_mm_fits(seals, sample):
    def of(side: int):
        size = {"image_width_pixels": str(side), "image_height_pixels": str(side)}
        return seals(sample.png(side, side), **size)

    assert of(125) == {("S02", 2, "IMAGE_SIZE")}  # 7.94 mm at 400 dpi
    assert of(126) == set()  # 8.001 mm
    assert of(394) == set()  # 25.02 mm: 25 mm is no whole number of pixels
    assert of(395) == {("S02", 2, "IMAGE_SIZE")}


def test_seals__registration_without_image_row__only_warns(check, sample):
    assert check({"S01": [sample.row("S01")], "S02": []}) == {
        ("S01", 2, "IMAGE_ROW_MISSING", "warning")
    }


def test_urgent__a_seal_image__needs_its_registration(check, sample):
    suspended = sample.row("S01", seal_status="4")
    image = {"seal/12345_1.png": sample.png()}
    urgent = {"mode": "differential", "lane": "urgent"}
    assert check({"S01": [suspended], "S02": [sample.row("S02")]}, image, **urgent) == set()
    assert check({"S02": [sample.row("S02")]}, image, **urgent) == {
        ("S02", 2, "URGENT_SEAL_IMAGE", "row")
    }


# --- paths and the command ---------------------------------------------------------------


def mark(place) -> dict:
    """Write READY for what lies in the folder, as a core system does."""
    marker = {
        "municipality_code": "999997",
        "mode": "full",
        "lane": "main",
        "as_of": "2026-11-22T20:30:00+09:00",
        "sender_system": "x",
        "files": [
            {
                "name": path.relative_to(place).as_posix(),
                "file_id": path.name.split("_")[1] if path.suffix == ".csv" else "S02I",
                "rows": path.read_bytes().count(b"\n") - 1 if path.suffix == ".csv" else 0,
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in sorted(place.rglob("*.*"))
        ],
    }
    (place / "READY").write_text(json.dumps(marker), "utf-8")
    return marker


@pytest.fixture
def folder(sample, tmp_path, family):
    place = tmp_path / "outbox"
    (place / "seal").mkdir(parents=True)
    tables = {"J01": family(), "S01": [sample.row("S01")], "S02": [sample.row("S02")]}
    for file_id, rows in tables.items():
        (place / f"999997_{file_id}_F.csv").write_bytes(sample.table(file_id, rows))
    (place / "seal" / "12345_1.png").write_bytes(sample.png())
    mark(place)
    return place


@pytest.mark.requirement("R-010")
def test_validate_path__a_drop_folder__is_checked_by_its_marker(folder, sample):
    report = validate_path(folder)
    assert (report.ok, report.rows, len(report.files)) == (True, 5, 3)

    def codes(change) -> list[str]:
        marker = mark(folder)
        change(marker["files"])
        (folder / "READY").write_text(json.dumps(marker), "utf-8")
        return [f.code for file in validate_path(folder).files for f in file.findings]

    assert codes(lambda files: None) == []
    assert codes(lambda files: files[0].update(rows=9)) == ["TRANSMISSION_ROW_COUNT"]
    assert codes(lambda files: files[0].update(bytes=9)) == ["TRANSMISSION_DIGEST"]
    assert codes(lambda files: files[3].update(sha256="0" * 64)) == ["TRANSMISSION_DIGEST"]
    assert codes(lambda files: files.pop(0)) == ["TRANSMISSION_MANIFEST_FILES"]
    (folder / "READY").write_text("{", "utf-8")
    assert validate_path(folder).refusal.code == "TRANSMISSION_MANIFEST_JSON"


def test_validate_path__one_file__finds_its_layout_by_name_or_header(sample, tmp_path):
    path = tmp_path / "国保.csv"
    path.write_bytes(sample.table("J05", [sample.row("J05", link_status="9")]))
    report = validate_path(path)
    assert [(f.file_id, f.rows) for f in report.files] == [("J05", 1)]
    assert [f.rule for f in report.files[0].findings] == ["CODE_CLOSED"]
    path.write_bytes(b"a,b,c\r\n1,2,3\r\n")
    assert validate_path(path).refusal.code == "LINKAGE_FILE_UNKNOWN"
    assert validate_path(tmp_path / "none").refusal.code == "TRANSMISSION_NOT_FOUND"


def run(*arguments: str):
    return CliRunner().invoke(interface, list(arguments))


@pytest.mark.requirement("R-010")
def test_bcl_interface_validate__good_bad_missing__exits_0_3_2(folder, sample):
    good = run("validate", str(folder))
    assert good.exit_code == 0, good.output
    assert "問題ありません" in good.output
    table = folder / "999997_J01_F.csv"
    broken = table.read_text("utf-8").replace("1980-02-29", "1981-02-29", 1)
    table.write_bytes(broken.encode())
    mark(folder)
    bad = run("validate", str(folder))
    assert bad.exit_code == 3
    assert "2行目 生年月日" in bad.output
    assert "1981-02-29" not in bad.output
    assert "甲野" not in bad.output
    machine = json.loads(run("validate", str(folder), "--json").output)
    assert machine["counts"] == {"fatal": 0, "row": 1, "household": 0, "warning": 0}
    assert "甲野" not in json.dumps(machine, ensure_ascii=False)
    assert run("validate", str(folder / "none")).exit_code == 2
    assert run("validate", str(folder), "--file-id", "Z99").exit_code == 2


@pytest.mark.requirement("R-010")
def test_bcl_interface_validate__network_and_database__are_not_touched(folder, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    assert run("validate", str(folder)).exit_code == 0


@pytest.mark.requirement("R-010")
def test_bcl_interface_spec__layouts__stand_in_both_forms(sample, tmp_path):
    assert run("spec", "--out", str(tmp_path)).exit_code == 0
    machine = json.loads((tmp_path / "interface-1.0.json").read_text("utf-8"))
    assert [f["file_id"] for f in machine["files"]] == list(sample.interface.files)
    page = (tmp_path / "interface-1.0.html").read_text("utf-8")
    for file in machine["files"]:
        layout = sample.interface.files[file["file_id"]]
        assert [c["title_ja"] for c in file["columns"]] == [c.title_ja for c in layout.columns]
        assert [f["name"] for f in file["schema"]["fields"]] == [c.title_ja for c in layout.columns]
        assert all(f">{c.name}<" in page.replace("<wbr>", "") for c in layout.columns)
    assert "http" not in page.replace("http-equiv", "")
    assert run("spec", "--out", str(tmp_path), "--version", "9.9").exit_code == 2


def test_report__ok__only_when_nothing_is_worse_than_a_warning():
    assert Report("x").ok


@pytest.mark.requirement("R-010")
def test_residents__of_a_large_town__are_judged_in_parts_as_at_once(
    sample, tmp_path, family, monkeypatch
):
    """Households and persons with every fault, each under its own numbers."""
    faults = [
        {"p2": {"relationship_code_1": "02"}}, {"p3": {"entry_order": "4"}}, {},
        {"p2": {"head_of_household_name": "乙川　太郎"}}, {"p2": {"latest": "0"}},
        {"p3": {"address_town": "本町二丁目"}},
    ]  # fmt: skip
    rows = [
        row | {"household_number": f"{number:015}",
               "addressee_number": f"{number * 10 + place:015}"}
        for number in range(1, 61)
        for place, row in enumerate(family(**faults[number % len(faults)]))
    ]  # fmt: skip
    rows.append(rows[7])
    path = tmp_path / "transmission.zip"
    path.write_bytes(sample.package({"J01": rows}))
    (at_once,) = validate_path(path).files
    monkeypatch.setattr(household_rules, "_ROWS_AT_ONCE", 20)
    (in_parts,) = validate_path(path).files
    assert in_parts.findings == at_once.findings
    assert {finding.rule for finding in at_once.findings} >= {
        "V01", "V02", "V03", "V04", "V05", "KEY_DUPLICATE",
    }  # fmt: skip


@pytest.mark.requirement("R-010")
def test_rules__whatever_table_comes_first__find_the_same(sample):
    """Children are judged at once when J01 came before them, and later when it did not."""
    interface = load_interface()
    tables = {
        "J01": [sample.row("J01", addressee_number=f"{number:015}") for number in (1, 2, 2)],
        "J03": [sample.row("J03", addressee_number=f"{number:015}") for number in (1, 7)],
        "J05": [sample.row("J05", addressee_number=f"{number:015}") for number in (2, 8)],
    }

    def found(order: list[str]) -> dict:
        rules = TransmissionRules(interface)
        for file_id in order:
            layout = interface.files[file_id]
            source = io.BytesIO()
            write_rows(
                source, layout, [[row.get(n) for n in layout.names] for row in tables[file_id]]
            )
            source.seek(0)
            for chunk in iter_chunks(source, layout):
                rules.see(layout, chunk, file=file_id)
        return rules.finish()

    first, *others = (found(list(order)) for order in itertools.permutations(tables))
    assert any(each.rule == "PARENT_MISSING" for each in first["J05"])
    assert any(each.rule == "PARENT_ABSENT" for each in first["J03"])
    assert any(each.rule == "KEY_DUPLICATE" for each in first["J01"])
    assert all(other == first for other in others)


def test_rules__of_a_table_in_two_parts__refuse_to_judge(sample):
    rules, files = TransmissionRules(load_interface()), load_interface().files
    rules.open_table(files["J01"], file="J01")
    rules.open_table(files["J03"], file="J03")
    with pytest.raises(ValueError, match="two parts"):
        rules.open_table(files["J01"], file="J01")
