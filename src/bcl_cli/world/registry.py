"""Making a world's cloud known to itself: towns, gateways, center, staff, receivers.

Runs with Django loaded as `bcl_app`. Everything may be run again: the same registration changes
nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pyrage
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl_cli.world.places import Places
from bcl_contract import clock
from bcl_sim.pki import WorldPki, private_pem, write_private

STAFF = ("staff-a", "staff-b")
RECEIVER = "substitute-environment"


@dataclass(frozen=True)
class Town:
    """An invented municipality (decision D10: never a real code)."""

    municipality_code: str
    name_ja: str
    head_title_ja: str
    mayor_name_ja: str


INVENTED_TOWNS = {
    "999997": Town("999997", "サンプル市", "サンプル市長", "見本　太郎"),
    "999989": Town("999989", "ためし町", "ためし町長", "試　花子"),
    "999971": Town("999971", "ひながた市", "ひながた市長", "雛形　次郎"),
}


def staff_key_path(places: Places, municipality_code: str, staff_id: str) -> Path:
    """Where the signing key of a member of staff lies."""
    return places.town(municipality_code, "staff") / f"{staff_id}.key"


def receiver_key_path(places: Places, municipality_code: str) -> Path:
    """The age key file of the town's substitute environment (代替環境)."""
    return places.town(municipality_code, "receiver") / "receiver.agekey"


def register(places: Places, pki: WorldPki) -> None:
    """Register every party of the world with the cloud."""
    from bcl.foundation import audit
    from bcl.issuance import api as issuance
    from bcl.municipalities import api as municipalities

    for code in pki.municipalities:
        town = INVENTED_TOWNS[code]
        municipalities.register_municipality(
            municipality_code=code,
            name_ja=town.name_ja,
            head_title_ja=town.head_title_ja,
            mayor_name_ja=town.mayor_name_ja,
        )
        municipalities.register_gateway_cert(
            code, pki.gateway(code).cert_path.read_bytes(), pki.gateway_signing(code).public()
        )
        for staff_id in STAFF:
            key = _own_key(staff_key_path(places, code, staff_id))
            municipalities.register_staff(code, staff_id, key.public_key())
        municipalities.register_recovery_receiver(code, RECEIVER, _own_receiver(places, code))
        issuance.enable_certificates(code, by=audit.SYSTEM, at=clock.now())  # refused when it is
        issuance.register_official_seal(
            municipality_code=code,
            image_png=issuance.draw_demo_seal(town.head_title_ja),
            side_mm=20.0,
            valid_from_on=clock.today().replace(month=1, day=1),
            by=audit.SYSTEM,
            at=clock.now(),
        )
    municipalities.register_delivery_center(
        "center-1", pki.center_client.cert_path.read_bytes(), pki.center_signing.public()
    )


def _own_key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        write_private(path, private_pem(Ed25519PrivateKey.generate()))
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{path.name} holds no Ed25519 key")
    return key


def _own_receiver(places: Places, municipality_code: str) -> str:
    path = receiver_key_path(places, municipality_code)
    if not path.exists():
        identity = pyrage.x25519.Identity.generate()
        write_private(path, (str(identity) + os.linesep).encode())
    text = path.read_text(encoding="utf-8").strip()
    return str(pyrage.x25519.Identity.from_str(text).to_public())
