"""Blind keys of persons, households and cards: equal within one town, meaningless outside.

Made with the town's search key, which changes only with a rebuild of the projection. Each kind
of key has its own domain, so a household number can never be found as an addressee number.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bcl.foundation import keys
from bcl.foundation.keys import KeyPurpose

_BYTES = 16
# Blocks on a whole municipality are found under this word.
MUNICIPALITY_WORD = b"municipality"


@dataclass(frozen=True, slots=True, repr=False)
class BlindKeys:
    """The keyed digest functions of one town, with the key fetched once."""

    secret: bytes

    @classmethod
    def of(cls, municipality_code: str) -> BlindKeys:
        """Fetch the town's search key. Raises `KeyFault` when the town has none."""
        return cls(keys.data_key(municipality_code, KeyPurpose.SEARCH).secret)

    def person(self, addressee_number: str) -> bytes:
        """Digest an addressee number."""
        return self._digest(addressee_number.encode(), b"bcl-iss-person")

    def household(self, household_number: str) -> bytes:
        """Digest a household number."""
        return self._digest(household_number.encode(), b"bcl-iss-house")

    def card(self, issuer_key: str, serial_number: str) -> bytes:
        """Digest the two parts that name a user-authentication certificate."""
        return self._digest(f"{issuer_key}\x00{serial_number}".encode(), b"bcl-iss-card")

    def seal(self, seal_registration_number: str) -> bytes:
        """Digest a seal registration number."""
        return self._digest(seal_registration_number.encode(), b"bcl-iss-seal")

    def tax_year(self, addressee_number: str, tax_year: str) -> bytes:
        """Digest one person's tax year."""
        return self._digest(f"{addressee_number}\x00{tax_year}".encode(), b"bcl-iss-tax")

    def municipality(self) -> bytes:
        """The key under which blocks on the whole town stand."""
        return self._digest(MUNICIPALITY_WORD, b"bcl-iss-town")

    def _digest(self, content: bytes, domain: bytes) -> bytes:
        return hashlib.blake2b(content, digest_size=_BYTES, key=self.secret, person=domain).digest()
