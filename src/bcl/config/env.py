"""Every environment variable of the cloud, read here and nowhere else.

`read` turns the variables into one typed, frozen `Settings`. A bad value raises `SettingsError`
with one Japanese sentence that names the variable (never its value: some hold passwords).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from bcl.foundation.key_provider import Token
from bcl.foundation.postgres_settings import Tuning

Environment = Literal["demo", "test", "production"]
ProcessRole = Literal["wire", "console", "worker", "guard", "command"]
KeyProviderName = Literal["file", "pkcs11"]
DatabaseRole = Literal["app", "owner", "agency", "guard"]

_WORLD_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")
_MEBIBYTE = 1024 * 1024


class SettingsError(Exception):
    """A setting is missing or wrong. The text is one Japanese sentence for the operator."""


@dataclass(frozen=True)
class TlsServer:
    """Where a door listens and the files of its TLS identity (PEM)."""

    host: str = "127.0.0.1"
    port: int = 8443
    certificate_file: Path | None = None
    private_key_file: Path | None = None
    client_ca_file: Path | None = None
    workers: int = 1
    threads: int = 8
    timeout_seconds: int = 120
    max_body_bytes: int = 16 * _MEBIBYTE


@dataclass(frozen=True)
class HealthServer:
    """Plain HTTP on loopback for `/health` and `/metrics`: probes hold no certificate."""

    host: str = "127.0.0.1"
    port: int = 0


@dataclass(frozen=True)
class Worker:
    """Background jobs: how many at once, and after how long a silent worker counts as dead."""

    concurrency: int = 2
    stalled_seconds: int = 15
    shutdown_seconds: int = 30


@dataclass(frozen=True)
class IssuanceFiles:
    """What issuing needs from outside the database; checked when it is first used."""

    font_file: Path | None = None
    jpki_ocsp_url: str = ""
    jpki_roots_file: Path | None = None
    signing_key_file: Path | None = None
    guard_socket: Path | None = None


@dataclass(frozen=True)
class Malware:
    """The malware engine (R-165): clamd's socket, whether nothing may enter unchecked, and the
    largest piece it takes (a little below clamd's StreamMaxLength)."""

    clamd_socket: Path | None = None
    is_required: bool = False
    piece_bytes: int = 24 * _MEBIBYTE
    timeout_seconds: int = 120


@dataclass(frozen=True)
class Backup:
    """BCL's own backup: the second place, its credentials, and when it alarms (R-034, R-042)."""

    directory: Path | None = None
    url: str = field(default="", repr=False)
    site: str = ""
    database_site: str = ""
    longest_age_hours: int = 26
    most_wal_behind_mb: int = 64
    nightly_drill: bool = False
    drill_longest_age_hours: int = 26
    longest_rpo_seconds: int = 60
    longest_rto_seconds: int = 300


@dataclass(frozen=True)
class Settings:
    """All settings of one process of the cloud. Passwords stay out of `repr`."""

    environment: Environment
    world: str
    state_dir: Path
    process_role: ProcessRole
    zone: str
    database_role: DatabaseRole
    key_file: Path
    receive_dir: Path
    folder_transfer_dir: Path | None = None
    key_provider: KeyProviderName = "file"
    key_token: Token | None = None
    backup_retention_days: int = 35
    audit_heads_dir: Path = Path("/var/lib/bcl/audit-heads")
    backup: Backup = Backup()
    malware: Malware = Malware()
    clock_offset_seconds: int = 0
    minimum_free_mb: int = 1024
    log_level: str = "INFO"
    external_urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    postgres_bin_dir: Path | None = None
    cluster: Tuning = field(default_factory=Tuning)
    wire: TlsServer = TlsServer()
    console: TlsServer = TlsServer()
    health: HealthServer = HealthServer()
    worker: Worker = Worker()
    issuance: IssuanceFiles = IssuanceFiles()

    @property
    def postgres_dir(self) -> Path:
        """Directory of the embedded cluster (binaries, data, socket, passwords)."""
        return self.state_dir / "postgres"

    @property
    def uses_external_cluster(self) -> bool:
        return bool(self.external_urls)


def default_state_dir(world: str, environ: Mapping[str, str] | None = None) -> Path:
    """State directory of a world: under /var/lib as root, else in the user's state directory."""
    environ = os.environ if environ is None else environ
    if os.geteuid() == 0:
        return Path("/var/lib/bcl") / world
    base = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "bcl" / world


def read(environ: Mapping[str, str] | None = None) -> Settings:
    """Read all settings from `environ` (the process environment by default).

    Raises `SettingsError` with one Japanese sentence naming the first bad variable.
    """
    env = _Reader(os.environ if environ is None else environ)
    world = env.text("BCL_WORLD", "demo")
    if not _WORLD_NAME.match(world):
        raise SettingsError(
            "BCL_WORLD は英小文字で始まる32文字以内の英小文字・数字・ハイフンにしてください。"
        )
    state_dir = env.path("BCL_STATE_DIR") or default_state_dir(world, env.environ)
    settings = Settings(
        environment=env.choice("BCL_ENVIRONMENT", "demo", ("demo", "test", "production")),  # type: ignore[arg-type]
        world=world,
        state_dir=state_dir,
        process_role=env.choice("BCL_ROLE", "command", get_args(ProcessRole)),  # type: ignore[arg-type]
        zone=env.choice("BCL_ZONE", "ALL", ("ALL", "LGWAN", "IP_VPN", "OPERATIONS", "INTERNET")),
        database_role=env.choice("BCL_DATABASE_ROLE", "app", get_args(DatabaseRole)),  # type: ignore[arg-type]
        key_file=env.path("BCL_KEY_FILE") or state_dir / "keys" / "provider.key",
        key_provider=env.choice("BCL_KEY_PROVIDER", "file", ("file", "pkcs11")),  # type: ignore[arg-type]
        key_token=_key_token(env),
        backup_retention_days=env.integer("BCL_BACKUP_RETENTION_DAYS", 35, low=1, high=3660),
        backup=_backup(env),
        malware=_malware(env),
        audit_heads_dir=env.path("BCL_AUDIT_HEADS_DIR") or state_dir / "audit-heads",
        receive_dir=env.path("BCL_RECEIVE_DIR") or state_dir / "receive",
        folder_transfer_dir=env.path("BCL_FOLDER_TRANSFER_DIR"),
        clock_offset_seconds=env.integer("BCL_CLOCK_OFFSET_SECONDS", 0, low=-(10**10)),
        minimum_free_mb=env.integer("BCL_MINIMUM_FREE_MB", 1024, low=0),
        log_level=env.choice("BCL_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        external_urls=_external_urls(env),
        postgres_bin_dir=env.path("BCL_POSTGRES_BIN_DIR"),
        cluster=_cluster_sizes(env),
        wire=_tls_server(env, "WIRE", port=8443),
        console=_tls_server(env, "CONSOLE", port=8444),
        health=HealthServer(
            host=env.text("BCL_HEALTH_HOST", "127.0.0.1"),
            port=env.integer("BCL_HEALTH_PORT", 0, low=0, high=65535),
        ),
        worker=_worker(env),
        issuance=IssuanceFiles(
            font_file=env.path("BCL_FONT_IPAMJ"),
            jpki_ocsp_url=env.text("BCL_JPKI_OCSP_URL", ""),
            jpki_roots_file=env.path("BCL_JPKI_ROOTS_FILE"),
            signing_key_file=env.path("BCL_ISSUANCE_SIGNING_KEY_FILE"),
            guard_socket=env.path("BCL_GUARD_SOCKET"),
        ),
    )
    if settings.environment == "production":
        _require_production(settings)
    return settings


def _require_production(settings: Settings) -> None:
    """What production must not have (another clock) and must have (a zone, verified TLS)."""
    if settings.clock_offset_seconds:
        raise SettingsError(
            "BCL_CLOCK_OFFSET_SECONDS は試験用です。本番環境では設定しないでください。"
        )
    if settings.zone == "ALL" and settings.process_role in ("wire", "console"):
        raise SettingsError(
            "本番環境の入口は BCL_ZONE（LGWAN、IP_VPN など）を必ず設定してください。"
        )
    _require_verified_tls(settings.external_urls)


def _require_verified_tls(urls: Mapping[str, str]) -> None:
    """An external cluster of production is reached over verified TLS or a local socket."""
    for role, url in urls.items():
        try:
            parts = conninfo_to_dict(url)
        except ProgrammingError:
            parts = {}
        is_local = str(parts.get("host", "")).startswith("/")
        if not is_local and parts.get("sslmode") != "verify-full":
            name = f"BCL_DATABASE_URL_{role.upper()}"
            raise SettingsError(f"本番環境の {name} には sslmode=verify-full を付けてください。")


def _external_urls(env: _Reader) -> dict[str, str]:
    urls = {
        role: env.text(f"BCL_DATABASE_URL_{role.upper()}", "")
        for role in ("owner", "app", "agency", "guard")
    }
    urls = {role: url for role, url in urls.items() if url}
    if urls and "app" not in urls:
        raise SettingsError(
            "外部データベースを使うときは BCL_DATABASE_URL_APP を必ず設定してください。"
        )
    return urls


def _systemd_credential(env: _Reader, name: str) -> Path | None:
    """The file of a credential that systemd hands to the service, if it hands out any."""
    folder = env.path("CREDENTIALS_DIRECTORY")
    return folder / name if folder is not None else None


def _key_token(env: _Reader) -> Token | None:
    """The PKCS#11 token, if one is set. The PIN itself stays in its file."""
    module = env.path("BCL_PKCS11_MODULE")
    if module is None:
        if env.text("BCL_KEY_PROVIDER", "file") == "pkcs11":
            raise SettingsError(
                "BCL_KEY_PROVIDER=pkcs11 のときは BCL_PKCS11_MODULE に鍵装置のモジュール"
                "（.so ファイル）を設定してください。"
            )
        return None
    return Token(
        module=module,
        label=env.text("BCL_PKCS11_TOKEN", "bcl"),
        key_label=env.text("BCL_PKCS11_KEY_LABEL", "bcl-kek"),
        pin_file=env.path("BCL_PKCS11_PIN_FILE") or _systemd_credential(env, "bcl-pkcs11-pin"),
    )


def _worker(env: _Reader) -> Worker:
    return Worker(
        concurrency=env.integer("BCL_WORKER_CONCURRENCY", 2, low=1, high=64),
        stalled_seconds=env.integer("BCL_WORKER_STALLED_SECONDS", 15, low=3),
        shutdown_seconds=env.integer("BCL_WORKER_SHUTDOWN_SECONDS", 30, low=1),
    )


def _malware(env: _Reader) -> Malware:
    plain = Malware()
    # Who runs for real says so himself when nothing shall be checked.
    usual = "required" if env.text("BCL_ENVIRONMENT", "demo") == "production" else "if_present"
    rule = env.choice("BCL_MALWARE_CHECK", usual, ("required", "if_present"))
    return Malware(
        clamd_socket=env.path("BCL_CLAMD_SOCKET"),
        is_required=rule == "required",
        piece_bytes=_MEBIBYTE * env.integer("BCL_CLAMD_STREAM_MB", 24, low=1, high=4000),
        timeout_seconds=env.integer("BCL_CLAMD_TIMEOUT_SECONDS", plain.timeout_seconds, low=1),
    )


def _backup(env: _Reader) -> Backup:
    plain = Backup()
    return Backup(
        directory=env.path("BCL_BACKUP_DIR"),
        url=env.text("BCL_DATABASE_URL_BACKUP", ""),
        site=env.text("BCL_BACKUP_SITE", ""),
        database_site=env.text("BCL_DATABASE_SITE", ""),
        longest_age_hours=env.integer("BCL_BACKUP_MAX_AGE_HOURS", plain.longest_age_hours, low=1),
        most_wal_behind_mb=env.integer("BCL_BACKUP_MAX_WAL_MB", plain.most_wal_behind_mb, low=1),
        nightly_drill=env.choice("BCL_NIGHTLY_DRILL", "off", ("on", "off")) == "on",
        drill_longest_age_hours=env.integer(
            "BCL_DRILL_MAX_AGE_HOURS", plain.drill_longest_age_hours, low=1
        ),
        longest_rpo_seconds=env.integer("BCL_RPO_SECONDS", plain.longest_rpo_seconds, low=1),
        longest_rto_seconds=env.integer("BCL_RTO_SECONDS", plain.longest_rto_seconds, low=1),
    )


def _cluster_sizes(env: _Reader) -> Tuning:
    plain = Tuning()
    return Tuning(
        shared_buffers_mb=env.integer("BCL_SHARED_BUFFERS_MB", plain.shared_buffers_mb, low=16),
        max_wal_size_mb=env.integer("BCL_MAX_WAL_SIZE_MB", plain.max_wal_size_mb, low=64),
        maintenance_work_mem_mb=env.integer(
            "BCL_MAINTENANCE_WORK_MEM_MB", plain.maintenance_work_mem_mb, low=16
        ),
        max_connections=env.integer("BCL_MAX_CONNECTIONS", plain.max_connections, low=10),
    )


def _tls_server(env: _Reader, door: str, *, port: int) -> TlsServer:
    plain = TlsServer()
    prefix = f"BCL_{door}"
    return TlsServer(
        host=env.text(f"{prefix}_HOST", plain.host),
        port=env.integer(f"{prefix}_PORT", port, low=1, high=65535),
        certificate_file=env.path(f"{prefix}_CERTIFICATE_FILE"),
        private_key_file=env.path(f"{prefix}_PRIVATE_KEY_FILE"),
        client_ca_file=env.path(f"{prefix}_CLIENT_CA_FILE"),
        workers=env.integer(f"{prefix}_WORKERS", plain.workers, low=1, high=64),
        threads=env.integer(f"{prefix}_THREADS", plain.threads, low=1, high=256),
        timeout_seconds=env.integer(f"{prefix}_TIMEOUT_SECONDS", plain.timeout_seconds, low=5),
        max_body_bytes=env.integer(f"{prefix}_MAX_BODY_BYTES", plain.max_body_bytes, low=1024),
    )


def assume(**variables: str) -> None:
    """Set variables of this process itself, before Django reads the settings: an entry point
    knows its role better than whoever started it."""
    os.environ.update({"DJANGO_SETTINGS_MODULE": "bcl.config.settings"} | variables)


class _Reader:
    """Typed access to the variables; every complaint names the variable and what it may be."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ

    def text(self, name: str, default: str) -> str:
        return self.environ.get(name) or default

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise SettingsError(f"{name} は {'、'.join(allowed)} のどれかにしてください。")
        return value

    def integer(self, name: str, default: int, *, low: int = 0, high: int = 10**10) -> int:
        text = self.environ.get(name)
        if not text:
            return default
        if not re.fullmatch(r"-?[0-9]{1,11}", text) or not low <= int(text) <= high:
            raise SettingsError(f"{name} は {low} から {high} までの整数にしてください。")
        return int(text)

    def path(self, name: str) -> Path | None:
        text = self.environ.get(name)
        if not text:
            return None
        path = Path(text)
        if not path.is_absolute():
            raise SettingsError(f"{name} は / から始まる場所で書いてください。")
        return path
