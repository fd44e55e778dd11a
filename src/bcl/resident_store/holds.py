"""Who may get no certificate because of what a load found: households and persons (D7, D9)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bcl.resident_store import household_facts
from bcl.resident_store.blind_keys import BlindKeys
from bcl.resident_store.current_state import CurrentState
from bcl.resident_store.file_pass import UNKNOWN_CODE, FileOutcome, NewResidents, RecordHold
from bcl.resident_store.models import HeldHousehold, HeldPerson


@dataclass(frozen=True)
class HoldCounts:
    """How many holds a load added and lifted; residents before and after it."""

    households_held: int = 0
    households_lifted: int = 0
    residents_before: int = 0
    residents_after: int = 0


def record_uuid(record: Sequence[int] | np.ndarray) -> uuid.UUID:
    """A record key's two halves as a UUID."""
    return uuid.UUID(int=(int(record[0]) << 64) | int(record[1]))


def hold_households(
    *, municipality_code: str, load_number: int, state: CurrentState, new: NewResidents,
    keys: BlindKeys,
) -> HoldCounts:
    """Judge every household that this load touches, in the state after it.

    Touched are the households of new, changed and ended rows of J01, old and new: so a person
    who moved is judged in both (V10).
    """
    old_facts = state.slots.facts ^ keys.pads(state.slots.digests)
    before = int(household_facts.is_resident(old_facts).sum())
    left = int(household_facts.is_resident(old_facts[state.ended]).sum())
    came = int(household_facts.is_resident(new.facts).sum())
    touched = np.unique(np.concatenate([state.slots.households[state.ended], new.households]))
    touched = touched[touched != 0]
    staying = ~state.ended & np.isin(state.slots.households, touched)
    faults = household_facts.judge_households(
        np.concatenate([state.slots.households[staying], new.households]),
        np.concatenate([old_facts[staying], new.facts]),
    )
    faulty = {
        (int(household), rule)
        for rule, households in faults.by_rule.items()
        for household in households
    }
    lifted = _lift_households(municipality_code, load_number, set(touched.tolist()), faulty)
    known = set(
        HeldHousehold.objects.filter(
            municipality_code=municipality_code, until_load=None
        ).values_list("household_key", "rule")
    )
    fresh = faulty - known
    HeldHousehold.objects.bulk_create(
        HeldHousehold(
            municipality_code=municipality_code, household_key=household, rule=rule,
            since_load=load_number,
        )
        for household, rule in sorted(fresh)
    )
    return HoldCounts(len(fresh), lifted, before, before - left + came)


def _lift_households(
    municipality_code: str, load_number: int, touched: set[int], faulty: set[tuple[int, str]]
) -> int:
    whole = [
        held.pk
        for held in HeldHousehold.objects.filter(
            municipality_code=municipality_code, until_load=None
        )
        if held.household_key in touched and (held.household_key, held.rule) not in faulty
    ]
    return HeldHousehold.objects.filter(pk__in=whole).update(until_load=load_number)


def open_person_holds(municipality_code: str, file_id: str) -> list[HeldPerson]:
    """The holds of a file's records that are in force."""
    return list(
        HeldPerson.objects.filter(
            municipality_code=municipality_code, file_id=file_id, until_load=None
        )
    )


def watched_records(open_holds: Sequence[HeldPerson]) -> np.ndarray:
    """The record keys of holds, uint64 (n, 2)."""
    halves = [[held.record_key.int >> 64, held.record_key.int & (2**64 - 1)] for held in open_holds]
    return np.array(halves, dtype=np.uint64).reshape(-1, 2)


def hold_persons(
    *, municipality_code: str, load_number: int, file_id: str, state: CurrentState,
    outcome: FileOutcome, full: bool, open_holds: list[HeldPerson],
) -> int:
    """Lift the holds of records that are sound now, add those this load found; gives the added.

    An unknown code stays with the record's version; a row error goes as soon as the file brings
    any sound row for its record, be it the old one. The pass watched the records of `open_holds`.
    """
    found = {(record_uuid(hold.record), hold.code): hold for hold in outcome.holds}
    if open_holds:
        lifted = _sound_again(open_holds, state, outcome, full=full)
        lifted = [held for held in lifted if (held.record_key, held.code) not in found]
        HeldPerson.objects.filter(pk__in=[held.pk for held in lifted]).update(
            until_load=load_number
        )
        for held in open_holds:
            found.pop((held.record_key, held.code), None)
    HeldPerson.objects.bulk_create(
        (
            _row(municipality_code, load_number, file_id, record, hold)
            for (record, _), hold in found.items()
        ),
        batch_size=5000,
    )
    return len(found)


def _row(
    municipality_code: str, load_number: int, file_id: str, record: uuid.UUID, hold: RecordHold
) -> HeldPerson:
    return HeldPerson(
        municipality_code=municipality_code, person_key=hold.person_key,
        household_key=hold.household_key, file_id=file_id, record_key=record, code=hold.code,
        since_load=load_number, line=hold.line, column=hold.column, rule=hold.rule,
    )


def _sound_again(
    open_holds: list[HeldPerson], state: CurrentState, outcome: FileOutcome, *, full: bool
) -> list[HeldPerson]:
    places = state.by_record.find(watched_records(open_holds))
    lifted = []
    for held, place, is_new in zip(
        open_holds, places.tolist(), outcome.stored_again.tolist(), strict=True
    ):
        of_version = held.code == UNKNOWN_CODE or held.household_key != 0
        replaced = is_new or (place >= 0 and bool(state.ended[place]))
        repeated = place >= 0 and bool(state.seen[place]) and not of_version
        vanished = full and place < 0
        if replaced or repeated or vanished:
            lifted.append(held)
    return lifted
