"""Reading records out of pages: open a page, take its line, cut the line into values."""

from __future__ import annotations

import csv
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache

from bcl.resident_store import database, town_keys
from bcl.resident_store.pages import PAGE_ROWS, PageFault, PagePlace, open_some_lines
from bcl.resident_store.stored_versions import StoredVersions
from bcl_contract.linkage.layouts import Layout, load_interface

_PAGES_KEPT = 32
_PAGES_AT_ONCE = 64


def parse_line(line: bytes, layout: Layout) -> dict[str, str | None]:
    """Cut one canonical line into values by column name; empty fields are None."""
    values = next(csv.reader([line.decode().removesuffix("\r\n")], strict=True))
    if len(values) != len(layout.columns):
        raise PageFault("a stored line does not fit its layout")
    return {name: value or None for name, value in zip(layout.names, values, strict=True)}


def iter_lines(
    municipality_code: str, record_ids: Iterable[int]
) -> Iterator[tuple[int, str, bytes]]:
    """Give (record id, file id, canonical line) of records, grouped by page.

    Lines come in the newest layout, whatever version of the interface brought them. Every page
    is opened once. Records of other municipalities or of no page are left out: row level security
    makes both look the same. Needs the open scope. Raises `PageFault`.
    """
    by_page: dict[int, list[int]] = {}
    for record_id in record_ids:
        page_id, slot = divmod(record_id, PAGE_ROWS)
        by_page.setdefault(page_id, []).append(slot)
    page_ids = sorted(by_page)
    secret = cache(town_keys.page_secrets(municipality_code))
    versions = StoredVersions(municipality_code, target=load_interface().version)
    for first in range(0, len(page_ids), _PAGES_AT_ONCE):
        with database.cursor() as db:
            db.execute(
                "SELECT id, file_id, load_number, page_number, key_version, rows, clear_size,"
                " sealed FROM resident_store_page WHERE id = ANY(%s) ORDER BY id",
                [page_ids[first : first + _PAGES_AT_ONCE]],
                binary=True,
            )
            pages = db.fetchall()
        for page_id, file_id, load, number, version, rows, size, sealed in pages:
            place = PagePlace(municipality_code, file_id, load, number, version)
            slots = [slot for slot in by_page[page_id] if slot < rows]
            lines = open_some_lines(secret, place, sealed, clear_size=size, slots=slots)
            conversion = versions.conversion(file_id, load)
            for slot, line in zip(slots, lines, strict=True):
                converted = line if conversion is None else conversion.convert(line)
                yield page_id * PAGE_ROWS + slot, file_id, converted


def read_values(
    municipality_code: str, record_ids: Collection[int]
) -> dict[int, dict[str, str | None]]:
    """All values of records, by record id, in the newest layout."""
    files = load_interface().files
    return {
        record_id: parse_line(line, files[file_id])
        for record_id, file_id, line in iter_lines(municipality_code, record_ids)
    }


class SingleReads:
    """Reads one record after another inside one act, keeping the last pages open in memory."""

    def __init__(self, municipality_code: str, file_id: str) -> None:
        self._town, self._layout = municipality_code, load_interface().files[file_id]
        self._known: OrderedDict[int, dict[str, str | None]] = OrderedDict()

    def values(self, record_id: int) -> dict[str, str | None]:
        """Values of one record. Raises `PageFault` when it isn't there."""
        if record_id not in self._known:
            self._known |= self.many([record_id])
            while len(self._known) > _PAGES_KEPT * PAGE_ROWS:
                self._known.popitem(last=False)
        return self._known[record_id]

    def many(self, record_ids: Sequence[int]) -> dict[int, dict[str, str | None]]:
        """Values of several records."""
        found = {
            each: parse_line(line, self._layout)
            for each, _, line in iter_lines(self._town, record_ids)
        }
        if len(found) != len(set(record_ids)):
            raise PageFault("a record has no page")
        return found
