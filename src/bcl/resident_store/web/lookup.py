"""What the 中間DB参照 screens read: lists of persons, one person with history, a household."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bcl.resident_store import api as store
from bcl.resident_store import database, queries
from bcl.resident_store.disclosure import HIDDEN_PLACE, Section, Sight, show_record
from bcl.resident_store.models import Load
from bcl.resident_store.person_search import search_persons
from bcl.resident_store.protection import Protected, protected_keys
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.refusals import Refusal

RESIDENTS = "J01"
MOST_LISTED = 50
LISTED_COLUMNS = (
    "addressee_number", "full_name", "full_name_kana", "born_on", "sex", "resident_state",
    "address_municipality_name", "address_town", "address_lot_as_written", "address_building",
    "household_number",
)  # fmt: skip
_ADDRESS = LISTED_COLUMNS[6:10]


@dataclass(frozen=True)
class Listed:
    """One person in a list; `address` says why where it is held back."""

    record_id: int
    addressee_number: str
    full_name: str
    kana: str
    born_on: str
    sex: str
    state: str
    address: str
    is_protected: bool
    is_held: bool


@dataclass(frozen=True)
class Version:
    """One version of a person's resident record and when it was in force at BCL."""

    record_id: int
    changed_on: str
    reason: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True)
class Person:
    """One person after a load: the resident record and the records of the other files."""

    addressee_number: str
    household_number: str
    is_protected: bool
    is_held: bool
    sections: list[Section]
    others: list[tuple[str, list[list[Section]]]]
    versions: list[Version]


def list_persons(
    municipality_code: str,
    versions: Sequence[store.RecordVersion],
    read: Mapping[int, Mapping[str, str | None]] | None = None,
) -> list[Listed]:
    """Persons of resident records, in the order given; `read` are their listed columns by record
    id, where somebody has read them already."""
    protected = protected_keys(municipality_code)
    values = read or store.read_records(
        municipality_code, [each.id for each in versions], columns=LISTED_COLUMNS
    )
    persons, households = queries.held_among(
        municipality_code,
        {each.person_key for each in versions},
        {each.household_key for each in versions},
    )
    return [
        _listed(
            each,
            values[each.id],
            protected,
            is_held=each.person_key in persons or each.household_key in households,
        )
        for each in versions
    ]


def _listed(
    version: store.RecordVersion,
    values: Mapping[str, str | None],
    protected: Protected,
    *,
    is_held: bool,
) -> Listed:
    lists = load_interface().code_lists
    is_protected = protected.covers(version.person_key, version.household_key)
    address = "".join(values[name] or "" for name in _ADDRESS)
    return Listed(
        record_id=version.id,
        addressee_number=values["addressee_number"] or "",
        full_name=values["full_name"] or "",
        kana=values["full_name_kana"] or "",
        born_on=values["born_on"] or "",
        sex=lists["sex"].values.get(values["sex"] or "", ""),
        state=lists["resident_state"].values.get(values["resident_state"] or "", ""),
        address=HIDDEN_PLACE if is_protected else address,
        is_protected=is_protected,
        is_held=is_held,
    )


def _is_held(municipality_code: str, version: store.RecordVersion) -> bool:
    return store.person_key_held(municipality_code, version.person_key) or (
        store.household_key_held(municipality_code, version.household_key)
    )


def find_resident(municipality_code: str, record_id: int) -> store.RecordVersion | None:
    """The version of a resident record with this id, in force or over; None for any other id."""
    found = queries.find_version(municipality_code, record_id)
    return found if found is not None and found.file_id == RESIDENTS else None


def read_person(
    municipality_code: str, shown: store.RecordVersion, sight: Sight
) -> Person:
    """One person as of the version chosen: its items, the other files' records, the history."""
    protected = protected_keys(municipality_code)
    values = store.read_records(municipality_code, [shown.id])[shown.id]
    interface = load_interface()
    return Person(
        addressee_number=values["addressee_number"] or "",
        household_number=values["household_number"] or "",
        is_protected=protected.covers(shown.person_key, shown.household_key),
        is_held=_is_held(municipality_code, shown),
        sections=show_record(interface, interface.files[RESIDENTS], values, sight),
        others=_other_records(municipality_code, shown, sight),
        versions=_history(municipality_code, shown),
    )


def _other_records(
    municipality_code: str, shown: store.RecordVersion, sight: Sight
) -> list[tuple[str, list[list[Section]]]]:
    """Records of the other files at the moment of the version shown, by the file's title."""
    as_of = None if shown.until_load is None else shown.until_load - 1
    versions = [
        each
        for each in store.find_by_key(municipality_code, shown.person_key, as_of=as_of)
        if each.file_id != RESIDENTS
    ]
    values = store.read_records(municipality_code, [each.id for each in versions])
    interface = load_interface()
    found: dict[str, list[list[Section]]] = {}
    for each in sorted(versions, key=lambda one: (one.file_id, one.id)):
        layout = interface.files[each.file_id]
        shown_record = show_record(interface, layout, values[each.id], sight)
        found.setdefault(layout.title_ja, []).append(shown_record)
    return list(found.items())


def _history(municipality_code: str, shown: store.RecordVersion) -> list[Version]:
    versions = queries.person_history(municipality_code, shown.person_key, [RESIDENTS])
    ids = [each.id for each in versions]
    values = store.read_records(municipality_code, ids, columns=["changed_on", "change_reason"])
    reasons = load_interface().code_lists["change_reason"].values
    with database.town_scope(municipality_code):
        times = dict(
            Load.objects.filter(municipality_code=municipality_code).values_list(
                "load_number", "applied_at"
            )
        )
    return [
        Version(
            record_id=each.id,
            changed_on=values[each.id]["changed_on"] or "",
            reason=reasons.get(values[each.id]["change_reason"] or "", ""),
            since=times[each.since_load],
            until=times.get(each.until_load) if each.until_load is not None else None,
        )
        for each in versions
        if each.id in values
    ]


def is_protected(municipality_code: str, shown: store.RecordVersion) -> bool:
    """Whether this person, or somebody of the household, is under a protective measure."""
    return protected_keys(municipality_code).covers(shown.person_key, shown.household_key)


def list_household(municipality_code: str, shown: store.RecordVersion) -> list[Listed]:
    """Who stands in the household of this person now, in the order found."""
    found = store.find_by_key(municipality_code, shown.household_key, file_ids=[RESIDENTS])
    members = [
        each for each in found if each.latest and each.household_key == shown.household_key
    ]
    return list_persons(municipality_code, members)


def search(
    municipality_code: str, wanted: Mapping[str, str]
) -> tuple[list[Listed], bool] | Refusal:
    """Persons who fit everything wanted (keywords of `search_persons`), and whether there are more.

    Nobody under a protective measure is found by an address: the answer would say where they live.
    """
    state = database.newest_load(municipality_code)
    found = search_persons(
        municipality_code,
        **wanted,  # type: ignore[arg-type]
        as_of=state,
        file_ids=[RESIDENTS],
        columns=LISTED_COLUMNS,
        limit=MOST_LISTED,
    )
    if isinstance(found, Refusal):
        return found
    with database.town_scope(municipality_code):
        ids = [hit.record_id for hit in found.hits]
        versions = queries.versions_of(municipality_code, ids, as_of=state)
        read = {hit.record_id: hit.values for hit in found.hits}
        listed = list_persons(municipality_code, versions, read)
    if "address" in wanted:
        listed = [one for one in listed if not one.is_protected]
    return listed, found.more
