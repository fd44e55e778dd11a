"""Signing in with two factors, and out again (R-058, R-061, S1–S3).

    started = sign_in(terminal, "staff-a", password, at=now)        # half a session
    whole = confirm_code(terminal, started.token, "123456", unix_time=time.time(), at=now)

A wrong login name costs the same time and gives the same answer as a wrong password. A code is
good once. The cookie's secret changes when the second factor is through.
"""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.contrib.auth.hashers import check_password, make_password

from bcl.accounts import models, queries, rules
from bcl.accounts.models import AccountStatus
from bcl.accounts.queries import Principal, Terminal
from bcl.foundation import audit, crypto, tenancy
from bcl_contract.refusals import Refusal

STEP_SECONDS = 30
_TABLE = "accounts_staffaccount"


@dataclass(frozen=True)
class SignedIn:
    """A session that has begun or gone on: the secret for the cookie, and who it is."""

    token: str = field(repr=False)
    principal: Principal


def sign_in(
    terminal: Terminal, login_name: str, password: str, *, at: datetime
) -> SignedIn | Refusal:
    """First factor: begin a session that may do nothing but give the second."""
    with tenancy.scope(terminal.owner_code):
        waiting = judge_throttle(terminal, login_name, at)
        if waiting is not None:
            return waiting
        account = _find_for_sign_in(login_name)
        # A password is always checked: an unknown login name must not answer faster.
        stored = account.password_hash if account is not None else _some_hash()
        if not check_password(password, stored) or account is None:
            write_failure(terminal, login_name, "password", at)
            return Refusal("SIGN_IN_FAILED")
        refusal = queries._judge_account(account, at)
        if refusal is not None:
            audit.record(
                act="refuse_sign_in",
                by=audit.Actor("terminal", terminal.id),
                at=at,
                detail={"login_name": login_name, "code": refusal.code},
            )
            return refusal
        return begin_session(account, terminal, at=at)


def confirm_code(
    terminal: Terminal, token: str, code: str, *, unix_time: float, at: datetime
) -> SignedIn | Refusal:
    """Second factor: the six digits of the authenticator app, each good once."""
    principal = queries.find_session(terminal, token, at)
    if isinstance(principal, Refusal):
        return principal
    with tenancy.scope(terminal.owner_code):
        account = lock_account_of(principal)
        if account.totp_confirmed_at is None:
            return Refusal("SESSION_UNKNOWN")
        wrong = spend_code(account, terminal, code, unix_time=unix_time, at=at)
        if wrong is not None:
            return wrong
        return make_whole(account, principal, factor="code", at=at)


def sign_out(principal: Principal, *, at: datetime) -> None:
    """End the session; the cookie is worth nothing from now on."""
    with tenancy.scope(principal.municipality_code):
        end_session(principal, reason="SIGNED_OUT", at=at)
        audit.record(act="sign_out", by=principal.actor, at=at)


def keep_session(principal: Principal, *, at: datetime) -> None:
    """Note that the session is in use; at most one write in half a minute."""
    with tenancy.scope(principal.municipality_code):
        models.StaffSession.objects.filter(
            token_digest=principal.token_digest,
            ended_at=None,
            last_seen_at__lt=at - timedelta(seconds=30),
        ).update(last_seen_at=at)


# -- used by enrolment, passkeys and confirmed acts too -----------------------------------------


def make_whole(
    account: models.StaffAccount, half: Principal, *, factor: str, at: datetime
) -> SignedIn:
    """Both factors are through: a fresh secret; the oldest of too many sign-ins end."""
    account.last_sign_in_at = at
    account.save(update_fields=["last_sign_in_at"])
    audit.record(
        act="sign_in",
        by=half.actor,
        at=at,
        detail={"terminal_id": half.terminal.id, "factor": factor},
    )
    end_session(half, reason="RENEWED", at=at)
    for extra in queries.open_sessions(account, at)[_limits(at).sessions_at_once - 1 :]:
        extra.ended_at, extra.end_reason = at, "TOO_MANY"
        extra.save(update_fields=["ended_at", "end_reason"])
    return begin_session(account, half.terminal, at=at, second_factor=True)


def lock_account_of(principal: Principal) -> models.StaffAccount:
    """The person's row, locked: two codes at once are judged one after the other."""
    return models.StaffAccount.objects.select_for_update().get(id=principal.account_id)


def spend_code(
    account: models.StaffAccount, terminal: Terminal, code: str, *, unix_time: float, at: datetime
) -> Refusal | None:
    """Take a code of the authenticator app, which is good once; why not, otherwise.

    Too many wrong ones in a day stop the account: somebody has the password and guesses.
    """
    if _codes_failed(account, since=at - timedelta(days=1)) >= _limits(at).code_failures_a_day:
        _lock_for_codes(account, terminal, at)
        return Refusal("ACCOUNT_LOCKED")
    step = matching_step(account, code, unix_time)
    if step is None or step <= account.totp_last_step:
        write_failure(terminal, account.login_name, "code", at)
        return Refusal("SIGN_IN_CODE_WRONG")
    account.totp_last_step = step
    account.save(update_fields=["totp_last_step"])
    return None


def begin_session(
    account: models.StaffAccount, terminal: Terminal, *, at: datetime, second_factor: bool = False
) -> SignedIn:
    """Make a session with a fresh secret; inside the tenant's scope."""
    token = secrets.token_urlsafe(32)
    session = models.StaffSession.objects.create(
        token_digest=queries.token_digest(token),
        municipality_code=account.municipality_code,
        account=account,
        account_epoch=account.epoch,
        terminal_id=terminal.id,
        began_at=at,
        last_seen_at=at,
        second_factor_at=at if second_factor else None,
    )
    return SignedIn(token, queries.principal_of(session, terminal, at=at))


def end_session(principal: Principal, *, reason: str, at: datetime) -> None:
    """End one session; inside the tenant's scope."""
    models.StaffSession.objects.filter(token_digest=principal.token_digest, ended_at=None).update(
        ended_at=at, end_reason=reason
    )


def open_totp_secret(account: models.StaffAccount) -> bytes:
    """The key of the authenticator app."""
    return crypto.open_cell(
        account.municipality_code,
        _TABLE,
        "sealed_totp_secret",
        account.id.bytes,
        bytes(account.sealed_totp_secret or b""),
    )


def matching_step(account: models.StaffAccount, code: str, unix_time: float) -> int | None:
    """The 30-second step whose code this is: now, the one before or the one after."""
    # SHA-1 is what authenticator apps know (RFC 6238); its collisions don't touch HMAC.
    totp = TOTP(open_totp_secret(account), 6, SHA1(), STEP_SECONDS)  # noqa: S303
    now = int(unix_time) // STEP_SECONDS
    # Apps show "123 456", and a Japanese keyboard gives full-width digits.
    given = "".join(unicodedata.normalize("NFKC", code).split())
    found = None
    for step in (now - 1, now, now + 1):
        expected = totp.generate(step * STEP_SECONDS).decode()
        if hmac.compare_digest(expected.encode(), given.encode()):
            found = step
    return found


# -- inside -------------------------------------------------------------------------------------


def _limits(at: datetime) -> rules.Limits:
    return rules.limits_on(at.date())


def _find_for_sign_in(login_name: str) -> models.StaffAccount | None:
    return (
        models.StaffAccount.objects.filter(login_name=login_name)
        .exclude(password_hash="")
        .exclude(status=AccountStatus.INVITED)
        .first()
    )


_dummy: list[str] = []


def _some_hash() -> str:
    if not _dummy:
        _dummy.append(make_password(secrets.token_urlsafe(16)))
    return _dummy[0]


def _login_digest(login_name: str) -> bytes:
    code = tenancy.require()
    return crypto.subject_digest(code, b"login|" + login_name.encode()[:256])


def judge_throttle(terminal: Terminal, login_name: str, at: datetime) -> Refusal | None:
    limits = _limits(at)
    recent = models.SignInFailure.objects.filter(
        terminal_id=terminal.id, at__gt=at - limits.failure_window
    )
    pair = recent.filter(login_digest=_login_digest(login_name))
    return rules.judge_throttle(rules.Failures(pair.count(), recent.count()), limits)


def write_failure(terminal: Terminal, login_name: str, factor: str, at: datetime) -> None:
    models.SignInFailure.objects.create(
        municipality_code=terminal.owner_code,
        login_digest=_login_digest(login_name),
        terminal_id=terminal.id,
        factor=factor,
        at=at,
    )
    audit.record(
        act="fail_sign_in",
        by=audit.Actor("terminal", terminal.id),
        at=at,
        detail={"factor": factor},
    )


def _codes_failed(account: models.StaffAccount, *, since: datetime) -> int:
    return models.SignInFailure.objects.filter(
        login_digest=_login_digest(account.login_name), factor="code", at__gt=since
    ).count()


def _lock_for_codes(account: models.StaffAccount, terminal: Terminal, at: datetime) -> None:
    """Somebody knows the password and guesses codes: only an administrator may go on from here."""
    account.status = AccountStatus.LOCKED
    account.status_reason = "CODE_GUESSED"
    account.epoch += 1
    account.save(update_fields=["status", "status_reason", "epoch"])
    audit.record(
        act="lock_account",
        by=audit.Actor("terminal", terminal.id),
        at=at,
        detail={"login_name": account.login_name, "reason": "CODE_GUESSED"},
    )
