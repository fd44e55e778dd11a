"""Registering and revoking administration terminals (R-061)."""

from __future__ import annotations

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import transaction

from bcl.accounts import models, queries
from bcl.accounts.rules import TerminalClass
from bcl.foundation import audit
from bcl_contract.refusals import Refusal


def register_terminal(
    *,
    owner_code: str,
    terminal_id: str,
    name_ja: str,
    terminal_class: TerminalClass,
    cert_pem: bytes,
    by: audit.Actor,
    at: datetime,
) -> queries.Terminal | Refusal:
    """Register a terminal by its client certificate (PEM).

    The same again changes nothing. A certificate or number known otherwise is refused
    (REGISTRATION_CONFLICT), something else than a certificate too.
    """
    try:
        certificate = x509.load_pem_x509_certificate(cert_pem)
    except ValueError:
        return Refusal("REGISTRATION_CERTIFICATE_INVALID")
    fingerprint = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
    wanted = {
        "owner_code": owner_code,
        "name_ja": name_ja,
        "terminal_class": terminal_class.value,
        "cert_fingerprint": fingerprint,
    }
    with transaction.atomic():
        known = models.Terminal.objects.filter(cert_fingerprint=fingerprint).first()
        known = known or models.Terminal.objects.filter(pk=terminal_id).first()
        if known is not None:
            same = known.terminal_id == terminal_id and known.revoked_at is None
            if not same or any(getattr(known, name) != text for name, text in wanted.items()):
                return Refusal("REGISTRATION_CONFLICT")
            return queries._terminal(known)
        row = models.Terminal.objects.create(terminal_id=terminal_id, registered_at=at, **wanted)
        audit.record_agency(
            act="register_terminal",
            by=by,
            at=at,
            detail={"terminal_id": terminal_id, "owner": owner_code, "cert_sha256": fingerprint},
        )
    return queries._terminal(row)


def revoke_terminal(
    terminal_id: str, *, owner_code: str, by: audit.Actor, at: datetime
) -> Refusal | None:
    """Revoke a terminal at once: the next request from it is refused, whoever sits there."""
    with transaction.atomic():
        changed = models.Terminal.objects.filter(
            pk=terminal_id, owner_code=owner_code, revoked_at__isnull=True
        ).update(revoked_at=at)
        if not changed:
            return Refusal("REGISTRATION_UNKNOWN")
        audit.record_agency(
            act="revoke_terminal", by=by, at=at, detail={"terminal_id": terminal_id}
        )
    return None
