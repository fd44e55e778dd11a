"""How a day's events are written down: new rows, history rows, change rows, card updates."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np

from bcl_sim.core_system import numbers
from bcl_sim.core_system.certificate_link_rows import CARD_STATES
from bcl_sim.core_system.planted_builder import (
    Register,
    address_columns,
    empty_row,
    stamped,
)
from bcl_sim.core_system.store import CoreStore, Row
from bcl_sim.core_system.tables import layouts

WHOLE_ADDRESS = (
    "municipality_code", "town_code", "prefecture", "municipality_name", "town",
    "lot_as_written", "lot_numeric", "building_code", "building", "building_kana", "postal_code",
)  # fmt: skip


class Arrivals(Register):
    """Hands out numbers to people who come while the town lives; remembers the counters."""

    def __init__(self, store: CoreStore, today: dt.date) -> None:
        super().__init__(
            municipality_code=store.meta("municipality_code"),
            seed=int(store.meta("seed")),
            today=today,
            issuer_key=store.meta("issuer_key"),
        )
        counters = json.loads(store.meta("arrivals"))
        self._person, self._household, self._street = counters

    def new_person(self) -> int:
        """The next person number after everybody generated."""
        self._person += 1
        return numbers.ARRIVAL_START + self._person

    def new_household(self) -> str:
        """The next household number after everybody generated."""
        self._household += 1
        return numbers.household_number(numbers.ARRIVAL_START + self._household)

    def save(self, store: CoreStore) -> None:
        """Remember the counters."""
        store.set_meta("arrivals", json.dumps([self._person, self._household, self._street]))


class Book:
    """Writes events of one day into the store."""

    def __init__(self, store: CoreStore, day: dt.date, rng: np.random.Generator) -> None:
        self.store = store
        self.day = day
        self.rng = rng
        self.arrivals = Arrivals(store, day)
        self.agenda: list[dict[str, str]] = json.loads(store.meta("agenda"))
        self.cards: dict[tuple[str, str], dict[str, str]] = {}

    @property
    def date(self) -> str:
        """The day as it stands in rows."""
        return self.day.isoformat()

    def close(self) -> None:
        """Remember counters and what is still to come."""
        self.arrivals.save(self.store)
        self.store.set_meta("agenda", json.dumps(self.agenda, ensure_ascii=False))

    def later(self, days: int, event: str, household: str) -> None:
        """Put something on the agenda."""
        on = (self.day + dt.timedelta(days=days)).isoformat()
        self.agenda.append({"on": on, "event": event, "household": household})

    def due(self) -> list[dict[str, str]]:
        """Take today's entries off the agenda."""
        today = [entry for entry in self.agenda if entry["on"] <= self.date]
        self.agenda = [entry for entry in self.agenda if entry["on"] > self.date]
        return today

    def stamp(self, row: Row) -> Row:
        """The row with today's marks."""
        minute = int(self.rng.integers(0, 8 * 60))
        time = f"{9 + minute // 60:02d}:{minute % 60:02d}:00"
        return stamped(row, self.day, time, f"OP{int(self.rng.integers(0, 20)):04d}")

    def put(self, file_id: str, row: Row) -> Row:
        """Write a row as it is now, with today's marks."""
        row = self.stamp(row)
        self.store.put(file_id, row, household=row.get("household_number", ""))
        return row

    # --- resident records

    def revise(self, row: Row, reason: str, **changes: str) -> Row:
        """A new history row of a resident; the one before is no longer the latest."""
        self.put("J01", row | {"latest": "0"})
        new = row | {
            "history_number": str(int(row["history_number"]) + 1),
            "changed_on": self.date,
            "change_notified_on": self.date,
            "change_reason": reason,
        }
        new = self.put("J01", new | changes)
        self._note(new, row)
        return new

    def enter(self, row: Row) -> Row:
        """The first row of somebody who was born or moved in."""
        row = self.put("J01", row)
        self._note(row, None)
        return row

    def _note(self, row: Row, before: Row | None) -> None:
        names = ("household_number", "full_name", "resident_state", "address_town")
        titles = dict(zip(layouts()["J01"].names, layouts()["J01"].titles, strict=True))
        values = {titles[name]: row[name] for name in names}
        old = {titles[name]: before[name] for name in names} if before else {}
        changed = {k: v for k, v in values.items() if old.get(k) != v}
        self.put("J03", empty_row("J03") | {
            "municipality_code": row["municipality_code"],
            "addressee_number": row["addressee_number"],
            "change_number": row["history_number"],
            "household_number": row["household_number"],
            "change_reason": row["change_reason"],
            "changed_on": row["changed_on"],
            "changed_on_unknown": "0",
            "change_notified_on": row["change_notified_on"],
            "processed_on": self.date,
            "notification_number": f"N{self.date.replace('-', '')}{row['addressee_number'][8:]}",
            "values_before": json.dumps(
                {k: v for k, v in old.items() if k in changed}, ensure_ascii=False
            ) if before else "",
            "values_after": json.dumps(changed, ensure_ascii=False),
            "cancelled": "0",
        })  # fmt: skip

    def remove(self, row: Row, state: str, reason: str, **changes: str) -> Row:
        """Turn a record into a removed one (除票)."""
        return self.revise(
            row, reason, resident_state=state, removed_record="1",
            removed_record_registered_on=self.date, removal_reason=reason,
            removal_notified_on=self.date, removal_changed_on=self.date,
            removal_changed_on_unknown="0", entry_order="", change_pending="0", **changes,
        )  # fmt: skip

    def new_address(self) -> Row:
        """An address inside the town that nobody got from life before."""
        self.arrivals._street += 1
        return address_columns(self.store.meta("municipality_code"), self.arrivals._street)

    # --- histories of other files

    def supersede(self, file_id: str, row: Row, **changes: str) -> Row:
        """A new history row in a file with history numbers (J04, S01, T02)."""
        self.put(file_id, row | {"latest": "0"})
        number = str(int(row["history_number"]) + 1)
        return self.put(file_id, row | {"latest": "1", "history_number": number} | changes)

    def link(self, row: Row, person: Row | None = None) -> Row:
        """Write a J05 row and remember it for cards.jsonl."""
        row = self.put("J05", row)
        self.cards[row["issuer_key"], row["serial_number"]] = {
            "addressee_number": row["addressee_number"],
            "full_name": person["full_name"] if person else "",
            "born_on": person["born_on"] if person else "",
            "serial_number": row["serial_number"],
            "issuer_key": row["issuer_key"],
            "valid_from": row["valid_from_on"],
            "expires_on": row["expires_on"],
            "state": CARD_STATES[row["link_status"]],
        }
        return row


def rewrite_cards(path: Path, cards: dict[tuple[str, str], dict[str, str]]) -> None:
    """Bring cards.jsonl up to date: changed lines in place, new ones at the end."""
    if not cards:
        return
    waiting = dict(cards)
    mark = '"serial_number":"'
    serials = {serial for _, serial in cards}
    temporary = path.with_suffix(".tmp")
    with path.open(encoding="utf-8") as old, temporary.open("w", encoding="utf-8") as new:
        for line in old:
            # Parsing every line of a large town would take longer than the day itself.
            start = line.index(mark) + len(mark)
            if line[start : line.index('"', start)] not in serials:
                new.write(line)
                continue
            card = json.loads(line)
            changed = waiting.pop((card["issuer_key"], card["serial_number"]), None)
            if changed is None:
                new.write(line)
                continue
            card |= {name: value for name, value in changed.items() if value}
            new.write(_card_line(card))
        for card in waiting.values():
            new.write(_card_line(card))
    temporary.replace(path)


def _card_line(card: dict[str, str]) -> str:
    return json.dumps(card, ensure_ascii=False, separators=(",", ":")) + "\n"
