"""Files that are ciphertext from the first byte written (暗号化スプール, R-041).

Used where a transmission waits: the gateway's spool in the town hall and the receive area of
the cloud. Nothing in clear ever reaches the disk, a crash at any point leaves a file that can
be continued, and reading may start anywhere (`zipfile` works on a `SealedReader`).

Layout of a file, all numbers big-endian:

    header    8 bytes  magic "BCLSEAL1", 16 bytes random file id
    segment   4 bytes  length of the clear text, 1 … 1 MiB
              12 bytes nonce (random)
              n bytes  AES-256-GCM ciphertext, then the 16-byte tag
    segment   …

Associated data of a segment = magic, file id, number of the segment (0, 1, …), clear length,
and the caller's `context` (for example municipality and bundle id). A segment moved to another
place, another file or another town therefore does not open.

A file has no end mark, because an upload may always be continued: whoever reads a finished file
compares `clear_size` with the length it has on record. The manifest's digests prove the rest.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import secrets
import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEGMENT_BYTES = 1 << 20
MAGIC = b"BCLSEAL1"
_FILE_ID_BYTES = 16
_HEADER_BYTES = len(MAGIC) + _FILE_ID_BYTES
_SEGMENT_HEAD = struct.Struct(">I12s")
_TAG_BYTES = 16


class SealedFileError(Exception):
    """The sealed file can't be used as it is: damaged, tampered with, or of another key or place.

    The text names the file's place and the segment number, never its content.
    """


class SealedFileBusy(SealedFileError):
    """Another process is writing the same file."""


class _Opened:
    """The parts reader and writer share: file descriptor, key, and where each segment lies."""

    def __init__(self, descriptor: int, key: bytes, context: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a sealed file needs a key of 32 bytes")
        self.descriptor = descriptor
        self.context = bytes(context)
        self.cipher = AESGCM(key)
        self.file_id = b""
        # Start of each segment in the file and in the clear text; the last entries are the ends.
        self.file_starts = [_HEADER_BYTES]
        self.clear_starts = [0]

    @property
    def clear_size(self) -> int:
        return self.clear_starts[-1]

    @property
    def segments(self) -> int:
        return len(self.clear_starts) - 1

    def append(self, clear_length: int) -> None:
        self.file_starts.append(
            self.file_starts[-1] + _SEGMENT_HEAD.size + clear_length + _TAG_BYTES
        )
        self.clear_starts.append(self.clear_starts[-1] + clear_length)

    def forget_from(self, segment: int) -> None:
        del self.file_starts[segment + 1 :]
        del self.clear_starts[segment + 1 :]

    def associated_data(self, segment: int, clear_length: int) -> bytes:
        return MAGIC + self.file_id + struct.pack(">QI", segment, clear_length) + self.context

    def scan(self) -> int:
        """Note every whole segment; return the number of bytes behind the last whole one."""
        size = os.fstat(self.descriptor).st_size
        while True:
            at = self.file_starts[-1]
            if at + _SEGMENT_HEAD.size > size:
                return size - at
            head = os.pread(self.descriptor, _SEGMENT_HEAD.size, at)
            clear_length = _SEGMENT_HEAD.unpack(head)[0]
            end = at + _SEGMENT_HEAD.size + clear_length + _TAG_BYTES
            if not 1 <= clear_length <= SEGMENT_BYTES or end > size:
                return size - at
            self.append(clear_length)

    def read_header(self) -> bool:
        """Read magic and file id. False if the file is shorter than a header."""
        header = os.pread(self.descriptor, _HEADER_BYTES, 0)
        if len(header) < _HEADER_BYTES:
            return False
        if header[: len(MAGIC)] != MAGIC:
            raise SealedFileError("not a sealed file: the first bytes differ")
        self.file_id = header[len(MAGIC) :]
        return True

    def seal(self, segment: int, clear: bytes) -> bytes:
        """Give the bytes of a segment as they stand in the file."""
        nonce = secrets.token_bytes(12)
        sealed = self.cipher.encrypt(nonce, clear, self.associated_data(segment, len(clear)))
        return _SEGMENT_HEAD.pack(len(clear), nonce) + sealed

    def open_segment(self, segment: int) -> bytes:
        """Decrypt one segment. Raises SealedFileError if it is not what was written there."""
        start, end = self.file_starts[segment], self.file_starts[segment + 1]
        raw = os.pread(self.descriptor, end - start, start)
        try:
            clear_length, nonce = _SEGMENT_HEAD.unpack_from(raw)
            return self.cipher.decrypt(
                nonce,
                memoryview(raw)[_SEGMENT_HEAD.size :],
                self.associated_data(segment, clear_length),
            )
        except (InvalidTag, struct.error):
            raise SealedFileError(f"segment {segment} does not open") from None


class SealedWriter:
    """Append clear bytes to a sealed file.

    With `resume=False` the file must not exist yet (FileExistsError). With `resume=True` an
    existing file is continued: what a crash left behind the last whole segment is cut off, and
    `clear_size` says how many clear bytes are there; a missing file is created.

    `acknowledged` is the number of clear bytes the caller has promised to somebody. Segments
    behind it are opened on resume (they may be torn after a power cut) and cut from the first
    one that does not open. If fewer than `acknowledged` bytes remain, SealedFileError is raised:
    that is damage, not a torn end. Without it every segment is opened.

    Going back with `seek` and writing over clear bytes is for files built anew (a zip whose
    headers are completed later): the segment is sealed again under a new nonce, in place, so a
    crash in that moment can cost it.

    Raises SealedFileBusy while another process holds the file. Mode is 0600 always.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        key: bytes,
        *,
        context: bytes,
        resume: bool = False,
        acknowledged: int = 0,
    ) -> None:
        self._path = Path(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags if resume else flags | os.O_EXCL, 0o600)
        try:
            _lock(descriptor)
            self._file = _Opened(descriptor, key, context)
            self._buffer = bytearray()
            self._position: int | None = None  # None = at the end, where bytes are appended
            self._start(acknowledged)
        except BaseException:
            os.close(descriptor)
            raise
        self._closed = False

    def _start(self, acknowledged: int) -> None:
        file = self._file
        os.fchmod(file.descriptor, 0o600)
        if not file.read_header():
            file.file_id = secrets.token_bytes(_FILE_ID_BYTES)
            os.ftruncate(file.descriptor, 0)
            _write_all(file.descriptor, MAGIC + file.file_id, 0)
            os.fsync(file.descriptor)
            _fsync_folder(self._path.parent)
        else:
            file.scan()
            self._cut_torn_end(acknowledged)
        if file.clear_size < acknowledged:
            raise SealedFileError(
                f"only {file.clear_size} of {acknowledged} acknowledged bytes are there"
            )

    def _cut_torn_end(self, acknowledged: int) -> None:
        file = self._file
        first_unproved = bisect_right(file.clear_starts, acknowledged) - 1
        for segment in range(first_unproved, file.segments):
            try:
                file.open_segment(segment)
            except SealedFileError:
                # A segment that never opened and has proved ones before it is a torn end. If
                # nothing opens, the key or the context is wrong: never destroy the file for that.
                if segment == 0:
                    raise
                file.forget_from(segment)
                break
        os.ftruncate(file.descriptor, file.file_starts[-1])

    @property
    def clear_size(self) -> int:
        """Clear bytes written so far, flushed or not."""
        return self._file.clear_size + len(self._buffer)

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.clear_size if self._position is None else self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a clear byte that is written, or to the end; ValueError for any other place."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.clear_size}
        position = base[whence] + offset
        if not 0 <= position <= self.clear_size:
            raise ValueError("only a place that is written can be gone to")
        self._position = None if position == self.clear_size else position
        return position

    def write(self, data: Any) -> int:
        """Write `data` (anything with a buffer) here. Full segments are sealed at once."""
        view = memoryview(data).cast("B")
        taken = 0
        while self._position is not None and taken < len(view):
            taken += self._overwrite(view[taken:])
        while taken < len(view):
            part = view[taken : taken + SEGMENT_BYTES - len(self._buffer)]
            self._buffer += part
            taken += len(part)
            if len(self._buffer) == SEGMENT_BYTES:
                self._seal_segment()
        return len(view)

    def _overwrite(self, view: memoryview) -> int:
        """Write over clear bytes of one segment, or of the buffer; how many."""
        file, at = self._file, self.tell()
        segment = bisect_right(file.clear_starts, at) - 1
        start = file.clear_starts[segment]
        if segment == file.segments:
            part = view[: len(self._buffer) - (at - start)]
            self._buffer[at - start : at - start + len(part)] = part
        else:
            clear = bytearray(file.open_segment(segment))
            part = view[: len(clear) - (at - start)]
            clear[at - start : at - start + len(part)] = part
            _write_all(file.descriptor, file.seal(segment, bytes(clear)), file.file_starts[segment])
        self.seek(at + len(part))
        return len(part)

    def flush(self) -> None:
        """Do nothing: a segment is sealed when full, or by `flush_segment_and_fsync`."""

    def flush_segment_and_fsync(self) -> None:
        """Seal what is buffered and force everything to the disk."""
        if self._buffer:
            self._seal_segment()
        os.fsync(self._file.descriptor)

    def truncate(self, clear_size: int) -> None:
        """Throw away everything behind `clear_size` clear bytes (a chunk with a wrong checksum)."""
        file = self._file
        if not 0 <= clear_size <= self.clear_size:
            raise ValueError("can only cut off what is there")
        self._position = None
        if clear_size >= file.clear_size:
            del self._buffer[clear_size - file.clear_size :]
            return
        segment = bisect_right(file.clear_starts, clear_size) - 1
        kept = file.open_segment(segment)[: clear_size - file.clear_starts[segment]]
        file.forget_from(segment)
        os.ftruncate(file.descriptor, file.file_starts[-1])
        self._buffer = bytearray(kept)

    def _seal_segment(self) -> None:
        file, clear = self._file, bytes(self._buffer)
        # Positioned writes: after an ENOSPC the next attempt overwrites the torn segment.
        _write_all(file.descriptor, file.seal(file.segments, clear), file.file_starts[-1])
        file.append(len(clear))
        self._buffer.clear()

    def close(self) -> None:
        """Seal and force to disk what is buffered, then let the file go. Idempotent."""
        if self._closed:
            return
        try:
            self.flush_segment_and_fsync()
        finally:
            self._closed = True
            os.close(self._file.descriptor)

    def abandon(self) -> None:
        """Let the file go without sealing what is buffered. Idempotent."""
        if not self._closed:
            self._closed = True
            os.close(self._file.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


class SealedReader(io.RawIOBase):
    """Read a sealed file as a seekable binary file.

    Holds one clear segment (at most 1 MiB) in memory. A read returns everything asked for, up
    to the end. Raises SealedFileError at construction if the file is no sealed file, ends in a
    torn segment, or has not `expected_size` clear bytes; and at the read that meets a segment
    which was altered, moved, or sealed under another key or context.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        key: bytes,
        *,
        context: bytes,
        expected_size: int | None = None,
    ) -> None:
        super().__init__()
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._file = _Opened(descriptor, key, context)
            if not self._file.read_header():
                raise SealedFileError("shorter than the header of a sealed file")
            if self._file.scan():
                raise SealedFileError("ends in the middle of a segment")
            if expected_size is not None and self._file.clear_size != expected_size:
                raise SealedFileError(
                    f"holds {self._file.clear_size} clear bytes, not {expected_size}"
                )
        except BaseException:
            os.close(descriptor)
            raise
        self._position = 0
        self._segment = -1
        self._clear = b""

    @property
    def clear_size(self) -> int:
        return self._file.clear_size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.clear_size}
        position = base[whence] + offset
        if position < 0:
            raise ValueError("a position can't be negative")
        self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(target) and self._position < self.clear_size:
            part = self._at_position()[: len(target) - filled]
            target[filled : filled + len(part)] = part
            filled += len(part)
            self._position += len(part)
        return filled

    def _at_position(self) -> memoryview:
        segment = bisect_right(self._file.clear_starts, self._position) - 1
        if segment != self._segment:
            self._clear = self._file.open_segment(segment)
            self._segment = segment
        return memoryview(self._clear)[self._position - self._file.clear_starts[segment] :]

    def close(self) -> None:
        if not self.closed:
            self._clear = b""
            os.close(self._file.descriptor)
        super().close()


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise SealedFileBusy("another writer holds the file") from None
        raise


def _write_all(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def _fsync_folder(folder: Path) -> None:
    with _folder(folder) as descriptor:
        os.fsync(descriptor)


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
