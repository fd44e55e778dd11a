"""Who may speak to issuing, and which messages count (journey issue-a-certificate, step 1).

In this order: the TLS certificate is the registered delivery center's, the body has the form, the
signature is the center's, the time is now, the town is served, and the message is new.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from django.db import IntegrityError
from django.http import HttpRequest

from bcl.foundation import tenancy
from bcl.foundation.audit import Actor
from bcl.issuance.models import SeenMessage
from bcl.municipalities import api as municipalities
from bcl_contract.delivery_center import (
    SIGNATURE_HEADER,
    Request,
    check_time_window,
    parse_message,
    verify_message,
)
from bcl_contract.refusals import Refusal

R = TypeVar("R", bound=Request)


@dataclass(frozen=True, slots=True)
class Admitted(Generic[R]):
    """A message that counts, and who sent it."""

    message: R
    by: Actor


def admit(
    request: HttpRequest, model: type[R], *, at: datetime, limit: int
) -> Admitted[R] | Refusal:
    """Let one message in, or say why not (CENTER_ codes; nothing of the body in them)."""
    der = getattr(request, "client_certificate_der", None)
    center = municipalities.find_delivery_center_by_cert(der) if der else None
    if center is None:
        return Refusal("CENTER_NOT_REGISTERED")
    message = parse_message(model, request.body, limit=limit)
    if isinstance(message, Refusal):
        return message
    refusal = verify_message(
        request.body, request.headers.get(SIGNATURE_HEADER), key=center.signing_public_key
    ) or check_time_window(message.sent_at, at=at)
    if refusal is not None:
        return refusal
    if municipalities.find_municipality(message.municipality_code) is None:
        return Refusal("CENTER_MUNICIPALITY_NOT_SERVED")
    if not _is_new(message, at):
        return Refusal("CENTER_MESSAGE_REPLAYED")
    return Admitted(message, Actor("center", center.id))


def _is_new(message: Request, at: datetime) -> bool:
    code = message.municipality_code
    try:
        with tenancy.scope(code):
            SeenMessage.objects.create(
                municipality_code=code, message_id=message.message_id, seen_at=at
            )
    except IntegrityError:
        return False
    return True
