"""Restoring for good: the second place into a new state directory, to the newest state or a moment.

Used when the database is lost (docs/guide/drill.md). Never over a living one: the target must not
exist. The roles get new passwords, because those of the lost installation may be lost with it. What
comes out is fenced; `bcl backup promote` lets it in. Needs no Django.
"""

from __future__ import annotations

import json
import os
import secrets
from datetime import datetime
from pathlib import Path

import psycopg

from bcl.backup.place import Place
from bcl.backup.take import verify_base
from bcl.backup.throw_away import Restored, ThrowAwayCluster
from bcl.backup.tools import Tools, own_user
from bcl.foundation import roles
from bcl_contract.refusals import Refusal


def restore(
    place: Place, tools: Tools, *, state_dir: Path, until: datetime | None = None
) -> Restored | Refusal:
    """Fill `<state_dir>/postgres` so that `bcl serve database` starts it. `until` by the server's
    clock. Raises `BackupFault` when the backup does not start; nothing is left then."""
    folder = state_dir / "postgres"
    if (folder / "data").exists():
        return Refusal("BACKUP_TARGET_EXISTS")
    base = place.newest(before=until)
    if base is None:
        return Refusal("BACKUP_NONE")
    if verify_base(place, base, Tools(tools.bin_dir, own_user())) is not None:
        return Refusal("DRILL_BACKUP_BROKEN")
    state_dir.mkdir(parents=True, exist_ok=True)
    state_dir.chmod(0o711)
    cluster = ThrowAwayCluster(folder, tools, to_keep=True)
    try:
        cluster.copy_log(place, base)
        cluster.copy_base(place, base)
        restored = cluster.start(until=until)
        passwords = {role: secrets.token_hex(24) for role in roles.ALL_ROLES}
        _set_passwords(cluster, passwords)
        cluster.stop()
    except BaseException:
        cluster.destroy()
        raise
    cluster.leave_running_order()
    _write_private(folder / "passwords.json", passwords)
    _write_private(folder / "cluster.json", {"roles_ready": True})
    return restored


def _set_passwords(cluster: ThrowAwayCluster, passwords: dict[str, str]) -> None:
    with psycopg.connect(cluster.url(roles.SUPERUSER), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("SET password_encryption = 'scram-sha-256'")
        for statement in roles.role_statements(passwords):
            connection.execute(statement)
        connection.execute(
            f"ALTER ROLE {roles.SUPERUSER} PASSWORD '{passwords[roles.SUPERUSER]}'"
        )


def _write_private(path: Path, content: dict[str, object] | dict[str, str]) -> None:
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(content, file, indent=1)

