"""The gateway's memory: one SQLite file in WAL mode, every commit forced to the disk.

A state is committed before the act it announces, so after a kill at any moment the journal says
at most one step too much, and every step can be taken again. It holds folder names, counts,
digests and codes; never a value of the register.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from bcl_gateway.states import NUMBER_GIVEN_BACK, TRANSITIONS, ItemState

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS waiting (
  folder TEXT PRIMARY KEY, shape TEXT NOT NULL, since TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS item (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  folder TEXT NOT NULL,
  state TEXT NOT NULL,
  lane TEXT, mode TEXT, as_of TEXT, sender_system TEXT,
  files TEXT NOT NULL DEFAULT '[]',
  report TEXT,
  bundle_id TEXT UNIQUE, sequence INTEGER,
  spool_file TEXT, package_bytes INTEGER, package_sha256 TEXT,
  upload_url TEXT, offset INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0, retry_at TEXT,
  refusal_code TEXT, refusal_detail TEXT,
  receipt TEXT, receipt_signature TEXT,
  answer TEXT,
  settled INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL, changed_at TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS item_number ON item (lane, sequence)
  WHERE sequence IS NOT NULL AND state NOT IN ('REJECTED', 'RETURNED');
CREATE TABLE IF NOT EXISTS event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  item_id INTEGER NOT NULL REFERENCES item (id) ON DELETE CASCADE,
  at TEXT NOT NULL, state TEXT NOT NULL, note TEXT NOT NULL DEFAULT '') STRICT;
CREATE INDEX IF NOT EXISTS event_item ON event (item_id);
"""

_FACTS = frozenset(
    """lane mode as_of sender_system files report bundle_id sequence spool_file package_bytes
    package_sha256 upload_url offset failures retry_at refusal_code refusal_detail receipt
    receipt_signature answer settled""".split()
)


@dataclass(frozen=True)
class Item:
    """One collected folder as the journal knows it.

    `files` are the tables of READY and how many seal images came along; `settled` says that a
    rejection has been dealt with. The long texts (`Journal.report`, `Journal.answer`) are apart.
    """

    id: int
    folder: str
    state: ItemState
    lane: str | None
    mode: str | None
    as_of: str | None
    sender_system: str | None
    files: list[dict[str, Any]]
    bundle_id: str | None
    sequence: int | None
    spool_file: str | None
    package_bytes: int | None
    package_sha256: str | None
    upload_url: str | None
    offset: int
    failures: int
    retry_at: datetime | None
    refusal_code: str | None
    refusal_detail: dict[str, Any]
    receipt: dict[str, Any] | None
    receipt_signature: str | None
    settled: bool
    created_at: datetime
    changed_at: datetime

    @property
    def file_ids(self) -> frozenset[str]:
        return frozenset(entry["file_id"] for entry in self.files)

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(entry.get("rows", 0) for entry in self.files)


_COLUMNS = ", ".join(field.name for field in fields(Item))


class JournalFault(Exception):
    """The journal was asked for a step that does not exist, or is not of this gateway."""


class Journal:
    """Opens (and makes, 0600) the journal. Close it, or use it as a context manager."""

    def __init__(self, path: Path) -> None:
        # SQLite makes its files with the umask; made by us first, they are private from the start.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- what the journal belongs to

    def bind(self, key: str, value: str) -> str:
        """Remember `value` under `key` the first time; give what is remembered."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO NOTHING", (key, value)
            )
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0])

    def remember(self, key: str, value: str) -> None:
        """Keep `value` under `key`, in place of what was there."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE"
                " SET value = excluded.value",
                (key, value),
            )

    def recall(self, key: str) -> str | None:
        """What is kept under `key`, or None."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    # --- folders that are not finished yet

    def watch(self, folder: str, shape: str, at: datetime) -> datetime:
        """Note how an unfinished folder looks; give since when it has looked so."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO waiting VALUES (?, ?, ?) ON CONFLICT (folder) DO UPDATE SET"
                " shape = excluded.shape, since = excluded.since WHERE shape <> excluded.shape",
                (folder, shape, at.isoformat()),
            )
            row = self._db.execute(
                "SELECT since FROM waiting WHERE folder = ?", (folder,)
            ).fetchone()
        return datetime.fromisoformat(row[0])

    def watched(self) -> dict[str, datetime]:
        """Folders that wait in the drop, and since when they have not changed."""
        rows = self._db.execute("SELECT folder, since FROM waiting ORDER BY folder")
        return {row["folder"]: datetime.fromisoformat(row["since"]) for row in rows}

    def unwatch_all_but(self, folders: Iterable[str]) -> None:
        """Forget folders that are no longer in the drop."""
        kept = set(folders)
        with self._transaction():
            for folder in self.watched():
                if folder not in kept:
                    self._db.execute("DELETE FROM waiting WHERE folder = ?", (folder,))

    # --- items

    def add(self, folder: str, *, at: datetime) -> Item:
        """Note a finished folder that is about to be taken (state FOUND)."""
        with self._transaction():
            cursor = self._db.execute(
                "INSERT INTO item (folder, state, created_at, changed_at) VALUES (?, ?, ?, ?)",
                (folder, ItemState.FOUND.value, at.isoformat(), at.isoformat()),
            )
            item_id = int(cursor.lastrowid or 0)
            self._note(item_id, ItemState.FOUND, at)
            self._db.execute("DELETE FROM waiting WHERE folder = ?", (folder,))
        return self.item(item_id)

    def forget(self, item: Item) -> None:
        """Take back a FOUND item whose folder was never taken."""
        if item.state is not ItemState.FOUND:
            raise JournalFault("only a folder that was never taken can be forgotten")
        with self._transaction():
            self._db.execute("DELETE FROM item WHERE id = ?", (item.id,))

    def move(
        self, item: Item, state: ItemState, *, at: datetime, note: str = "", **facts: Any
    ) -> Item:
        """Commit a step, with what is known from now on. Raises JournalFault if there is none."""
        with self._transaction():
            current = ItemState(
                self._db.execute("SELECT state FROM item WHERE id = ?", (item.id,)).fetchone()[0]
            )
            if state not in TRANSITIONS[current]:
                raise JournalFault(f"no step from {current.value} to {state.value}")
            self._set(item.id, facts | {"changed_at": at.isoformat()}, state)
            self._note(item.id, state, at, note)
        return self.item(item.id)

    def learn(self, item: Item, *, at: datetime, note: str = "", **facts: Any) -> Item:
        """Commit facts without a step; with a note they stand in the item's history too."""
        with self._transaction():
            self._set(item.id, facts)
            if note:
                self._note(item.id, item.state, at, note)
        return self.item(item.id)

    def _set(self, item_id: int, facts: dict[str, Any], state: ItemState | None = None) -> None:
        unknown = set(facts) - _FACTS - {"changed_at"}
        if unknown:
            raise JournalFault(f"unknown facts: {sorted(unknown)}")
        values = {name: _stored(value) for name, value in facts.items()}
        if state is not None:
            values["state"] = state.value
        if values:
            columns = ", ".join(f"{name} = ?" for name in values)
            self._db.execute(
                f"UPDATE item SET {columns} WHERE id = ?",  # noqa: S608 - names are checked above
                (*values.values(), item_id),
            )

    def _note(self, item_id: int, state: ItemState, at: datetime, note: str = "") -> None:
        self._db.execute(
            "INSERT INTO event (item_id, at, state, note) VALUES (?, ?, ?, ?)",
            (item_id, at.isoformat(), state.value, note),
        )

    def item(self, item_id: int) -> Item:
        """Give one item; JournalFault when there is none."""
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM item WHERE id = ?",  # noqa: S608 - our own names
            (item_id,),
        ).fetchone()
        if row is None:
            raise JournalFault("no such item")
        return _item_of(row)

    def items(self, *states: ItemState, lane: str | None = None) -> list[Item]:
        """Items in any of the states (all without one), in the order of collection."""
        wanted = states or tuple(ItemState)
        marks = ", ".join("?" for _ in wanted)
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM item WHERE state IN ({marks}) ORDER BY id",  # noqa: S608
            [state.value for state in wanted],
        )
        return [item for item in map(_item_of, rows) if lane in (None, item.lane)]

    def report(self, item: Item) -> dict[str, Any] | None:
        """What the check of an item found (as `CheckReport.as_json` gives it)."""
        return self._text("report", item)

    def answer(self, item: Item) -> dict[str, Any] | None:
        """BCL's last word about an item: state, counts, findings without values."""
        return self._text("answer", item)

    def _text(self, name: str, item: Item) -> dict[str, Any] | None:
        row = self._db.execute(
            f"SELECT {name} FROM item WHERE id = ?",  # noqa: S608 - one of two names
            (item.id,),
        ).fetchone()
        return json.loads(row[0]) if row is not None and row[0] else None

    def counts(self) -> dict[ItemState, int]:
        """How many items stand where; states without items are left out."""
        rows = self._db.execute("SELECT state, count(*) FROM item GROUP BY state")
        return {ItemState(row[0]): row[1] for row in rows}

    def history(self, item: Item) -> list[tuple[datetime, ItemState, str]]:
        """Every step of an item: when, to which state, note."""
        rows = self._db.execute(
            "SELECT at, state, note FROM event WHERE item_id = ? ORDER BY id", (item.id,)
        )
        return [
            (datetime.fromisoformat(row["at"]), ItemState(row["state"]), row["note"])
            for row in rows
        ]

    # --- numbers of a lane

    def free_number(self, lane: str, *, first: int, behind_all: bool) -> int:
        """The number the next transmission of a lane gets: the lowest that is not in use.

        With `behind_all` the one behind every number in use: while a lane is stopped, numbers
        that were given back wait for the correction.
        """
        used = self._numbers(lane)
        if behind_all:
            return max(used, default=first - 1) + 1
        number = first
        while number in used:
            number += 1
        return number

    def _numbers(self, lane: str) -> set[int]:
        marks = ", ".join("?" for _ in NUMBER_GIVEN_BACK)
        rows = self._db.execute(
            f"SELECT sequence FROM item WHERE lane = ? AND sequence IS NOT NULL"  # noqa: S608
            f" AND state NOT IN ({marks})",
            (lane, *(state.value for state in NUMBER_GIVEN_BACK)),
        )
        return {row[0] for row in rows}


def _stored(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, datetime):
        return value.isoformat()
    return int(value) if isinstance(value, bool) else value


def _item_of(row: sqlite3.Row) -> Item:
    content: dict[str, Any] = dict(row)
    for name in ("files", "refusal_detail", "receipt"):
        content[name] = json.loads(content[name]) if content[name] else None
    content["refusal_detail"] = content["refusal_detail"] or {}
    for name in ("retry_at", "created_at", "changed_at"):
        content[name] = datetime.fromisoformat(content[name]) if content[name] else None
    content["state"] = ItemState(content["state"])
    content["settled"] = bool(content["settled"])
    return Item(**content)
