"""Background work of oversight. Every job may run twice; running it again changes nothing."""

from __future__ import annotations

from bcl.accounts import api as accounts
from bcl.foundation import jobs
from bcl.municipalities import api as municipalities
from bcl.oversight import api as oversight
from bcl_contract import clock


@jobs.task("oversight.run_verification", queue="oversight", one_at_a_time=True, attempts=3)
def run_verification(*, municipality_code: str, verification_id: int) -> None:
    """Check a whole audit log."""
    oversight.run_verification(municipality_code, int(verification_id))


@jobs.task("oversight.build_export", queue="oversight", one_at_a_time=True)
def build_export(*, municipality_code: str, export_id: int) -> None:
    """Write the file of an approved export."""
    oversight.build_export(municipality_code, int(export_id), at=clock.now())


@jobs.task("oversight.expire_all_exports", queue="oversight_upkeep", cron="25 * * * *")
def expire_all_exports() -> None:
    """One job a tenant, every hour: an export ends at its hour, not some night."""
    for code in (*municipalities.list_municipality_codes(), accounts.AGENCY_CODE):
        jobs.defer("oversight.expire_exports", municipality_code=code)


@jobs.task("oversight.expire_exports", queue="oversight_upkeep", one_at_a_time=True)
def expire_exports(*, municipality_code: str) -> None:
    """Delete the files of one tenant that are past their time."""
    oversight.expire_exports(municipality_code, at=clock.now())
