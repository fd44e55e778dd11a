"""Who saw this person, with the names of the staff (R-171): for the statement a person asks for.

The audit log holds staff ids only; a name and the roles are those the account has now.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bcl.accounts.queries import Account, find_account
from bcl.accounts.rules import AGENCY_CODE, ROLE_NAMES_JA, Role
from bcl.foundation import audit, audit_looks, tenancy
from bcl.foundation.audit import Actor
from bcl.foundation.audit_looks import Look

_KINDS_JA = {
    "terminal": "端末",
    "gateway": "連携装置",
    "center": "証明書交付センター",
    "subscriber": "データの配り先のシステム",
    "system": "システム",
    "staff": "職員",
}


@dataclass(frozen=True)
class NamedLook:
    """A look with who it was: `name_ja` is empty where no account of that id is known."""

    look: Look
    who_ja: str
    name_ja: str = field(repr=False)
    roles_ja: tuple[str, ...]
    belongs_to: str


def who_saw(
    municipality_code: str, addressee_number: str, *, since: datetime, until: datetime
) -> list[NamedLook]:
    """Acts on record about one person, oldest first; see `audit_looks.who_saw`.

    `belongs_to` is the municipality of the account, or the agency's code for its own staff.
    """
    looks = audit_looks.who_saw(
        municipality_code, addressee_number, since=since, until=until
    )
    staff = {look.actor_id for look in looks if look.actor_kind == "staff"}
    accounts = {login: _find(municipality_code, login) for login in sorted(staff)}
    return [_named(look, accounts.get(look.actor_id)) for look in looks]


def record_statement(
    municipality_code: str,
    addressee_number: str,
    *,
    count: int,
    reference: str,
    by: Actor,
    at: datetime,
) -> None:
    """That such a statement was made: who asks who looked has looked as well."""
    with tenancy.scope(municipality_code):
        audit.record(
            act="list_looks",
            by=by,
            at=at,
            subject_key=addressee_number.encode(),
            detail={"count": count, **({"reference": reference} if reference else {})},
        )


def _find(municipality_code: str, login_name: str) -> tuple[str, Account] | None:
    for code in dict.fromkeys((municipality_code, AGENCY_CODE)):
        account = find_account(code, login_name)
        if account is not None:
            return code, account
    return None


def _named(look: Look, found: tuple[str, Account] | None) -> NamedLook:
    who_ja = _KINDS_JA.get(look.actor_kind, look.actor_kind)
    if look.actor_kind != "staff" or found is None:
        return NamedLook(look, who_ja, "", (), "")
    code, account = found
    roles = tuple(ROLE_NAMES_JA[role] for role in Role if role in account.roles)
    return NamedLook(look, who_ja, account.name_ja, roles, code)
