"""Reads of staff accounts, as frozen values. All but terminals stands in a tenant's scope."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db.models import QuerySet

from bcl.accounts import models, rules
from bcl.accounts.rules import Role, TerminalClass
from bcl.foundation import crypto, tenancy
from bcl.foundation.audit import Actor
from bcl_contract.refusals import Refusal

_TABLE = "accounts_staffaccount"
_SEEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Terminal:
    """A registered terminal: whose it is and which network it stands in."""

    id: str
    owner_code: str
    terminal_class: TerminalClass
    name_ja: str
    registered_at: datetime
    revoked_at: datetime | None = None
    place_ja: str = ""
    valid_until_on: date | None = None
    last_seen_at: datetime | None = None
    has_certificate: bool = True


@dataclass(frozen=True)
class Privilege:
    """Privileges that a person holds now (特権ID): under which ticket, until when."""

    id: uuid.UUID
    ticket: str
    ends_at: datetime


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
    privilege: Privilege | None = None

    @property
    def permissions(self) -> frozenset[str]:
        """What this person may do with this request: at this terminal, with these privileges."""
        if not self.has_second_factor:
            return frozenset()
        return rules.permissions_here(
            self.roles,
            terminal_class=self.terminal.terminal_class,
            is_privileged=self.privilege is not None,
        )

    @property
    def actor(self) -> Actor:
        """The name under which acts are audited; with the ticket while privileges are held."""
        ticket = "" if self.privilege is None else self.privilege.ticket
        return Actor("staff", self.login_name, ticket)

    def may_by_role(self, permission: str) -> bool:
        """Whether the roles give this, here or elsewhere, now or with privileges."""
        return self.has_second_factor and permission in rules.permissions_of(self.roles)

    def why_not(self, permission: str) -> Refusal | None:
        """Why this person may not do this now; None when they may."""
        if permission in self.permissions:
            return None
        if not self.may_by_role(permission):
            return Refusal("ACCOUNT_PERMISSION_MISSING", {"permission": permission})
        return rules.why_not_here(
            permission,
            terminal_class=self.terminal.terminal_class,
            is_privileged=self.privilege is not None,
        )


@dataclass(frozen=True)
class Session:
    """One open sign-in: where, since when, last used when."""

    key: str
    terminal_id: str
    began_at: datetime
    last_seen_at: datetime
    is_this: bool


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
    reviewed_by: str = ""
    revision: int = 1
    passkeys: int = 0


def token_digest(token: str) -> bytes:
    """What the database keeps of a cookie's secret."""
    return hashlib.sha256(token.encode()).digest()


def find_terminal_by_cert(cert_der: bytes, *, at: datetime) -> Terminal | None:
    """The registered terminal that holds this TLS certificate (DER), or None: unknown, revoked or
    past its date.

    A terminal that was registered by its signing request takes the first certificate over its key
    that the terminals' authority issued: the TLS server has checked both before we are asked.
    """
    fingerprint = hashlib.sha256(cert_der).hexdigest()
    live = models.Terminal.objects.filter(revoked_at__isnull=True)
    row = live.filter(cert_fingerprint=fingerprint).first()
    if row is None:
        row = _take_certificate(live, cert_der, fingerprint)
    if row is None or (row.valid_until_on is not None and at.date() > row.valid_until_on):
        return None
    if row.last_seen_at is None or at - row.last_seen_at >= _SEEN_EVERY:
        models.Terminal.objects.filter(pk=row.pk).update(last_seen_at=at)
    return _terminal(row)


def _take_certificate(
    live: QuerySet[models.Terminal], cert_der: bytes, fingerprint: str
) -> models.Terminal | None:
    waiting = live.filter(cert_fingerprint__isnull=True)
    if not waiting.exists():
        return None
    key = key_fingerprint(x509.load_der_x509_certificate(cert_der))
    if not waiting.filter(key_fingerprint=key).update(cert_fingerprint=fingerprint):
        return None
    return live.get(cert_fingerprint=fingerprint)


def key_fingerprint(holder: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """SHA-256 of the public key (SubjectPublicKeyInfo, DER), lower case hexadecimal."""
    public = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()


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
        return principal_of(row, terminal, at=at)


def principal_of(session: models.StaffSession, terminal: Terminal, *, at: datetime) -> Principal:
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
        privilege=_privilege_of(account, at),
    )


def _privilege_of(account: models.StaffAccount, at: datetime) -> Privilege | None:
    row = account.elevations.filter(ends_at__gt=at, ended_at=None).order_by("-ends_at").first()
    if row is None or row.ends_at is None:
        return None
    return Privilege(row.id, row.ticket, row.ends_at)


def open_sessions(account: models.StaffAccount, at: datetime) -> list[models.StaffSession]:
    """Sign-ins of an account that still count, newest first; inside the tenant's scope."""
    limits = rules.limits_on(at.date())
    rows = account.sessions.filter(
        ended_at=None, account_epoch=account.epoch, second_factor_at__isnull=False
    ).order_by("-began_at")
    return [
        row
        for row in rows
        if rules.judge_session(rules.SessionTimes(row.began_at, row.last_seen_at), at, limits)
        is None
    ]


def list_sessions(principal: Principal, login_name: str, *, at: datetime) -> list[Session]:
    """Open sign-ins of somebody of the principal's tenant, newest first."""
    with tenancy.scope(principal.municipality_code):
        account = models.StaffAccount.objects.filter(login_name=login_name).first()
        rows = [] if account is None else open_sessions(account, at)
        return [
            Session(
                key=bytes(row.token_digest).hex(),
                terminal_id=row.terminal_id,
                began_at=row.began_at,
                last_seen_at=row.last_seen_at,
                is_this=bytes(row.token_digest) == principal.token_digest,
            )
            for row in rows
        ]


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
        row.place_ja,
        row.valid_until_on,
        row.last_seen_at,
        row.cert_fingerprint is not None,
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
        reviewed_by=row.reviewed_by,
        revision=row.revision,
        passkeys=row.passkeys.filter(removed_at=None).count(),
    )
