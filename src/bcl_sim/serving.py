"""Running a simulator's WSGI application under gunicorn, with or without mutual TLS.

TLS is 1.3 only and, where client authorities are given, the client certificate is compulsory; the
application reads it with `peer_cert`.
"""

import json
import ssl
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
WsgiApplication = Callable[[Environ, StartResponse], Iterable[bytes]]


@dataclass(frozen=True)
class ServerTls:
    """The server's own certificate and key, and the authorities whose clients may come in."""

    cert_path: Path
    key_path: Path
    client_authorities_path: Path


class _Program(BaseApplication):  # type: ignore[misc]
    def __init__(self, build: Callable[[], WsgiApplication], settings: dict[str, Any]) -> None:
        self._build = build
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> WsgiApplication:
        return self._build()


def serve(
    build: Callable[[], WsgiApplication],
    *,
    name: str,
    bind: str,
    tls: ServerTls | None = None,
    workers: int = 1,
    threads: int = 8,
) -> None:
    """Serve until SIGTERM or SIGINT. `build` runs once in each worker process.

    `bind` is host:port (port 0: any free one) or unix:PATH. When the socket listens, one JSON line
    is printed: ``{"ready": name, "listening": [...]}``.
    """

    def when_ready(server: Any) -> None:
        listening = [_address(listener) for listener in server.LISTENERS]
        sys.stdout.write(json.dumps({"ready": name, "listening": listening}) + "\n")
        sys.stdout.flush()

    settings: dict[str, Any] = {
        "bind": bind,
        "workers": workers,
        "threads": threads,
        "worker_class": "gthread",
        "timeout": 60,
        "graceful_timeout": 5,
        "keepalive": 5,
        "proc_name": name,
        "accesslog": None,
        "loglevel": "warning",
        "when_ready": when_ready,
        "limit_request_line": 8190,
        "control_socket_disable": True,
    }
    if tls is not None:
        settings |= {
            "certfile": str(tls.cert_path),
            "keyfile": str(tls.key_path),
            "ca_certs": str(tls.client_authorities_path),
            "cert_reqs": ssl.CERT_REQUIRED,
            "ssl_context": _only_tls_1_3,
        }
    _Program(build, settings).run()


def _only_tls_1_3(_config: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _address(listener: Any) -> str:
    name = listener.sock.getsockname()
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else f"unix:{name}"


def peer_cert(environ: Environ) -> bytes | None:
    """Give the client's certificate (DER) of a request; None without TLS."""
    line = environ.get("gunicorn.socket")
    if not isinstance(line, ssl.SSLSocket):
        return None
    return line.getpeercert(binary_form=True)


def client_context(
    *, cert_path: Path, key_path: Path, server_authorities_path: Path
) -> ssl.SSLContext:
    """Make a TLS 1.3 client context that shows its own certificate and checks the server's."""
    context = ssl.create_default_context(cafile=str(server_authorities_path))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(str(cert_path), str(key_path))
    return context
