"""User administration by the tenant itself (R-060): create, lock, reset, close, roles, review.

`by` is the principal who acts; nobody acts on the own account, and nobody gives a right of another
kind of tenant. Operators on the cloud's own machine use `found_administrator` for the first one.
`seen` is the account's `revision` on the page that the act was chosen on: when somebody else has
changed the account since, nothing happens and the answer says so.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import F

from bcl.accounts import models, queries, rules
from bcl.accounts.actions.enrolment import new_enrolment
from bcl.accounts.actions.passkeys import remove_all_passkeys
from bcl.accounts.models import AccountStatus
from bcl.accounts.queries import Principal
from bcl.accounts.rules import AGENCY_CODE, Role
from bcl.foundation import audit, keys, tenancy
from bcl_contract.refusals import Refusal

_SENT_TWICE_WITHIN = timedelta(minutes=1)


@dataclass(frozen=True)
class Invitation:
    """A new or reset account and the one-time code to hand to its owner in person."""

    login_name: str
    enrolment_code: str = field(repr=False)


def found_administrator(
    municipality_code: str, login_name: str, name_ja: str, *, by: audit.Actor, at: datetime
) -> Invitation | Refusal:
    """The first administrator of a tenant, made by the operator; later ones make each other."""
    role = Role.AGENCY_ADMIN if municipality_code == AGENCY_CODE else Role.TOWN_ADMIN
    if municipality_code == AGENCY_CODE:
        keys.create_town_keys(AGENCY_CODE, at=at)
    with tenancy.scope(municipality_code):
        return _create(municipality_code, login_name, name_ja, [role], by=by, at=at)


def create_account(
    by: Principal,
    *,
    login_name: str,
    name_ja: str,
    roles: Iterable[Role],
    at: datetime,
    valid_until_on: date | None = None,
) -> Invitation | Refusal:
    """Create an account in the own tenant; returns the code to hand over."""
    roles = list(roles)
    for role in roles:
        refusal = _may_grant(by, role)
        if refusal is not None:
            return refusal
    with tenancy.scope(by.municipality_code):
        return _create(
            by.municipality_code,
            login_name,
            name_ja,
            roles,
            by=by.actor,
            at=at,
            valid_until_on=valid_until_on,
        )


def reset_account(
    by: Principal, login_name: str, *, at: datetime, seen: int | None = None
) -> Invitation | Refusal:
    """Password or app lost: all factors and sessions end, the person enrols anew."""
    with tenancy.scope(by.municipality_code):
        account = _other_account(by, login_name, seen)
        if isinstance(account, Refusal):
            return account
        account.status, account.status_reason = AccountStatus.INVITED, "RESET"
        account.password_hash, account.sealed_totp_secret = "", None
        account.totp_confirmed_at = None
        account.epoch += 1
        account.save()
        remove_all_passkeys(account, by=by.actor, at=at)
        _record(by, "reset_account", login_name, at)
        return Invitation(login_name, new_enrolment(account, at=at))


def lock_account(
    by: Principal, login_name: str, *, reason: str, at: datetime, seen: int | None = None
) -> Refusal | None:
    """Stop an account; its sessions end with the next request."""
    with tenancy.scope(by.municipality_code):
        account = _other_account(by, login_name, seen)
        if isinstance(account, Refusal):
            return account
        if account.status == AccountStatus.LOCKED and account.status_reason == reason:
            return None
        _lock(account, reason)
        _record(by, "lock_account", login_name, at, reason=reason)
    return None


def unlock_account(
    by: Principal, login_name: str, *, at: datetime, seen: int | None = None
) -> Refusal | None:
    """Let a locked account in again; both factors stay as they were."""
    with tenancy.scope(by.municipality_code):
        account = _other_account(by, login_name, seen)
        if isinstance(account, Refusal):
            return account
        if account.status != AccountStatus.LOCKED:
            return Refusal("ACCOUNT_STATE")
        enrolled = account.totp_confirmed_at is not None and account.password_hash
        account.status = AccountStatus.ACTIVE if enrolled else AccountStatus.INVITED
        account.status_reason = ""
        # A dormant account would be locked again the same night.
        account.last_sign_in_at = at
        account.save(update_fields=["status", "status_reason", "last_sign_in_at"])
        _record(by, "unlock_account", login_name, at)
    return None


def close_account(
    by: Principal, login_name: str, *, at: datetime, seen: int | None = None
) -> Refusal | None:
    """End an account for good; its history stays."""
    with tenancy.scope(by.municipality_code):
        account = _other_account(by, login_name, seen)
        if isinstance(account, Refusal):
            return account
        account.status, account.status_reason = AccountStatus.CLOSED, "CLOSED"
        account.password_hash, account.sealed_totp_secret = "", None
        account.epoch += 1
        account.save()
        remove_all_passkeys(account, by=by.actor, at=at)
        models.RoleGrant.objects.filter(account=account, withdrawn_at=None).update(
            withdrawn_at=at, withdrawn_by=by.login_name
        )
        _record(by, "close_account", login_name, at)
    return None


def set_roles(
    by: Principal,
    login_name: str,
    roles: Iterable[Role],
    *,
    at: datetime,
    seen: int | None = None,
) -> Refusal | None:
    """Make these the account's roles; in force with its next request (S3)."""
    wanted = frozenset(roles)
    with tenancy.scope(by.municipality_code):
        account = _other_account(by, login_name, seen)
        if isinstance(account, Refusal):
            return account
        held = queries.roles_of(account)
        for role in wanted ^ held:
            refusal = _may_grant(by, role)
            if refusal is not None:
                return refusal
        models.RoleGrant.objects.filter(
            account=account, withdrawn_at=None, role__in=held - wanted
        ).update(withdrawn_at=at, withdrawn_by=by.login_name)
        _grant(account, wanted - held, by=by.login_name, at=at)
        for role in sorted(wanted - held):
            _record(by, "grant_role", login_name, at, role=role.value)
        for role in sorted(held - wanted):
            _record(by, "withdraw_role", login_name, at, role=role.value)
    return None


def set_validity(
    by: Principal,
    login_name: str,
    valid_until_on: date | None,
    *,
    at: datetime,
    seen: int | None = None,
) -> Refusal | None:
    """Until which day the account may be used (that day too); None = no end."""
    with tenancy.scope(by.municipality_code):
        account = _other_account(by, login_name, seen)
        if isinstance(account, Refusal):
            return account
        account.valid_until_on = valid_until_on
        account.save(update_fields=["valid_until_on"])
        until = "none" if valid_until_on is None else valid_until_on.isoformat()
        _record(by, "set_account_validity", login_name, at, until=until)
    return None


def end_sessions(by: Principal, login_name: str, *, at: datetime) -> Refusal | None:
    """End all sign-ins of somebody at once: a colleague's by an administrator, or one's own but
    for the one in use."""
    with tenancy.scope(by.municipality_code):
        is_own = login_name == by.login_name
        found = _own_account(by) if is_own else _other_account(by, login_name)
        if isinstance(found, Refusal):
            return found
        found.sessions.filter(ended_at=None).exclude(token_digest=by.token_digest).update(
            ended_at=at, end_reason="ENDED_BY_HAND"
        )
        audit.record(
            act="end_sessions", by=by.actor, at=at, detail={"login_name": login_name}
        )
    return None


def review_account(
    by: Principal, login_name: str, *, at: datetime, seen: int | None = None
) -> Refusal | None:
    """Note that somebody looked and the account is still needed as it is (periodic review)."""
    with tenancy.scope(by.municipality_code):
        account = _other_account(by, login_name, seen)
        if isinstance(account, Refusal):
            return account
        account.reviewed_at, account.reviewed_by = at, by.login_name
        account.save(update_fields=["reviewed_at", "reviewed_by"])
        _record(by, "review_account", login_name, at)
    return None


def lock_dormant_accounts(municipality_code: str, *, at: datetime) -> int:
    """Lock the accounts nobody used for `dormant_days`; returns how many (nightly job)."""
    locked = 0
    with tenancy.scope(municipality_code):
        for account in models.StaffAccount.objects.select_for_update().filter(
            status=AccountStatus.ACTIVE
        ):
            if rules.is_dormant(account.last_sign_in_at, account.created_at, at):
                _lock(account, "DORMANT")
                audit.record(
                    act="lock_account",
                    by=audit.SYSTEM,
                    at=at,
                    detail={"login_name": account.login_name, "reason": "DORMANT"},
                )
                locked += 1
    return locked


# -- inside -------------------------------------------------------------------------------------


def _create(
    municipality_code: str,
    login_name: str,
    name_ja: str,
    roles: Iterable[Role],
    *,
    by: audit.Actor,
    at: datetime,
    valid_until_on: date | None = None,
) -> Invitation | Refusal:
    roles = list(roles)
    known = models.StaffAccount.objects.filter(login_name=login_name).first()
    if known is not None:
        return _again(known, name_ja, roles, by=by, at=at)
    audit.Actor("staff", login_name)  # refuses a login name that is no id
    account = models.StaffAccount(
        id=uuid.uuid4(),
        municipality_code=municipality_code,
        login_name=login_name,
        created_at=at,
        created_by=by.id,
        valid_until_on=valid_until_on,
    )
    account.sealed_name = queries.seal_name(account, name_ja)
    try:
        with transaction.atomic():
            account.save(force_insert=True)
    except IntegrityError:
        return Refusal("ACCOUNT_EXISTS")
    _grant(account, roles, by=by.id, at=at)
    audit.record(act="create_account", by=by, at=at, detail={"login_name": login_name})
    for role in roles:
        audit.record(
            act="grant_role", by=by, at=at, detail={"login_name": login_name, "role": role.value}
        )
    return Invitation(login_name, new_enrolment(account, at=at))


def _again(
    known: models.StaffAccount,
    name_ja: str,
    roles: list[Role],
    *,
    by: audit.Actor,
    at: datetime,
) -> Invitation | Refusal:
    """The same form sent twice (a double click) gives the same account with a code that works."""
    is_same = (
        known.status == AccountStatus.INVITED
        and known.created_by == by.id
        and at - known.created_at < _SENT_TWICE_WITHIN
        and queries.open_name(known) == name_ja
        and queries.roles_of(known) == frozenset(roles)
    )
    if not is_same:
        return Refusal("ACCOUNT_EXISTS")
    return Invitation(known.login_name, new_enrolment(known, at=at))


def _grant(account: models.StaffAccount, roles: Iterable[Role], *, by: str, at: datetime) -> None:
    for role in sorted(roles):
        models.RoleGrant.objects.create(
            municipality_code=account.municipality_code,
            account=account,
            role=role.value,
            granted_at=at,
            granted_by=by,
        )


def _lock(account: models.StaffAccount, reason: str) -> None:
    account.status, account.status_reason = AccountStatus.LOCKED, reason
    account.epoch += 1
    account.save(update_fields=["status", "status_reason", "epoch"])


def _may_grant(by: Principal, role: Role) -> Refusal | None:
    if not by.has_second_factor:
        return Refusal("ACCOUNT_PERMISSION_MISSING", {"permission": "accounts.manage"})
    return rules.may_grant(role, municipality_code=by.municipality_code, granter_roles=by.roles)


def _other_account(
    by: Principal, login_name: str, seen: int | None = None
) -> models.StaffAccount | Refusal:
    """The account to act on: of the own tenant, not the own one, not closed, as it was seen."""
    if "accounts.manage" not in by.permissions:
        return Refusal("ACCOUNT_PERMISSION_MISSING", {"permission": "accounts.manage"})
    if login_name == by.login_name:
        return Refusal("ACCOUNT_OWN")
    account = (
        models.StaffAccount.objects.select_for_update()
        .filter(login_name=login_name)
        .exclude(status=AccountStatus.CLOSED)
        .first()
    )
    if account is None:
        return Refusal("ACCOUNT_UNKNOWN")
    return Refusal("CONSOLE_CHANGED_MEANWHILE") if seen not in (None, account.revision) else account


def _own_account(by: Principal) -> models.StaffAccount:
    return models.StaffAccount.objects.get(id=by.account_id)


def _record(by: Principal, act: str, login_name: str, at: datetime, **detail: str) -> None:
    """The audit row of a change, and the count that pages notice changes by."""
    models.StaffAccount.objects.filter(login_name=login_name).update(revision=F("revision") + 1)
    audit.record(act=act, by=by.actor, at=at, detail={"login_name": login_name, **detail})
