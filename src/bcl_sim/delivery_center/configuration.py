"""The center's settings: one TOML file, read once, checked whole."""

import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import httpx

from bcl_contract.jpki import TrustRoots
from bcl_contract.ocsp import HttpOcsp
from bcl_sim.delivery_center.bcl_client import BclClient
from bcl_sim.delivery_center.journal import Journal
from bcl_sim.delivery_center.transactions import Center, Limits
from bcl_sim.pki import WorldPki, read_signing_key, read_verify_key
from bcl_sim.serving import ServerTls, client_context


class ConfigurationError(Exception):
    """A setting is missing or wrong; the message is one Japanese sentence."""


@dataclass(frozen=True)
class CenterConfiguration:
    """All settings of one center.

    `routes` maps a participating town's code to the https address of BCL's wire.
    """

    state_directory: Path
    bind: str
    server_cert: Path
    server_key: Path
    kiosk_authorities: Path
    bcl_client_cert: Path
    bcl_client_key: Path
    bcl_authorities: Path
    signing_key: Path
    bcl_verify_key: Path
    jpki_roots: Path
    ocsp_url: str
    ocsp_seconds: float
    routes: Mapping[str, str]
    limits: Limits

    @property
    def journal_path(self) -> Path:
        """Where the journal lies."""
        return self.state_directory / "journal.sqlite"

    @property
    def tls(self) -> ServerTls:
        """How kiosks are let in."""
        return ServerTls(self.server_cert, self.server_key, self.kiosk_authorities)

    def build(self) -> Center:
        """Put the center together."""
        context: ssl.SSLContext = client_context(
            cert_path=self.bcl_client_cert,
            key_path=self.bcl_client_key,
            server_authorities_path=self.bcl_authorities,
        )
        client = BclClient(
            routes=self.routes,
            http=httpx.Client(verify=context, trust_env=False),
            signing_key=read_signing_key(self.signing_key),
            verify_key=read_verify_key(self.bcl_verify_key),
        )
        return Center(
            journal=Journal(self.journal_path),
            bcl=client,
            trust_roots=TrustRoots.from_pem(self.jpki_roots.read_bytes()),
            ocsp=HttpOcsp(self.ocsp_url, self.ocsp_seconds),
            limits=self.limits,
        )


def read_configuration(path: Path | str) -> CenterConfiguration:
    """Read the file. Raises `ConfigurationError` naming the setting that is wrong."""
    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError):
        raise ConfigurationError("センターの設定ファイルを読み取れません。") from None
    values: dict[str, Any] = {}
    limits, routes = content.pop("limits", {}), content.pop("routes", {})
    for setting in fields(CenterConfiguration):
        if setting.name in {"limits", "routes"}:
            continue
        value = content.pop(setting.name, None)
        if value is None:
            raise ConfigurationError(f"センターの設定 {setting.name} がありません。")
        values[setting.name] = _convert(setting.name, setting.type, value)
    if content:
        raise ConfigurationError(f"センターの設定 {sorted(content)[0]} は使えません。")
    return CenterConfiguration(**values, routes=_routes(routes), limits=_limits(limits))


def _convert(name: str, wanted: Any, value: Any) -> Any:
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if wanted is not float and isinstance(value, str):
        return wanted(value)
    raise ConfigurationError(f"センターの設定 {name} の値が正しくありません。")


def _routes(value: Any) -> dict[str, str]:
    for code, url in value.items():
        if not (code.isdigit() and len(code) == 6 and str(url).startswith("https://")):
            raise ConfigurationError("センターの設定 routes は団体コードとhttpsの宛先です。")
    return {code: url.rstrip("/") for code, url in value.items()}


def _limits(value: Any) -> Limits:
    try:
        limits = Limits(**value)
    except TypeError:
        raise ConfigurationError("センターの設定 limits に知らない項目があります。") from None
    if any(not isinstance(seconds, int | float) or seconds <= 0 for seconds in value.values()):
        raise ConfigurationError("センターの設定 limits は正の秒数です。")
    return limits


def write_configuration(
    path: Path | str,
    *,
    world: WorldPki,
    state_directory: Path,
    bind: str,
    jpki_roots: Path,
    ocsp_url: str,
    routes: Mapping[str, str],
    limits: Mapping[str, float] | None = None,
) -> None:
    """Write the settings of a center in a simulated world (see `bcl_sim.pki`)."""
    values = {
        "state_directory": state_directory,
        "bind": bind,
        "server_cert": world.center_server.cert_path,
        "server_key": world.center_server.key_path,
        "kiosk_authorities": world.center_ca.cert_path,
        "bcl_client_cert": world.center_client.cert_path,
        "bcl_client_key": world.center_client.key_path,
        "bcl_authorities": world.bcl_ca.cert_path,
        "signing_key": world.center_signing.key_path,
        "bcl_verify_key": world.bcl_signing.public_path,
        "jpki_roots": jpki_roots,
        "ocsp_url": ocsp_url,
    }
    lines = [f"{name} = {_quoted(str(value))}" for name, value in values.items()]
    lines += ["ocsp_seconds = 2.0", "", "[routes]"]
    lines += [f"{_quoted(code)} = {_quoted(url)}" for code, url in routes.items()]
    lines += ["", "[limits]", *(f"{name} = {value}" for name, value in (limits or {}).items())]
    Path(path).write_text("\n".join(lines) + "\n", "utf-8")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
