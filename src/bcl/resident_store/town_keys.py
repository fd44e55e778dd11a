"""The keys of one municipality as the store needs them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from bcl.foundation import keys
from bcl.foundation.keys import KeyPurpose
from bcl.resident_store.blind_keys import BlindKeys


def blind_keys(municipality_code: str) -> BlindKeys:
    """Keyed digests of a municipality. Raises `keys.KeyFault` when it has no keys."""
    return BlindKeys(
        identity=keys.data_key(municipality_code, KeyPurpose.IDENTITY).secret,
        search=keys.data_key(municipality_code, KeyPurpose.SEARCH).secret,
    )


def search_keys(municipality_code: str) -> BlindKeys:
    """`blind_keys` for single searches: made once per pair of secrets, holds no value."""
    return _kept(
        keys.data_key(municipality_code, KeyPurpose.IDENTITY).secret,
        keys.data_key(municipality_code, KeyPurpose.SEARCH).secret,
    )


@lru_cache(maxsize=32)
def _kept(identity: bytes, search: bytes) -> BlindKeys:
    return BlindKeys(identity=identity, search=search)


def page_secrets(municipality_code: str) -> Callable[[int], bytes]:
    """A function from key version to the secret that opens pages."""

    def secret(version: int) -> bytes:
        return keys.data_key_version(municipality_code, KeyPurpose.PAGES, version).secret

    return secret
