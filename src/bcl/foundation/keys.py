"""The key hierarchy: provider key > town key > data keys by purpose (D13).

    with tenancy.scope("999997"):
        key = keys.data_key("999997", KeyPurpose.PAGES)       # current version, for sealing
        old = keys.data_key_version("999997", KeyPurpose.PAGES, 1)   # for opening

Every key is random, 32 bytes, belongs to one municipality and one purpose, and lies in the
database only wrapped, bound to municipality, purpose and version: a wrapped key copied to another
row doesn't open. Destroying a town's key makes everything of that town unreadable (R-027).
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.db import transaction

from bcl.foundation import clock, tenancy
from bcl.foundation.key_provider import (
    FileKeyProvider,
    KeyFault,
    KeyProvider,
    open_key,
    seal_key,
)
from bcl.foundation.models import DataKey as DataKeyRow
from bcl.foundation.models import TownKey

__all__ = [
    "DataKey",
    "KeyFault",
    "KeyPurpose",
    "create_town_keys",
    "data_key",
    "data_key_version",
    "destroy_town_keys",
    "provider",
    "rotate_data_key",
    "rotate_town_key",
]

_KEY_BYTES = 32
# Another process may rotate a key: how long this one may go on sealing with the version it knows.
_CURRENT_VERSION_SECONDS = 5.0


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


@lru_cache(maxsize=4)
def _file_provider(path: Path) -> FileKeyProvider:
    return FileKeyProvider.create(path)


def provider() -> KeyProvider:
    """The provider of the topmost key for this process (a file, until PKCS#11 is configured)."""
    return _file_provider(settings.BCL.key_file)


# -- using keys ---------------------------------------------------------------------------------


def data_key(municipality_code: str, purpose: KeyPurpose) -> DataKey:
    """Current key of a municipality and purpose, to seal new data with.

    Opens the town's scope by itself if none is open. Raises `KeyFault` when the town has no keys
    or they were destroyed.
    """
    version = _cache.current_version(municipality_code, purpose)
    if version is None:
        with tenancy.scope(municipality_code):
            row = _rows(municipality_code, purpose).order_by("-version").first()
            if row is None:
                raise KeyFault("this municipality has no key for this purpose")
            version = row.version
            _cache.remember_current(municipality_code, purpose, version)
    return data_key_version(municipality_code, purpose, version)


def data_key_version(municipality_code: str, purpose: KeyPurpose, version: int) -> DataKey:
    """A certain version of a key, to open data sealed with it. Raises `KeyFault`."""
    secret = _cache.secret(municipality_code, purpose, version)
    if secret is None:
        with tenancy.scope(municipality_code):
            row = _rows(municipality_code, purpose).filter(version=version).first()
            if row is None:
                raise KeyFault("this version of the key does not exist")
            town_key = _open_town_key(municipality_code, row.town_key_version)
            secret = open_key(
                town_key,
                bytes(row.wrapped_key),
                context=_context(municipality_code, purpose, version),
            )
            _cache.remember_secret(municipality_code, purpose, version, secret)
    return DataKey(version, secret)


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
            town_row = _add_town_key(municipality_code, version=1, at=at)
        town_key = _open_town_key(municipality_code, town_row.version)
        present = set(
            DataKeyRow.objects.filter(municipality_code=municipality_code).values_list(
                "purpose", flat=True
            )
        )
        for purpose in KeyPurpose:
            if purpose.value not in present:
                _add_data_key(
                    municipality_code, purpose, 1, under=(town_row.version, town_key), at=at
                )


def rotate_data_key(
    municipality_code: str, purpose: KeyPurpose, *, at: datetime | None = None
) -> int:
    """Add a new version of a data key and return its number; old versions go on opening.

    Whoever owns the sealed data re-seals it in the background. SEARCH and IDENTITY keys can't be
    rotated alone: digests made with them are compared, not opened (raises `KeyFault`).
    """
    if purpose in (KeyPurpose.SEARCH, KeyPurpose.IDENTITY):
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


def rotate_town_key(municipality_code: str, *, at: datetime | None = None) -> int:
    """Replace the town key (or its wrapping, after the provider's key changed).

    Re-wraps every data key; the data keys themselves and all sealed data stay as they are.
    """
    at = at or clock.now()
    with tenancy.scope(municipality_code):
        _forget_when_done(municipality_code)
        old_row = _current_town_key_row(municipality_code, lock=True)
        if old_row is None:
            raise KeyFault("this municipality has no key")
        new_row = _add_town_key(municipality_code, version=old_row.version + 1, at=at)
        new_key = _open_town_key(municipality_code, new_row.version)
        for row in DataKeyRow.objects.filter(municipality_code=municipality_code):
            context = _context(municipality_code, KeyPurpose(row.purpose), row.version)
            clear = open_key(
                _open_town_key(municipality_code, row.town_key_version),
                bytes(row.wrapped_key),
                context=context,
            )
            row.wrapped_key = seal_key(new_key, clear, context=context)
            row.town_key_version = new_row.version
            row.save(update_fields=["wrapped_key", "town_key_version"])
        _destroy(municipality_code, below=new_row.version, at=at)
        return new_row.version


def destroy_town_keys(municipality_code: str, *, at: datetime | None = None) -> None:
    """Destroy the town's keys for good: nothing sealed for it can be read any more (R-027)."""
    with tenancy.scope(municipality_code):
        _forget_when_done(municipality_code)
        _destroy(municipality_code, below=None, at=at or clock.now())


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


def _add_town_key(municipality_code: str, *, version: int, at: datetime) -> TownKey:
    wrapped = provider().wrap(
        secrets.token_bytes(_KEY_BYTES), context=_context(municipality_code, None, version)
    )
    return TownKey.objects.create(
        municipality_code=municipality_code,
        version=version,
        wrapped_key=wrapped,
        provider_key_id=provider().key_id,
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
    row = TownKey.objects.filter(municipality_code=municipality_code, version=version).first()
    if row is None or row.wrapped_key is None:
        raise KeyFault("the key of this municipality is missing or destroyed")
    return provider().unwrap(
        bytes(row.wrapped_key), context=_context(municipality_code, None, version)
    )


def _destroy(municipality_code: str, *, below: int | None, at: datetime) -> None:
    rows = TownKey.objects.filter(municipality_code=municipality_code, destroyed_at=None)
    if below is not None:
        rows = rows.filter(version__lt=below)
    rows.update(wrapped_key=None, destroyed_at=at)


def _context(municipality_code: str, purpose: KeyPurpose | None, version: int) -> bytes:
    level = "town key" if purpose is None else f"data key {purpose.value}"
    return f"bcl {municipality_code} {level} {version}".encode()


class _KeyCache:
    """Clear keys of this process. Keys made in an open transaction are never held: it may yet
    roll back, and a phantom key would seal data that nothing can open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: dict[tuple[str, str, int], bytes] = {}
        self._current: dict[tuple[str, str], tuple[int, float]] = {}
        self._unsettled: set[str] = set()

    def current_version(self, code: str, purpose: KeyPurpose) -> int | None:
        version, until = self._current.get((code, purpose.value), (None, 0.0))
        return version if time.monotonic() < until else None

    def remember_current(self, code: str, purpose: KeyPurpose, version: int) -> None:
        with self._lock:
            if code not in self._unsettled:
                until = time.monotonic() + _CURRENT_VERSION_SECONDS
                self._current[code, purpose.value] = version, until

    def secret(self, code: str, purpose: KeyPurpose, version: int) -> bytes | None:
        return self._secrets.get((code, purpose.value, version))

    def remember_secret(self, code: str, purpose: KeyPurpose, version: int, secret: bytes) -> None:
        with self._lock:
            if code not in self._unsettled:
                self._secrets[code, purpose.value, version] = secret

    def unsettle(self, code: str) -> None:
        with self._lock:
            self._unsettled.add(code)
            self._forget(code)

    def settle(self, code: str) -> None:
        with self._lock:
            self._unsettled.discard(code)
            self._forget(code)

    def clear(self) -> None:
        with self._lock:
            self._secrets.clear()
            self._current.clear()

    def _forget(self, code: str) -> None:
        self._secrets = {k: v for k, v in self._secrets.items() if k[0] != code}
        self._current = {k: v for k, v in self._current.items() if k[0] != code}


_cache = _KeyCache()


def _forget_when_done(municipality_code: str) -> None:
    _cache.unsettle(municipality_code)
    # After a rollback the town stays unsettled: slower until the next change, never wrong.
    transaction.on_commit(lambda: _cache.settle(municipality_code))
