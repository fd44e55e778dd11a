"""Where the topmost key lives: the provider interface and the provider that keeps it in a file.

Production keeps the key in a PKCS#11 token behind the same two calls; the file is for demos,
tests and small trials.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_KEY_BYTES = 32


class KeyFault(Exception):
    """A key is missing, destroyed, or doesn't open what it should. Holds no key material."""


class KeyProvider(Protocol):
    """Holds the key-encryption key and never hands it out."""

    @property
    def key_id(self) -> str:
        """Short public name of the current key, stored beside what it wrapped."""
        ...

    def wrap(self, clear_key: bytes, *, context: bytes) -> bytes:
        """Encrypt a key, bound to `context`."""
        ...

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Decrypt a key wrapped with the same `context`; raises `KeyFault`."""
        ...


def seal_key(key: bytes, clear_key: bytes, *, context: bytes) -> bytes:
    """Wrap `clear_key` with AES-256-GCM: nonce (12 bytes), ciphertext, tag (16 bytes)."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, clear_key, context)


def open_key(key: bytes, wrapped: bytes, *, context: bytes) -> bytes:
    """Inverse of `seal_key`; raises `KeyFault` when key, context or bytes don't belong together."""
    try:
        return AESGCM(key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError):
        raise KeyFault("a wrapped key does not open: wrong key, place or bytes") from None


class FileKeyProvider:
    """Keeps the key in one file, readable by its owner only (mode 0600)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded: tuple[bytes, str] | None = None

    @classmethod
    def create(cls, path: Path) -> FileKeyProvider:
        """Make the key file if it isn't there yet; an existing one is never overwritten."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A name of its own: two threads of one process may come here at the same moment.
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_hex(_KEY_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # link, not rename: the first of two processes wins and the loser changes nothing.
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return cls(path)

    @property
    def key_id(self) -> str:
        return self._load()[1]

    def wrap(self, clear_key: bytes, *, context: bytes) -> bytes:
        return seal_key(self._load()[0], clear_key, context=context)

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        return open_key(self._load()[0], wrapped, context=context)

    def _load(self) -> tuple[bytes, str]:
        if self._loaded is None:
            try:
                mode = self._path.stat().st_mode
                text = self._path.read_text().strip()
            except OSError:
                raise KeyFault(f"鍵ファイル {self._path} を読めません。") from None
            if stat.S_IMODE(mode) & 0o077:
                raise KeyFault(f"鍵ファイル {self._path} をほかの利用者が読める状態です。")
            try:
                key = bytes.fromhex(text)
            except ValueError:
                key = b""
            if len(key) != _KEY_BYTES:
                raise KeyFault(f"鍵ファイル {self._path} の形が正しくありません。")
            self._loaded = key, "file-" + hashlib.blake2b(key, digest_size=6).hexdigest()
        return self._loaded
