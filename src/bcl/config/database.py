"""The Django database entry for this process's role, from our own cluster or an external one."""

from __future__ import annotations

from typing import Any

from psycopg.conninfo import conninfo_to_dict

from bcl.config.env import Settings
from bcl.foundation.postgres import EmbeddedCluster

_ABSENT_CLUSTER = {"HOST": "/nonexistent/bcl-world-is-not-up", "NAME": "bcl", "USER": "bcl_app"}


def embedded_cluster(settings: Settings) -> EmbeddedCluster:
    """Our own cluster as `settings` want it; whether it runs is another question."""
    return EmbeddedCluster(
        settings.postgres_dir, tuning=settings.cluster, bin_dir=settings.postgres_bin_dir
    )


def database_url(settings: Settings) -> str | None:
    """Connection URL for the role of this process; None while our cluster doesn't exist yet."""
    if settings.uses_external_cluster:
        return settings.external_urls.get(settings.database_role)
    info = embedded_cluster(settings).connection_info()
    return None if info is None else info.urls[settings.database_role]


def database_settings(settings: Settings) -> dict[str, Any]:
    """The `DATABASES` entry of Django for `settings`.

    Commands that need no database must still be able to load the settings, so a missing cluster
    gives an entry whose use fails with a connection error, not an error here.
    """
    url = database_url(settings)
    place: dict[str, Any] = dict(_ABSENT_CLUSTER) if url is None else _parts(url)
    options: dict[str, Any] = dict(place.pop("OPTIONS", {}))
    options.setdefault("application_name", f"bcl-{settings.process_role}")
    if settings.database_role == "owner":
        # A migration that can't get its lock must not queue everybody else behind it.
        options["options"] = "-c lock_timeout=4s -c statement_timeout=120s"
    return {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "ATOMIC_REQUESTS": False,
        "OPTIONS": options,
        **place,
    }


def _parts(url: str) -> dict[str, Any]:
    given = dict(conninfo_to_dict(url))
    return {
        "NAME": given.pop("dbname", "bcl"),
        "USER": given.pop("user", ""),
        "PASSWORD": given.pop("password", ""),
        "HOST": given.pop("host", ""),
        "PORT": str(given.pop("port", "")),
        "OPTIONS": given,
    }
