"""Who is under a protective measure (支援措置), as blind keys, for screens that show places.

A counterparty (相手方) is not protected by the measure. The household of a protected person is
protected as a whole: an address of one is the address of all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bcl.resident_store import database, queries
from bcl.resident_store.models import Page
from bcl.resident_store.pages import LATEST, PAGE_ROWS, live_slots, unpack_slots
from bcl_contract.linkage.layouts import Column

_MEASURES, _RESIDENTS = "J04", "J01"
_ENDED, _COUNTERPARTY = "3", "3"
# Whatever may say where somebody lives, lived, will live or can be reached. Free text may hold an
# address too, and so may what a change of a record was from and to.
_PLACE = re.compile(
    "(^|_)town|address(?!ee)|domicile|destination|location|place_of|evacuation_|telephone|contact|"
    "_lot|_building|postal|overseas|ward_code|district_code|_municipality|household_members|"
    "property|additional_entry|remarks|values_"
)


@dataclass(frozen=True)
class Protected:
    """Blind keys of persons and households under a measure now."""

    persons: frozenset[int] = frozenset()
    households: frozenset[int] = frozenset()

    def covers(self, person_key: int, household_key: int) -> bool:
        """Whether what tells where this person lives is to be held back."""
        return person_key in self.persons or household_key in self.households


def tells_a_place(column: Column) -> bool:
    """Whether a column's value may say where somebody lives, lived or will live."""
    return _PLACE.search(column.name) is not None


def protected_keys(municipality_code: str) -> Protected:
    """Everybody under a measure, whatever state a screen shows: protection is of today."""
    with database.town_scope(municipality_code):
        return _protected_after(municipality_code, database.newest_load(municipality_code))


@lru_cache(maxsize=64)
def _protected_after(municipality_code: str, load_number: int) -> Protected:
    """Kept for the newest loads of each town: a load may change it, nothing else does."""
    found = _measured_records(municipality_code)
    values = queries.read_records(
        municipality_code, list(found), columns=["deleted", "measure_kind", "measure_target_kind"]
    )
    persons = {
        person
        for record_id, person in found.items()
        if values[record_id]["deleted"] != "1"
        and values[record_id]["measure_kind"] != _ENDED
        and values[record_id]["measure_target_kind"] != _COUNTERPARTY
    }
    households = {
        version.household_key
        for person in persons
        for version in queries.find_by_key(municipality_code, person, file_ids=[_RESIDENTS])
        if version.latest and version.household_key
    }
    return Protected(frozenset(persons), frozenset(households))


def _measured_records(municipality_code: str) -> dict[int, int]:
    """Latest live records of measures: record id -> person key."""
    found: dict[int, int] = {}
    pages = Page.objects.filter(municipality_code=municipality_code, file_id=_MEASURES)
    for page_id, rows, live, packed in pages.values_list("id", "rows", "live", "slots"):
        slots = unpack_slots([bytes(packed)], [rows])
        wanted = live_slots(bytes(live), rows) & ((slots.flags & LATEST) != 0)
        for slot in np.flatnonzero(wanted).tolist():
            found[page_id * PAGE_ROWS + slot] = int(slots.persons[slot])
    return found


@lru_cache(maxsize=8)
def household_members(
    municipality_code: str, load_number: int, protected: Protected
) -> frozenset[int]:
    """Person keys of everybody in a protected household after the newest load.

    Many files carry the person and not the household. Needs the town's open scope.
    """
    return frozenset(
        version.person_key
        for household in protected.households
        for version in queries.find_by_key(municipality_code, household, file_ids=[_RESIDENTS])
        if version.latest
    )
