"""Composing the answers to the delivery center. What is refused for a person looks one way only."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from django.http import HttpResponse, JsonResponse

from bcl.issuance import settings
from bcl.issuance.api import DayDifference, Issued, Offered
from bcl.issuance.records import Scope
from bcl_contract.delivery_center import (
    SIGNATURE_HEADER,
    Answer,
    CertificateOffer,
    ConfirmAnswer,
    ConfirmRequest,
    HouseholdMember,
    InquireAnswer,
    InquireRequest,
    IssueAnswer,
    IssuedCertificate,
    IssueRequest,
    OutsideRefusal,
    ReconcileAnswer,
    ReconcileDifference,
    ReconcileRequest,
    Request,
    Result,
    ShowOption,
    sign_message,
    write_message,
)
from bcl_contract.delivery_center import Scope as WireScope
from bcl_contract.refusals import Refusal

_RESULTS = {
    "CENTER_BUSY": Result.BUSY,
    "CENTER_OUTSIDE_HOURS": Result.MAINTENANCE,
    "CENTER_UNDER_MAINTENANCE": Result.MAINTENANCE,
}
_SCOPES = {
    Scope.HOUSEHOLD: WireScope.ALL,
    Scope.PART: WireScope.PART,
    Scope.SELF: WireScope.SELF,
}


def refuse_message(refusal: Refusal) -> JsonResponse:
    """Refuse a message that doesn't count; unsigned, as nobody proved to be the center."""
    content = {"code": refusal.code, "text": refusal.text.text_ja, "detail": dict(refusal.detail)}
    return JsonResponse(
        content,
        status=refusal.text.http_status,
        json_dumps_params={"ensure_ascii": False},
    )


def send(answer: Answer) -> HttpResponse:
    """Sign an answer and send it."""
    body = write_message(answer)
    signature = sign_message(body, key=settings.signing_key())
    return HttpResponse(
        body, content_type="application/json", headers={SIGNATURE_HEADER: signature}
    )


def _envelope(request: Request, at: datetime, refusal: Refusal | None) -> dict[str, Any]:
    return {
        "in_reply_to": request.message_id,
        "sent_at": at,
        "municipality_code": request.municipality_code,
        "result": _RESULTS.get(refusal.code, Result.REFUSED) if refusal else Result.OK,
        "refusal": (
            OutsideRefusal(code=refusal.code, text=refusal.text.text_ja) if refusal else None
        ),
    }


def inquire_answer(
    request: InquireRequest, outcome: Offered | Refusal, *, at: datetime
) -> InquireAnswer:
    """Compose the answer to an inquiry."""
    if isinstance(outcome, Refusal):
        return InquireAnswer(
            **_envelope(request, at, outcome), transaction_number=request.transaction_number
        )
    return InquireAnswer(
        **_envelope(request, at, None),
        transaction_number=request.transaction_number,
        certificates=tuple(
            CertificateOffer(
                certificate_kind=offer.kind,
                title=offer.title,
                scopes=tuple(_SCOPES[scope] for scope in offer.scopes),
                options=tuple(ShowOption(name=word, label=label) for word, label in offer.options),
                tax_years=offer.tax_years,
                fee_yen=offer.fee_yen,
                copies_max=offer.copies_max,
            )
            for offer in outcome.offers
        ),
        members=tuple(
            HouseholdMember(member_ref=reference, display_name=name)
            for reference, name in outcome.members
        ),
    )


def issue_answer(request: IssueRequest, outcome: Issued | Refusal, *, at: datetime) -> IssueAnswer:
    """Compose the answer to an issue request.

    Raises RuntimeError if the paper isn't the one of this request: the last look before sending.
    """
    if isinstance(outcome, Refusal):
        return IssueAnswer(
            **_envelope(request, at, outcome), transaction_number=request.transaction_number
        )
    same = (
        outcome.transaction_number == request.transaction_number
        and hashlib.sha256(outcome.pdf).hexdigest() == outcome.sha256
    )
    if not same:
        raise RuntimeError("the paper is not the one of this request")
    return IssueAnswer(
        **_envelope(request, at, None),
        transaction_number=request.transaction_number,
        certificate=IssuedCertificate(
            pdf=outcome.pdf,
            sha256=outcome.sha256,
            pages=outcome.pages,
            document_number=outcome.issue_number,
            data_as_of=outcome.data_as_of,
            fee_yen=outcome.fee_yen,
        ),
    )


def confirm_answer(
    request: ConfirmRequest, outcome: str | Refusal, *, at: datetime
) -> ConfirmAnswer:
    """Compose the answer to a confirmation."""
    refusal = outcome if isinstance(outcome, Refusal) else None
    return ConfirmAnswer(
        **_envelope(request, at, refusal),
        transaction_number=request.transaction_number,
        state=None if isinstance(outcome, Refusal) else outcome,
    )


def reconcile_answer(
    request: ReconcileRequest,
    outcome: tuple[DayDifference, ...] | Refusal,
    *,
    at: datetime,
) -> ReconcileAnswer:
    """Compose the answer to a comparison of one day."""
    if isinstance(outcome, Refusal):
        return ReconcileAnswer(**_envelope(request, at, outcome))
    return ReconcileAnswer(
        **_envelope(request, at, None),
        differences=tuple(
            ReconcileDifference(
                transaction_number=each.transaction_number,
                center_status=each.center_status,
                bcl_state=each.state,
            )
            for each in outcome
        ),
    )
