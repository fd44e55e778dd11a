"""The key hierarchy: provider's key of a town > town key > data keys by purpose (D13).

    with tenancy.scope("999997"):
        key = keys.data_key("999997", KeyPurpose.PAGES)       # current version, for sealing
        old = keys.data_key_version("999997", KeyPurpose.PAGES, 1)   # for opening

Every key is random, 32 bytes, belongs to one municipality and one purpose, and lies in the
database only wrapped, bound to municipality, purpose and version: a wrapped key copied to another
row doesn't open. The topmost key of a town (KEK) lies with the provider (`key_provider`);
destroying it makes everything of that town unreadable, in backups too (R-027).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction

from bcl.foundation import clock, tenancy
from bcl.foundation.key_cache import KeyCache
from bcl.foundation.key_provider import (
    KeyErased,
    KeyFault,
    KeyLost,
    KeyProvider,
    KeyProviderAway,
    Token,
    open_key,
    owner_of,
    seal_key,
)
from bcl.foundation.key_provider_file import FileKeyProvider
from bcl.foundation.models import DataKey as DataKeyRow
from bcl.foundation.models import TownKey

if TYPE_CHECKING:
    from bcl.foundation.key_provider_pkcs11 import Pkcs11KeyProvider

__all__ = [
    "DataKey",
    "KeyErased",
    "KeyFault",
    "KeyLost",
    "KeyProviderAway",
    "KeyPurpose",
    "create_town_keys",
    "data_key",
    "data_key_version",
    "destroy_data_key_version",
    "destroy_keks",
    "destroy_town_keys",
    "forget_cached_keys",
    "is_erased",
    "provider",
    "provider_of",
    "restore_town_key",
    "rotate_data_key",
    "rotate_town_key",
    "town_key_for_escrow",
    "using_town_key",
]

_KEY_BYTES = 32
FIXED_PURPOSES = frozenset({"SEARCH", "IDENTITY"})
"""Purposes whose digests are compared, not opened: they change only with a rebuild (D4)."""


class KeyPurpose(StrEnum):
    """What a data key is for. Search and identity keys change only with a rebuild (D4)."""

    PAGES = "PAGES"
    SEARCH = "SEARCH"
    IDENTITY = "IDENTITY"
    CELLS = "CELLS"
    SEAL_IMAGES = "SEAL_IMAGES"
    INDIVIDUAL_NUMBERS = "INDIVIDUAL_NUMBERS"
    RECEIVE = "RECEIVE"


@dataclass(frozen=True)
class DataKey:
    """A data key ready for use: version (1…) and 32 secret bytes, which `repr` doesn't show."""

    version: int
    secret: bytes

    def __repr__(self) -> str:
        return f"DataKey(version={self.version})"


# -- providers ----------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _file_provider(path: Path) -> FileKeyProvider:
    return FileKeyProvider.create(path)


@lru_cache(maxsize=4)
def _token_provider(token: Token) -> Pkcs11KeyProvider:
    # Imported late: most commands need no token, and the module loads a native library.
    from bcl.foundation.key_provider_pkcs11 import Pkcs11KeyProvider

    return Pkcs11KeyProvider(token)


def provider() -> KeyProvider:
    """The provider that new topmost keys are made in, by setting (BCL_KEY_PROVIDER)."""
    if settings.BCL.key_provider == "pkcs11":
        return _token_provider(settings.BCL.key_token)
    return _file_provider(settings.BCL.key_file)


def provider_of(kek_id: str) -> KeyProvider:
    """The provider that holds a KEK, by its id: towns may be on their way from one to the other."""
    if kek_id.startswith("pkcs11-"):
        if settings.BCL.key_token is None:
            raise KeyProviderAway("この団体の鍵がある鍵装置（PKCS#11）が設定されていません。")
        return _token_provider(settings.BCL.key_token)
    if not settings.BCL.key_file.exists():
        raise KeyProviderAway(f"鍵ファイル {settings.BCL.key_file} がありません。")
    return _file_provider(settings.BCL.key_file)


# -- using keys ---------------------------------------------------------------------------------


def data_key(municipality_code: str, purpose: KeyPurpose) -> DataKey:
    """Current key of a municipality and purpose, to seal new data with.

    Opens the town's scope by itself if none is open. Raises `KeyFault` when the town has no keys
    or they were destroyed.
    """
    version = _cache.current_version(municipality_code, purpose.value)
    if version is None:
        with tenancy.scope(municipality_code):
            row = _rows(municipality_code, purpose).order_by("-version").first()
            if row is None:
                raise KeyFault("this municipality has no key for this purpose")
            version = row.version
            _cache.remember_current(municipality_code, purpose.value, version)
    return data_key_version(municipality_code, purpose, version)


def data_key_version(municipality_code: str, purpose: KeyPurpose, version: int) -> DataKey:
    """A certain version of a key, to open data sealed with it. Raises `KeyFault`."""
    secret = _cache.secret(municipality_code, purpose.value, version)
    if secret is None and _cache.holds(municipality_code):
        _confirm_cache(municipality_code)
        secret = _cache.secret(municipality_code, purpose.value, version)
    if secret is None:
        with tenancy.scope(municipality_code):
            row = _rows(municipality_code, purpose).filter(version=version).first()
            if row is None:
                raise KeyFault("this version of the key does not exist")
            secret = _clear_data_key(row)
            _cache.remember_secret(municipality_code, purpose.value, version, secret)
    return DataKey(version, secret)


def _confirm_cache(municipality_code: str) -> None:
    """Ask the database which of the town's keys still exist, once every few seconds."""
    with tenancy.scope(municipality_code):
        town_keys = set(
            TownKey.objects.filter(
                municipality_code=municipality_code, destroyed_at=None
            ).values_list("version", flat=True)
        )
        alive = {
            (purpose, version)
            for purpose, version, under in DataKeyRow.objects.filter(
                municipality_code=municipality_code, destroyed_at=None
            ).values_list("purpose", "version", "town_key_version")
            if under in town_keys
        }
    _cache.confirm(municipality_code, alive)


# -- making, rotating, destroying ---------------------------------------------------------------


def create_town_keys(municipality_code: str, *, at: datetime | None = None) -> None:
    """Make the town key and version 1 of every data key, in the caller's transaction.

    Does nothing for purposes that have a key already, so it may run again after new purposes.
    """
    at = at or clock.now()
    with tenancy.scope(municipality_code):
        _forget_when_done(municipality_code)
        town_row = _current_town_key_row(municipality_code)
        if town_row is None:
            earlier = TownKey.objects.filter(municipality_code=municipality_code)
            last = earlier.order_by("-version").first()  # of a town that left and comes back
            town_row = _add_town_key(
                municipality_code,
                last.version + 1 if last else 1,
                kek_id=provider().create_kek(municipality_code),
                at=at,
            )
        town_key = _open_town_key(municipality_code, town_row.version)
        rows = DataKeyRow.objects.filter(municipality_code=municipality_code)
        present = set(rows.filter(destroyed_at=None).values_list("purpose", flat=True))
        for purpose in KeyPurpose:
            if purpose.value not in present:
                last_row = rows.filter(purpose=purpose.value).order_by("-version").first()
                _add_data_key(
                    municipality_code,
                    purpose,
                    last_row.version + 1 if last_row else 1,
                    under=(town_row.version, town_key),
                    at=at,
                )


def rotate_data_key(
    municipality_code: str, purpose: KeyPurpose, *, at: datetime | None = None
) -> int:
    """Add a new version of a data key and return its number; old versions go on opening.

    Whoever owns the sealed data re-seals it in the background. SEARCH and IDENTITY keys can't be
    rotated alone: digests made with them are compared, not opened (raises `KeyFault`).
    """
    if purpose.value in FIXED_PURPOSES:
        raise KeyFault("search and identity keys change only with a rebuild")
    with tenancy.scope(municipality_code):
        _forget_when_done(municipality_code)
        town_row = _current_town_key_row(municipality_code, lock=True)
        if town_row is None:
            raise KeyFault("this municipality has no key")
        last = _rows(municipality_code, purpose).order_by("-version").first()
        version = (last.version if last else 0) + 1
        town_key = _open_town_key(municipality_code, town_row.version)
        _add_data_key(
            municipality_code,
            purpose,
            version,
            under=(town_row.version, town_key),
            at=at or clock.now(),
        )
        return version


def rotate_town_key(
    municipality_code: str, *, new_kek: bool = False, at: datetime | None = None
) -> int:
    """Replace the town key and re-wrap every data key; sealed data stays as it is.

    The KEK in the provider stays, so that backups of yesterday still open; `new_kek` makes a new
    one in the provider of the settings (moving from file to token). A KEK of another provider, or
    the shared key of the first version, is always left behind. Gives the new version.
    """
    with tenancy.scope(municipality_code):
        old_row = _current_town_key_row(municipality_code, lock=True)
        if old_row is None:
            raise KeyFault("this municipality has no key")
        keep = (
            not new_kek
            and owner_of(old_row.provider_key_id) == municipality_code
            and provider_of(old_row.provider_key_id) is provider()
        )
        kek_id = old_row.provider_key_id if keep else provider().create_kek(municipality_code)
        return _replace_town_key(municipality_code, old_row, kek_id=kek_id, at=at or clock.now())


def restore_town_key(
    municipality_code: str, version: int, secret: bytes, *, at: datetime | None = None
) -> int:
    """Put a town key from escrow to use when the provider lost its KEK: a new town key under a
    new KEK, every data key re-wrapped. Raises `KeyFault` when `secret` isn't the town's key."""
    with tenancy.scope(municipality_code), using_town_key(municipality_code, version, secret):
        old_row = _current_town_key_row(municipality_code, lock=True)
        if old_row is None or old_row.version != version:
            raise KeyFault("the escrow is of another version of the town key")
        kek_id = provider().create_kek(municipality_code)
        return _replace_town_key(municipality_code, old_row, kek_id=kek_id, at=at or clock.now())


@contextmanager
def using_town_key(municipality_code: str, version: int, secret: bytes) -> Iterator[None]:
    """Read a town's data in this process with its key from escrow, without the provider (R-033).

    Everything that opens or seals inside works as usual. Nothing is written about it; nesting
    and other towns are not affected. Forgets what it learned at the end.
    """
    place = (municipality_code, version)
    _from_escrow[place] = secret
    _cache.forget(municipality_code)
    try:
        yield
    finally:
        _from_escrow.pop(place, None)
        _cache.forget(municipality_code)


def town_key_for_escrow(municipality_code: str) -> tuple[int, bytes]:
    """The current town key in clear (version, 32 bytes), for `foundation.escrow` only."""
    with tenancy.scope(municipality_code):
        row = _current_town_key_row(municipality_code)
        if row is None:
            raise KeyFault("this municipality has no key")
        return row.version, _open_town_key(municipality_code, row.version)


def destroy_data_key_version(
    municipality_code: str, purpose: KeyPurpose, version: int, *, at: datetime | None = None
) -> None:
    """Destroy an old version that nothing is sealed with any more (the caller has counted).

    Raises `KeyFault` for the current version.
    """
    with tenancy.scope(municipality_code):
        _forget_when_done(municipality_code)
        rows = _rows(municipality_code, purpose).select_for_update(of=("self",), no_key=True)
        last = rows.order_by("-version").first()
        if last is None or version >= last.version:
            raise KeyFault("the current version of a key is not destroyed alone")
        rows.filter(version=version, destroyed_at=None).update(
            wrapped_key=None, destroyed_at=at or clock.now()
        )


def destroy_town_keys(municipality_code: str, *, at: datetime | None = None) -> list[str]:
    """Destroy the town's wrapped keys in the database for good (R-027); gives the ids of all KEKs
    that ever wrapped them. `destroy_keks` makes backups unreadable as well."""
    at = at or clock.now()
    with tenancy.scope(municipality_code):
        _forget_when_done(municipality_code)
        _destroy(municipality_code, below=None, at=at)
        DataKeyRow.objects.filter(municipality_code=municipality_code, destroyed_at=None).update(
            wrapped_key=None, destroyed_at=at
        )
        return sorted(
            set(
                TownKey.objects.filter(municipality_code=municipality_code).values_list(
                    "provider_key_id", flat=True
                )
            )
        )


def destroy_keks(municipality_code: str, kek_ids: list[str]) -> dict[str, str]:
    """Destroy a town's KEKs in their providers; may run again. By id: `destroyed`, `absent`
    (was not there any more), or `shared` (the first version's key of all towns: not touched)."""
    outcome = {}
    for kek_id in kek_ids:
        if owner_of(kek_id) != municipality_code:
            outcome[kek_id] = "shared"
            continue
        outcome[kek_id] = "destroyed" if provider_of(kek_id).destroy_kek(kek_id) else "absent"
    return outcome


def is_erased(municipality_code: str) -> bool:
    """Whether the town had keys and all of them are destroyed."""
    with tenancy.scope(municipality_code):
        rows = TownKey.objects.filter(municipality_code=municipality_code)
        return rows.exists() and not rows.filter(destroyed_at=None).exists()


def forget_cached_keys() -> None:
    """Drop the keys this process holds in memory (tests, and after an erasure elsewhere)."""
    _cache.clear()


# -- inside -------------------------------------------------------------------------------------


def _rows(municipality_code: str, purpose: KeyPurpose):  # noqa: ANN202 - a QuerySet
    return DataKeyRow.objects.filter(
        municipality_code=municipality_code, purpose=KeyPurpose(purpose).value
    )


def _current_town_key_row(municipality_code: str, *, lock: bool = False) -> TownKey | None:
    rows = TownKey.objects.filter(municipality_code=municipality_code, destroyed_at=None)
    if lock:
        rows = rows.select_for_update(of=("self",), no_key=True)
    return rows.order_by("-version").first()


def _replace_town_key(
    municipality_code: str, old_row: TownKey, *, kek_id: str, at: datetime
) -> int:
    """A new town key under this KEK; every data key re-wrapped; the old town key destroyed."""
    _forget_when_done(municipality_code)
    new_row = _add_town_key(municipality_code, old_row.version + 1, kek_id=kek_id, at=at)
    new_key = _open_town_key(municipality_code, new_row.version)
    for row in DataKeyRow.objects.filter(municipality_code=municipality_code, destroyed_at=None):
        clear = _clear_data_key(row)
        context = _context(municipality_code, KeyPurpose(row.purpose), row.version)
        row.wrapped_key = seal_key(new_key, clear, context=context)
        row.town_key_version = new_row.version
        row.save(update_fields=["wrapped_key", "town_key_version"])
    _destroy(municipality_code, below=new_row.version, at=at)
    return new_row.version


def _add_town_key(
    municipality_code: str, version: int, *, kek_id: str, at: datetime
) -> TownKey:
    wrapped = provider_of(kek_id).wrap(
        kek_id,
        secrets.token_bytes(_KEY_BYTES),
        context=_context(municipality_code, None, version),
    )
    return TownKey.objects.create(
        municipality_code=municipality_code,
        version=version,
        wrapped_key=wrapped,
        provider_key_id=kek_id,
        created_at=at,
    )


def _add_data_key(
    municipality_code: str,
    purpose: KeyPurpose,
    version: int,
    *,
    under: tuple[int, bytes],
    at: datetime,
) -> None:
    """Make a data key, wrapped `under` the town key of this version and content."""
    town_key_version, town_key = under
    wrapped = seal_key(
        town_key,
        secrets.token_bytes(_KEY_BYTES),
        context=_context(municipality_code, purpose, version),
    )
    DataKeyRow.objects.create(
        municipality_code=municipality_code,
        purpose=purpose.value,
        version=version,
        town_key_version=town_key_version,
        wrapped_key=wrapped,
        created_at=at,
    )


def _open_town_key(municipality_code: str, version: int) -> bytes:
    if (secret := _from_escrow.get((municipality_code, version))) is not None:
        return secret
    row = TownKey.objects.filter(municipality_code=municipality_code, version=version).first()
    if row is None:
        raise KeyFault("the key of this municipality is missing")
    if row.wrapped_key is None:
        raise KeyErased("the key of this municipality is destroyed")
    return provider_of(row.provider_key_id).unwrap(
        row.provider_key_id,
        bytes(row.wrapped_key),
        context=_context(municipality_code, None, version),
    )


def _clear_data_key(row: DataKeyRow) -> bytes:
    if row.wrapped_key is None:
        if _current_town_key_row(row.municipality_code) is None:
            raise KeyErased("the key of this municipality is destroyed")
        raise KeyFault("this version of the key is destroyed")
    return open_key(
        _open_town_key(row.municipality_code, row.town_key_version),
        bytes(row.wrapped_key),
        context=_context(row.municipality_code, KeyPurpose(row.purpose), row.version),
    )


def _destroy(municipality_code: str, *, below: int | None, at: datetime) -> None:
    rows = TownKey.objects.filter(municipality_code=municipality_code, destroyed_at=None)
    if below is not None:
        rows = rows.filter(version__lt=below)
    rows.update(wrapped_key=None, destroyed_at=at)


def _context(municipality_code: str, purpose: KeyPurpose | None, version: int) -> bytes:
    level = "town key" if purpose is None else f"data key {purpose.value}"
    return f"bcl {municipality_code} {level} {version}".encode()


_cache = KeyCache()
_from_escrow: dict[tuple[str, int], bytes] = {}


def _forget_when_done(municipality_code: str) -> None:
    _cache.unsettle(municipality_code)
    # After a rollback the town stays unsettled: slower until the next change, never wrong.
    transaction.on_commit(lambda: _cache.settle(municipality_code))
