"""Registering and revoking administration terminals (R-061, R-169)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import transaction

from bcl.accounts import models, queries
from bcl.accounts.rules import TerminalClass
from bcl.foundation import audit, tenancy
from bcl_contract.refusals import Refusal

Papers = x509.Certificate | x509.CertificateSigningRequest


@dataclass(frozen=True)
class TerminalWish:
    """A terminal to be registered. `papers` is its certificate, or the signing request for one
    (both PEM): then the terminal works as soon as its certificate has been issued."""

    owner_code: str
    terminal_id: str
    name_ja: str
    terminal_class: TerminalClass
    papers: bytes
    place_ja: str = ""
    valid_until_on: date | None = None


def register_terminal(
    *,
    owner_code: str,
    terminal_id: str,
    name_ja: str,
    terminal_class: TerminalClass,
    cert_pem: bytes,
    by: audit.Actor,
    at: datetime,
    place_ja: str = "",
    valid_until_on: date | None = None,
) -> queries.Terminal | Refusal:
    """Register a terminal by its client certificate or the signing request for one (PEM).

    The same again changes nothing. A certificate, key or number known otherwise is refused
    (REGISTRATION_CONFLICT); something else than such a file too, and one that has expired.
    """
    wish = TerminalWish(
        owner_code, terminal_id, name_ja, terminal_class, cert_pem, place_ja, valid_until_on
    )
    papers = _read(cert_pem)
    if papers is None or not _is_usable(papers, at):
        return Refusal("REGISTRATION_CERTIFICATE_INVALID")
    prints = _fingerprints(papers)
    with transaction.atomic():
        known = _find_known(terminal_id, prints)
        if known is not None:
            return _same_again(known, wish, prints)
        row = models.Terminal.objects.create(
            terminal_id=terminal_id, registered_at=at, **_columns(wish), **prints
        )
        audit.record_agency(
            act="register_terminal",
            by=by,
            at=at,
            detail={
                "terminal_id": terminal_id,
                "owner": owner_code,
                "class": terminal_class.value,
                **{name: text for name, text in prints.items() if text is not None},
            },
        )
    return queries._terminal(row)


def revoke_terminal(
    terminal_id: str, *, owner_code: str, by: audit.Actor, at: datetime
) -> Refusal | None:
    """Revoke a terminal at once: its sign-ins end, and it gets no answer from now on."""
    with tenancy.scope(owner_code):
        changed = models.Terminal.objects.filter(
            pk=terminal_id, owner_code=owner_code, revoked_at__isnull=True
        ).update(revoked_at=at)
        if not changed:
            return Refusal("REGISTRATION_UNKNOWN")
        models.StaffSession.objects.filter(terminal_id=terminal_id, ended_at=None).update(
            ended_at=at, end_reason="TERMINAL_REVOKED"
        )
        audit.record_agency(
            act="revoke_terminal", by=by, at=at, detail={"terminal_id": terminal_id}
        )
    return None


# -- inside -------------------------------------------------------------------------------------


def _read(pem: bytes) -> Papers | None:
    for load in (x509.load_pem_x509_certificate, x509.load_pem_x509_csr):
        try:
            papers: Papers = load(pem)
            papers.public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        return papers
    return None


def _is_usable(papers: Papers, at: datetime) -> bool:
    """A request is signed with its own key; a certificate has not run out."""
    if isinstance(papers, x509.CertificateSigningRequest):
        return papers.is_signature_valid
    return papers.not_valid_after_utc > at


def _fingerprints(papers: Papers) -> dict[str, str | None]:
    if isinstance(papers, x509.CertificateSigningRequest):
        return {"cert_fingerprint": None, "key_fingerprint": queries.key_fingerprint(papers)}
    whole = hashlib.sha256(papers.public_bytes(Encoding.DER)).hexdigest()
    return {"cert_fingerprint": whole, "key_fingerprint": queries.key_fingerprint(papers)}


def _columns(wish: TerminalWish) -> dict[str, object]:
    return {
        "owner_code": wish.owner_code,
        "name_ja": wish.name_ja,
        "terminal_class": wish.terminal_class.value,
        "place_ja": wish.place_ja,
        "valid_until_on": wish.valid_until_on,
    }


def _find_known(terminal_id: str, prints: dict[str, str | None]) -> models.Terminal | None:
    for name, text in (*prints.items(), ("pk", terminal_id)):
        found = models.Terminal.objects.filter(**{name: text}).first() if text else None
        if found is not None:
            return found
    return None


def _same_again(
    known: models.Terminal, wish: TerminalWish, prints: dict[str, str | None]
) -> queries.Terminal | Refusal:
    # What was registered before keys were noted, or before its certificate came, lacks one print.
    both = {name: text for name, text in prints.items() if getattr(known, name) is not None}
    wanted = {"terminal_id": wish.terminal_id, **_columns(wish), **both}
    if known.revoked_at is not None:
        return Refusal("REGISTRATION_CONFLICT")
    if any(getattr(known, name) != value for name, value in wanted.items() if value is not None):
        return Refusal("REGISTRATION_CONFLICT")
    return queries._terminal(known)
