"""Asking for an export and approving it: two persons, each with their own signature (R-033)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from bcl.accounts import api as accounts
from bcl.foundation import audit, crypto, jobs, keys, tenancy
from bcl.municipalities import api as municipalities
from bcl.recovery import rules
from bcl.recovery.actions.move import lock_export, move_export
from bcl.recovery.models import RecoveryExport
from bcl.recovery.rules import AsOf, ExportState
from bcl.resident_store import api as store
from bcl_contract.refusals import Refusal
from bcl_contract.signed_acts import SignedAct

BUILD_TASK = "recovery.build_export"
KEPT = timedelta(days=14)
_TABLE, _COLUMN = "recovery_recoveryexport", "sealed_reason"


def request_export(
    municipality_code: str,
    *,
    as_of: AsOf,
    reason: str,
    incident_id: str,
    receiver_id: str,
    signed: SignedAct,
    at: datetime,
) -> RecoveryExport | Refusal:
    """Ask for a municipality's data as of a sequence or a time (journey recovery, step 1).

    `signed` is an act `request_export` over `rules.request_content(...)`. Nothing is built
    before a second person has approved.
    """
    content = rules.request_content(
        as_of=as_of, reason=reason, incident_id=incident_id, receiver_id=receiver_id
    )
    by = verify_act(municipality_code, signed, "request_export", content, at=at)
    if isinstance(by, Refusal):
        return by
    refusal = rules.judge_request(reason=reason, incident_id=incident_id)
    if refusal is not None:
        return refusal
    if not municipalities.is_profile_enabled(municipality_code, municipalities.Profile.BACKUP):
        return Refusal("RECOVERY_PROFILE_NOT_ENABLED")
    receiver = municipalities.find_recovery_receiver(municipality_code, receiver_id)
    if receiver is None:
        return Refusal("RECOVERY_RECEIVER_UNKNOWN")
    wish = _Wish(
        municipality_code, content, reason, incident_id, receiver_id, receiver, signed
    )
    with tenancy.scope(municipality_code):
        load_number = store.load_number_at(
            municipality_code, sequence=as_of.sequence, lane=as_of.lane, at=as_of.at
        )
        if not load_number:
            return Refusal("RECOVERY_STATE_UNKNOWN")
        return _store_request(_new_export(wish, load_number, by=by, at=at), by=by, at=at)


@dataclass(frozen=True)
class _Wish:
    """What was asked for, by whom it was signed and who is to receive it."""

    municipality_code: str
    content: Mapping[str, str | int]
    reason: str
    incident_id: str
    receiver_id: str
    receiver: municipalities.RecoveryReceiver
    signed: SignedAct


def _new_export(
    wish: _Wish, load_number: int, *, by: audit.Actor, at: datetime
) -> RecoveryExport:
    """The row of a request; its digest binds the later approval to exactly this one."""
    digest = rules.request_digest(
        {
            **wish.content,
            "municipality_code": wish.municipality_code,
            "load_number": load_number,
            "receiver_public_key": wish.receiver.age_public_key,
            "requested_by": by.id,
            "requested_at": wish.signed.at.isoformat(),
        }
    )
    return RecoveryExport(
        municipality_code=wish.municipality_code,
        state=ExportState.REQUESTED,
        load_number=load_number,
        sealed_reason=crypto.seal_cell(
            wish.municipality_code,
            _TABLE,
            _COLUMN,
            wish.signed.signature,
            wish.reason.encode("utf-8"),
        ),
        incident_id=wish.incident_id,
        receiver_id=wish.receiver_id,
        receiver_public_key=wish.receiver.age_public_key,
        request_sha256=digest,
        requested_at=at,
        requested_by=by.id,
        request_signature=wish.signed.signature,
        expires_at=at + KEPT,
    )


def _store_request(
    export: RecoveryExport, *, by: audit.Actor, at: datetime
) -> RecoveryExport | Refusal:
    try:
        with transaction.atomic():
            export.save(force_insert=True)
    except IntegrityError:  # the same signed act a second time
        return Refusal("RECOVERY_SIGNATURE_INVALID")
    audit.record(
        act="request_export",
        by=by,
        at=at,
        detail={
            "export": export.pk,
            "load_number": export.load_number,
            "incident": export.incident_id,
            "receiver": export.receiver_id,
            "request_sha256": export.request_sha256,
        },
    )
    return export


def approve_export(
    municipality_code: str, export_id: int, *, signed: SignedAct, at: datetime
) -> RecoveryExport | Refusal:
    """Approve exactly one request (step 2); the build is queued in the same transaction.

    `signed` is an act `approve_export` over `rules.approval_content(...)` by somebody else than
    the person who asked.
    """
    with tenancy.scope(municipality_code):
        export = lock_export(export_id)
        if export is None:
            return Refusal("RECOVERY_EXPORT_NOT_FOUND")
        content = rules.approval_content(export.pk, str(signed.content.get("request_sha256", "")))
        by = verify_act(municipality_code, signed, "approve_export", content, at=at)
        if isinstance(by, Refusal):
            return by
        refusal = rules.judge_approval(
            state=ExportState(export.state),
            requested_by=export.requested_by,
            approved_by=by.id,
            same_request=signed.content["request_sha256"] == export.request_sha256,
        )
        if refusal is not None:
            return refusal
        export.approved_at, export.approved_by = at, by.id
        export.approval_signature = signed.signature
        move_export(export, ExportState.APPROVED, act="approve_export", by=by, at=at)
        jobs.defer(
            BUILD_TASK,
            municipality_code=municipality_code,
            idempotency_key=f"export-{export.pk}",
            export_id=export.pk,
        )
        return export


def verify_act(
    municipality_code: str,
    signed: SignedAct,
    act: str,
    content: dict[str, str | int],
    *,
    at: datetime,
) -> audit.Actor | Refusal:
    """Who signed this act with exactly this content, or why it doesn't count (D31).

    On the command line people sign with a key of their own; on the staff pages they confirm with
    a fresh code, and the agency signs that they did.
    """
    verify = (
        accounts.verify_confirmed
        if isinstance(signed, accounts.ConfirmedAct)
        else municipalities.verify_staff_act
    )
    by = verify(signed, act=act, municipality_code=municipality_code, now=at)
    if isinstance(by, Refusal):
        return by
    if dict(signed.content) != content:
        return Refusal("RECOVERY_REQUEST_CHANGED")
    if keys.is_erased(municipality_code):
        return Refusal("KEY_ERASED")
    return by


def read_reason(export: RecoveryExport) -> str:
    """The reason of a request, for the person who decides about it."""
    return crypto.open_cell(
        export.municipality_code,
        _TABLE,
        _COLUMN,
        export.request_signature,
        bytes(export.sealed_reason),
    ).decode("utf-8")
