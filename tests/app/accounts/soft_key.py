"""A security key in software: makes and answers as WebAuthn says, and badly where a test wants."""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import urlsafe_b64encode
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, HAS_KEY = 0x01, 0x04, 0x40


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class SoftKey:
    """One credential. `count` rises with each answer; `flags` says what the owner did."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.id = secrets.token_bytes(32)
        self.count = 0
        self.flags = PRESENT | VERIFIED

    def make(self, options: str, origin: str, *, host: str = "") -> str:
        """The answer to a question for a new key (JSON)."""
        asked = json.loads(options)
        point = self.private.public_key().public_numbers()
        x, y = point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")
        cose = {1: 2, 3: -7, -1: 1, -2: x, -3: y}
        credential = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cbor2.dumps(cose)
        data = self._data(host or asked["rp"]["id"], HAS_KEY) + credential
        return self._answer(
            clientDataJSON=self._client("webauthn.create", asked["challenge"], origin),
            attestationObject=cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data}),
        )

    def answer(self, options: str, origin: str, *, host: str = "") -> str:
        """The answer to a question at sign-in (JSON)."""
        asked = json.loads(options)
        self.count += 1
        client = self._client("webauthn.get", asked["challenge"], origin)
        data = self._data(host or asked["rpId"], 0)
        signed = data + hashlib.sha256(client).digest()
        signature = self.private.sign(signed, ec.ECDSA(hashes.SHA256()))
        return self._answer(clientDataJSON=client, authenticatorData=data, signature=signature)

    def _data(self, host: str, more: int) -> bytes:
        place = hashlib.sha256(host.encode()).digest()
        return place + bytes([self.flags | more]) + self.count.to_bytes(4, "big")

    @staticmethod
    def _client(kind: str, challenge: str, origin: str) -> bytes:
        facts = {"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": False}
        return json.dumps(facts).encode()

    def _answer(self, **parts: bytes) -> str:
        response: dict[str, Any] = {name: _text(raw) for name, raw in parts.items()}
        name = _text(self.id)
        return json.dumps(
            {"id": name, "rawId": name, "type": "public-key", "response": response}
        )
