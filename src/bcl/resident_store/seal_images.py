"""Seal impressions (印影): sealed blobs of their own, found by a keyed digest (D19)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable

from bcl.foundation import crypto, keys
from bcl.foundation.keys import KeyPurpose
from bcl.resident_store.models import SealImage

_TABLE, _COLUMN = "resident_store_sealimage", "sealed"


def image_key(municipality_code: str, sha256: str) -> uuid.UUID:
    """The keyed digest under which an image with this SHA-256 (hexadecimal) lies."""
    secret = keys.data_key(municipality_code, KeyPurpose.IDENTITY).secret
    digest = hashlib.blake2b(
        sha256.lower().encode(), digest_size=16, key=secret, person=b"bcl-seal-image"
    ).digest()
    return uuid.UUID(bytes=digest)


def store_images(
    municipality_code: str, load_number: int, images: Iterable[tuple[str, bytes]]
) -> int:
    """Seal and store images that are not stored yet; gives how many were new.

    `images` are (member name, PNG bytes); the name is not kept: S02 holds it.
    """
    new = 0
    for _, content in images:
        key = image_key(municipality_code, hashlib.sha256(content).hexdigest())
        if SealImage.objects.filter(municipality_code=municipality_code, image_key=key).exists():
            continue
        SealImage.objects.create(
            municipality_code=municipality_code, image_key=key, load_number=load_number,
            sealed=crypto.seal_cell(
                municipality_code, _TABLE, _COLUMN, str(key), content,
                purpose=KeyPurpose.SEAL_IMAGES,
            ),
        )
        new += 1
    return new


def has_image(municipality_code: str, sha256: str) -> bool:
    """Whether the image with this SHA-256 is stored."""
    return SealImage.objects.filter(
        municipality_code=municipality_code, image_key=image_key(municipality_code, sha256)
    ).exists()


def read_image(municipality_code: str, sha256: str) -> bytes | None:
    """The image with this SHA-256, None when it isn't stored. Raises `crypto.SealFault`."""
    key = image_key(municipality_code, sha256)
    row = SealImage.objects.filter(municipality_code=municipality_code, image_key=key).first()
    if row is None:
        return None
    clear = crypto.open_cell(
        municipality_code, _TABLE, _COLUMN, str(key), bytes(row.sealed),
        purpose=KeyPurpose.SEAL_IMAGES,
    )
    if hashlib.sha256(clear).hexdigest() != sha256.lower():
        raise crypto.SealFault("a seal image is not the one its key names")
    return clear
