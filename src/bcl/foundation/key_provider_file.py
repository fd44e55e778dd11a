"""The provider that keeps key-encryption keys in files: for demos, tests and small trials.

`provider.key` is the master (mode 0600). Beside it, in `provider.key.d/`, lies one file for each
KEK, sealed under the master and bound to the KEK's id. Deleting a file is no proof against
somebody who reads the disk's free blocks; production uses a token (`key_provider_pkcs11`).
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from pathlib import Path

from bcl.foundation.key_provider import (
    KEY_BYTES,
    KeyFault,
    KeyLost,
    KeyProviderAway,
    new_kek_id,
    open_key,
    owner_of,
    seal_key,
)

PREFIX = "file"
_ENDING = ".kek"
_ID = re.compile(r"file-([0-9]{6}|agency)-[0-9a-f]{16}\Z")


class FileKeyProvider:
    """Keeps each KEK in a file of its own, readable by its owner only (mode 0600)."""

    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.with_name(path.name + ".d")
        self._loaded: tuple[bytes, str] | None = None

    @classmethod
    def create(cls, path: Path) -> FileKeyProvider:
        """Make the master file if it isn't there yet; an existing one is never overwritten."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_once(path, secrets.token_hex(KEY_BYTES))
        return cls(path)

    @property
    def key_id(self) -> str:
        """Short public name of the master key."""
        return self._load()[1]

    def check(self) -> None:
        self._load()

    def describe(self) -> dict[str, str]:
        return {"場所": str(self._path), "番号": self.key_id}

    def create_kek(self, owner: str) -> str:
        kek_id = new_kek_id(PREFIX, owner)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        sealed = seal_key(self._load()[0], secrets.token_bytes(KEY_BYTES), context=kek_id.encode())
        _write_once(self._kek_path(kek_id), sealed.hex())
        return kek_id

    def kek_ids(self, owner: str | None = None) -> list[str]:
        found = sorted(path.name.removesuffix(_ENDING) for path in self._folder.glob("*" + _ENDING))
        return [each for each in found if owner is None or owner_of(each) == owner]

    def wrap(self, kek_id: str, clear_key: bytes, *, context: bytes) -> bytes:
        return seal_key(self._kek(kek_id), clear_key, context=context)

    def unwrap(self, kek_id: str, wrapped: bytes, *, context: bytes) -> bytes:
        return open_key(self._kek(kek_id), wrapped, context=context)

    def destroy_kek(self, kek_id: str) -> bool:
        path = self._kek_path(kek_id)
        try:
            with path.open("r+b") as file:
                file.write(secrets.token_bytes(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except FileNotFoundError:
            return False
        _sync_folder(path.parent)
        return True

    def _kek(self, kek_id: str) -> bytes:
        """Read afresh every time: a KEK destroyed by another process is gone here too."""
        master, master_id = self._load()
        if kek_id == master_id:  # towns of the first version were wrapped by the master itself
            return master
        sealed = _read_private(self._kek_path(kek_id), missing="この団体の鍵がありません。")
        try:
            return open_key(master, sealed, context=kek_id.encode())
        except KeyFault:
            raise KeyLost("鍵ファイルが、この団体の鍵と合いません。") from None

    def _kek_path(self, kek_id: str) -> Path:
        if not _ID.match(kek_id):
            raise KeyFault("この鍵は鍵ファイルの中にありません。")
        return self._folder / (kek_id + _ENDING)

    def _load(self) -> tuple[bytes, str]:
        if self._loaded is None:
            key = _read_private(self._path, missing=None)
            if len(key) != KEY_BYTES:
                raise KeyProviderAway(f"鍵ファイル {self._path} の形が正しくありません。")
            self._loaded = key, "file-" + hashlib.blake2b(key, digest_size=6).hexdigest()
        return self._loaded


def _read_private(path: Path, *, missing: str | None) -> bytes:
    """Bytes of a hexadecimal file of mode 0600. `missing`: what to say when it isn't there."""
    try:
        mode = path.stat().st_mode
        text = path.read_text().strip()
    except FileNotFoundError:
        if missing is not None:
            raise KeyLost(missing) from None
        raise KeyProviderAway(f"鍵ファイル {path} がありません。") from None
    except (OSError, UnicodeDecodeError):
        raise KeyProviderAway(f"鍵ファイル {path} を読めません。") from None
    if stat.S_IMODE(mode) & 0o077:
        raise KeyProviderAway(f"鍵ファイル {path} をほかの利用者が読める状態です。")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise KeyProviderAway(f"鍵ファイル {path} の形が正しくありません。") from None


def _write_once(path: Path, text: str) -> None:
    """Write a private file that nobody sees half; the first of two writers wins."""
    # A name of its own: two threads of one process may come here at the same moment.
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(text.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        # link, not rename: the first of two processes wins and the loser changes nothing.
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
