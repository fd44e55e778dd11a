"""The core system after a disaster: reads a recovery export and compares it with its own truth.

Reads the published interface (zip or folder of CSV files) with the standard library's csv
module and its own layout facts; it shares no code with the product's reader (R-031).
"""

from __future__ import annotations

import csv
import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from bcl_sim.core_system.export import csv_lines
from bcl_sim.core_system.tables import layouts

_DIGEST_BYTES = 16
_EXAMPLES = 20
Digests = np.ndarray
"""One row of two unsigned 64-bit numbers per record: a 128-bit digest."""


@dataclass
class FileComparison:
    """How one file of the export compares: counts, and positions of what differs."""

    file_id: str
    expected: int
    found: int
    missing: int = 0
    surplus: int = 0
    differing: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """(key, names of the columns that differ), at most 20."""

    @property
    def equal(self) -> bool:
        """Whether the file holds exactly the expected records."""
        return not self.missing and not self.surplus


@dataclass(frozen=True)
class RecoveryComparison:
    """How a recovery export compares with the core system's truth."""

    files: tuple[FileComparison, ...]
    images_missing: int

    @property
    def equal(self) -> bool:
        """Whether everything is back."""
        return not self.images_missing and all(file.equal for file in self.files)


def digest(rows: Iterable[bytes]) -> Digests:
    """Digests of canonical lines, sorted: equal multisets of lines give equal arrays."""
    raw = b"".join(hashlib.blake2b(row, digest_size=_DIGEST_BYTES).digest() for row in rows)
    table = np.frombuffer(raw, dtype=">u8").reshape(-1, 2)
    return table[np.lexsort((table[:, 1], table[:, 0]))]


class Source:
    """Members of a zip or files of a folder, by linkage file id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path) if path.is_file() else None
        except zipfile.BadZipFile as fault:
            raise ValueError("zip") from fault

    def names(self) -> list[str]:
        """All member names."""
        if self._zip is not None:
            return [name for name in self._zip.namelist() if not name.endswith("/")]
        return [p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file()]

    def tables(self) -> dict[str, str]:
        """Member name by file id."""
        found = {}
        for name in self.names():
            parts = name.rsplit("/", 1)[-1].split("_")
            if name.endswith(".csv") and len(parts) > 1 and parts[1] in layouts():
                found[parts[1]] = name
        return found

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A member as bytes."""
        stream: BinaryIO
        if self._zip is not None:
            with self._zip.open(name) as stream:  # type: ignore[assignment]
                yield stream
        else:
            with (self.path / name).open("rb") as stream:
                yield stream


def read_lines(stream: BinaryIO, file_id: str) -> Iterator[bytes]:
    """Canonical lines of the rows of a table, whatever quoting it came in.

    Raises ValueError when the header is not the published one or a row has a wrong count.
    """
    layout = layouts()[file_id]
    if tuple(next(csv.reader([next(iter(stream), b"").decode("utf-8")]), ())) != layout.titles:
        raise ValueError(f"{file_id}: header")
    width = len(layout.titles)
    for line in stream:
        # Right numbers of quotes and of quoted commas: the line can only be canonical already.
        if (
            line.count(b'"') == 2 * width
            and line.count(b'","') == width - 1
            and line.startswith(b'"')
            and line.endswith(b'"\r\n')
        ):
            yield line
        else:
            yield from _parsed(chain([line], stream), file_id, width)


def _parsed(lines: Iterable[bytes], file_id: str, width: int) -> Iterator[bytes]:
    """The slow way, for other legal ways of writing: parse, then write canonically."""
    reader = csv.reader((line.decode("utf-8") for line in lines), strict=True)
    try:
        for row in reader:
            if len(row) != width:
                raise ValueError(f"{file_id}: line {reader.line_num}")
            yield _canonical(row)
    except csv.Error as fault:
        raise ValueError(f"{file_id}: quoting") from fault


def _canonical(row: list[str]) -> bytes:
    return (",".join('"' + value.replace('"', '""') + '"' for value in row) + "\r\n").encode()


def truth_lines(frames: Iterable[pl.DataFrame]) -> Iterator[bytes]:
    """Canonical lines of the core system's own rows."""
    for frame in frames:
        yield from csv_lines(frame).splitlines(keepends=True)


def compare_file(
    file_id: str, expected: Iterable[pl.DataFrame], stream: BinaryIO | None
) -> FileComparison:
    """Compare one table with the truth by sorted digests."""
    ours = digest(truth_lines(expected))
    theirs = digest(read_lines(stream, file_id)) if stream is not None else digest(())
    result = FileComparison(file_id, len(ours), len(theirs))
    if ours.shape != theirs.shape or not np.array_equal(ours, theirs):
        mine = set(map(bytes, ours)) if len(ours) else set()
        other = set(map(bytes, theirs)) if len(theirs) else set()
        result.missing, result.surplus = len(mine - other), len(other - mine)
        if not result.missing and not result.surplus:
            # Same records, but some stand there twice.
            result.surplus = abs(len(theirs) - len(ours))
    return result


def name_differences(
    file_id: str, expected: Iterable[pl.DataFrame], stream: BinaryIO
) -> list[tuple[str, tuple[str, ...]]]:
    """Keys that differ with the columns that differ; an absent record names no column."""
    layout = layouts()[file_id]
    theirs: dict[str, dict[str, str]] = {}
    for line in read_lines(stream, file_id):
        values = next(csv.reader([line.decode("utf-8")]))
        row = dict(zip(layout.names, values, strict=True))
        theirs[layout.key_of(row)] = row
    found: list[tuple[str, tuple[str, ...]]] = []
    for frame in expected:
        for row in frame.iter_rows(named=True):
            other = theirs.pop(layout.key_of(row), None)
            columns = tuple(n for n in layout.names if other is not None and other[n] != row[n])
            if (other is None or columns) and len(found) < _EXAMPLES:
                found.append((layout.key_of(row), columns))
    return found + [(key, ()) for key in list(theirs)[: _EXAMPLES - len(found)]]


def missing_images(source: Source, expected: Iterable[pl.DataFrame]) -> int:
    """Seal images that are absent or differ from the digest of their S02 row."""
    names, missing = set(source.names()), 0
    for frame in expected:
        for member, wanted in frame.select("image_file_name", "image_sha256").iter_rows():
            if member not in names:
                missing += 1
                continue
            with source.open(member) as stream:
                missing += hashlib.sha256(stream.read()).hexdigest() != wanted
    return missing


__all__ = [
    "FileComparison",
    "RecoveryComparison",
    "Source",
    "compare_file",
    "digest",
    "missing_images",
    "name_differences",
    "read_lines",
]
