"""`bcl interface` as a user runs it: versions, differences, specification, conversion."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import openpyxl
import pytest
from click.testing import CliRunner, Result

from bcl_cli.interface import interface
from bcl_contract import clock
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.specification import list_checks

DEADLINE = datetime(2027, 4, 1, tzinfo=clock.JST)


@pytest.fixture
def draft(tmp_path: Path, draft_version) -> Path:
    root = tmp_path / "draft"
    draft_version.write_draft(root, deadline=DEADLINE)
    return root


def run(*arguments: object) -> Result:
    return CliRunner().invoke(interface, [str(each) for each in arguments])


def run_draft(draft: Path, *arguments: object) -> Result:
    return run("--data", draft, *arguments)


@pytest.mark.requirement("R-036")
def test_list__says_dates_and_whether_a_version_is_accepted(draft: Path) -> None:
    with clock.use(clock.Clock(fixed=DEADLINE)):
        shown = run_draft(draft, "list")
        found = json.loads(run_draft(draft, "list", "--json").output)
    assert shown.exit_code == 0
    assert "第1.0版  受付終了" in shown.output and "第2.0版  受付中" in shown.output
    assert "受入期限 2027-04-01 00:00" in shown.output
    assert [(each["version"], each["accepted_now"]) for each in found] == [
        ("1.0", False), ("2.0", True),
    ]  # fmt: skip
    assert "第1.0版  受付中" in run("list").output


@pytest.mark.requirement("R-038")
def test_diff__text_and_json__say_the_same(draft: Path) -> None:
    shown = run_draft(draft, "diff", "1.0", "2.0")
    found = json.loads(run_draft(draft, "diff", "1.0", "2.0", "--json").output)
    assert len(found["changes"]) == len(shown.output.splitlines()) - 1
    needed = sum(change["must_act"] for change in found["changes"])
    assert shown.output.count("【対応が必要】") == needed > 0
    assert f"うち対応が必要 {needed}件" in shown.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("diff", "1.0", "7.0"), ("spec", "--version", "7.0"),
        ("convert", "a", "b", "--from", "1.0", "--to", "7.0"),
        ("kit", "--version", "7.0", "--out", "x.zip"), ("--data", "/tmp", "list"),
    ],
)  # fmt: skip
def test_unknown_version_or_place__is_a_wrong_use(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "第7.0版" in result.output or "版の案を読めません" in result.output


@pytest.mark.requirement("R-038")
def test_convert__then_validate__by_command(draft: Path, tmp_path: Path, draft_version) -> None:
    from bcl_sim.core_system.town import Town

    town = Town.generate(tmp_path / "state", residents=200, seed=3, with_tax=False)
    export = town.export(tmp_path / "out", files=("J01", "J02")).folder
    town.close()
    target = tmp_path / "converted"
    versions = ("--from", "1.0", "--to", "2.0")
    result = run_draft(draft, "convert", export, target, *versions)
    assert result.exit_code == 0, result.output
    assert "既定値を入れた: 届出経路" in result.output
    assert run_draft(draft, "validate", target).exit_code == 0
    assert run("validate", target).exit_code == 3  # unknown without the draft
    assert run("validate", export).exit_code == 0

    again = run_draft(draft, "convert", export, target, *versions)
    assert again.exit_code == 3 and "INTERFACE_CONVERT_EXISTS" in again.output
    told = json.loads(run_draft(draft, "convert", export, target, *versions, "--json").output)
    assert told["refusal"]["code"] == "INTERFACE_CONVERT_EXISTS"
    made = run_draft(draft, "convert", export, tmp_path / "c2", *versions, "--json")
    assert {file["file_id"] for file in json.loads(made.output)["files"]} == {"J01", "J02"}


# --- the specification


class Page(HTMLParser):
    """What a page has: ids, links inside it, addresses it would load, cells of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loads: list[str] = []
        self.unclosed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if named.get("id"):
            assert named["id"] not in self.ids, f"doubled id {named['id']}"
            self.ids.add(str(named["id"]))
        if str(named.get("href", "")).startswith("#"):
            self.links.add(str(named["href"])[1:])
        elif tag in {"script", "link", "img", "iframe"} or "href" in named:
            self.loads.append(tag)
        if tag not in {"meta", "wbr", "br"}:
            self.unclosed.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag


@pytest.mark.requirement("R-010")
@pytest.mark.requirement("R-036")
def test_spec__page__has_every_column_and_code_and_loads_nothing(tmp_path: Path) -> None:
    result = run("spec", "--out", tmp_path / "spec", "--version", "1.0")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "spec" / "interface-1.0.html").read_text("utf-8")
    found = Page(text)
    assert found.loads == [] and found.unclosed == [] and "url(" not in text
    assert found.links <= found.ids
    chosen = load_interface("1.0")
    wanted = {f"{f}.{c.name}" for f, layout in chosen.files.items() for c in layout.columns}
    assert wanted <= found.ids
    assert {f"codes-{name}" for name in chosen.code_lists} <= found.ids
    for check in list_checks():
        assert check.code in text
    assert "前の版からの変更点" not in text
    assert 'lang="ja"' in text and "@page" in text and "2026年1月1日" in text


@pytest.mark.requirement("R-038")
def test_spec__next_version__shows_what_changed_and_the_dates(draft: Path, tmp_path: Path) -> None:
    assert run_draft(draft, "spec", "--out", tmp_path, "--version", "2.0").exit_code == 0
    text = (tmp_path / "interface-2.0.html").read_text("utf-8")
    assert "前の版からの変更点" in text and "第1.0版から第2.0版への変更点（10件）" in text
    assert text.count('class="act"') == 5
    book = openpyxl.load_workbook(tmp_path / "interface-2.0.xlsx")
    assert book["変更点"].max_row == 11
    run_draft(draft, "spec", "--out", tmp_path, "--version", "1.0")
    assert "2027年4月1日 0時00分 まで" in (tmp_path / "interface-1.0.html").read_text("utf-8")


@pytest.mark.requirement("R-036")
def test_spec__spreadsheet__has_the_layouts_as_text(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        assert run("spec", "--out", tmp_path / folder, "--version", "1.0").exit_code == 0
    first, second = (tmp_path / name / "interface-1.0.xlsx" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    book = openpyxl.load_workbook(first)
    assert book.sheetnames == ["表紙", "ファイル", "項目", "コード", "検査"]
    chosen = load_interface("1.0")
    columns = [
        (layout.file_id, column.position, column.title_ja, column.name, column.length)
        for layout in chosen.files.values()
        for column in layout.columns
    ]
    rows = list(book["項目"].iter_rows(min_row=2, values_only=True))
    assert [(r[0], r[1], r[2], r[3], r[5]) for r in rows] == columns
    codes = [row[:3] for row in book["コード"].iter_rows(min_row=2, values_only=True) if row[1]]
    assert codes == [
        (codes.name, code, label)
        for codes in chosen.code_lists.values()
        for code, label in codes.values.items()
    ]
    assert book["項目"].freeze_panes == "A2" and book["項目"].auto_filter.ref.startswith("A1:")


@pytest.mark.requirement("R-036")
@pytest.mark.django_db
def test_spec__database_tables__take_what_the_core_system_writes(
    tmp_path: Path, superuser_connection
) -> None:
    from bcl_sim.core_system.town import Town

    run("spec", "--out", tmp_path, "--version", "1.0")
    town = Town.generate(tmp_path / "state", residents=200, seed=3)
    export = town.export(tmp_path / "out")
    town.close()
    files = load_interface("1.0").files
    database = superuser_connection
    database.execute((tmp_path / "database-1.0.sql").read_text("utf-8"))
    try:
        for file_id, rows in export.rows.items():
            name = files[file_id].name
            path = export.folder / f"999997_{file_id}_F.csv"
            copy = f"COPY linkage_v1.{name} FROM STDIN (FORMAT csv, HEADER, FORCE_NULL *)"
            with database.cursor().copy(copy) as target:
                target.write(path.read_bytes())
            (found,) = database.execute(f"SELECT count(*) FROM linkage_v1.{name}").fetchone()
            assert found == rows
        (tables,) = database.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'linkage_v1'"
        ).fetchone()
        assert tables == len(files)
        with (export.folder / "999997_J02_F.csv").open(encoding="utf-8", newline="") as lines:
            first = list(csv.reader(lines))[1]
        written = database.execute(
            "SELECT alias_or_former_surname FROM linkage_v1.resident_alias"
            " WHERE (addressee_number, alias_number) = (%s, %s)", [first[1], first[2]],
        ).fetchone()  # fmt: skip
        assert written == (first[4],)
    finally:
        database.execute("DROP SCHEMA linkage_v1 CASCADE")


@pytest.mark.requirement("R-038")
def test_revision_guide__its_steps_work_on_a_draft(draft: Path, tmp_path: Path) -> None:
    """A new user's way: every command of the guide, on the draft that its tables describe."""
    import re

    from bcl_sim.core_system.town import Town

    root = Path(__file__).parents[3]
    guide = (root / "docs/guide/interface-revision.md").read_text("utf-8")
    for row in re.findall(r"^\| `\w+` \| `(1\.0,[^`]+)`", guide, re.MULTILINE):
        assert row in (draft / "v2" / "conversion.csv").read_text("utf-8")
    town = Town.generate(tmp_path / "state", residents=200, seed=3, with_tax=False)
    export = town.export(tmp_path / "out", files=("J01",)).folder
    town.close()
    places = {
        "draft": draft, "試験データ": export, "変換後": tmp_path / "c", "仕様書": tmp_path / "s",
        "事業者向け一式-2.0.zip": tmp_path / "kit.zip",
    }  # fmt: skip
    commands = re.findall(r"^bcl interface (--data .*)$", guide, re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        result = run(*(places.get(word, word) for word in command.split()))
        assert result.exit_code == 0, (command, result.output)
    assert (tmp_path / "kit.zip").is_file()
