"""Folders and files that only the gateway's own account may read (0700, 0600)."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

KEY_BYTES = 32


def make_private_folder(folder: Path) -> Path:
    """Make the folder and set its mode to 0700, whatever it was."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder


def is_private(path: Path) -> bool:
    """Does nobody but the owner have any right on this file or folder?"""
    return not stat.S_IMODE(path.stat().st_mode) & 0o077


def write_private(path: Path, content: bytes) -> None:
    """Write a 0600 file, all of it or nothing, forced to the disk."""
    temporary = path.with_name(path.name + ".part")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to the disk (after a rename or an unlink)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_or_make_key(path: Path) -> bytes:
    """Read a 32-byte key; make one, 0600, where there is none yet.

    Raises PermissionError if others may read it, ValueError if its length is wrong.
    """
    if not path.exists():
        if not path.parent.exists():
            make_private_folder(path.parent)
        write_private(path, secrets.token_bytes(KEY_BYTES))
    if not is_private(path):
        raise PermissionError("the key file can be read by other accounts")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ValueError("the key file has not 32 bytes")
    return key
