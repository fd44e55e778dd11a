"""A list of residents to be taken out: found like on the pages, places of the protected held back.

Who calls this has a purpose, a second person's consent and the record of everybody handed out;
this module only reads. Protection is of today, whatever state is listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bcl.resident_store import database, queries
from bcl.resident_store.disclosure import HIDDEN_PLACE
from bcl.resident_store.person_search import search_persons
from bcl.resident_store.protection import protected_keys
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.refusals import Refusal

_RESIDENTS = "J01"
_ADDRESS = (
    "address_municipality_name", "address_town", "address_lot_as_written", "address_building",
)  # fmt: skip
_READ = (
    "addressee_number", "household_number", "full_name", "full_name_kana", "born_on", "sex",
    "resident_state", *_ADDRESS,
)  # fmt: skip
_CODED = ("sex", "resident_state")


@dataclass(frozen=True)
class ListedResident:
    """One resident of a list; `values` by column, codes in words, `address` in one piece."""

    addressee_number: str = field(repr=False)
    values: Mapping[str, str] = field(repr=False)


def list_residents(
    municipality_code: str, wanted: Mapping[str, str], *, as_of: int, limit: int
) -> tuple[list[ListedResident], bool] | Refusal:
    """Residents after load `as_of` who fit everything wanted (keywords of `search_persons`), by
    number, and whether there are more than `limit`.

    Nobody under a protective measure is found by an address: being listed would say where.
    """
    with database.town_scope(municipality_code):
        found = search_persons(
            municipality_code, **wanted, as_of=as_of, file_ids=[_RESIDENTS], columns=_READ,
            limit=limit,
        )  # type: ignore[arg-type]
        if isinstance(found, Refusal):
            return found
        ids = [hit.record_id for hit in found.hits]
        versions = {
            each.id: each for each in queries.versions_of(municipality_code, ids, as_of=as_of)
        }
        protected = protected_keys(municipality_code)
    listed = []
    for hit in found.hits:
        version = versions[hit.record_id]
        is_protected = protected.covers(version.person_key, version.household_key)
        if not (is_protected and "address" in wanted):
            listed.append(_listed(hit.values, is_protected=is_protected))
    return sorted(listed, key=lambda one: one.addressee_number), found.more


def _listed(found: Mapping[str, str | None], *, is_protected: bool) -> ListedResident:
    lists = load_interface().code_lists
    values = {name: found[name] or "" for name in _READ if name not in _ADDRESS}
    for name in _CODED:
        values[name] = lists[name].values.get(values[name], values[name])
    values["address"] = HIDDEN_PLACE if is_protected else "".join(
        found[name] or "" for name in _ADDRESS
    )
    return ListedResident(values["addressee_number"], values)


def find_standing(
    municipality_code: str, addressee_number: str
) -> tuple[str, bool] | None:
    """Name of a person in force and whether they, or somebody of the household, are under a
    protective measure now; None for a number of nobody's."""
    with database.town_scope(municipality_code):
        versions = queries.find_person(municipality_code, addressee_number, file_ids=[_RESIDENTS])
        if not versions:
            return None
        newest = next((each for each in versions if each.latest), versions[-1])
        values = queries.read_records(municipality_code, [newest.id], columns=["full_name"])
        protected = protected_keys(municipality_code)
    is_protected = any(
        protected.covers(each.person_key, each.household_key) for each in versions
    )
    return values[newest.id]["full_name"] or "", is_protected


__all__: Sequence[str] = ["ListedResident", "find_standing", "list_residents"]
