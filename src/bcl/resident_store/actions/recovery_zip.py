"""Writing everything of a municipality back in the published interface (journey recovery, step 3).

Pages whose records were all in force go into the zip still deflated; only pages with ended
records are made anew. Rows come in page order: by load, then as they came. Every page is
inflated once, for the SHA-256 that the manifest needs; unless the member is, byte for byte, a file
that one load brought: then its SHA-256 was proved at the door. Opening, inflating and deflating
run in two threads, hashing in a third: all of them release the interpreter lock.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import BinaryIO

import numpy as np

from bcl.foundation import clock, tenancy
from bcl.resident_store import database, deflate_splice, page_reader, seal_images, town_keys
from bcl.resident_store.models import Load
from bcl.resident_store.pages import PAGE_ROWS, PageFault, PagePlace, live_slots, open_deflated
from bcl.resident_store.rules import FULL, MAIN
from bcl.resident_store.spliced_zip import SplicedZip
from bcl.resident_store.stored_versions import StoredVersions
from bcl_contract.linkage.layouts import Layout, load_interface
from bcl_contract.linkage.line_conversion import LineConversion
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
_PAGES_IN_A_BATCH, _BATCHES_WAITING = 16, 4
_MAKERS = 2
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


@dataclass(frozen=True)
class _Page:
    """A stored page and what is wanted of it: the records marked in `live`, bool (rows)."""

    place: PagePlace
    secret: bytes = field(repr=False)
    clear_size: int
    crc32: int
    live: np.ndarray
    sealed: bytes = field(repr=False)
    conversion: LineConversion | None


@dataclass(frozen=True)
class _Piece:
    """What a page gives to a member. `clear` is None where nobody asked for it."""

    rows: int
    deflated: bytes = field(repr=False)
    clear_size: int
    crc32: int
    clear: bytes | None = field(repr=False)


def _pieces(pages: Sequence[_Page], with_clear: bool) -> list[_Piece]:
    """Make the pieces of some pages; arithmetic only, in any thread. Raises `PageFault`."""
    return [_piece(page, with_clear) for page in pages]


def _piece(page: _Page, with_clear: bool) -> _Piece:
    deflated = open_deflated(page.secret, page.place, page.sealed)
    if page.live.all() and page.conversion is None:
        clear = deflate_splice.inflate_page(deflated, page.clear_size) if with_clear else None
        return _Piece(len(page.live), deflated, page.clear_size, page.crc32, clear)
    lines = deflate_splice.inflate_page(deflated, page.clear_size).split(_LINE_END)[:-1]
    if len(lines) != len(page.live):
        where = f"page {page.place.load_number}/{page.place.page_number}"
        raise PageFault(f"{where} has a wrong row count")
    kept = [lines[row] for row in np.flatnonzero(page.live).tolist()]
    if page.conversion is not None:
        kept = [page.conversion.convert(line + _LINE_END).removesuffix(_LINE_END) for line in kept]
    clear = _LINE_END.join([*kept, b""])
    return _Piece(
        len(kept), deflate_splice.deflate_page(clear), len(clear), deflate_splice.crc32(clear),
        clear,
    )


class _Hasher:
    """SHA-256 of one member, worked out in a thread beside the writing."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._digest = hashlib.sha256()
        self._waiting: deque[Future[None]] = deque()

    def add(self, clear: Sequence[bytes]) -> None:
        """Hash some parts, in the order of the calls."""

        def update() -> None:
            for part in clear:
                self._digest.update(part)

        self._waiting.append(self._pool.submit(update))
        while len(self._waiting) > _BATCHES_WAITING:
            self._waiting.popleft().result()

    def hexdigest(self) -> str:
        """The digest of everything added."""
        while self._waiting:
            self._waiting.popleft().result()
        return self._digest.hexdigest()


class _KnownDigest:
    """Stands for `_Hasher` where the SHA-256 of the member is known before it is written."""

    def __init__(self, sha256: str) -> None:
        self._sha256 = sha256

    def add(self, clear: Sequence[bytes]) -> None:
        """Nothing to work out."""

    def hexdigest(self) -> str:
        """The digest of the whole member."""
        return self._sha256


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
            making = stack.enter_context(ThreadPoolExecutor(_MAKERS, "bcl-pages"))
            hashing = stack.enter_context(ThreadPoolExecutor(1, "bcl-hash"))
            for file_id in sorted(self._load.counts["records"]):
                entries.append(self._write_table(making, hashing, self._layouts[file_id]))
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

    def _write_table(
        self, making: ThreadPoolExecutor, hashing: ThreadPoolExecutor, layout: Layout
    ) -> FileEntry:
        name = file_name(self._town, layout.file_id, FULL, self._sequence, self._load.as_of)
        sha256, rows = self._digest_at_the_door(layout), 0
        hasher = _KnownDigest(sha256) if sha256 else _Hasher(hashing)
        with self._zip.member(name) as member:
            member.add(layout.header_line)
            hasher.add([layout.header_line])
            for pieces in self._made(making, layout, with_clear=not sha256):
                for piece in pieces:
                    rows += piece.rows
                    member.add_page(
                        piece.deflated, clear_size=piece.clear_size, crc32=piece.crc32
                    )
                clear = [piece.clear for piece in pieces if piece.clear is not None]
                hasher.add(clear)
                if layout.file_id == _IMAGES_FILE:
                    self._note_images(clear, layout)
        return FileEntry(name, layout.file_id, rows, member.clear_size, hasher.hexdigest())

    def _made(
        self, making: ThreadPoolExecutor, layout: Layout, *, with_clear: bool
    ) -> Iterator[list[_Piece]]:
        """The pieces of a table in their order, some batches ahead of whoever writes them."""
        under_way: deque[Future[list[_Piece]]] = deque()
        pages = self._pages(layout.file_id)
        while batch := list(islice(pages, _PAGES_IN_A_BATCH)):
            under_way.append(making.submit(_pieces, batch, with_clear))
            if len(under_way) > _BATCHES_WAITING:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

    def _digest_at_the_door(self, layout: Layout) -> str:
        """SHA-256 of the one file whose rows, all and alone, are in force after the load; or ""."""
        if layout.file_id == _IMAGES_FILE or len(self._ended_later(layout.file_id)):
            return ""
        with database.cursor() as db:
            db.execute(
                "SELECT load_number, sum(live_rows)::bigint FROM resident_store_page"
                " WHERE municipality_code = %s AND file_id = %s AND load_number <= %s"
                " AND live_rows > 0 GROUP BY load_number LIMIT 2",
                [self._town, layout.file_id, self._load.load_number],
            )
            loads = db.fetchall()
        if len(loads) != 1 or self._versions.conversion(layout.file_id, loads[0][0]) is not None:
            return ""
        brought = Load.objects.get(municipality_code=self._town, load_number=loads[0][0])
        (counts,) = (each for each in brought.counts["files"] if each["file_id"] == layout.file_id)
        return counts.get("sha256", "") if counts["rows"] == loads[0][1] else ""

    def _pages(self, file_id: str) -> Iterator[_Page]:
        """Pages with records in force after the load."""
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
                    if len(revived):
                        first, last = np.searchsorted(
                            revived, [page_id * PAGE_ROWS, (page_id + 1) * PAGE_ROWS]
                        )
                        live[revived[first:last] % PAGE_ROWS] = True
                    yield _Page(
                        PagePlace(self._town, file_id, load, number, version),
                        self._secret(version), size, crc32, live, sealed,
                        self._versions.conversion(file_id, load),
                    )

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

    def _note_images(self, pages: Sequence[bytes], layout: Layout) -> None:
        for line in b"".join(pages).splitlines(keepends=True):
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
