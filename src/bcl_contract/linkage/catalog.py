"""Which versions of the linkage interface exist, and when each is accepted (仕様の版と期限).

Owns: `data/versions.csv`: publication, first day and deadline of every version (R-036).
Promises: a version with a deadline has a successor that is accepted before it, so that no town
is ever left without a version it may send.
Never: decides what happens to a transmission; that is `bcl.linkage`.

    catalog.current().find("1.0").accepted_until
    with catalog.use(Catalog(Path("draft"))): ...      # a draft, before it is shipped
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}", re.ASCII)
_DIRECTORY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,40}", re.ASCII)


class CatalogFault(ValueError):
    """Raised when `versions.csv` says what can't be."""


class UnknownInterfaceVersion(LookupError):
    """Raised for an interface version that this program does not hold."""


@dataclass(frozen=True)
class InterfaceVersion:
    """One published version. Times are aware; `accepted_until` is exclusive, None = open."""

    version: str
    directory: str
    published_at: datetime
    accepted_from: datetime
    accepted_until: datetime | None
    summary_ja: str

    def is_accepted(self, at: datetime) -> bool:
        """Whether a transmission in this version may arrive at `at`."""
        return self.accepted_from <= at and (
            self.accepted_until is None or at < self.accepted_until
        )


class Catalog:
    """The versions in one directory: `versions.csv` and a directory of layouts for each.

    Raises `CatalogFault`, its text for the operator, when the dates contradict each other.
    """

    def __init__(self, root: Traversable) -> None:
        self.root = root
        found = [_version_of(row) for row in self.rows("versions.csv")]
        self.versions = tuple(sorted(found, key=lambda each: (each.accepted_from, each.version)))
        _judge_dates(self.versions)

    def find(self, version: str) -> InterfaceVersion:
        """Give a version. Raises `UnknownInterfaceVersion`."""
        for each in self.versions:
            if each.version == version:
                return each
        raise UnknownInterfaceVersion(version)

    def predecessor(self, version: str) -> InterfaceVersion | None:
        """Give the version before this one, None for the first."""
        place = self.versions.index(self.find(version))
        return self.versions[place - 1] if place else None

    def newest_accepted(self, at: datetime) -> InterfaceVersion | None:
        """Give the newest version accepted at `at`, None when there is none."""
        accepted = [each for each in self.versions if each.is_accepted(at)]
        return accepted[-1] if accepted else None

    def rows(self, name: str) -> Iterator[dict[str, str]]:
        """Read a CSV file by its path below the root."""
        source = self.root.joinpath(*name.split("/")).open("rb")
        with io.TextIOWrapper(source, "utf-8", newline="") as lines:
            yield from csv.DictReader(lines, strict=True)

    def has(self, name: str) -> bool:
        """Whether a file with this path below the root exists."""
        return self.root.joinpath(*name.split("/")).is_file()


def _version_of(row: dict[str, str]) -> InterfaceVersion:
    try:
        return InterfaceVersion(
            version=row["version"],
            directory=row["directory"],
            published_at=_moment(row["published_at"]),
            accepted_from=_moment(row["accepted_from"]),
            accepted_until=_moment(row["accepted_until"]) if row["accepted_until"] else None,
            summary_ja=row["summary_ja"],
        )
    except (KeyError, ValueError) as fault:
        raise CatalogFault(f"versions.csv の {row.get('version')} の行を読めません") from fault


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without zone")
    return at


def _judge_dates(versions: tuple[InterfaceVersion, ...]) -> None:
    if not versions or len({each.version for each in versions}) != len(versions):
        raise CatalogFault("versions.csv に版がないか、同じ版が二つあります")
    for place, each in enumerate(versions):
        if not _VERSION.fullmatch(each.version) or not _DIRECTORY.fullmatch(each.directory):
            raise CatalogFault(f"versions.csv の {each.version} は版の番号か置き場所の形が違います")
        if each.published_at > each.accepted_from:
            raise CatalogFault(f"versions.csv の {each.version} は公開日より前に受入開始です")
        if each.accepted_until is None:
            continue
        if each.accepted_until <= each.accepted_from:
            raise CatalogFault(f"versions.csv の {each.version} は受入開始より前に受入期限です")
        if not any(_takes_over(other, each.accepted_until) for other in versions[place + 1 :]):
            raise CatalogFault(f"versions.csv の {each.version} の受入期限のあとに送れる版がない")


def _takes_over(successor: InterfaceVersion, deadline: datetime) -> bool:
    """Whether both are accepted for a while and the successor stays."""
    return successor.accepted_from < deadline and (
        successor.accepted_until is None or successor.accepted_until > deadline
    )


@cache
def shipped() -> Catalog:
    """Give the catalog that this program brings."""
    return Catalog(files("bcl_contract.linkage").joinpath("data"))


_chosen: list[Catalog] = []


def current() -> Catalog:
    """Give the catalog in force: the innermost `use`, else the shipped one."""
    return _chosen[-1] if _chosen else shipped()


@contextmanager
def use(catalog: Catalog) -> Iterator[Catalog]:
    """Put another catalog in force in the whole process: to try a draft, and for tests."""
    _chosen.append(catalog)
    try:
        yield catalog
    finally:
        _chosen.remove(catalog)
