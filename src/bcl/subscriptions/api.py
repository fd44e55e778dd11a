"""Giving towns' data on to other systems by one declarative file (購読, R-029).

    from bcl.subscriptions import api as subscriptions
    subscriptions.request_subscription("999997", profile, signed=act, at=now)
    subscriptions.approve_subscription("999997", "school-roll", signed=other_act, at=now)
    subscriptions.prepare_deliveries("999997")
    subscriptions.next_page("999997", "school-roll", caller=system, …)

Promises: nobody gets a column that two persons of the town have not agreed to; everybody on a page
is on record; a page is repeated until the subscriber says that it is stored.
"""

from bcl.subscriptions.actions.agree import (
    approval_content,
    approve_subscription,
    change_content,
    end_subscription,
    pause_subscription,
    rebuild_subscription,
    request_content,
    request_subscription,
    resume_subscription,
)
from bcl.subscriptions.actions.deliver import Delivered, Found, find_records, next_page, restart
from bcl.subscriptions.actions.prepare import prepare_deliveries
from bcl.subscriptions.queries import SubscriptionStatus, list_subscriptions, list_versions
from bcl.subscriptions.rules import SubscriptionState

__all__ = [
    "Delivered",
    "Found",
    "SubscriptionState",
    "SubscriptionStatus",
    "approval_content",
    "approve_subscription",
    "change_content",
    "end_subscription",
    "find_records",
    "list_subscriptions",
    "list_versions",
    "next_page",
    "pause_subscription",
    "prepare_deliveries",
    "rebuild_subscription",
    "request_content",
    "request_subscription",
    "restart",
    "resume_subscription",
]
