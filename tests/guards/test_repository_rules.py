"""Rules about the repository itself: a rule of style that can be a test is one."""

from __future__ import annotations

import ast
import csv
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
APPS = sorted(
    path.parent for path in (ROOT / "src" / "bcl").glob("*/apps.py") if path.parent.name != "config"
)
# Japanese words in Latin letters that the glossary has English terms for.
ROMAJI = re.compile(
    r"\b\w*(atena|setai|juminhyo|jumin_|inkan|rireki|ido_jiyu|zokugara|honseki|hittosha|kosei"
    r"|shimei|tenshutsu|tennyu|sochi_|saishin)\w*\b"
)
# Words a newcomer can't find anything under.
EMPTY_NAMES = {"utils", "helpers", "common", "misc", "manager", "process", "handle"}


def tracked_files() -> list[Path]:
    """Files that git tracks; outside a checkout, everything but hidden folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_functions__are_short_enough_to_read_without_scrolling() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} {node.end_lineno - node.lineno + 1}"
        for path in SOURCES
        if "migrations" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > 60
    ]
    assert long == []


# Programs that are handed out as one file and run alone: another file would be one more to lose.
STAND_ALONE = {"recovery_page.py": 560, "recovery_reader.py": 540}


@pytest.mark.parametrize(("files", "limit"), [(SOURCES, 500), (TESTS, 800)], ids=["src", "tests"])
def test_modules__are_short(files: list[Path], limit: int) -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in files
        if (lines := len(path.read_text(encoding="utf-8").splitlines()))
        > STAND_ALONE.get(path.name, limit)
    }
    assert long == {}


def test_file_names__say_what_is_in_them() -> None:
    assert [path for path in SOURCES if path.stem in EMPTY_NAMES] == []


def test_identifiers__have_no_romaji() -> None:
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [getattr(node, "name", None), getattr(node, "id", None)]
            names.append(getattr(node, "arg", None))
            found |= {
                f"{path.relative_to(ROOT)}: {name}"
                for name in names
                if isinstance(name, str) and ROMAJI.match(name)
            }
    assert found == set()


def test_every_app__has_its_door_its_readme_and_its_protection() -> None:
    assert APPS, "no apps found"
    rules = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for app in APPS:
        assert (app / "README.md").is_file(), f"{app.name} has no README.md"
        if app.name in ("foundation", "look", "console"):
            continue  # the floor and the look: everybody stands on them; the roof: nobody does
        assert (app / "api.py").is_file(), f"{app.name} has no api.py"
        assert f"8 bcl.{app.name}: others come in through api only" in rules


def test_settings__are_read_in_one_place() -> None:
    allowed = {"src/bcl/config/env.py", "src/bcl_contract/clock.py"}
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.is_relative_to(ROOT / "src" / "bcl")
        and re.search(r"os\.environ|os\.getenv", path.read_text(encoding="utf-8"))
    }
    assert readers <= allowed


def test_tracked_files__name_no_host_and_no_machine_path() -> None:
    # Spelled in pieces, so that this file does not name them itself.
    hosts = ["py" + "pi.org", "python" + "hosted", "registry." + "npmjs", "deb." + "debian.org"]
    paths = ["/wo" + "rk/", "/ro" + "ot/", "../" + "shared/"]
    allowed = {".ci/run"}
    found = []
    for path in tracked_files():
        name = str(path.relative_to(ROOT))
        if name in allowed or path.stat().st_size > 5_000_000:
            continue
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{name}: {word}" for word in hosts + paths if word in text]
    assert found == []


def test_lock_files__pin_every_package_by_hash_and_name_no_host() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        packages = re.findall(r"^[a-zA-Z0-9_.\-\[\]]+==", text, re.M)
        assert len(packages) > 20
        for block in re.split(r"\n(?=[a-zA-Z0-9])", text.strip()):
            assert "--hash=sha256:" in block, block.splitlines()[0]


def test_journeys__have_the_same_step_numbers_in_page_and_test() -> None:
    for page in sorted((ROOT / "docs" / "journeys").glob("*.md")):
        steps = set(re.findall(r"^\| (\d+) \|", page.read_text(encoding="utf-8"), re.M))
        test = ROOT / "tests" / "journeys" / f"test_{page.stem.replace('-', '_')}.py"
        assert test.is_file(), f"{page.name} has no journey test"
        named = set(re.findall(r"# step (\d+)", test.read_text(encoding="utf-8")))
        assert steps == named, page.name


def test_requirement_marks__name_known_requirements_and_begun_ones_have_tests() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("trace", ROOT / "scripts" / "trace.py")
    assert spec is not None and spec.loader is not None
    trace = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(trace)
    tests = trace.tests_by_requirement()
    rows = {row["number"]: row for row in trace.requirements()}
    assert set(tests) <= set(rows)
    begun = {number for number, row in rows.items() if row["status"] != "open"}
    assert begun - set(tests) == set()
    assert all(row["summary"] for row in rows.values() if row["status"] != "open")


@pytest.mark.requirement("R-266")
def test_refusal_codes__every_code_in_the_source_has_its_words() -> None:
    with (ROOT / "src/bcl_contract/data/refusals.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["code"]: row for row in csv.DictReader(file)}
    assert len(rows) > 50
    for code, row in rows.items():
        for column in ("text_ja", "who_can_fix_ja", "how_ja", "http_status"):
            assert row[column].strip(), f"{code}: {column} is empty"
    used = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal":
                arguments = [*node.args[:1], *(k.value for k in node.keywords if k.arg == "code")]
                used |= {a.value for a in arguments if isinstance(a, ast.Constant)}
    assert used <= set(rows)
