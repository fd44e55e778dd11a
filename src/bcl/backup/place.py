"""The second place: where base backups and the log (WAL) lie, and what is known of them.

    <place>/base/<id>/          a copy of the data directory with its backup_manifest
    <place>/base/<id>.json      written when pg_verifybackup has found the copy whole
    <place>/wal/                the log's segments as the server wrote them, `.partial` the newest

The place belongs to a user of its own (`bclbackup` under root). Others may at most read it by
group: a taken-over application can neither change nor delete what lies here (reliability §4, 18).
Needs neither Django nor a database.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bcl_contract.receipts import canonical_json

SEGMENT_BYTES = 16 * 1024 * 1024
_PER_LOG = 0x100000000 // SEGMENT_BYTES
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?\Z")
_BASE = re.compile(r"[0-9]{8}T[0-9]{6}Z\Z")
FOLDER_MODE, FILE_MODE = 0o750, 0o640


@dataclass(frozen=True)
class Base:
    """One base backup that was found whole when it was taken. Times with their zone."""

    backup_id: str
    started_at: datetime
    finished_at: datetime
    start_segment: str
    timeline: int
    system_identifier: str
    bytes: int
    manifest_sha256: str

    def as_json(self) -> dict[str, str | int]:
        """Its form in `<id>.json`."""
        facts = asdict(self) | {
            "started_at": self.started_at.isoformat(),
            "finished_at": self.finished_at.isoformat(),
        }
        return facts | {"sha256": _digest(facts)}

    @classmethod
    def from_json(cls, text: str) -> Base:
        """A base backup by its record. Raises ValueError when one bit of it is not as written."""
        try:
            facts = json.loads(text)
            if facts.pop("sha256") != _digest(facts):
                raise ValueError("the record was altered")
            moments = {
                name: datetime.fromisoformat(facts[name]) for name in ("started_at", "finished_at")
            }
            return cls(**facts | moments)
        except (KeyError, TypeError, AttributeError) as fault:
            raise ValueError("no record of a backup") from fault


def _digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(facts)).hexdigest()


def segment_number(name: str) -> int | None:
    """Number of a log segment by its file name, whatever its timeline; None for other files."""
    parts = _SEGMENT.match(name)
    return None if parts is None else int(parts[2], 16) * _PER_LOG + int(parts[3], 16)


def segment_of(position: str) -> int:
    """Number of the segment that holds a log position ("0/3000060")."""
    high, low = position.split("/")
    return ((int(high, 16) << 32) + int(low, 16)) // SEGMENT_BYTES


class Place:
    """The second place at one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base_dir, self.wal_dir = root / "base", root / "wal"

    def make(self, *, uid: int, gid: int) -> None:
        """Make the folders, for the backup's user alone to write."""
        for folder in (self.root, self.base_dir, self.wal_dir):
            folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
            if folder.stat().st_uid != uid:
                os.chown(folder, uid, gid)
            folder.chmod(FOLDER_MODE)

    def path_of(self, base: Base) -> Path:
        """The copy of the data directory."""
        return self.base_dir / base.backup_id

    def bases(self) -> list[Base]:
        """Whole base backups, oldest first. Raises OSError when the place can't be read."""
        found = [base for _, base in self._records() if base is not None]
        return sorted(found, key=lambda base: base.finished_at)

    def spoilt_records(self) -> list[str]:
        """Ids of base backups whose record can't be believed; `bases` leaves them out."""
        return [backup_id for backup_id, base in self._records() if base is None]

    def _records(self) -> Iterator[tuple[str, Base | None]]:
        for path in sorted(self.base_dir.glob("*.json")):
            if not _BASE.match(path.stem) or not (self.base_dir / path.stem).is_dir():
                continue
            try:
                base = Base.from_json(path.read_text(encoding="utf-8"))
            except ValueError:  # a spoilt encoding is one as well
                base = None
            yield path.stem, base if base and base.backup_id == path.stem else None

    def newest(self, *, before: datetime | None = None) -> Base | None:
        """The newest base backup (finished by `before`)."""
        fitting = [b for b in self.bases() if before is None or b.finished_at <= before]
        return fitting[-1] if fitting else None

    def segments(self, *, since: str = "") -> list[Path]:
        """Files of the log from the segment `since` on (history files too), in order.

        A `.partial` is left out when its whole segment is there as well.
        """
        first = segment_number(since) or 0
        names = {path.name for path in self.wal_dir.iterdir() if path.is_file()}
        chosen = []
        for name in sorted(names):
            number = segment_number(name)
            doubled = name.endswith(".partial") and name.removesuffix(".partial") in names
            if (number is not None and number >= first and not doubled) or name.endswith(
                ".history"
            ):
                chosen.append(self.wal_dir / name)
        return chosen

    def missing_segments(self, since: str) -> list[int]:
        """Numbers of segments that lie between `since` and the newest but are not there."""
        numbers = {segment_number(path.name) for path in self.segments(since=since)} - {None}
        present = sorted(number for number in numbers if number is not None)
        first = segment_number(since)
        if not present or first is None:
            return []
        return sorted(set(range(first, present[-1] + 1)) - set(present))

    def open_to_group(self) -> None:
        """Let the group read what came new, so that a drill needs no rights to write here."""
        for path in self.wal_dir.iterdir():
            if path.is_file() and path.stat().st_mode & 0o777 != FILE_MODE:
                path.chmod(FILE_MODE)
