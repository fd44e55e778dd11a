"""Background work of the backup: the nightly drill, if this installation asks for it."""

from __future__ import annotations

from django.conf import settings

from bcl.backup import api
from bcl.foundation import audit, jobs, log

logger = log.get(__name__)


@jobs.task("backup.run_nightly_drill", queue="backup", cron="30 3 * * *", attempts=1)
def run_nightly_drill() -> None:
    """Restore the newest backup and compare, with BCL_NIGHTLY_DRILL=on and BCL_BACKUP_DIR set.

    The worker needs to read the second place (by its group), never to write it. What is wrong is
    in the signed report and in the log; a drill that did not run alarms as DRILL_OVERDUE.
    """
    chosen = settings.BCL.backup
    if not chosen.nightly_drill or chosen.directory is None:
        return
    report = api.run_drill(by=audit.SYSTEM)
    if not report.passed:
        logger.error(
            "drill_failed",
            backup=report.backup_id or "none",
            code=str(report.findings[0]["code"]),
            count=len(report.findings),
        )
