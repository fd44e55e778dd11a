"""The receive area: a directory where uploads lie, ciphertext from the first byte (R-026, R-041).

One file per upload, `<municipality_code>/<upload id>.sealed`, mode 0600, under a key of its own
that is derived from the town's RECEIVE key. What an upload is called by its sender never becomes
part of a path.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bcl.foundation import keys
from bcl_contract.sealed_file import SealedReader, SealedWriter

_BLOCK_BYTES = 1 << 20
_ENDING = ".sealed"


@dataclass(frozen=True)
class Place:
    """Which upload of which town, and the version of the town's key it is sealed under."""

    municipality_code: str
    upload_id: uuid.UUID
    key_version: int


@dataclass(frozen=True)
class ReceiveArea:
    """The directory `root` and what may be done in it."""

    root: Path

    def current_key_version(self, municipality_code: str) -> int:
        """Version of the town's RECEIVE key that a new upload is sealed under."""
        return keys.data_key(municipality_code, keys.KeyPurpose.RECEIVE).version

    def open_writer(self, place: Place, *, acknowledged: int) -> SealedWriter:
        """Continue (or begin) the file; raises SealedFileBusy while another writer holds it."""
        path = self._path(place)
        self._make_private(path.parent)
        return SealedWriter(
            path, _key(place), context=_context(place), resume=True, acknowledged=acknowledged
        )

    def open_reader(self, place: Place, *, size: int) -> SealedReader:
        """Open a finished upload of exactly `size` clear bytes; SealedFileError otherwise."""
        return SealedReader(
            self._path(place), _key(place), context=_context(place), expected_size=size
        )

    def digest(self, place: Place, *, size: int) -> str:
        """SHA-256 of the clear bytes, lower-case hex."""
        total = hashlib.sha256()
        with self.open_reader(place, size=size) as source:
            while block := source.read(_BLOCK_BYTES):
                total.update(block)
        return total.hexdigest()

    def remove(self, place: Place) -> None:
        """Delete the file; it may be gone already."""
        self._path(place).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Bytes free on the disk of the area for an ordinary user."""
        self._make_private(self.root)
        return shutil.disk_usage(self.root).free

    def stored_uploads(self, municipality_code: str) -> Iterator[uuid.UUID]:
        """Ids of all files of a town that are there."""
        folder = self.root / municipality_code
        if not folder.is_dir():
            return
        for entry in sorted(os.listdir(folder)):
            if entry.endswith(_ENDING):
                try:
                    yield uuid.UUID(entry.removesuffix(_ENDING))
                except ValueError:
                    continue

    def _make_private(self, folder: Path) -> None:
        """Make a folder and those above it that are missing, for this user alone."""
        if not folder.is_dir():
            self._make_private(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)

    def _path(self, place: Place) -> Path:
        return self.root / place.municipality_code / f"{place.upload_id}{_ENDING}"


def _context(place: Place) -> bytes:
    return f"receive|{place.municipality_code}|{place.upload_id}|{place.key_version}".encode()


def _key(place: Place) -> bytes:
    town_key = keys.data_key_version(
        place.municipality_code, keys.KeyPurpose.RECEIVE, place.key_version
    )
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_context(place)).derive(
        town_key.secret
    )
