"""Comparing the core system's files with the store, record by record, without showing a value.

Owns: the digest tree (file → 256 buckets by record key → record) and the naming of what differs.
Promises: equal root digests mean equal records; a difference is named by record key, line of the
core's file and titles of the differing columns, never by a value (R-024).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO

import numpy as np

from bcl.foundation import audit, tenancy
from bcl.resident_store import page_reader, queries, town_keys
from bcl.resident_store.blind_keys import BlindKeys, whole
from bcl.resident_store.changed_lines import ChangedLines
from bcl.resident_store.current_state import CurrentState, read_current_state
from bcl.resident_store.holds import record_uuid
from bcl_contract.linkage.layouts import Layout
from bcl_contract.linkage.table import Chunk, iter_chunks

CHANGED, ONLY_IN_CORE, ONLY_IN_STORE, REPEATED = (
    "CHANGED", "ONLY_IN_CORE", "ONLY_IN_STORE", "REPEATED",
)
_DIFFERENCES_KEPT = 1000
_CHUNK_BYTES = 4 << 20
_BUCKETS = 256


@dataclass(frozen=True)
class RecordDifference:
    """One record that differs. `line` is its line in the core's file (None: not in it);
    `columns` are the Japanese titles of the columns whose values differ."""

    kind: str
    record_key: str
    line: int | None = None
    columns: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The machine form."""
        return {
            "kind": self.kind, "record_key": self.record_key, "line": self.line,
            "columns": list(self.columns),
        }


@dataclass
class FileDifferences:
    """The comparison of one file. `differences` holds the first 1,000; `total` counts all."""

    file_id: str
    title_ja: str
    core_rows: int = 0
    store_rows: int = 0
    core_digest: str = ""
    store_digest: str = ""
    buckets: list[int] = field(default_factory=list)
    differences: list[RecordDifference] = field(default_factory=list)
    total: int = 0

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same records."""
        return self.total == 0 and self.core_digest == self.store_digest

    def add(self, difference: RecordDifference) -> None:
        """Count a difference and keep it if there is room."""
        self.total += 1
        if len(self.differences) < _DIFFERENCES_KEPT:
            self.differences.append(difference)

    def as_json(self) -> dict[str, Any]:
        """The machine form."""
        return {
            "file_id": self.file_id, "title": self.title_ja, "equal": self.equal,
            "core_rows": self.core_rows, "store_rows": self.store_rows,
            "core_digest": self.core_digest, "store_digest": self.store_digest,
            "differing_buckets": self.buckets, "differences_total": self.total,
            "differences": [each.as_json() for each in self.differences],
        }


@dataclass(frozen=True)
class Differences:
    """The comparison of one municipality with its core system."""

    municipality_code: str
    load_number: int
    files: tuple[FileDifferences, ...]

    @property
    def equal(self) -> bool:
        """Whether every compared file is equal."""
        return all(each.equal for each in self.files)

    def as_json(self) -> dict[str, Any]:
        """The machine form."""
        return {
            "municipality_code": self.municipality_code, "load_number": self.load_number,
            "equal": self.equal, "files": [each.as_json() for each in self.files],
        }


def reconcile(
    municipality_code: str, open_files: Iterable[tuple[str, Layout, BinaryIO]], *,
    by: audit.Actor = audit.SYSTEM, at: datetime,
) -> Differences:
    """Compare full files of the core system with the newest state of the store.

    A row with deleted=1 counts as absent. Raises `TableFault` when a file can't be read.
    """
    with tenancy.scope(municipality_code):
        position = queries.applied_position(municipality_code)
        keys = town_keys.blind_keys(municipality_code)
        files = tuple(
            _FileComparison(municipality_code, layout, keys).run(source)
            for _, layout, source in open_files
        )
        audit.record(
            act="reconcile_store", by=by, at=at,
            detail={
                "load_number": position.load_number,
                "differences": sum(each.total for each in files),
            },
        )
    return Differences(municipality_code, position.load_number, files)


class _FileComparison:
    def __init__(self, municipality_code: str, layout: Layout, keys: BlindKeys) -> None:
        self._town, self._layout, self._keys = municipality_code, layout, keys
        self._state: CurrentState = read_current_state(municipality_code, layout.file_id)
        self._found = FileDifferences(layout.file_id, layout.title_ja)
        self._extra: list[tuple[np.ndarray, np.ndarray]] = []

    def run(self, source: BinaryIO) -> FileDifferences:
        """Compare one file; reads it to its end."""
        lines = ChangedLines(source, self._state, self._keys)
        for chunk in iter_chunks(lines, self._layout, chunk_bytes=_CHUNK_BYTES):  # type: ignore[arg-type]
            self._compare(chunk, lines.take(chunk.rows))
        for repeated in lines.findings:
            self._found.add(RecordDifference(REPEATED, "", repeated.line))
        slots = self._state.slots
        for place in np.flatnonzero(~(self._state.seen | self._state.touched)).tolist():
            self._found.add(RecordDifference(ONLY_IN_STORE, str(record_uuid(slots.records[place]))))
        self._found.store_rows = len(self._state)
        self._found.core_rows += lines.unchanged + len(lines.findings)
        self._digest()
        return self._found

    def _compare(self, chunk: Chunk, numbers: np.ndarray) -> None:
        """Compare rows that no stored record equals byte for byte as they stand in the file."""
        lines = bytes(chunk.canonical).split(b"\r\n")[: chunk.rows]
        digests, records = self._keys.content_digests(lines), self._keys.record_keys(chunk)
        present = np.ones(chunk.rows, dtype=bool)
        if self._layout.has("deleted"):
            present = chunk.fixed("deleted", 1) != b"1"
        same = self._state.by_digest.find(digests)  # written otherwise (LF, unquoted), yet equal
        places = self._state.by_record.find(records)
        self._extra.append((records[present], digests[present]))
        self._found.core_rows += int(present.sum())
        for row in np.flatnonzero(present).tolist():
            line, key = int(numbers[row]), str(record_uuid(records[row]))
            place = int(same[row] if same[row] >= 0 else places[row])
            if place < 0:
                self._found.add(RecordDifference(ONLY_IN_CORE, key, line))
                continue
            repeated = bool(self._state.seen[place] or self._state.touched[place])
            self._state.touched[place] = True
            if same[row] < 0:
                columns = self._differing_columns(place, chunk, row)
                self._found.add(RecordDifference(CHANGED, key, line, columns))
            elif repeated:
                self._found.add(RecordDifference(REPEATED, key, line))

    def _differing_columns(self, place: int, chunk: Chunk, row: int) -> tuple[str, ...]:
        record_id = int(self._state.ids[place])
        stored = page_reader.read_values(self._town, [record_id])[record_id]
        return tuple(
            column.title_ja
            for column in self._layout.columns
            if (chunk.value(row, column.name) or None) != stored.get(column.name)
        )

    def _digest(self) -> None:
        """Both sides' trees: a digest per bucket, and one over the buckets."""
        slots, seen = self._state.slots, self._state.seen
        records = [slots.records[seen], *(records for records, _ in self._extra)]
        digests = [slots.digests[seen], *(digests for _, digests in self._extra)]
        core = bucket_digests(np.concatenate(records), np.concatenate(digests))
        store = bucket_digests(slots.records, slots.digests)
        self._found.buckets = [n for n in range(_BUCKETS) if core[n] != store[n]]
        self._found.core_digest = hashlib.blake2b(b"".join(core), digest_size=16).hexdigest()
        self._found.store_digest = hashlib.blake2b(b"".join(store), digest_size=16).hexdigest()


def bucket_digests(records: np.ndarray, digests: np.ndarray) -> list[bytes]:
    """BLAKE2b-128 of each bucket's (record key, content digest) pairs in order of the key.

    Both arrays are uint64 (n, 2) of keyed digests; the bucket is the key's first byte.
    """
    order = np.lexsort((digests[:, 1], digests[:, 0], records[:, 1], records[:, 0]))
    pairs = np.concatenate([whole(records[order]), whole(digests[order])], axis=1)
    ends = np.searchsorted(pairs[:, 0], np.arange(1, _BUCKETS + 1))
    return [
        hashlib.blake2b(part.tobytes(), digest_size=16).digest()
        for part in _parts(pairs, ends.tolist())
    ]


def _parts(pairs: np.ndarray, ends: list[int]) -> Iterator[np.ndarray]:
    start = 0
    for end in ends:
        yield pairs[start:end]
        start = end
