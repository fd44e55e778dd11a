"""The outside place of the audit log's heads: what a database's superuser can't reach (D18).

    <BCL_AUDIT_HEADS_DIR>/<log>/2026-11.jsonl        one signed head a line, in order

Heads are only ever added. In production the directory lies on a volume of another owner or in
write-once storage; on Linux `chattr +a` on directory and files lets this program append and
nothing else (docs/guide/audit.md). Another place is another class with the two methods.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from bcl_contract.receipts import canonical_json

Head = dict[str, Any]
"""A signed head: content, key_id, public_key, signature."""


class OutsidePlace(Protocol):
    """Where heads are kept outside of the database."""

    def add(self, log: str, heads: Sequence[Head]) -> None:
        """Keep these heads for good, in order; raises OSError when that can't be promised."""
        ...

    def last(self, log: str) -> Head | None:
        """The head that was added last."""
        ...


class HeadDirectory:
    """A directory of append-only files, one a log and month."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, log: str, heads: Sequence[Head]) -> None:
        place = self.folder / log
        place.mkdir(parents=True, exist_ok=True)
        for head in heads:
            month = head["content"]["sealed_at"][:7]
            self._append(place / f"{month}.jsonl", canonical_json(head) + b"\n")

    def _append(self, file: Path, line: bytes) -> None:
        is_new = not file.exists()
        handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            size = os.fstat(handle).st_size
            # A line that a power cut tore stays as it is; the next one starts on its own.
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            written = b"\n" + line if torn else line
            if os.write(handle, written) != len(written):
                raise OSError("a head was not written whole")
            os.fsync(handle)
        finally:
            os.close(handle)
        if is_new:
            _sync_folder(file.parent)

    def last(self, log: str) -> Head | None:
        for file in sorted((self.folder / log).glob("*.jsonl"), reverse=True):
            heads = list(_heads_of(file))
            if heads:
                return heads[-1]
        return None

    def read(self, log: str) -> Iterator[Head]:
        """All heads of a log, in the order in which they were added."""
        for file in sorted((self.folder / log).glob("*.jsonl")):
            yield from _heads_of(file)


def read_heads(place: Path) -> list[Head]:
    """Heads of a file, or of all files of a directory, in order."""
    files = sorted(place.glob("*.jsonl")) if place.is_dir() else [place]
    return [head for file in files for head in _heads_of(file)]


def _heads_of(file: Path) -> Iterator[Head]:
    for line in file.read_bytes().splitlines():
        try:
            head = json.loads(line)
        except ValueError:
            continue  # torn: what was not written whole was written again
        if isinstance(head, dict) and isinstance(head.get("content"), dict):
            yield head


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
