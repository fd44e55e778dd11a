"""Who is held from certificates and why, as a list: no value of a register, only keys and places.

A hold is lifted by the next load that brings a sound row; `lift_hold` is for the case that people
have looked and the hold is wrong. A later load that finds the fault again holds again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max

from bcl.foundation import tenancy
from bcl.resident_store import database
from bcl.resident_store.models import HeldHousehold, HeldPerson, Load
from bcl_contract.linkage.findings import ROW
from bcl_contract.refusals import REFUSALS

_PERSON, _HOUSEHOLD = "P", "H"


@dataclass(frozen=True)
class Hold:
    """One open hold. `key_digest` is the blind key of the record, or of the household.

    `quarantined`: the row itself was not stored, the record stands as it was before. `line` is 0
    and `column` empty where the hold is about more than one row.
    """

    id: str
    key_digest: str
    quarantined: bool
    file_id: str
    line: int
    column: str
    rule: str
    code: str
    load_number: int
    transmission_id: str
    since: datetime


def list_holds(municipality_code: str) -> list[Hold]:
    """All open holds of a municipality, the oldest first."""
    with database.town_scope(municipality_code):
        persons = list(HeldPerson.objects.filter(until_load=None))
        households = list(HeldHousehold.objects.filter(until_load=None))
        numbers = {row.since_load for row in persons} | {row.since_load for row in households}
        loads = {row.load_number: row for row in Load.objects.filter(load_number__in=numbers)}
    found = [
        Hold(
            f"{_PERSON}{row.pk}", row.record_key.hex, _is_quarantined(row), row.file_id,
            row.line, row.column, row.rule, row.code, row.since_load,
            loads[row.since_load].transmission_id, loads[row.since_load].applied_at,
        )
        for row in persons
    ]
    found += [
        Hold(
            f"{_HOUSEHOLD}{row.pk}", f"{row.household_key & (2**64 - 1):016x}", False, "J01",
            0, "", row.rule, "HOUSEHOLD_" + row.rule, row.since_load,
            loads[row.since_load].transmission_id, loads[row.since_load].applied_at,
        )
        for row in households
    ]
    return sorted(found, key=lambda hold: (hold.load_number, hold.file_id, hold.line, hold.id))


def lift_hold(municipality_code: str, hold_id: str) -> bool:
    """Lift one hold by hand, in the caller's transaction; False when it is not open.

    The caller has made sure that two persons agree, and writes the audit row.
    """
    table = {_PERSON: HeldPerson, _HOUSEHOLD: HeldHousehold}.get(hold_id[:1])
    if table is None or not hold_id[1:].isdecimal():
        return False
    with tenancy.scope(municipality_code):
        last = Load.objects.aggregate(last=Max("load_number"))["last"] or 0
        return bool(
            table.objects.filter(pk=int(hold_id[1:]), until_load=None).update(until_load=last)
        )


def _is_quarantined(row: HeldPerson) -> bool:
    """Whether the row itself was not stored: a row error, and not one that holds a household.

    A code alone does not tell: a birth date in the future is stored, and holds the household.
    """
    text = REFUSALS.get(row.code)
    return text is not None and text.severity == ROW and not row.household_key
