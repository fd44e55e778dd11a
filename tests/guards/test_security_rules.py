"""Rules of security that can be read off the source, and the answers to ASVS held against tests."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SERVED = sorted(
    path
    for part in ("bcl", "bcl_contract", "bcl_gateway")
    for path in (ROOT / "src" / part).rglob("*.py")
)
TEMPLATES = sorted((ROOT / "src").rglob("templates/**/*.html"))
SCRIPTS = sorted(path for path in (ROOT / "src").rglob("static/**/*.js"))
ANSWERS = ROOT / "docs" / "security" / "asvs5.yaml"
LEVEL_1_IDS = 70

FORBIDDEN_CALLS = {"eval", "exec", "compile", "mark_safe", "SafeString"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "yaml", "xml", "lxml", "random", "telnetlib"}
# The gateway spreads its attempts in time; nothing of it is a secret.
ALLOWED_MODULES = {("src/bcl_gateway/seams.py", "random")}
WEAK = re.compile(r"\bhashlib\.(md5|sha1)\b|\bmodes\.(ECB|CBC)\b|\bDES\b|\bRC4\b|\bARC4\b")
# CMAC is made of single AES blocks; tus obliges servers to know SHA-1 as a check against damage.
ALLOWED_WEAK = {"src/bcl/resident_store/column_cmac.py", "src/bcl/linkage/wire/tus.py"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def calls_in(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def called(call: ast.Call) -> str:
    """`module.name` or `name` of what is called."""
    if isinstance(call.func, ast.Name):
        return call.func.id
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        return f"{call.func.value.id}.{call.func.attr}"
    return ""


def test_dangerous_calls__are_nowhere() -> None:
    found = []
    for path in SERVED:
        text = path.read_text(encoding="utf-8")
        found += [
            f"{name_of(path)}: {called(one)}"
            for one in calls_in(path)
            if called(one) in FORBIDDEN_CALLS
        ]
        for node in ast.walk(ast.parse(text)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.partition(".")[0]
                if top in FORBIDDEN_MODULES and (name_of(path), top) not in ALLOWED_MODULES:
                    found.append(f"{name_of(path)}: {name}")
        if name_of(path) not in ALLOWED_WEAK and WEAK.search(text):
            found.append(f"{name_of(path)}: {WEAK.search(text)[0]}")
    assert found == []
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape\s+off|<script(?![^>]*\ssrc=)", text), path


def test_shell__is_never_asked_for() -> None:
    for path in SERVED:
        for call in calls_in(path):
            name = called(call)
            assert name not in ("os.system", "os.popen", "subprocess.getoutput"), path
            if name.startswith("subprocess."):
                assert not any(word.arg == "shell" for word in call.keywords), path
                assert not isinstance(call.args[0], ast.Constant | ast.JoinedStr), path


def test_patterns__are_never_built_from_what_came() -> None:
    """A pattern is a constant, or put together from constants of its own module."""
    looked_at = 0
    for path in SERVED:
        for call in calls_in(path):
            if not called(call).startswith("re.") or called(call) in ("re.escape", "re.error"):
                continue
            looked_at += 1
            for part in ast.walk(call.args[0]):
                if isinstance(part, ast.Name):
                    known = part.id in ("re", "_KANA", "ranges") or part.id.isupper()
                    assert known, (path, call.lineno)
    assert looked_at > 40


def test_scripts__keep_nothing_in_the_browser() -> None:
    assert SCRIPTS
    words = r"localStorage|sessionStorage|indexedDB|document\.cookie|innerHTML\s*=[^=]|\beval\("
    for path in SCRIPTS:
        if "vendor" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert not re.search(words, text), path


# -- the answers to ASVS -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answers() -> list[dict]:
    return yaml.safe_load(ANSWERS.read_text(encoding="utf-8"))


def test_asvs__every_answer__is_whole_and_its_tests_exist(answers) -> None:
    known: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        known[name_of(path)] = names
    ids = [answer["id"] for answer in answers]
    assert len(ids) == len(set(ids))
    for answer in answers:
        assert answer["level"] in (1, 2, 3), answer
        assert answer["status"] in ("met", "partly", "open", "not_applicable"), answer
        assert answer["status"] == "met" or answer.get("why"), answer["id"]
        tests = answer.get("tests", [])
        assert answer["status"] not in ("met", "partly") or (tests and answer["where"]), answer
        for test in tests:
            path, _, name = test.partition("::")
            assert name in known.get(path, set()), f"{answer['id']} names no test: {test}"


def test_asvs__level_1__is_answered_whole(answers) -> None:
    assert len([one for one in answers if one["level"] == 1]) == LEVEL_1_IDS


def test_asvs__held_against_the_standard__has_its_ids_and_none_of_its_sentences(answers) -> None:
    if "BCL_VECTORS" not in os.environ:
        pytest.skip("the list of the standard's ids is not here (BCL_VECTORS)")
    text = (Path(os.environ["BCL_VECTORS"]) / "asvs5/requirements_raw.txt").read_text("utf-8")
    rows = re.findall(r"^\| \*\*([0-9.]+)\*\* \| (.*) \| ([123]) \|$", text, re.M)
    levels = {number: int(level) for number, _, level in rows}
    assert {number for number, level in levels.items() if level == 1} <= {
        one["id"] for one in answers
    }
    assert all(levels[one["id"]] == one["level"] for one in answers)
    own = " ".join(ANSWERS.read_text(encoding="utf-8").lower().split())
    for number, sentence, _ in rows:
        words = sentence.lower().split()
        for start in range(len(words) - 8):
            assert " ".join(words[start : start + 8]) not in own, number
