"""The door of the backup: drills and letting a restored database in (both over Django).

Taking backups, receiving the log and the alarms need no Django and no BCL database role:
`bcl.backup.take`, `.receive`, `.status`, used by `bcl backup` under its own user.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings

from bcl.backup import drill, report
from bcl.backup.drill import DrillReport
from bcl.backup.place import Place
from bcl.backup.report import is_genuine, reports_folder
from bcl.backup.tools import Tools
from bcl.foundation import audit, postgres_binaries

__all__ = ["DrillReport", "is_genuine", "reports_folder", "run_drill", "server_moment"]


def run_drill(*, by: audit.Actor, until: datetime | None = None) -> DrillReport:
    """Run one drill and keep its report. `until` counts by BCL's clock."""
    place = Place(settings.BCL.backup.directory)
    found = drill.run(
        place,
        _tools(),
        folder=settings.BCL.state_dir / "drill",
        until=None if until is None else server_moment(until),
    )
    report.keep(found, by=by)
    return found


def server_moment(at: datetime) -> datetime:
    """A moment of BCL's clock by the database server's: demo worlds run with an offset."""
    return at - timedelta(seconds=settings.BCL.clock_offset_seconds)


def _tools() -> Tools:
    chosen: Path | None = settings.BCL.postgres_bin_dir
    bin_dir = chosen or postgres_binaries.install_binaries(settings.BCL.postgres_dir / "binaries")
    return Tools(bin_dir, postgres_binaries.database_os_user())
