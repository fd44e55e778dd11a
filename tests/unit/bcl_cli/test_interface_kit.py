"""The kit for vendors: unpacked, its validator runs without BCL and finds what it has to."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from datetime import datetime
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from bcl_cli.interface import interface
from bcl_contract import clock
from bcl_contract.linkage import catalog, vendor_tool
from bcl_contract.linkage.validator import validate_path
from bcl_contract.refusals import REFUSALS
from bcl_gateway.ready import Ready

ROOT = Path(__file__).parents[3]
SITE_PACKAGES = sysconfig.get_path("purelib")
GUIDE = ROOT / "docs" / "guide" / "vendor.md"


@pytest.fixture(scope="module")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("kit") / "kit.zip"
    result = CliRunner().invoke(interface, ["kit", "--out", str(target), "--version", "1.0"])
    assert result.exit_code == 0, result.output
    return target


@pytest.fixture(scope="module")
def kit(zipped: Path) -> Path:
    """The unpacked kit."""
    folder = zipped.parent / "unpacked"
    with zipfile.ZipFile(zipped) as package:
        package.extractall(folder)
    return folder


def run_alone(*arguments: object, packages: bool = True) -> subprocess.CompletedProcess[str]:
    """Run Python where only plain packages are found: the path file that brings BCL isn't read."""
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONIOENCODING": "utf-8"}
    if packages:
        environment["PYTHONPATH"] = SITE_PACKAGES
    return subprocess.run(
        [sys.executable, "-S", *map(str, arguments)],
        cwd="/", env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def run_tool(kit: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run_alone(kit / "validator" / "bcl-interface.pyz", *arguments)


def listed(kit: Path) -> list[dict[str, str]]:
    with (kit / "samples" / "samples.csv").open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.requirement("R-039")
def test_validator__in_a_process_without_bcl__finds_in_each_sample_what_it_must(kit: Path) -> None:
    assert "ModuleNotFoundError" in run_alone("-c", "import bcl_contract").stderr
    samples = listed(kit)
    assert len(samples) >= 70
    paths = [kit / "samples" / row["sample"] for row in samples]
    result = run_tool(kit, "validate", "--json", *paths)
    assert result.returncode == 3, result.stderr
    reports = json.loads(result.stdout)
    assert [report["path"] for report in reports] == [str(path) for path in paths]
    for row, report in zip(samples, reports, strict=True):
        assert report["refusal"] is None
        assert report["ok"] == (row["ok"] == "1"), row["sample"]
        found = {
            (finding["severity"], finding["code"], finding["column"] or "")
            for file in report["files"]
            for finding in file["findings"]
        }
        if row["code"]:
            assert row["code"] in REFUSALS
            assert (row["severity"], row["code"], row["column"]) in found, row["sample"]
        if row["sample"].startswith("good/"):
            assert {severity for severity, _, _ in found} <= {"warning"}


@pytest.mark.requirement("R-039")
def test_samples__have_every_defect_and_edge_case_of_the_core_system(kit: Path) -> None:
    from bcl_sim.core_system.broken import all_defects

    told = {row["sample"].removeprefix("cases/") for row in listed(kit)}
    assert set(all_defects()) <= told
    assert {"good/full", "good/differential", "good/urgent"} <= told
    on_disk = {
        f"{place.parent.name}/{place.name}"
        for place in (kit / "samples").glob("*/*") if place.is_dir()
    }  # fmt: skip
    assert on_disk == {row["sample"] for row in listed(kit)}
    residents = (kit / "samples/good/full/999997_J01_F.csv").read_text("utf-8")
    outsiders = (kit / "samples/good/full/999997_J08_F.csv").read_text("utf-8")
    with (kit / "samples/edge_cases.csv").open(encoding="utf-8-sig", newline="") as lines:
        cases = list(csv.DictReader(lines))
    assert len(cases) >= 30
    for case in cases:
        for number in case["宛名番号"].split():
            assert f'"{number}"' in residents or f'"{number}"' in outsiders, case["例"]


@pytest.mark.requirement("R-039")
def test_samples_command__says_so_when_something_differs(kit: Path, tmp_path: Path) -> None:
    copy = tmp_path / "samples"
    copy.mkdir()
    rows = [row for row in listed(kit) if row["sample"] in ("good/urgent", "cases/date_zero")]
    for row in rows:
        shutil.copytree(kit / "samples" / row["sample"], copy / row["sample"])
    with (copy / "samples.csv").open("w", encoding="utf-8-sig", newline="") as target:
        writer = csv.DictWriter(target, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    result = run_tool(kit, "samples", copy)
    assert result.returncode == 0 and "期待とちがうもの 0種類" in result.stdout, result.stderr
    shutil.rmtree(copy / "cases/date_zero")
    shutil.copytree(copy / "good/urgent", copy / "cases/date_zero")
    result = run_tool(kit, "samples", copy)
    assert result.returncode == 3
    assert "ちがいます  cases/date_zero" in result.stdout
    told = json.loads(run_tool(kit, "samples", copy, "--json").stdout)
    assert [each["as_expected"] for each in told] == [True, False]


def test_tool__tells_in_japanese_what_it_found(kit: Path) -> None:
    result = run_tool(kit, "validate", kit / "samples/cases/date_zero")
    assert result.returncode == 3
    assert "生年月日 [行の誤り]" in result.stdout and "結果: 誤りがあります" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["check"], ["validate"], ["validate", "--far"], ["validate", "x", "--version"],
        ["validate", "x", "--version", "9.0"], ["diff", "1.0"], ["diff", "1.0", "9.0"],
        ["convert", "a", "b", "--from", "1.0"], ["samples", "/"], ["list", "x"],
    ],
)  # fmt: skip
def test_tool__wrong_use__says_so_in_japanese(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert vendor_tool.main(arguments) == 2
    shown = capsys.readouterr()
    assert re.search(r"使い方|版のインタフェースはありません", shown.out + shown.err)


def test_tool__without_its_packages__says_what_to_do(kit: Path) -> None:
    result = run_alone(kit / "validator" / "bcl-interface.pyz", "list", packages=False)
    assert result.returncode == 1
    assert "requirements.txt" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.requirement("R-039")
def test_requirements__pin_every_package_the_tool_loads(kit: Path) -> None:
    lines = (kit / "validator/requirements.txt").read_text("utf-8").split()
    pins = dict(line.split("==") for line in lines)
    assert {name: metadata.version(name) for name in pins} == pins
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import bcl_contract.linkage.vendor_tool;"
        "print('\\n'.join({str(m.__file__) for m in list(sys.modules.values())"
        " if getattr(m, '__file__', None)}))"
    )
    loaded = run_alone("-c", script, kit / "validator" / "bcl-interface.pyz").stdout.split()
    inside = [Path(each) for each in loaded if each.startswith(SITE_PACKAGES)]
    tops = {path.relative_to(SITE_PACKAGES).parts[0].split(".")[0] for path in inside}
    owners = metadata.packages_distributions()
    assert {owners[top][0] for top in tops} <= set(pins)
    assert not [each for each in loaded if "bcl" in each and ".pyz/" not in each]


@pytest.mark.requirement("R-039")
def test_kit__has_specification_layouts_and_the_guide(kit: Path) -> None:
    assert (kit / "guide.md").read_bytes() == GUIDE.read_bytes()
    for name in ("html", "xlsx", "json"):
        assert (kit / "specification" / f"interface-1.0.{name}").stat().st_size > 10_000
    assert "CREATE TABLE" in (kit / "specification/database-1.0.sql").read_text("utf-8")
    shipped = ROOT / "src/bcl_contract/linkage/data"
    for path in shipped.rglob("*.csv"):
        assert (kit / "layouts" / path.relative_to(shipped)).read_bytes() == path.read_bytes()
    readme = (kit / "README.md").read_text("utf-8")
    assert "Python 3.11" in readme and "requirements.txt" in readme
    for place in re.findall(r"^\| `([^`]+)`", readme, re.MULTILINE):
        assert (kit / place).exists(), place


def test_guide__its_example_is_a_ready_file_and_its_commands_exist(kit: Path) -> None:
    text = GUIDE.read_text("utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    ready = Ready.model_validate(json.loads(example))
    assert ready.files[0].file_id == "J01"
    commands = set(re.findall(r"python bcl-interface\.pyz (\w+)", text))
    shown = run_tool(kit, "--help").stdout
    assert commands == {"validate", "samples", "diff", "convert"}
    assert all(f"  {command} " in shown for command in commands)
    for code in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", text):
        assert code in REFUSALS or code == "READY"


def test_kit__built_again__is_the_same_and_never_overwrites(zipped: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    arguments = ["kit", "--version", "1.0", "--out"]
    assert CliRunner().invoke(interface, [*arguments, str(again)]).exit_code == 0
    assert again.read_bytes() == zipped.read_bytes()
    assert CliRunner().invoke(interface, [*arguments, str(again)]).exit_code == 2
    assert list(tmp_path.iterdir()) == [again]


@pytest.mark.requirement("R-038")
def test_kit__of_the_next_version__knows_both_and_converts(tmp_path: Path, draft_version) -> None:
    root = tmp_path / "draft"
    deadline = datetime(2027, 4, 1, tzinfo=clock.JST)
    with catalog.use(draft_version.write_draft(root, deadline=deadline)):
        pass
    target = tmp_path / "kit.zip"
    arguments = ["--data", str(root), "kit", "--version", "2.0", "--out", str(target)]
    result = CliRunner().invoke(interface, arguments)
    assert result.exit_code == 0, result.output
    kit = tmp_path / "unpacked"
    with zipfile.ZipFile(target) as package:
        package.extractall(kit)
    assert {row["sample"] for row in listed(kit)} == {
        "good/full", "good/differential", "good/urgent",
    }  # fmt: skip
    assert run_tool(kit, "samples", kit / "samples").returncode == 0
    assert len(run_tool(kit, "diff", "1.0", "2.0").stdout.splitlines()) == 11
    convert = ("convert", kit / "samples/good/urgent", tmp_path / "old")
    back = run_tool(kit, *convert, "--from", "2.0", "--to", "1.0")
    assert back.returncode == 0, back.stdout
    assert validate_path(tmp_path / "old").ok
    refused = run_tool(kit, *convert, "--from", "2.0", "--to", "1.0")
    assert refused.returncode == 3 and "INTERFACE_CONVERT_EXISTS" in refused.stdout
