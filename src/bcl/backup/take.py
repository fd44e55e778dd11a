"""Taking a base backup, finding it whole, and deleting old ones. Needs no Django."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from bcl.backup.place import FILE_MODE, FOLDER_MODE, Base, Place, segment_number
from bcl.backup.tools import BackupFault, Source, Tools

_START = re.compile(r"START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)")
_TIMELINE = re.compile(r"START TIMELINE: ([0-9]+)")
_IDENTIFIER = re.compile(r"Database system identifier:\s+([0-9]+)")


def server_time(source: Source) -> datetime:
    """The database server's clock: the one that moments of recovery are counted by."""
    with psycopg.connect(source.url, autocommit=True) as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
    if row is None:
        raise BackupFault("SELECT", "the server gave no time")
    moment: datetime = row[0]
    return moment


def take_base(place: Place, source: Source, tools: Tools) -> Base:
    """Take a base backup and check every file of it; it counts only when it is whole.

    The log written meanwhile lies in the copy itself, so it can be restored alone as well.
    Raises `BackupFault`; nothing under a backup's name is left then.
    """
    place.make(uid=tools.user.uid, gid=tools.user.gid)
    _remove_unfinished(place)
    started_at = server_time(source)
    backup_id = started_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    unfinished = place.base_dir / f"{backup_id}.unfinished"
    tools.run(
        "pg_basebackup", "-d", source.conninfo, "-D", str(unfinished), "--format=plain",
        "--wal-method=stream", "--checkpoint=fast", "--manifest-checksums=SHA256",
        "--no-password", source=source,
    )
    tools.run("pg_verifybackup", "--exit-on-error", "--quiet", str(unfinished))
    label = (unfinished / "backup_label").read_text(encoding="utf-8")
    start, timeline = _START.search(label), _TIMELINE.search(label)
    identifier = _IDENTIFIER.search(tools.run("pg_controldata", "-D", str(unfinished)))
    if not (start and timeline and identifier):
        raise BackupFault("pg_basebackup", "backup_label")
    size = _open_to_group(unfinished)
    manifest = (unfinished / "backup_manifest").read_bytes()
    base = Base(
        backup_id=backup_id,
        started_at=started_at,
        finished_at=server_time(source),
        start_segment=start[1],
        timeline=int(timeline[1]),
        system_identifier=identifier[1],
        bytes=size,
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
    )
    unfinished.rename(place.path_of(base))
    _write_record(place, base, tools)
    return base


def verify_base(place: Place, base: Base, tools: Tools) -> str | None:
    """Check every byte of a base backup against its manifest, and the manifest against its record.

    Gives what does not fit (the programs' words: file names, no content), or None.
    """
    path = place.path_of(base)
    try:
        manifest = (path / "backup_manifest").read_bytes()
    except OSError:
        return "backup_manifest"
    if hashlib.sha256(manifest).hexdigest() != base.manifest_sha256:
        return "backup_manifest"
    try:
        tools.run("pg_verifybackup", "--quiet", "--no-parse-wal", str(path))
    except BackupFault as fault:
        return fault.said.strip()[-800:]
    return None


def prune(place: Place, *, retention_days: int, now: datetime) -> list[str]:
    """Delete base backups past their retention, and the log that only they needed.

    The newest always stays: an old backup is better than none, and its age alarms by itself.
    Gives the ids of what was deleted.
    """
    bases = place.bases()
    limit = now - timedelta(days=retention_days)
    over = [base for base in bases[:-1] if base.finished_at < limit]
    spoilt = [each for each in place.spoilt_records() if _taken_at(each) < limit]
    for backup_id in [*(base.backup_id for base in over), *spoilt]:
        (place.base_dir / f"{backup_id}.json").unlink()
        shutil.rmtree(place.base_dir / backup_id)
    kept = [base for base in bases if base not in over]
    if kept:
        needed = min(segment_number(base.start_segment) or 0 for base in kept)
        for path in place.segments():
            number = segment_number(path.name)
            if number is not None and number < needed:
                path.unlink()
    return [*(base.backup_id for base in over), *spoilt]


def _taken_at(backup_id: str) -> datetime:
    """When a base backup began, by its name: its record says nothing that could be believed."""
    return datetime.strptime(backup_id, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _remove_unfinished(place: Place) -> None:
    for path in place.base_dir.glob("*.unfinished"):
        shutil.rmtree(path, ignore_errors=True)
    for path in place.base_dir.iterdir():  # renamed, but killed before its record was written
        if path.is_dir() and not (place.base_dir / f"{path.name}.json").exists():
            shutil.rmtree(path, ignore_errors=True)


def _open_to_group(top: Path) -> int:
    """Let the group read (not write) a copy; gives its bytes."""
    size = 0
    for folder, _, files in os.walk(top):
        Path(folder).chmod(FOLDER_MODE)
        for name in files:
            path = Path(folder) / name
            path.chmod(FILE_MODE)
            size += path.stat().st_size
    return size


def _write_record(place: Place, base: Base, tools: Tools) -> None:
    path = place.base_dir / f"{base.backup_id}.json"
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(base.as_json(), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.chown(fresh, tools.user.uid, tools.user.gid)
    fresh.chmod(FILE_MODE)
    fresh.replace(path)
