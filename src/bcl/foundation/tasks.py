"""Background work of the foundation. Every job may run twice; running it again changes nothing."""

from __future__ import annotations

from bcl.foundation import jobs, rotation


@jobs.task(rotation.TASK, queue="keys", one_at_a_time=True)
def reseal(*, municipality_code: str, rotation_id: int) -> None:
    """Go on sealing data again after a key was rotated."""
    rotation.work(municipality_code, int(rotation_id))
