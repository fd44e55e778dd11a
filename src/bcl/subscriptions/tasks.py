"""Background work of subscriptions, registered by name."""

from __future__ import annotations

from bcl.foundation import jobs
from bcl.municipalities import api as municipalities
from bcl.subscriptions import api


@jobs.task("subscriptions.prepare_deliveries", queue="subscriptions", one_at_a_time=True)
def prepare_deliveries(*, municipality_code: str) -> None:
    """Make the pages of what has landed since the last time."""
    api.prepare_deliveries(municipality_code)


@jobs.task("subscriptions.prepare_all", queue="subscriptions", cron="*/10 * * * *")
def prepare_all(**_: object) -> None:
    """Look at every town: after a restore nothing has landed that would wake the job above."""
    for code in municipalities.list_municipality_codes():
        jobs.defer("subscriptions.prepare_deliveries", municipality_code=code)
