"""Events about cards, seals, protective measures, blocks and tax."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from bcl_sim.core_system import numbers
from bcl_sim.core_system.planted_builder import empty_row
from bcl_sim.core_system.seal_rows import (
    ABOLISHED,
    ERASED,
    REGISTERED,
    REPLACED,
    SUSPENDED,
    image_columns,
    seal_number,
)
from bcl_sim.core_system.store import Row

if TYPE_CHECKING:
    from bcl_sim.core_system.life_book import Book
    from bcl_sim.core_system.life_people import Scene


def _own(rows: list[Row], person: Row) -> list[Row]:
    return [row for row in rows if row["addressee_number"] == person["addressee_number"]]


def _valid_cards(scene: Scene) -> list[Row]:
    return [row for row in _own(scene.cards, scene.person) if row["link_status"] == "1"]


def _valid_seals(scene: Scene) -> list[Row]:
    return [
        row
        for row in _own(scene.seals, scene.person)
        if row["latest"] == "1" and row["seal_status"] in {REGISTERED, SUSPENDED}
    ]


def erase_seals(scene: Scene, reason: str) -> None:
    """The person's registrations are erased by authority."""
    for row in _valid_seals(scene):
        scene.book.supersede(
            "S01", row, seal_status=ERASED, seal_ended_on=scene.book.date, seal_end_reason=reason
        )


def end_holdings(scene: Scene, reason: str) -> None:
    """Card and seal of the person end with death (03), moving out (02) or removal (05)."""
    leavers = scene.members if reason == "02" else [scene.person]
    for person in leavers:
        scene.person, kept = person, scene.person
        erase_seals(scene, reason)
        if reason != "02":
            for row in _valid_cards(scene):
                scene.book.link(row | {"link_status": "2", "revoked_on": scene.book.date})
        scene.person = kept


def new_card(scene: Scene) -> None:
    """A resident gets a first card, or a renewed one; the old certificate is revoked."""
    book, person = scene.book, scene.person
    for row in _valid_cards(scene):
        book.link(row | {"link_status": "2", "revoked_on": book.date})
    number = int(person["addressee_number"][:-1])
    seed, town = int(book.store.meta("seed")), int(person["municipality_code"])
    used = {row["serial_number"] for row in _own(scene.cards, person)}
    ordinal = 3
    while numbers.serial_number(number, ordinal, seed, town) in used:
        ordinal += 1
    book.link(
        empty_row("J05") | {
            "municipality_code": person["municipality_code"],
            "addressee_number": person["addressee_number"],
            "digital_certificate_kind": "1",
            "serial_number": numbers.serial_number(number, ordinal, seed, town),
            "issuer_key": book.store.meta("issuer_key"),
            "valid_from_on": book.date,
            "expires_on": (book.day + dt.timedelta(days=1826)).isoformat(),
            "link_status": "1",
        },
        person,
    )  # fmt: skip


def revoke_card(scene: Scene) -> None:
    """A card is lost and its certificate revoked."""
    for row in _valid_cards(scene):
        scene.book.link(row | {"link_status": "2", "revoked_on": scene.book.date})


def suspend_card(scene: Scene) -> None:
    """A card is reported missing; its certificate is suspended."""
    for row in _valid_cards(scene):
        scene.book.link(row | {"link_status": "3"})


def register_seal(scene: Scene) -> None:
    """A seal is registered, or (the person has one) replaced on the same day."""
    book, person = scene.book, scene.person
    old = _own(scene.seals, person)
    for row in _valid_seals(scene):
        book.supersede(
            "S01", row, seal_status=REPLACED, seal_ended_on=book.date, seal_end_reason="07"
        )
    ordinal = len({row["seal_registration_number"] for row in old}) + 1
    number = seal_number(int(person["addressee_number"][:-1]), ordinal)
    book.put("S01", empty_row("S01") | {
        "municipality_code": person["municipality_code"],
        "seal_registration_number": number,
        "history_number": "1",
        "latest": "1",
        "addressee_number": person["addressee_number"],
        "seal_status": REGISTERED,
        "seal_registered_on": book.date,
        "registered_name_kind": "1",
        "registered_name": person["full_name"],
        "seal_image_number": "1",
    })  # fmt: skip
    book.put("S02", empty_row("S02") | {
        "municipality_code": person["municipality_code"],
        "seal_registration_number": number,
        "seal_image_number": "1",
    } | image_columns(number, 1))  # fmt: skip


def abolish_seal(scene: Scene) -> None:
    """A registration is given up."""
    for row in _valid_seals(scene):
        scene.book.supersede(
            "S01", row, seal_status=ABOLISHED, seal_ended_on=scene.book.date, seal_end_reason="01"
        )


def suspend_seal(scene: Scene) -> None:
    """A seal is reported lost."""
    for row in _valid_seals(scene):
        if row["seal_status"] == REGISTERED:
            scene.book.supersede("S01", row, seal_status=SUSPENDED)


def begin_measure(scene: Scene) -> None:
    """A protective measure begins for the person; children of the household join."""
    book = scene.book
    end = (book.day + dt.timedelta(days=364)).isoformat()
    joined = [row for row in scene.members if row["relationship_code_1"] == "20"
              and row is not scene.person]  # fmt: skip
    for kind, row in [("1", scene.person), *(("2", row) for row in joined)]:
        book.put("J04", empty_row("J04") | {
            "municipality_code": row["municipality_code"],
            "addressee_number": row["addressee_number"],
            "history_number": "1",
            "latest": "1",
            "measure_started_on": book.date,
            "measure_ended_on": end,
            "measure_kind": "2",
            "measure_target_kind": kind,
            "measure_reason": str(int(book.rng.integers(1, 5))),
        })  # fmt: skip


def _running_measures(scene: Scene) -> list[Row]:
    return [row for row in scene.measures if row["latest"] == "1" and row["measure_kind"] != "3"]


def extend_measure(scene: Scene) -> None:
    """A protective measure is extended by a year (a new history row)."""
    until = (scene.book.day + dt.timedelta(days=365)).isoformat()
    for row in _running_measures(scene):
        scene.book.supersede("J04", row, measure_ended_on=until)


def end_measure(scene: Scene) -> None:
    """A protective measure ends: kind 3 is the only thing that lifts it."""
    for row in _running_measures(scene):
        scene.book.supersede("J04", row, measure_kind="3", measure_ended_on=scene.book.date)


def begin_block(scene: Scene) -> None:
    """Issuing is blocked at the person's own request."""
    book = scene.book
    book.put("J06", empty_row("J06") | {
        "municipality_code": scene.person["municipality_code"],
        "block_id": f"L{book.date.replace('-', '')}{scene.person['addressee_number']}",
        "block_scope": "1",
        "addressee_number": scene.person["addressee_number"],
        "block_reason": "34",
        "block_starts_at": f"{book.date}T10:00:00+09:00",
        "release_method": "1",
    })  # fmt: skip
    book.later(int(book.rng.integers(5, 60)), "lift_block", scene.person["addressee_number"])


def lift_block(book: Book, addressee_number: str) -> None:
    """A block of life is lifted: its row is deleted."""
    for row in book.store.rows_where("J06", "addressee_number", [addressee_number]):
        if row["block_id"].startswith("L"):
            book.store.put("J06", book.stamp(row), deleted=True)


def enter_alias(book: Book, person: Row, kind: str, name: str, kana: str) -> None:
    """A J02 row with the next number of the person."""
    old = book.store.rows_where("J02", "addressee_number", [person["addressee_number"]])
    book.put("J02", empty_row("J02") | {
        "municipality_code": person["municipality_code"],
        "addressee_number": person["addressee_number"],
        "alias_number": str(max((int(row["alias_number"]) for row in old), default=0) + 1),
        "alias_kind": kind,
        "alias_or_former_surname": name,
        "alias_or_former_surname_kana": kana,
        "entered_on": book.date,
        "entered_municipality_name": person["address_municipality_name"],
    })  # fmt: skip


def start_tax_revision(scene: Scene) -> None:
    """The latest assessment of the person is being revised."""
    mine = [row for row in scene.taxes if row["latest"] == "1"
            and row["addressee_number"] == scene.person["addressee_number"]]  # fmt: skip
    for row in sorted(mine, key=lambda r: r["tax_year"])[-1:]:
        scene.book.supersede("T02", row, revision_in_progress="1")
