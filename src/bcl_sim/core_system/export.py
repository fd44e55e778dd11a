"""Writes the linkage files of one export into the drop folder the gateway watches.

A folder becomes visible in one rename, with its READY marker inside: nobody ever sees half an
export. Files are in canonical form: UTF-8 without BOM, every field quoted, CRLF, Japanese titles
in the first line (linkage interface 1.0, part 3.1).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import polars as pl

from bcl_sim.core_system.seal_rows import images_of
from bcl_sim.core_system.store import (
    CoreStore,
    ExportRecord,
    Row,
    frame_of_rows,
    key_column,
)
from bcl_sim.core_system.tables import layouts

FULL, DIFFERENTIAL = "full", "differential"
MAIN, URGENT = "main", "urgent"
URGENT_FILES = ("J04", "J05", "J06", "S01")
Image = tuple[str, bytes]
"""(member name, PNG bytes)"""


@dataclass(frozen=True)
class WrittenFile:
    """One line of READY."""

    name: str
    file_id: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Delivery:
    """A folder being written: its name, what kind of export it is, and as of when."""

    name: str
    number: int
    mode: str
    lane: str
    as_of: str
    municipality_code: str


class _HashingFile:
    """Writes through to a file and counts what went by."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("wb")
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.rows = 0

    def write(self, data: bytes) -> None:
        self._stream.write(data)
        self._digest.update(data)
        self.bytes += len(data)

    def close(self) -> str:
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        return self._digest.hexdigest()


def header_line(file_id: str) -> bytes:
    """The first line of a file: Japanese titles, quoted."""
    return (",".join(f'"{title}"' for title in layouts()[file_id].titles) + "\r\n").encode()


def csv_lines(frame: pl.DataFrame) -> bytes:
    """Rows of a frame as canonical lines."""
    buffer = io.BytesIO()
    frame.write_csv(buffer, include_header=False, quote_style="always", line_terminator="\r\n")
    return buffer.getvalue()


def write_file(
    folder: Path, delivery: Delivery, file_id: str, frames: Iterable[pl.DataFrame]
) -> WrittenFile:
    """One linkage file; header only when there are no rows."""
    letter = "F" if delivery.mode == FULL else "D"
    name = f"{delivery.municipality_code}_{file_id}_{letter}.csv"
    target = _HashingFile(folder / name)
    target.write(header_line(file_id))
    rows = 0
    for frame in frames:
        target.write(csv_lines(frame))
        rows += len(frame)
    digest = target.close()
    return WrittenFile(name, file_id, rows, target.bytes, digest)


def write_image(folder: Path, image: Image) -> WrittenFile:
    """One seal image as `seal/….png`."""
    name, content = image
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return WrittenFile(name, "S02I", 0, len(content), hashlib.sha256(content).hexdigest())


def deliver(
    out: Path,
    delivery: Delivery,
    write: Callable[[Path], list[WrittenFile]],
) -> tuple[Path, list[WrittenFile]]:
    """Write a folder under a name ending in `.part`, READY last, then rename it.

    Raises FileExistsError when the drop folder already holds that name.
    """
    final = out / delivery.name
    part = out / f"{delivery.name}.part"
    if final.exists():
        raise FileExistsError(final)
    part.mkdir(parents=True)
    files = write(part)
    ready = {
        "municipality_code": delivery.municipality_code,
        "mode": delivery.mode,
        "lane": delivery.lane,
        "as_of": delivery.as_of,
        "sender_system": "bcl-sim-core/1.0",
        "files": [asdict(file) for file in files],
    }
    temporary = part / "READY.tmp"
    temporary.write_text(json.dumps(ready, ensure_ascii=False, indent=1), encoding="utf-8")
    temporary.rename(part / "READY")
    part.rename(final)
    return final, files


# --- which rows travel


@dataclass(frozen=True)
class ExportPlan:
    """Rows to write by file, and the changes an urgent export carries."""

    frames: Mapping[str, Callable[[], Iterator[pl.DataFrame]]]
    urgent_changes: tuple[int, ...] = ()


def write_files(
    folder: Path,
    delivery: Delivery,
    frames: Mapping[str, Callable[[], Iterator[pl.DataFrame]]],
    progress: Callable[[int], None],
) -> list[WrittenFile]:
    """All tables and the seal images of S02.

    A differential leaves files without rows out; the header-only J01 (or, urgent, the first
    file) stays as the sign of life.
    """
    written: list[WrittenFile] = []
    for file_id, read in frames.items():
        rows: Iterable[pl.DataFrame] = read()
        if file_id == "S02":
            rows = list(rows)
            written += [write_image(folder, image) for part in rows for image in images_of(part)]
        file = write_file(folder, delivery, file_id, rows)
        if delivery.mode == FULL or file.rows or file_id in {"J01"}:
            written.append(file)
        else:
            (folder / file.name).unlink()
        progress(1)
    if not written:
        written.append(write_file(folder, delivery, next(iter(frames)), ()))
    return written


def plan_full(store: CoreStore, files: Sequence[str]) -> ExportPlan:
    """All rows of the files as they are now."""
    return ExportPlan({file_id: partial(store.frames, file_id) for file_id in files})


def plan_differential(store: CoreStore, files: Sequence[str], *, after: int) -> ExportPlan:
    """Rows changed after the last export of the main lane; J01 closed over households."""
    return ExportPlan(
        {
            file_id: partial(differential_residents, store, after)
            if file_id == "J01"
            else partial(changed_frames, store, file_id, after)
            for file_id in files
        }
    )


def plan_urgent(
    store: CoreStore, files: Sequence[str], *, after: int, sent: set[int]
) -> ExportPlan:
    """Changed rows that restrict (decision D3) and have not gone out urgently before."""
    rows: dict[str, list[Row]] = {file_id: [] for file_id in URGENT_FILES if file_id in files}
    changes = []
    for change, file_id, _ in store.changes_of(rows, after=after):
        row = store.version_row(change)
        if change not in sent and restricts(file_id, row) and not store.is_deletion(change):
            rows[file_id].append(row)
            changes.append(change)
    frames = {
        file_id: partial(_one_frame, frame_of_rows(file_id, found))
        for file_id, found in rows.items()
    }
    return ExportPlan(frames, tuple(changes))


def _one_frame(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    yield frame


def restricts(file_id: str, row: Row) -> bool:
    """Whether a row can only stop certificates, never allow one."""
    if file_id == "J04":
        return row["latest"] == "1" and row["measure_kind"] != "3"
    if file_id == "J05":
        return row["link_status"] in {"2", "3"}
    if file_id == "S01":
        return row["seal_status"] in {"2", "3", "4", "5"}
    return file_id == "J06"


def changed_frames(store: CoreStore, file_id: str, after: int) -> Iterator[pl.DataFrame]:
    """Rows that changed after the last export of the main lane, once each, newest version.

    Deleted rows travel with deletion flag 1, but only if BCL can have seen them.
    """
    changed = store.overlay(file_id, after=after)
    for path in store.segments(file_id, after=after):
        fresh = pl.read_parquet(path)
        if changed:
            keys = pl.Series("k", list(changed), dtype=pl.String)
            fresh = fresh.filter(~key_column(file_id).is_in(keys.implode()))
        yield fresh
    rows: list[Row] = [row for row in changed.values() if row is not None]
    rows += [row | {"deleted": "1"} for row in store.deleted_rows(file_id, after=after)]
    if rows:
        yield frame_of_rows(file_id, rows)


def closing_rows(store: CoreStore, changed: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Unchanged current members of every household that a changed J01 row names, old or new."""
    if not changed:
        return
    together = pl.concat(changed)
    households = together["household_number"].unique(maintain_order=True).to_list()
    sent = together.select(key_column("J01").alias("key"))["key"]
    members = frame_of_rows("J01", store.rows_where("J01", "household_number", households))
    yield members.filter(
        (pl.col("latest") == "1")
        & (pl.col("resident_state") == "1")
        & ~key_column("J01").is_in(sent.implode())
    )


def differential_residents(store: CoreStore, after: int) -> Iterator[pl.DataFrame]:
    """Changed J01 rows and the rows that close their households."""
    changed = [frame for frame in changed_frames(store, "J01", after) if len(frame)]
    yield from changed
    yield from closing_rows(store, changed)


def last_main_change(records: list[ExportRecord]) -> int:
    """The change counter the last main-lane export reached; 0 before the first one."""
    return max((record.change for record in records if record.lane == MAIN), default=0)
