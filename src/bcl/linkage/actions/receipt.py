"""Signing receipts: BCL's word for what it holds of a transmission (R-015)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl.foundation import crypto, tenancy
from bcl.linkage.models import ReceiptKey, Transmission
from bcl_contract import clock, receipts

_TABLE = "linkage_receiptkey"
_COLUMN = "sealed_private_key"
_FIRST_KEY = "receipt-1"


@dataclass(frozen=True)
class SignedReceipt:
    """A receipt as `bcl_contract.receipts` knows it, its signature and the key's name."""

    receipt: dict[str, str | int | None]
    signature: str
    key_id: str


def sign_receipt(transmission: Transmission, *, at: datetime) -> SignedReceipt:
    """Sign what is on record of a transmission now, inside the caller's scope."""
    key = _current_key(transmission.municipality_code, at=at)
    receipt: dict[str, str | int | None] = {
        "bundle_id": transmission.bundle_id,
        "municipality_code": transmission.municipality_code,
        "sha256": transmission.sha256,
        "bytes": transmission.bytes,
        "state": transmission.state,
        "lane": transmission.lane or None,
        "sequence": transmission.sequence,
        "received_at": transmission.received_at.astimezone(clock.JST).isoformat(),
    }
    signature = receipts.sign(receipt, _opened(transmission.municipality_code, key))
    return SignedReceipt(receipt, signature, key.key_id)


def open_receipt_key(municipality_code: str, *, at: datetime) -> Ed25519PrivateKey:
    """The town's current receipt key, for whole answers (drop folders); in the caller's scope."""
    return _opened(municipality_code, _current_key(municipality_code, at=at))


def _opened(municipality_code: str, key: ReceiptKey) -> Ed25519PrivateKey:
    seed = crypto.open_cell(
        municipality_code, _TABLE, _COLUMN, key.key_id, bytes(key.sealed_private_key)
    )
    return Ed25519PrivateKey.from_private_bytes(bytes(seed))


def get_receipt_public_key(municipality_code: str, *, at: datetime) -> str:
    """Public key of the town's receipts (base64), to be written into its gateway's settings."""
    with tenancy.scope(municipality_code):
        return _current_key(municipality_code, at=at).public_key


def _current_key(municipality_code: str, *, at: datetime) -> ReceiptKey:
    key = ReceiptKey.objects.order_by("-id").first()
    return key if key is not None else _create_first_key(municipality_code, at=at)


def _create_first_key(municipality_code: str, *, at: datetime) -> ReceiptKey:
    """Two first receipts at the same moment: the unique name lets one win, both use it."""
    private_key = Ed25519PrivateKey.generate()
    sealed = crypto.seal_cell(
        municipality_code, _TABLE, _COLUMN, _FIRST_KEY, private_key.private_bytes_raw()
    )
    key, _ = ReceiptKey.objects.get_or_create(
        municipality_code=municipality_code,
        key_id=_FIRST_KEY,
        defaults={
            "public_key": receipts.write_public_key(private_key.public_key()),
            "sealed_private_key": sealed,
            "created_at": at,
        },
    )
    return key
