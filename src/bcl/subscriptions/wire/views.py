"""The door for subscribers: known by client certificate, answered with the agency's signature.

A certificate that is not registered or was revoked gets one code and nothing else is looked at.
Another system's subscription is answered like one that never was.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from bcl.foundation import agency_signing, log
from bcl.municipalities import api as municipalities
from bcl.municipalities.api import SubscriberIdentity
from bcl.subscriptions import api
from bcl_contract import clock
from bcl_contract.refusals import Refusal
from bcl_contract.signed_messages import SIGNATURE_HEADER, Message, parse_message, write_message
from bcl_contract.subscription_messages import (
    SIGNING_KEY_HEADER,
    ChangesAnswer,
    ChangesRequest,
    FindAnswer,
    FindRequest,
    RestartAnswer,
    RestartRequest,
    SubscriptionRequest,
)

logger = log.get(__name__)
R = TypeVar("R", bound=SubscriptionRequest)
Act = Callable[[Any, SubscriberIdentity, datetime], Message | Refusal]


@require_POST
def changes(request: HttpRequest) -> HttpResponse:
    """The next page of changes."""
    return _answer(request, ChangesRequest, _changes)


@require_POST
def find(request: HttpRequest) -> HttpResponse:
    """Single persons by a key of the profile."""
    return _answer(request, FindRequest, _find)


@require_POST
def restart(request: HttpRequest) -> HttpResponse:
    """Everything from the beginning, as a new epoch."""
    return _answer(request, RestartRequest, _restart)


def _changes(asked: ChangesRequest, by: SubscriberIdentity, at: datetime) -> Message | Refusal:
    done = api.next_page(
        asked.municipality_code, asked.subscription, caller=by, epoch=asked.epoch,
        after=asked.after, columns=asked.columns, at=at,
    )
    if isinstance(done, Refusal):
        return done
    return ChangesAnswer(
        **_envelope(asked), epoch=done.epoch, page=done.page, load_number=done.load_number,
        load_complete=done.load_complete, more=done.more, items=done.items,
    )


def _find(asked: FindRequest, by: SubscriberIdentity, at: datetime) -> Message | Refusal:
    done = api.find_records(
        asked.municipality_code, asked.subscription, caller=by, kind=asked.kind,
        value=asked.value, columns=asked.columns, at=at,
    )
    return done if isinstance(done, Refusal) else FindAnswer(**_envelope(asked), items=done.items)


def _restart(asked: RestartRequest, by: SubscriberIdentity, at: datetime) -> Message | Refusal:
    done = api.restart(asked.municipality_code, asked.subscription, caller=by, at=at)
    return done if isinstance(done, Refusal) else RestartAnswer(**_envelope(asked), epoch=done)


def _envelope(asked: SubscriptionRequest) -> dict[str, Any]:
    return {
        "municipality_code": asked.municipality_code,
        "subscription": asked.subscription,
        "sent_at": clock.now(),
    }


def _answer(request: HttpRequest, model: type[R], act: Act) -> HttpResponse:
    der = getattr(request, "client_certificate_der", None)
    by = municipalities.find_subscriber_by_cert(der) if der else None
    if by is None:
        return _refuse(Refusal("SUBSCRIBER_NOT_REGISTERED"))
    asked = parse_message(model, request.body)
    if isinstance(asked, Refusal):
        return _refuse(Refusal("SUBSCRIPTION_MESSAGE_FORM", asked.detail))
    if municipalities.find_municipality(asked.municipality_code) is None:
        return _refuse(Refusal("SUBSCRIPTION_TOWN_NOT_AGREED"))
    done = act(asked, by, clock.now())
    if isinstance(done, Refusal):
        logger.info(
            "subscriber_refused", municipality_code=asked.municipality_code, code=done.code,
            subscriber=by.id,
        )
        return _refuse(done)
    body = write_message(done)
    signed = agency_signing.sign_bytes(body)
    return HttpResponse(
        body,
        content_type="application/json",
        headers={SIGNATURE_HEADER: signed.signature, SIGNING_KEY_HEADER: signed.key_id},
    )


def _refuse(refusal: Refusal) -> JsonResponse:
    return JsonResponse(
        refusal.as_json(),
        status=refusal.text.http_status,
        json_dumps_params={"ensure_ascii": False},
    )
