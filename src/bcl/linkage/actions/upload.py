"""Taking an upload in, piece by piece (journey daily-sync, step 5).

An offset is acknowledged only after the bytes before it were forced to the disk and the offset
itself was committed. The file may hold more than that after a crash; the next writer cuts it.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, Protocol

from django.db.models import F, Sum

from bcl.foundation import log, tenancy
from bcl.linkage.actions.accept import accept_transmission
from bcl.linkage.adapters.receive_area import Place, ReceiveArea
from bcl.linkage.limits import IntakeLimits
from bcl.linkage.models import Transmission, Upload, UploadState
from bcl_contract.linkage.package import open_package
from bcl_contract.refusals import Refusal
from bcl_contract.sealed_file import SealedFileBusy, SealedWriter

_BLOCK_BYTES = 256 << 10

logger = log.get(__name__)


UploadId = uuid.UUID


class Digest(Protocol):
    """A hashlib object."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class Body(Protocol):
    """A request body: `declared` bytes (None = chunked); `read` raises OSError if it breaks off."""

    declared: int | None

    def read(self, size: int) -> bytes: ...


def new_hasher() -> Digest:
    """A SHA-256 to be fed."""
    return hashlib.sha256()


@dataclass(frozen=True)
class Chunk:
    """One PATCH: bytes for `offset` on; with a checksum it is stored whole or not at all."""

    offset: int
    body: Body
    hasher: Digest | None = None
    expected_digest: bytes = b""


@dataclass(frozen=True)
class Progress:
    """Where an upload stands; `transmission` once it is complete."""

    upload_id: uuid.UUID
    offset: int
    length: int
    expires_at: datetime
    transmission: Transmission | None = None


@dataclass(frozen=True)
class Intake:
    """The receive area and the limits of this installation, for one registered gateway."""

    municipality_code: str
    gateway_id: str
    area: ReceiveArea
    limits: IntakeLimits


def create_upload(
    intake: Intake, *, length: int, bundle_id: str, filename: str, at: datetime
) -> Progress | Refusal:
    """Make room for an upload of `length` bytes, or refuse before the disk fills up."""
    if length > intake.limits.maximum_bytes:
        return Refusal("LINKAGE_UPLOAD_TOO_LARGE", {"limit_bytes": intake.limits.maximum_bytes})
    code = intake.municipality_code
    with tenancy.scope(code):
        opened = Upload.objects.filter(state=UploadState.OPEN, expires_at__gt=at)
        if opened.count() >= intake.limits.open_uploads:
            return Refusal("LINKAGE_UPLOAD_TOO_MANY", {"limit": intake.limits.open_uploads})
        promised = opened.aggregate(total=Sum(F("length") - F("offset")))["total"] or 0
        if intake.area.free_bytes() - promised - length < intake.limits.free_bytes:
            logger.warning("receive_area_full", municipality_code=code, bytes=length)
            return Refusal("LINKAGE_UPLOAD_STORAGE_FULL")
        upload = Upload.objects.create(
            municipality_code=code,
            gateway_id=intake.gateway_id,
            bundle_id=bundle_id,
            filename=filename,
            length=length,
            key_version=intake.area.current_key_version(code),
            created_at=at,
            expires_at=at + timedelta(seconds=intake.limits.expire_seconds),
        )
    return _progress(upload)


def find_upload(intake: Intake, upload_id: uuid.UUID, *, at: datetime) -> Progress | Refusal:
    """Where an upload stands. Another town's id is as unknown as one that never was."""
    with tenancy.scope(intake.municipality_code):
        upload = _find(upload_id, at)
        if upload is None:
            return Refusal("LINKAGE_UPLOAD_UNKNOWN")
        return _progress(upload, _transmission_of(upload))


def terminate_upload(intake: Intake, upload_id: uuid.UUID, *, at: datetime) -> Refusal | None:
    """Give an unfinished upload up and free its bytes; a finished one belongs to BCL."""
    with tenancy.scope(intake.municipality_code):
        upload = _find(upload_id, at)
    if upload is None:
        return Refusal("LINKAGE_UPLOAD_UNKNOWN")
    if upload.state != UploadState.OPEN:
        return Refusal("LINKAGE_UPLOAD_COMPLETE")
    try:
        writer = intake.area.open_writer(_place(upload), acknowledged=0)
    except SealedFileBusy:
        return Refusal("LINKAGE_UPLOAD_BUSY")
    try:
        with tenancy.scope(intake.municipality_code):
            Upload.objects.filter(id=upload.id, state=UploadState.OPEN).update(
                state=UploadState.TERMINATED
            )
        intake.area.remove(_place(upload))
    finally:
        writer.abandon()
    return None


def append_chunk(
    intake: Intake, upload_id: uuid.UUID, chunk: Chunk, *, at: datetime
) -> Progress | Refusal:
    """Store one piece at its offset and acknowledge it; the last one makes a transmission.

    Refuses a wrong offset (409), a second writer (423), a body past the announced length (413),
    a full disk (507), a wrong checksum (460) and a body that broke off. With a checksum nothing
    of a refused piece stays; without one, what arrived before the line dropped is kept.
    """
    found = _find_place_to_write(intake, upload_id, chunk, at)
    if isinstance(found, Refusal | Progress):
        return found
    upload, writer = found
    try:
        return _Receiving(intake, upload, writer, chunk, at).run()
    finally:
        writer.abandon()


def _find_place_to_write(
    intake: Intake, upload_id: uuid.UUID, chunk: Chunk, at: datetime
) -> tuple[Upload, SealedWriter] | Progress | Refusal:
    with tenancy.scope(intake.municipality_code):
        upload = _find(upload_id, at)
        if upload is None:
            return Refusal("LINKAGE_UPLOAD_UNKNOWN")
        refusal = _judge_chunk(upload, chunk)
        if refusal is not None:
            return refusal
        if upload.state == UploadState.COMPLETE:
            return _progress(upload, _transmission_of(upload))
    try:
        writer = intake.area.open_writer(_place(upload), acknowledged=upload.offset)
    except SealedFileBusy:
        return Refusal("LINKAGE_UPLOAD_BUSY")
    # The lock is ours only now: another writer may have moved the offset in between.
    with tenancy.scope(intake.municipality_code):
        upload.refresh_from_db()
    if upload.state != UploadState.OPEN or upload.offset != chunk.offset:
        writer.abandon()
        return Refusal("LINKAGE_UPLOAD_OFFSET", {"offset": upload.offset})
    writer.truncate(upload.offset)
    return upload, writer


def _judge_chunk(upload: Upload, chunk: Chunk) -> Refusal | None:
    if chunk.offset != upload.offset:
        return Refusal("LINKAGE_UPLOAD_OFFSET", {"offset": upload.offset})
    if chunk.body.declared is not None and chunk.offset + chunk.body.declared > upload.length:
        return Refusal("LINKAGE_UPLOAD_BODY_TOO_LONG", {"length": upload.length})
    return None


class _Receiving:
    """One PATCH in progress: reads the body, seals it, moves the offset every few MiB."""

    def __init__(
        self, intake: Intake, upload: Upload, writer: SealedWriter, chunk: Chunk, at: datetime
    ) -> None:
        self.intake, self.upload, self.writer, self.chunk = intake, upload, writer, chunk
        self.at = at
        self.checked_at = upload.offset
        self.expires_at = at + timedelta(seconds=intake.limits.expire_seconds)

    def run(self) -> Progress | Refusal:
        """Store the piece; a disk that fills up on the way is a refusal, not a fault."""
        try:
            return self._run()
        except OSError as fault:
            if fault.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.writer.truncate(self.upload.offset)
            return Refusal("LINKAGE_UPLOAD_STORAGE_FULL")

    def _run(self) -> Progress | Refusal:
        refusal = self._read_body()
        if refusal is None and self.chunk.hasher is not None:
            digest = self.chunk.hasher.digest()
            if not hmac.compare_digest(digest, self.chunk.expected_digest):
                refusal = Refusal("LINKAGE_UPLOAD_CHECKSUM")
        if refusal is not None:
            if self.chunk.hasher is not None or refusal.code == "LINKAGE_UPLOAD_BODY_TOO_LONG":
                self.writer.truncate(self.upload.offset)
            else:
                self._acknowledge()
            return refusal
        if self.writer.clear_size == self.upload.length:
            return self._complete()
        self._acknowledge()
        return _progress(self.upload)

    def _read_body(self) -> Refusal | None:
        chunk, writer = self.chunk, self.writer
        received = 0
        while True:
            try:
                block = chunk.body.read(_BLOCK_BYTES)
            except OSError:
                return Refusal("LINKAGE_UPLOAD_BODY_BROKEN")
            if not block:
                break
            received += len(block)
            if writer.clear_size + len(block) > self.upload.length:
                return Refusal("LINKAGE_UPLOAD_BODY_TOO_LONG", {"length": self.upload.length})
            refusal = self._store(block)
            if refusal is not None:
                return refusal
        if chunk.body.declared is not None and received != chunk.body.declared:
            return Refusal("LINKAGE_UPLOAD_BODY_BROKEN")
        return None

    def _store(self, block: bytes) -> Refusal | None:
        writer, limits = self.writer, self.intake.limits
        writer.write(block)
        if self.chunk.hasher is not None:
            self.chunk.hasher.update(block)
        if writer.clear_size - self.checked_at >= limits.acknowledge_bytes:
            self.checked_at = writer.clear_size
            if self.intake.area.free_bytes() < limits.free_bytes:
                return Refusal("LINKAGE_UPLOAD_STORAGE_FULL")
            if self.chunk.hasher is None and writer.clear_size < self.upload.length:
                self._acknowledge()
        return None

    def _acknowledge(self) -> None:
        """Force the bytes to the disk, then commit the offset. Never the last byte's."""
        reached = min(self.writer.clear_size, self.upload.length - 1)
        if reached <= self.upload.offset:
            return
        self.writer.flush_segment_and_fsync()
        with tenancy.scope(self.intake.municipality_code):
            self._move_offset(reached, UploadState.OPEN)

    def _complete(self) -> Progress:
        """The last byte: transmission, offset and job are one transaction.

        If that fails, the offset stays where it was and the sender sends the last piece again.
        """
        self.writer.flush_segment_and_fsync()
        place = _place(self.upload)
        sha256 = self.intake.area.digest(place, size=self.upload.length)
        with self.intake.area.open_reader(place, size=self.upload.length) as source:
            lane = announced_lane(source)
        with tenancy.scope(self.intake.municipality_code):
            accepted = accept_transmission(
                upload=self.upload,
                sha256=sha256,
                lane=lane,
                gateway_id=self.intake.gateway_id,
                at=self.at,
            )
            self._move_offset(self.upload.length, UploadState.COMPLETE)
        if accepted.transmission.upload_id != self.upload.id or accepted.is_over:
            self.intake.area.remove(place)
        return _progress(self.upload, accepted.transmission)

    def _move_offset(self, offset: int, state: UploadState) -> None:
        moved = Upload.objects.filter(
            id=self.upload.id, offset=self.upload.offset, state=UploadState.OPEN
        ).update(offset=offset, state=state, expires_at=self.expires_at)
        if not moved:  # we hold the file's lock, so nobody else can have written
            raise RuntimeError("the offset of an upload moved under its writer")
        self.upload.offset, self.upload.state = offset, state
        self.upload.expires_at = self.expires_at


def announced_lane(source: BinaryIO) -> str:
    """The lane a package's manifest names, unverified; empty when there is no telling."""
    package = open_package(source, verify_key=None)
    if isinstance(package, Refusal):
        return ""
    with package:
        return str(package.manifest.lane)


def _find(upload_id: uuid.UUID, at: datetime) -> Upload | None:
    upload = Upload.objects.filter(
        id=upload_id, state__in=[UploadState.OPEN, UploadState.COMPLETE]
    ).first()
    if upload is not None and upload.state == UploadState.OPEN and upload.expires_at <= at:
        return None
    return upload


def _transmission_of(upload: Upload) -> Transmission | None:
    if upload.state != UploadState.COMPLETE:
        return None
    return Transmission.objects.filter(bundle_id=upload.bundle_id).order_by("received_at").first()


def _place(upload: Upload) -> Place:
    return Place(upload.municipality_code, upload.id, upload.key_version)


def _progress(upload: Upload, transmission: Transmission | None = None) -> Progress:
    return Progress(
        upload_id=upload.id,
        offset=upload.offset,
        length=upload.length,
        expires_at=upload.expires_at,
        transmission=transmission,
    )
