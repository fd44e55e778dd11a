"""Every place where sealed data lies, so that keys can be rotated and erasure can be proved.

Each app names its places in its module `sealed_data.py`:

    SEALED = [SealedCells("linkage_receiptkey", "sealed_private_key", place=("key_id",))]

A test compares the list with the binary columns of the database: a forgotten one fails it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from django.apps import apps
from django.db import connection

from bcl.foundation import crypto
from bcl.foundation.keys import KeyPurpose


class Step(NamedTuple):
    """What one small transaction has sealed again: how many, and where to go on (None = end)."""

    done: int
    position: str | None


class SealedData(Protocol):
    """One kind of sealed data. All methods need the town's open scope."""

    @property
    def name(self) -> str:
        """`table.column`."""
        ...

    @property
    def purpose(self) -> KeyPurpose: ...

    def count(self, municipality_code: str, *, other_than: int | None = None) -> int:
        """How many values are sealed (under another version than `other_than`)."""
        ...

    def reseal(self, municipality_code: str, *, version: int, after: str, limit: int) -> Step:
        """Seal up to `limit` values again under `version`, in key order behind `after`.

        Rows locked by others are passed over: a later sweep finds them.
        """
        ...

    def open_one(self, municipality_code: str) -> bool | None:
        """Try to open one value: None when there is none. Raises `KeyFault`, `SealFault`."""
        ...


def _same(*values: Any) -> Any:
    return values[0]


@dataclass(frozen=True)
class SealedCells:
    """Values of `crypto.seal_cell` in one column of a table.

    `place`: the columns the row id of the seal is made of; `row_id` makes it of their values (the
    first one as it is by default). `key_type` is the SQL type of the primary key `id`.
    """

    table: str
    column: str
    place: Sequence[str]
    row_id: Callable[..., str | int | bytes] = _same
    purpose: KeyPurpose = KeyPurpose.CELLS
    key_type: str = "bigint"

    @property
    def name(self) -> str:
        return f"{self.table}.{self.column}"

    def count(self, municipality_code: str, *, other_than: int | None = None) -> int:
        with connection.cursor() as db:
            db.execute(
                f"SELECT count(*) FROM {self.table} WHERE municipality_code = %s"  # noqa: S608
                f" AND {self.column} IS NOT NULL"
                f" AND (%s::bytea IS NULL OR substring({self.column} FROM 2 FOR 4) <> %s::bytea)",
                [municipality_code, _packed(other_than), _packed(other_than)],
            )
            return int(db.fetchone()[0])

    def reseal(self, municipality_code: str, *, version: int, after: str, limit: int) -> Step:
        rows = self._rows(municipality_code, version, after, limit)
        for key, sealed, *place in rows:
            row_id = self.row_id(*place)
            clear = crypto.open_cell(
                municipality_code,
                self.table,
                self.column,
                row_id,
                bytes(sealed),
                purpose=self.purpose,
            )
            fresh = crypto.seal_cell(
                municipality_code,
                self.table,
                self.column,
                row_id,
                clear,
                purpose=self.purpose,
                version=version,
            )
            with connection.cursor() as db:
                db.execute(
                    f"UPDATE {self.table} SET {self.column} = %s"  # noqa: S608
                    f" WHERE id = %s::{self.key_type}",
                    [fresh, key],
                )
        return Step(len(rows), rows[-1][0] if len(rows) == limit else None)

    def open_one(self, municipality_code: str) -> bool | None:
        with connection.cursor() as db:
            db.execute(
                f"SELECT {self.column}, {', '.join(self.place)} FROM {self.table}"  # noqa: S608
                f" WHERE municipality_code = %s AND {self.column} IS NOT NULL LIMIT 1",
                [municipality_code],
            )
            row = db.fetchone()
        if row is None:
            return None
        sealed, *place = row
        crypto.open_cell(
            municipality_code,
            self.table,
            self.column,
            self.row_id(*place),
            bytes(sealed),
            purpose=self.purpose,
        )
        return True

    def _rows(
        self, municipality_code: str, version: int, after: str, limit: int
    ) -> list[tuple[Any, ...]]:
        behind = f"id > %s::{self.key_type}" if after else "%s = ''"
        with connection.cursor() as db:
            db.execute(
                f"SELECT id::text AS place_in_order, {self.column}, {', '.join(self.place)}"  # noqa: S608
                f" FROM {self.table} WHERE municipality_code = %s AND {behind}"
                f" AND {self.column} IS NOT NULL"
                f" AND substring({self.column} FROM 2 FOR 4) <> %s::bytea"
                " ORDER BY id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED",
                [municipality_code, after, _packed(version), limit],
            )
            return list(db.fetchall())


def _packed(version: int | None) -> bytes | None:
    return None if version is None else version.to_bytes(4, "big")


@lru_cache(maxsize=1)
def all_sealed() -> tuple[SealedData, ...]:
    """Every kind of sealed data of the installed apps, in the apps' order."""
    found: list[SealedData] = []
    for app in apps.get_app_configs():
        if not app.name.startswith("bcl."):
            continue
        name = f"{app.name}.sealed_data"
        if name != __name__ and importlib.util.find_spec(name) is not None:
            found += importlib.import_module(name).SEALED
    return tuple(found)


def sealed_for(purpose: KeyPurpose) -> list[SealedData]:
    """The kinds that are sealed with keys of one purpose."""
    return [each for each in all_sealed() if each.purpose is purpose]
