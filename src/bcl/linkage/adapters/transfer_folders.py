"""The folders an external transfer tool fills and empties at BCL (R-014), one pair for each town.

    <root>/<municipality code>/in     what the town hall sent: packages and words
    <root>/<municipality code>/out    BCL's answers
    <root>/<municipality code>/refused   words that nobody registered has signed

The tool may bring any file at any time; only names of `bcl_contract.folder_transfer` are looked at.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bcl_contract import folder_transfer
from bcl_contract.folder_transfer import Word

_FOLDER_MODE = 0o770
_FILE_MODE = 0o640
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class TransferFolders:
    """The folders of one town below `root`."""

    root: Path
    municipality_code: str

    @property
    def incoming(self) -> Path:
        return self.root / self.municipality_code / "in"

    @property
    def outgoing(self) -> Path:
        return self.root / self.municipality_code / "out"

    @property
    def refused(self) -> Path:
        return self.root / self.municipality_code / "refused"

    def exist(self) -> bool:
        """Does this town use the external way at all?"""
        return self.incoming.is_dir()

    def make(self) -> None:
        """Make the folders that are missing, for this account and the tool's group."""
        for folder in (self.incoming, self.outgoing, self.refused):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(_FOLDER_MODE)

    def words(self) -> Iterator[Path]:
        """Files that have the name of a word of this town, the oldest first."""
        found = [
            path
            for path in self.incoming.iterdir()
            if _is_own(path, self.municipality_code, folder_transfer.WORD_ENDING)
        ]
        return iter(sorted(found, key=_changed_at))

    def read(self, path: Path, *, limit: int) -> bytes | None:
        """A small file, whole; None when it is gone, too large, or a link."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as source:
            data = source.read(limit + 1)
        return data if len(data) <= limit else None

    def package(self, word: Word) -> Path | None:
        """The package a word speaks of; None for a name that is not of this town and bundle."""
        parts = folder_transfer.split_name(word.file_name or "")
        if (
            parts is None
            or parts["town"] != self.municipality_code
            or parts["subject"] != word.bundle_id
            or parts["ending"] != folder_transfer.PACKAGE_ENDING
        ):
            return None
        return self.incoming / (word.file_name or "")

    def remove_bundle(self, bundle_id: str) -> None:
        """Remove everything that came about a bundle: BCL has it."""
        for path in self.incoming.glob(f"{self.municipality_code}_{bundle_id}_*"):
            path.unlink(missing_ok=True)

    def set_aside(self, path: Path) -> None:
        """Keep a file nobody may have signed where it can be looked at."""
        self.refused.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        path.replace(self.refused / path.name)

    def remove_older_than(self, seconds: float) -> int:
        """Remove left-over files of the agreement; the sender still has what they carry."""
        removed = 0
        for folder in (self.incoming, self.refused):
            for path in folder.iterdir() if folder.is_dir() else ():
                if folder_transfer.split_name(path.name) and age_seconds(path) > seconds:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def put_answer(self, subject: str, data: bytes) -> Path:
        """Give an answer to the tool, whole or not at all; the older ones it left are withdrawn."""
        name = folder_transfer.file_name(
            self.municipality_code,
            subject,
            folder_transfer.digest(data),
            folder_transfer.ANSWER_ENDING,
        )
        waiting = set(self.outgoing.glob(f"{self.municipality_code}_{subject}_*"))
        unfinished = self.outgoing / f".{name}.part"
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(
            unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _FILE_MODE
        )
        with os.fdopen(descriptor, "wb") as target:
            target.write(data)
            target.flush()
            os.fsync(target.fileno())
        unfinished.rename(self.outgoing / name)
        _sync(self.outgoing)
        for old in waiting - {self.outgoing / name}:
            old.unlink(missing_ok=True)
        return self.outgoing / name

    def free_bytes(self) -> int:
        """Bytes free on the folders' disk."""
        return shutil.disk_usage(self.root).free


def age_seconds(path: Path) -> float:
    """Since when a file has not changed; by the machine's own clock, which set its time."""
    changed = _changed_at(path)
    return time.time() - changed if changed else 0.0


def _changed_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _is_own(path: Path, municipality_code: str, ending: str) -> bool:
    parts = folder_transfer.split_name(path.name)
    return parts is not None and parts["town"] == municipality_code and parts["ending"] == ending


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
