"""The layouts of the linkage interface as data (連携インタフェース仕様の表定義).

Owns: which files and columns exist, and everything said about a column.
Promises: one table, read by the validator, the specification page, the resident store,
the recovery export and the minimisation of each subscriber.
Source: the interface specification in `data/v1/*.csv`; a new version is a new directory and a
row in `data/versions.csv` (see `catalog`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType

from bcl_contract.linkage import catalog as catalogs
from bcl_contract.linkage.catalog import Catalog, UnknownInterfaceVersion

__all__ = [
    "SEARCH_KINDS",
    "TYPES",
    "CodeList",
    "Column",
    "Interface",
    "Layout",
    "UnknownInterfaceVersion",
    "load_interface",
    "supported_versions",
]

TYPES = frozenset("NXKJDTIF")
SEARCH_KINDS = frozenset({"exact", "name", "kana", "date", "address"})


@dataclass(frozen=True)
class Column:
    """One column of a layout.

    `title_ja` is the CSV header, `name` the identifier in code. `type` is N (digits),
    X (ASCII), K (katakana), J (administrative standard characters), D (date), T (time),
    I (integer) or F (flag). `length` counts base characters. `required` is Y (always),
    C (when `condition` holds) or N. `key_order` is the place in the record key, from 1.
    `sensitivity` is public_code, basic, personal, sensitive, individual_number or
    secret_image. `profiles` is a string of a (backup), b (certificates), c (disaster).
    `urgent` says that the column may travel in the urgent lane.
    """

    title_ja: str
    name: str
    type: str
    length: int
    required: str
    condition: str
    key_order: int | None
    search: str
    sensitivity: str
    code_list: str | None
    profiles: str
    urgent: bool
    position: int


@dataclass(frozen=True)
class CodeList:
    """The values of one coded item: code -> Japanese label.

    A closed list makes an unknown code a row error; an open one only a warning, and the
    person's certificates are held until the code is mapped (decision D9).
    """

    name: str
    closed: bool
    values: Mapping[str, str]
    labels_en: Mapping[str, str]


@dataclass(frozen=True)
class Layout:
    """One file of the interface: its columns in their order of transmission.

    `urgent_condition` (same grammar as `Column.condition`) holds for rows that restrict: only
    those may travel in the urgent lane (decision D3); "" for files that may not.
    """

    file_id: str
    title_ja: str
    name: str
    urgent_condition: str
    columns: tuple[Column, ...]

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The English names of all columns, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def index_of(self) -> dict[str, int]:
        """The place of each column by English name, from 0."""
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns of the record key, in key order."""
        keyed = [column for column in self.columns if column.key_order is not None]
        return tuple(sorted(keyed, key=lambda column: column.key_order or 0))

    @cached_property
    def header_line(self) -> bytes:
        """The canonical header line in UTF-8: every title quoted, CRLF at the end."""
        titles = ('"' + column.title_ja.replace('"', '""') + '"' for column in self.columns)
        return (",".join(titles) + "\r\n").encode()

    @property
    def urgent(self) -> bool:
        """Whether this file may stand in a transmission of the urgent lane."""
        return bool(self.urgent_condition)

    def column(self, name: str) -> Column:
        """Give the column with this English name; KeyError when there is none."""
        return self._by_name[name]

    def has(self, name: str) -> bool:
        """Say whether a column with this English name exists."""
        return name in self._by_name

    def search_columns(self, kind: str) -> tuple[Column, ...]:
        """Give the columns searched as `kind` (exact, name, kana, date, address)."""
        if kind not in SEARCH_KINDS:
            raise KeyError(kind)
        return tuple(column for column in self.columns if column.search == kind)


@dataclass(frozen=True)
class Interface:
    """One version of the linkage interface."""

    version: str
    files: Mapping[str, Layout]
    code_lists: Mapping[str, CodeList]


def supported_versions() -> tuple[str, ...]:
    """Give the interface versions that this program holds."""
    return tuple(each.version for each in catalogs.current().versions)


def _column(row: dict[str, str]) -> Column:
    if row["type"] not in TYPES or (row["search"] and row["search"] not in SEARCH_KINDS):
        raise ValueError(f"columns.csv: {row['file_id']} {row['name']}")
    return Column(
        title_ja=row["title_ja"],
        name=row["name"],
        type=row["type"],
        length=int(row["length"]),
        required=row["required"],
        condition=row["condition"],
        key_order=int(row["key_order"]) if row["key_order"] else None,
        search=row["search"],
        sensitivity=row["sensitivity"],
        code_list=row["code_list"] or None,
        profiles=row["profiles"],
        urgent=row["urgent"] == "1",
        position=int(row["position"]),
    )


def _code_lists(catalog: Catalog, directory: str) -> Mapping[str, CodeList]:
    values: dict[str, dict[str, str]] = {}
    labels_en: dict[str, dict[str, str]] = {}
    for row in catalog.rows(f"{directory}/codes.csv"):
        values.setdefault(row["code_list"], {})[row["code"]] = row["label_ja"]
        labels_en.setdefault(row["code_list"], {})[row["code"]] = row["label_en"]
    return MappingProxyType(
        {
            row["code_list"]: CodeList(
                name=row["code_list"],
                closed=row["closed"] == "1",
                values=MappingProxyType(values.get(row["code_list"], {})),
                labels_en=MappingProxyType(labels_en.get(row["code_list"], {})),
            )
            for row in catalog.rows(f"{directory}/code_lists.csv")
        }
    )


def load_interface(version: str | None = None) -> Interface:
    """Load one version of the interface; the result is shared and immutable.

    Without `version` the newest one that this program holds: in its terms everything stored is
    read. Raises `UnknownInterfaceVersion` for a version that this program does not hold.
    """
    catalog = catalogs.current()
    return _load(catalog, catalog.versions[-1].version if version is None else version)


@cache
def _load(catalog: Catalog, version: str) -> Interface:
    directory = catalog.find(version).directory
    columns: dict[str, list[Column]] = {}
    for row in catalog.rows(f"{directory}/columns.csv"):
        columns.setdefault(row["file_id"], []).append(_column(row))
    layouts = {
        row["file_id"]: Layout(
            file_id=row["file_id"],
            title_ja=row["title_ja"],
            name=row["name"],
            urgent_condition=row["urgent_condition"],
            columns=tuple(sorted(columns[row["file_id"]], key=lambda column: column.position)),
        )
        for row in catalog.rows(f"{directory}/files.csv")
    }
    code_lists = _code_lists(catalog, directory)
    for layout in layouts.values():
        for column in layout.columns:
            if column.code_list is not None and column.code_list not in code_lists:
                raise ValueError(f"columns.csv: code list {column.code_list} is not defined")
    return Interface(version=version, files=MappingProxyType(layouts), code_lists=code_lists)
