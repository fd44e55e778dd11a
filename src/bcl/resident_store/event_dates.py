"""How the register stood on a day, as it was known after a load: two times, kept apart (R-030).

    version = store.find_person_on("999997", "000000000012345", date(2024, 4, 1), as_of=7)

The arrival time chooses the state (`as_of`, a load number; now by default). Inside it the event
date chooses a row of the person's history (D5): of the rows whose change (異動年月日) had happened
by that day, the one with the highest history and branch number. A change that was notified late
has a higher number than later ones it came after; its row holds those already, so the number
decides and not the date. An unknown date stands as the provisional one the register gives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from bcl.resident_store import database, page_reader, queries
from bcl.resident_store.rules import RecordVersion

RESIDENTS_FILE = "J01"
_RESIDENT = "1"

Values = Mapping[str, str | None]


def find_person_on(
    municipality_code: str, addressee_number: str, on: date, *, as_of: int | None = None
) -> RecordVersion | None:
    """The row of a person's history in force on a day; None before the first or for nobody."""
    with database.town_scope(municipality_code):
        rows = _histories(municipality_code, [addressee_number], as_of)
    standing = _standing_on(rows.get(addressee_number, ()), on)
    return standing[0] if standing else None


def find_household_on(
    municipality_code: str, household_number: str, on: date, *, as_of: int | None = None
) -> list[RecordVersion]:
    """Rows of the residents who belonged to a household on a day, in the order of the register.

    Everybody who ever belonged to it is looked at on that day, wherever they are now.
    """
    with database.town_scope(municipality_code):
        ever = queries.find_household(
            municipality_code, household_number, as_of=as_of, file_ids=[RESIDENTS_FILE]
        )
        values = page_reader.read_values(municipality_code, [each.id for each in ever])
        people = {row["addressee_number"] or "" for row in values.values()}
        histories = _histories(municipality_code, sorted(people), as_of)
    members = []
    for rows in histories.values():
        standing = _standing_on(rows, on)
        if standing is not None and _belongs(standing[1], household_number):
            members.append(standing)
    members.sort(key=lambda each: (each[1]["entry_order"] or "", each[1]["addressee_number"] or ""))
    return [version for version, _ in members]


def _belongs(values: Values, household_number: str) -> bool:
    return values["household_number"] == household_number and values["resident_state"] == _RESIDENT


def _histories(
    municipality_code: str, addressee_numbers: Iterable[str], as_of: int | None
) -> dict[str, list[tuple[RecordVersion, Values]]]:
    """All rows of J01 of some people, as known after the load."""
    versions = {
        each.id: each
        for number in addressee_numbers
        for each in queries.find_person(
            municipality_code, number, as_of=as_of, file_ids=[RESIDENTS_FILE]
        )
    }
    found: dict[str, list[tuple[RecordVersion, Values]]] = {}
    for record_id, values in page_reader.read_values(municipality_code, list(versions)).items():
        number = values["addressee_number"] or ""
        found.setdefault(number, []).append((versions[record_id], values))
    return found


def _standing_on(
    rows: Iterable[tuple[RecordVersion, Values]], on: date
) -> tuple[RecordVersion, Values] | None:
    happened = [row for row in rows if (row[1]["changed_on"] or "") <= on.isoformat()]
    return max(happened, key=lambda row: _place(row[1]), default=None)


def _place(values: Values) -> tuple[int, int]:
    return int(values["history_number"] or 0), int(values["history_branch_number"] or 0)
