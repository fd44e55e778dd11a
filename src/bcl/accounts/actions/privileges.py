"""特権ID: rights for a time, under the number of a piece of work, agreed to by a second person.

    asked = ask_privilege(principal, ticket="CHG-120", reason="…", minutes=30, at=now)
    approve_privilege(other, asked.id, code, unix_time=…, at=now)     # runs from here
    end_privilege(principal, asked.id, at=now)                        # or by itself at `ends_at`

While it runs, `Principal.permissions` has what `special_permissions.csv` marks as privileged, and
every audit row of that person carries the ticket. It belongs to the person, not to a sign-in.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bcl.accounts import models, rules
from bcl.accounts.actions.confirm import confirm_act
from bcl.accounts.queries import Principal
from bcl.accounts.rules import AGENCY_CODE
from bcl.foundation import audit, crypto, tenancy
from bcl_contract.refusals import Refusal

_TABLE = "accounts_elevation"
_TICKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{2,31}\Z")
_LONGEST_REASON = 500


@dataclass(frozen=True)
class PrivilegeRequest:
    """One request as the screen and the command show it; `state` is ASKED, RUNNING, REFUSED,
    LAPSED (nobody decided in time) or ENDED."""

    id: uuid.UUID
    login_name: str
    ticket: str
    reason: str = field(repr=False)
    minutes: int
    asked_at: datetime
    decided_by: str
    ends_at: datetime | None
    ended_at: datetime | None
    ended_by: str
    state: str


def list_privileges(
    municipality_code: str = AGENCY_CODE, *, at: datetime, limit: int = 100
) -> list[PrivilegeRequest]:
    """The newest requests of a tenant, newest first."""
    with tenancy.scope(municipality_code):
        rows = models.Elevation.objects.select_related("account").order_by("-asked_at")[:limit]
        return [_shown(row, at) for row in rows]


def ask_privilege(
    by: Principal, *, ticket: str, reason: str, minutes: int, at: datetime
) -> PrivilegeRequest | Refusal:
    """Ask for privileges; the same ticket again, while it waits or runs, is the same request."""
    limits = rules.limits_on(at.date())
    refusal = by.why_not("privileges.use")
    if refusal is not None:
        return refusal
    is_well_formed = _TICKET.match(ticket) and 0 < len(reason.strip()) <= _LONGEST_REASON
    if not is_well_formed or not 1 <= minutes <= limits.privilege_minutes:
        return Refusal("PRIVILEGE_REQUEST_WRONG", {"minutes": limits.privilege_minutes})
    with tenancy.scope(by.municipality_code):
        # The person's row orders two clicks; the second finds what the first has made.
        models.StaffAccount.objects.select_for_update().get(id=by.account_id)
        for row in models.Elevation.objects.filter(account_id=by.account_id, ticket=ticket):
            if _state(row, at) in ("ASKED", "RUNNING"):
                return _shown(row, at)
        row = models.Elevation(
            id=uuid.uuid4(),
            municipality_code=by.municipality_code,
            account_id=by.account_id,
            ticket=ticket,
            minutes=minutes,
            asked_at=at,
        )
        row.sealed_reason = crypto.seal_cell(
            row.municipality_code, _TABLE, "sealed_reason", row.id.bytes, reason.strip().encode()
        )
        row.save(force_insert=True)
        _record("ask_privilege", by.actor, row, at)
        return _shown(row, at)


def approve_privilege(
    by: Principal, request_id: uuid.UUID, code: str, *, unix_time: float, at: datetime
) -> PrivilegeRequest | Refusal:
    """The second person agrees, with a fresh code: the privileges run from now."""
    with tenancy.scope(by.municipality_code):
        row = _waiting(by, request_id, at)
        if isinstance(row, Refusal):
            return row
        confirmed = confirm_act(
            by,
            code,
            act="approve_privilege",
            content={"privilege": str(row.id), "ticket": row.ticket, "minutes": row.minutes},
            unix_time=unix_time,
            at=at,
        )
        if isinstance(confirmed, Refusal):
            return confirmed
        row.decided_at, row.decided_by = at, by.login_name
        row.ends_at = at + timedelta(minutes=row.minutes)
        row.save(update_fields=["decided_at", "decided_by", "ends_at"])
        _record("approve_privilege", by.actor, row, at, minutes=row.minutes)
        return _shown(row, at)


def refuse_privilege(by: Principal, request_id: uuid.UUID, *, at: datetime) -> Refusal | None:
    """The second person says no."""
    with tenancy.scope(by.municipality_code):
        row = _waiting(by, request_id, at)
        if isinstance(row, Refusal):
            return row
        row.decided_at, row.decided_by = at, by.login_name
        row.save(update_fields=["decided_at", "decided_by"])
        _record("refuse_privilege", by.actor, row, at)
    return None


def end_privilege(by: Principal, request_id: uuid.UUID, *, at: datetime) -> Refusal | None:
    """End running privileges early: the person, or whoever may agree to them."""
    with tenancy.scope(by.municipality_code):
        row = _running(request_id, at)
        if row is None:
            return Refusal("PRIVILEGE_STATE")
        if row.account_id != by.account_id and "privileges.approve" not in by.permissions:
            return by.why_not("privileges.approve")
        _end(row, by.actor, at)
    return None


def cut_privilege(
    request_id: uuid.UUID, *, by: audit.Actor, at: datetime, municipality_code: str = AGENCY_CODE
) -> Refusal | None:
    """End running privileges from the cloud's own machine (the command)."""
    with tenancy.scope(municipality_code):
        row = _running(request_id, at)
        if row is None:
            return Refusal("PRIVILEGE_STATE")
        _end(row, by, at)
    return None


# -- inside -------------------------------------------------------------------------------------


def _waiting(by: Principal, request_id: uuid.UUID, at: datetime) -> models.Elevation | Refusal:
    refusal = by.why_not("privileges.approve")
    if refusal is not None:
        return refusal
    row = models.Elevation.objects.select_for_update().filter(id=request_id).first()
    if row is None or _state(row, at) != "ASKED":
        return Refusal("PRIVILEGE_STATE")
    if row.account_id == by.account_id:
        return Refusal("PRIVILEGE_OWN")
    return row


def _running(request_id: uuid.UUID, at: datetime) -> models.Elevation | None:
    row = models.Elevation.objects.select_for_update().filter(id=request_id).first()
    return row if row is not None and _state(row, at) == "RUNNING" else None


def _end(row: models.Elevation, by: audit.Actor, at: datetime) -> None:
    row.ended_at, row.ended_by = at, by.id
    row.save(update_fields=["ended_at", "ended_by"])
    _record("end_privilege", by, row, at)


def _state(row: models.Elevation, at: datetime) -> str:
    if row.ends_at is not None:
        return "RUNNING" if row.ended_at is None and at < row.ends_at else "ENDED"
    if row.decided_at is not None:
        return "REFUSED"
    wait = timedelta(hours=rules.limits_on(at.date()).privilege_wait_hours)
    return "ASKED" if at < row.asked_at + wait else "LAPSED"


def _shown(row: models.Elevation, at: datetime) -> PrivilegeRequest:
    reason = crypto.open_cell(
        row.municipality_code, _TABLE, "sealed_reason", row.id.bytes, bytes(row.sealed_reason)
    )
    return PrivilegeRequest(
        id=row.id,
        login_name=row.account.login_name,
        ticket=row.ticket,
        reason=reason.decode(),
        minutes=row.minutes,
        asked_at=row.asked_at,
        decided_by=row.decided_by,
        ends_at=row.ends_at,
        ended_at=row.ended_at,
        ended_by=row.ended_by,
        state=_state(row, at),
    )


def _record(
    act: str, by: audit.Actor, row: models.Elevation, at: datetime, **detail: str | int
) -> None:
    facts = {"privilege": str(row.id), "ticket": row.ticket, "for": row.account.login_name}
    audit.record(act=act, by=by, at=at, detail={**facts, **detail})
