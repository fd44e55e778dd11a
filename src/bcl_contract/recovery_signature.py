"""署名の確認（signature.py）: who made a recovery package, checked by `reader.py` beside it.

The list of the package (`datapackage.json`) names every file with its digest;
`datapackage.json.sig` is a raw Ed25519 signature over exactly its bytes, by the agency's key. So
one changed byte anywhere shows: in a file by its digest, in the list by its signature. Whose key it
is, people settle: the agency publishes its fingerprint, and it is entered by hand (`--signer`).
Standard library only; the cryptography is OpenSSL's.
"""

# ruff: noqa: T201 - printing is what this program is for
from __future__ import annotations

import ctypes
import hashlib
import hmac
import json
import os
import zipfile
from typing import Any

BLOCK = 1 << 20
LIST, SIGNATURE = "datapackage.json", "datapackage.json.sig"
_ED25519 = 1087  # NID_ED25519


def fingerprint(public_key: bytes) -> str:
    """How people compare a key: the first 32 hexadecimal digits of its SHA-256, in fours."""
    digits = hashlib.sha256(public_key).hexdigest()[:32]
    return "-".join(digits[place : place + 4] for place in range(0, 32, 4))


def is_genuine(crypto: Any, public_key: bytes, signature: bytes, content: bytes) -> bool:
    """Whether the holder of the key signed exactly this content (Ed25519, OpenSSL's `crypto`)."""
    for name in ("EVP_PKEY_new_raw_public_key", "EVP_MD_CTX_new"):
        getattr(crypto, name).restype = ctypes.c_void_p
    key = ctypes.c_void_p(
        crypto.EVP_PKEY_new_raw_public_key(_ED25519, None, public_key, ctypes.c_size_t(32))
    )
    context = ctypes.c_void_p(crypto.EVP_MD_CTX_new())
    try:
        return bool(
            len(public_key) == 32
            and len(signature) == 64
            and key.value
            and crypto.EVP_DigestVerifyInit(context, None, None, None, key) == 1
            and crypto.EVP_DigestVerify(
                context,
                signature,
                ctypes.c_size_t(64),
                content,
                ctypes.c_size_t(len(content)),
            )
            == 1
        )
    finally:
        crypto.EVP_MD_CTX_free(context)
        crypto.EVP_PKEY_free(key)


def check_signature(package: zipfile.ZipFile, path: str, signer: str | None, crypto: Any) -> int:
    """Check the list's signature and print what was found; the number of differences.

    `signer`: what was entered by hand, a fingerprint (32 digits) or a whole public key (64). The
    key comes from there or from `recovery.json` beside the package.
    """
    entered = "".join(letter for letter in (signer or "").lower() if letter in "0123456789abcdef")
    if SIGNATURE not in package.namelist():
        print("  署名なし（BCLの署名のないパッケージです）")
        return int(signer is not None)
    public_key = bytes.fromhex(entered) if len(entered) == 64 else _key_beside(path)
    if public_key is None:
        print("  署名は確かめていません（--signer に機構の公開鍵 64 桁を入れてください）")
        return int(signer is not None)
    own = fingerprint(public_key)
    if not is_genuine(crypto, public_key, package.read(SIGNATURE), package.read(LIST)):
        print(f"  不一致 {LIST}: 署名が合いません（書き換えられたか、署名者が違います）")
        return 1
    expected = own.replace("-", "")
    if signer is not None and len(entered) != 64 and not hmac.compare_digest(entered, expected):
        print(f"  不一致 署名者: 入力した指紋と違います（パッケージの署名者 {own}）")
        return 1
    print(f"  一致 {LIST} の署名　署名者の指紋 {own}")
    if signer is None:
        print("  この指紋を、機構が公表している指紋と見比べてください（--signer で照合できます）")
    return 0


def compare_description(path: str) -> int:
    """Compare the package with `recovery.json` beside it, if it is there; 1 if they differ."""
    beside = os.path.join(os.path.dirname(os.path.abspath(path)), "recovery.json")
    if not os.path.isfile(beside):
        return 0
    try:
        with open(beside, encoding="utf-8") as lines:
            description = dict(json.load(lines))
    except (TypeError, ValueError):
        print("  不一致 recovery.json: 読めません（壊れています）")
        return 1
    if description.get("package") != os.path.basename(path):
        return 0
    digest = hashlib.sha256()
    with open(path, "rb") as source:
        for block in iter(lambda: source.read(BLOCK), b""):
            digest.update(block)
    fine = digest.hexdigest() == description.get("package_sha256")
    print(f"  {'一致' if fine else '不一致'} recovery.json に書かれたパッケージの検査値")
    return int(not fine)


def _key_beside(path: str) -> bytes | None:
    """The public key that `recovery.json` beside the package names."""
    beside = os.path.join(os.path.dirname(os.path.abspath(path)), "recovery.json")
    try:
        with open(beside, encoding="utf-8") as lines:
            key = bytes.fromhex(json.load(lines)["signer"]["public_key"])
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return key if len(key) == 32 else None
