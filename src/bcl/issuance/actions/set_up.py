"""What staff set up for issuing: blocks (発行禁止設定) and the mayor's seal (電子公印)."""

from __future__ import annotations

import hashlib
from datetime import date, datetime

from bcl.foundation import audit, crypto, tenancy
from bcl.foundation.audit import Actor
from bcl.issuance.digests import BlindKeys
from bcl.issuance.models import IssuanceBlock, OfficialSeal
from bcl.issuance.rules import BlockScope
from bcl_contract.linkage.seal_rules import MAX_IMAGE_BYTES, read_png_header


def place_block(
    *,
    municipality_code: str,
    scope: BlockScope,
    reason: str,
    starts_at: datetime,
    by: Actor,
    at: datetime,
    addressee_number: str = "",
    household_number: str = "",
    certificate_kind: str = "",
    ends_at: datetime | None = None,
) -> int:
    """Stop issuing for a person, a household or the whole town; every kind when none is named.

    Takes effect with the commit: requests on their way are stopped at their next look (R-054).
    Returns the block's number. Raises ValueError when scope and numbers don't fit.
    """
    needed = {
        BlockScope.PERSON: bool(addressee_number) and not household_number,
        BlockScope.HOUSEHOLD: bool(household_number) and not addressee_number,
        BlockScope.MUNICIPALITY: not addressee_number and not household_number,
    }
    if not needed.get(scope, False):
        raise ValueError("a block names exactly what it stops")
    with tenancy.scope(municipality_code):
        blind = BlindKeys.of(municipality_code)
        block = IssuanceBlock.objects.create(
            municipality_code=municipality_code,
            scope=scope.value,
            person_key=blind.person(addressee_number) if addressee_number else None,
            household_key=blind.household(household_number) if household_number else None,
            certificate_kind=certificate_kind,
            reason=reason,
            starts_at=starts_at,
            ends_at=ends_at,
            placed_at=at,
            placed_by=f"{by.kind}:{by.id}",
        )
        audit.record(
            act="place_issuance_block",
            by=by,
            at=at,
            subject_key=(addressee_number or household_number).encode() or None,
            detail={"block": block.pk, "scope": scope.name, "kind": certificate_kind},
        )
        return int(block.pk)


def lift_block(*, municipality_code: str, block_id: int, by: Actor, at: datetime) -> bool:
    """Lift a block; False when there is none in force with this number."""
    with tenancy.scope(municipality_code):
        lifted = IssuanceBlock.objects.filter(
            municipality_code=municipality_code, pk=block_id, lifted_at=None
        ).update(lifted_at=at, lifted_by=f"{by.kind}:{by.id}")
        if lifted:
            audit.record(act="lift_issuance_block", by=by, at=at, detail={"block": block_id})
        return bool(lifted)


def register_official_seal(
    *,
    municipality_code: str,
    image_png: bytes,
    side_mm: float,
    valid_from_on: date,
    by: Actor,
    at: datetime,
    valid_until_on: date | None = None,
) -> str:
    """Register the picture of the mayor's seal from a day on; returns its SHA-256.

    The picture is an opaque PNG (PDF/A-1 knows no transparency), printed `side_mm` square.
    Raises ValueError for anything else. The same first day again replaces the picture.
    """
    # A few bytes can announce a picture that fills the memory of whoever draws it.
    header = read_png_header(image_png) if len(image_png) <= MAX_IMAGE_BYTES else None
    if header is None:
        raise ValueError("the official seal is a PNG file of at most 1 MiB, 4,096 pixels a side")
    if header.colour_type not in (0, 2):
        raise ValueError("the official seal must be grey or RGB, without transparency")
    digest = hashlib.sha256(image_png).hexdigest()
    with tenancy.scope(municipality_code):
        OfficialSeal.objects.update_or_create(
            municipality_code=municipality_code,
            valid_from_on=valid_from_on,
            defaults={
                "valid_until_on": valid_until_on,
                "side_mm": side_mm,
                "sha256": digest,
                "image": crypto.seal_cell(
                    municipality_code, "issuance_officialseal", "image", digest, image_png
                ),
                "registered_at": at,
                "registered_by": f"{by.kind}:{by.id}",
            },
        )
        audit.record(
            act="register_official_seal",
            by=by,
            at=at,
            detail={"sha256": digest, "valid_from_on": valid_from_on.isoformat()},
        )
    return digest
