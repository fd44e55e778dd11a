"""Counts about the staff accounts of a tenant, as evidence for the security self-report (R-168)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bcl.accounts import models, queries, rules
from bcl.accounts.models import AccountStatus
from bcl.accounts.rules import Role
from bcl.foundation import tenancy

_HASH = "argon2"
# The auditor looks at what the others do, so none of the others may be one.
_APART = (Role.TOWN_AUDITOR, Role.AGENCY_AUDITOR)


@dataclass(frozen=True)
class AccountEvidence:
    """How many active accounts there are, and how many of them break which rule."""

    active: int
    without_second_factor: int
    weakly_hashed: int
    dormant: int
    past_validity: int
    not_reviewed: int
    mixed_with_auditor: int
    terminals: int
    limits: rules.Limits


def read_evidence(municipality_code: str, *, at: datetime) -> AccountEvidence:
    """Look at all active accounts of the tenant."""
    limits = rules.limits_on(at.date())
    with tenancy.scope(municipality_code):
        active = models.StaffAccount.objects.filter(status=AccountStatus.ACTIVE)
        seen_before = at - timedelta(days=limits.dormant_days)
        reviewed_before = at - timedelta(days=limits.review_days)
        counts = {
            "active": active.count(),
            "without_second_factor": active.filter(totp_confirmed_at=None).count(),
            "weakly_hashed": active.exclude(password_hash__startswith=_HASH).count(),
            "dormant": active.filter(last_sign_in_at__lt=seen_before).count(),
            "past_validity": active.filter(valid_until_on__lt=at.date()).count(),
            "not_reviewed": active.filter(created_at__lt=reviewed_before)
            .exclude(reviewed_at__gte=reviewed_before)
            .count(),
        }
    accounts = queries.list_accounts(municipality_code)
    mixed = sum(
        one.status == AccountStatus.ACTIVE and len(one.roles) > 1 and bool(one.roles & set(_APART))
        for one in accounts
    )
    terminals = [one for one in queries.list_terminals(municipality_code) if not one.revoked_at]
    return AccountEvidence(
        **counts, mixed_with_auditor=mixed, terminals=len(terminals), limits=limits
    )
