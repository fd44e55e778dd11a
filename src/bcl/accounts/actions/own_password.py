"""Changing the own password (R-058): the old one and a fresh code, then the new one.

refused = change_password(principal, "old", "new", "123456", unix_time=time.time(), at=now)
"""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth.hashers import check_password, make_password

from bcl.accounts.actions.enrolment import judge_new_password
from bcl.accounts.actions.sign_in import (
    judge_throttle,
    lock_account_of,
    spend_code,
    write_failure,
)
from bcl.accounts.queries import Principal
from bcl.foundation import audit, tenancy
from bcl_contract.refusals import Refusal


def change_password(
    principal: Principal, current: str, new: str, code: str, *, unix_time: float, at: datetime
) -> Refusal | None:
    """Set a new password; every other sign-in of the person ends with it.

    A wrong old password counts like one at sign-in: somebody may sit at a terminal left open. The
    code is spent last, so that a typing mistake costs none.
    """
    with tenancy.scope(principal.municipality_code):
        waiting = judge_throttle(principal.terminal, principal.login_name, at)
        if waiting is not None:
            return waiting
        account = lock_account_of(principal)
        if not check_password(current, account.password_hash):
            write_failure(principal.terminal, account.login_name, "password", at)
            return Refusal("PASSWORD_CURRENT_WRONG")
        refusal = judge_new_password(new, login_name=account.login_name, at=at)
        if refusal is None and new == current:
            refusal = Refusal("PASSWORD_UNCHANGED")
        if refusal is None:
            refusal = spend_code(account, principal.terminal, code, unix_time=unix_time, at=at)
        if refusal is not None:
            return refusal
        account.password_hash = make_password(new)
        account.save(update_fields=["password_hash"])
        account.sessions.filter(ended_at=None).exclude(token_digest=principal.token_digest).update(
            ended_at=at, end_reason="PASSWORD_CHANGED"
        )
        audit.record(
            act="change_password",
            by=principal.actor,
            at=at,
            detail={"login_name": account.login_name},
        )
    return None
