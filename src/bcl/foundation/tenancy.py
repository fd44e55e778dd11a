"""One municipality at a time: the scope that every read and write of a town's data stands in.

    with tenancy.scope("999997"):
        ...                                  # one transaction; the database shows this town only

The database does the separating (row level security on a setting made with SET LOCAL); this
module only makes the setting. Without a scope every tenant table is empty, and a row of another
town can be neither written nor seen, whatever the code above does.

In tests that run inside a transaction of the test case, several scopes may follow one another:
leaving a scope clears the setting, although SET LOCAL alone would last until the outer end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection, transaction

_CODE = re.compile(r"[0-9]{6}\Z")
_current: ContextVar[str | None] = ContextVar("bcl_municipality", default=None)


class TenancyError(Exception):
    """A scope was opened wrongly: a fault of the program, never an answer to a user."""


class UnsafeDatabaseRole(Exception):
    """The database would not keep the municipalities apart: refuse to serve (R-173)."""

    def __init__(self, complaints: list[str]) -> None:
        self.complaints = complaints
        super().__init__(
            "データベースの設定では団体のデータを分けて守れないため、起動しません: "
            + "、".join(complaints)
        )


def current() -> str | None:
    """Municipality of the scope that is open here, or None."""
    return _current.get()


def require() -> str:
    """Municipality of the open scope; raises `TenancyError` when there is none."""
    code = _current.get()
    if code is None:
        raise TenancyError("no municipality scope is open")
    return code


@contextmanager
def scope(municipality_code: str, *, snapshot: bool = False) -> Iterator[str]:
    """Open a transaction in which exactly one municipality's rows exist.

    Nested scopes of the same town join the outer transaction (as a savepoint); another town
    raises `TenancyError`. `snapshot=True` gives REPEATABLE READ: everything read inside comes
    from one moment. It is for the outermost scope only, because PostgreSQL can't change a
    transaction that has begun to read.
    """
    code = str(municipality_code)
    if not _CODE.match(code):
        raise TenancyError("a municipality code has six digits")
    outer = _current.get()
    if outer is not None and outer != code:
        raise TenancyError("a scope of another municipality is open")
    inside_transaction = _in_real_transaction()
    if snapshot and inside_transaction:
        raise TenancyError("a snapshot must be the outermost scope, outside any transaction")
    began_here = not connection.in_atomic_block
    with transaction.atomic():
        token = _current.set(code)
        try:
            _enter(code, repeatable=snapshot and began_here)
            yield code
            if outer is None and not began_here:
                # A savepoint's SET LOCAL outlives the savepoint. (After an error the rollback
                # to the savepoint takes the setting back by itself.)
                _set_municipality("")
        finally:
            _current.reset(token)


def _enter(code: str, *, repeatable: bool) -> None:
    if repeatable:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    _set_municipality(code)


def _set_municipality(code: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('bcl.municipality', %s, true)", [code])


def _in_real_transaction() -> bool:
    """Whether a transaction is open, apart from the one a test case wraps around itself."""
    return any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def assert_safe_role() -> None:
    """Refuse to serve when the connected role could see across municipalities (R-173).

    Raises `UnsafeDatabaseRole` listing every complaint: superuser, BYPASSRLS, membership in such
    a role, ownership, tables or views that row level security doesn't bind.
    """
    from bcl.foundation import role_self_test

    complaints = role_self_test.find_complaints(connection)
    if complaints:
        raise UnsafeDatabaseRole(complaints)
