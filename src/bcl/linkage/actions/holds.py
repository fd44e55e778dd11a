"""Lifting a hold by hand: it lets certificates out again, so two persons must agree (D7)."""

from __future__ import annotations

from datetime import datetime

from bcl.foundation import audit, tenancy
from bcl.linkage.models import HoldRelease
from bcl.resident_store import api as store
from bcl_contract.refusals import Refusal


def ask_hold_release(
    municipality_code: str, hold_id: str, *, reason: str, by: audit.Actor, at: datetime
) -> HoldRelease | Refusal:
    """The first person: ask for a hold to be lifted. Asking again gives the open wish."""
    with tenancy.scope(municipality_code):
        if all(hold.id != hold_id for hold in store.list_holds(municipality_code)):
            return Refusal("LINKAGE_HOLD_NOT_FOUND")
        wish, made = HoldRelease.objects.get_or_create(
            municipality_code=municipality_code,
            hold=hold_id,
            approved_at=None,
            defaults={"reason": reason, "requested_at": at, "requested_by": by.id},
        )
        if made:
            audit.record(
                act="ask_hold_release", by=by, at=at, detail={"hold": hold_id, "reason": reason}
            )
        return wish


def approve_hold_release(
    municipality_code: str, hold_id: str, *, by: audit.Actor, at: datetime
) -> HoldRelease | Refusal:
    """The second person: agree, which lifts the hold at once. Nobody agrees with themselves."""
    with tenancy.scope(municipality_code):
        wish = (
            HoldRelease.objects.select_for_update(of=("self",), no_key=True)
            .filter(hold=hold_id, approved_at=None)
            .first()
        )
        if wish is None:
            return Refusal("LINKAGE_HOLD_NOT_FOUND")
        if wish.requested_by == by.id:
            return Refusal("RELEASE_NEEDS_SECOND_PERSON")
        if not store.lift_hold(municipality_code, hold_id):
            return Refusal("LINKAGE_HOLD_NOT_FOUND")
        wish.approved_at, wish.approved_by = at, by.id
        wish.save()
        audit.record(
            act="lift_hold",
            by=by,
            at=at,
            detail={"hold": hold_id, "asked_by": wish.requested_by, "reason": wish.reason},
        )
        return wish


def waiting_releases(municipality_code: str) -> dict[str, str]:
    """Holds somebody has asked to lift: hold -> who asked."""
    with tenancy.scope(municipality_code):
        return dict(
            HoldRelease.objects.filter(approved_at=None).values_list("hold", "requested_by")
        )
