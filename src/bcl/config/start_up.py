"""What must hold before a process serves: a safe role, the right environment, a readable key."""

from __future__ import annotations

from django.db import connection

from bcl.foundation import environment_guard, keys, tenancy


def assert_ready_to_serve() -> None:
    """Raise `UnsafeDatabaseRole`, `WrongEnvironment` or `KeyFault` instead of serving."""
    tenancy.assert_safe_role()
    environment_guard.assert_environment_matches()
    keys.provider().key_id  # noqa: B018 - reading it opens the key file
    # Worker processes are forked from this one and must not share its connection.
    connection.close()
