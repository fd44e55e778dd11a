"""Signed receipts of transmissions (受領証): BCL's word, so that nobody need believe it.

A receipt is a flat JSON object. BCL signs its canonical form with Ed25519; the gateway keeps
receipt and signature and can show later that these very bytes had arrived (R-015).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

RECEIPT_FIELDS = frozenset(
    {
        "bundle_id",
        "municipality_code",
        "sha256",
        "bytes",
        "state",
        "lane",
        "sequence",
        "received_at",
    }
)
"""`lane` and `sequence` are null until the package has been opened; `received_at` is ISO 8601
with offset; `bytes` is the size of the package, `sha256` its digest in lower-case hex."""


def canonical_json(content: Mapping[str, object]) -> bytes:
    """The one byte form of a JSON object that is signed: sorted keys, no blanks, UTF-8."""
    return json.dumps(
        content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode("utf-8")


def sign(receipt: Mapping[str, object], private_key: Ed25519PrivateKey) -> str:
    """Sign a receipt; gives base64 text. Raises ValueError if a field is missing or too many."""
    if set(receipt) != RECEIPT_FIELDS:
        raise ValueError("a receipt has exactly the fields of RECEIPT_FIELDS")
    return base64.b64encode(private_key.sign(canonical_json(receipt))).decode("ascii")


def verify(
    receipt_json: Mapping[str, object] | bytes | str,
    signature: str,
    public_key: Ed25519PublicKey | bytes | str,
) -> bool:
    """Is this receipt BCL's own? `public_key`: key object, 32 raw bytes or their base64 text.

    False for anything that does not fit (bad JSON, doubled keys, missing or extra fields, bad
    base64, wrong signature); raises ValueError only when the public key itself is unusable.
    """
    key = public_key if isinstance(public_key, Ed25519PublicKey) else parse_public_key(public_key)
    try:
        receipt = (
            receipt_json
            if isinstance(receipt_json, Mapping)
            else json.loads(receipt_json, object_pairs_hook=_without_doubles)
        )
        if not isinstance(receipt, Mapping) or set(receipt) != RECEIPT_FIELDS:
            return False
        key.verify(base64.b64decode(signature, validate=True), canonical_json(receipt))
    except (InvalidSignature, ValueError, TypeError, binascii.Error, RecursionError):
        return False
    return True


def parse_public_key(text: bytes | str) -> Ed25519PublicKey:
    """Read a public key from 32 raw bytes or base64 text; ValueError if it is neither."""
    raw = base64.b64decode(text, validate=True) if isinstance(text, str) else text
    return Ed25519PublicKey.from_public_bytes(raw)


def write_public_key(key: Ed25519PublicKey) -> str:
    """Base64 text of the 32 raw bytes, as gateway configurations carry it."""
    return base64.b64encode(key.public_bytes_raw()).decode("ascii")


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key stands twice")
    return content
