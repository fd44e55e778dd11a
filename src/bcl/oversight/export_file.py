"""The file of an export: CSV that nothing runs in, each row with the watermark (R-175).

The last four columns say which export it is, who asked and who agreed, when, and the canary with
the row's number: a single row found anywhere leads back to the export.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from bcl.oversight.csv_cells import safe_cell
from bcl_contract.receipts import canonical_json

MARK_TITLES = ("持ち出し番号", "申請者/承認者", "承認日時", "透かし")
_TELL_EVERY = 2_000


@dataclass(frozen=True)
class Watermark:
    """What stands in every row: the export, who, when, and its canary."""

    number: str
    who: str
    when: str
    canary: str

    def cells(self, row: int) -> list[str]:
        """The last cells of a row (counted from 1)."""
        return [self.number, self.who, self.when, f"{self.canary}-{row:06}"]


class CountedRows:
    """Counts rows and takes their digest as they go by: columns in order, values as they are."""

    def __init__(self, columns: list[str]) -> None:
        self.columns, self.rows = columns, 0
        self._digest = hashlib.sha256(canonical_json({"columns": columns}))

    def add(self, values: Mapping[str, str]) -> list[str]:
        """The cells of one row, counted."""
        cells = [values[name] for name in self.columns]
        self.rows += 1
        self._digest.update(canonical_json({"cells": cells}))
        return cells

    def digest(self) -> bytes:
        """SHA-256 of everything counted so far."""
        return self._digest.digest()


def write_rows(
    target: BinaryIO,
    rows: Iterable[Mapping[str, str]],
    counted: CountedRows,
    *,
    titles: Mapping[str, str],
    mark: Watermark,
    progress: Callable[[int], None],
) -> None:
    """Write header and rows as UTF-8 with BOM (spreadsheets take it for another code without)."""
    text = io.TextIOWrapper(target, encoding="utf-8-sig", newline="", write_through=False)
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow([*(titles[name] for name in counted.columns), *MARK_TITLES])
    for values in rows:
        cells = [safe_cell(cell) for cell in counted.add(values)]
        writer.writerow([*cells, *mark.cells(counted.rows)])
        if counted.rows % _TELL_EVERY == 0:
            progress(counted.rows)
    text.flush()
    text.detach()
