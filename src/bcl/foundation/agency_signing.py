"""The agency's signature under its proofs (erasure, deletion): Ed25519, one key for the cluster.

The private half lies in the database wrapped under a KEK of its own in the key provider; anybody
verifies with the public half, which every signed proof carries.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.db import connection, transaction

from bcl.foundation import clock, keys
from bcl.foundation.key_provider import AGENCY
from bcl.foundation.models import AgencySigningKey
from bcl_contract.receipts import canonical_json

_CONTEXT = b"bcl agency signing key"
_LOCK = 0x42434C32


class Signature(NamedTuple):
    """Which key signed (`key_id`, `public_key` in hexadecimal) and the signature in base64."""

    key_id: str
    public_key: str
    signature: str


def sign(content: Mapping[str, Any]) -> Signature:
    """Sign a JSON object in its canonical form. Makes the agency's key when there is none yet."""
    return sign_bytes(canonical_json(dict(content)))


def sign_bytes(content: bytes) -> Signature:
    """Sign exactly these bytes (a file's). Makes the agency's key when there is none yet."""
    row = AgencySigningKey.objects.order_by("-pk").first() or _create()
    seed = keys.provider_of(row.provider_key_id).unwrap(
        row.provider_key_id, bytes(row.wrapped_private_key), context=_CONTEXT
    )
    private_key = Ed25519PrivateKey.from_private_bytes(seed)
    signature = base64.b64encode(private_key.sign(content)).decode("ascii")
    return Signature(row.key_id, row.public_key, signature)


def current_public_key() -> tuple[str, bytes]:
    """Id and public half (32 bytes) of the key that signs now; makes it when there is none yet."""
    row = AgencySigningKey.objects.order_by("-pk").first() or _create()
    return row.key_id, bytes.fromhex(row.public_key)


def is_genuine(content: Mapping[str, Any], signed: Signature) -> bool:
    """Whether a known key of the agency signed exactly this."""
    row = AgencySigningKey.objects.filter(key_id=signed.key_id).first()
    if row is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(row.public_key)).verify(
            base64.b64decode(signed.signature, validate=True), canonical_json(dict(content))
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def move_to_current_provider() -> str:
    """Wrap the key under a new KEK of the provider of the settings: a new key of the agency, so
    that proofs signed before keep their own. Gives the new key's id."""
    return _create(always=True).key_id


def _create(*, always: bool = False) -> AgencySigningKey:
    with transaction.atomic():
        with connection.cursor() as db:  # two processes must not make two first keys
            db.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        row = AgencySigningKey.objects.order_by("-pk").first()
        if row is not None and not always:
            return row
        private_key = Ed25519PrivateKey.generate()
        public = private_key.public_key().public_bytes_raw()
        kek_id = keys.provider().create_kek(AGENCY)
        return AgencySigningKey.objects.create(
            key_id="agency-" + hashlib.sha256(public).hexdigest()[:12],
            public_key=public.hex(),
            provider_key_id=kek_id,
            wrapped_private_key=keys.provider().wrap(
                kek_id, private_key.private_bytes_raw(), context=_CONTEXT
            ),
            created_at=clock.now(),
        )
