"""The gateway's settings: one TOML file, read once and checked whole.

Every wrong value stops the start with one Japanese sentence. The environment (本番 or 検証) is
bound to the public key of its server: a gateway set up for verification can't speak to the
production server even if somebody copies the address over (R-040).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from bcl_contract.values import InvalidValue, MunicipalityCode

ENVIRONMENTS = ("production", "verification")
ENVIRONMENT_TEXTS = {"production": "本番", "verification": "検証"}
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_MEBIBYTE = 1 << 20


class ConfigFault(Exception):
    """The settings can't be used; the text is one Japanese sentence for the operator."""


@dataclass(frozen=True)
class ServerSettings:
    """BCL's wire door and how the two ends know each other.

    `public_keys` are SHA-256 fingerprints (hex) of the server certificates' public keys of this
    environment; `receipt_key` is BCL's Ed25519 key for receipts, base64.
    """

    url: str
    ca_file: Path
    certificate_file: Path
    key_file: Path
    public_keys: tuple[str, ...]
    receipt_key: str


@dataclass(frozen=True)
class GatewayConfig:
    """All settings of one gateway. Amounts: bytes and seconds.

    `drop_dir` is where the core system puts finished folders; `work_dir` and `rejected_dir` hold
    clear files and must be on the same disk as it, so that taking a folder is one rename.
    """

    environment: str
    municipality_code: str
    state_dir: Path
    drop_dir: Path
    work_dir: Path
    rejected_dir: Path
    server: ServerSettings
    signing_key_file: Path
    spool_key_file: Path
    interface_version: str = "1.0"
    chunk_bytes: int = 8 * _MEBIBYTE
    connect_timeout_seconds: float = 10.0
    answer_timeout_seconds: float = 120.0
    backoff_first_seconds: float = 1.0
    backoff_longest_seconds: float = 300.0
    settle_seconds: float = 2.0
    unfinished_minutes: float = 60.0
    interval_seconds: float = 10.0
    minimum_free_bytes: int = 1024 * _MEBIBYTE
    first_sequence_main: int = 1
    first_sequence_urgent: int = 1

    @property
    def spool_dir(self) -> Path:
        return self.state_dir / "spool"

    @property
    def journal_file(self) -> Path:
        return self.state_dir / "journal.sqlite3"

    def first_sequence(self, lane: str) -> int:
        """The number the first transmission of a lane gets (another than 1 after a move)."""
        return self.first_sequence_urgent if lane == "urgent" else self.first_sequence_main


def load_config(path: Path) -> GatewayConfig:
    """Read and check a settings file. Raises ConfigFault."""
    try:
        with path.open("rb") as source:
            content = tomllib.load(source)
    except FileNotFoundError:
        raise ConfigFault(f"設定ファイルが見つかりません: {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ConfigFault(f"設定ファイルの書き方が正しくありません: {fault}") from None
    return parse_config(content, base=path.resolve().parent)


def parse_config(content: Mapping[str, Any], *, base: Path) -> GatewayConfig:
    """Check settings given as a mapping; relative paths start at `base`. Raises ConfigFault."""
    table = _Table(dict(content), "", base)
    server = table.table("server")
    tuning = table.table("tuning", optional=True)
    state_dir = table.path("state_dir")
    drop_dir = table.path("drop_dir")
    config = GatewayConfig(
        environment=table.choice("environment", ENVIRONMENTS),
        municipality_code=_municipality(table.text("municipality_code")),
        state_dir=state_dir,
        drop_dir=drop_dir,
        work_dir=table.path("work_dir", default=state_dir / "work"),
        rejected_dir=table.path("rejected_dir", default=state_dir / "rejected"),
        signing_key_file=table.path("signing_key_file"),
        spool_key_file=table.path("spool_key_file", default=state_dir / "spool.key"),
        interface_version=table.text("interface_version", default="1.0"),
        server=ServerSettings(
            url=_url(server.text("url")),
            ca_file=server.path("ca_file"),
            certificate_file=server.path("certificate_file"),
            key_file=server.path("key_file"),
            public_keys=_fingerprints(server.take("public_keys")),
            receipt_key=_receipt_key(server.text("receipt_key")),
        ),
        **_tuning(tuning),
    )
    for checked in (table, server, tuning):
        checked.refuse_rest()
    return config


def _tuning(table: _Table) -> dict[str, Any]:
    """Optional amounts, each with its bounds (shortest and longest sensible value)."""
    values: dict[str, Any] = {
        "chunk_bytes": int(table.number("chunk_mib", 8, 0.0625, 64) * _MEBIBYTE),
        "minimum_free_bytes": int(table.number("minimum_free_mib", 1024, 0, 1 << 20) * _MEBIBYTE),
        "first_sequence_main": int(table.number("first_sequence_main", 1, 1, 99_999_999)),
        "first_sequence_urgent": int(table.number("first_sequence_urgent", 1, 1, 99_999_999)),
    }
    for name, default, low, high in (
        ("connect_timeout_seconds", 10, 0.1, 600),
        ("answer_timeout_seconds", 120, 0.1, 3600),
        ("backoff_first_seconds", 1, 0.01, 600),
        ("backoff_longest_seconds", 300, 0.01, 86400),
        ("settle_seconds", 2, 0, 3600),
        ("unfinished_minutes", 60, 0.01, 1440),
        ("interval_seconds", 10, 0.05, 86400),
    ):
        values[name] = float(table.number(name, default, low, high))
    return values


class _Table:
    """One table of the file, emptied while it is read: what is left over is a spelling mistake."""

    def __init__(self, content: dict[str, Any], name: str, base: Path) -> None:
        self._content, self._name, self._base = content, name, base

    def _title(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key

    def take(self, key: str, default: Any = None) -> Any:
        if key not in self._content and default is None:
            raise ConfigFault(f"設定「{self._title(key)}」がありません。")
        return self._content.pop(key, default)

    def text(self, key: str, default: str | None = None) -> str:
        value = self.take(key, default)
        if not isinstance(value, str) or not value:
            raise ConfigFault(f"設定「{self._title(key)}」は文字で書いてください。")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in choices:
            listed = "、".join(choices)
            raise ConfigFault(f"設定「{self._title(key)}」は {listed} のどれかにしてください。")
        return value

    def path(self, key: str, default: Path | None = None) -> Path:
        if default is not None and key not in self._content:
            return default
        return self._base / Path(self.text(key)).expanduser()

    def number(self, key: str, default: float, low: float, high: float) -> float:
        value = self.take(key, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise ConfigFault(f"設定「{self._title(key)}」は {low}～{high} の数で書いてください。")
        return value

    def table(self, key: str, *, optional: bool = False) -> _Table:
        value = self.take(key, {} if optional else None)
        if not isinstance(value, dict):
            raise ConfigFault(f"設定「{self._title(key)}」は表（[{key}]）で書いてください。")
        return _Table(dict(value), key, self._base)

    def refuse_rest(self) -> None:
        for key in self._content:
            raise ConfigFault(f"設定「{self._title(key)}」は使われない名前です。")


def public_key_fingerprint(certificate_pem: bytes) -> str:
    """SHA-256 (hex) of a certificate's public key, as `server.public_keys` lists it."""
    return fingerprint_of(x509.load_pem_x509_certificate(certificate_pem))


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 (hex) of the certificate's SubjectPublicKeyInfo."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).hexdigest()


def _municipality(text: str) -> str:
    try:
        MunicipalityCode(text)
    except InvalidValue:
        raise ConfigFault(
            "設定「municipality_code」は検査数字を含む6桁の団体コードにしてください。"
        ) from None
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    plain = not (parts.query or parts.fragment or parts.username)
    if parts.scheme != "https" or not parts.hostname or not plain:
        raise ConfigFault("設定「server.url」は https:// で始まる接続先にしてください。")
    return text.rstrip("/")


def _fingerprints(value: Any) -> tuple[str, ...]:
    fine = (
        isinstance(value, list)
        and value
        and all(isinstance(text, str) and _FINGERPRINT.fullmatch(text) for text in value)
    )
    if not fine:
        raise ConfigFault(
            "設定「server.public_keys」は接続先の公開鍵の指紋（16進64文字）の一覧にしてください。"
        )
    return tuple(value)


def _receipt_key(text: str) -> str:
    try:
        fine = len(base64.b64decode(text, validate=True)) == 32
    except binascii.Error:
        fine = False
    if not fine:
        raise ConfigFault("設定「server.receipt_key」は受領証の公開鍵（base64）にしてください。")
    return text
