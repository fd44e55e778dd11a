"""What the core system remembers: generated segments (parquet) and later row versions (SQLite).

A segment is a file full of rows whose keys stand in no other segment of that linkage file. Life
changes rows by adding versions; a version's number is the town's change counter, and an export
remembers the counter it reached. So the truth of any export can be told again later.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from bcl_sim.core_system.tables import layouts

Row = dict[str, str]
Overlay = dict[str, Row | None]
"""Record key → newest row, or None where the row was deleted."""

_TABLES = """
create table meta (name text primary key, value text not null);
create table segment (file_id text, number integer, since integer not null,
                      primary key (file_id, number));
create table version (change integer primary key autoincrement, file_id text not null,
                      key text not null, household text not null, deleted integer not null,
                      row text not null);
create index version_by_key on version (file_id, key);
create index version_by_household on version (household);
create table export (number integer primary key, mode text not null, lane text not null,
                     as_of text not null, change integer not null, name text not null,
                     files text not null);
create table urgent (export integer not null, change integer not null);
"""


@dataclass(frozen=True)
class ExportRecord:
    """One finished export: `change` is the change counter it covers (main lane only)."""

    number: int
    mode: str
    lane: str
    as_of: str
    change: int
    name: str
    files: tuple[str, ...]


class CoreStore:
    """State directory of one town. One process at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        path = directory / "core.sqlite"
        if not path.is_file():
            raise FileNotFoundError(directory)
        self._db = sqlite3.connect(path)
        self._open = True

    @classmethod
    def create(cls, directory: Path, meta: Mapping[str, str]) -> CoreStore:
        """A new, empty state directory. Raises FileExistsError when there is one already."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "core.sqlite"
        if path.exists():
            raise FileExistsError(directory)
        with sqlite3.connect(path) as db:
            db.executescript(_TABLES)
        db.close()
        store = cls(directory)
        for name, value in meta.items():
            store.set_meta(name, value)
        return store

    def close(self) -> None:
        """Commit and let the database file go; a second call does nothing."""
        if self._open:
            self._open = False
            self._db.commit()
            self._db.close()

    def commit(self) -> None:
        """Make everything since the last commit durable."""
        self._db.commit()

    def meta(self, name: str) -> str:
        """A remembered value. KeyError when it was never set."""
        found = self._db.execute("select value from meta where name = ?", (name,)).fetchone()
        if found is None:
            raise KeyError(name)
        return str(found[0])

    def set_meta(self, name: str, value: str) -> None:
        """Remember a value."""
        self._db.execute(
            "insert into meta values (?, ?)"
            " on conflict (name) do update set value = excluded.value",
            (name, value),
        )

    # --- segments

    def add_segment(self, file_id: str, frame: pl.DataFrame) -> None:
        """Keep generated rows; they count from the next export on."""
        if frame.is_empty():
            return
        number = self._db.execute(
            "select coalesce(max(number), -1) + 1 from segment where file_id = ?", (file_id,)
        ).fetchone()[0]
        path = self._segment_path(file_id, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path, compression="lz4", statistics=False)
        self._db.execute("insert into segment values (?, ?, ?)", (file_id, number, self.change + 1))
        # The segment takes a change number of its own, so an export can tell whether it saw it.
        self._db.execute(
            "insert into version (file_id, key, household, deleted, row) values ('', '', '', 0, '')"
        )

    def _segment_path(self, file_id: str, number: int) -> Path:
        return self.directory / "base" / file_id / f"{number:05d}.parquet"

    def segments(self, file_id: str, *, after: int = 0, until: int | None = None) -> list[Path]:
        """Paths of the segments with after < since <= until, in the order they were made."""
        rows = self._db.execute(
            "select number from segment where file_id = ? and since > ? and since <= ?"
            " order by number",
            (file_id, after, self.change if until is None else until),
        )
        return [self._segment_path(file_id, row[0]) for row in rows]

    # --- versions

    @property
    def change(self) -> int:
        """The change counter: number of the newest version or segment."""
        return int(self._db.execute("select coalesce(max(change), 0) from version").fetchone()[0])

    def put(self, file_id: str, row: Row, *, household: str = "", deleted: bool = False) -> None:
        """A new version of one row (`row` with every column of the layout)."""
        key = layouts()[file_id].key_of(row)
        filled = {name: value for name, value in row.items() if value}
        self._db.execute(
            "insert into version (file_id, key, household, deleted, row) values (?, ?, ?, ?, ?)",
            (file_id, key, household, int(deleted), json.dumps(filled, ensure_ascii=False)),
        )

    def overlay(
        self, file_id: str, *, after: int = 0, until: int | None = None, extra: Iterable[int] = ()
    ) -> Overlay:
        """Newest version per key with after < change <= until, and the `extra` changes."""
        newest = self._newest(file_id, after=after, until=until, extra=extra)
        return {
            key: None if text is None else self._unpack(file_id, text)
            for key, text in newest.items()
        }

    def _newest(
        self, file_id: str, *, after: int = 0, until: int | None = None, extra: Iterable[int] = ()
    ) -> dict[str, str | None]:
        """Like `overlay`, rows still packed as they are stored."""
        limit = self.change if until is None else until
        rows = self._db.execute(
            "select change, key, deleted, row from version"
            " where file_id = ? and change > ? and change <= ? order by change",
            (file_id, after, limit),
        ).fetchall()
        wanted = [number for number in extra if number > limit]
        for number in sorted(wanted):
            rows += self._db.execute(
                "select change, key, deleted, row from version where change = ? and file_id = ?",
                (number, file_id),
            ).fetchall()
        return {key: None if deleted else text for _, key, deleted, text in rows}

    def deleted_rows(self, file_id: str, *, after: int) -> list[Row]:
        """Rows that stood at a change and were deleted after it, as they last were."""
        rows = self._db.execute(
            "select key, deleted, row from version where file_id = ? and change > ?"
            " order by change",
            (file_id, after),
        )
        newest = {key: (deleted, text) for key, deleted, text in rows}
        gone = {key: text for key, (deleted, text) in newest.items() if deleted}
        stood = self._standing(file_id, gone, until=after)
        return [self._unpack(file_id, text) for key, text in gone.items() if key in stood]

    def _standing(self, file_id: str, keys: Iterable[str], *, until: int) -> set[str]:
        """Which of the keys named a row at a change."""
        wanted = set(keys)
        if not wanted:
            return set()
        listed = pl.Series("k", sorted(wanted), dtype=pl.String).implode()
        found: set[str] = set()
        for path in self.segments(file_id, until=until):
            keyed = pl.scan_parquet(path).select(key_column(file_id).alias("key"))
            found |= set(keyed.filter(pl.col("key").is_in(listed)).collect()["key"])
        for key, row in self.overlay(file_id, until=until).items():
            found -= {key}
            if row is not None:
                found.add(key)
        return found & wanted

    def changes_of(self, file_ids: Iterable[str], *, after: int) -> list[tuple[int, str, str]]:
        """(change, file id, key) of the newest versions after a change."""
        newest: dict[tuple[str, str], int] = {}
        for file_id in file_ids:
            for number, key in self._db.execute(
                "select change, key from version where file_id = ? and change > ? order by change",
                (file_id, after),
            ):
                newest[file_id, key] = number
        return sorted((number, *key) for key, number in newest.items())

    def version_row(self, change: int) -> Row:
        """The row of one version."""
        file_id, text = self._db.execute(
            "select file_id, row from version where change = ?", (change,)
        ).fetchone()
        return self._unpack(file_id, text)

    def is_deletion(self, change: int) -> bool:
        """Whether a version deletes its row."""
        found = self._db.execute("select deleted from version where change = ?", (change,))
        return bool(found.fetchone()[0])

    def _unpack(self, file_id: str, text: str) -> Row:
        filled = json.loads(text)
        return {name: filled.get(name, "") for name in layouts()[file_id].names}

    # --- reading rows

    def frames(
        self, file_id: str, *, until: int | None = None, extra: Iterable[int] = ()
    ) -> Iterator[pl.DataFrame]:
        """All rows as of a change, segment by segment; changed rows keep their place.

        Rows that stand in no segment come last.
        """
        overlay = self.overlay(file_id, until=until, extra=extra)
        waiting = dict(overlay)
        changed = pl.Series("k", list(overlay), dtype=pl.String)
        for path in self.segments(file_id, until=until):
            yield patched(file_id, pl.read_parquet(path), overlay, changed, waiting)
        rows = [row for row in waiting.values() if row is not None]
        if rows:
            yield frame_of_rows(file_id, rows)

    def columns(self, file_id: str, names: list[str]) -> pl.DataFrame:
        """Some columns of all rows as they are now, in no particular order."""
        overlay = self._newest(file_id)
        changed = pl.Series("k", list(overlay), dtype=pl.String).implode()
        needed = list(dict.fromkeys([*names, *layouts()[file_id].keys]))
        parts = [
            pl.read_parquet(path, columns=needed)
            .filter(~key_column(file_id).is_in(changed))
            .select(names)
            for path in self.segments(file_id)
        ]
        newest = [json.loads(text) for text in overlay.values() if text is not None]
        parts.append(
            pl.DataFrame(
                {name: [row.get(name, "") for row in newest] for name in names},
                schema=dict.fromkeys(names, pl.String),
            )
        )
        return pl.concat(parts)

    def rows_where(self, file_id: str, name: str, values: Iterable[str]) -> list[Row]:
        """Rows as they are now whose column `name` holds one of the values."""
        wanted = set(values)
        if not wanted:
            return []
        listed = pl.Series("v", sorted(wanted), dtype=pl.String).implode()
        overlay = self._newest(file_id)
        found: list[Row] = []
        for path in self.segments(file_id):
            frame = pl.scan_parquet(path).filter(pl.col(name).is_in(listed)).collect()
            keys = frame.select(key_column(file_id).alias("key"))["key"]
            found += [
                row
                for key, row in zip(keys, frame.iter_rows(named=True), strict=True)
                if key not in overlay
            ]
        for text in overlay.values():
            if text is not None and json.loads(text).get(name, "") in wanted:
                found.append(self._unpack(file_id, text))
        return found

    # --- exports

    def add_export(self, record: ExportRecord, urgent_changes: Iterable[int] = ()) -> None:
        """Remember a finished export."""
        self._db.execute(
            "insert into export values (?, ?, ?, ?, ?, ?, ?)",
            (record.number, record.mode, record.lane, record.as_of, record.change, record.name,
             ",".join(record.files)),
        )  # fmt: skip
        self._db.executemany(
            "insert into urgent values (?, ?)", [(record.number, c) for c in urgent_changes]
        )
        self._db.commit()

    def exports(self) -> list[ExportRecord]:
        """All exports in order."""
        rows = self._db.execute(
            "select number, mode, lane, as_of, change, name, files from export order by number"
        )
        return [
            ExportRecord(number, mode, lane, as_of, change, name, tuple(files.split(",")))
            for number, mode, lane, as_of, change, name, files in rows
        ]

    def urgent_changes(self, until_export: int) -> list[int]:
        """Changes that travelled in the urgent lane up to an export."""
        rows = self._db.execute("select change from urgent where export <= ?", (until_export,))
        return [row[0] for row in rows]


def key_column(file_id: str) -> pl.Expr:
    """Expression of the record key."""
    return pl.concat_str(list(layouts()[file_id].keys), separator="|")


def frame_of_rows(file_id: str, rows: list[Row]) -> pl.DataFrame:
    """A frame of plain rows, columns in layout order."""
    names = layouts()[file_id].names
    return pl.DataFrame(
        {name: [row[name] for row in rows] for name in names},
        schema=dict.fromkeys(names, pl.String),
    )


def patched(
    file_id: str, frame: pl.DataFrame, overlay: Overlay, changed: pl.Series, waiting: Overlay
) -> pl.DataFrame:
    """`frame` with its changed rows put in place; takes them out of `waiting`."""
    if not overlay or frame.is_empty():
        return frame
    keys = frame.select(key_column(file_id).alias("key"))["key"]
    touched = keys.is_in(changed.implode())
    if not touched.any():
        return frame
    order = np.arange(len(frame))
    rows: list[Row] = []
    for position in touched.arg_true():
        row = overlay[keys[position]]
        waiting.pop(keys[position], None)
        order[position] = -1 if row is None else len(frame) + len(rows)
        if row is not None:
            rows.append(row)
    both = pl.concat([frame, frame_of_rows(file_id, rows)]) if rows else frame
    return both[pl.Series(order[order >= 0].astype(np.uint32))]
