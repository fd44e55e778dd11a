"""A restored database for one look: own folder, own port, no network, nothing it could wake.

Restored from the second place to the newest state or to a moment. It listens on a Unix socket only
(peer authentication: no password of the source is needed), takes only reading transactions, and
lies on a new timeline, on which web processes and workers refuse to serve (foundation.fencing).
Needs no Django.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from bcl.backup.place import Base, Place
from bcl.backup.tools import BackupFault, Tools
from bcl.foundation import roles
from bcl.foundation.postgres_binaries import check_reachable

_PORT = 5432  # names the socket only
_MAP = "bcl_drill"


@dataclass(frozen=True)
class Restored:
    """How far the restored database came."""

    timeline: int
    last_position: str | None
    last_commit_at: datetime | None


class ThrowAwayCluster:
    """One restored cluster below `folder`; `destroy` removes every trace.

    `to_keep`: it is to become a serving one, so what it writes is forced to the disk.
    """

    def __init__(self, folder: Path, tools: Tools, *, to_keep: bool = False) -> None:
        self.folder, self._tools, self._to_keep = folder, tools, to_keep
        self.data_dir, self._log_copy = folder / "data", folder / "wal"
        self._socket_dir = Path(tempfile.mkdtemp(prefix="bcldr-"))

    def url(self, role: str, *, database: str = roles.DATABASE) -> str:
        """Connection URL through the socket; without a password."""
        host = str(self._socket_dir).replace("/", "%2F")
        return f"postgresql://{role}@{host}:{_PORT}/{database}"

    # -- filling -----------------------------------------------------------------------------

    def copy_log(self, place: Place, base: Base) -> None:
        """Copy the log from the base backup on, as it lies there at this moment."""
        self._make_folder(self.folder)
        self._make_folder(self._log_copy)
        for path in place.segments(since=base.start_segment):
            # The newest segment is still being received: what is in it counts.
            self._copy_file(path, self._log_copy / path.name.removesuffix(".partial"))

    def copy_base(self, place: Place, base: Base) -> None:
        """Copy the base backup."""
        source = place.path_of(base)
        for folder, _, files in os.walk(source):
            target = self.data_dir / Path(folder).relative_to(source)
            self._make_folder(target)
            for name in files:
                self._copy_file(Path(folder) / name, target / name)

    def start(self, *, until: datetime | None = None) -> Restored:
        """Recover (to `until`, or to the end of the log) and wait until it answers.

        Raises `BackupFault` when it can't: the moment lies after the log's end, the log is broken
        before it, or the copy does not start.
        """
        user = self._tools.user
        check_reachable(self.folder, user)
        self._socket_dir.chmod(0o755)
        os.chown(self._socket_dir, user.uid, user.gid)
        self._write("bcl_drill.conf", self._configuration(until))
        self._write("pg_hba.conf", f"local all all peer map={_MAP}\n")
        self._write("pg_ident.conf", self._identities())
        # Settings made by ALTER SYSTEM at the source: archiving, standbys, anything.
        self._write("postgresql.auto.conf", "")
        self._write("recovery.signal", "")
        (self.data_dir / "standby.signal").unlink(missing_ok=True)
        log = self.folder / "server.log"  # by the database's user, which owns the folder now
        self._tools.run(
            "pg_ctl", "start", "-D", str(self.data_dir), "-W", "-s", "-l", str(log),
            "-o", f"-c config_file={self.data_dir / 'bcl_drill.conf'}",
        )
        return self._wait(log)

    def stop(self) -> None:
        """Stop it in good order."""
        if (self.data_dir / "postmaster.pid").exists():
            self._tools.run("pg_ctl", "stop", "-D", str(self.data_dir), "-m", "fast", "-s", "-w")

    def check_pages(self) -> None:
        """Check the checksum of every page of the stopped cluster. Raises `BackupFault`."""
        self._tools.run("pg_checksums", "--check", "-D", str(self.data_dir))

    def check_indexes(self) -> None:
        """Check tables and indexes by pg_amcheck. Raises `BackupFault`."""
        self._tools.run(
            "pg_amcheck", "--install-missing", "-h", str(self._socket_dir), "-p", str(_PORT),
            "-U", roles.SUPERUSER, roles.DATABASE,
            variables={"PGOPTIONS": "-c default_transaction_read_only=off"},
        )

    def leave_running_order(self) -> None:
        """Take away what only the restore needed; the stopped data directory stays."""
        for name in ("bcl_drill.conf", "server.log"):
            (self.data_dir / name).unlink(missing_ok=True)
        self._write("pg_ident.conf", "")
        (self.folder / "server.log").unlink(missing_ok=True)
        shutil.rmtree(self._log_copy, ignore_errors=True)
        shutil.rmtree(self._socket_dir, ignore_errors=True)
        os.chown(self.folder, os.geteuid(), os.getegid())
        self.folder.chmod(0o711)

    def destroy(self) -> None:
        """Stop it and remove every file."""
        try:
            if (self.data_dir / "postmaster.pid").exists():
                self._tools.run(
                    "pg_ctl", "stop", "-D", str(self.data_dir), "-m", "immediate", "-s", "-w"
                )
        finally:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- details -----------------------------------------------------------------------------

    def _configuration(self, until: datetime | None) -> str:
        lines = {
            "listen_addresses": "''",
            "port": str(_PORT),
            "unix_socket_directories": f"'{self._socket_dir}'",
            "hba_file": f"'{self.data_dir / 'pg_hba.conf'}'",
            "ident_file": f"'{self.data_dir / 'pg_ident.conf'}'",
            "hot_standby": "off",
            "archive_mode": "off",
            "max_wal_senders": "0",
            "autovacuum": "off",
            "fsync": "on" if self._to_keep else "off",
            "shared_buffers": "256MB",
            "max_wal_size": "4GB",
            "default_transaction_read_only": "on",
            "timezone": "'Asia/Tokyo'",
            "log_min_messages": "log",
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
            "log_parameter_max_length_on_error": "0",
            "restore_command": f"'cp \"{self._log_copy}/%f\" \"%p\"'",
            "recovery_target_action": "'promote'",
            "recovery_target_timeline": "'latest'",
        }
        if until is not None:
            lines["recovery_target_time"] = f"'{until.isoformat()}'"
        return "".join(f"{name} = {value}\n" for name, value in lines.items())

    def _identities(self) -> str:
        users = {self._tools.user.name, pwd.getpwuid(os.geteuid()).pw_name}
        every = (roles.SUPERUSER, roles.APP)
        return "".join(f"{_MAP} {user} {role}\n" for user in sorted(users) for role in every)

    def _wait(self, log: Path) -> Restored:
        pid_file = self.data_dir / "postmaster.pid"
        started = time.monotonic()
        while True:
            lines = pid_file.read_text().split("\n") if pid_file.exists() else []
            if len(lines) > 7 and lines[7].strip() == "ready":
                break
            gone = not pid_file.exists() and time.monotonic() - started > 2
            # The file may be there and still be empty.
            number = lines[0].strip() if lines else ""
            if gone or (number and not Path(f"/proc/{number}").exists()):
                said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
                raise BackupFault("postgres", said)
            time.sleep(0.05)
        with psycopg.connect(self.url(roles.APP), autocommit=True) as connection:
            row = connection.execute(
                "SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))"
                "::bit(32)::int, pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp()"
            ).fetchone()
        if row is None:
            raise BackupFault("postgres", "no answer")
        return Restored(int(row[0]), row[1], row[2])

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        os.chown(folder, self._tools.user.uid, self._tools.user.gid)

    def _copy_file(self, source: Path, target: Path) -> None:
        shutil.copyfile(source, target)
        target.chmod(0o600)
        os.chown(target, self._tools.user.uid, self._tools.user.gid)

    def _write(self, name: str, text: str) -> None:
        path = self.data_dir / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        os.chown(path, self._tools.user.uid, self._tools.user.gid)
