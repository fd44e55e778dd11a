"""`bcl interface kit`: everything a vendor needs, in one zip, for a machine without BCL (R-039).

Owns: which parts of the wire contract go along, and the pinned packages they need.
Promises: the same version gives the same zip; samples say what they should before it is written.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from bcl_cli.interface_samples import WRITTEN_VERSION, write_samples
from bcl_contract.clock import JST
from bcl_contract.linkage import catalog as catalogs
from bcl_contract.linkage.catalog import Catalog, InterfaceVersion
from bcl_contract.linkage.specification import moment_ja
from bcl_contract.linkage.specification_files import write_specification

TOOL = "bcl_contract.linkage.vendor_tool"
OWN = "bcl_contract"
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MAIN = """import sys

if sys.version_info < (3, 11):
    sys.exit("Python 3.11 以上で実行してください。")
for stream in (sys.stdout, sys.stderr):
    stream.reconfigure(errors="replace")
try:
    from bcl_contract.linkage.vendor_tool import main
except ModuleNotFoundError as missing:
    sys.exit(
        "必要な部品 " + str(missing.name) + " がありません。"
        "「python -m pip install -r requirements.txt」を実行してください。"
    )
sys.exit(main())
"""


class KitExists(FileExistsError):
    """Raised when there is a file at the target already."""


@dataclass(frozen=True)
class KitContents:
    """How much went into a kit."""

    files: int
    samples: int


def build_kit(target: Path, version: str) -> KitContents:
    """Write the kit of one version.

    Raises `KitExists`, `UnknownInterfaceVersion`, and `WrongSample` when a sample is not what it
    is said to be.
    """
    if target.exists():
        raise KitExists(target)
    catalog = catalogs.current()
    published = catalog.find(version)
    with tempfile.TemporaryDirectory(prefix="bcl-kit-") as work:
        root = Path(work)
        write_specification(root / "specification", version)
        _copy_layouts(catalog, root / "layouts")
        _write_validator(catalog, root / "validator", published.published_at)
        start_on = published.accepted_from.astimezone(JST).date()
        samples = write_samples(root / "samples", version, start_on=start_on)
        (root / "guide.md").write_bytes(_own_text("vendor-guide.txt"))
        (root / "README.md").write_text(_readme(published, len(samples)), encoding="utf-8")
        paths = sorted(path for path in root.rglob("*") if path.is_file())
        made = target.with_name(f".{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            members = [(path.relative_to(root).as_posix(), path.read_bytes()) for path in paths]
            _write_zip(made, members, published.published_at)
            made.rename(target)
        finally:
            made.unlink(missing_ok=True)
    return KitContents(len(paths), len(samples))


def _own_text(name: str) -> bytes:
    return files("bcl_cli").joinpath("data", name).read_bytes()


def _write_zip(target: Path, members: Iterable[tuple[str, bytes]], at: datetime) -> None:
    """A zip whose bytes depend on its members only."""
    moment = at.astimezone(JST)
    stamp = (moment.year, moment.month, moment.day, moment.hour, moment.minute, 0)
    with zipfile.ZipFile(target, "w") as package:
        for name, content in members:
            entry = zipfile.ZipInfo(name, stamp)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            package.writestr(entry, content)


def _catalog_files(catalog: Catalog) -> Iterator[tuple[str, Traversable]]:
    """The data of all versions: path below the catalog's root, and file."""
    yield "versions.csv", catalog.root.joinpath("versions.csv")
    for version in catalog.versions:
        for entry in sorted(
            catalog.root.joinpath(version.directory).iterdir(), key=lambda each: each.name
        ):
            if entry.name.endswith(".csv"):
                yield f"{version.directory}/{entry.name}", entry


def _copy_layouts(catalog: Catalog, folder: Path) -> None:
    for name, source in _catalog_files(catalog):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.read_bytes())


# --- the validator ---------------------------------------------------------------------------


def _write_validator(catalog: Catalog, folder: Path, at: datetime) -> None:
    """The zipapp and the list of packages it needs."""
    sources, foreign = _closure(TOOL)
    members = [("__main__.py", _MAIN.encode())]
    members += [(_member_name(name), source.encode()) for name, source in sorted(sources.items())]
    members.append(("bcl_contract/data/refusals.csv", _refusals()))
    members += [
        (f"bcl_contract/linkage/data/{name}", source.read_bytes())
        for name, source in _catalog_files(catalog)
    ]
    folder.mkdir(parents=True)
    _write_zip(folder / "bcl-interface.pyz", members, at)
    (folder / "requirements.txt").write_text("\n".join(_pins(foreign)) + "\n", encoding="utf-8")


def _refusals() -> bytes:
    return files(OWN).joinpath("data", "refusals.csv").read_bytes()


def _member_name(module: str) -> str:
    spec = importlib.util.find_spec(module)
    is_package = spec is not None and spec.submodule_search_locations is not None
    return module.replace(".", "/") + ("/__init__.py" if is_package else ".py")


def _closure(start: str) -> tuple[dict[str, str], set[str]]:
    """Give the sources of a module and of all own modules it imports, and the foreign packages."""
    sources: dict[str, str] = {}
    foreign: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in sources:
            continue
        sources[name] = _source(name)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        for imported in _imports(sources[name]):
            top = imported.partition(".")[0]
            if top == OWN:
                waiting += [imported] if _is_module(imported) else []
            elif top not in sys.stdlib_module_names:
                foreign.add(top)
    return sources, foreign


def _imports(source: str) -> Iterator[str]:
    """Every name a source imports, modules and what might be one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a name inside a module
        return False


def _source(name: str) -> str:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    return Path(spec.origin).read_text("utf-8")


def _pins(packages: Iterable[str]) -> list[str]:
    """The versions that this BCL itself runs with, with all that they need."""
    owners = metadata.packages_distributions()
    waiting = [owners[package][0] for package in packages]
    pins: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # needed on other machines only
            continue
        if found.name in pins:
            continue
        pins[found.name] = f"{found.name}=={found.version}"
        for line in found.requires or []:
            needed = _REQUIREMENT.match(line)
            if needed is not None and "extra ==" not in line:
                waiting.append(needed.group())
    return sorted(pins.values(), key=str.lower)


def _readme(version: InterfaceVersion, samples: int) -> str:
    until = version.accepted_until
    deadline = f"{moment_ja(until)} まで" if until else "定めなし"
    converted = (
        ""
        if version.version == WRITTEN_VERSION
        else f"このサンプルは、第{WRITTEN_VERSION}版から変換した正しいものだけです。"
    )
    return f"""# BCL データ連携インタフェース 事業者向け一式（第{version.version}版）

受入開始 {moment_ja(version.accepted_from)}、受入期限 {deadline}

| 場所 | 中身 |
|---|---|
| `guide.md` | 作り方の手引き。はじめにお読みください |
| `specification/interface-{version.version}.html` | 仕様書（画面・印刷用） |
| `specification/interface-{version.version}.xlsx` | 仕様書（表計算用） |
| `specification/interface-{version.version}.json` | 仕様書（機械用） |
| `specification/database-{version.version}.sql` | DB仕様書（連携DB編）。連携データをためる表 |
| `layouts/` | 仕様書の元の表（CSV） |
| `validator/` | 検査プログラム。BCLと同じ規則で検査します |
| `samples/` | サンプル {samples}種類。`samples.csv` に、それぞれの期待される結果があります |

## 検査プログラムを動かす

Python 3.11 以上と、`validator/requirements.txt` にある部品（版を固定）だけで動きます。
BCL・データベース・通信は要りません。

```
python3 -m venv check
check/bin/python -m pip install -r validator/requirements.txt
check/bin/python validator/bcl-interface.pyz samples samples
check/bin/python validator/bcl-interface.pyz validate 検査するフォルダー
```

Windows では `check/bin/python` を `check\\Scripts\\python` と読み替えてください。
ネットワークにつながらない機械へは、つながる同じ種類の機械で
`python -m pip download -r validator/requirements.txt -d parts` を行って持ち込み、
`python -m pip install --no-index --find-links parts -r validator/requirements.txt` で入れます。

サンプルの氏名・住所・番号はすべて架空です。{converted}
"""
