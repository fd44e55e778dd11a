"""Reads of subscriptions, inside the caller's scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bcl.foundation import tenancy
from bcl.foundation.models import ClusterInfo
from bcl.municipalities import api as municipalities
from bcl.resident_store import api as store
from bcl.subscriptions.models import DeliveryPage, Subscription
from bcl.subscriptions.rules import RUNNING, SubscriptionState
from bcl_contract.subscription_profile import SubscriptionProfile, profile_of


@dataclass(frozen=True)
class SubscriptionStatus:
    """A version of a subscription as it stands.

    `loads_behind`: loads applied that the subscriber has not stored whole; `pages_waiting` are
    made and not stored yet.
    """

    row: Subscription
    profile: SubscriptionProfile
    subscriber_name_ja: str
    loads_behind: int
    pages_waiting: int

    @property
    def is_running(self) -> bool:
        """Whether it is approved and not ended."""
        return self.row.state in RUNNING

    @property
    def is_built(self) -> bool:
        """Whether the first pages of this epoch are made."""
        return self.row.planned_load > 0

    @property
    def since(self) -> datetime | None:
        """When it was approved."""
        return self.row.approved_at


def profile_in(row: Subscription) -> SubscriptionProfile:
    """The profile of a stored row. Raises ValueError when it does not hold any more."""
    profile = profile_of(row.profile)
    if not isinstance(profile, SubscriptionProfile) or profile.sha256 != row.profile_sha256:
        raise ValueError("a stored profile is not what was approved")
    return profile


def current_fencing_epoch() -> int:
    """The cluster's fencing epoch: another one means that the database was restored."""
    return int(ClusterInfo.objects.values_list("fencing_epoch", flat=True).get(pk=1))


def find_running(name: str) -> Subscription | None:
    """The approved version of this name in the open scope, paused or not."""
    return Subscription.objects.filter(name=name, state__in=RUNNING).first()


def list_subscriptions(
    municipality_code: str, *, also_ended: bool = False
) -> list[SubscriptionStatus]:
    """A town's subscriptions, by name, the newest version first."""
    with tenancy.scope(municipality_code):
        rows = Subscription.objects.order_by("name", "-version")
        if not also_ended:
            rows = rows.exclude(state=SubscriptionState.ENDED)
        newest = store.applied_position(municipality_code).load_number
        return [_status(row, newest) for row in rows]


def list_versions(municipality_code: str, name: str) -> list[SubscriptionStatus]:
    """Every version of one name there has been, the newest first."""
    found = list_subscriptions(municipality_code, also_ended=True)
    return [each for each in found if each.row.name == name]


def stored_load(row: Subscription) -> int:
    """The newest load that the subscriber has stored whole; 0 when none."""
    if not row.planned_load:
        return 0
    waiting = DeliveryPage.objects.filter(
        subscription=row, epoch=row.epoch, number__gt=row.acknowledged_page
    )
    first = waiting.order_by("number").values_list("load_number", flat=True).first()
    return row.planned_load if first is None else int(first) - 1


def _status(row: Subscription, newest: int) -> SubscriptionStatus:
    known = municipalities.find_subscriber(row.subscriber_id)
    behind = max(0, newest - stored_load(row)) if row.state in RUNNING else 0
    return SubscriptionStatus(
        row=row,
        profile=profile_in(row),
        subscriber_name_ja="" if known is None else known.name_ja,
        loads_behind=behind,
        pages_waiting=row.last_page - row.acknowledged_page,
    )
