"""Subscriptions as the pages show them, written as the acts would."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bcl.foundation import clock, tenancy
from bcl.municipalities.models import Subscriber
from bcl.subscriptions.models import Subscription
from bcl_contract.subscription_profile import SubscriptionProfile, profile_of


def subscription(town: str, name: str = "school-roll", **values: Any) -> Subscription:
    """A running subscription of a registered system; `profile` changes fields of the file."""
    profile = profile_of(
        {
            "name": name, "title": "学齢簿システム", "purpose": "学齢簿の編製と就学の通知",
            "legal_basis": "学校教育法施行令第1条・第2条", "subscriber": "school-system",
            "towns": [town],
            "columns": {"J01": ["addressee_number", "full_name", "born_on", "address_town"]},
        }
        | values.pop("profile", {})
    )
    assert isinstance(profile, SubscriptionProfile), profile
    Subscriber.objects.get_or_create(
        subscriber_id=profile.subscriber_id,
        defaults={
            "name_ja": "教育委員会 学齢簿サーバ",
            "cert_fingerprint": profile.subscriber_id.ljust(64, "0"),
            "registered_at": clock.now(),
        },
    )
    at = clock.now() - timedelta(days=3)
    row = {
        "version": 1, "state": "ACTIVE", "requested_at": at, "requested_by": "staff-a",
        "approved_at": at, "approved_by": "staff-b", "changed_at": at, "changed_by": "staff-b",
        "epoch": 1, "planned_load": 3, "last_page": 40, "delivered_page": 31,
        "acknowledged_page": 30, "delivered_at": clock.now(), "acknowledged_at": clock.now(),
        "fencing_epoch": 1,
    } | values
    with tenancy.scope(town):
        return Subscription.objects.create(
            municipality_code=town, name=name, subscriber_id=profile.subscriber_id,
            profile=profile.as_json(), profile_sha256=profile.sha256,
            approved_classes=profile.classes,
            request_signature=f"{town}-{name}-{row['version']}", **row,
        )
