"""Reads of staff accounts, as frozen values. All but terminals stands in a tenant's scope."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime

from bcl.accounts import models, rules
from bcl.accounts.rules import Role, TerminalClass
from bcl.foundation import crypto, tenancy
from bcl.foundation.audit import Actor
from bcl_contract.refusals import Refusal

_TABLE = "accounts_staffaccount"


@dataclass(frozen=True)
class Terminal:
    """A registered terminal: whose it is and which network it stands in."""

    id: str
    owner_code: str
    terminal_class: TerminalClass
    name_ja: str
    registered_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class Principal:
    """Who sits at the terminal, as of this request. `permissions` is empty before the second
    factor: half a sign-in may do nothing."""

    account_id: uuid.UUID
    login_name: str
    name_ja: str = field(repr=False)
    municipality_code: str
    terminal: Terminal
    status: str
    roles: frozenset[Role]
    has_second_factor: bool
    token_digest: bytes = field(repr=False)

    @property
    def permissions(self) -> frozenset[str]:
        """What this person may do with this request."""
        return rules.permissions_of(self.roles) if self.has_second_factor else frozenset()

    @property
    def actor(self) -> Actor:
        """The name under which acts are audited."""
        return Actor("staff", self.login_name)


@dataclass(frozen=True)
class Account:
    """An account as the user administration shows it."""

    id: uuid.UUID
    login_name: str
    name_ja: str = field(repr=False)
    status: str
    status_reason: str
    roles: frozenset[Role]
    valid_until_on: date | None
    last_sign_in_at: datetime | None
    created_at: datetime
    reviewed_at: datetime | None


def token_digest(token: str) -> bytes:
    """What the database keeps of a cookie's secret."""
    return hashlib.sha256(token.encode()).digest()


def find_terminal_by_cert(cert_der: bytes) -> Terminal | None:
    """The registered, unrevoked terminal that holds this TLS certificate (DER), or None."""
    row = models.Terminal.objects.filter(
        cert_fingerprint=hashlib.sha256(cert_der).hexdigest(), revoked_at__isnull=True
    ).first()
    return None if row is None else _terminal(row)


def list_terminals(owner_code: str) -> list[Terminal]:
    """All terminals of a tenant, revoked ones too, by id."""
    rows = models.Terminal.objects.filter(owner_code=owner_code).order_by("terminal_id")
    return [_terminal(row) for row in rows]


def find_session(terminal: Terminal, token: str, at: datetime) -> Principal | Refusal:
    """Who holds this session now, or why it doesn't count any more.

    Account, roles and limits are read anew each time (S3). The session counts only at the
    terminal where it began.
    """
    with tenancy.scope(terminal.owner_code):
        row = (
            models.StaffSession.objects.select_related("account")
            .filter(token_digest=token_digest(token), terminal_id=terminal.id, ended_at=None)
            .first()
        )
        if row is None:
            return Refusal("SESSION_UNKNOWN")
        # A stopped account first: its holder should read why, not just meet the sign-in page.
        refusal = _judge_account(row.account, at) or rules.judge_session(
            rules.SessionTimes(row.began_at, row.last_seen_at), at, rules.limits_on(at.date())
        )
        if refusal is None and row.account_epoch != row.account.epoch:
            refusal = Refusal("SESSION_UNKNOWN")
        if refusal is not None:
            return refusal
        return principal_of(row, terminal)


def principal_of(session: models.StaffSession, terminal: Terminal) -> Principal:
    """The principal of an open session; inside the tenant's scope."""
    account = session.account
    return Principal(
        account_id=account.id,
        login_name=account.login_name,
        name_ja=open_name(account),
        municipality_code=account.municipality_code,
        terminal=terminal,
        status=account.status,
        roles=roles_of(account),
        has_second_factor=session.second_factor_at is not None,
        token_digest=bytes(session.token_digest),
    )


def list_accounts(municipality_code: str) -> list[Account]:
    """All accounts of a tenant by login name, closed ones too."""
    with tenancy.scope(municipality_code):
        rows = models.StaffAccount.objects.prefetch_related("grants").order_by("login_name")
        return [_account(row) for row in rows]


def find_account(municipality_code: str, login_name: str) -> Account | None:
    """One account of a tenant, or None."""
    with tenancy.scope(municipality_code):
        row = models.StaffAccount.objects.filter(login_name=login_name).first()
        return None if row is None else _account(row)


def roles_of(account: models.StaffAccount) -> frozenset[Role]:
    """Roles that an account holds now; inside the tenant's scope."""
    held = account.grants.filter(withdrawn_at__isnull=True).values_list("role", flat=True)
    return frozenset(Role(role) for role in held)


def seal_name(account: models.StaffAccount, name_ja: str) -> bytes:
    """The name as it is stored."""
    return crypto.seal_cell(
        account.municipality_code, _TABLE, "sealed_name", account.id.bytes, name_ja.encode()
    )


def open_name(account: models.StaffAccount) -> str:
    """The name as it is shown."""
    return crypto.open_cell(
        account.municipality_code,
        _TABLE,
        "sealed_name",
        account.id.bytes,
        bytes(account.sealed_name),
    ).decode()


def _judge_account(account: models.StaffAccount, at: datetime) -> Refusal | None:
    if account.status in (models.AccountStatus.LOCKED, models.AccountStatus.CLOSED):
        return Refusal("ACCOUNT_LOCKED")
    if account.valid_until_on is not None and at.date() > account.valid_until_on:
        return Refusal("ACCOUNT_EXPIRED")
    return None


def _terminal(row: models.Terminal) -> Terminal:
    return Terminal(
        row.terminal_id,
        row.owner_code,
        TerminalClass(row.terminal_class),
        row.name_ja,
        row.registered_at,
        row.revoked_at,
    )


def _account(row: models.StaffAccount) -> Account:
    return Account(
        id=row.id,
        login_name=row.login_name,
        name_ja=open_name(row),
        status=row.status,
        status_reason=row.status_reason,
        roles=roles_of(row),
        valid_until_on=row.valid_until_on,
        last_sign_in_at=row.last_sign_in_at,
        created_at=row.created_at,
        reviewed_at=row.reviewed_at,
    )
