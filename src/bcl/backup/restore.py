"""Restoring for good: the second place into a new state directory, to the newest state or a moment.

Used when the database is lost (docs/guide/drill.md). Never over a living one: the target must not
exist. The roles get new passwords, because those of the lost installation may be lost with it. What
comes out is fenced; `bcl backup promote` lets it in. Needs no Django.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from bcl.backup.place import Base, Place, segment_number, segment_of
from bcl.backup.take import verify_base
from bcl.backup.throw_away import Restored, ThrowAwayCluster
from bcl.backup.tools import Tools, own_user
from bcl.foundation import roles
from bcl_contract.refusals import Refusal


@dataclass(frozen=True)
class Outcome:
    """What came out: how far it came, from which base backup, which newer ones were broken, and
    what is to be told about the log (it was torn, and what lies after the tear is not in it)."""

    restored: Restored
    backup_id: str
    broken: list[str]
    warning: Refusal | None


def restore(
    place: Place, tools: Tools, *, state_dir: Path, until: datetime | None = None
) -> Outcome | Refusal:
    """Fill `<state_dir>/postgres` so that `bcl serve database` starts it. `until` by the server's
    clock. A broken base backup is passed over for the one before it: with the log since then it
    leads to the same state. Raises `BackupFault` when it does not start; nothing is left then."""
    folder = state_dir / "postgres"
    if (folder / "data").exists():
        return Refusal("BACKUP_TARGET_EXISTS")
    if _is_served(folder / "data"):
        return Refusal("BACKUP_TARGET_SERVED")
    base, broken = _newest_whole(place, tools, until)
    if base is None:
        return Refusal("DRILL_BACKUP_BROKEN" if broken else "BACKUP_NONE")
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
    warning = None if until is not None else tear_in_log(place, base, restored)
    return Outcome(restored, base.backup_id, broken, warning)


def _newest_whole(
    place: Place, tools: Tools, until: datetime | None
) -> tuple[Base | None, list[str]]:
    """The newest base backup that is whole byte by byte, and the ids of newer, broken ones."""
    broken = place.spoilt_records()
    for base in reversed(place.bases()):
        if until is not None and base.finished_at > until:
            continue
        if verify_base(place, base, Tools(tools.bin_dir, own_user())) is None:
            return base, broken
        broken.append(base.backup_id)
    return None, broken


def tear_in_log(place: Place, base: Base, restored: Restored) -> Refusal | None:
    """Why a restore to the newest state did not come to the end of what lies there, if so."""
    missing = place.missing_segments(base.start_segment)
    if missing:
        return Refusal("BACKUP_WAL_GAP", {"segment": missing[0]})
    reached = segment_of(restored.last_position) if restored.last_position else None
    held = [segment_number(path.name) for path in place.segments(since=base.start_segment)]
    newest = max((number for number in held if number is not None), default=None)
    if newest is not None and (reached is None or reached < newest - 1):
        return Refusal("DRILL_WAL_BROKEN", {"segment": reached or 0})
    return None


def _is_served(data_dir: Path) -> bool:
    """Whether a server that was started for this path still runs, though its folder was moved
    away or deleted: it would write its control file into the restored one when it stops."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"postgres") and os.fsencode(data_dir) in words:
            return True
    return False


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
