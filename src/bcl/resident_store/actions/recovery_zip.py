"""Writing everything of a municipality back in the published interface (journey recovery, step 3).

Pages whose records were all in force go into the zip still deflated; only pages with ended
records are made anew. Rows come in page order: by load, then as they came. Every page is
inflated once beside the writing, for the SHA-256 that the manifest needs.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

import numpy as np

from bcl.foundation import clock, tenancy
from bcl.resident_store import database, deflate_splice, page_reader, seal_images, town_keys
from bcl.resident_store.models import Load
from bcl.resident_store.pages import PAGE_ROWS, PageFault, PagePlace, live_slots, open_deflated
from bcl.resident_store.rules import FULL, MAIN
from bcl.resident_store.spliced_zip import SplicedMember, SplicedZip
from bcl.resident_store.stored_versions import StoredVersions
from bcl_contract.linkage.layouts import Layout, load_interface
from bcl_contract.linkage.manifest import (
    SIGNATURE_NAME,
    FileEntry,
    TransmissionManifest,
    file_name,
    seal_image_name,
    write_manifest,
)

SENDER = "bcl-recovery"
_IMAGES_FILE, _IMAGE_ENTRY = "S02", "S02I"
_PAGES_AT_ONCE = 128
_WAITING_PAGES = 256
_LINE_END = b"\r\n"


@dataclass(frozen=True)
class RecoveryContents:
    """What a recovery zip holds: `files` as in its manifest, and the state they show."""

    files: tuple[FileEntry, ...]
    interface_version: str
    as_of: datetime
    load_number: int


class NoSuchLoad(LookupError):
    """There is no load with this number."""


def write_recovery_zip(
    target: BinaryIO,
    municipality_code: str,
    load_number: int,
    *,
    sign: Callable[[bytes], bytes] | None = None,
) -> RecoveryContents:
    """Write the state after a load as one zip: tables, seal images, `datapackage.json`.

    `sign` gives the raw signature over the bytes of `datapackage.json`, which lies beside it.
    `target` needs only `write`. Everything comes from one snapshot: that of the open scope, else
    a REPEATABLE READ one of its own. Files that were ever sent are there, if only with a header.
    Raises `NoSuchLoad`, `PageFault`, `keys.KeyFault`; the target is then incomplete.
    """
    with _snapshot(municipality_code):
        load = Load.objects.filter(
            municipality_code=municipality_code, load_number=load_number
        ).first()
        if load is None:
            raise NoSuchLoad(load_number)
        last_main = (
            Load.objects.filter(
                municipality_code=municipality_code, lane=MAIN, load_number__lte=load_number
            )
            .order_by("-load_number").values_list("sequence", "interface_version").first()
        )
        sequence, version = last_main or (1, load.interface_version)
        writer = _RecoveryWriter(SplicedZip(target), load, max(1, sequence), version, sign)
        return writer.write()


def _snapshot(municipality_code: str) -> AbstractContextManager[object]:
    if tenancy.current() == municipality_code:
        return nullcontext()
    return tenancy.scope(municipality_code, snapshot=True)


class _Hasher:
    """SHA-256 and row count of one member, worked out in a thread beside the writing."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.rows = 0
        self._pool = pool
        self._digest = hashlib.sha256()
        self._waiting: deque[Future[None]] = deque()

    def add(self, clear: Callable[[], bytes]) -> None:
        """Hash what the function gives; it runs in the other thread, in order."""
        self._waiting.append(self._pool.submit(lambda: self._digest.update(clear())))
        while len(self._waiting) > _WAITING_PAGES:
            self._waiting.popleft().result()

    def hexdigest(self) -> str:
        """The digest of everything added."""
        while self._waiting:
            self._waiting.popleft().result()
        return self._digest.hexdigest()


class _RecoveryWriter:
    """Writes in the version of the main lane, whatever brought the single line."""

    def __init__(
        self,
        zip_file: SplicedZip,
        load: Load,
        sequence: int,
        version: str,
        sign: Callable[[bytes], bytes] | None,
    ) -> None:
        self._zip, self._load, self._sequence, self._sign = zip_file, load, sequence, sign
        self._town: str = load.municipality_code
        self._secret = town_keys.page_secrets(self._town)
        self._version = version
        self._versions = StoredVersions(self._town, target=version)
        self._layouts = load_interface(version).files
        self._images: dict[str, str] = {}

    def write(self) -> RecoveryContents:
        entries = []
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(1, "bcl-hash"))
            for file_id in sorted(self._load.counts["records"]):
                entries.append(self._write_table(pool, self._layouts[file_id]))
        entries += [self._write_image(name, self._images[name]) for name in sorted(self._images)]
        manifest = TransmissionManifest(
            bundle_id=str(uuid.uuid4()),
            municipality_code=self._town,
            interface_version=self._version,
            lane="main",
            sequence=self._sequence,
            previous_sequence=self._sequence - 1,
            mode="full",
            as_of=self._load.as_of,
            created_at=clock.now(),
            sender_system=SENDER,
            files=entries,
        )
        listed = write_manifest(manifest)
        self._zip.add("datapackage.json", [listed])
        if self._sign is not None:
            self._zip.add(SIGNATURE_NAME, [self._sign(listed)])
        self._zip.finish()
        return RecoveryContents(
            tuple(entries), self._version, self._load.as_of, self._load.load_number,
        )

    def _write_table(self, pool: ThreadPoolExecutor, layout: Layout) -> FileEntry:
        name = file_name(self._town, layout.file_id, FULL, self._sequence, self._load.as_of)
        hasher, rows = _Hasher(pool), 0
        with self._zip.member(name) as member:
            header = layout.header_line
            member.add(header)
            hasher.add(lambda: header)
            for page in self._pages(layout.file_id):
                rows += self._write_page(page, member, hasher, layout)
        return FileEntry(name, layout.file_id, rows, member.clear_size, hasher.hexdigest())

    def _pages(self, file_id: str) -> Iterator[tuple]:
        """Pages with records in force after the load: (…, bool array of those records)."""
        revived = self._ended_later(file_id)
        with database.streaming_cursor("resident_store_recovery") as pages:
            pages.execute(
                "SELECT id, load_number, page_number, key_version, rows, clear_size, crc32, live,"
                " sealed FROM resident_store_page"
                " WHERE municipality_code = %s AND file_id = %s AND load_number <= %s"
                " AND (live_rows > 0 OR id = ANY(%s))"
                " ORDER BY load_number, page_number",
                [
                    self._town, file_id, self._load.load_number,
                    np.unique(revived // PAGE_ROWS).tolist(),
                ],
                binary=True,
            )
            while rows := pages.fetchmany(_PAGES_AT_ONCE):
                for page_id, load, number, version, count, size, crc32, mask, sealed in rows:
                    live = live_slots(mask, count)
                    first, last = np.searchsorted(
                        revived, [page_id * PAGE_ROWS, (page_id + 1) * PAGE_ROWS]
                    )
                    live[revived[first:last] % PAGE_ROWS] = True
                    place = PagePlace(self._town, file_id, load, number, version)
                    yield place, size, crc32, live, sealed

    def _ended_later(self, file_id: str) -> np.ndarray:
        """Ids of records that were in force after the load and ended since; ascending."""
        with database.cursor() as db:
            db.execute(
                "SELECT record_id FROM resident_store_endedrecord"
                " WHERE municipality_code = %s AND file_id = %s AND until_load > %s"
                " ORDER BY record_id",
                [self._town, file_id, self._load.load_number],
                binary=True,
            )
            return np.fromiter((row[0] for row in db), dtype=np.int64)

    def _write_page(
        self, page: tuple, member: SplicedMember, hasher: _Hasher, layout: Layout
    ) -> int:
        place, size, crc32, live, sealed = page
        deflated = open_deflated(self._secret(place.key_version), place, sealed)
        conversion = self._versions.conversion(layout.file_id, place.load_number)
        if live.all() and conversion is None:
            member.add_page(deflated, clear_size=size, crc32=crc32)
            if layout.file_id != _IMAGES_FILE:
                hasher.add(lambda: deflate_splice.inflate_page(deflated, size))
                return len(live)
        clear = deflate_splice.inflate_page(deflated, size)
        lines = clear.split(_LINE_END)[:-1]
        if len(lines) != len(live):
            raise PageFault(f"page {place.load_number}/{place.page_number} has a wrong row count")
        kept = [line + _LINE_END for line, wanted in zip(lines, live, strict=True) if wanted]
        if conversion is not None:
            kept = [conversion.convert(line) for line in kept]
        if layout.file_id == _IMAGES_FILE:
            self._note_images(kept, layout)
        clear = b"".join(kept)
        if len(kept) < len(lines) or conversion is not None:
            member.add(clear)
        hasher.add(lambda: clear)
        return len(kept)

    def _note_images(self, lines: list[bytes], layout: Layout) -> None:
        for line in lines:
            values = page_reader.parse_line(line, layout)
            name = seal_image_name(
                values["seal_registration_number"] or "", values["seal_image_number"] or ""
            )
            self._images[name] = values["image_sha256"] or ""

    def _write_image(self, name: str, sha256: str) -> FileEntry:
        content = seal_images.read_image(self._town, sha256)
        if content is None:
            raise PageFault("a seal image that a record names is not stored")
        self._zip.add(name, [content])
        return FileEntry(name, _IMAGE_ENTRY, 0, len(content), sha256)
