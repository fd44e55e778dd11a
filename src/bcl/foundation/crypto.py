"""Sealing single values, bound to the place they stand in (D12).

    sealed = crypto.seal_cell("999997", "issuance_record", "content", row_id, clear)
    clear = crypto.open_cell("999997", "issuance_record", "content", row_id, sealed)

A sealed value moved to another town, table, column or row, or opened under another key version,
doesn't open. Layout: format (1 byte, 1), key version (4 bytes, big endian), nonce (12), AES-256-GCM
ciphertext with its tag (16): 33 bytes more than the clear value.
"""

from __future__ import annotations

import hashlib
import secrets
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bcl.foundation import keys
from bcl.foundation.keys import KeyPurpose
from bcl.foundation.places import aad

_FORMAT = 1
_HEAD = struct.Struct(">BI")
_NONCE_BYTES = 12
_TAG_BYTES = 16


class SealFault(Exception):
    """A sealed value doesn't open: altered, or not in the place it was sealed for."""


def seal_cell(
    municipality_code: str,
    table: str,
    column: str,
    row_id: str | int | bytes,
    clear: bytes,
    *,
    purpose: KeyPurpose = KeyPurpose.CELLS,
    version: int | None = None,
) -> bytes:
    """Encrypt `clear` for exactly one place, with the town's current key of `purpose`.

    `version` names the key's version instead, for sealing again after a rotation.
    """
    key = (
        keys.data_key(municipality_code, purpose)
        if version is None
        else keys.data_key_version(municipality_code, purpose, version)
    )
    nonce = secrets.token_bytes(_NONCE_BYTES)
    place = aad(municipality_code, table, column, row_id, key.version)
    return (
        _HEAD.pack(_FORMAT, key.version) + nonce + AESGCM(key.secret).encrypt(nonce, clear, place)
    )


def open_cell(
    municipality_code: str,
    table: str,
    column: str,
    row_id: str | int | bytes,
    sealed: bytes,
    *,
    purpose: KeyPurpose = KeyPurpose.CELLS,
) -> bytes:
    """Decrypt a value of `seal_cell`. Raises `SealFault` (altered or moved) or `KeyFault`."""
    sealed = bytes(sealed)
    if len(sealed) < _HEAD.size + _NONCE_BYTES + _TAG_BYTES:
        raise SealFault("a sealed value is too short")
    form, version = _HEAD.unpack_from(sealed)
    if form != _FORMAT:
        raise SealFault("a sealed value has an unknown format")
    key = keys.data_key_version(municipality_code, purpose, version)
    nonce = sealed[_HEAD.size : _HEAD.size + _NONCE_BYTES]
    place = aad(municipality_code, table, column, row_id, version)
    try:
        return AESGCM(key.secret).decrypt(nonce, sealed[_HEAD.size + _NONCE_BYTES :], place)
    except InvalidTag:
        raise SealFault("a sealed value does not open in this place") from None


def subject_digest(municipality_code: str, subject_key: bytes) -> bytes:
    """Keyed BLAKE2b-128 of a person's key, for audit rows: equal within a town, blind outside."""
    key = keys.data_key(municipality_code, KeyPurpose.IDENTITY)
    return hashlib.blake2b(
        subject_key, digest_size=16, key=key.secret, person=b"bcl-audit-subj"
    ).digest()
