"""The reader's own age: against published vectors and against two other implementations."""

from __future__ import annotations

import io
import shutil
import subprocess

import pyrage
import pytest

from bcl_contract import recovery_reader as reader

PIECE = 64 * 1024


def opened(sealed: bytes, identity) -> bytes:
    file = reader.AgeFile(io.BytesIO(sealed), reader.parse_identity(str(identity)))
    return io.BufferedReader(file, PIECE).read()


@pytest.fixture(scope="module")
def identity():
    return pyrage.x25519.Identity.generate()


@pytest.mark.requirement("R-032")
@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 17])
def test_age__sealed_by_another_program__opens_to_the_byte(identity, size) -> None:
    other = pyrage.x25519.Identity.generate().to_public()
    clear = bytes(range(256)) * (size // 256 + 1)
    sealed = pyrage.encrypt(clear[:size], [other, identity.to_public()])
    assert opened(sealed, identity) == clear[:size]


def test_age__machine_without_openssl__says_what_to_do(identity, monkeypatch) -> None:
    monkeypatch.setattr(reader.OpenSsl, "NAMES", ("no-such-library.so",))
    with pytest.raises(reader.Unreadable, match="age -d"):
        opened(pyrage.encrypt(b"x", [identity.to_public()]), identity)


@pytest.mark.skipif(shutil.which("age") is None, reason="the age command is not installed")
def test_age__sealed_by_the_age_command__opens(identity, tmp_path) -> None:
    (tmp_path / "clear").write_bytes(b"age" * 50_000)
    subprocess.run(
        ["age", "-r", str(identity.to_public()), "-o", "sealed", "clear"], cwd=tmp_path, check=True
    )
    assert opened((tmp_path / "sealed").read_bytes(), identity) == b"age" * 50_000


def test_openssl__key_agreement_and_sealed_boxes__agree_with_another_library() -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    openssl = reader.OpenSsl()
    own, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    raw = own.private_bytes_raw()
    assert openssl.public_key(raw) == own.public_key().public_bytes_raw()
    share = other.public_key().public_bytes_raw()
    assert openssl.exchange(raw, share) == own.exchange(other.public_key())
    assert openssl.exchange(raw, bytes(32)) is None  # a point of small order gives no secret

    key, nonce = bytes(range(0x80, 0xA0)), bytes.fromhex("070000004041424344454647")
    sealed = ChaCha20Poly1305(key).encrypt(nonce, b"clear", None)
    assert openssl.open(key, nonce, sealed) == b"clear"
    for place in range(len(sealed)):
        spoiled = bytearray(sealed)
        spoiled[place] ^= 1
        assert openssl.open(key, nonce, bytes(spoiled)) is None


def test_age__read_anywhere__gives_what_lies_there(identity) -> None:
    clear = bytes(i * 7 % 251 for i in range(3 * PIECE + 5))
    sealed = pyrage.encrypt(clear, [identity.to_public()])
    file = io.BufferedReader(
        reader.AgeFile(io.BytesIO(sealed), reader.parse_identity(str(identity)))
    )
    for at in (0, PIECE - 3, 2 * PIECE, 3 * PIECE + 4, 10):
        file.seek(at)
        assert file.read(10) == clear[at : at + 10]
    file.seek(-5, io.SEEK_END)
    assert file.read() == clear[-5:]


@pytest.mark.parametrize("cut", [1, 16, 17, PIECE + 16, 2 * (PIECE + 16)])
def test_age__cut_off_at_any_place__does_not_open(identity, cut) -> None:
    sealed = pyrage.encrypt(b"x" * (3 * PIECE), [identity.to_public()])
    with pytest.raises(reader.Unreadable):
        opened(sealed[:-cut], identity)


def test_key_file__with_one_letter_wrong__is_refused(identity) -> None:
    text = str(identity)
    for place in (20, 40, len(text) - 1):
        wrong = text[:place] + ("Q" if text[place] != "Q" else "P") + text[place + 1 :]
        with pytest.raises(reader.Unreadable):
            reader.parse_identity(wrong)
    with pytest.raises(reader.Unreadable):
        reader.parse_identity("age1something")
    commented = f"# created: today\n# public key: age1\n{text.lower()}\n"
    assert reader.parse_identity(commented) == reader.parse_identity(text)
