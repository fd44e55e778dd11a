"""Converting test data between versions: what the rules allow is done, the rest refused."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from bcl_contract import clock
from bcl_contract.linkage import catalog
from bcl_contract.linkage.conversion_rules import load_rules
from bcl_contract.linkage.convert import ConversionReport, convert_path
from bcl_contract.linkage.layouts import UnknownInterfaceVersion, load_interface
from bcl_contract.linkage.line_conversion import line_conversion
from bcl_contract.linkage.table import write_rows
from bcl_contract.linkage.validator import validate_path
from bcl_contract.refusals import Refusal

DEADLINE = datetime(2027, 4, 1, tzinfo=clock.JST)
ALIAS = {
    "municipality_code": "999997", "addressee_number": "000000000000001", "alias_number": "001",
    "alias_kind": "2", "alias_or_former_surname": "甲野", "deleted": "0", "operator_id": "OP1",
    "operated_on": "2026-11-20", "operated_time": "12:34:56",
}  # fmt: skip
OUTSIDER = {
    "municipality_code": "999997", "addressee_number": "000000000000002",
    "full_name": "乙野　次郎", "telephone_number": "0000000000", "address_lot_as_written": "１番",
    "deleted": "0", "operator_id": "OP1", "operated_on": "2026-11-20",
    "operated_time": "12:34:56",
}  # fmt: skip


@pytest.fixture(autouse=True)
def draft(tmp_path: Path, draft_version):
    root = tmp_path / "draft"
    with catalog.use(draft_version.write_draft(root, deadline=DEADLINE)):
        yield root


def write_table(folder: Path, file_id: str, *rows: dict[str, str], version: str = "1.0") -> Path:
    layout = load_interface(version).files[file_id]
    path = folder / f"999997_{file_id}_F.csv"
    with path.open("wb") as target:
        write_rows(target, layout, [[row.get(name) for name in layout.names] for row in rows])
    return path


def read_table(path: Path, version: str) -> list[dict[str, str]]:
    file_id = path.name.split("_")[1]
    with path.open(encoding="utf-8", newline="") as lines:
        header, *rows = csv.reader(lines, strict=True)
    layout = load_interface(version).files[file_id]
    assert header == [column.title_ja for column in layout.columns]
    return [dict(zip(layout.names, row, strict=True)) for row in rows]


def convert(source: Path, target: Path, back: bool = False) -> ConversionReport | Refusal:
    versions = ("2.0", "1.0") if back else ("1.0", "2.0")
    return convert_path(source, target, from_version=versions[0], to_version=versions[1])


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole export of a small town, all files."""
    from bcl_sim.core_system.town import Town

    folder = tmp_path_factory.mktemp("town")
    town = Town.generate(folder / "state", residents=300, seed=5, with_tax=False)
    made = town.export(folder / "out").folder
    town.close()
    return made


@pytest.mark.requirement("R-038")
def test_convert__whole_export__validates_in_the_new_version(export: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = convert(export, out)
    assert isinstance(report, ConversionReport)
    checked = validate_path(out)
    assert checked.ok, checked.as_json()
    assert json.loads((out / "READY").read_text("utf-8"))["interface_version"] == "2.0"
    by_id = {file.file_id: file for file in report.files}
    residents = read_table(export / "999997_J01_F.csv", "1.0")
    assert by_id["J01"].rows == len(residents) == by_id["J01"].defaulted["届出経路"]
    aliases = read_table(export / "999997_J02_F.csv", "1.0")
    assert by_id["J02"].recoded["区分"] == sum(row["alias_kind"] == "2" for row in aliases) > 0
    after = read_table(out / "999997_J01_F.csv", "2.0")
    for old, new in zip(residents, after, strict=True):
        assert new.pop("entry_channel") == "1"
        old.pop("district_code_10")
        assert old == new
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in export.iterdir())


@pytest.mark.requirement("R-038")
def test_convert__there_and_back__is_the_same_but_for_what_was_dropped(
    export: Path, tmp_path: Path
) -> None:
    assert isinstance(convert(export, tmp_path / "new"), ConversionReport)
    assert isinstance(convert(tmp_path / "new", tmp_path / "old", back=True), ConversionReport)
    for path in export.glob("*.csv"):
        before, after = (read_table(p / path.name, "1.0") for p in (export, tmp_path / "old"))
        for row in before:
            row.pop("district_code_10", None)
        for row in after:
            row.pop("district_code_10", None)
        assert before == after


def test_convert__renamed_column__keeps_its_values_and_dropped_ones_are_counted(
    tmp_path: Path,
) -> None:
    source = write_table(tmp_path, "J08", OUTSIDER)
    assert isinstance(convert(source, tmp_path / "out" / source.name), ConversionReport)
    (row,) = read_table(tmp_path / "out" / source.name, "2.0")
    assert row["contact_telephone_number"] == "0000000000"

    layout = load_interface("1.0").files["J01"]
    person = {name: None for name in layout.names} | {"district_code_10": "A"}
    path = tmp_path / "999997_J01_F.csv"
    with path.open("wb") as target:
        write_rows(target, layout, [[person[name] for name in layout.names]] * 3)
    report = convert(path, tmp_path / "j01.csv")
    assert isinstance(report, ConversionReport)
    assert dict(report.files[0].dropped) == {"地区管理コード10": 3}


@pytest.mark.requirement("R-038")
def test_convert__file_the_other_version_lacks__is_left_out_with_a_count(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_table(folder, "J02", ALIAS | {"alias_kind": "3"}, version="2.0")
    phone = {
        "municipality_code": "999997", "addressee_number": "1", "telephone_number": "0000000000",
    }  # fmt: skip
    write_table(folder, "J90", phone, phone | {"addressee_number": "2"}, version="2.0")
    report = convert(folder, tmp_path / "out", back=True)
    assert isinstance(report, ConversionReport)
    assert dict(report.left_out) == {"J90": 2}
    (row,) = read_table(tmp_path / "out" / "999997_J02_F.csv", "1.0")
    assert row["alias_kind"] == "2"


def refused(result: object) -> tuple[str, dict[str, str | int]]:
    assert isinstance(result, Refusal), result
    return result.code, dict(result.detail)


@pytest.mark.requirement("R-038")
def test_convert__what_it_cannot_do__is_refused_by_code_and_leaves_nothing(
    tmp_path: Path, draft: Path
) -> None:
    out = tmp_path / "out.csv"
    lot = write_table(tmp_path, "J08", OUTSIDER, OUTSIDER | {"address_lot_as_written": "一" * 41})
    assert refused(convert(lot, out)) == (
        "INTERFACE_CONVERT_LENGTH",
        {"file": lot.name, "line": 3, "column": "address_lot_as_written"},
    )
    variants = OUTSIDER | {"address_lot_as_written": "一\U000e0100" * 40}
    assert isinstance(
        convert(write_table(tmp_path, "J08", variants), tmp_path / "variants.csv"),
        ConversionReport,
    )
    rules = (draft / "v2" / "conversion.csv").read_text("utf-8")
    (draft / "v2" / "conversion.csv").write_text(
        "\n".join(line for line in rules.splitlines() if ",code," not in line) + "\n", "utf-8"
    )
    alias = write_table(tmp_path, "J02", ALIAS)
    assert refused(convert(alias, out)) == (
        "INTERFACE_CONVERT_CODE", {"file": alias.name, "line": 2, "column": "alias_kind"},
    )  # fmt: skip
    (draft / "v2" / "conversion.csv").unlink()
    person = write_table(tmp_path, "J01")
    assert refused(convert(person, out)) == (
        "INTERFACE_CONVERT_NO_VALUE", {"file": person.name, "column": "entry_channel"},
    )  # fmt: skip
    assert not out.exists() and not list(tmp_path.glob(".convert-*"))


@pytest.mark.parametrize(
    ("column", "change", "code"),
    [
        ("telephone_number", {"type": "N"}, "INTERFACE_CONVERT_TYPE"),
        ("full_name", {"key_order": "3"}, "INTERFACE_CONVERT_KEY"),
    ],
)
def test_convert__other_type_or_key__is_refused(
    tmp_path: Path, draft: Path, column: str, change: dict[str, str], code: str
) -> None:
    path = draft / "v1" / "columns.csv"
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    for row in rows:
        if (row["file_id"], row["name"]) == ("J08", column):
            row |= change
    with path.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    phone = OUTSIDER | {"contact_telephone_number": "0000000000"}
    with catalog.use(catalog.Catalog(draft)):
        source = write_table(tmp_path, "J08", phone, version="2.0")
        assert refused(convert(source, tmp_path / "out.csv", back=True))[0] == code


def test_convert__input_it_should_not_touch__is_refused(export: Path, tmp_path: Path) -> None:
    import zipfile

    out = tmp_path / "out"
    assert refused(convert(tmp_path / "nothing", out))[0] == "TRANSMISSION_NOT_FOUND"
    (tmp_path / "empty").mkdir()
    assert refused(convert(tmp_path / "empty", out))[0] == "TRANSMISSION_NOT_FOUND"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as package:
        package.writestr("datapackage.json", "{}")
    assert refused(convert(tmp_path / "a.zip", out))[0] == "INTERFACE_CONVERT_SIGNED"
    assert refused(convert(export, out, back=True))[0] == "INTERFACE_CONVERT_INPUT"
    assert refused(convert(export, export))[0] == "INTERFACE_CONVERT_EXISTS"
    other = tmp_path / "notes.csv"
    other.write_text("a,b\n")
    assert refused(convert(other, out))[0] == "LINKAGE_FILE_UNKNOWN"
    wrong = tmp_path / "999997_J02_F.csv"
    wrong.write_text('"a","b"\r\n')
    code, detail = refused(convert(wrong, out))
    assert (code, detail["file"], detail["line"]) == ("INTERFACE_CONVERT_INPUT", wrong.name, 1)
    assert not out.exists()
    with pytest.raises(UnknownInterfaceVersion):
        convert_path(export, out, from_version="1.0", to_version="9.0")


def test_validate__folder__uses_the_version_ready_names(export: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(export, folder)
    ready = json.loads((folder / "READY").read_text("utf-8"))
    for version, refusal in (("1.0", None), ("9.9", "TRANSMISSION_INTERFACE_VERSION")):
        (folder / "READY").write_text(json.dumps(ready | {"interface_version": version}))
        found = validate_path(folder).refusal
        assert (found and found.code) == refusal
    (folder / "READY").write_text(json.dumps(ready | {"interface_version": "2.0"}))
    assert not validate_path(folder).ok


@pytest.mark.requirement("R-036")
def test_line_conversion__reads_stored_lines_as_the_converter_writes_them(
    export: Path, tmp_path: Path
) -> None:
    assert isinstance(convert(export, tmp_path / "new"), ConversionReport)
    for file_id in ("J01", "J02", "J08"):
        conversion = line_conversion("1.0", "2.0", file_id)
        assert conversion is not None
        name = f"999997_{file_id}_F.csv"
        before = (export / name).read_bytes().splitlines(keepends=True)[1:]
        after = (tmp_path / "new" / name).read_bytes().splitlines(keepends=True)[1:]
        assert [conversion.convert(line) for line in before] == after
        with pytest.raises(ValueError, match="layout"):
            conversion.convert(b'"1","2"\r\n')
    assert line_conversion("1.0", "2.0", "J05") is None
    assert line_conversion("2.0", "2.0", "J01") is None
    assert line_conversion("2.0", "1.0", "J90") is None


def test_shipped_versions__keep_every_file_of_the_one_before() -> None:
    """Stored records of a file that a version no longer has could not be exported any more."""
    shipped = catalog.shipped()
    with catalog.use(shipped):
        for before, after in pairwise(shipped.versions):
            old, new = load_interface(before.version), load_interface(after.version)
            assert set(old.files) <= set(new.files)
            load_rules(before.version, after.version)
        assert [each.version for each in shipped.versions][:1] == ["1.0"]
