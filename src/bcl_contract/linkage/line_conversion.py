"""Reading stored lines of one version in the terms of another (保管済みの行の読み替え).

While two versions are accepted, and for as long as history is kept, lines of both lie side by
side. They are never rewritten; they are carried over when they are read. Unlike `convert`
nothing is refused here: what a rule doesn't say stays as it was written.
"""

from __future__ import annotations

import csv
from functools import cache

from bcl_contract.linkage import catalog as catalogs
from bcl_contract.linkage import table_lines
from bcl_contract.linkage.catalog import Catalog
from bcl_contract.linkage.changes import reads_alike
from bcl_contract.linkage.conversion_rules import load_rules
from bcl_contract.linkage.layouts import load_interface


class LineConversion:
    """Carries canonical lines of one file from one version's layout to another's."""

    def __init__(self, source: str, target: str, file_id: str) -> None:
        old, new = load_interface(source).files[file_id], load_interface(target).files[file_id]
        rules = load_rules(source, target)
        self._columns = len(old.columns)
        self._steps: list[tuple[int | None, str, dict[str, str]]] = []
        for column in new.columns:
            name = rules.renamed.get((file_id, column.name), column.name)
            if not old.has(name):
                self._steps.append((None, rules.defaults.get((file_id, column.name), ""), {}))
                continue
            codes = dict(rules.codes.get(old.column(name).code_list or "", {}))
            self._steps.append((old.index_of[name], "", codes))

    def convert(self, line: bytes) -> bytes:
        """Give a line in the target layout. Raises ValueError when it is none of the source's."""
        (values,) = csv.reader([line.decode().removesuffix("\r\n")], strict=True)
        if len(values) != self._columns:
            raise ValueError("a stored line does not fit its layout")
        made = []
        for place, default, codes in self._steps:
            value = default if place is None else values[place]
            made.append(codes.get(value, value) or None)
        return table_lines.quoted(made)


def line_conversion(source: str, target: str, file_id: str) -> LineConversion | None:
    """Give what carries lines from `source` to `target`; None when they stand as they are.

    They do where the version, or all that this file says in it, is the same, and for a file that
    the target doesn't know. Raises `UnknownInterfaceVersion`.
    """
    return None if source == target else _found(catalogs.current(), source, target, file_id)


@cache
def _found(_: Catalog, source: str, target: str, file_id: str) -> LineConversion | None:
    old, new = load_interface(source), load_interface(target)
    if reads_alike(old, new, file_id) or file_id not in old.files or file_id not in new.files:
        return None
    return LineConversion(source, target, file_id)
