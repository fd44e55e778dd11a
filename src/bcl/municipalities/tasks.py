"""Background work over all municipalities. Every job may run twice; it then finds nothing left."""

from __future__ import annotations

from bcl.foundation import clock, jobs
from bcl.municipalities import queries, retention_run


@jobs.task("municipalities.delete_all_expired_data", queue="retention", cron="20 2 * * *")
def delete_all_expired_data() -> None:
    """One job a town, at night."""
    for code in queries.list_municipality_codes():
        jobs.defer("municipalities.delete_expired_data", municipality_code=code)


@jobs.task("municipalities.delete_expired_data", queue="retention", one_at_a_time=True)
def delete_expired_data(*, municipality_code: str) -> None:
    """Delete what is past its period in one town, with certificates."""
    retention_run.run(municipality_code, at=clock.now())
