"""The doors: gunicorn with threads, TLS 1.3, client certificates required.

    bcl serve wire            # machines: gateways, delivery center
    bcl serve console         # staff pages on registered terminals

It runs until SIGTERM (running requests finish) and refuses to start on an unsafe database role.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from typing import Any, Literal

from gunicorn.app.base import BaseApplication

from bcl.config import egress, env

Door = Literal["wire", "console"]


class DoorServer(BaseApplication):
    """gunicorn, configured by our settings instead of its own files and arguments."""

    def __init__(self, application: Any, options: dict[str, Any]) -> None:
        self._application = application
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._application


def gunicorn_options(settings: env.Settings, door: Door = "wire") -> dict[str, Any]:
    """gunicorn's options of a door. Raises `SettingsError` when a TLS file is missing."""
    server: env.TlsServer = getattr(settings, door)
    files = {
        f"BCL_{door.upper()}_CERTIFICATE_FILE": server.certificate_file,
        f"BCL_{door.upper()}_PRIVATE_KEY_FILE": server.private_key_file,
        f"BCL_{door.upper()}_CLIENT_CA_FILE": server.client_ca_file,
    }
    for name, path in files.items():
        if path is None or not path.is_file():
            raise env.SettingsError(f"{name} に書かれたファイルが読めません。")
    return {
        "bind": f"{server.host}:{server.port}",
        "worker_class": "gthread",
        "workers": server.workers,
        "threads": server.threads,
        "timeout": server.timeout_seconds,
        "graceful_timeout": 30,
        "keepalive": 15,
        "max_requests": 0,
        "preload_app": True,
        "certfile": str(server.certificate_file),
        "keyfile": str(server.private_key_file),
        "ca_certs": str(server.client_ca_file),
        "cert_reqs": ssl.CERT_REQUIRED,
        "ssl_context": _tls_1_3_only,
        "limit_request_line": 2048,
        "limit_request_fields": 40,
        "limit_request_field_size": 4096,
        "proc_name": f"bcl-{door}",
        "control_socket_disable": True,
        "accesslog": None,
        "logconfig_dict": {},
        "logger_class": "bcl.config.gunicorn_log.JsonLog",
        # Behind no proxy: what a header says about the caller is never believed.
        "forwarded_allow_ips": "",
        "secure_scheme_headers": {},
    }


def _tls_1_3_only(config: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def run(door: Door = "wire") -> None:
    """Serve one door until SIGTERM.

    Stops with one Japanese sentence on standard error instead: exit status 2 when a setting is
    wrong, 1 when the database would not keep the towns apart, is for another environment, or
    can't be reached.
    """
    env.assume(BCL_ROLE=door)
    try:
        settings = env.read()
        options = gunicorn_options(settings, door)
    except env.SettingsError as wrong:
        sys.stderr.write(f"{wrong}\n")
        raise SystemExit(2) from None
    egress.enforce(settings)
    server = DoorServer(_load_application(), options)
    server.run()


def _load_application() -> Any:
    import django
    from django.db import DatabaseError

    django.setup(set_prefix=False)
    from bcl.foundation.environment_guard import WrongEnvironment
    from bcl.foundation.key_provider import KeyFault
    from bcl.foundation.tenancy import UnsafeDatabaseRole

    try:
        from bcl.config.wsgi import application
    except (UnsafeDatabaseRole, WrongEnvironment, KeyFault) as refused:
        sys.stderr.write(f"{refused}\n")
    except DatabaseError:
        sys.stderr.write("データベースにつながらないか、表がまだ用意されていません。\n")
    else:
        return application
    raise SystemExit(1)


if __name__ == "__main__":
    run()
