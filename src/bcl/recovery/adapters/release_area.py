"""Where built packages lie: only ciphertext, `recovery.json` and the reader, mode 0600 (step 6)."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

import pyrage

_PIPE_BYTES = 1 << 20


@dataclass(frozen=True)
class SealedPackage:
    """A finished package: where it lies, its SHA-256 (hex) and bytes, both of the ciphertext."""

    path: Path
    sha256: str
    bytes: int


class _Counted:
    """Writes through to a file and keeps digest and length of what went by."""

    def __init__(self, target: BinaryIO) -> None:
        self.target, self.digest, self.bytes = target, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.target.write(data)
        self.digest.update(data)
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None:
        self.target.flush()


def export_folder(root: Path, municipality_code: str, export_id: int) -> Path:
    """The folder of one export."""
    return root / municipality_code / f"export-{export_id}"


def seal_package(
    path: Path, age_public_key: str, write_clear: Callable[[BinaryIO], None]
) -> SealedPackage:
    """Let `write_clear` write a package and encrypt it to one receiver on the way to `path`.

    The clear bytes go through a pipe inside this process: no clear copy exists anywhere. The
    file appears under its name only when it is whole and forced to the disk.
    """
    recipient = pyrage.x25519.Recipient.from_str(age_public_key)
    _make_private(path.parent)
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    faults: list[BaseException] = []
    with os.fdopen(descriptor, "wb") as target:
        counted = _Counted(target)
        reading, writing = os.pipe()
        _enlarge(writing)

        def encrypt() -> None:
            try:
                with os.fdopen(reading, "rb", buffering=_PIPE_BYTES) as clear:
                    pyrage.encrypt_io(clear, counted, [recipient])
            except BaseException as fault:  # carried to the caller's thread
                faults.append(fault)

        thread = threading.Thread(target=encrypt, name="recovery-encrypt")
        thread.start()
        try:
            with os.fdopen(writing, "wb", buffering=_PIPE_BYTES) as clear:
                write_clear(clear)
        except BaseException as fault:
            faults.insert(0, fault)
        thread.join()
        target.flush()
        os.fsync(target.fileno())
    if faults:
        # A package that ends early must never look like one: age's end mark would be there.
        unfinished.unlink(missing_ok=True)
        raise faults[0]
    os.replace(unfinished, path)
    _fsync_folder(path.parent)
    return SealedPackage(path, counted.digest.hexdigest(), counted.bytes)


def add_companions(folder: Path, description: bytes) -> None:
    """Put `recovery.json`, the stand-alone reader and its parts beside a package."""
    for name, content in (
        ("recovery.json", description),
        ("reader.py", files("bcl_contract").joinpath("recovery_reader.py").read_bytes()),
        ("page.py", files("bcl_contract").joinpath("recovery_page.py").read_bytes()),
        ("signature.py", files("bcl_contract").joinpath("recovery_signature.py").read_bytes()),
    ):
        target = folder / name
        target.write_bytes(content)
        target.chmod(0o600)


def copy_package(source: Path, target: Path) -> list[Path]:
    """Copy a release folder's files to where the operator takes them; gives the new paths."""
    target.mkdir(parents=True, exist_ok=True)
    copied = []
    for path in sorted(source.iterdir()):
        shutil.copyfile(path, target / path.name)
        (target / path.name).chmod(0o600)
        copied.append(target / path.name)
    return copied


def remove_package(folder: Path) -> None:
    """Delete a release folder; it may be gone already."""
    shutil.rmtree(folder, ignore_errors=True)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, lower-case hex."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _make_private(folder: Path) -> None:
    """Make a folder and those above it that are missing, for this user alone."""
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _enlarge(descriptor: int) -> None:
    import fcntl

    enlarge = getattr(fcntl, "F_SETPIPE_SZ", None)  # Linux; elsewhere the pipe stays small
    if enlarge is not None:
        try:
            fcntl.fcntl(descriptor, enlarge, _PIPE_BYTES)
        except OSError:
            return


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
