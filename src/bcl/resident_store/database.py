"""The raw psycopg connection of the open scope, for bulk work that an ORM can't do.

It is Django's own connection, so everything stands in the scope's transaction.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import psycopg
from django.db import connection

from bcl.foundation import tenancy

ADVISORY_LOCK_CLASS = 0x42434C31  # "BCL1": one load at a time per municipality


def town_scope(municipality_code: str) -> AbstractContextManager[object]:
    """The open scope of this town as it is, or a new one: reads need no savepoint of their own."""
    if tenancy.current() == municipality_code:
        return nullcontext()
    return tenancy.scope(municipality_code)


def cursor() -> psycopg.Cursor:
    """A cursor with server-side parameters inside the open scope. TenancyError without one."""
    tenancy.require()
    connection.ensure_connection()
    return psycopg.Cursor(connection.connection)


def streaming_cursor(name: str) -> psycopg.ServerCursor:
    """A cursor that brings a large answer in pieces; inside the open scope."""
    tenancy.require()
    connection.ensure_connection()
    return psycopg.ServerCursor(connection.connection, name)


def newest_load(municipality_code: str) -> int:
    """Number of the newest load that has landed; 0 before the first.

    Reads of several statements take it first and ask for the state after it: a load that lands
    between two statements would else end the old version of somebody whose new one was not there
    yet when the first looked, and that person would be nobody.
    """
    with town_scope(municipality_code), cursor() as db:
        db.execute(
            "SELECT max(load_number) FROM resident_store_load WHERE municipality_code = %s",
            [municipality_code],
        )
        return int(db.fetchone()[0] or 0)


def lock_town(municipality_code: str) -> None:
    """Wait until no other load of this municipality is under way, until this ends."""
    with cursor() as db:
        db.execute(
            "SELECT pg_advisory_xact_lock(%s, %s)",
            [ADVISORY_LOCK_CLASS, int(municipality_code)],
        )


def reserve_ids(sequence: str, count: int) -> list[int]:
    """Take fresh ids from a sequence (named by this package, never by input)."""
    with cursor() as db:
        db.execute(
            f"SELECT nextval('{sequence}') FROM generate_series(1, %s)",  # noqa: S608
            [count],
        )
        return [row[0] for row in db.fetchall()]
