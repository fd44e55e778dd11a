"""Background work of recovery. Every job may run twice; running it again changes nothing."""

from __future__ import annotations

from bcl.foundation import jobs
from bcl.municipalities import api as municipalities
from bcl.recovery.actions import build
from bcl_contract import clock


@jobs.task("recovery.build_export", queue="recovery", one_at_a_time=True)
def build_export(*, municipality_code: str, export_id: int) -> None:
    """Build the package of an approved export (steps 3 to 6)."""
    build.build_export(municipality_code, int(export_id), at=clock.now())


@jobs.task("recovery.expire_all_exports", queue="recovery_upkeep", cron="15 3 * * *")
def expire_all_exports() -> None:
    """One job a town."""
    for municipality_code in municipalities.list_municipality_codes():
        jobs.defer("recovery.expire_exports", municipality_code=municipality_code)


@jobs.task("recovery.expire_exports", queue="recovery_upkeep", one_at_a_time=True)
def expire_exports(*, municipality_code: str) -> None:
    """Delete the packages of one municipality that are past their time."""
    build.expire_exports(municipality_code, at=clock.now())
