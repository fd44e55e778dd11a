"""Escrow of a town's key, m of n (D13): what opens a town's data when the provider lost its key.

    package = escrow.create_escrow("999997", custodians=[a, b, c], threshold=2, by="staff-a")
    ...the agency and each custodian keep a copy of the file `package.content`...

    opened = escrow.open_escrow(package_bytes, identities=[identity_of_a, identity_of_c])
    with escrow.use(opened):                 # this process reads the town without the provider
        build_the_recovery_package(...)
    escrow.restore(opened)                   # or: back into the provider, for everybody

For every allowed set of `threshold` custodians the key is encrypted to them one inside the other
(age, X25519): no secret-sharing code of our own. Packages never lie in the database, so that a
database backup does not hold what opens it; the table holds their digests. Opening needs the
database (or a restored backup of it) with the town's wrapped data keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from math import comb

import pyrage

from bcl.foundation import clock, keys, tenancy
from bcl.foundation.models import KeyEscrow
from bcl_contract.refusals import Refusal

FORMAT = "bcl-key-escrow-1"
MAXIMUM_SETS = 500
_KEY_BYTES = 32


@dataclass(frozen=True)
class EscrowPackage:
    """A package as it is to be kept: `content` is the file, `sha256` what the record names."""

    municipality_code: str
    town_key_version: int
    threshold: int
    custodians: tuple[str, ...]
    content: bytes
    sha256: str


@dataclass(frozen=True)
class OpenedTownKey:
    """A town key out of escrow. `repr` doesn't show it."""

    municipality_code: str
    town_key_version: int
    secret: bytes

    def __repr__(self) -> str:
        return f"OpenedTownKey({self.municipality_code}, version={self.town_key_version})"


def create_escrow(
    municipality_code: str,
    *,
    custodians: Sequence[str],
    threshold: int,
    by: str,
    at: datetime | None = None,
) -> EscrowPackage | Refusal:
    """Give the current town key into escrow: any `threshold` of the `custodians` can open it.

    `custodians` are age public keys (age1…). Earlier escrows of the town stay valid until
    `retire_escrows`. Refuses (KEY_ESCROW_CUSTODIANS) keys that are no keys or the same, a
    threshold out of 1…n, and more than 500 sets.
    """
    listed = sorted(set(custodians))
    recipients = _recipients(listed)
    if recipients is None or len(listed) != len(custodians):
        return Refusal("KEY_ESCROW_CUSTODIANS", {"given": len(custodians)})
    if not 1 <= threshold <= len(listed) or comb(len(listed), threshold) > MAXIMUM_SETS:
        return Refusal("KEY_ESCROW_CUSTODIANS", {"given": len(listed), "needed": threshold})
    at = at or clock.now()
    with tenancy.scope(municipality_code):
        version, secret = keys.town_key_for_escrow(municipality_code)
        content = _packed(
            municipality_code, (version, secret), recipients=recipients, threshold=threshold, at=at
        )
        package = EscrowPackage(
            municipality_code,
            version,
            threshold,
            tuple(listed),
            content,
            hashlib.sha256(content).hexdigest(),
        )
        KeyEscrow.objects.create(
            municipality_code=municipality_code,
            town_key_version=version,
            threshold=threshold,
            custodians=listed,
            package_sha256=package.sha256,
            created_at=at,
            created_by=by,
        )
    return package


def open_escrow(content: bytes, identities: Sequence[str]) -> OpenedTownKey | Refusal:
    """The town key of a package, with the custodians' age identities (AGE-SECRET-KEY-1…).

    Refuses KEY_ESCROW_TOO_FEW (fewer than the threshold are custodians of this package) and
    KEY_ESCROW_UNREADABLE (no package of ours, or altered). Needs no database.
    """
    try:
        package = json.loads(content)
        if package["format"] != FORMAT:
            raise ValueError
        threshold = int(package["threshold"])
        listed = [str(each) for each in package["custodians"]]
        own = {str(each.to_public()): each for each in map(_identity, identities)}
        present = [each for each in listed if each in own]
        if len(present) < threshold:
            return Refusal("KEY_ESCROW_TOO_FEW", {"given": len(present), "needed": threshold})
        chosen = present[:threshold]
        sealed = base64.b64decode(package["sets"][_set_name(chosen)], validate=True)
        for each in chosen:
            sealed = pyrage.decrypt(sealed, [own[each]])
        inner = json.loads(sealed)
        secret = bytes.fromhex(inner["key"])
        if len(secret) != _KEY_BYTES:
            raise ValueError
        return OpenedTownKey(
            str(inner["municipality_code"]), int(inner["town_key_version"]), secret
        )
    except (ValueError, KeyError, TypeError, binascii.Error, pyrage.DecryptError):
        return Refusal("KEY_ESCROW_UNREADABLE")
    except pyrage.IdentityError:
        return Refusal("KEY_ESCROW_UNREADABLE")


@contextmanager
def use(opened: OpenedTownKey) -> Iterator[None]:
    """Read (and seal) the town's data in this process with the opened key, for this block only."""
    with keys.using_town_key(
        opened.municipality_code, opened.town_key_version, opened.secret
    ):
        yield


def restore(opened: OpenedTownKey, *, at: datetime | None = None) -> int:
    """Put the opened key back to use for every process: re-wrapped under a new KEK of the
    provider. Gives the town key's new version; make a new escrow for it. Raises `KeyFault`."""
    return keys.restore_town_key(
        opened.municipality_code, opened.town_key_version, opened.secret, at=at
    )


def list_escrows(municipality_code: str) -> list[KeyEscrow]:
    """Records of the town's escrows, newest first; destroyed ones too."""
    with tenancy.scope(municipality_code):
        return list(
            KeyEscrow.objects.filter(municipality_code=municipality_code).order_by("-pk")
        )


def retire_escrows(
    municipality_code: str, *, keep_version: int | None = None, at: datetime | None = None
) -> list[str]:
    """Mark escrows as destroyed: all, or those of other town key versions than `keep_version`.

    Gives the digests of the packages that are to be deleted wherever they lie.
    """
    with tenancy.scope(municipality_code):
        rows = KeyEscrow.objects.filter(municipality_code=municipality_code, destroyed_at=None)
        if keep_version is not None:
            rows = rows.exclude(town_key_version=keep_version)
        digests = list(rows.order_by("pk").values_list("package_sha256", flat=True))
        rows.update(destroyed_at=at or clock.now())
    return digests


def _recipients(listed: Sequence[str]) -> dict[str, pyrage.x25519.Recipient] | None:
    try:
        return {each: pyrage.x25519.Recipient.from_str(each) for each in listed}
    except (pyrage.RecipientError, ValueError):
        return None


def _identity(text: str) -> pyrage.x25519.Identity:
    """An identity out of a key file's text (comments allowed) or the bare line."""
    for line in text.splitlines():
        if line.strip().upper().startswith("AGE-SECRET-KEY-1"):
            return pyrage.x25519.Identity.from_str(line.strip())
    raise ValueError("no identity")


def _packed(
    municipality_code: str,
    key: tuple[int, bytes],
    *,
    recipients: dict[str, pyrage.x25519.Recipient],
    threshold: int,
    at: datetime,
) -> bytes:
    """The package's file for `key` (version and secret of the town key)."""
    version, secret = key
    inner = json.dumps(
        {
            "municipality_code": municipality_code,
            "town_key_version": version,
            "key": secret.hex(),
        }
    ).encode()
    sets = {}
    for chosen in itertools.combinations(sorted(recipients), threshold):
        sealed = inner
        for each in reversed(chosen):  # the first of the set opens the outermost layer
            sealed = pyrage.encrypt(sealed, [recipients[each]])
        sets[_set_name(chosen)] = base64.b64encode(sealed).decode("ascii")
    package = {
        "format": FORMAT,
        "municipality_code": municipality_code,
        "town_key_version": version,
        "created_at": at.astimezone(clock.JST).isoformat(),
        "threshold": threshold,
        "custodians": sorted(recipients),
        "sets": sets,
    }
    return json.dumps(package, ensure_ascii=False, indent=1).encode() + b"\n"


def _set_name(chosen: Sequence[str]) -> str:
    return "+".join(chosen)
