"""A software Individual Number Card: one certificate, its key, and a PIN of four digits.

The card is one file. The key lies in it sealed (AES-256-GCM) under a key derived from the PIN with
scrypt; the PIN itself only as a salted hash. Three misses in a row lock the card for good, across
restarts too: a try is counted on disk before it is judged, so pulling the plug gives none for free.
A real chip keeps the key from ever being read; a file can't, so these cards are for simulated
persons only.
"""

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bcl_contract.refusals import Refusal
from bcl_sim.jpki.authority import Authority, Period, PrivateKey, Purpose
from bcl_sim.pki import write_private

MAXIMUM_MISSES = 3
FORMAT = "bcl-software-card-1"
_SCRYPT_COST = 1 << 14


@dataclass(frozen=True)
class _CardFile:
    """What stands in the file: hex texts, the misses so far, nothing about the person."""

    cert: str
    salt: str
    pin_hash: str
    nonce: str
    sealed_key: str
    misses: int


class SoftwareCard:
    """A card file, as a reader sees it."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)

    def read_cert(self) -> bytes | Refusal:
        """Give the certificate as DER (no PIN needed) or KIOSK_CARD_UNREADABLE."""
        content = self._load()
        return content if isinstance(content, Refusal) else bytes.fromhex(content.cert)

    def tries_left(self) -> int | Refusal:
        """Tell how many misses the card still takes; 0 is locked."""
        content = self._load()
        return content if isinstance(content, Refusal) else MAXIMUM_MISSES - content.misses

    def sign(self, challenge: bytes, *, pin: str) -> bytes | Refusal:
        """Sign a challenge with the card's key (SHA-256; RSA PKCS #1 v1.5 or ECDSA).

        Refuses with KIOSK_PIN_FORM (no try used), KIOSK_PIN_WRONG with ``tries_left``,
        KIOSK_CARD_LOCKED, KIOSK_CARD_UNREADABLE.
        """
        if not re.fullmatch(r"[0-9]{4}", pin, re.ASCII):
            return Refusal("KIOSK_PIN_FORM")
        try:
            with self._alone():
                key = self._open_key(pin)
        except OSError:
            return Refusal("KIOSK_CARD_UNREADABLE")
        return key if isinstance(key, Refusal) else _sign(key, challenge)

    def _open_key(self, pin: str) -> PrivateKey | Refusal:
        content = self._load()
        if isinstance(content, Refusal):
            return content
        if content.misses >= MAXIMUM_MISSES:
            return Refusal("KIOSK_CARD_LOCKED")
        counted = replace(content, misses=content.misses + 1)
        _store(self._path, counted)
        seal_key, pin_hash = _derive(pin, bytes.fromhex(content.salt))
        if not hmac.compare_digest(pin_hash, bytes.fromhex(content.pin_hash)):
            left = MAXIMUM_MISSES - counted.misses
            return Refusal("KIOSK_PIN_WRONG", {"tries_left": left}) if left else _LOCKED
        key = _unseal(content, seal_key)
        if not isinstance(key, Refusal):
            _store(self._path, replace(content, misses=0))
        return key

    def _load(self) -> _CardFile | Refusal:
        try:
            content = json.loads(self._path.read_bytes())
            if content.pop("format") != FORMAT:
                return _UNREADABLE
            card = _CardFile(**content)
            x509.load_der_x509_certificate(bytes.fromhex(card.cert))
            if type(card.misses) is not int or card.misses < 0:
                return _UNREADABLE
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return _UNREADABLE
        return card

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the card: two kiosks must not share its three tries."""
        descriptor = os.open(self._path.with_name(self._path.name + ".lock"), _LOCK_FLAGS, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


_LOCK_FLAGS = os.O_RDWR | os.O_CREAT
_LOCKED = Refusal("KIOSK_CARD_LOCKED")
_UNREADABLE = Refusal("KIOSK_CARD_UNREADABLE")


def issue_card(
    authority: Authority,
    path: Path | str,
    *,
    serial_number: int,
    pin: str,
    period: Period,
    purpose: Purpose = Purpose.USER_AUTH,
    key: PrivateKey | None = None,
) -> SoftwareCard:
    """Make a key (RSA 2048 unless given), have it certified, and write the card file (0600).

    Raises `bcl_sim.jpki.authority.AuthorityError` when the serial number has been used, ValueError
    when the PIN is not four digits.
    """
    if not re.fullmatch(r"[0-9]{4}", pin, re.ASCII):
        raise ValueError("a PIN is four digits")
    key = key or rsa.generate_private_key(65537, 2048)
    cert = authority.issue_cert(serial_number, key.public_key(), period, purpose=purpose)
    cert_der = cert.public_bytes(serialization.Encoding.DER)
    key_der = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    seal_key, pin_hash = _derive(pin, salt)
    card = _CardFile(
        cert=cert_der.hex(),
        salt=salt.hex(),
        pin_hash=pin_hash.hex(),
        nonce=nonce.hex(),
        sealed_key=AESGCM(seal_key).encrypt(nonce, key_der, cert_der).hex(),
        misses=0,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _store(path, card)
    return SoftwareCard(path)


def _store(path: Path, card: _CardFile) -> None:
    content = {"format": FORMAT, **vars(card)}
    write_private(path, json.dumps(content, indent=1).encode("ascii"))


def _derive(pin: str, salt: bytes) -> tuple[bytes, bytes]:
    """Derive the sealing key and the hash to compare from a PIN: 32 bytes each."""
    derived = hashlib.scrypt(pin.encode("ascii"), salt=salt, n=_SCRYPT_COST, r=8, p=1, dklen=64)
    return derived[:32], hashlib.sha256(derived[32:]).digest()


def _unseal(card: _CardFile, seal_key: bytes) -> PrivateKey | Refusal:
    try:
        clear = AESGCM(seal_key).decrypt(
            bytes.fromhex(card.nonce), bytes.fromhex(card.sealed_key), bytes.fromhex(card.cert)
        )
    except (InvalidTag, ValueError):
        return _UNREADABLE
    # The seal has shown that this is the key as written; testing its primes again takes 50 ms.
    key = serialization.load_der_private_key(
        clear, password=None, unsafe_skip_rsa_key_validation=True
    )
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError("card key")
    return key


def _sign(key: PrivateKey, challenge: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(challenge, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(challenge, ec.ECDSA(hashes.SHA256()))
