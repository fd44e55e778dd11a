"""First sign-in: a one-time code from the administrator, then own password and second factor.

begun = begin_enrolment(terminal, "staff-a", "ABCD-EFGH-…", at=now)
choose_password(begun.principal, "…", at=now)
secret = offer_totp(begun.principal)                   # shown once, as text and QR picture
whole = confirm_totp(terminal, begun, "123456", unix_time=time.time(), at=now)
"""

from __future__ import annotations

import base64
import hmac
import secrets
from datetime import datetime, timedelta
from urllib.parse import quote

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

from bcl.accounts import models, queries, rules
from bcl.accounts.actions.sign_in import (
    SignedIn,
    begin_session,
    end_session,
    judge_throttle,
    matching_step,
    write_failure,
)
from bcl.accounts.models import AccountStatus
from bcl.accounts.queries import Principal, Terminal
from bcl.foundation import audit, crypto, tenancy
from bcl_contract.refusals import Refusal

_TABLE = "accounts_staffaccount"
_SECRET_BYTES = 20  # RFC 4226 recommends 160 bits
_common = CommonPasswordValidator()


def new_enrolment(account: models.StaffAccount, *, at: datetime) -> str:
    """Give the account a fresh one-time code and return it (it is stored as a digest only)."""
    text = base64.b32encode(secrets.token_bytes(10)).decode()
    code = "-".join(text[i : i + 4] for i in range(0, 16, 4))
    hours = rules.limits_on(at.date()).enrolment_hours
    account.enrolment_digest = queries.token_digest(code)
    account.enrolment_until = at + timedelta(hours=hours)
    account.save(update_fields=["enrolment_digest", "enrolment_until"])
    return code


def begin_enrolment(
    terminal: Terminal, login_name: str, code: str, *, at: datetime
) -> SignedIn | Refusal:
    """Begin with the code from the administrator; wrong ones count like wrong passwords."""
    with tenancy.scope(terminal.owner_code):
        waiting = judge_throttle(terminal, login_name, at)
        if waiting is not None:
            return waiting
        account = models.StaffAccount.objects.filter(
            login_name=login_name, status=AccountStatus.INVITED
        ).first()
        given = queries.token_digest(code.strip().upper())
        wanted = bytes(account.enrolment_digest or b"") if account is not None else b""
        if account is None or not hmac.compare_digest(given, wanted):
            write_failure(terminal, login_name, "enrolment", at)
            return Refusal("SIGN_IN_FAILED")
        if account.enrolment_until is None or at >= account.enrolment_until:
            return Refusal("ENROLMENT_EXPIRED")
        return begin_session(account, terminal, at=at)


def choose_password(principal: Principal, password: str, *, at: datetime) -> Refusal | None:
    """Set the own password, once, during enrolment."""
    refusal = judge_new_password(password, login_name=principal.login_name, at=at)
    if refusal is not None:
        return refusal
    with tenancy.scope(principal.municipality_code):
        changed = models.StaffAccount.objects.filter(
            id=principal.account_id, status=AccountStatus.INVITED
        ).update(password_hash=make_password(password))
    return None if changed else Refusal("SESSION_UNKNOWN")


def judge_new_password(password: str, *, login_name: str, at: datetime) -> Refusal | None:
    """Why a password can't be taken: the rules of the day, and not one of the commonest."""
    refusal = rules.judge_password(
        password, login_name=login_name, limits=rules.limits_on(at.date())
    )
    if refusal is not None:
        return refusal
    try:
        _common.validate(password)
    except ValidationError:
        return Refusal("PASSWORD_TOO_SIMPLE")
    return None


def offer_totp(principal: Principal) -> str:
    """Make a fresh key for the authenticator app and return it as base32 text."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    with tenancy.scope(principal.municipality_code):
        account = models.StaffAccount.objects.get(id=principal.account_id)
        if account.status != AccountStatus.INVITED:
            raise ValueError("a second factor is offered during enrolment only")
        account.sealed_totp_secret = crypto.seal_cell(
            account.municipality_code, _TABLE, "sealed_totp_secret", account.id.bytes, secret
        )
        account.save(update_fields=["sealed_totp_secret"])
    return base64.b32encode(secret).decode()


def totp_uri(principal: Principal, secret: str) -> str:
    """What the QR picture says (otpauth)."""
    label = quote(f"BCL:{principal.municipality_code}/{principal.login_name}")
    return f"otpauth://totp/{label}?secret={secret}&issuer=BCL&digits=6&period=30"


def confirm_totp(
    terminal: Terminal, begun: SignedIn, code: str, *, unix_time: float, at: datetime
) -> SignedIn | Refusal:
    """Prove that the app works: the account is active and the session whole from here."""
    principal = queries.find_session(terminal, begun.token, at)
    if isinstance(principal, Refusal):
        return principal
    with tenancy.scope(terminal.owner_code):
        account = models.StaffAccount.objects.select_for_update().get(id=principal.account_id)
        if account.status != AccountStatus.INVITED or not account.sealed_totp_secret:
            return Refusal("SESSION_UNKNOWN")
        if not account.password_hash:
            return Refusal("PASSWORD_MISSING")
        waiting = judge_throttle(terminal, account.login_name, at)
        if waiting is not None:
            return waiting
        step = matching_step(account, code, unix_time)
        if step is None:
            write_failure(terminal, account.login_name, "code", at)
            return Refusal("SIGN_IN_CODE_WRONG")
        account.status, account.status_reason = AccountStatus.ACTIVE, ""
        account.totp_confirmed_at, account.totp_last_step = at, step
        account.enrolment_digest = account.enrolment_until = None
        account.last_sign_in_at = at
        account.save()
        audit.record(
            act="enrol_account",
            by=principal.actor,
            at=at,
            detail={"login_name": account.login_name, "terminal_id": terminal.id},
        )
        end_session(principal, reason="RENEWED", at=at)
        return begin_session(account, terminal, at=at, second_factor=True)
