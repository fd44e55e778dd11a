"""Background work of the resident store. Every job may run twice; running it again changes
nothing."""

from __future__ import annotations

from bcl.foundation import jobs, tenancy
from bcl.municipalities import api as municipalities
from bcl.resident_store import fragment_index, search_merge


@jobs.task("resident_store.tidy_search", queue="resident_store", one_at_a_time=True)
def tidy_search(*, municipality_code: str) -> None:
    """Bring the search of one municipality up to date, one bounded transaction after another."""
    for advance in (fragment_index.advance, search_merge.advance):
        going = True
        while going:
            with tenancy.scope(municipality_code):
                going = advance(municipality_code)


@jobs.task("resident_store.tidy_all_searches", queue="resident_store_upkeep", cron="10 4 * * *")
def tidy_all_searches() -> None:
    """One job a town, after the nightly deletion: what it and small loads have left behind."""
    for municipality_code in municipalities.list_municipality_codes():
        jobs.defer("resident_store.tidy_search", municipality_code=municipality_code)
