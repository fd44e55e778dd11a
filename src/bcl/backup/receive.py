"""Receiving the log without a break (pg_receivewal), and a base backup a day. Needs no Django.

The receiver pulls: the database's machine holds no credentials of the second place. A replication
slot keeps at the database what has not been received yet.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import psycopg

from bcl.backup.place import Place
from bcl.backup.take import prune, server_time, take_base
from bcl.backup.tools import BackupFault, Source, Tools

SLOT = "bcl_backup"
_EVERY = timedelta(hours=24)
_LOOK_SECONDS = 10.0


@dataclass(frozen=True)
class SlotState:
    """What the database says of the receiver: whether it is connected, how far it is behind."""

    exists: bool
    active: bool
    lost: bool
    behind_bytes: int


def slot_state(source: Source) -> SlotState:
    """Ask the database. Raises psycopg.OperationalError when it does not answer."""
    with psycopg.connect(source.url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT active, wal_status IS NOT DISTINCT FROM 'lost',"
            " COALESCE(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn), 0)::bigint"
            " FROM pg_replication_slots WHERE slot_name = %s",
            [SLOT],
        ).fetchone()
    if row is None:
        return SlotState(exists=False, active=False, lost=False, behind_bytes=0)
    return SlotState(True, bool(row[0]), bool(row[1]), int(row[2]))


class Receiver:
    """pg_receivewal as a child. It reconnects by itself when the database goes away."""

    def __init__(self, place: Place, source: Source, tools: Tools) -> None:
        self._place, self._source, self._tools = place, source, tools
        self._child: subprocess.Popen[bytes] | None = None

    def ensure_running(self) -> bool:
        """Start it if it isn't running; True when it had to be started."""
        if self._child is not None and self._child.poll() is None:
            return False
        self._place.make(uid=self._tools.user.uid, gid=self._tools.user.gid)
        words = ["-d", self._source.conninfo, "-D", str(self._place.wal_dir), "--slot", SLOT]
        words += ["--no-password"]
        if not slot_state(self._source).exists:
            self._tools.run("pg_receivewal", *words, "--create-slot", source=self._source)
        self._child = self._tools.start(
            "pg_receivewal", *words, "--synchronous", source=self._source
        )
        return True

    def stop(self) -> None:
        """End it in good order: it forces what it has to the disk."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
            self._child.wait()


def is_base_due(place: Place, source: Source) -> bool:
    """Whether the newest base backup is a day old (or there is none)."""
    newest = place.newest()
    return newest is None or server_time(source) - newest.finished_at >= _EVERY


def serve(
    place: Place,
    source: Source,
    tools: Tools,
    *,
    retention_days: int,
    say: Callable[[str], None],
    stop: threading.Event,
) -> None:
    """Receive until `stop` is set; a base backup a day; delete what is past its retention."""
    receiver = Receiver(place, source, tools)
    try:
        while True:
            try:
                if receiver.ensure_running():
                    say("ログ（WAL）の受信を始めました。")
                place.open_to_group()
                if is_base_due(place, source):
                    say(f"バックアップ {take_base(place, source, tools).backup_id} をとりました。")
                    for backup_id in prune(
                        place, retention_days=retention_days, now=server_time(source)
                    ):
                        say(f"保存期間の過ぎたバックアップ {backup_id} を削除しました。")
            except (psycopg.Error, BackupFault, OSError) as fault:
                # The alarm is `bcl backup status`; the receiver itself must go on trying.
                say(f"バックアップができません（{type(fault).__name__}）。10秒後にやり直します。")
            if stop.wait(_LOOK_SECONDS):
                return
    finally:
        receiver.stop()
