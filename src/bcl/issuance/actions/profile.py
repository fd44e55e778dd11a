"""Beginning and ending a town's use of its data for certificates (profile b, R-011).

Beginning builds the issuable records from the first load; ending stops issuing at once, and
retention removes the records with a certificate of their deletion (`retention.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bcl.foundation import audit, jobs, tenancy
from bcl.issuance.actions.refresh import clear_issuable_records
from bcl.issuance.queries import find_freshness
from bcl.municipalities import api as municipalities
from bcl.municipalities.api import Profile, ProfileUse
from bcl_contract.refusals import Refusal


@dataclass(frozen=True, slots=True)
class ProjectionProgress:
    """How many of the town's loads the issuable records follow so far."""

    loads: int
    of: int

    @property
    def is_building(self) -> bool:
        """Whether issuing has to wait for the records still."""
        return self.loads < self.of


def enable_certificates(
    municipality_code: str, *, by: audit.Actor, at: datetime
) -> ProfileUse | Refusal:
    """Begin; the worker builds the records, and issuing refuses until it has caught up."""
    with tenancy.scope(municipality_code):
        begun = municipalities.enable_profile(
            municipality_code, Profile.CERTIFICATES, by=by, at=at
        )
        if isinstance(begun, ProfileUse):
            clear_issuable_records(municipality_code)
            jobs.defer(
                "issuance.refresh_issuable_records", municipality_code=municipality_code
            )
        return begun


def disable_certificates(
    municipality_code: str, *, by: audit.Actor, at: datetime
) -> ProfileUse | Refusal:
    """End: nothing is issued from now on."""
    return municipalities.disable_profile(municipality_code, Profile.CERTIFICATES, by=by, at=at)


def find_projection_progress(municipality_code: str) -> ProjectionProgress:
    """How far the first build, or the daily following, has come."""
    freshness = find_freshness(municipality_code)
    return ProjectionProgress(freshness.projection_load, freshness.store_load)
