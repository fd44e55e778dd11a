"""Running PostgreSQL's own programs for the backup: as whom, with which credentials.

Passwords travel in the environment of the child, never on a command line. Needs no Django.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bcl.foundation.postgres_binaries import OsUser


def own_user() -> OsUser:
    """This process's user: it may read the second place; a restored database's user may not."""
    entry = pwd.getpwuid(os.geteuid())
    return OsUser(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=False)


class BackupFault(Exception):
    """A program of PostgreSQL did not do its work: which one, and the last thing it said."""

    def __init__(self, program: str, said: str) -> None:
        super().__init__(f"{program} が失敗しました。\n{said.strip()[-1500:]}")
        self.program, self.said = program, said


@dataclass(frozen=True)
class Source:
    """The database that is backed up: a replication role's URL and its data directory, if it is
    on this machine (only its device is looked at)."""

    url: str = field(repr=False)
    data_dir: Path | None = None

    @property
    def conninfo(self) -> str:
        """How to connect, without the password."""
        return make_conninfo(self.url, password=None, application_name="bcl-backup")

    @property
    def environment(self) -> dict[str, str]:
        """The password for a child process."""
        password = conninfo_to_dict(self.url).get("password")
        return {"PGPASSWORD": str(password)} if password else {}


@dataclass(frozen=True)
class Tools:
    """PostgreSQL's programs in `bin_dir`, run as `user`."""

    bin_dir: Path
    user: OsUser

    def arguments(self, source: Source | None, variables: Mapping[str, str]) -> dict[str, Any]:
        """Arguments for `subprocess` that make a child this user's."""
        plain = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
        return {
            "stdin": subprocess.DEVNULL,
            "cwd": "/",
            "env": plain | (source.environment if source else {}) | dict(variables),
            "umask": 0o027,
            **self.user.run_arguments(),
        }

    def run(
        self,
        program: str,
        *words: str,
        source: Source | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Run one program to its end; gives what it printed. Raises `BackupFault`."""
        done = subprocess.run(
            [str(self.bin_dir / program), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            **self.arguments(source, variables),
        )
        if done.returncode:
            raise BackupFault(program, done.stdout)
        return done.stdout

    def start(self, program: str, *words: str, source: Source) -> subprocess.Popen[bytes]:
        """Start a program that goes on running; what it says goes where ours goes."""
        return subprocess.Popen(
            [str(self.bin_dir / program), *words], **self.arguments(source, {})
        )
