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
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from bcl_contract.values import InvalidValue, MunicipalityCode
from bcl_gateway.bandwidth import HourLimit, SendingLimits

ENVIRONMENTS = ("production", "verification")
ENVIRONMENT_TEXTS = {"production": "本番", "verification": "検証"}
TRANSFER_METHODS = ("builtin", "external")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_AGE_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_SLOWEST_BYTES = 1024
_MEBIBYTE = 1 << 20


class ConfigFault(Exception):
    """The settings can't be used; the text is one Japanese sentence for the operator."""


@dataclass(frozen=True)
class ServerSettings:
    """BCL's wire door and how the two ends know each other.

    `public_keys` are SHA-256 fingerprints (hex) of the server certificates' public keys of this
    environment; `receipt_key` is BCL's Ed25519 key for receipts, base64. Where an external tool
    carries (`GatewayConfig.folders`), only the receipt key is given.
    """

    receipt_key: str
    url: str = ""
    ca_file: Path = Path()
    certificate_file: Path = Path()
    key_file: Path = Path()
    public_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class FolderSettings:
    """The folders an external transfer tool empties and fills (R-014).

    `recipient` is the town's transfer key at BCL (age), `key_id` its name. What has no answer
    after `answer_seconds` is put into the outgoing folder again.
    """

    outgoing_dir: Path
    incoming_dir: Path
    recipient: str
    key_id: str
    answer_seconds: float = 3600.0


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
    purge_minutes: float = 10.0
    rejected_days: float = 14.0
    limits: SendingLimits = field(default_factory=SendingLimits)
    folders: FolderSettings | None = None

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
    sending = table.table("sending", optional=True)
    transfer = table.table("transfer", optional=True)
    folders = _folders(transfer)
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
        server=_server(server, is_called=folders is None),
        limits=_limits(sending),
        folders=folders,
        **_tuning(tuning),
    )
    for checked in (table, server, tuning, sending, transfer):
        checked.refuse_rest()
    return config


def _server(table: _Table, *, is_called: bool) -> ServerSettings:
    """How to reach BCL; without a call of ours (an external tool carries) its key is enough."""
    receipt_key = _receipt_key(table.text("receipt_key"))
    if not is_called:
        return ServerSettings(receipt_key=receipt_key)
    return ServerSettings(
        receipt_key=receipt_key,
        url=_url(table.text("url")),
        ca_file=table.path("ca_file"),
        certificate_file=table.path("certificate_file"),
        key_file=table.path("key_file"),
        public_keys=_fingerprints(table.take("public_keys")),
    )


def _folders(table: _Table) -> FolderSettings | None:
    """The external tool's folders, or None: the built-in way of sending."""
    if table.choice("method", TRANSFER_METHODS, default="builtin") == "builtin":
        return None
    recipient = table.text("recipient")
    if not _AGE_RECIPIENT.fullmatch(recipient):
        raise ConfigFault("設定「transfer.recipient」は age1 で始まる受取鍵にしてください。")
    return FolderSettings(
        outgoing_dir=table.path("outgoing_dir"),
        incoming_dir=table.path("incoming_dir"),
        recipient=recipient,
        key_id=table.text("key_id"),
        answer_seconds=60.0 * float(table.number("answer_minutes", 60, 0.001, 10080)),
    )


def _limits(table: _Table) -> SendingLimits:
    """The bandwidth limits, 0 = none; `hours` are tables with begins, ends, bytes_per_second."""
    rate = int(table.number("bytes_per_second", 0, 0, 1 << 40))
    listed = table.take("hours", [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ConfigFault("設定「sending.hours」は時間帯の一覧で書いてください。")
    hours = []
    for one in listed:
        row = _Table(dict(one), "sending.hours", Path())
        hours.append(
            HourLimit(
                _time_of_day(row.text("begins")),
                _time_of_day(row.text("ends")),
                int(row.number("bytes_per_second", 0, _SLOWEST_BYTES, 1 << 40)),
            )
        )
        row.refuse_rest()
    if 0 < rate < _SLOWEST_BYTES:
        raise ConfigFault("設定「sending.bytes_per_second」は 1024 以上（0は制限なし）です。")
    return SendingLimits(rate or None, tuple(hours))


def _time_of_day(text: str) -> time:
    if not _TIME.fullmatch(text):
        raise ConfigFault("設定「sending.hours」の時刻は 08:30 のように書いてください。")
    return time.fromisoformat(text)


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
        ("purge_minutes", 10, 0.01, 1440),
        ("rejected_days", 14, 0.1, 366),
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

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        value = self.text(key, default)
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
