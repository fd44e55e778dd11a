"""Acts of staff on the command line, signed (D31): who did what, bound to the exact content.

Until sign-in exists a staff member proves an act with an Ed25519 key of their own. The signature
covers act, municipality, staff id, time and the act's own content, so it fits nothing else.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bcl_contract.receipts import canonical_json

MAXIMUM_AGE = timedelta(minutes=10)


@dataclass(frozen=True)
class SignedAct:
    """One act: `act` in glossary words (approve_export …), `content` ids and digests only."""

    act: str
    municipality_code: str
    staff_id: str
    at: datetime
    content: Mapping[str, str | int] = field(default_factory=dict)
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """The bytes under the signature."""
        return canonical_json(
            {
                "act": self.act,
                "municipality_code": self.municipality_code,
                "staff_id": self.staff_id,
                "at": self.at.isoformat(),
                "content": dict(self.content),
            }
        )


def sign_act(
    *,
    act: str,
    municipality_code: str,
    staff_id: str,
    at: datetime,
    content: Mapping[str, str | int],
    private_key: Ed25519PrivateKey,
) -> SignedAct:
    """Make a signed act; `at` must be aware."""
    if at.tzinfo is None:
        raise ValueError("the time of an act needs its offset")
    bare = SignedAct(act, municipality_code, staff_id, at, dict(content))
    signature = base64.b64encode(private_key.sign(bare.signed_bytes())).decode("ascii")
    return SignedAct(act, municipality_code, staff_id, at, dict(content), signature)


def is_genuine(signed: SignedAct, public_key: Ed25519PublicKey, *, now: datetime) -> bool:
    """Did the holder of this key sign exactly this, not longer than ten minutes ago?"""
    if abs(now - signed.at) > MAXIMUM_AGE:
        return False
    try:
        public_key.verify(base64.b64decode(signed.signature, validate=True), signed.signed_bytes())
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True
