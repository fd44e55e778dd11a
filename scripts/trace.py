"""Print which tests show which requirement, and which requirements have none (`make trace`).

Reads docs/requirements.csv and the `@pytest.mark.requirement("R-nnn")` marks in tests/, by syntax
tree, so that nothing has to be imported or collected.
"""

from __future__ import annotations

import ast
import csv
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def marks_of(node: ast.expr) -> list[str]:
    """Requirement numbers named by one mark expression (or a list of marks)."""
    if isinstance(node, ast.List | ast.Tuple):
        return [number for element in node.elts for number in marks_of(element)]
    is_mark = (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "requirement"
    )
    if not is_mark:
        return []
    return [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]


def module_marks(tree: ast.Module) -> list[str]:
    """Marks that `pytestmark = …` gives to every test of a module."""
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets
        ):
            found += marks_of(node.value)
    return found


def tests_by_requirement(folder: Path = ROOT / "tests") -> dict[str, list[str]]:
    """Requirement number -> test ids (path::name)."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        shared = module_marks(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own = [number for mark in node.decorator_list for number in marks_of(mark)]
                is_test = node.name.startswith(("test_", "Test"))
                for number in sorted({*own, *(shared if is_test else [])}):
                    found[number].append(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def requirements() -> list[dict[str, str]]:
    """Rows of docs/requirements.csv."""
    with (ROOT / "docs" / "requirements.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main() -> int:
    tests = tests_by_requirement()
    rows = requirements()
    begun = [row for row in rows if row["status"] != "open"]
    missing = [row for row in begun if row["number"] not in tests]
    for row in begun:
        names = tests.get(row["number"], [])
        print(f"{row['number']}  {row['status']:5}  試験 {len(names):3}  {row['summary']}")
        for name in names if "--tests" in sys.argv else []:
            print(f"         {name}")
    print(f"\n着手済み {len(begun)} 件、うち試験のないもの {len(missing)} 件。")
    for row in missing:
        print(f"  試験なし: {row['number']} {row['summary']}")
    print(f"未着手 {len(rows) - len(begun)} 件: 次の作業で扱います。")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
