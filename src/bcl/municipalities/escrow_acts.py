"""Signed acts around escrow: who gave a town's key into escrow, who took it back (R-033)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from bcl.foundation import audit, escrow, keys, tenancy
from bcl.municipalities import actions
from bcl_contract.refusals import Refusal
from bcl_contract.signed_acts import SignedAct


def create_content(*, custodians: Sequence[str], threshold: int) -> dict[str, str | int]:
    """What is signed to make an escrow: the custodians by digest, and how many are needed."""
    listed = "\n".join(sorted(custodians)).encode()
    return {"custodians_sha256": hashlib.sha256(listed).hexdigest(), "threshold": threshold}


def restore_content(package: bytes) -> dict[str, str | int]:
    """What is signed to take a key back: exactly this package."""
    return {"package_sha256": hashlib.sha256(package).hexdigest()}


def create_escrow(
    municipality_code: str,
    *,
    custodians: Sequence[str],
    threshold: int,
    signed: SignedAct,
    at: datetime,
) -> escrow.EscrowPackage | Refusal:
    """Give the town's key into escrow (signed `create_escrow`); escrows of older keys are void."""
    content = create_content(custodians=custodians, threshold=threshold)
    by = _verify(municipality_code, signed, "create_escrow", content, at=at)
    if isinstance(by, Refusal):
        return by
    with tenancy.scope(municipality_code):
        package = escrow.create_escrow(
            municipality_code, custodians=custodians, threshold=threshold, by=by.id, at=at
        )
        if isinstance(package, Refusal):
            return package
        escrow.retire_escrows(municipality_code, keep_version=package.town_key_version, at=at)
        audit.record(
            act="create_escrow",
            by=by,
            at=at,
            detail={
                "package_sha256": package.sha256,
                "custodians": len(package.custodians),
                "threshold": threshold,
            },
        )
    return package


def restore_escrow(
    municipality_code: str,
    *,
    package: bytes,
    identities: Sequence[str],
    signed: SignedAct,
    at: datetime,
) -> int | Refusal:
    """Put the key of a package back into the provider (signed `restore_escrow`).

    `identities`: age key files of at least the threshold of custodians. Refuses a package that
    the records don't know as valid (KEY_ESCROW_UNKNOWN); gives the town key's new version.
    """
    by = _verify(municipality_code, signed, "restore_escrow", restore_content(package), at=at)
    if isinstance(by, Refusal):
        return by
    opened = open_known_escrow(municipality_code, package=package, identities=identities)
    if isinstance(opened, Refusal):
        return opened
    with tenancy.scope(municipality_code):
        try:
            version = escrow.restore(opened, at=at)
        except keys.KeyProviderAway:
            raise
        except keys.KeyFault:
            return Refusal("KEY_ESCROW_UNREADABLE")
        escrow.retire_escrows(municipality_code, at=at)
        audit.record(
            act="restore_escrow",
            by=by,
            at=at,
            detail={**restore_content(package), "version": version},
        )
    return version


def open_known_escrow(
    municipality_code: str, *, package: bytes, identities: Sequence[str]
) -> escrow.OpenedTownKey | Refusal:
    """Open a package that the town's records name as valid; recovery without the hall's keys uses
    it with `escrow.use`. Refusals: KEY_ESCROW_UNKNOWN, _TOO_FEW, _UNREADABLE, KEY_ERASED."""
    if keys.is_erased(municipality_code):
        return Refusal("KEY_ERASED")
    digest = hashlib.sha256(package).hexdigest()
    known = {
        row.package_sha256 for row in escrow.list_escrows(municipality_code) if not row.destroyed_at
    }
    if digest not in known:
        return Refusal("KEY_ESCROW_UNKNOWN")
    return escrow.open_escrow(package, identities)


def _verify(
    municipality_code: str,
    signed: SignedAct,
    act: str,
    content: dict[str, str | int],
    *,
    at: datetime,
) -> audit.Actor | Refusal:
    by = actions.verify_staff_act(
        signed, act=act, municipality_code=municipality_code, now=at
    )
    if not isinstance(by, Refusal) and dict(signed.content) != content:
        return Refusal("STAFF_SIGNATURE_INVALID")
    return by
