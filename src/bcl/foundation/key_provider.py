"""Where the topmost keys live: one interface, two providers (D13, R-027).

A provider holds one key-encryption key (KEK) for each municipality and never hands it out. One
KEK a town, not one for all: destroying it makes everything of that town unreadable at once, in
every database backup as well (docs/decisions, crypto-erasure). A KEK's id says which provider
holds it, so both can stand side by side while towns move from one to the other.

`key_provider_file` keeps KEKs in files (demos, tests, small trials), `key_provider_pkcs11` in a
hardware token.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
KEY_BYTES = 32
TAG_BYTES = 16
AGENCY = "agency"
"""Owner of the KEK that protects the agency's own signing key, instead of a municipality code."""

_OWNER = re.compile(r"([0-9]{6}|agency)\Z")


class KeyFault(Exception):
    """A key is missing, destroyed, or doesn't open what it should. Holds no key material."""


class KeyErased(KeyFault):
    """The town's keys were destroyed on purpose: its data is unreadable for good (R-027)."""


class KeyLost(KeyFault):
    """The provider answers and has no such key: lost with a device, or the wrong key file. Escrow
    brings it back (docs/guide/keys.md)."""


class KeyProviderAway(KeyFault):
    """The provider itself can't be reached or used: nothing is lost, its keys may come back."""


@dataclass(frozen=True)
class Token:
    """A PKCS#11 token: the vendor's module (.so), its label, the KEKs' label, the PIN's file."""

    module: Path
    label: str
    key_label: str
    pin_file: Path | None = None


class KeyProvider(Protocol):
    """Holds key-encryption keys and never hands them out. Safe to use from several threads.

    All raise `KeyFault`; `KeyProviderAway` when the provider as a whole can't be used.
    """

    name: str

    def check(self) -> None:
        """Raise unless the provider can be used now (start-up, `bcl keys status`)."""
        ...

    def describe(self) -> dict[str, str]:
        """What an operator may see of it: labels and numbers, nothing secret."""
        ...

    def create_kek(self, owner: str) -> str:
        """Make a new KEK for a municipality (or `AGENCY`) and give its id (64 characters at most).

        A KEK whose database row was rolled back stays behind unused; it harms nothing.
        """
        ...

    def kek_ids(self, owner: str | None = None) -> list[str]:
        """Ids of the KEKs it holds, sorted; of one owner or of all."""
        ...

    def wrap(self, kek_id: str, clear_key: bytes, *, context: bytes) -> bytes:
        """Encrypt a key, bound to `context`."""
        ...

    def unwrap(self, kek_id: str, wrapped: bytes, *, context: bytes) -> bytes:
        """Decrypt a key wrapped under the same KEK with the same `context`."""
        ...

    def destroy_kek(self, kek_id: str) -> bool:
        """Destroy a KEK for good; False when it was not there any more."""
        ...


def new_kek_id(prefix: str, owner: str) -> str:
    """A fresh id: provider, owner, 16 random hexadecimal digits."""
    if not _OWNER.match(owner):
        raise ValueError("a key belongs to a municipality code or to the agency")
    return f"{prefix}-{owner}-{secrets.token_hex(8)}"


def owner_of(kek_id: str) -> str:
    """The owner inside a KEK's id; "" for the shared key of the first version."""
    parts = kek_id.split("-")
    return parts[1] if len(parts) == 3 else ""


def seal_key(key: bytes, clear_key: bytes, *, context: bytes) -> bytes:
    """Wrap `clear_key` with AES-256-GCM: nonce (12 bytes), ciphertext, tag (16 bytes)."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, clear_key, context)


def open_key(key: bytes, wrapped: bytes, *, context: bytes) -> bytes:
    """Inverse of `seal_key`; raises `KeyFault` when key, context or bytes don't belong together."""
    try:
        return AESGCM(key).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
    except (InvalidTag, ValueError):
        raise KeyFault("a wrapped key does not open: wrong key, place or bytes") from None
