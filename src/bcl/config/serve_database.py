"""Keeping the embedded PostgreSQL up: `bcl serve database`.

Starts the cluster from whatever state it is in, brings the tables up to date, starts it again when
it dies, and stops it cleanly at SIGTERM or Ctrl-C. An external cluster has its own keepers.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from bcl.config import env
from bcl.config.database import embedded_cluster
from bcl.foundation import log, migrate

_LOOK_SECONDS = 1.0

logger = log.get(__name__)


def run(say: Callable[[str], None]) -> None:
    """Serve until told to stop; `say` gets one Japanese sentence for each thing that happened.

    Raises `SettingsError` when the settings name an external cluster.
    """
    settings = env.read()
    if settings.uses_external_cluster:
        raise env.SettingsError(
            "BCL_DATABASE_URL_APP があるときは外部のデータベースを使います。"
            "この命令は要りません（表の更新は bcl serve migrate）。"
        )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    cluster = embedded_cluster(settings)
    cluster.ensure_running()
    try:
        migrate.run()
        say("データベースを起動し、表を最新にしました。止めるには Ctrl-C を押してください。")
        while not stop.wait(_LOOK_SECONDS):
            if cluster.status() != "running":
                cluster.ensure_running()
                logger.warning("database_started_again")
                say("データベースが止まっていたため、起動し直しました。")
    finally:
        cluster.stop()
    say("データベースを止めました。")
