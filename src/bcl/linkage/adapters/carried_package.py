"""Reading a package that an external tool carried: its ciphertext as the body of an upload.

The clear bytes go through a pipe inside this process and from there, sealed again, into the
receive area; no clear copy exists anywhere.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import pyrage

_BLOCK_BYTES = 1 << 20


def digest_of(path: Path, *, size: int) -> str | None:
    """SHA-256 of a file of exactly this size; None when it is missing, a link, or another size."""
    try:
        with _opened(path) as source:
            if os.fstat(source.fileno()).st_size != size:
                return None
            total = hashlib.sha256()
            while block := source.read(_BLOCK_BYTES):
                total.update(block)
    except OSError:
        return None
    return total.hexdigest()


class CarriedBody:
    """The clear bytes of an age file, as `actions.upload.Body`. Use as a context manager.

    `declared` is the length the sender signed for. `read` raises OSError when the ciphertext is
    damaged or of another key.
    """

    def __init__(self, path: Path, identity: str, *, declared: int) -> None:
        self.declared: int | None = declared
        self._path = path
        self._identity = pyrage.x25519.Identity.from_str(identity)
        self._fault: BaseException | None = None

    def __enter__(self) -> Self:
        self._source = _opened(self._path)
        reading, writing = os.pipe()
        self._reading = os.fdopen(reading, "rb", buffering=_BLOCK_BYTES)
        self._thread = threading.Thread(
            target=self._decrypt, args=(writing,), name="carried-decrypt", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._reading.close()  # whoever still writes gets EPIPE and ends
        self._thread.join()
        self._source.close()

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; empty at the end."""
        block: bytes = self._reading.read(size)
        if len(block) < size:
            self._thread.join()
            if self._fault is not None:
                raise OSError("the carried package does not open")
        return block

    def _decrypt(self, writing: int) -> None:
        try:
            with os.fdopen(writing, "wb", buffering=_BLOCK_BYTES) as clear:
                pyrage.decrypt_io(self._source, _Flow(clear), [self._identity])
        except BaseException as fault:  # carried to the reader's thread
            self._fault = fault


class _Flow(io.RawIOBase):
    """What pyrage writes into: the pipe, with `write` and `flush` only."""

    def __init__(self, target: BinaryIO) -> None:
        super().__init__()
        self._target = target

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        return self._target.write(data)

    def flush(self) -> None:
        if not self._target.closed:
            self._target.flush()


def _opened(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return os.fdopen(descriptor, "rb")
