"""Builds single rows by hand: for the planted edge cases and for what life adds later.

A `Register` hands out numbers and collects rows per file; a case is a short description bound to
the persons it is about. Planted surnames are the ten stems (甲野, 乙川, …), so that nobody takes
these people for real ones.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from bcl_sim.core_system import numbers
from bcl_sim.core_system.seal_rows import image_columns, seal_number
from bcl_sim.core_system.store import Row
from bcl_sim.core_system.tables import choices, layouts, town_facts

WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
ERAS = ((dt.date(2019, 5, 1), "5"), (dt.date(1989, 1, 8), "4"), (dt.date(1926, 12, 25), "3"),
        (dt.date(1912, 7, 30), "2"), (dt.date(1868, 1, 25), "1"))  # fmt: skip


@dataclass
class Case:
    """One planted edge case."""

    case_id: str
    description_ja: str
    addressee_numbers: list[str]
    household_number: str
    detail: dict[str, str] = field(default_factory=dict)


def empty_row(file_id: str) -> Row:
    """A row of the layout with every column empty."""
    return dict.fromkeys(layouts()[file_id].names, "")


def era_of(day: dt.date) -> str:
    """Era code of a date."""
    return next(code for start, code in ERAS if day >= start)


def stamped(row: Row, day: dt.date, time: str = "10:00:00", operator: str = "OP0001") -> Row:
    """The row with the marks of its last write; the deletion flag is 0."""
    return row | {
        "deleted": "0",
        "operator_id": operator,
        "operated_on": day.isoformat(),
        "operated_time": time,
    }


class Register:
    """Rows written by hand for one town on one day."""

    def __init__(
        self, *, municipality_code: str, seed: int, today: dt.date, issuer_key: str
    ) -> None:
        self.facts = town_facts(municipality_code)
        self.seed = seed
        self.today = today
        self.issuer_key = issuer_key
        self.rows: dict[str, list[Row]] = {}
        self.cases: list[Case] = []
        self.without_card: set[str] = set()
        self._person = 0
        self._household = 0
        self._street = 0

    # --- numbers and places

    def day(self, offset: int) -> dt.date:
        """A day relative to today."""
        return self.today + dt.timedelta(days=offset)

    def birthday(self, age: int, offset: int = -100) -> dt.date:
        """A day of birth: `age` years ago, `offset` days away from the birthday."""
        year = self.today.year - age
        month, day = self.today.month, min(self.today.day, 28)
        return dt.date(year, month, day) + dt.timedelta(days=offset)

    def new_household(self) -> str:
        """The next household number."""
        self._household += 1
        return numbers.household_number(self._household)

    def new_person(self) -> int:
        """The next person number."""
        self._person += 1
        if self._person >= numbers.PLANTED_LIMIT:
            raise OverflowError("planted persons")
        return self._person

    def new_address(self) -> Row:
        """The next address inside the town."""
        self._street += 1
        return address_columns(self.facts.municipality_code, self._street)

    # --- rows

    def add(self, file_id: str, row: Row) -> Row:
        """Keep a row."""
        self.rows.setdefault(file_id, []).append(row)
        return row

    def case(self, case_id: str, description_ja: str, *people: Row, **detail: str) -> None:
        """List a case about these persons (J01 rows)."""
        self.cases.append(
            Case(
                case_id,
                description_ja,
                [row["addressee_number"] for row in people],
                people[0]["household_number"] if people else "",
                detail,
            )
        )

    def resident(
        self, household: str, name: tuple[str, str, str, str], age: int, sex: int, **columns: str
    ) -> Row:
        """A current Japanese resident; `name` = (surname, given name, kana, kana).

        Columns not given are those of a head of household who was born elsewhere and came
        some years ago.
        """
        person = self.new_person()
        born = dt.date.fromisoformat(columns.pop("born_on", self.birthday(age).isoformat()))
        came = dt.date.fromisoformat(columns.pop("came_on", max(born, self.day(-2000)).isoformat()))
        surname, given, surname_kana, given_kana = name
        full, kana = f"{surname}　{given}", f"{surname_kana}　{given_kana}"
        row = empty_row("J01") | self._common(household, person, born, sex, came)
        row |= {
            "full_name": full,
            "surname": surname,
            "given_name": given,
            "full_name_kana": kana,
            "full_name_kana_confirmation": "1",
            "preferred_full_name": full,
            "preferred_full_name_kana": kana,
            "resident_kind": "1",
            "born_on_era": era_of(born),
            "became_resident_on": came.isoformat(),
            "became_resident_on_unknown": "0",
            "head_of_household_name": full,
            **self._domicile(full, surname, given),
        }
        row |= {k: v for k, v in columns.items() if v is not None}
        return self.add("J01", row)

    def _common(self, household: str, person: int, born: dt.date, sex: int, came: dt.date) -> Row:
        arrived = came > born
        row = {
            "municipality_code": self.facts.municipality_code,
            "addressee_number": numbers.addressee_number(person),
            "history_number": "1",
            "history_branch_number": "0",
            "latest": "1",
            "rewrite_number": "1",
            "household_number": household,
            "entry_order": "1",
            "resident_state": "1",
            "resident_record_code": numbers.resident_record_code(person, self.seed),
            "changed_on": came.isoformat(),
            "changed_on_unknown": "0",
            "change_notified_on": came.isoformat(),
            "change_reason": "10" if arrived else "11",
            "sex": str(sex),
            "sex_as_written": "男" if sex == 1 else "女",
            "born_on": born.isoformat(),
            "born_on_unknown": "0",
            "relationship_code_1": "02",
            "relationship_as_written": "世帯主",
            "address_established_on": came.isoformat(),
            "address_established_on_unknown": "0",
            "address_established_notified_on": came.isoformat(),
            "entry_reason": "10" if arrived else "11",
            "entry_changed_on": came.isoformat(),
            "entry_changed_on_unknown": "0",
            "district_code_1": "G101",
            "under_adult_guardianship": "0",
            "removed_record": "0",
            "change_pending": "0",
        } | self.new_address()
        if arrived:
            row |= origin_columns(person)
        return stamped(row, came)

    def _domicile(self, full: str, surname: str, given: str) -> Row:
        return {
            "registered_domicile": "東京都新宿区西新宿二丁目８番地",
            "registered_domicile_municipality_code": "131041",
            "registered_domicile_town": "西新宿二丁目",
            "registered_domicile_lot": "８番地",
            "family_register_head": full,
            "family_register_head_surname": surname,
            "family_register_head_given_name": given,
        }

    def foreign_resident(
        self, household: str, names: dict[str, str], age: int, sex: int, **columns: str
    ) -> Row:
        """A current foreign resident; `names` = the name columns of J01."""
        person = self.new_person()
        born = dt.date.fromisoformat(columns.pop("born_on", self.birthday(age).isoformat()))
        came = dt.date.fromisoformat(columns.pop("came_on", self.day(-900).isoformat()))
        row = empty_row("J01") | self._common(household, person, born, sex, came)
        row |= {
            "resident_kind": "2",
            "became_foreign_resident_on": came.isoformat(),
            "became_foreign_resident_on_unknown": "0",
            "nationality_country_code": "PHL",
            "nationality_name": "フィリピン",
            "article_30_45_kind": "1",
            "residence_status_code": "B",
            "residence_status_name": "技術・人文知識・国際業務",
            "residence_period_years": "3",
            "residence_period_as_written": "3年",
            "residence_period_expires_on": self.day(500).isoformat(),
            "residence_card_number": f"AB{person:08d}CD",
            "residence_card_number_kind": "1",
            "place_of_residence_notified": "1",
            "head_of_household_name": names["full_name"],
            "preferred_full_name": names.get("alias", names["full_name"]),
            "preferred_full_name_kana": names.get("alias_kana", names.get("full_name_kana", "")),
        }
        row |= names | columns
        return self.add("J01", row)

    def member(  # noqa: PLR0917
        self, head: Row, name: tuple[str, str, str, str], age: int, sex: int,
        relation: tuple[str, str], order: int, **columns: str,
    ) -> Row:  # fmt: skip
        """Another member of the head's household; `relation` = (code chain, as written)."""
        codes = relation[0].split(",")
        row = self.resident(head["household_number"], name, age, sex, **columns)
        row |= {f"relationship_code_{i + 1}": code for i, code in enumerate(codes)}
        row |= {
            "relationship_as_written": relation[1],
            "entry_order": str(order),
            "head_of_household_name": head["full_name"],
            "family_register_head": head["family_register_head"] or row["full_name"],
            "family_register_head_surname": head["family_register_head_surname"],
            "family_register_head_given_name": head["family_register_head_given_name"],
        }
        row |= {name: value for name, value in head.items() if name.startswith("address_")
                and not name.startswith(("address_before", "address_established"))}  # fmt: skip
        return row

    def earlier(self, row: Row, **columns: str) -> Row:
        """A history row before `row`: latest = 0, history number one less."""
        before = dict(row) | {
            "latest": "0",
            "history_number": str(int(row["history_number"]) - 1),
        }
        return self.add("J01", before | columns)

    def card(self, person: Row, *, ordinal: int = 1, **columns: str) -> Row:
        """A J05 row: a valid card certificate unless columns say otherwise."""
        number = int(person["addressee_number"][:-1])
        start = max(self.day(-400), dt.date.fromisoformat(person["born_on"]))
        row = empty_row("J05") | {
            "municipality_code": person["municipality_code"],
            "addressee_number": person["addressee_number"],
            "digital_certificate_kind": "1",
            "serial_number": numbers.serial_number(
                number, ordinal, self.seed, int(person["municipality_code"])
            ),
            "issuer_key": self.issuer_key,
            "valid_from_on": start.isoformat(),
            "expires_on": (start + dt.timedelta(days=1826)).isoformat(),
            "link_status": "1",
        }
        return self.add("J05", stamped(row, start) | columns)

    def seal(
        self, person: Row, *, ordinal: int = 1, millimetres: float = 16.0, **columns: str
    ) -> Row:
        """An S01 row with its imprint in S02: registered unless columns say otherwise."""
        number = seal_number(int(person["addressee_number"][:-1]), ordinal)
        start = self.day(-300)
        row = empty_row("S01") | {
            "municipality_code": person["municipality_code"],
            "seal_registration_number": number,
            "history_number": "1",
            "latest": "1",
            "addressee_number": person["addressee_number"],
            "seal_status": "1",
            "seal_registered_on": start.isoformat(),
            "registered_name_kind": "1",
            "registered_name": person["full_name"],
            "seal_image_number": "1",
        }
        image = empty_row("S02") | {
            "municipality_code": person["municipality_code"],
            "seal_registration_number": number,
            "seal_image_number": "1",
        }
        self.add("S02", stamped(image, start) | image_columns(number, 1, millimetres))
        return self.add("S01", stamped(row, start) | columns)

    def measure(self, person: Row, *, started: dt.date, **columns: str) -> Row:
        """A J04 row: in force, applicant, because of domestic violence, for a year."""
        row = empty_row("J04") | {
            "municipality_code": person["municipality_code"],
            "addressee_number": person["addressee_number"],
            "history_number": "1",
            "latest": "1",
            "measure_started_on": started.isoformat(),
            "measure_ended_on": (started + dt.timedelta(days=364)).isoformat(),
            "measure_kind": "2",
            "measure_target_kind": "1",
            "measure_reason": "1",
        }
        return self.add("J04", stamped(row, started) | columns)

    def block(self, number: str, **columns: str) -> Row:
        """A J06 row from yesterday on, without end."""
        row = empty_row("J06") | {
            "municipality_code": self.facts.municipality_code,
            "block_id": f"BLKCASE{number}",
            "block_scope": "1",
            "block_reason": "34",
            "block_starts_at": f"{self.day(-1).isoformat()}T09:00:00+09:00",
            "release_method": "1",
        }
        return self.add("J06", stamped(row, self.day(-1)) | columns)


def address_columns(municipality_code: str, place: int) -> Row:
    """Address number `place` of a town, one of the streets in turn."""
    facts, streets = town_facts(municipality_code), choices("streets")
    index = place % streets.size
    lot, house = place // streets.size % 50 + 60, place % 30 + 1
    return {
        "address_municipality_code": municipality_code,
        "address_town_code": streets.value("town_code", index),
        "address_prefecture": facts.prefecture,
        "address_municipality_name": facts.name,
        "address_town": streets.value("street", index),
        "address_lot_as_written": f"{lot}番{house}号".translate(WIDE),
        "address_lot_numeric": f"{lot}-{house}",
        "address_building_code": "",
        "address_building": "",
        "address_building_kana": "",
        "address_postal_code": streets.value("postal_code", index),
    }


def origin_columns(number: int, prefix: str = "address_before_moving_in") -> Row:
    """Another municipality as the place somebody came from or goes to."""
    others = choices("other_municipalities")
    index = number % others.size
    return {
        f"{prefix}_municipality_code": others.value("municipality_code", index),
        f"{prefix}_prefecture": others.value("prefecture", index),
        f"{prefix}_municipality_name": others.value("name", index),
        f"{prefix}_town": others.value("street", index),
        f"{prefix}_lot_as_written": "１番２号",
        f"{prefix}_postal_code": others.value("postal_code", index),
    }
