"""Background work of the foundation. Every job may run twice; running it again changes nothing."""

from __future__ import annotations

from bcl.foundation import audit_log, jobs, rotation


@jobs.task(rotation.TASK, queue="keys", one_at_a_time=True)
def reseal(*, municipality_code: str, rotation_id: int) -> None:
    """Go on sealing data again after a key was rotated."""
    rotation.work(municipality_code, int(rotation_id))


@jobs.task("foundation.seal_all_audit_logs", queue="audit", cron="* * * * *", prompt=True)
def seal_all_audit_logs() -> None:
    """Give waiting audit rows their place in the log and hand the signed heads out (D18)."""
    audit_log.seal_all()
