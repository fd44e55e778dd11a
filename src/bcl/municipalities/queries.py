"""Reads of the municipality directory, as frozen values."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bcl.foundation import tenancy
from bcl.municipalities import models


class UnknownMunicipality(LookupError):
    """No municipality with this code is registered."""


@dataclass(frozen=True)
class Municipality:
    """A municipality as it is printed and addressed. The mayor's name stays out of `repr`."""

    code: str
    name_ja: str
    head_title_ja: str
    mayor_name_ja: str = field(repr=False)


@dataclass(frozen=True)
class GatewayIdentity:
    """A registered, unrevoked gateway: whose it is, and the key that signs its transmissions."""

    id: str
    municipality_code: str
    signing_public_key: Ed25519PublicKey = field(repr=False, compare=False)


@dataclass(frozen=True)
class DeliveryCenterIdentity:
    """The registered, unrevoked delivery center and the key its requests are signed with."""

    id: str
    signing_public_key: Ed25519PublicKey = field(repr=False, compare=False)


@dataclass(frozen=True)
class SubscriberIdentity:
    """A registered, unrevoked system that may subscribe."""

    id: str
    name_ja: str


@dataclass(frozen=True)
class RecoveryReceiver:
    """A receiver of recovery packages: its id and age public key (`age1…`)."""

    id: str
    age_public_key: str


def find_municipality(municipality_code: str) -> Municipality | None:
    """The municipality with this code, or None."""
    row = models.Municipality.objects.filter(pk=municipality_code).first()
    if row is None:
        return None
    return Municipality(row.municipality_code, row.name_ja, row.head_title_ja, row.mayor_name_ja)


def get_municipality(municipality_code: str) -> Municipality:
    """The municipality with this code. Raises `UnknownMunicipality`."""
    found = find_municipality(municipality_code)
    if found is None:
        raise UnknownMunicipality("this municipality is not registered")
    return found


def list_municipality_codes() -> list[str]:
    """Codes of all municipalities, ascending: for work that makes one job per town."""
    return list(
        models.Municipality.objects.order_by("pk").values_list("municipality_code", flat=True)
    )


def cert_fingerprint(cert_der: bytes) -> str:
    """SHA-256 of a certificate's DER bytes, lower case hexadecimal."""
    return hashlib.sha256(cert_der).hexdigest()


def find_gateway_by_cert(cert_der: bytes) -> GatewayIdentity | None:
    """The gateway that holds this TLS certificate, if registered and not revoked."""
    row = models.Gateway.objects.filter(
        cert_fingerprint=cert_fingerprint(cert_der), status="REGISTERED"
    ).first()
    return None if row is None else _gateway(row)


def find_signing_key(municipality_code: str, gateway_id: str) -> Ed25519PublicKey | None:
    """The signing key of a municipality's gateway, or None when unknown or revoked."""
    row = models.Gateway.objects.filter(
        pk=gateway_id, municipality_id=municipality_code, status="REGISTERED"
    ).first()
    return None if row is None else _gateway(row).signing_public_key


def list_gateways(municipality_code: str) -> list[GatewayIdentity]:
    """Registered, unrevoked gateways of a municipality, by id."""
    rows = models.Gateway.objects.filter(municipality_id=municipality_code, status="REGISTERED")
    return [_gateway(row) for row in rows.order_by("pk")]


def find_delivery_center_by_cert(cert_der: bytes) -> DeliveryCenterIdentity | None:
    """The delivery center that holds this TLS certificate, if registered and not revoked."""
    row = models.DeliveryCenter.objects.filter(
        cert_fingerprint=cert_fingerprint(cert_der), status="REGISTERED"
    ).first()
    if row is None:
        return None
    return DeliveryCenterIdentity(row.center_id, _public_key(row.signing_public_key))


def find_subscriber_by_cert(cert_der: bytes) -> SubscriberIdentity | None:
    """The subscriber that holds this TLS certificate, if registered and not revoked."""
    return _subscriber(cert_fingerprint=cert_fingerprint(cert_der))


def find_subscriber(subscriber_id: str) -> SubscriberIdentity | None:
    """A registered subscriber by id, or None when unknown or revoked."""
    return _subscriber(pk=subscriber_id)


def _subscriber(**which: str) -> SubscriberIdentity | None:
    row = models.Subscriber.objects.filter(status="REGISTERED", **which).first()
    return None if row is None else SubscriberIdentity(row.subscriber_id, row.name_ja)


def setting_at(municipality_code: str, name: str, at: datetime, *, default: Any = None) -> Any:
    """Value (JSON) of a municipality's setting in force at `at`, else `default`."""
    with tenancy.scope(municipality_code):
        row = (
            models.MunicipalitySetting.objects.filter(
                municipality_code=municipality_code, name=name, effective_from__lte=at
            )
            .order_by("-effective_from")
            .first()
        )
    return default if row is None else row.value


def find_staff_key(municipality_code: str, staff_id: str) -> Ed25519PublicKey | None:
    """The signing key of a member of staff, or None when unknown or revoked."""
    with tenancy.scope(municipality_code):
        row = models.StaffMember.objects.filter(
            municipality_code=municipality_code, staff_id=staff_id, status="REGISTERED"
        ).first()
    return None if row is None else _public_key(row.signing_public_key)


def find_recovery_receiver(municipality_code: str, receiver_id: str) -> RecoveryReceiver | None:
    """A registered receiver of recovery packages, or None when unknown or revoked."""
    found = [r for r in list_recovery_receivers(municipality_code) if r.id == receiver_id]
    return found[0] if found else None


def list_recovery_receivers(municipality_code: str) -> list[RecoveryReceiver]:
    """Registered, unrevoked receivers of a municipality's recovery packages, by id."""
    with tenancy.scope(municipality_code):
        rows = models.RecoveryReceiver.objects.filter(
            municipality_code=municipality_code, status="REGISTERED"
        ).order_by("receiver_id")
        return [RecoveryReceiver(row.receiver_id, row.age_public_key) for row in rows]


def public_key_bytes(public_key: Ed25519PublicKey | bytes | str) -> bytes:
    """The 32 raw bytes of an Ed25519 public key, given as key object, raw bytes or base64."""
    if isinstance(public_key, Ed25519PublicKey):
        return public_key.public_bytes_raw()
    raw = base64.b64decode(public_key) if isinstance(public_key, str) else bytes(public_key)
    Ed25519PublicKey.from_public_bytes(raw)
    return raw


def _gateway(row: models.Gateway) -> GatewayIdentity:
    return GatewayIdentity(row.gateway_id, row.municipality_id, _public_key(row.signing_public_key))


def _public_key(raw: Any) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes(raw))
