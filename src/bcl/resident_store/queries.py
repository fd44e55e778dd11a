"""Reads of the resident store. Every function stands in, or opens, the town's scope."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from bcl.resident_store import database, page_reader, record_columns, seal_images, town_keys
from bcl.resident_store.blind_keys import whole
from bcl.resident_store.current_state import read_current_state
from bcl.resident_store.holds import record_uuid
from bcl.resident_store.models import HeldHousehold, HeldPerson, Load
from bcl.resident_store.pages import (
    LATEST,
    PAGE_ROWS,
    Slots,
    SlotView,
    live_slots,
    one_slot,
    unpack_slots,
)
from bcl.resident_store.retention import EMPTIED, history_start
from bcl.resident_store.rules import (
    MAIN,
    URGENT,
    Ambiguous,
    CertLink,
    FeedEntry,
    Position,
    RecordVersion,
)
from bcl.resident_store.search_index import find_record_ids
from bcl_contract.linkage.layouts import load_interface

_VALID_LINK = "1"


class UnknownColumn(LookupError):
    """A column was asked for that the record's file does not have."""


# -- position ------------------------------------------------------------------------------------


def applied_position(municipality_code: str) -> Position:
    """How far the town's data is applied: zeros before the first load.

    `gaps` names sequences missing between applied ones, (lane, sequence); linkage applies in
    order, so there are none unless somebody stepped around it.
    """
    with database.town_scope(municipality_code):
        loads = list(
            Load.objects.filter(municipality_code=municipality_code)
            .order_by("load_number")
            .values_list("load_number", "lane", "sequence", "applied_at", "as_of")
        )
    sequences: dict[str, list[int]] = {MAIN: [], URGENT: []}
    for _, lane, sequence, _, _ in loads:
        sequences.setdefault(lane, []).append(sequence)
    gaps = [
        (lane, missing)
        for lane, applied in sequences.items() if applied
        for missing in sorted(set(range(min(applied), max(applied))) - set(applied))
    ]
    last = loads[-1] if loads else None
    return Position(
        load_number=last[0] if last else 0,
        main_sequence=max(sequences[MAIN], default=0),
        urgent_sequence=max(sequences[URGENT], default=0),
        applied_at=last[3] if last else None,
        as_of=last[4] if last else None,
        gaps=tuple(gaps),
    )


def load_number_at(
    municipality_code: str, *, sequence: int | None = None, lane: str = MAIN,
    at: datetime | None = None,
) -> int | None:
    """The load number whose state was in force then (D5); None when there was none yet.

    `sequence`: the state right after that sequence of the lane. `at`: the last load applied by
    then. Neither: the newest. A sequence that is not applied gives None, and so does a state that
    retention has deleted a part of.
    """
    with database.town_scope(municipality_code):
        loads = Load.objects.filter(
            municipality_code=municipality_code, load_number__gte=history_start(municipality_code)
        )
        if sequence is not None:
            loads = loads.filter(lane=lane, sequence=sequence)
        if at is not None:
            loads = loads.filter(applied_at__lte=at)
        return loads.order_by("-load_number").values_list("load_number", flat=True).first()


def counts(municipality_code: str, load_number: int | None = None) -> dict[str, int]:
    """Live records by file id, and `residents`, after a load (the newest by default)."""
    with database.town_scope(municipality_code):
        loads = Load.objects.filter(municipality_code=municipality_code)
        if load_number is not None:
            loads = loads.filter(load_number__lte=load_number)
        last = loads.order_by("-load_number").first()
    if last is None:
        return {"residents": 0}
    return {**last.counts["records"], "residents": last.counts["residents"]}


# -- finding -------------------------------------------------------------------------------------


def versions_of(
    municipality_code: str, record_ids: Collection[int], *, as_of: int | None = None,
    file_ids: Sequence[str] | None = None,
) -> list[RecordVersion]:
    """Versions in force after load `as_of` (now by default) among record ids, in id order."""
    return [
        each for each in _versions(record_ids, file_ids)
        if (each.until_load is None if as_of is None else _in_force(each, as_of))
    ]


def _in_force(version: RecordVersion, load_number: int) -> bool:
    ended = version.until_load is not None and version.until_load <= load_number
    return version.since_load <= load_number and not ended


def _versions(
    record_ids: Collection[int], file_ids: Sequence[str] | None
) -> Iterator[RecordVersion]:
    """Versions with these ids, whether in force or over, in id order."""
    with database.cursor() as db:
        db.execute(
            "SELECT id, file_id, load_number, rows, live, slots FROM resident_store_page"
            " WHERE id = ANY(%s) ORDER BY id",
            [sorted({each // PAGE_ROWS for each in record_ids})],
            binary=True,
        )
        pages = {row[0]: row[1:] for row in db.fetchall()}
    ended = _ended(record_ids, pages)
    for record_id in sorted(set(record_ids)):
        page = pages.get(record_id // PAGE_ROWS)
        slot = record_id % PAGE_ROWS
        if page is None or slot >= page[2] or (file_ids and page[0] not in file_ids):
            continue
        view = one_slot(page[4], page[2], slot)
        yield _version(record_id, page[0], page[1], ended.get(record_id), view)


def find_version(municipality_code: str, record_id: int) -> RecordVersion | None:
    """The version with this id, whether in force or over; None for an id of nobody's."""
    with database.town_scope(municipality_code):
        return next(_versions([record_id], None), None)


def person_history(
    municipality_code: str, person_key: int, file_ids: Sequence[str]
) -> list[RecordVersion]:
    """Every version of a person's records of these files there has been, the newest first."""
    with database.town_scope(municipality_code):
        ids = find_record_ids(municipality_code, person_key, file_ids)
        found = [each for each in _versions(ids, file_ids) if each.person_key == person_key]
    return sorted(found, key=lambda each: (-each.since_load, -each.id))


def _ended(record_ids: Collection[int], pages: dict[int, tuple]) -> dict[int, int]:
    """When those of the records that are not live any more ended, by record id."""
    dead = []
    for record_id in record_ids:
        page = pages.get(record_id // PAGE_ROWS)
        slot = record_id % PAGE_ROWS
        if page is not None and slot < page[2] and not live_slots(page[3], page[2])[slot]:
            dead.append(record_id)
    if not dead:
        return {}
    with database.cursor() as db:
        db.execute(
            "SELECT record_id, until_load FROM resident_store_endedrecord"
            " WHERE record_id = ANY(%s)",
            [dead],
        )
        return dict(db.fetchall())


def _version(
    record_id: int, file_id: str, since: int, until: int | None, slot: SlotView
) -> RecordVersion:
    return RecordVersion(
        id=record_id, file_id=file_id, record_key=str(slot.record_key), since_load=since,
        until_load=until, latest=bool(slot.flags & LATEST), person_key=slot.person_key,
        household_key=slot.household_key,
    )


def find_by_search(
    municipality_code: str, kind: str, value: str, *, as_of: int | None = None,
    file_ids: Sequence[str] | None = None,
) -> list[RecordVersion]:
    """Records found by one exact value.

    `kind`: person (addressee number), household (household number), name, kana, born
    (YYYY-MM-DD), or the name of any other exactly searched column
    (`seal_registration_number`, `block_id`, …). Names and kana are compared folded. The value
    itself never reaches the database.
    """
    with database.town_scope(municipality_code):
        key = town_keys.search_keys(municipality_code).search_key(kind, value)
        return find_by_key(municipality_code, key, as_of=as_of, file_ids=file_ids)


def find_by_key(
    municipality_code: str, search_key: int, *, as_of: int | None = None,
    file_ids: Sequence[str] | None = None,
) -> list[RecordVersion]:
    """Records under a blind key, as feed entries carry them (`person_key`, `household_key`)."""
    with database.town_scope(municipality_code):
        state = database.newest_load(municipality_code) if as_of is None else as_of
        ids = find_record_ids(municipality_code, search_key, file_ids)
        return versions_of(municipality_code, ids, as_of=state, file_ids=file_ids)


def find_person(
    municipality_code: str, addressee_number: str, *, as_of: int | None = None,
    file_ids: Sequence[str] | None = None,
) -> list[RecordVersion]:
    """All records of one person, over all files or those named."""
    return find_by_search(
        municipality_code, record_columns.PERSON, addressee_number, as_of=as_of, file_ids=file_ids
    )


def find_household(
    municipality_code: str, household_number: str, *, as_of: int | None = None,
    file_ids: Sequence[str] | None = None,
) -> list[RecordVersion]:
    """All records that carry a household number, over all files or those named."""
    return find_by_search(
        municipality_code, record_columns.HOUSEHOLD, household_number, as_of=as_of,
        file_ids=file_ids,
    )


def find_cert_link(
    municipality_code: str, issuer_key: str, serial_number: str, *, as_of: int | None = None
) -> CertLink | Ambiguous | None:
    """Whom a digital certificate belongs to (J05), by issuer and serial number.

    Several valid links to different persons are `Ambiguous` (D8). A link that is not valid is
    given as it is when it is the only one: the caller sees `link_status` in its values.
    """
    value = record_columns.cert_link_value(issuer_key, serial_number)
    with database.town_scope(municipality_code):
        versions = find_by_search(
            municipality_code, record_columns.CERT_LINK, value, as_of=as_of, file_ids=["J05"]
        )
        rows = page_reader.read_values(municipality_code, [each.id for each in versions])
    matching = [
        each for each in versions
        if rows[each.id]["issuer_key"] == issuer_key
        and rows[each.id]["serial_number"] == serial_number
    ]
    valid = [each for each in matching if rows[each.id]["link_status"] == _VALID_LINK]
    if len({rows[each.id]["addressee_number"] for each in valid}) > 1:
        return Ambiguous(tuple(each.id for each in valid))
    chosen = (valid or matching)[:1]
    if not chosen:
        return None
    values = rows[chosen[0].id]
    return CertLink(
        chosen[0].id, chosen[0].since_load, values["addressee_number"] or "", values
    )


# -- reading -------------------------------------------------------------------------------------


def read_records(
    municipality_code: str, record_ids: Collection[int], *, columns: Collection[str] | None = None
) -> dict[int, dict[str, str | None]]:
    """Values of records by id; empty fields are None.

    `columns` minimises: only those are given, and a name that a record's file does not have
    raises `UnknownColumn`. Ids of no record of this town are left out.
    """
    with database.town_scope(municipality_code):
        rows = page_reader.read_values(municipality_code, record_ids)
    if columns is None:
        return rows
    wanted = list(dict.fromkeys(columns))
    for values in rows.values():
        if missing := [name for name in wanted if name not in values]:
            raise UnknownColumn(missing[0])
    return {each: {name: values[name] for name in wanted} for each, values in rows.items()}


def columns_of_profile(
    file_id: str, profile: str, *, interface_version: str | None = None
) -> list[str]:
    """The columns of a file that a profile may see: a backup, b certificates, c disaster."""
    layout = load_interface(interface_version).files[file_id]
    return [column.name for column in layout.columns if profile in column.profiles]


def read_seal_image(municipality_code: str, sha256: str) -> bytes | None:
    """A seal impression (PNG) by the SHA-256 that its S02 row names."""
    with database.town_scope(municipality_code):
        return seal_images.read_image(municipality_code, sha256)


# -- holds ---------------------------------------------------------------------------------------


def is_household_held(municipality_code: str, household_number: str) -> bool:
    """Whether no member of the household may get a certificate now (D7)."""
    with database.town_scope(municipality_code):
        key = town_keys.search_keys(municipality_code).search_key(
            record_columns.HOUSEHOLD, household_number
        )
        return household_key_held(municipality_code, key)


def household_key_held(municipality_code: str, household_key: int) -> bool:
    """`is_household_held` by blind key."""
    with database.town_scope(municipality_code):
        return any(
            model.objects.filter(
                municipality_code=municipality_code, household_key=household_key, until_load=None
            ).exists()
            for model in (HeldHousehold, HeldPerson)
        )


def is_person_held(municipality_code: str, addressee_number: str) -> bool:
    """Whether this person may get no certificate: a row error or an unknown code (D9)."""
    with database.town_scope(municipality_code):
        key = town_keys.search_keys(municipality_code).search_key(
            record_columns.PERSON, addressee_number
        )
        return person_key_held(municipality_code, key)


def person_key_held(municipality_code: str, person_key: int) -> bool:
    """`is_person_held` by blind key."""
    with database.town_scope(municipality_code):
        return HeldPerson.objects.filter(
            municipality_code=municipality_code, person_key=person_key, until_load=None
        ).exists()


def held_among(
    municipality_code: str, person_keys: Collection[int], household_keys: Collection[int]
) -> tuple[set[int], set[int]]:
    """Which of these persons and households are held now, by blind key: one look for a list."""
    with database.town_scope(municipality_code):
        persons = HeldPerson.objects.filter(
            municipality_code=municipality_code, person_key__in=person_keys, until_load=None
        )
        households = HeldHousehold.objects.filter(
            municipality_code=municipality_code, household_key__in=household_keys, until_load=None
        )
        return (
            set(persons.values_list("person_key", flat=True)),
            set(households.values_list("household_key", flat=True)),
        )


def held_counts(municipality_code: str) -> dict[str, int]:
    """How many households and persons are held now."""
    with database.town_scope(municipality_code):
        rows = HeldPerson.objects.filter(municipality_code=municipality_code, until_load=None)
        households = HeldHousehold.objects.filter(
            municipality_code=municipality_code, until_load=None
        )
        return {
            "households": households.values("household_key").distinct().count(),
            "persons": rows.values("person_key").distinct().count(),
        }


# -- feed ----------------------------------------------------------------------------------------


def changes_of_load(
    municipality_code: str, load_number: int, file_ids: Sequence[str] | None = None
) -> Iterator[FeedEntry]:
    """All changes of one load: new and changed records in page order, then ended ones.

    Needs the open scope while it is read (it streams). Applied to the state before the load it
    gives the state after it; that is all the feed there is.
    """
    ended = _EndedOfLoad(municipality_code, load_number, file_ids)
    with database.streaming_cursor("resident_store_feed") as pages:
        pages.execute(
            "SELECT id, file_id, rows, slots FROM resident_store_page"
            " WHERE municipality_code = %s AND load_number = %s"
            " AND (%s::text[] IS NULL OR file_id = ANY(%s::text[]))"
            " ORDER BY file_id, page_number",
            [municipality_code, load_number, _listed(file_ids), _listed(file_ids)],
            binary=True,
        )
        while rows := pages.fetchmany(64):
            for page_id, file_id, count, packed in rows:
                slots = unpack_slots([packed], [count])
                for slot in np.flatnonzero(slots.records.any(axis=1)).tolist():  # kept ones
                    yield _new_entry(page_id * PAGE_ROWS + slot, file_id, slots, slot, ended)
    yield from ended.left()


@dataclass(frozen=True)
class LiveRecords:
    """The records of one file that are in force, one place each in every array.

    `ids` int64; `record_keys` uint8 (n, 16), the bytes of the uuid; `persons`, `households` int64
    (0 = none); `latest` bool.
    """

    ids: np.ndarray
    record_keys: np.ndarray
    persons: np.ndarray
    households: np.ndarray
    latest: np.ndarray


def live_records(municipality_code: str, file_id: str) -> LiveRecords:
    """Every record of a file in force now, in the order they came; about 60 bytes a record.

    Several files are of one moment only while no load can land: `lock_town` first.
    """
    with database.town_scope(municipality_code):
        state = read_current_state(municipality_code, file_id)
    slots = state.slots
    keys = np.frombuffer(whole(slots.records).tobytes(), np.uint8).reshape(len(state), 16)
    return LiveRecords(
        state.ids, keys, slots.persons, slots.households, (slots.flags & LATEST) != 0
    )


def _listed(file_ids: Sequence[str] | None) -> list[str] | None:
    return None if file_ids is None else list(file_ids)


def _new_entry(
    record_id: int, file_id: str, slots: Slots, slot: int, ended: _EndedOfLoad
) -> FeedEntry:
    record = record_uuid(slots.records[slot])
    old_id, old_household = ended.take(file_id, record)
    return FeedEntry(
        file_id=file_id, record_key=str(record), old_record_id=old_id, new_record_id=record_id,
        person_key=int(slots.persons[slot]), household_key=int(slots.households[slot]),
        old_household_key=old_household, latest=bool(int(slots.flags[slot]) & LATEST),
    )


class _EndedOfLoad:
    """What one load ended, to be matched with what it brought."""

    def __init__(
        self, municipality_code: str, load_number: int, file_ids: Sequence[str] | None
    ) -> None:
        self._by_key: dict[tuple[str, uuid.UUID], list[tuple[int, int, int]]] = {}
        with database.cursor() as db:
            db.execute(
                "SELECT file_id, record_key, record_id, person_key, household_key"
                " FROM resident_store_endedrecord"
                " WHERE municipality_code = %s AND until_load = %s AND record_key <> %s::uuid"
                " AND (%s::text[] IS NULL OR file_id = ANY(%s::text[]))"
                " ORDER BY record_id",
                [
                    municipality_code, load_number, EMPTIED,
                    _listed(file_ids), _listed(file_ids),
                ],
                binary=True,
            )
            for file_id, key, *rest in db.fetchall():
                self._by_key.setdefault((file_id, key), []).append(tuple(rest))

    def take(self, file_id: str, record: uuid.UUID) -> tuple[int | None, int]:
        """Record id and household key of the earlier version, once; (None, 0) without one."""
        versions = self._by_key.get((file_id, record))
        if not versions:
            return None, 0
        old_id, _, household = versions.pop(0)
        return old_id, household

    def left(self) -> Iterator[FeedEntry]:
        """Records that ended without a successor."""
        for (file_id, record), versions in self._by_key.items():
            for old_id, person, household in versions:
                yield FeedEntry(
                    file_id=file_id, record_key=str(record), old_record_id=old_id,
                    new_record_id=None, person_key=person, household_key=household,
                    old_household_key=household,
                )
