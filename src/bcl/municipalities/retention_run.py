"""The retention run of a municipality: its own periods, the deletion, the report (R-177)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from bcl.foundation import keys, log, retention, tenancy
from bcl.foundation.models import DeletionCertificate
from bcl.foundation.retention import Period
from bcl.municipalities import queries

_SHORTEST_DAYS = 1

logger = log.get(__name__)


@dataclass(frozen=True)
class ClassReport:
    """One class for the report: its period, in force for this town, and what is past it."""

    period: Period
    keep_days: int | None
    own: bool
    expired: int | None


def keep_days_of(municipality_code: str, period: Period, at: datetime) -> tuple[int | None, bool]:
    """Days a class is kept in this town at that time, and whether the town set them itself."""
    if period.by != "run":
        return period.keep_days, False
    name = f"retention.{period.data_class}"
    own = queries.setting_at(municipality_code, name, at)
    if isinstance(own, int) and not isinstance(own, bool) and own >= _SHORTEST_DAYS:
        return own, True
    return period.keep_days, False


def run(
    municipality_code: str, *, at: datetime, seconds: float = 600.0
) -> list[DeletionCertificate]:
    """Delete what is past its period, in small transactions; gives the certificates.

    Safe to repeat and to stop at any point: every portion has its own certificate. A town whose
    keys were erased is left as it is: nothing of it can be read, and pages can't be rewritten.
    """
    until = time.monotonic() + seconds
    made: list[DeletionCertificate] = []
    if keys.is_erased(municipality_code):
        return made
    known = retention.classes()
    for period in retention.periods(at):
        keep_days, _ = keep_days_of(municipality_code, period, at)
        if period.by != "run" or keep_days is None or period.data_class not in known:
            continue
        while time.monotonic() < until:
            step = retention.delete_step(municipality_code, period, keep_days=keep_days, at=at)
            if step is None:
                break
            made.append(step)
    if made:
        logger.info("expired_data_deleted", municipality_code=municipality_code, count=len(made))
    return made


def report(municipality_code: str, *, at: datetime) -> list[ClassReport]:
    """Every class with its period in this town and how much is past it now."""
    known = retention.classes()
    found = []
    with tenancy.scope(municipality_code):
        for period in retention.periods(at):
            keep_days, own = keep_days_of(municipality_code, period, at)
            expired = None
            if period.by == "run" and keep_days is not None and period.data_class in known:
                cutoff = retention.cutoff_of(keep_days, at)
                expired = known[period.data_class].expired(municipality_code, cutoff)
            found.append(ClassReport(period, keep_days, own, expired))
    return found
