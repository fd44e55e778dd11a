"""The doors: parse with the contract, call one action, answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from bcl.foundation import clock, log
from bcl.issuance import api
from bcl.issuance.wire import admission, answers
from bcl_contract.delivery_center import (
    LISTING_BYTES,
    REQUEST_BYTES,
    Answer,
    ConfirmRequest,
    InquireRequest,
    IssueRequest,
    ReconcileRequest,
    Request,
)
from bcl_contract.refusals import Refusal

logger = log.get("bcl.issuance.wire")


@require_POST
def inquire(request: HttpRequest) -> HttpResponse:
    """Which certificates can the holder of this card have?"""
    return _answer(request, InquireRequest, api.inquire, answers.inquire_answer)


@require_POST
def issue(request: HttpRequest) -> HttpResponse:
    """Make this certificate (steps 1 and 12)."""
    return _answer(request, IssueRequest, api.issue_certificate, answers.issue_answer)


@require_POST
def confirm(request: HttpRequest) -> HttpResponse:
    """What became of the paper."""
    return _answer(request, ConfirmRequest, api.confirm_delivery, answers.confirm_answer)


@require_POST
def reconcile(request: HttpRequest) -> HttpResponse:
    """Is this day the same on both sides?"""
    return _answer(
        request,
        ReconcileRequest,
        api.reconcile_day,
        answers.reconcile_answer,
        limit=LISTING_BYTES,
    )


def _answer(
    request: HttpRequest,
    model: type[Request],
    act: Callable[..., Any],
    compose: Callable[..., Answer],
    *,
    limit: int = REQUEST_BYTES,
) -> HttpResponse:
    received_at: datetime = clock.now()
    # Step 1: a message that doesn't count is refused, and nothing else happens.
    admitted = admission.admit(request, model, at=received_at, limit=limit)
    if isinstance(admitted, Refusal):
        return answers.refuse_message(admitted)
    message = admitted.message
    try:
        outcome = act(request=message, by=admitted.by, at=received_at)
        answer = compose(message, outcome, at=clock.now())
    except Exception:
        # What went wrong stays inside; the center gets the general no.
        logger.exception("wire_answer_failed", municipality_code=message.municipality_code)
        answer = compose(message, Refusal("CENTER_VISIT_COUNTER"), at=clock.now())
    return answers.send(answer)
