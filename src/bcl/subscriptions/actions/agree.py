"""Agreeing on a subscription: one person asks, another approves exactly that profile (R-029).

All acts are signed by registered staff of the town (D31). A changed profile is a new version that
waits beside the running one; approving it ends the old one and begins a new epoch.
"""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Max

from bcl.foundation import audit, jobs, tenancy
from bcl.municipalities import api as municipalities
from bcl.subscriptions.models import DeliveryPage, Subscription
from bcl.subscriptions.queries import current_fencing_epoch, profile_in
from bcl.subscriptions.rules import RUNNING, SubscriptionState, may_become
from bcl_contract.refusals import Refusal
from bcl_contract.signed_acts import SignedAct
from bcl_contract.subscription_profile import SubscriptionProfile

Content = dict[str, str | int]
_ACTS = {
    SubscriptionState.PAUSED: "pause_subscription",
    SubscriptionState.ACTIVE: "resume_subscription",
    SubscriptionState.ENDED: "end_subscription",
}


def request_content(profile: SubscriptionProfile) -> Content:
    """What the person who asks signs (`request_subscription`)."""
    return {"subscription": profile.name, "profile_sha256": profile.sha256}


def approval_content(name: str, profile_sha256: str, classes: str) -> Content:
    """What the person who approves signs (`approve_subscription`).

    `classes` are those beyond the ordinary ones, joined by `+` in order ("" for none).
    """
    return {"subscription": name, "profile_sha256": profile_sha256, "classes": classes}


def change_content(name: str) -> Content:
    """What is signed to pause, resume, end or rebuild."""
    return {"subscription": name}


def request_subscription(
    municipality_code: str, profile: SubscriptionProfile, *, signed: SignedAct, at: datetime
) -> Subscription | Refusal:
    """Ask for a subscription, or for a new version of one. Nothing is delivered by it."""
    by = municipalities.verify_staff_act(
        signed, act="request_subscription", municipality_code=municipality_code, now=at
    )
    if isinstance(by, Refusal):
        return by
    if dict(signed.content) != request_content(profile):
        return Refusal("SUBSCRIPTION_CHANGED")
    if municipality_code not in profile.towns:
        return Refusal("SUBSCRIPTION_TOWN_NOT_NAMED")
    if municipalities.find_subscriber(profile.subscriber_id) is None:
        return Refusal("SUBSCRIPTION_SUBSCRIBER_UNKNOWN")
    with tenancy.scope(municipality_code):
        versions = Subscription.objects.filter(name=profile.name)
        try:
            with transaction.atomic():
                row = Subscription.objects.create(
                    municipality_code=municipality_code,
                    name=profile.name,
                    version=(versions.aggregate(last=Max("version"))["last"] or 0) + 1,
                    state=SubscriptionState.REQUESTED,
                    subscriber_id=profile.subscriber_id,
                    profile=profile.as_json(),
                    profile_sha256=profile.sha256,
                    requested_at=at,
                    requested_by=by.id,
                    request_signature=signed.signature,
                )
        except IntegrityError:  # one waits already, or the same signed act a second time
            return Refusal("SUBSCRIPTION_ASKED_ALREADY")
        _record("request_subscription", row, by=by, at=at)
        return row


def approve_subscription(
    municipality_code: str, name: str, *, signed: SignedAct, at: datetime
) -> Subscription | Refusal:
    """Approve the version that waits; a running older one ends. Its first pages are queued."""
    with tenancy.scope(municipality_code):
        row = _locked(name, [SubscriptionState.REQUESTED])
        if row is None:
            return Refusal("SUBSCRIPTION_NOT_FOUND")
        by = municipalities.verify_staff_act(
            signed, act="approve_subscription", municipality_code=municipality_code, now=at
        )
        refusal = by if isinstance(by, Refusal) else _judge_approval(row, signed, by)
        if isinstance(by, Refusal) or refusal is not None:
            return refusal or Refusal("SUBSCRIPTION_CHANGED")
        older = _locked(name, RUNNING)
        if older is not None:
            _move(older, SubscriptionState.ENDED, by=by, at=at)
            _record("end_subscription", older, by=by, at=at)
        row.approved_at, row.approved_by = at, by.id
        row.approval_signature = signed.signature
        row.approved_classes = profile_in(row).classes
        _move(row, SubscriptionState.ACTIVE, by=by, at=at)
        begin_epoch(row, first=1 if older is None else older.epoch + 1)
        _record("approve_subscription", row, by=by, at=at)
        return row


def _judge_approval(row: Subscription, signed: SignedAct, by: audit.Actor) -> Refusal | None:
    wanted = approval_content(row.name, row.profile_sha256, profile_in(row).classes)
    said = dict(signed.content)
    if said.get("profile_sha256") != row.profile_sha256:
        return Refusal("SUBSCRIPTION_CHANGED")
    if said.get("classes") != wanted["classes"]:
        return Refusal("SUBSCRIPTION_CLASS_NOT_APPROVED")
    if said != wanted:
        return Refusal("SUBSCRIPTION_CHANGED")
    if by.id == row.requested_by:
        return Refusal("SUBSCRIPTION_SAME_PERSON")
    if municipalities.find_subscriber(row.subscriber_id) is None:
        return Refusal("SUBSCRIPTION_SUBSCRIBER_UNKNOWN")
    return None


def pause_subscription(
    municipality_code: str, name: str, *, signed: SignedAct, at: datetime
) -> Subscription | Refusal:
    """Stop delivering at once; where the subscriber stands is kept."""
    return _change(municipality_code, name, SubscriptionState.PAUSED, signed, at)


def resume_subscription(
    municipality_code: str, name: str, *, signed: SignedAct, at: datetime
) -> Subscription | Refusal:
    """Deliver again from where the subscriber stands."""
    done = _change(municipality_code, name, SubscriptionState.ACTIVE, signed, at)
    if isinstance(done, Subscription):
        _wake(municipality_code)
    return done


def end_subscription(
    municipality_code: str, name: str, *, signed: SignedAct, at: datetime
) -> Subscription | Refusal:
    """End it for good, or take a wish back that nobody approved; prepared pages are deleted."""
    return _change(municipality_code, name, SubscriptionState.ENDED, signed, at)


def rebuild_subscription(
    municipality_code: str, name: str, *, signed: SignedAct, at: datetime
) -> Subscription | Refusal:
    """Begin a new epoch: the subscriber is told and gets the whole state again."""
    with tenancy.scope(municipality_code):
        row = _locked(name, RUNNING)
        if row is None:
            return Refusal("SUBSCRIPTION_NOT_FOUND")
        by = _signer(row, "rebuild_subscription", signed, at)
        if isinstance(by, Refusal):
            return by
        begin_epoch(row, first=row.epoch + 1)
        _record("rebuild_subscription", row, by=by, at=at)
        return row


def begin_epoch(row: Subscription, *, first: int) -> None:
    """A new epoch from nothing; its pages are made by the worker. The row is locked."""
    DeliveryPage.objects.filter(subscription=row).delete()
    row.epoch, row.fencing_epoch = first, current_fencing_epoch()
    row.planned_load = row.last_page = row.delivered_page = row.acknowledged_page = 0
    row.save()
    _wake(row.municipality_code)


# -- inside --------------------------------------------------------------------------------------


def _change(
    code: str, name: str, state: SubscriptionState, signed: SignedAct, at: datetime
) -> Subscription | Refusal:
    """Change what runs; ending takes back a wish where one waits."""
    act = _ACTS[state]
    with tenancy.scope(code):
        waiting = _locked(name, [SubscriptionState.REQUESTED])
        row = waiting if state == SubscriptionState.ENDED and waiting else _locked(name, RUNNING)
        if row is None:
            return Refusal("SUBSCRIPTION_NOT_FOUND")
        by = _signer(row, act, signed, at)
        if isinstance(by, Refusal):
            return by
        if not may_become(row.state, state):
            return Refusal("SUBSCRIPTION_STATE", {"state": row.state})
        _move(row, state, by=by, at=at)
        _record(act, row, by=by, at=at)
        return row


def _signer(
    row: Subscription, act: str, signed: SignedAct, at: datetime
) -> audit.Actor | Refusal:
    by = municipalities.verify_staff_act(
        signed, act=act, municipality_code=row.municipality_code, now=at
    )
    if not isinstance(by, Refusal) and dict(signed.content) != change_content(row.name):
        return Refusal("SUBSCRIPTION_CHANGED")
    return by


def _move(row: Subscription, state: SubscriptionState, *, by: audit.Actor, at: datetime) -> None:
    row.state, row.changed_at, row.changed_by = state, at, by.id
    if state == SubscriptionState.ENDED:
        DeliveryPage.objects.filter(subscription=row).delete()
    row.save()


def _locked(name: str, states: object) -> Subscription | None:
    rows = Subscription.objects.select_for_update(of=("self",), no_key=True)
    return rows.filter(name=name, state__in=states).first()


def _record(act: str, row: Subscription, *, by: audit.Actor, at: datetime) -> None:
    audit.record(
        act=act,
        by=by,
        at=at,
        detail={
            "subscription": row.name,
            "version": row.version,
            "profile_sha256": row.profile_sha256,
            "subscriber": row.subscriber_id,
            **({"classes": row.approved_classes} if row.approved_classes else {}),
        },
    )


def _wake(municipality_code: str) -> None:
    jobs.defer("subscriptions.prepare_deliveries", municipality_code=municipality_code)
