"""Events of the resident register: births, deaths, moves, marriages, corrections."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from bcl_sim.core_system import life_services
from bcl_sim.core_system.life_book import WHOLE_ADDRESS, Book
from bcl_sim.core_system.name_columns import surnames
from bcl_sim.core_system.planted_builder import Register, era_of, origin_columns
from bcl_sim.core_system.store import Row
from bcl_sim.core_system.tables import Choice, given_names

_SIBLINGS = {("1", True): ("71", "兄"), ("1", False): ("74", "弟"),
             ("2", True): ("81", "姉"), ("2", False): ("84", "妹")}  # fmt: skip


@dataclass
class Scene:
    """Who an event is about: the person, the household (in entry order), and what they hold."""

    book: Book
    person: Row
    members: list[Row]
    cards: list[Row]
    seals: list[Row]
    measures: list[Row]
    taxes: list[Row]
    partner: Scene | None = None


def address_of(row: Row) -> Row:
    """The address columns of a row."""
    return {f"address_{part}": row[f"address_{part}"] for part in WHOLE_ADDRESS}


def _spoken_for(row: Row) -> tuple[str, ...]:
    codes = (row[f"relationship_code_{i}"] for i in range(1, 5))
    return tuple(code for code in codes if code)


def _relation(codes: str, written: str) -> dict[str, str]:
    parts = codes.split(",")
    columns = {f"relationship_code_{i + 1}": (parts[i] if i < len(parts) else "") for i in range(4)}
    return columns | {"relationship_as_written": written}


def _relation_to(head: Row, member: Row) -> dict[str, str]:
    """The relation of a member to a new head who was the old head's spouse or child."""
    was, mine = _spoken_for(head), _spoken_for(member)
    if was in {("12",), ("11",), ("14",), ("13",)}:
        if mine == ("20",):
            return _relation("20", "子")
        if mine in {("12", "51"), ("11", "51")}:
            return _relation("51", "父")
        if mine in {("12", "52"), ("11", "52")}:
            return _relation("52", "母")
        if mine in {("51",), ("52",)}:
            side = "11" if was in {("12",), ("14",)} else "12"
            word = ("夫の" if side == "11" else "妻の") + ("父" if mine == ("51",) else "母")
            return _relation(f"{side},{mine[0]}", word)
    if was == ("20",) and mine == ("20",):
        older = member["born_on"] <= head["born_on"]
        return _relation(*_SIBLINGS[member["sex"] if member["sex"] in "12" else "1", older])
    return _relation("96", "縁故者")


def close_ranks(book: Book, remaining: list[Row], left_head: bool) -> None:
    """After somebody left: entry orders without holes, and a new head where the head left.

    The spouse takes over, else the oldest adult, else the oldest. Everybody's record names
    the new head (reason 31).
    """
    if not remaining:
        return
    ordered = list(remaining)
    if left_head:
        spouses = [r for r in ordered if _spoken_for(r) in {("12",), ("11",), ("14",), ("13",)}]
        head = spouses[0] if spouses else min(ordered, key=lambda row: row["born_on"])
        ordered.remove(head)
        ordered.insert(0, head)
    for order, row in enumerate(ordered, start=1):
        changes: dict[str, str] = {}
        if row["entry_order"] != str(order):
            changes["entry_order"] = str(order)
        if left_head:
            changes["head_of_household_name"] = ordered[0]["full_name"]
            changes |= _relation("02", "世帯主") if order == 1 else _relation_to(ordered[0], row)
        if changes:
            book.revise(row, "31", **changes)


def birth(scene: Scene) -> None:
    """A child is born to the household."""
    book, head = scene.book, scene.members[0]
    sex = int(book.rng.integers(1, 3))
    given, kana = _given(book, sex, book.day)
    child = book.arrivals.member(
        head, (head["surname"], given, head["full_name_kana"].split("　")[0], kana), 0, sex,
        ("20", "子"), len(scene.members) + 1, born_on=book.date, came_on=book.date,
        full_name_kana_confirmation="0",
    )  # fmt: skip
    book.enter(child)


def _given(book: Book, sex: int, born: dt.date) -> tuple[str, str]:
    years = (1850, 1950, 1970, 1990, 2010)
    table: Choice = given_names()[sex, max(year for year in years if year <= born.year)]
    index = int(book.rng.integers(0, table.size))
    return table.value("given_name", index), table.value("kana", index)


def death(scene: Scene) -> None:
    """A resident dies; card and seal end with it."""
    scene.book.remove(scene.person, "3", "21")
    life_services.end_holdings(scene, "03")
    rest = [row for row in scene.members if row is not scene.person]
    close_ranks(scene.book, rest, scene.person["relationship_code_1"] == "02")


def removal(scene: Scene) -> None:
    """A resident is removed by authority (職権消除)."""
    scene.book.remove(scene.person, "9", "22")
    life_services.end_holdings(scene, "05")
    rest = [row for row in scene.members if row is not scene.person]
    close_ranks(scene.book, rest, scene.person["relationship_code_1"] == "02")


def notify_moving_out(scene: Scene) -> None:
    """The household notifies that it will move out on a later day; records stay for now."""
    book = scene.book
    days = int(book.rng.integers(1, 15))
    planned = (book.day + dt.timedelta(days=days)).isoformat()
    target = origin_columns(int(book.rng.integers(0, 1000)), "planned_destination")
    for row in scene.members:
        book.put("J01", row | {
            "moving_out_notified_on": book.date, "moving_out_planned_on": planned,
        } | target)  # fmt: skip
    book.later(days, "move_out", scene.person["household_number"])


def move_out(scene: Scene) -> None:
    """The whole household leaves the town; seals end, cards go along but the link stays."""
    book = scene.book
    target = origin_columns(int(book.rng.integers(0, 1000)), "confirmed_destination")
    for row in scene.members:
        planned = row["moving_out_planned_on"] or book.date
        book.remove(
            row, "2", "20", moving_out_planned_on=planned,
            moving_out_notified_on=row["moving_out_notified_on"] or book.date,
            moving_out_confirmed_on=book.date, **target,
        )  # fmt: skip
    life_services.end_holdings(scene, "02")


def move_in(scene: Scene) -> None:
    """A new household of one to four comes from another municipality."""
    book, rng, people = scene.book, scene.book.rng, scene.book.arrivals
    table = surnames()
    index = int(table.draw(rng, 1)[0])
    surname, kana = table.value("surname", index), table.value("kana", index)
    size = int(rng.choice([1, 1, 1, 2, 3, 4]))
    age = int(rng.integers(20, 60))

    def name(sex: int, years: int) -> tuple[str, str, str, str]:
        given, given_kana = _given(book, sex, people.birthday(years))
        return surname, given, kana, given_kana

    sex = int(rng.integers(1, 3))
    head = people.resident(people.new_household(), name(sex, age), age, sex, came_on=book.date)
    rows = [head]
    for order in range(2, size + 1):
        relation = (("12", "妻") if sex == 1 else ("11", "夫")) if order == 2 else ("20", "子")
        years = age if order == 2 else max(0, age - 25 - order)
        mine = (3 - sex) if order == 2 else int(rng.integers(1, 3))
        born = people.birthday(years, -int(rng.integers(1, 300)))
        born = min(born, book.day - dt.timedelta(days=1))
        rows.append(people.member(head, name(mine, years), years, mine, relation, order,
                                  born_on=born.isoformat(), came_on=book.date))  # fmt: skip
    origin = origin_columns(int(rng.integers(0, 1000)))
    for row in rows:
        book.enter(row | origin)


def relocate(scene: Scene) -> None:
    """The whole household moves inside the town (転居)."""
    book = scene.book
    target = book.new_address()
    for row in scene.members:
        before = {
            f"address_before_relocation_{part}": row[f"address_{part}"]
            for part in WHOLE_ADDRESS
            if part != "lot_numeric"
        }
        book.revise(
            row, "30", address_established_on=book.date,
            address_established_notified_on=book.date, **before, **target,
        )  # fmt: skip


def marry(scene: Scene) -> None:
    """Two persons living alone marry; the partner takes the name and joins the household."""
    if scene.partner is None:
        return
    book, head, partner = scene.book, scene.person, scene.partner.person
    surname, kana = head["surname"], head["full_name_kana"].split("　")[0]
    full = f"{surname}　{partner['given_name']}"
    full_kana = f"{kana}　{partner['full_name_kana'].split('　')[-1]}"
    wife = partner["sex"] == "2"
    domicile = {k: v for k, v in head.items()
                if k.startswith(("registered_domicile", "family_register"))}  # fmt: skip
    book.revise(
        partner, "41", full_name=full, surname=surname, full_name_kana=full_kana,
        preferred_full_name=full, preferred_full_name_kana=full_kana,
        household_number=head["household_number"], entry_order="2",
        head_of_household_name=head["full_name"], address_established_on=book.date,
        address_established_notified_on=book.date, former_surname="", former_surname_kana="",
        **_relation("12", "妻") if wife else _relation("11", "夫"),
        **domicile, **address_of(head),
    )  # fmt: skip
    book.revise(head, "42", family_register_head=head["full_name"],
                family_register_head_surname=head["surname"],
                family_register_head_given_name=head["given_name"])  # fmt: skip
    life_services.erase_seals(scene.partner, "04")


def split_household(scene: Scene) -> None:
    """A grown-up child becomes a household of its own at the same address (世帯分離)."""
    book, person = scene.book, scene.person
    book.revise(
        person, "31", household_number=book.arrivals.new_household(), entry_order="1",
        head_of_household_name=person["full_name"], **_relation("02", "世帯主"),
    )  # fmt: skip
    close_ranks(book, [row for row in scene.members if row is not person], left_head=False)


def confirm_kana(scene: Scene) -> None:
    """The reading of the name is notified and confirmed (振り仮名届)."""
    scene.book.revise(scene.person, "47", full_name_kana_confirmation="1")


def enter_former_surname(scene: Scene) -> None:
    """A former surname is entered (旧氏の記載)."""
    book, person = scene.book, scene.person
    table = surnames()
    index = int(table.draw(book.rng, 1)[0])
    name, kana = table.value("surname", index), table.value("kana", index)
    book.revise(person, "43", former_surname=name, former_surname_kana=kana)
    life_services.enter_alias(book, person, "1", name, kana)


def correct(scene: Scene) -> None:
    """An entry is corrected by authority (職権修正): the district code."""
    renumber_district(scene.book, scene.person)


def renumber_district(book: Book, person: Row) -> None:
    """Give a resident another district code."""
    book.revise(person, "40", district_code_1=f"G{int(book.rng.integers(200, 260))}")


def extend_stay(scene: Scene) -> None:
    """The period of stay of a foreign resident is extended (在留情報変更)."""
    until = scene.book.day + dt.timedelta(days=3 * 365)
    scene.book.revise(
        scene.person, "44", residence_period_expires_on=until.isoformat(),
        residence_period_years="3", residence_period_as_written="3年",
    )  # fmt: skip


def change_record_code(scene: Scene) -> None:
    """A resident asks for another resident record code."""
    code = scene.person["resident_record_code"]
    digits = [int(c) for c in code[1:10]] + [int(code[0])]
    total = sum(d * w for d, w in zip(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2), strict=True)) % 11
    check = 0 if total <= 1 else 11 - total
    scene.book.revise(
        scene.person, "46", resident_record_code="".join(map(str, digits)) + str(check)
    )


def naturalize(scene: Scene) -> None:
    """A foreign resident becomes Japanese (帰化): the record turns into a Japanese one."""
    book, person = scene.book, scene.person
    table = surnames()
    index = int(table.draw(book.rng, 1)[0])
    given, given_kana = _given(book, int(person["sex"]), dt.date.fromisoformat(person["born_on"]))
    full = f"{table.value('surname', index)}　{given}"
    kana = f"{table.value('kana', index)}　{given_kana}"
    foreign_only = ("nationality_", "article_30", "residence_", "became_foreign", "place_of_res",
                    "full_name_roman", "full_name_kanji", "alias")  # fmt: skip
    cleared = {name: "" for name in person if name.startswith(foreign_only)}
    domicile = Register._domicile(book.arrivals, full, table.value("surname", index), given)
    book.revise(person, "13", **cleared | domicile | {
        "resident_kind": "1", "full_name": full, "surname": table.value("surname", index),
        "given_name": given, "full_name_kana": kana, "full_name_kana_confirmation": "1",
        "preferred_full_name": full, "preferred_full_name_kana": kana,
        "head_of_household_name": full,
        "born_on_era": era_of(dt.date.fromisoformat(person["born_on"])),
        "became_resident_on": person["became_foreign_resident_on"],
        "became_resident_on_unknown": "0",
    })  # fmt: skip


def start_change(scene: Scene) -> None:
    """A notification is being examined: the household is marked until the next day."""
    head = scene.members[0]
    scene.book.put("J01", head | {"change_pending": "1"})
    scene.book.later(1, "finish_change", head["household_number"])


def finish_change(scene: Scene) -> None:
    """The examination has ended."""
    for row in scene.members:
        if row["change_pending"] == "1":
            scene.book.put("J01", row | {"change_pending": "0"})
