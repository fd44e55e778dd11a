"""Nightly upkeep of staff accounts."""

from __future__ import annotations

from bcl.accounts.actions.administration import lock_dormant_accounts
from bcl.accounts.rules import AGENCY_CODE
from bcl.foundation import jobs
from bcl.municipalities import api as municipalities
from bcl_contract import clock


@jobs.task("accounts.lock_all_dormant", queue="accounts", cron="20 2 * * *")
def lock_all_dormant() -> None:
    """One job a town, and one for the agency's own staff."""
    for municipality_code in (*municipalities.list_municipality_codes(), AGENCY_CODE):
        jobs.defer("accounts.lock_dormant", municipality_code=municipality_code)


@jobs.task("accounts.lock_dormant", queue="accounts", one_at_a_time=True)
def lock_dormant(*, municipality_code: str) -> None:
    """Lock the accounts of one municipality that nobody used for 90 days (R-060)."""
    lock_dormant_accounts(municipality_code, at=clock.now())
