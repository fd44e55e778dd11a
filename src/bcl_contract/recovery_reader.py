#!/usr/bin/env python3
"""リカバリデータ読取りツール（reader.py）: opens a package without BCL and without a network.

One file, Python 3.9 or later, standard library only. It decrypts the package while reading it
(age, X25519): no clear copy is ever written, and memory stays bounded whatever the size, because
age's 64 KiB pieces can be opened one by one at any place.

    python reader.py PACKAGE.zip.age --key KEYFILE [--list 20] [--check] [--signer KEY] [--page]

`--page` opens the town in this machine's browser (page.py), `--check` compares everything with the
signed list (signature.py); both lie beside.
Exit codes: 0 everything matches, 1 the file can't be read, 2 wrong usage, 3 something differs.
"""

# ruff: noqa: T201 - printing is what this program is for
from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import csv
import ctypes
import errno
import hashlib
import hmac
import importlib.util
import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

CHUNK = 64 * 1024
TAG = 16
BLOCK = 1 << 20
RESIDENT_FILE, MEASURE_FILE = "J01", "J04"
ADDRESS = (
    "住所_都道府県",
    "住所_市区郡町村名",
    "住所_町字",
    "住所_番地号表記",
    "住所_方書",
)


class Unreadable(Exception):
    """The package or the key can't be read; the text is for the person at the keyboard."""


# --- age v1 (https://age-encryption.org/v1): X25519 recipients, ChaCha20-Poly1305 pieces ----------


def parse_identity(text: str) -> bytes:
    """Find the `AGE-SECRET-KEY-1…` line of a key file and decode it (bech32) to 32 bytes."""
    for line in text.splitlines():
        if line.strip().upper().startswith("AGE-SECRET-KEY-1"):
            return _bech32_bytes(line.strip())
    raise Unreadable("鍵ファイルに AGE-SECRET-KEY-1 で始まる行がありません。")


def _bech32_bytes(text: str) -> bytes:
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    prefix, _, body = text.lower().rpartition("1")
    values = [alphabet.find(letter) for letter in body]
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = 1
    for value in expanded + values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ max(value, 0)
        for bit, generator in enumerate(
            (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
        ):
            check ^= generator if top >> bit & 1 else 0
    if -1 in values or check != 1:
        raise Unreadable("鍵ファイルの鍵が壊れています（打ち間違いがないか確かめてください）。")
    number = 0
    for value in values[:-6]:
        number = number << 5 | value
    return (number >> (len(values) - 6) * 5 - 256).to_bytes(32, "big")


class OpenSsl:
    """The cryptography of age by the OpenSSL library that Python itself uses; none of it is ours.

    Only three functions are needed: X25519, ChaCha20-Poly1305 and (from `hmac`) HKDF-SHA256.
    """

    NAMES = (
        "libcrypto.so.3",
        "libcrypto-3-x64.dll",
        "libcrypto-3.dll",
        "libcrypto.3.dylib",
        "libcrypto.so.1.1",
        "libcrypto-1_1.dll",
    )
    X25519 = 1034  # NID_X25519
    SET_TAG = 0x11  # EVP_CTRL_AEAD_SET_TAG

    def __init__(self) -> None:
        self.crypto = self._load()
        keys = ("PKEY_new_raw_private_key", "PKEY_new_raw_public_key", "PKEY_CTX_new")
        for name in ("CIPHER_CTX_new", "chacha20_poly1305", *keys):
            getattr(self.crypto, f"EVP_{name}").restype = ctypes.c_void_p
        self.cipher = ctypes.c_void_p(self.crypto.EVP_chacha20_poly1305())

    def _load(self) -> ctypes.CDLL:
        beside = os.path.join(sys.base_prefix, "DLLs")
        for name in self.NAMES:
            for place in (name, os.path.join(beside, name)):
                try:
                    return ctypes.CDLL(place)
                except OSError:
                    continue
        raise Unreadable(
            "OpenSSL が見つからないため復号できません。age コマンドで復号した zip を"
            "指定してください（age -d -i 鍵ファイル -o 復号.zip パッケージ）。"
        )

    def public_key(self, private: bytes) -> bytes:
        """The X25519 public key of a private one, 32 bytes."""
        key = self._key("EVP_PKEY_new_raw_private_key", private)
        out, size = ctypes.create_string_buffer(32), ctypes.c_size_t(32)
        fine = self.crypto.EVP_PKEY_get_raw_public_key(key, out, ctypes.byref(size)) == 1
        self.crypto.EVP_PKEY_free(key)
        if not fine:
            raise Unreadable("鍵ファイルの鍵が使えません。")
        return out.raw

    def exchange(self, private: bytes, peer: bytes) -> bytes | None:
        """X25519 key agreement, 32 bytes; None for a share that gives no secret."""
        library = self.crypto
        own = self._key("EVP_PKEY_new_raw_private_key", private)
        other = self._key("EVP_PKEY_new_raw_public_key", peer)
        context = ctypes.c_void_p(library.EVP_PKEY_CTX_new(own, None))
        out, size = ctypes.create_string_buffer(32), ctypes.c_size_t(32)
        fine = (
            library.EVP_PKEY_derive_init(context) == 1
            and library.EVP_PKEY_derive_set_peer(context, other) == 1
            and library.EVP_PKEY_derive(context, out, ctypes.byref(size)) == 1
        )
        library.EVP_PKEY_CTX_free(context)
        library.EVP_PKEY_free(own)
        library.EVP_PKEY_free(other)
        return out.raw if fine else None

    def _key(self, maker: str, raw: bytes) -> ctypes.c_void_p:
        make = getattr(self.crypto, maker)
        return ctypes.c_void_p(make(self.X25519, None, raw, ctypes.c_size_t(len(raw))))

    def open(self, key: bytes, nonce: bytes, sealed: bytes) -> bytes | None:
        """ChaCha20-Poly1305: clear bytes, or None if the tag does not fit."""
        library = self.crypto
        context = ctypes.c_void_p(library.EVP_CIPHER_CTX_new())
        try:
            body, tag = sealed[:-TAG], sealed[-TAG:]
            out = ctypes.create_string_buffer(len(body) + TAG)
            size = ctypes.c_int(0)
            fine = (
                library.EVP_DecryptInit_ex(context, self.cipher, None, key, nonce) == 1
                and library.EVP_CIPHER_CTX_ctrl(context, self.SET_TAG, TAG, tag) == 1
                and library.EVP_DecryptUpdate(context, out, ctypes.byref(size), body, len(body))
                == 1
                and library.EVP_DecryptFinal_ex(context, None, ctypes.byref(size)) == 1
            )
            return out.raw[: len(body)] if fine else None
        finally:
            library.EVP_CIPHER_CTX_free(context)


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869), one block of 32 bytes."""
    extracted = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


class AgeFile(io.RawIOBase):
    """The clear content of an age file as a seekable file; holds one 64 KiB piece in memory."""

    def __init__(self, source: io.BufferedIOBase, identity: bytes) -> None:
        super().__init__()
        self.source = source
        self.openssl = OpenSsl()
        file_key = self._open_header(identity)
        nonce = source.read(16)
        self.key = hkdf(file_key, nonce, b"payload")
        self.start = source.tell()
        sealed = source.seek(0, os.SEEK_END) - self.start
        self.pieces = -(-sealed // (CHUNK + TAG))
        self.size = sealed - self.pieces * TAG
        self.position = 0
        self.piece, self.clear = -1, b""
        if self.size < 0 or self.pieces == 0:
            raise Unreadable("ファイルが途中で切れています。")
        self._open_piece(self.pieces - 1)  # the last one proves that the end is not cut off

    def _open_header(self, identity: bytes) -> bytes:
        public = self.openssl.public_key(identity)
        line = self.source.readline(100)
        if line != b"age-encryption.org/v1\n":
            raise Unreadable("age 形式の暗号ファイルではありません。")
        header, file_key = line, None
        line = self.source.readline(2000)
        while line.startswith(b"-> "):
            arguments = line.decode("ascii", "replace").split()[1:]
            header += line
            body = b""
            while True:
                line = self.source.readline(100)
                header += line
                body += line.rstrip(b"\n")
                if len(line) < 65:
                    break
            if file_key is None and arguments[0] == "X25519" and len(arguments) == 2:
                file_key = self._unwrap(identity, public, _base64(arguments[1]), _base64(body))
            line = self.source.readline(2000)
        if not line.startswith(b"--- "):
            raise Unreadable("暗号ファイルの先頭部分が壊れています。")
        if file_key is None:
            raise Unreadable("この鍵では開けません（受領者の鍵が違います）。")
        mac = hmac.new(hkdf(file_key, b"", b"header"), header + b"---", hashlib.sha256).digest()
        if not hmac.compare_digest(mac, _base64(line[4:].strip())):
            raise Unreadable("暗号ファイルの先頭部分が書き換えられています。")
        return file_key

    def _unwrap(self, identity: bytes, public: bytes, share: bytes, body: bytes) -> bytes | None:
        if len(share) != 32 or len(body) != 32:
            return None
        secret = self.openssl.exchange(identity, share)
        if secret is None:
            return None
        wrap = hkdf(secret, share + public, b"age-encryption.org/v1/X25519")
        return self.openssl.open(wrap, bytes(12), body)

    def _open_piece(self, number: int) -> None:
        if number == self.piece:
            return
        self.source.seek(self.start + number * (CHUNK + TAG))
        sealed = self.source.read(CHUNK + TAG)
        last = number == self.pieces - 1
        clear = self.openssl.open(self.key, number.to_bytes(11, "big") + bytes([last]), sealed)
        if clear is None:
            raise Unreadable("暗号ファイルが壊れているか、途中で切れています。")
        self.piece, self.clear = number, clear

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = (0, self.position, self.size)[whence] + offset
        return self.position

    def readinto(self, buffer: Any) -> int:
        if self.position >= self.size:
            return 0
        self._open_piece(self.position // CHUNK)
        within = self.position % CHUNK
        part = self.clear[within : within + len(buffer)]
        buffer[: len(part)] = part
        self.position += len(part)
        return len(part)


def _base64(text: bytes | str) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    try:
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except binascii.Error:
        return b""


# --- the package ------------------------------------------------------------------------------


@contextlib.contextmanager
def open_package(path: str, key_path: str | None) -> Iterator[zipfile.ZipFile]:
    """Open a package, encrypted or clear, as a zip that decrypts while it is read."""
    with open(path, "rb") as source:
        clear = source
        if source.read(3) == b"age":
            if key_path is None:
                raise Unreadable(
                    "暗号化されたパッケージです。--key で鍵ファイルを指定してください。"
                )
            with open(key_path, encoding="utf-8") as lines:
                identity = parse_identity(lines.read())
            source.seek(0)
            clear = io.BufferedReader(AgeFile(source, identity), CHUNK)
        with zipfile.ZipFile(clear) as package:
            yield package


def read_manifest(package: zipfile.ZipFile) -> dict[str, Any]:
    """`datapackage.json` of the package."""
    try:
        with package.open("datapackage.json") as member:
            manifest: dict[str, Any] = json.loads(member.read(64 * BLOCK))
            return manifest
    except (KeyError, ValueError):
        raise Unreadable("datapackage.json がないか、読めません。") from None


def manifest_files(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Files of the manifest: name, file_id, rows, bytes, sha256."""
    return [
        {
            "name": entry["path"],
            "file_id": entry["bcl"]["file_id"],
            "rows": entry["bcl"]["rows"],
            "bytes": entry["bytes"],
            "sha256": entry["hash"].split(":")[-1],
        }
        for entry in manifest["resources"]
    ]


def check(package: zipfile.ZipFile, files: list[dict[str, Any]]) -> int:
    """Compare every member's bytes, rows and digest with the manifest; number of differences."""
    wrong = 0
    for entry in files:
        digest, size, lines, last = hashlib.sha256(), 0, 0, b"\n"
        try:
            with package.open(entry["name"]) as member:
                while block := member.read(BLOCK):
                    digest.update(block)
                    size += len(block)
                    lines += block.count(b"\n")
                    last = block[-1:]
        except KeyError:
            print(f"  不一致 {entry['name']}: パッケージの中にありません")
            wrong += 1
            continue
        rows = lines + (last != b"\n") - 1 if entry["name"].endswith(".csv") else entry["rows"]
        fine = (
            digest.hexdigest() == entry["sha256"]
            and size == entry["bytes"]
            and rows == entry["rows"]
        )
        wrong += not fine
        if not fine or entry["name"].endswith(".csv"):
            print(f"  {'一致' if fine else '不一致'} {entry['name']} {rows}件 {size}バイト")
    known = {entry["name"] for entry in files} | {"datapackage.json", "datapackage.json.sig"}
    for name in package.namelist():
        if name not in known:
            print(f"  不一致 {name}: 一覧にないファイルです")
            wrong += 1
    return wrong


def residents(package: zipfile.ZipFile, files: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    """Current residents (latest row, still resident, not deleted), row by row."""
    for entry in files:
        if entry["file_id"] == RESIDENT_FILE:
            with package.open(entry["name"]) as member:
                lines = io.TextIOWrapper(member, encoding="utf-8", newline="")
                for row in csv.DictReader(lines, strict=True):
                    if (
                        row["最新フラグ"] == "1"
                        and row["住民状態"] == "1"
                        and row["除票フラグ"] != "1"
                        and row["削除フラグ"] != "1"
                    ):
                        yield row


def protected_households(package: zipfile.ZipFile, files: list[dict[str, Any]]) -> set[str]:
    """Households of persons under a protective measure, also of one that has ended: a list is no
    place to weigh that."""
    persons = set()
    for entry in files:
        if entry["file_id"] == MEASURE_FILE:
            with package.open(entry["name"]) as member:
                lines = io.TextIOWrapper(member, encoding="utf-8", newline="")
                for row in csv.DictReader(lines, strict=True):
                    if row["対象者区分"] in ("1", "2") and row["削除フラグ"] != "1":
                        persons.add(row["宛名番号"])
    return {row["世帯番号"] for row in residents(package, files) if row["宛名番号"] in persons}


def extract(package: zipfile.ZipFile, files: list[dict[str, Any]], folder: str) -> None:
    """Write the files in clear to a new folder that only this user may read."""
    os.mkdir(folder, 0o700)
    for name in [*(entry["name"] for entry in files), "datapackage.json"]:
        package.extract(name, folder)
    print(f"{folder} に {len(files)} 個のファイルを書き出しました。暗号化されていません。")
    print("新しい住民情報システムへの取込みが終わったら、必ず消してください。")


def list_residents(package: zipfile.ZipFile, files: list[dict[str, Any]], households: int) -> None:
    """Print the first households with their members, and how many there are in all. The address of
    a household in which somebody is under a protective measure stays out of the list."""
    guarded = protected_households(package, files)
    chosen: dict[str, list[dict[str, str]]] = {}
    every: set[str] = set()
    total = 0
    for row in residents(package, files):
        number = row["世帯番号"]
        total += 1
        every.add(number)
        if number in chosen or len(chosen) < households:
            chosen.setdefault(number, []).append(row)
    print(f"住民 {total}人、世帯 {len(every)}世帯（はじめの {len(chosen)}世帯を表示）")
    for number, members in chosen.items():
        mark = "　支援措置のある世帯です。住所は一覧に出しません" if number in guarded else ""
        print(f"世帯 {number}（{len(members)}人）{mark}")
        for row in sorted(members, key=lambda row: int(row.get("記載順位") or 0)):
            born = row.get("生年月日_不詳表記") or row["生年月日"]
            address = "－" if mark else "".join(row.get(part) or "" for part in ADDRESS)
            print(f"  {row['氏名']}\t{row['続柄表記']}\t{born}\t{address}")


def describe(manifest: dict[str, Any], files: list[dict[str, Any]]) -> None:
    """Print what the package is."""
    facts = manifest["bcl"]
    print(f"団体コード {facts['municipality_code']}　基準日時 {facts['as_of']}")
    print(f"インタフェース版 {facts['interface_version']}　通番 {facts['sequence']}")
    for entry in files:
        if entry["name"].endswith(".csv"):
            print(f"  {entry['file_id']}: {entry['rows']}件")
    images = sum(1 for entry in files if not entry["name"].endswith(".csv"))
    if images:
        print(f"  印影画像: {images}枚")


def load_beside(name: str) -> Any:
    """The module of the file `name` beside this one, whatever the search path; None if absent."""
    folder = os.path.dirname(os.path.abspath(__file__))
    for path in (os.path.join(folder, name), os.path.join(folder, f"recovery_{name}")):
        spec = importlib.util.spec_from_file_location(f"recovery_{name[:-3]}", path)
        if os.path.isfile(path) and spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return None


def load_page() -> Any:
    """The module of the pages (page.py)."""
    page = load_beside("page.py")
    if page is None:
        raise Unreadable("page.py がありません。reader.py と同じ場所に置いてください。")
    return page


def check_signer(package: zipfile.ZipFile, path: str, signer: str | None) -> int:
    """Check the signer and `recovery.json` (signature.py); the number of differences."""
    module = load_beside("signature.py")
    if module is None:
        print("  署名は確かめていません（signature.py を reader.py と同じ場所に置いてください）")
        return int(signer is not None)
    wrong = module.check_signature(package, path, signer, OpenSsl().crypto)
    return int(wrong + module.compare_description(path))


def name_file_fault(fault: OSError) -> str:
    """Say which file can't be used: a mistyped name must not pass for a broken package."""
    if isinstance(fault, FileNotFoundError):
        return f"ファイルが見つかりません（{fault.filename}）。名前と置き場所を確かめてください。"
    if isinstance(fault, PermissionError):
        return f"このファイルを使う権限がありません（{fault.filename}）。"
    if isinstance(fault, IsADirectoryError):
        return f"ファイルではなくフォルダです（{fault.filename}）。"
    if fault.errno == errno.ENOSPC:
        return "書き出し先の空きが足りません。"
    return f"パッケージが壊れています（{type(fault).__name__}）。"


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    program = argparse.ArgumentParser(
        prog="reader.py",
        usage="python reader.py パッケージ.zip.age --key 鍵ファイル"
        " [--list 世帯数] [--check] [--signer 指紋] [--page] [--extract フォルダ]",
        description="リカバリデータのパッケージを、BCLもネットワークも使わずに開いて確かめます。",
        add_help=False,
    )
    parser = program.add_argument_group("指定")
    parser.add_argument("package", metavar="パッケージ", help=".zip.age（または復号済みの .zip）")
    parser.add_argument("--key", metavar="鍵ファイル", help="受領者の鍵（AGE-SECRET-KEY-1…）")
    parser.add_argument(
        "--list", type=int, metavar="世帯数", dest="households", help="住民票を世帯ごとに一覧する"
    )
    parser.add_argument("--check", action="store_true", help="件数とSHA-256を一覧と突き合わせる")
    parser.add_argument("--signer", metavar="指紋", help="機構が公表した署名者の指紋（か公開鍵）")
    parser.add_argument("--extract", metavar="フォルダ", help="照合して、CSVを書き出す（平文）")
    parser.add_argument("--page", action="store_true", help="この機械のブラウザで住民をさがす")
    parser.add_argument("-h", "--help", action="help", help="この説明を表示する")
    return program.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the reader; gives the exit code."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    chosen = parse_arguments(arguments)
    try:
        with open_package(chosen.package, chosen.key) as package:
            manifest = read_manifest(package)
            files = manifest_files(manifest)
            describe(manifest, files)
            wrong = 0
            if chosen.check or chosen.signer or chosen.extract:
                wrong = check_signer(package, chosen.package, chosen.signer)
                wrong += check(package, files)
                print(f"照合の結果: {f'{wrong}件の不一致' if wrong else 'すべて一致しました'}")
            if chosen.households is not None:
                list_residents(package, files, chosen.households)
            if chosen.extract and not wrong:
                extract(package, files, chosen.extract)
            if chosen.page and not wrong:
                load_page().serve(package, files, manifest["bcl"])
    except Unreadable as reason:
        print(f"開けません: {reason}", file=sys.stderr)
        return 1
    except FileExistsError:
        print(f"書き出し先 {chosen.extract} はすでにあります。", file=sys.stderr)
        return 2
    except OSError as fault:
        print(f"開けません: {name_file_fault(fault)}", file=sys.stderr)
        return 1
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, csv.Error) as fault:
        print(f"開けません: パッケージが壊れています（{type(fault).__name__}）。", file=sys.stderr)
        return 1
    return 3 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
