"""The embedded PostgreSQL server under our own supervision. Works without Django.

    cluster = EmbeddedCluster(Path("/var/lib/bcl/demo/postgres"))
    info = cluster.ensure_running()      # installs, initialises, starts: whatever is missing
    psycopg.connect(info.url(roles.APP))
    cluster.stop()

Promises: data checksums, builtin C.UTF-8 locale, SCRAM passwords for every role, an unprivileged
operating system user, a free port picked once and kept. `ensure_running` may be called by many
processes at once, and after kill -9 of everything; it waits for crash recovery without a limit,
because a limit would turn a long recovery into an outage.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg

from bcl.foundation import postgres_binaries as binaries
from bcl.foundation import roles
from bcl.foundation.postgres_binaries import PostgresError
from bcl.foundation.postgres_settings import Tuning, access_rules, server_configuration

__all__ = ["ClusterInfo", "ClusterStatus", "EmbeddedCluster", "PostgresError", "Tuning"]

ClusterStatus = Literal["absent", "stopped", "starting", "running"]

# The kernel's limit for a Unix socket path is 107 bytes; the file name takes 16 of them.
_LONGEST_SOCKET_DIR = 90
_ORPHAN_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class ClusterInfo:
    """How to reach a running cluster: Unix socket folder, loopback port, passwords by role."""

    port: int
    socket_dir: Path
    bin_dir: Path
    data_dir: Path
    passwords: dict[str, str]

    def __repr__(self) -> str:
        return f"ClusterInfo(port={self.port}, socket_dir={str(self.socket_dir)!r})"

    def url(self, role: str, *, database: str = roles.DATABASE, tcp: bool = False) -> str:
        """Connection URL for `role`: through the Unix socket, or loopback TCP with `tcp`."""
        password = self.passwords[role]
        if tcp:
            return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"
        host = str(self.socket_dir).replace("/", "%2F")
        return f"postgresql://{role}:{password}@{host}:{self.port}/{database}"

    @property
    def urls(self) -> dict[str, str]:
        """URLs of the roles that programs use: owner, app, agency, guard."""
        return {
            role.removeprefix("bcl_"): self.url(role)
            for role in (roles.OWNER, roles.APP, roles.AGENCY, roles.GUARD)
            # A cluster of an earlier version gets its new role when it is started next.
            if role in self.passwords
        }


class EmbeddedCluster:
    """One PostgreSQL cluster in one directory (`<state directory>/postgres`)."""

    def __init__(
        self, directory: Path, *, tuning: Tuning | None = None, bin_dir: Path | None = None
    ) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.tuning = tuning or Tuning()
        self._given_bin_dir = bin_dir
        self._state_file = directory / "cluster.json"
        self._password_file = directory / "passwords.json"

    # -- what callers use ---------------------------------------------------------------------

    def ensure_running(self) -> ClusterInfo:
        """Bring the cluster up from whatever state it is in and return how to reach it."""
        self._make_directories()
        with self._locked():
            user = binaries.database_os_user()
            binaries.check_reachable(self.directory, user)
            bin_dir = self._given_bin_dir or binaries.install_binaries(self.directory / "binaries")
            if not (self.data_dir / "PG_VERSION").exists():
                self._initialise(bin_dir, user)
            if self._postmaster() is None:
                self._clear_leftovers()
                self._start(bin_dir, user)
            has_new_role = self._give_new_roles_passwords()
            info = self._info(bin_dir)
            self._wait_until_ready(info)
            if has_new_role or not self._state().get("roles_ready"):
                self._prepare_roles(info)
            return info

    def connection_info(self) -> ClusterInfo | None:
        """How to reach the cluster as last started, without starting it; None before that."""
        if not self._state_file.exists() or not self._password_file.exists():
            return None
        state = self._state()
        return None if "port" not in state else self._info(Path(state["bin_dir"]))

    def status(self) -> ClusterStatus:
        """`running` means that the server accepts connections right now."""
        if not (self.data_dir / "PG_VERSION").exists():
            return "absent"
        if self._postmaster() is None:
            return "stopped"
        return "running" if self._says_ready() else "starting"

    def stop(self, *, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server and wait. `fast` ends sessions and writes a checkpoint."""
        if not self.directory.is_dir():  # erased by another command meanwhile
            return
        with self._locked():
            pid = self._postmaster()
            if pid is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT if mode == "fast" else signal.SIGQUIT)
            while self._postmaster() is not None:
                time.sleep(0.02)

    def kill(self) -> None:
        """kill -9 of the server and all its children: a power cut, for tests and drills."""
        for pid in self._server_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while self._server_processes():
            time.sleep(0.01)

    def destroy(self) -> None:
        """Stop the server and remove its directory with all data."""
        if (self.data_dir / "PG_VERSION").exists():
            self.stop(mode="immediate")
        if self._state_file.exists():
            shutil.rmtree(self._socket_dir(), ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- preparing ----------------------------------------------------------------------------

    def _make_directories(self) -> None:
        # Traversable, not readable: the database user must reach its own folders below. A state
        # directory made by somebody else keeps its mode and only becomes traversable.
        state_dir = self.directory.parent
        if not state_dir.exists():
            state_dir.mkdir(parents=True)
            state_dir.chmod(0o711)
        elif state_dir.stat().st_uid == os.geteuid():
            state_dir.chmod(stat.S_IMODE(state_dir.stat().st_mode) | 0o011)
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o711)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the cluster's lock file: one process at a time starts or stops it."""
        with (self.directory / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _initialise(self, bin_dir: Path, user: binaries.OsUser) -> None:
        # A folder without PG_VERSION is an initdb that was killed half way: nothing to keep.
        shutil.rmtree(self.data_dir, ignore_errors=True)
        self.data_dir.mkdir(mode=0o700)
        passwords = {role: secrets.token_hex(24) for role in roles.ALL_ROLES}
        self._write_private(self._password_file, passwords)
        password_pipe_in, password_pipe_out = os.pipe()
        with os.fdopen(password_pipe_out, "w") as pipe:
            pipe.write(passwords[roles.SUPERUSER] + "\n")
        if user.switch:
            os.chown(self.data_dir, user.uid, user.gid)
            # initdb opens its password by path, as the other user.
            os.fchown(password_pipe_in, user.uid, user.gid)
        command = [str(bin_dir / "initdb"), "-D", str(self.data_dir), "--data-checksums"]
        command += ["--username", roles.SUPERUSER, "--encoding", "UTF8", "--locale", "C.UTF-8"]
        command += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        command += ["--auth", "scram-sha-256", "--pwfile", f"/dev/fd/{password_pipe_in}"]
        try:
            self._run(command, user, pass_fds=(password_pipe_in,))
        finally:
            os.close(password_pipe_in)
        with (self.data_dir / "postgresql.conf").open("a") as handle:
            handle.write("include = 'bcl.conf'\n")
        self._write_state(self._state() | {"roles_ready": False})

    def _run(
        self, command: list[str], user: binaries.OsUser, *, pass_fds: tuple[int, ...] = ()
    ) -> None:
        # Output to a file, not to a pipe: a server started by pg_ctl would keep the pipe open.
        log = self.directory / "start.log"
        with log.open("ab") as output:
            finished = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
                cwd="/",
                env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
                pass_fds=pass_fds,
                **user.run_arguments(),  # type: ignore[call-overload]
            )
        log.chmod(0o600)
        if finished.returncode:
            raise PostgresError(
                f"{Path(command[0]).name} が終了コード {finished.returncode} で止まりました。"
                f"{log} の最後の行を見てください。"
            )

    def _start(self, bin_dir: Path, user: binaries.OsUser) -> None:
        socket_dir = self._socket_dir()
        socket_dir.mkdir(parents=True, exist_ok=True)
        if socket_dir.stat().st_uid not in (os.geteuid(), user.uid):
            raise PostgresError(f"フォルダー {socket_dir} がほかの利用者のものです。")
        port = self._pick_port()
        self._write_state(
            self._state() | {"port": port, "socket_dir": str(socket_dir), "bin_dir": str(bin_dir)}
        )
        self._write_as(
            user, "bcl.conf", server_configuration(self.tuning, port=port, socket_dir=socket_dir)
        )
        self._write_as(user, "pg_hba.conf", access_rules())
        socket_dir.chmod(0o711)
        if user.switch:
            os.chown(socket_dir, user.uid, user.gid)
        # -W: we wait ourselves, as long as crash recovery takes.
        self._run([str(bin_dir / "pg_ctl"), "start", "-D", str(self.data_dir), "-W", "-s"], user)

    def _give_new_roles_passwords(self) -> bool:
        """Make passwords for roles that came with a newer version; tells whether there were any."""
        passwords = json.loads(self._password_file.read_text())
        missing = [role for role in roles.ALL_ROLES if role not in passwords]
        if not missing:
            return False
        self._write_state(self._state() | {"roles_ready": False})
        made = {role: secrets.token_hex(24) for role in missing}
        self._write_private(self._password_file, passwords | made)
        return True

    def _prepare_roles(self, info: ClusterInfo) -> None:
        with psycopg.connect(
            info.url(roles.SUPERUSER, database="postgres"), autocommit=True
        ) as connection:
            for statement in roles.role_statements(info.passwords):
                connection.execute(statement)
            made = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [roles.DATABASE]
            ).fetchone()
            if not made:
                connection.execute(f"CREATE DATABASE {roles.DATABASE} OWNER {roles.OWNER}")
        with psycopg.connect(info.url(roles.SUPERUSER), autocommit=True) as connection:
            for statement in roles.database_statements():
                connection.execute(statement)
        self._write_state(self._state() | {"roles_ready": True})

    # -- watching -----------------------------------------------------------------------------

    def _postmaster(self) -> int | None:
        """Process id of the live server of this very data directory, or None.

        postmaster.pid alone proves nothing after kill -9: the number may belong to another
        program by now, so the process must also work in our data directory.
        """
        try:
            pid = int((self.data_dir / "postmaster.pid").read_text().split("\n")[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if self._works_here(pid) else None

    def _works_here(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == self.data_dir.resolve()
        except OSError:
            return False

    def _server_processes(self) -> list[int]:
        numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in numbers if self._works_here(pid)]

    def _clear_leftovers(self) -> None:
        """After kill -9 of the server alone its children may live on and block a new start.

        They leave by themselves within moments; one that is stuck is killed, which is safe:
        the server is gone and recovery from the log follows in any case.
        """
        deadline = time.monotonic() + _ORPHAN_PATIENCE_SECONDS
        while self._server_processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.kill()
        # The process number in a lock file may be a zombie's or another cluster's by now, and
        # PostgreSQL would believe it. Nobody works here any more, so the files are stale.
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
        for stale in self._socket_dir().glob(".s.PGSQL.*"):
            stale.unlink(missing_ok=True)

    def _says_ready(self) -> bool:
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"

    def _wait_until_ready(self, info: ClusterInfo) -> None:
        started = time.monotonic()
        while not self._says_ready():
            # pg_ctl returns before the server has written its process id: allow it a moment.
            if self._postmaster() is None and time.monotonic() - started > 5:
                raise PostgresError(
                    "データベースが起動の途中で止まりました。"
                    f"{info.data_dir / 'log'} と {self.directory / 'start.log'} を見てください。"
                )
            time.sleep(0.02)

    # -- small files --------------------------------------------------------------------------

    def _socket_dir(self) -> Path:
        beside = self.directory / "socket"
        if len(str(beside).encode()) <= _LONGEST_SOCKET_DIR:
            return beside
        short = hashlib.blake2b(str(self.directory.resolve()).encode(), digest_size=6).hexdigest()
        return Path("/tmp") / f"bclpg-{short}"  # noqa: S108 - only the socket, behind passwords

    def _pick_port(self) -> int:
        """The port of last time if it is free, else a new one."""
        wanted = self._state().get("port", 0)
        for port in (wanted, 0) if wanted else (0,):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return int(probe.getsockname()[1])
        raise PostgresError("空いているポートがありません。")

    def _info(self, bin_dir: Path) -> ClusterInfo:
        state = self._state()
        return ClusterInfo(
            port=state["port"],
            socket_dir=Path(state["socket_dir"]),
            bin_dir=bin_dir,
            data_dir=self.data_dir,
            passwords=json.loads(self._password_file.read_text()),
        )

    def _state(self) -> dict:
        try:
            return json.loads(self._state_file.read_text())
        except FileNotFoundError:
            return {}

    def _write_state(self, state: dict) -> None:
        self._write_private(self._state_file, state)

    def _write_private(self, path: Path, content: dict) -> None:
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def _write_as(self, user: binaries.OsUser, name: str, text: str) -> None:
        path = self.data_dir / name
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.chmod(0o600)
        if user.switch:
            os.chown(fresh, user.uid, user.gid)
        fresh.replace(path)
