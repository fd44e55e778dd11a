"""Passkeys (WebAuthn): the key in a person's device in place of the six digits.

    options = offer_passkey(principal, code, origin=origin, unix_time=…, at=now)   # JSON text
    kept = keep_passkey(principal, answer_json, label="職員証", origin=origin, at=now)
    options = ask_passkey(terminal, token, origin=origin, at=now)
    whole = confirm_passkey(terminal, token, answer_json, origin=origin, at=now)

`origin` is what the browser sees, `https://host:port`. A passkey is good only at the origin where
it was made; the device must have checked its owner (PIN, face, finger) each time. A question is
good once, for some minutes, in the session that it was put in.
"""

from __future__ import annotations

import json
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

import webauthn
from django.db.models import QuerySet
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from bcl.accounts import models, queries, rules
from bcl.accounts.actions.sign_in import (
    SignedIn,
    judge_throttle,
    lock_account_of,
    make_whole,
    spend_code,
    write_failure,
)
from bcl.accounts.queries import Principal, Terminal
from bcl.foundation import audit, crypto, tenancy
from bcl_contract.refusals import Refusal

_TABLE = "accounts_passkey"
_ANSWER_WITHIN = timedelta(minutes=5)
# What a hostile answer can make the library's decoders raise besides its own kind of exception.
_UNREADABLE = (WebAuthnException, ValueError, TypeError, KeyError, AttributeError)
Use = Literal["ADD", "SIGN_IN"]


@dataclass(frozen=True)
class Passkey:
    """One key as its owner sees it."""

    id: uuid.UUID
    label: str = field(repr=False)
    added_at: datetime
    last_used_at: datetime | None


def list_passkeys(principal: Principal) -> list[Passkey]:
    """The person's own keys, oldest first."""
    with tenancy.scope(principal.municipality_code):
        rows = _live(principal.account_id).order_by("added_at")
        return [Passkey(row.id, _open_label(row), row.added_at, row.last_used_at) for row in rows]


def has_passkey(principal: Principal, origin: str) -> bool:
    """Whether the person could answer with a passkey at this origin."""
    with tenancy.scope(principal.municipality_code):
        return _live(principal.account_id).filter(origin=origin).exists()


def offer_passkey(
    principal: Principal, code: str, *, origin: str, unix_time: float, at: datetime
) -> str | Refusal:
    """With a fresh code of the app: what the browser needs to make a new key (JSON)."""
    with tenancy.scope(principal.municipality_code):
        account = lock_account_of(principal)
        wrong = spend_code(account, principal.terminal, code, unix_time=unix_time, at=at)
        if wrong is not None:
            return wrong
        live = list(_live(account.id))
        if len(live) >= rules.limits_on(at.date()).passkeys_each:
            return Refusal("PASSKEY_TOO_MANY")
        options = webauthn.generate_registration_options(
            rp_id=_host(origin),
            rp_name="BCL 管理者ページ",
            user_id=account.id.bytes,
            user_name=account.login_name,
            challenge=_put_question(principal, "ADD", at),
            exclude_credentials=_descriptors(live),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.DISCOURAGED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
        )
    return webauthn.options_to_json(options)


def keep_passkey(
    principal: Principal, answer: str, *, label: str, origin: str, at: datetime
) -> Refusal | None:
    """Register the key that the browser made for the question of `offer_passkey`."""
    with tenancy.scope(principal.municipality_code):
        challenge = _take_question(principal, "ADD", at)
        if challenge is None:
            return Refusal("PASSKEY_QUESTION_OVER")
        try:
            made = webauthn.verify_registration_response(
                credential=answer,
                expected_challenge=challenge,
                expected_rp_id=_host(origin),
                expected_origin=origin,
                require_user_verification=True,
            )
        except _UNREADABLE:
            return Refusal("PASSKEY_WRONG")
        if models.Passkey.objects.filter(credential_id=made.credential_id).exists():
            return Refusal("PASSKEY_WRONG")
        row = models.Passkey(
            id=uuid.uuid4(),
            municipality_code=principal.municipality_code,
            account_id=principal.account_id,
            credential_id=made.credential_id,
            public_key=made.credential_public_key,
            sign_count=made.sign_count,
            origin=origin,
            added_at=at,
        )
        row.sealed_label = crypto.seal_cell(
            row.municipality_code, _TABLE, "sealed_label", row.id.bytes, label.encode()
        )
        row.save(force_insert=True)
        audit.record(
            act="add_passkey", by=principal.actor, at=at, detail={"passkey": str(row.id)}
        )
    return None


def remove_passkey(
    principal: Principal, passkey_id: uuid.UUID, code: str, *, unix_time: float, at: datetime
) -> Refusal | None:
    """Remove an own key, with a fresh code of the app."""
    with tenancy.scope(principal.municipality_code):
        account = lock_account_of(principal)
        row = _live(account.id).filter(id=passkey_id).first()
        if row is None:
            return Refusal("PASSKEY_UNKNOWN")
        wrong = spend_code(account, principal.terminal, code, unix_time=unix_time, at=at)
        if wrong is not None:
            return wrong
        _remove(row, "REMOVED", by=principal.actor, at=at)
    return None


def ask_passkey(terminal: Terminal, token: str, *, origin: str, at: datetime) -> str | Refusal:
    """For a half session: what the browser needs to answer with a key (JSON)."""
    principal = queries.find_session(terminal, token, at)
    if isinstance(principal, Refusal):
        return principal
    with tenancy.scope(terminal.owner_code):
        live = list(_live(principal.account_id).filter(origin=origin))
        if not live:
            return Refusal("PASSKEY_UNKNOWN")
        options = webauthn.generate_authentication_options(
            rp_id=_host(origin),
            challenge=_put_question(principal, "SIGN_IN", at),
            allow_credentials=_descriptors(live),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
    return webauthn.options_to_json(options)


def confirm_passkey(
    terminal: Terminal, token: str, answer: str, *, origin: str, at: datetime
) -> SignedIn | Refusal:
    """Second factor: the signed answer to the question of `ask_passkey`."""
    principal = queries.find_session(terminal, token, at)
    if isinstance(principal, Refusal):
        return principal
    with tenancy.scope(terminal.owner_code):
        account = lock_account_of(principal)
        challenge = _take_question(principal, "SIGN_IN", at)
        if challenge is None or account.totp_confirmed_at is None:
            return Refusal("PASSKEY_QUESTION_OVER")
        waiting = judge_throttle(terminal, account.login_name, at)
        if waiting is not None:
            return waiting
        row = _live(account.id).filter(origin=origin, credential_id=_credential_of(answer)).first()
        count = None if row is None else _verified_count(row, answer, challenge)
        if row is None or count is None:
            write_failure(terminal, account.login_name, "passkey", at)
            return Refusal("PASSKEY_WRONG")
        if count <= row.sign_count and (count or row.sign_count):
            # Signed by the right key, but the count stands still: there are two of it.
            _remove(row, "CLONED", by=audit.Actor("terminal", terminal.id), at=at)
            return Refusal("PASSKEY_CLONED")
        row.sign_count, row.last_used_at = count, at
        row.save(update_fields=["sign_count", "last_used_at"])
        return make_whole(account, principal, factor="passkey", at=at)


# -- inside -------------------------------------------------------------------------------------


def _live(account_id: uuid.UUID) -> QuerySet[models.Passkey]:
    return models.Passkey.objects.filter(account_id=account_id, removed_at=None)


def _host(origin: str) -> str:
    return urlsplit(origin).hostname or ""


def _descriptors(rows: list[models.Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=bytes(row.credential_id)) for row in rows]


def _put_question(principal: Principal, use: Use, at: datetime) -> bytes:
    challenge = secrets.token_bytes(32)
    models.StaffSession.objects.filter(token_digest=principal.token_digest).update(
        challenge=challenge, challenge_for=use, challenge_until=at + _ANSWER_WITHIN
    )
    return challenge


def _take_question(principal: Principal, use: Use, at: datetime) -> bytes | None:
    """The open question, which is closed by this."""
    session = models.StaffSession.objects.select_for_update().get(
        token_digest=principal.token_digest
    )
    asked, until = session.challenge, session.challenge_until
    fits = session.challenge_for == use and until is not None and at < until
    session.challenge, session.challenge_for, session.challenge_until = None, "", None
    session.save(update_fields=["challenge", "challenge_for", "challenge_until"])
    return bytes(asked) if asked is not None and fits else None


def _credential_of(answer: str) -> bytes:
    """The key's id that an answer names; empty when it can't be read."""
    try:
        return webauthn.base64url_to_bytes(json.loads(answer)["rawId"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return b""


def _verified_count(row: models.Passkey, answer: str, challenge: bytes) -> int | None:
    """How often the key says it was used, when its answer is genuine; None otherwise."""
    try:
        done = webauthn.verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=_host(row.origin),
            expected_origin=row.origin,
            credential_public_key=bytes(row.public_key),
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except _UNREADABLE:
        return None
    return done.new_sign_count


def _remove(row: models.Passkey, reason: str, *, by: audit.Actor, at: datetime) -> None:
    row.removed_at, row.removed_reason = at, reason
    row.save(update_fields=["removed_at", "removed_reason"])
    audit.record(
        act="remove_passkey", by=by, at=at, detail={"passkey": str(row.id), "reason": reason}
    )


def remove_all_passkeys(account: models.StaffAccount, *, by: audit.Actor, at: datetime) -> None:
    """With a reset or the end of an account; inside the tenant's scope."""
    for row in _live(account.id):
        _remove(row, "RESET", by=by, at=at)


def _open_label(row: models.Passkey) -> str:
    return crypto.open_cell(
        row.municipality_code, _TABLE, "sealed_label", row.id.bytes, bytes(row.sealed_label)
    ).decode()
