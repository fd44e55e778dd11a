"""Packages: one transmission as one signed zip (送信一回分).

Owns: writing a package, and opening one with every check that needs no table read.
Promises: nothing is inflated before the zip's structure, the signature and the manifest hold;
a member's bytes are checked against the manifest's SHA-256 and length while they are read.
Journey: docs/journeys/daily-sync.md.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from isal import isal_zlib

from bcl_contract.linkage.manifest import (
    MANIFEST_NAME,
    SEAL_IMAGE_FILE_ID,
    SIGNATURE_NAME,
    FileEntry,
    TransmissionManifest,
    describe_bytes,
    describe_file,
    file_name,
    parse_file_name,
    read_manifest,
    seal_image_name,
    write_manifest,
)
from bcl_contract.linkage.zip_structure import (
    STORED,
    Entry,
    PackageLimits,
    ZipFault,
    read_entries,
)
from bcl_contract.linkage.zip_writer import ZipWriter
from bcl_contract.refusals import Refusal

__all__ = [
    "MANIFEST_NAME",
    "SEAL_IMAGE_FILE_ID",
    "SIGNATURE_NAME",
    "FileEntry",
    "OpenPackage",
    "PackageFault",
    "PackageLimits",
    "TransmissionManifest",
    "describe_bytes",
    "describe_file",
    "file_name",
    "open_package",
    "parse_file_name",
    "read_manifest",
    "seal_image_name",
    "write_manifest",
    "write_package",
]

_SIGNATURE_BYTES = 64
_READ_BYTES = 1 << 18


class PackageFault(Exception):
    """Raised while reading or writing a member whose bytes are not what the manifest says.

    `code` is a refusal code, `member` the position-free name of the member. Everything read
    from the package so far must be thrown away.
    """

    def __init__(self, code: str, member: str) -> None:
        super().__init__(f"{code}: {member}")
        self.code = code
        self.member = member

    def as_refusal(self) -> Refusal:
        """Give the refusal that says the same."""
        return Refusal(self.code, {"file": self.member})


class _Member(io.RawIOBase):
    """Reads one member: inflates, counts, hashes, and judges at its end."""

    def __init__(self, source: BinaryIO, entry: Entry, sha256: str | None) -> None:
        super().__init__()
        self._source = source
        self._entry = entry
        self._sha256 = sha256
        self._at = entry.data_at
        self._left = entry.packed_bytes
        self._inflate = None if entry.method == STORED else isal_zlib.decompressobj(wbits=-15)
        self._pending = b""
        self._produced = 0
        self._digest = hashlib.sha256()
        self._crc32 = 0
        self._judged = False

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(target).cast("B")
        data = self._next(len(view))
        if not data:
            self._judge()
            return 0
        view[: len(data)] = data
        self._produced += len(data)
        if self._produced > self._entry.inflated_bytes:
            raise self._fault()
        self._digest.update(data)
        self._crc32 = isal_zlib.crc32(data, self._crc32)
        if self._produced == self._entry.inflated_bytes:
            self._judge()
        return len(data)

    def _fault(self, code: str = "TRANSMISSION_DIGEST") -> PackageFault:
        return PackageFault(code, self._entry.name)

    def _packed(self) -> bytes:
        if not self._left:
            return b""
        self._source.seek(self._at)
        data = self._source.read(min(_READ_BYTES, self._left))
        if not data:
            raise self._fault("TRANSMISSION_ZIP_TRUNCATED")
        self._at += len(data)
        self._left -= len(data)
        return data

    def _next(self, want: int) -> bytes:
        """Give up to `want` inflated bytes, b"" at the end."""
        if want == 0:
            return b""
        if self._inflate is None:
            if not self._pending:
                self._pending = self._packed()
            data, self._pending = self._pending[:want], self._pending[want:]
            return data
        data = b""
        while not data and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._pending or self._packed()
            self._pending = b""
            try:
                data = self._inflate.decompress(packed, want)
            except isal_zlib.error:
                raise self._fault("TRANSMISSION_ZIP_INVALID") from None
            if not packed and not data and not self._inflate.eof:
                raise self._fault("TRANSMISSION_ZIP_INVALID")
        return data

    def _judge(self) -> None:
        """Compare all that came with the manifest and the headers, once."""
        if self._judged:
            return
        if self._inflate is not None:
            extra = self._next(1)
            if extra or not self._inflate.eof or self._inflate.unused_data or self._left:
                raise self._fault()
        elif self._left or self._pending:
            raise self._fault()
        if self._produced != self._entry.inflated_bytes or self._crc32 != self._entry.crc32:
            raise self._fault()
        if self._sha256 is not None and self._digest.hexdigest() != self._sha256:
            raise self._fault()
        self._judged = True


class OpenPackage:
    """A package whose structure, signature and manifest hold. Use as a context manager.

    `manifest` says what is in it; `manifest_bytes` are the signed bytes. Closing it leaves the
    file object given to `open_package` open.
    """

    def __init__(
        self,
        source: BinaryIO,
        entries: Mapping[str, Entry],
        manifest: TransmissionManifest,
        manifest_bytes: bytes,
    ) -> None:
        self.manifest = manifest
        self.manifest_bytes = manifest_bytes
        self._source = source
        self._entries = entries
        self._files = {entry.name: entry for entry in manifest.files}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the use of the package."""
        self._entries = {}

    def open_member(self, name: str) -> BinaryIO:
        """Open a member for reading; its digest and length are judged at its end.

        Reading raises `PackageFault` when they differ: what was read must not be used.
        Members may be read in turn or at the same time, in one thread. KeyError when unknown.
        """
        file = self._files[name]
        return io.BufferedReader(_Member(self._source, self._entries[name], file.sha256), 1 << 18)

    def read_member(self, name: str, *, limit: int = 1 << 20) -> bytes:
        """Read a small member whole (a seal image); PackageFault above `limit` bytes."""
        if self._files[name].bytes > limit:
            raise PackageFault("TRANSMISSION_TOO_LARGE", name)
        with self.open_member(name) as member:
            return member.read()


def _read_whole(source: BinaryIO, entry: Entry, limit: int) -> bytes:
    if entry.inflated_bytes > limit:
        raise ZipFault("TRANSMISSION_TOO_LARGE")
    with io.BufferedReader(_Member(source, entry, None)) as member:
        return member.read()


def open_package(
    fileobj: BinaryIO,
    *,
    verify_key: Ed25519PublicKey | None,
    limits: PackageLimits | None = None,
    expected_municipality: str | None = None,
) -> OpenPackage | Refusal:
    """Open a package, or say why it is not one; no table is read yet.

    `verify_key` None skips the signature (a desk check). `expected_municipality` is the town
    of the authenticated sender. Refuses with a TRANSMISSION_ code; raises nothing for bad input.
    """
    limits = limits or PackageLimits()
    try:
        entries = read_entries(fileobj, limits)
        if MANIFEST_NAME not in entries:
            raise ZipFault("TRANSMISSION_MANIFEST_MISSING")
        data = _read_whole(fileobj, entries[MANIFEST_NAME], limits.manifest_bytes)
        _check_signature(fileobj, entries, data, verify_key)
    except (ZipFault, PackageFault) as fault:
        return Refusal(fault.code)
    manifest = read_manifest(data)
    if isinstance(manifest, Refusal):
        return manifest
    if expected_municipality not in (None, manifest.municipality_code):
        return Refusal("TRANSMISSION_WRONG_MUNICIPALITY")
    sizes = {name: entry.inflated_bytes for name, entry in entries.items()}
    listed = {entry.name: entry.bytes for entry in manifest.files}
    if {n: s for n, s in sizes.items() if n not in (MANIFEST_NAME, SIGNATURE_NAME)} != listed:
        return Refusal("TRANSMISSION_MANIFEST_FILES")
    return OpenPackage(fileobj, entries, manifest, data)


def _check_signature(
    source: BinaryIO,
    entries: Mapping[str, Entry],
    data: bytes,
    verify_key: Ed25519PublicKey | None,
) -> None:
    """Raise `ZipFault` with the refusal's code when the manifest is not signed by the key."""
    if verify_key is None:
        return
    if SIGNATURE_NAME not in entries:
        raise ZipFault("TRANSMISSION_SIGNATURE_MISSING")
    if entries[SIGNATURE_NAME].inflated_bytes != _SIGNATURE_BYTES:
        raise ZipFault("TRANSMISSION_SIGNATURE_INVALID")
    signature = _read_whole(source, entries[SIGNATURE_NAME], _SIGNATURE_BYTES)
    try:
        verify_key.verify(signature, data)
    except InvalidSignature:
        raise ZipFault("TRANSMISSION_SIGNATURE_INVALID") from None


def _parts(content: Path | str | bytes | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
    elif isinstance(content, Path | str):
        with Path(content).open("rb") as source:
            while block := source.read(1 << 20):
                yield block
    else:
        yield from content


def _hashed(parts: Iterable[bytes], entry: FileEntry) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    for part in parts:
        digest.update(part)
        size += len(part)
        yield part
    if size != entry.bytes or digest.hexdigest() != entry.sha256:
        raise PackageFault("TRANSMISSION_DIGEST", entry.name)


def write_package(
    target_zip: BinaryIO,
    *,
    manifest: TransmissionManifest,
    files: Mapping[str, Path | str | bytes | Iterable[bytes]],
    sign: Callable[[bytes], bytes],
) -> bytes:
    """Write a package to an empty, seekable, binary target; gives the manifest's bytes.

    `files` gives every member named in the manifest as a path, bytes or an iterable of bytes;
    `sign` gives the raw 64-byte Ed25519 signature of the manifest's bytes. The same manifest
    and files give the same zip. Raises `PackageFault` when content and manifest differ,
    ValueError when the names differ.
    """
    if set(files) != {entry.name for entry in manifest.files}:
        raise ValueError("the files given are not the files of the manifest")
    data = write_manifest(manifest)
    signature = sign(data)
    if len(signature) != _SIGNATURE_BYTES:
        raise ValueError("an Ed25519 signature has 64 bytes")
    with ZipWriter(target_zip) as writer:
        writer.write(MANIFEST_NAME, [data], size=len(data))
        writer.write(SIGNATURE_NAME, [signature], size=_SIGNATURE_BYTES, stored=True)
        for entry in manifest.files:
            parts = _hashed(_parts(files[entry.name]), entry)
            stored = entry.file_id == SEAL_IMAGE_FILE_ID
            writer.write(entry.name, parts, size=entry.bytes, stored=stored)
    return data
