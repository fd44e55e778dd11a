"""Background work of issuing, registered by name."""

from __future__ import annotations

from bcl.foundation import clock, jobs
from bcl.issuance import api
from bcl.municipalities import api as municipalities


@jobs.task(
    "issuance.refresh_issuable_records", queue="issuance", one_at_a_time=True, prompt=True
)
def refresh_issuable_records(*, municipality_code: str) -> None:
    """Follow the resident store's feed (journey daily-sync, step 9)."""
    api.refresh_issuable_records(municipality_code)


@jobs.task("issuance.close_overdue_transactions", queue="issuance", cron="* * * * *")
def close_overdue_transactions(**_: object) -> None:
    """Make one look per town for transactions past their deadline, and forget old messages."""
    for code in municipalities.list_municipality_codes():
        api.close_overdue(code, at=clock.now())
        api.forget_old_messages(code, at=clock.now())
