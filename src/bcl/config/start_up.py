"""What must hold before a process serves: a safe role, the right environment, a readable key."""

from __future__ import annotations

from django.db import connection
from django.urls import get_resolver

from bcl.foundation import environment_guard, fencing, keys, tenancy


def assert_ready_to_serve() -> None:
    """Raise `UnsafeDatabaseRole`, `WrongEnvironment`, `DatabaseFenced` or `KeyFault` instead of
    serving."""
    tenancy.assert_safe_role()
    environment_guard.assert_environment_matches()
    fencing.assert_not_fenced()
    fencing.watch_new_connections()
    keys.provider().check()
    # A door that can't be loaded stops the start, not the first request.
    get_resolver().url_patterns  # noqa: B018 - reading it imports every door
    # Worker processes are forked from this one and must not share its connection.
    connection.close()
