"""Erasing a municipality that leaves: one person asks, another approves, the keys go (R-027).

Both acts are signed like those of recovery. Everything stands in one row, so a crash between the
destruction and the proof is repaired by approving again (the proof is made from what was written
down before).
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from bcl.foundation import agency_signing, audit, erasure, tenancy
from bcl.foundation.models import TownErasure
from bcl.municipalities import actions
from bcl_contract.receipts import canonical_json
from bcl_contract.refusals import Refusal
from bcl_contract.signed_acts import SignedAct

REASONS = ("CONTRACT_ENDED", "MERGED", "TRIAL_ENDED", "ORDERED")
"""Why a municipality's data is erased; 契約終了・合併・試行終了・命令 (glossary)."""
KEPT_OPEN = timedelta(days=7)
REQUESTED, APPROVED, ERASED, WITHDRAWN = "REQUESTED", "APPROVED", "ERASED", "WITHDRAWN"
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{2,63}\Z")


def request_content(*, reason_code: str, reference: str) -> dict[str, str | int]:
    """What the person who asks signs (`request_erasure`)."""
    return {"reason_code": reason_code, "reference": reference}


def approval_content(erasure_id: int, request_sha256: str) -> dict[str, str | int]:
    """What the person who approves signs (`approve_erasure`): exactly this request."""
    return {"erasure": erasure_id, "request_sha256": request_sha256}


def request_erasure(
    municipality_code: str, *, reason_code: str, reference: str, signed: SignedAct, at: datetime
) -> TownErasure | Refusal:
    """Ask for the erasure of a municipality. Nothing is destroyed before a second person approves.

    `reference` is the number of the document that orders it (letters, digits, . _ / -).
    """
    by = actions.verify_staff_act(
        signed, act="request_erasure", municipality_code=municipality_code, now=at
    )
    if isinstance(by, Refusal):
        return by
    if dict(signed.content) != request_content(reason_code=reason_code, reference=reference):
        return Refusal("KEY_ERASURE_CHANGED")
    if reason_code not in REASONS or not _REFERENCE.match(reference):
        return Refusal("KEY_ERASURE_REASON")
    bound = {
        **signed.content,
        "municipality_code": municipality_code,
        "requested_by": by.id,
        "requested_at": signed.at.isoformat(),
    }
    with tenancy.scope(municipality_code):
        try:
            with transaction.atomic():
                row = TownErasure.objects.create(
                    municipality_code=municipality_code,
                    state=REQUESTED,
                    reason_code=reason_code,
                    reference=reference,
                    request_sha256=hashlib.sha256(canonical_json(bound)).hexdigest(),
                    requested_at=at,
                    requested_by=by.id,
                    request_signature=signed.signature,
                )
        except IntegrityError:  # the same signed act a second time
            return Refusal("STAFF_SIGNATURE_INVALID")
        audit.record(
            act="request_erasure",
            by=by,
            at=at,
            detail={"erasure": row.pk, "request_sha256": row.request_sha256},
        )
    return row


def find_erasure(municipality_code: str, erasure_id: int | None = None) -> TownErasure | None:
    """One erasure of the town, the newest by default."""
    with tenancy.scope(municipality_code):
        rows = TownErasure.objects.order_by("-pk")
        return (rows if erasure_id is None else rows.filter(pk=erasure_id)).first()


def approve_erasure(
    municipality_code: str, erasure_id: int, *, signed: SignedAct, at: datetime
) -> dict[str, Any] | Refusal:
    """Approve exactly one request and destroy the town's keys; gives the signed proof.

    Repeating it after an interruption (by the same or another second person) finishes the work.
    """
    approved = _approve(municipality_code, erasure_id, signed=signed, at=at)
    if isinstance(approved, Refusal):
        return approved
    after = erasure.destroy(municipality_code, approved.before, at=at)
    return _finish(municipality_code, erasure_id, after=after, at=at)


def _approve(
    municipality_code: str, erasure_id: int, *, signed: SignedAct, at: datetime
) -> TownErasure | Refusal:
    """First transaction: who approves, and what the keys and data look like before."""
    with tenancy.scope(municipality_code):
        row = _locked(erasure_id)
        if row is None:
            return Refusal("KEY_ERASURE_NOT_FOUND")
        by = actions.verify_staff_act(
            signed, act="approve_erasure", municipality_code=municipality_code, now=at
        )
        if isinstance(by, Refusal):
            return by
        if dict(signed.content) != approval_content(row.pk, row.request_sha256):
            return Refusal("KEY_ERASURE_CHANGED")
        if by.id == row.requested_by:
            return Refusal("KEY_ERASURE_SAME_PERSON")
        if row.state == ERASED or (row.state == REQUESTED and at > row.requested_at + KEPT_OPEN):
            return Refusal("KEY_ERASURE_NOT_OPEN")
        if row.state == REQUESTED:
            row.state, row.approved_at, row.approved_by = APPROVED, at, by.id
            row.approval_signature = signed.signature
            row.before = erasure.facts_before(municipality_code)
            row.save()
            audit.record(act="approve_erasure", by=by, at=at, detail={"erasure": row.pk})
        return row


def _finish(
    municipality_code: str, erasure_id: int, *, after: dict[str, Any], at: datetime
) -> dict[str, Any]:
    """Last transaction: the proof, signed, with the audit rows of the town and of the agency."""
    with tenancy.scope(municipality_code):
        row = _locked(erasure_id)
        if row is None or row.approved_at is None:
            raise LookupError("an erasure lost its row")
        content = erasure.proof(municipality_code, before=row.before, after=after, at=at) | {
            "erasure": row.pk,
            "reason_code": row.reason_code,
            "reference": row.reference,
            "requested_by": row.requested_by,
            "requested_at": row.requested_at.isoformat(),
            "request_signature": row.request_signature,
            "approved_by": row.approved_by,
            "approved_at": row.approved_at.isoformat(),
            "approval_signature": row.approval_signature,
        }
        signature = agency_signing.sign(content)
        row.proof = {"content": content, "signature": signature._asdict()}
        row.state, row.erased_at = ERASED, at
        row.save()
        digest = hashlib.sha256(canonical_json(content)).hexdigest()
        detail: dict[str, str | int] = {"erasure": row.pk, "proof_sha256": digest}
        audit.record(act="erase_town", by=audit.SYSTEM, at=at, detail=detail)
        audit.record_agency(
            act="erase_town",
            by=audit.SYSTEM,
            at=at,
            detail=detail | {"municipality": municipality_code},
        )
        return dict(row.proof)


def is_genuine(proof: dict[str, Any]) -> bool:
    """Whether a proof is as the agency signed it."""
    return agency_signing.is_genuine(
        proof["content"], agency_signing.Signature(**proof["signature"])
    )


def _locked(erasure_id: int) -> TownErasure | None:
    rows = TownErasure.objects.select_for_update(of=("self",), no_key=True)
    return rows.filter(pk=erasure_id).first()
