"""Acts on the municipality directory. Each writes its audit row in its own transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyrage
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import transaction

from bcl.foundation import audit, clock, keys, tenancy
from bcl.municipalities import models, profiles, queries
from bcl_contract.refusals import Refusal
from bcl_contract.signed_acts import SignedAct, is_genuine
from bcl_contract.values import MunicipalityCode

PublicKey = Ed25519PublicKey | bytes | str


def register_municipality(
    *,
    municipality_code: str,
    name_ja: str,
    head_title_ja: str,
    mayor_name_ja: str,
    by: audit.Actor = audit.SYSTEM,
    at: datetime | None = None,
) -> queries.Municipality:
    """Register a municipality with its keys, or bring name, title and mayor up to date.

    A new one begins with the backup only; other uses begin with `enable_profile`.
    Raises `InvalidValue` when the code's check digit is wrong.
    """
    code, at = str(MunicipalityCode(str(municipality_code))), at or clock.now()
    with tenancy.scope(code):
        models.Municipality.objects.update_or_create(
            municipality_code=code,
            defaults={
                "name_ja": name_ja,
                "head_title_ja": head_title_ja,
                "mayor_name_ja": mayor_name_ja,
            },
            create_defaults={
                "name_ja": name_ja,
                "head_title_ja": head_title_ja,
                "mayor_name_ja": mayor_name_ja,
                "registered_at": at,
            },
        )
        keys.create_town_keys(code, at=at)
        audit.record(act="register_municipality", by=by, at=at)
        if profiles.find_profile_use(code, profiles.Profile.BACKUP).enabled_at is None:
            profiles.enable_profile(code, profiles.Profile.BACKUP, by=by, at=at)
    return queries.get_municipality(code)


def register_gateway_cert(
    municipality_code: str,
    cert_pem: bytes | str,
    signing_public_key: PublicKey,
    *,
    gateway_id: str | None = None,
    by: audit.Actor = audit.SYSTEM,
    at: datetime | None = None,
) -> queries.GatewayIdentity:
    """Register a gateway of a municipality by its TLS certificate (PEM) and signing key.

    `gateway_id` defaults to `gw-<code>-<first digits of the fingerprint>`. The same certificate
    and key again change nothing; the same certificate for another town or key raises ValueError.
    """
    at = at or clock.now()
    fingerprint, raw_key = _fingerprint(cert_pem), queries.public_key_bytes(signing_public_key)
    gateway_id = gateway_id or f"gw-{municipality_code}-{fingerprint[:8]}"
    with tenancy.scope(municipality_code):
        row, created = models.Gateway.objects.get_or_create(
            cert_fingerprint=fingerprint,
            defaults={
                "gateway_id": gateway_id,
                "municipality_id": municipality_code,
                "signing_public_key": raw_key,
                "registered_at": at,
            },
        )
        if not created:
            same = row.municipality_id == municipality_code
            if not same or bytes(row.signing_public_key) != raw_key or row.status == "REVOKED":
                raise ValueError("this certificate is registered otherwise or revoked")
        else:
            audit.record(
                act="register_gateway",
                by=by,
                at=at,
                detail={"gateway_id": row.gateway_id, "cert_sha256": fingerprint},
            )
    return queries._gateway(row)


def revoke_gateway(
    gateway_id: str, *, by: audit.Actor = audit.SYSTEM, at: datetime | None = None
) -> bool:
    """Revoke a gateway at once; False when it is unknown or revoked already."""
    at = at or clock.now()
    row = models.Gateway.objects.filter(pk=gateway_id, status="REGISTERED").first()
    if row is None:
        return False
    with tenancy.scope(row.municipality_id):
        row.status, row.revoked_at = "REVOKED", at
        row.save(update_fields=["status", "revoked_at"])
        audit.record(act="revoke_gateway", by=by, at=at, detail={"gateway_id": gateway_id})
    return True


def register_delivery_center(
    center_id: str,
    cert_pem: bytes | str,
    signing_public_key: PublicKey,
    *,
    by: audit.Actor = audit.SYSTEM,
    at: datetime | None = None,
) -> queries.DeliveryCenterIdentity:
    """Register the delivery center, or give it a new certificate and signing key."""
    at = at or clock.now()
    fingerprint, raw_key = _fingerprint(cert_pem), queries.public_key_bytes(signing_public_key)
    with transaction.atomic():
        row, _ = models.DeliveryCenter.objects.update_or_create(
            center_id=center_id,
            defaults={
                "cert_fingerprint": fingerprint,
                "signing_public_key": raw_key,
                "status": "REGISTERED",
                "registered_at": at,
                "revoked_at": None,
            },
        )
        audit.record_agency(
            act="register_delivery_center",
            by=by,
            at=at,
            detail={"center_id": center_id, "cert_sha256": fingerprint},
        )
    return queries.DeliveryCenterIdentity(row.center_id, queries._public_key(raw_key))


def revoke_delivery_center(
    center_id: str, *, by: audit.Actor = audit.SYSTEM, at: datetime | None = None
) -> bool:
    """Revoke the delivery center at once; False when it is unknown or revoked already."""
    at = at or clock.now()
    with transaction.atomic():
        changed = models.DeliveryCenter.objects.filter(pk=center_id, status="REGISTERED").update(
            status="REVOKED", revoked_at=at
        )
        if changed:
            audit.record_agency(
                act="revoke_delivery_center", by=by, at=at, detail={"center_id": center_id}
            )
    return bool(changed)


def register_subscriber(
    subscriber_id: str,
    name_ja: str,
    cert_pem: bytes | str,
    *,
    by: audit.Actor = audit.SYSTEM,
    at: datetime | None = None,
) -> queries.SubscriberIdentity:
    """Register a system that may subscribe, or give it a new certificate.

    Raises ValueError when the certificate is another subscriber's.
    """
    at, fingerprint = at or clock.now(), _fingerprint(cert_pem)
    with transaction.atomic():
        others = models.Subscriber.objects.filter(cert_fingerprint=fingerprint)
        if others.exclude(pk=subscriber_id).exists():
            raise ValueError("this certificate is registered for another subscriber")
        models.Subscriber.objects.update_or_create(
            subscriber_id=subscriber_id,
            defaults={
                "name_ja": name_ja,
                "cert_fingerprint": fingerprint,
                "status": "REGISTERED",
                "registered_at": at,
                "revoked_at": None,
            },
        )
        audit.record_agency(
            act="register_subscriber",
            by=by,
            at=at,
            detail={"subscriber_id": subscriber_id, "cert_sha256": fingerprint},
        )
    return queries.SubscriberIdentity(subscriber_id, name_ja)


def revoke_subscriber(
    subscriber_id: str, *, by: audit.Actor = audit.SYSTEM, at: datetime | None = None
) -> bool:
    """Revoke a subscriber at once, for every town; False when it is unknown or revoked already."""
    at = at or clock.now()
    with transaction.atomic():
        changed = models.Subscriber.objects.filter(pk=subscriber_id, status="REGISTERED").update(
            status="REVOKED", revoked_at=at
        )
        if changed:
            audit.record_agency(
                act="revoke_subscriber", by=by, at=at, detail={"subscriber_id": subscriber_id}
            )
    return bool(changed)


def set_setting(
    municipality_code: str,
    name: str,
    value: Any,
    *,
    effective_from: datetime,
    by: audit.Actor,
    at: datetime | None = None,
) -> None:
    """Set a municipality's setting from a moment on. The same moment again replaces the value."""
    at = at or clock.now()
    with tenancy.scope(municipality_code):
        models.MunicipalitySetting.objects.update_or_create(
            municipality_code=municipality_code,
            name=name,
            effective_from=effective_from,
            defaults={"value": value, "set_by": f"{by.kind}:{by.id}"[:128], "set_at": at},
        )
        audit.record(
            act="set_setting",
            by=by,
            at=at,
            detail={"name": name, "effective_from": effective_from.isoformat()},
        )


def register_staff(
    municipality_code: str,
    staff_id: str,
    signing_public_key: PublicKey,
    *,
    by: audit.Actor = audit.SYSTEM,
    at: datetime | None = None,
) -> None:
    """Let a member of staff act on the command line with a signing key, or replace the key."""
    at = at or clock.now()
    audit.Actor("staff", staff_id)  # refuses an id that is no id
    with tenancy.scope(municipality_code):
        models.StaffMember.objects.update_or_create(
            municipality_code=municipality_code,
            staff_id=staff_id,
            defaults={
                "signing_public_key": queries.public_key_bytes(signing_public_key),
                "status": "REGISTERED",
                "registered_at": at,
                "revoked_at": None,
            },
        )
        audit.record(act="register_staff", by=by, at=at, detail={"staff_id": staff_id})


def revoke_staff(
    municipality_code: str, staff_id: str, *, by: audit.Actor, at: datetime | None = None
) -> bool:
    """Take the right to act from a member of staff at once; False when there was none."""
    at = at or clock.now()
    with tenancy.scope(municipality_code):
        changed = models.StaffMember.objects.filter(
            municipality_code=municipality_code, staff_id=staff_id, status="REGISTERED"
        ).update(status="REVOKED", revoked_at=at)
        if changed:
            audit.record(act="revoke_staff", by=by, at=at, detail={"staff_id": staff_id})
    return bool(changed)


def verify_staff_act(
    signed: SignedAct, *, act: str, municipality_code: str, now: datetime | None = None
) -> audit.Actor | Refusal:
    """Who signed this act (D31): the staff member as `Actor`, or why it doesn't count.

    The signature must be of a registered, unrevoked member of this municipality, over exactly
    this act, and not older than ten minutes. The caller compares `signed.content` with what it
    is about to do, and uses one signed act once (an idempotency key from the signature).
    """
    public_key = queries.find_staff_key(municipality_code, signed.staff_id)
    if public_key is None:
        return Refusal("STAFF_UNKNOWN")
    fits = signed.act == act and signed.municipality_code == municipality_code
    if not fits or not is_genuine(signed, public_key, now=now or clock.now()):
        return Refusal("STAFF_SIGNATURE_INVALID")
    return audit.Actor("staff", signed.staff_id)


def register_recovery_receiver(
    municipality_code: str,
    receiver_id: str,
    age_public_key: str,
    *,
    by: audit.Actor = audit.SYSTEM,
    at: datetime | None = None,
) -> None:
    """Register who may open recovery packages, by age public key (ValueError on a bad one)."""
    at = at or clock.now()
    try:
        pyrage.x25519.Recipient.from_str(age_public_key)
    except pyrage.RecipientError:
        raise ValueError("not an age public key") from None
    with tenancy.scope(municipality_code):
        models.RecoveryReceiver.objects.update_or_create(
            municipality_code=municipality_code,
            receiver_id=receiver_id,
            defaults={
                "age_public_key": age_public_key,
                "status": "REGISTERED",
                "registered_at": at,
                "revoked_at": None,
            },
        )
        audit.record(
            act="register_recovery_receiver", by=by, at=at, detail={"receiver_id": receiver_id}
        )


def _fingerprint(cert_pem: bytes | str) -> str:
    pem = cert_pem.encode() if isinstance(cert_pem, str) else cert_pem
    certificate = x509.load_pem_x509_certificate(pem)
    return queries.cert_fingerprint(certificate.public_bytes(Encoding.DER))
