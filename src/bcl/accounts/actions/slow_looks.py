"""Nobody leafs through a town's register: who was shown too many residents has to wait (R-056).

    waiting = judge_looks(principal, at=now)          # Refusal: not now
    count_looks(principal, persons=12, at=now)        # in the transaction that records the look

Figures: `look_persons` within `look_window_minutes` (data/limits.csv), per person at all terminals.
The first wait in each window is on record, and the auditors' home tells it for a day.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from django.db.models import F

from bcl.accounts import models, rules
from bcl.accounts.queries import Principal
from bcl.foundation import audit, tenancy
from bcl_contract.refusals import Refusal

TOLD_FOR = timedelta(hours=24)


def judge_looks(principal: Principal, *, at: datetime) -> Refusal | None:
    """Why the person can't be shown another resident yet, with the minutes to wait."""
    limits = rules.limits_on(at.date())
    with tenancy.scope(principal.municipality_code):
        account = models.StaffAccount.objects.get(id=principal.account_id)
        began = account.looks_since
        if began is None or not rules.looks_too_many(began, account.looks_persons, at, limits):
            return None
        told_anew = models.StaffAccount.objects.exclude(looks_slowed_at__gte=began).filter(
            id=account.id
        )
        if told_anew.update(looks_slowed_at=at):
            audit.record(
                act="slow_looks",
                by=principal.actor,
                at=at,
                detail={
                    "persons": account.looks_persons,
                    "terminal": principal.terminal.id,
                },
            )
    left = began + limits.look_window - at
    return Refusal("LOOKS_TOO_MANY", {"minutes": math.ceil(left.total_seconds() / 60)})


def count_looks(principal: Principal, *, persons: int, at: datetime) -> None:
    """Note that the person was shown so many residents; inside the tenant's scope."""
    own = models.StaffAccount.objects.filter(id=principal.account_id)
    over = at - rules.limits_on(at.date()).look_window
    if not own.filter(looks_since__gt=over).update(looks_persons=F("looks_persons") + persons):
        own.update(looks_since=at, looks_persons=persons)


def count_slowed(municipality_code: str, *, at: datetime) -> int:
    """How many people of the tenant were made to wait within the last day."""
    with tenancy.scope(municipality_code):
        return models.StaffAccount.objects.filter(looks_slowed_at__gt=at - TOLD_FOR).count()
