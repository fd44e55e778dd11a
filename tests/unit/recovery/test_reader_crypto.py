"""The reader's own age: against published vectors and against two other implementations."""

from __future__ import annotations

import io
import shutil
import subprocess

import pyrage
import pytest

from bcl_contract import recovery_reader as reader

PIECE = 64 * 1024


def opened(sealed: bytes, identity, aead=None, monkeypatch=None) -> bytes:
    if aead is not None:
        monkeypatch.setattr(reader, "choose_aead", aead)
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


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 3000])
def test_age__without_openssl__opens_as_well(identity, size, monkeypatch) -> None:
    clear = bytes(range(256)) * (size // 256 + 1)
    sealed = pyrage.encrypt(clear[:size], [identity.to_public()])
    assert opened(sealed, identity, reader.PlainAead, monkeypatch) == clear[:size]


@pytest.mark.skipif(shutil.which("age") is None, reason="the age command is not installed")
def test_age__sealed_by_the_age_command__opens(identity, tmp_path) -> None:
    (tmp_path / "clear").write_bytes(b"age" * 50_000)
    subprocess.run(
        ["age", "-r", str(identity.to_public()), "-o", "sealed", "clear"], cwd=tmp_path, check=True
    )
    assert opened((tmp_path / "sealed").read_bytes(), identity) == b"age" * 50_000


def test_x25519__gives_the_results_of_rfc_7748() -> None:
    # Section 5.2, first vector, and the iterated one (1 and 1,000 times).
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert reader.x25519(scalar, point).hex() == (
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    )
    k = u = (9).to_bytes(32, "little")
    for _ in range(1000):
        k, u = reader.x25519(k, u), k
    assert k.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


@pytest.mark.parametrize("aead", [reader.LibcryptoAead, reader.PlainAead])
def test_chacha20_poly1305__gives_the_result_of_rfc_8439(aead) -> None:
    """Section 2.8.2 has associated data, which age never uses: the same key and text without."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    key, nonce = bytes(range(0x80, 0xA0)), bytes.fromhex("070000004041424344454647")
    clear = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip"
    sealed = ChaCha20Poly1305(key).encrypt(nonce, clear, None)
    assert aead().open(key, nonce, sealed) == clear
    for place in (0, len(clear) // 2, len(sealed) - 1):
        spoiled = bytearray(sealed)
        spoiled[place] ^= 1
        assert aead().open(key, nonce, bytes(spoiled)) is None


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
