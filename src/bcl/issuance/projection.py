"""Turning rows of the feed into issuable records: which row counts, under which keys it is found.

Pure apart from the town's keys. The writing is in `actions/refresh.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bcl.foundation import crypto
from bcl.issuance import subscription
from bcl.issuance.digests import BlindKeys
from bcl.issuance.rules import MEASURE_ENDED, USER_AUTH_KINDS, BlockScope

_TABLE = "issuance_issuablerecord"


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """One issuable record ready to write."""

    file_id: str
    record_key: bytes
    person_key: bytes | None
    household_key: bytes | None
    lookup_key: bytes | None
    content: bytes


def place_of(file_id: str, record_key: bytes, load_number: int) -> bytes:
    """Name the place a content is sealed for: file, record and version."""
    return f"{file_id}/{load_number}/".encode() + record_key


def counts(file_id: str, columns: Mapping[str, str]) -> bool:
    """Tell whether a row belongs into the projection.

    Histories don't; a protective measure does until its ending arrives (its end date alone never
    lifts it: the extension may be late, domain 3.4); a signature cert never does (D25).
    """
    if columns.get("deleted") == "1":
        return False
    if file_id in subscription.WITH_HISTORY and columns.get("latest") != "1":
        return False
    if file_id == subscription.MEASURES:
        return columns.get("measure_kind") != MEASURE_ENDED
    if file_id == subscription.CARD_LINKS:
        return columns.get("digital_certificate_kind") in USER_AUTH_KINDS
    return True


def make_row(
    municipality_code: str,
    blind: BlindKeys,
    file_id: str,
    record_key: bytes,
    *,
    columns: Mapping[str, str | None],
    load_number: int,
) -> Row | None:
    """Make the record of one row of the feed; None when the row doesn't count."""
    filled = {name: value for name, value in columns.items() if value}
    if not counts(file_id, filled):
        return None
    clear = json.dumps(filled, ensure_ascii=False, separators=(",", ":")).encode()
    content = crypto.seal_cell(
        municipality_code, _TABLE, "content", place_of(file_id, record_key, load_number), clear
    )
    person, household, lookup = _keys(blind, file_id, filled)
    return Row(file_id, record_key, person, household, lookup, content)


def open_row(
    municipality_code: str, file_id: str, record_key: bytes, load_number: int, content: bytes
) -> dict[str, str]:
    """Open one record's columns. Raises `SealFault` when it was altered or moved."""
    place = place_of(file_id, bytes(record_key), load_number)
    clear = crypto.open_cell(municipality_code, _TABLE, "content", place, bytes(content))
    columns: dict[str, str] = json.loads(clear)
    return columns


def _keys(
    blind: BlindKeys, file_id: str, columns: Mapping[str, str]
) -> tuple[bytes | None, bytes | None, bytes | None]:
    addressee, household = columns.get("addressee_number"), columns.get("household_number")
    person_key = blind.person(addressee) if addressee else None
    household_key = blind.household(household) if household else None
    if file_id == subscription.CARD_LINKS:
        card = blind.card(columns.get("issuer_key", ""), columns.get("serial_number", ""))
        return person_key, None, card
    if file_id == subscription.SEAL_IMAGES:
        return None, None, blind.seal(columns.get("seal_registration_number", ""))
    if file_id in subscription.TAXES:
        return person_key, None, blind.tax_year(addressee or "", columns.get("tax_year", ""))
    if file_id == subscription.BLOCKS:
        return _keys_of_block(blind, columns, person_key, household_key)
    return person_key, household_key, None


def _keys_of_block(
    blind: BlindKeys,
    columns: Mapping[str, str],
    person_key: bytes | None,
    household_key: bytes | None,
) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Only the key that the block is about: a block on a person is none on the household."""
    seal = columns.get("seal_registration_number", "")
    everybody = (None, None, blind.municipality())
    return {
        BlockScope.PERSON.value: (person_key, None, None),
        BlockScope.HOUSEHOLD.value: (None, household_key, None),
        BlockScope.SEAL.value: (None, None, blind.seal(seal)),
        # A block on a tax year is one person's when it names one, else everybody's.
        BlockScope.TAX_YEAR.value: (person_key, None, None) if person_key else everybody,
        BlockScope.MUNICIPALITY.value: everybody,
    }.get(columns.get("block_scope", ""), (None, None, None))
