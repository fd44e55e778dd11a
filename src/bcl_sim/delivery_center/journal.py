"""The center's journal: every transaction and its state, in SQLite, kept across restarts.

It holds no name, no PDF and no certificate. While a transaction is open it holds digests, the offer
without names, and the key of the sealed certificate; all of that is erased when it ends.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from bcl_contract.clock import JST


class State(StrEnum):
    """Where a transaction stands at the center."""

    BEGUN = "BEGUN"
    CHECKING = "CHECKING"
    OFFERED = "OFFERED"
    ISSUING = "ISSUING"
    HELD = "HELD"
    PAID = "PAID"
    PRINTED = "PRINTED"
    PRINT_FAILED = "PRINT_FAILED"
    ABORTED = "ABORTED"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"


NEXT: Mapping[State, frozenset[State]] = {
    State.BEGUN: frozenset({State.CHECKING, State.ABORTED, State.EXPIRED}),
    State.CHECKING: frozenset({State.OFFERED, State.REFUSED, State.EXPIRED}),
    State.OFFERED: frozenset({State.ISSUING, State.ABORTED, State.EXPIRED}),
    State.ISSUING: frozenset({State.HELD, State.REFUSED, State.EXPIRED}),
    State.HELD: frozenset({State.PAID, State.ABORTED, State.EXPIRED}),
    State.PAID: frozenset({State.PRINTED, State.PRINT_FAILED, State.UNKNOWN}),
    # A kiosk that comes back may still say what happened to the paper.
    State.UNKNOWN: frozenset({State.PRINTED, State.PRINT_FAILED}),
}
ENDED = frozenset({State.PRINTED, State.PRINT_FAILED, State.ABORTED, State.REFUSED, State.EXPIRED})
_ERASED = {"challenge_nonce": None, "card_digest": None, "offer": None, "seal_key": None}
_COLUMNS = (
    "transaction_number TEXT NOT NULL UNIQUE, municipality_code TEXT NOT NULL,"
    " vendor TEXT NOT NULL, store TEXT NOT NULL, terminal TEXT NOT NULL,"
    " kiosk_digest BLOB NOT NULL, state TEXT NOT NULL, begun_at TEXT NOT NULL,"
    " changed_at TEXT NOT NULL, expires_at TEXT NOT NULL, challenge_nonce BLOB,"
    " card_digest BLOB, offer TEXT, seal_key BLOB, certificate_kind TEXT, copies INTEGER,"
    " fee_yen INTEGER, paid_yen INTEGER NOT NULL DEFAULT 0,"
    " refund_yen INTEGER NOT NULL DEFAULT 0, printed_copies INTEGER NOT NULL DEFAULT 0,"
    " pdf_sha256 TEXT, document_number TEXT, refusal_code TEXT,"
    " asked_to_issue INTEGER NOT NULL DEFAULT 0, confirmed_at TEXT"
)


class StateConflict(Exception):
    """The transaction is not in the state this step starts from."""


@dataclass(frozen=True)
class Entry:
    """One transaction. Times are ISO 8601 texts with offset; see `State` for `state`."""

    center_sequence: int
    transaction_number: str
    municipality_code: str
    vendor: str
    store: str
    terminal: str
    kiosk_digest: bytes
    state: State
    begun_at: datetime
    changed_at: datetime
    expires_at: datetime
    challenge_nonce: bytes | None
    card_digest: bytes | None
    offer: dict[str, Any] | None
    seal_key: bytes | None
    certificate_kind: str | None
    copies: int | None
    fee_yen: int | None
    paid_yen: int
    refund_yen: int
    printed_copies: int
    pdf_sha256: str | None
    document_number: str | None
    refusal_code: str | None
    asked_to_issue: bool
    confirmed_at: datetime | None

    def __repr__(self) -> str:
        return f"Entry({self.transaction_number}, {self.state})"


_NAMES = ", ".join(field.name for field in fields(Entry))
_TIMES = ("begun_at", "changed_at", "expires_at", "confirmed_at")


class Journal:
    """The journal file. Safe for several threads and processes at once."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._write() as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS transactions"
                f" (center_sequence INTEGER PRIMARY KEY AUTOINCREMENT, {_COLUMNS}) STRICT"
            )

    def add(self, values: Mapping[str, Any]) -> int | None:
        """Put a new transaction on record; its sequence number, or None if its number is taken."""
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        try:
            with self._write() as database:
                done = database.execute(
                    f"INSERT INTO transactions ({names}) VALUES ({marks})",  # noqa: S608
                    [_stored(value) for value in values.values()],
                )
                return done.lastrowid
        except sqlite3.IntegrityError:
            return None

    def find(self, transaction_number: str) -> Entry | None:
        """Read one transaction."""
        rows = self._select("WHERE transaction_number = ?", transaction_number)
        return rows[0] if rows else None

    def move(
        self, transaction_number: str, start: State, end: State, *, at: datetime, **values: Any
    ) -> Entry:
        """Take a transaction from one state to the next, with what is known now.

        Exactly one of several callers succeeds; the others get `StateConflict`. What an ended
        transaction no longer needs is erased in the same step.
        """
        if end not in NEXT.get(start, frozenset()):
            raise ValueError(f"no way from {start} to {end}")
        values |= {"state": end, "changed_at": at} | (_ERASED if end in ENDED else {})
        changed = self._update(values, "transaction_number = ? AND state = ?",
                               transaction_number, start)  # fmt: skip
        entry = self.find(transaction_number)
        if changed != 1 or entry is None:
            raise StateConflict(transaction_number)
        return entry

    def mark_confirmed(self, transaction_number: str, at: datetime) -> None:
        """Note that BCL has acknowledged the result."""
        self._update({"confirmed_at": at}, "transaction_number = ?", transaction_number)

    def note(self, transaction_number: str, **values: Any) -> None:
        """Add facts to a transaction without moving it."""
        self._update(values, "transaction_number = ?", transaction_number)

    def list_unconfirmed(self, limit: int = 100) -> list[Entry]:
        """List ended transactions BCL was asked to issue for and has not acknowledged."""
        words = ", ".join(f"'{state}'" for state in sorted(ENDED))
        return self._select(
            f"WHERE confirmed_at IS NULL AND asked_to_issue = 1 AND state IN ({words})"
            " ORDER BY center_sequence LIMIT ?",
            limit,
        )

    def list_overdue(self, at: datetime, limit: int = 100) -> list[Entry]:
        """List open transactions past their time."""
        words = ", ".join(f"'{state}'" for state in sorted({*NEXT} - {State.UNKNOWN}))
        return self._select(
            f"WHERE state IN ({words}) AND expires_at <= ? ORDER BY center_sequence LIMIT ?",
            _stored(at),
            limit,
        )

    def list_day(self, municipality_code: str, day: date) -> list[Entry]:
        """List one town's transactions begun on a day (JST) that BCL was asked to issue for."""
        start = datetime(day.year, day.month, day.day, tzinfo=JST)
        return self._select(
            "WHERE municipality_code = ? AND asked_to_issue = 1 AND begun_at >= ?"
            " AND begun_at < ? ORDER BY center_sequence",
            municipality_code,
            _stored(start),
            _stored(start + timedelta(days=1)),
        )

    def counts(self) -> dict[str, int]:
        """Count transactions by state, for the world page."""
        with self._read() as database:
            rows = database.execute("SELECT state, count(*) FROM transactions GROUP BY state")
            found = dict(rows.fetchall())
        return {state.value: found.get(state.value, 0) for state in State}

    def money(self) -> dict[str, int]:
        """Sum what was paid, what of it bought paper, what was given back, what is undecided."""
        with self._read() as database:
            row = database.execute(
                "SELECT coalesce(sum(paid_yen), 0),"
                " coalesce(sum(CASE state WHEN 'PRINTED' THEN paid_yen ELSE 0 END), 0),"
                " coalesce(sum(refund_yen), 0),"
                " coalesce(sum(CASE WHEN state IN ('PAID', 'UNKNOWN') THEN paid_yen ELSE 0 END), 0)"
                " FROM transactions"
            ).fetchone()
        return dict(zip(("paid_yen", "printed_yen", "refund_yen", "open_yen"), row, strict=True))

    def _update(self, values: Mapping[str, Any], condition: str, *arguments: Any) -> int:
        sets = ", ".join(f"{name} = ?" for name in values)
        with self._write() as database:
            done = database.execute(
                f"UPDATE transactions SET {sets} WHERE {condition}",  # noqa: S608
                [*map(_stored, values.values()), *map(_stored, arguments)],
            )
            return done.rowcount

    def _select(self, condition: str, *arguments: Any) -> list[Entry]:
        with self._read() as database:
            rows = database.execute(
                f"SELECT {_NAMES} FROM transactions {condition}",  # noqa: S608
                arguments,
            )
            return [_entry(row) for row in rows.fetchall()]

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._path, timeout=10)
        try:
            yield database
        finally:
            database.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        try:
            # No write-ahead log, and erased pages are overwritten: an erased key is gone.
            database.execute("PRAGMA journal_mode = TRUNCATE")
            database.execute("PRAGMA secure_delete = ON")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        finally:
            database.close()


def _stored(value: Any) -> Any:
    if isinstance(value, datetime):
        # One zone and one width, so that texts sort as times.
        return value.astimezone(JST).isoformat(timespec="microseconds")
    if isinstance(value, dict):
        return json.dumps(value)
    return int(value) if isinstance(value, bool) else value


def _entry(row: tuple[Any, ...]) -> Entry:
    values = dict(zip((field.name for field in fields(Entry)), row, strict=True))
    for name in _TIMES:
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    values["state"] = State(values["state"])
    values["offer"] = json.loads(values["offer"]) if values["offer"] else None
    values["asked_to_issue"] = bool(values["asked_to_issue"])
    return Entry(**values)
