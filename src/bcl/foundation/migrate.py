"""Bringing the database's tables up to date, as the owner role and never as the serving one.

    from bcl.foundation import migrate
    migrate.run()

A process of its own does it (`python -m bcl.config.migrate_as_owner`), so that the caller's Django
keeps its serving role. Migrations are linear and wait at most 4 s for a lock.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping


class MigrationFault(Exception):
    """The migration process failed; the text is what it printed last."""


def run(environ: Mapping[str, str] | None = None) -> None:
    """Migrate as `bcl_owner` and note what the cluster is for. Raises `MigrationFault`.

    `environ` replaces this process's environment variables (BCL_STATE_DIR, …) for the child.
    """
    finished = subprocess.run(
        [sys.executable, "-m", "bcl.config.migrate_as_owner"],
        env=None if environ is None else dict(environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise MigrationFault(finished.stderr.strip()[-4000:])


def migrate_here() -> None:
    """Migrate over this process's connection, which must be the owner's."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    from bcl.foundation import environment_guard, fencing

    call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
    # A first migration decides for good what the cluster is for; later ones only check.
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO foundation_clusterinfo"
            " (id, environment, fencing_epoch, created_at, timeline)"
            " VALUES (1, %s, 1, now(), %s) ON CONFLICT (id) DO NOTHING",
            [settings.BCL.environment, fencing.current_timeline()],
        )
    environment_guard.assert_environment_matches()
