"""Which uses of its data a municipality has begun (データ利用区分): each on its own (R-011).

    enable_profile("999997", Profile.CERTIFICATES, by=actor, at=now)
    is_profile_enabled("999997", Profile.CERTIFICATES)

Profiles are those of the linkage interface: a backup, b certificates, c disaster support. A new
municipality has the backup; the others begin with an act and end with one. What a use keeps of
its own is the using app's to build and to remove.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db import IntegrityError, transaction

from bcl.foundation import audit, tenancy
from bcl.municipalities import models
from bcl_contract.refusals import Refusal


class Profile(StrEnum):
    """A use of the data, by the letter the interface's layouts carry."""

    BACKUP = "a"
    CERTIFICATES = "b"
    DISASTER = "c"

    @property
    def label_ja(self) -> str:
        """What the town hall calls it."""
        return {"a": "住民情報バックアップ", "b": "証明発行", "c": "被災者支援"}[self.value]


@dataclass(frozen=True)
class ProfileUse:
    """The newest period of one use; never begun: both times are None."""

    profile: Profile
    enabled_at: datetime | None = None
    enabled_by: str = ""
    disabled_at: datetime | None = None
    disabled_by: str = ""

    @property
    def is_enabled(self) -> bool:
        """Whether the data may be used so now."""
        return self.enabled_at is not None and self.disabled_at is None


def find_profile_use(municipality_code: str, profile: Profile) -> ProfileUse:
    """The newest period of one use."""
    with tenancy.scope(municipality_code):
        row = (
            models.ProfilePeriod.objects.filter(
                municipality_code=municipality_code, profile=profile
            )
            .order_by("-pk")
            .first()
        )
    if row is None:
        return ProfileUse(profile)
    return ProfileUse(profile, row.enabled_at, row.enabled_by, row.disabled_at, row.disabled_by)


def is_profile_enabled(municipality_code: str, profile: Profile) -> bool:
    """Whether this use has begun and not ended."""
    return find_profile_use(municipality_code, profile).is_enabled


def list_profile_uses(municipality_code: str) -> list[ProfileUse]:
    """Every use, begun or not."""
    return [find_profile_use(municipality_code, profile) for profile in Profile]


def enable_profile(
    municipality_code: str, profile: Profile, *, by: audit.Actor, at: datetime
) -> ProfileUse | Refusal:
    """Begin a use. Joins the caller's transaction."""
    with tenancy.scope(municipality_code):
        try:
            with transaction.atomic():
                models.ProfilePeriod.objects.create(
                    municipality_code=municipality_code,
                    profile=profile,
                    enabled_at=at,
                    enabled_by=by.id,
                )
        except IntegrityError:
            return Refusal("PROFILE_STATE", {"profile": profile.value})
        audit.record(act="enable_profile", by=by, at=at, detail={"profile": profile.value})
    return ProfileUse(profile, at, by.id)


def disable_profile(
    municipality_code: str, profile: Profile, *, by: audit.Actor, at: datetime
) -> ProfileUse | Refusal:
    """End a use at once. Joins the caller's transaction."""
    with tenancy.scope(municipality_code):
        changed = models.ProfilePeriod.objects.filter(
            municipality_code=municipality_code, profile=profile, disabled_at=None
        ).update(disabled_at=at, disabled_by=by.id)
        if not changed:
            return Refusal("PROFILE_STATE", {"profile": profile.value})
        audit.record(act="disable_profile", by=by, at=at, detail={"profile": profile.value})
        return find_profile_use(municipality_code, profile)
