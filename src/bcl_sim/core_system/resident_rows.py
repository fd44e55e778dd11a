"""Rows of J01 for a generated block: current residents, their history rows, removed records.

Every array is one column over all persons of the block; texts are gathered from the facts
tables, so a block of 20,000 persons costs a few tenths of a second.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from bcl_sim.core_system import numbers
from bcl_sim.core_system.name_columns import Names, draw_names
from bcl_sim.core_system.population import HEAD, RELATIONS, People
from bcl_sim.core_system.tables import (
    NO_DAY,
    TownFacts,
    choices,
    date_texts,
    day_number,
    gather,
    layouts,
    number_texts,
)

Columns = dict[str, pl.Series]

_ERA_STARTS = np.array(
    [
        day_number(dt.date(1912, 7, 30)),
        day_number(dt.date(1926, 12, 25)),
        day_number(dt.date(1989, 1, 8)),
        day_number(dt.date(2019, 5, 1)),
    ]
)
_OPERATORS = pl.Series("operator", [f"OP{i:04d}" for i in range(20)])
FOREIGN_STATUS = (
    ("A", "永住者", ""),
    ("B", "技術・人文知識・国際業務", "5"),
    ("C", "留学", "2"),
    ("D", "家族滞在", "3"),
    ("E", "特定技能１号", "1"),
)
"""(made-up code, name, years); the town's own codes, the printed text is the name."""


@dataclass(frozen=True)
class BlockPlan:
    """What a block is drawn from: town, day, and who lives there."""

    facts: TownFacts
    seed: int
    today: int
    first_person: int
    first_household: int
    people: People


@dataclass(frozen=True)
class Traits:
    """Plain arrays the other files need, one entry per current resident of the block."""

    person: np.ndarray
    household: np.ndarray
    born: np.ndarray
    settled: np.ndarray
    foreign: np.ndarray
    age: np.ndarray
    relocated: np.ndarray
    moved_in: np.ndarray


def frame_of(file_id: str, count: int, columns: Columns) -> pl.DataFrame:
    """A frame with every column of the layout; columns not given are empty texts."""
    empty = pl.repeat("", count, dtype=pl.String, eager=True)
    names = layouts()[file_id].names
    unknown = set(columns) - set(names)
    if unknown:
        raise KeyError(f"{file_id} has no column {sorted(unknown)}")
    return pl.DataFrame([columns.get(name, empty).alias(name) for name in names])


def constant(value: str, count: int) -> pl.Series:
    """One text, `count` times."""
    return pl.repeat(value, count, dtype=pl.String, eager=True)


def flags(mask: np.ndarray) -> pl.Series:
    """`0`/`1` texts of a boolean array."""
    return gather(number_texts(), mask.astype(np.int64))


def small_numbers(values: np.ndarray) -> pl.Series:
    """Texts of numbers 0..9999."""
    return gather(number_texts(), values)


@cache
def wide_numbers() -> pl.Series:
    """Full-width texts of 0..9999, as addresses are written."""
    wide = str.maketrans("0123456789", "０１２３４５６７８９")
    return pl.Series("wide", [str(i).translate(wide) for i in range(10_000)])


def where(mask: np.ndarray, chosen: pl.Series, other: pl.Series) -> pl.Series:
    """`chosen` where the mask holds, else `other`."""
    return chosen.zip_with(pl.Series(mask), other)


def only(mask: np.ndarray, chosen: pl.Series) -> pl.Series:
    """`chosen` where the mask holds, else empty."""
    return where(mask, chosen, constant("", len(mask)))


def stamp(rng: np.random.Generator, days: np.ndarray) -> Columns:
    """Operator, date and time of the last write of each row; the deletion flag is 0."""
    count = len(days)
    clock = rng.integers(8 * 60 + 30, 17 * 60 + 15, count)
    hours = gather(_two_digits(), clock // 60)
    minutes = gather(_two_digits(), clock % 60)
    return {
        "deleted": constant("0", count),
        "operator_id": gather(_OPERATORS, rng.integers(0, 20, count)),
        "operated_on": date_texts(days),
        "operated_time": hours + ":" + minutes + ":00",
    }


@cache
def _two_digits() -> pl.Series:
    return pl.Series("two", [f"{i:02d}" for i in range(100)])


def draw_addresses(
    rng: np.random.Generator, facts: TownFacts, households: int, prefix: str = "address"
) -> Columns:
    """One address inside the town per household, columns under `prefix`."""
    streets = choices("streets")
    street = streets.draw(rng, households)
    block, number = rng.integers(1, 60, households), rng.integers(1, 40, households)
    flat = rng.random(households) < 0.35
    house = rng.integers(0, 900, households)
    room = rng.integers(1, 9, households) * 100 + rng.integers(1, 13, households)
    building = "サンプルハイツ" + gather(_houses(), house)
    columns = {
        "town_code": streets.take("town_code", street),
        "town": streets.take("street", street),
        "lot_as_written": gather(wide_numbers(), block)
        + "番"
        + gather(wide_numbers(), number)
        + "号",
        "building_code": only(flat, small_numbers(house + 1000)),
        "building": only(flat, building + gather(wide_numbers(), room) + "号室"),
        "building_kana": only(flat, building + gather(wide_numbers(), room) + "ゴウシツ"),
        "postal_code": streets.take("postal_code", street),
        "municipality_code": constant(facts.municipality_code, households),
        "prefecture": constant(facts.prefecture, households),
        "municipality_name": constant(facts.name, households),
    }
    result = {f"{prefix}_{name}": series for name, series in columns.items()}
    if prefix == "address":
        result["address_lot_numeric"] = small_numbers(block) + "-" + small_numbers(number)
    return result


@cache
def _houses() -> pl.Series:
    letters = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホ"
    return pl.Series("house", [letters[i // 30] + letters[i % 30] for i in range(900)])


def draw_traits(rng: np.random.Generator, plan: BlockPlan) -> Traits:
    """Days of birth, of becoming a resident and of the last move, and who is foreign."""
    people, households = plan.people, plan.people.households
    count = len(people.age)
    born = plan.today - np.floor(people.age * 365.2425).astype(np.int64)
    born = born - rng.integers(0, 365, count)
    came = plan.today - (rng.exponential(6500, households).astype(np.int64) + 2)
    household_came = came[people.household]
    settled = np.maximum(household_came, born)
    native = (rng.random(count) < 0.35) & (people.relation != HEAD)
    settled = np.where(native, born, settled)
    foreign_households = rng.random(households) < plan.facts.share_of_foreign_residents
    foreign = foreign_households[people.household]
    # A relocation inside the town moves the whole household after its youngest was born.
    youngest = np.full(households, 0)
    np.maximum.at(youngest, people.household, settled)
    span = plan.today - youngest
    relocated_home = (rng.random(households) < 0.15) & (span > 60)
    relocated_on = youngest + 30 + (rng.random(households) * np.maximum(span - 40, 1)).astype(int)
    relocated = np.where(relocated_home, relocated_on, NO_DAY)[people.household]
    return Traits(
        person=plan.first_person + np.arange(count),
        household=plan.first_household + people.household,
        born=born,
        settled=settled,
        foreign=foreign,
        age=people.age,
        relocated=relocated,
        moved_in=settled > born,
    )


@cache
def _relation_codes() -> tuple[pl.Series, pl.Series, pl.Series]:
    return (
        pl.Series("first", [codes[0] for codes, _ in RELATIONS]),
        pl.Series("second", [codes[1] if len(codes) > 1 else "" for codes, _ in RELATIONS]),
        pl.Series("written", [text for _, text in RELATIONS]),
    )


def current_rows(rng: np.random.Generator, plan: BlockPlan) -> tuple[pl.DataFrame, Traits, Names]:
    """J01 rows (latest = 1, state = 1) of every living resident of the block."""
    people = plan.people
    traits = draw_traits(rng, plan)
    names = draw_names(
        rng, people=people, born=traits.born, foreign=traits.foreign, today=plan.today
    )
    count = len(people.age)
    starts = np.searchsorted(people.household, np.arange(people.households), side="left")
    head = starts[people.household]
    columns: Columns = {}
    columns |= _identity_columns(plan, traits)
    columns |= names.columns
    columns |= {
        name: gather(series, people.household)
        for name, series in draw_addresses(rng, plan.facts, people.households).items()
    }
    first, second, written = _relation_codes()
    columns |= {
        "entry_order": small_numbers(people.order),
        "sex": small_numbers(people.sex),
        "sex_as_written": where(people.sex == 1, constant("男", count), constant("女", count)),
        "relationship_code_1": gather(first, people.relation),
        "relationship_code_2": gather(second, people.relation),
        "relationship_as_written": gather(written, people.relation),
        "head_of_household_name": gather(columns["full_name"], head),
    }
    columns |= _residence_columns(rng, plan, traits)
    columns |= _register_columns(rng, traits, people, names, head)
    columns |= _foreign_columns(rng, traits, names, plan.today)
    last = np.where(traits.relocated == NO_DAY, traits.settled, traits.relocated)
    columns |= stamp(rng, last)
    columns["change_notified_on"] = columns["operated_on"]
    return frame_of("J01", count, columns), traits, names


def _identity_columns(plan: BlockPlan, traits: Traits) -> Columns:
    count = len(traits.person)
    era = np.searchsorted(_ERA_STARTS, traits.born, side="right") + 1
    moved = traits.relocated != NO_DAY
    return {
        "municipality_code": constant(plan.facts.municipality_code, count),
        "addressee_number": numbers.addressee_numbers(traits.person),
        "history_number": small_numbers(moved + 1),
        "history_branch_number": constant("0", count),
        "latest": constant("1", count),
        "rewrite_number": constant("1", count),
        "household_number": numbers.household_numbers(traits.household),
        "resident_kind": small_numbers(traits.foreign + 1),
        "resident_state": constant("1", count),
        "resident_record_code": numbers.resident_record_codes(traits.person, plan.seed),
        "born_on": date_texts(traits.born),
        "born_on_unknown": constant("0", count),
        "born_on_era": only(~traits.foreign, small_numbers(era)),
        "changed_on_unknown": constant("0", count),
        "removed_record": constant("0", count),
        "change_pending": constant("0", count),
        "under_adult_guardianship": flags((traits.person % 997) == 0),
        "district_code_1": "G" + small_numbers(traits.household % 60 + 100),
        "district_code_2": "S" + small_numbers(traits.household % 12 + 100),
    }


def _residence_columns(rng: np.random.Generator, plan: BlockPlan, traits: Traits) -> Columns:
    """When and from where each person came, and the last move inside the town."""
    count = len(traits.person)
    moved = traits.relocated != NO_DAY
    last = np.where(moved, traits.relocated, traits.settled)
    reason = np.where(moved, 30, np.where(traits.moved_in, 10, 11))
    others = choices("other_municipalities")
    # One origin per household: families come together.
    households = plan.people.households
    origin = others.draw(rng, households)[plan.people.household]
    lot = gather(wide_numbers(), rng.integers(1, 40, count)) + "番地"
    from_elsewhere = traits.moved_in
    before = {
        "municipality_code": others.take("municipality_code", origin),
        "prefecture": others.take("prefecture", origin),
        "municipality_name": others.take("name", origin),
        "town": others.take("street", origin),
        "lot_as_written": lot,
        "postal_code": others.take("postal_code", origin),
    }
    columns = {
        f"address_before_moving_in_{name}": only(from_elsewhere, series)
        for name, series in before.items()
    }
    relocation = draw_addresses(rng, plan.facts, households, "address_before_relocation")
    columns |= {
        name: only(moved, gather(series, plan.people.household))
        for name, series in relocation.items()
    }
    columns |= {
        "changed_on": date_texts(last),
        "change_reason": small_numbers(reason),
        "entry_reason": small_numbers(np.where(traits.moved_in, 10, 11)),
        "entry_changed_on": date_texts(traits.settled),
        "entry_changed_on_unknown": constant("0", count),
        "became_resident_on": only(~traits.foreign, date_texts(traits.settled)),
        "became_resident_on_unknown": only(~traits.foreign, constant("0", count)),
        "address_established_on": date_texts(last),
        "address_established_on_unknown": constant("0", count),
        "address_established_notified_on": date_texts(last),
    }
    return columns


def _register_columns(
    rng: np.random.Generator, traits: Traits, people: People, names: Names, head: np.ndarray
) -> Columns:
    """Registered domicile and head of the family register, Japanese residents only."""
    japanese = ~traits.foreign
    others = choices("other_municipalities")
    place = others.draw(rng, people.households)[people.household]
    own = people.lineage > 0
    place = np.where(own, others.draw(rng, len(own)), place)
    lot = gather(wide_numbers(), (traits.household % 900) + 1) + "番地"
    holder = np.where(own, np.arange(len(own)), head)
    whole = (
        others.take("prefecture", place)
        + others.take("name", place)
        + others.take("street", place)
        + lot
    )
    return {
        "registered_domicile": only(japanese, whole),
        "registered_domicile_municipality_code": only(
            japanese, others.take("municipality_code", place)
        ),
        "registered_domicile_town": only(japanese, others.take("street", place)),
        "registered_domicile_lot": only(japanese, lot),
        "family_register_head": only(japanese, gather(names.columns["full_name"], holder)),
        "family_register_head_surname": only(japanese, gather(names.columns["surname"], holder)),
        "family_register_head_given_name": only(
            japanese, gather(names.columns["given_name"], holder)
        ),
    }


def _foreign_columns(rng: np.random.Generator, traits: Traits, names: Names, today: int) -> Columns:
    """Nationality, status and period of stay, foreign residents only."""
    foreign, count = traits.foreign, len(traits.foreign)
    special = foreign & (rng.random(count) < 0.1)
    kind = rng.choice(len(FOREIGN_STATUS), size=count, p=[0.4, 0.25, 0.1, 0.15, 0.1])
    permanent = special | (kind == 0)
    status = [pl.Series("s", [row[part] for row in FOREIGN_STATUS]) for part in range(3)]
    expires = today + rng.integers(30, 1500, count)
    number = traits.person % 100_000_000
    card = "AB" + gather(_two_digits(), number // 1_000_000 % 100)
    card = card + gather(_three(), number // 1000 % 1000) + gather(_three(), number % 1000) + "ZZ"
    timed = foreign & ~permanent
    period = where(permanent, constant("無期限", count), gather(status[2], kind) + "年")
    return {
        "became_foreign_resident_on": only(foreign, date_texts(traits.settled)),
        "became_foreign_resident_on_unknown": only(foreign, constant("0", count)),
        "nationality_country_code": only(foreign, names.country_code),
        "nationality_name": only(foreign, names.country_name),
        "article_30_45_kind": only(foreign, small_numbers(special + 1)),
        "residence_status_code": only(foreign & ~special, gather(status[0], kind)),
        "residence_status_name": only(foreign & ~special, gather(status[1], kind)),
        "residence_period_years": only(timed, gather(status[2], kind)),
        "residence_period_as_written": only(foreign & ~special, period),
        "residence_period_expires_on": only(timed, date_texts(expires)),
        "residence_card_number": only(foreign, card),
        "residence_card_number_kind": only(foreign, small_numbers(special + 1)),
        "place_of_residence_notified": only(foreign, constant("1", count)),
    }


@cache
def _three() -> pl.Series:
    return pl.Series("three", [f"{i:03d}" for i in range(1000)])


def history_rows(current: pl.DataFrame, traits: Traits) -> pl.DataFrame:
    """The row before the last relocation of everybody who relocated (latest = 0)."""
    moved = np.flatnonzero(traits.relocated != NO_DAY)
    rows = current[pl.Series(moved.astype(np.uint32))] if len(moved) else current.clear()
    settled = date_texts(traits.settled[moved])
    address = {
        f"address_{name}": rows[f"address_before_relocation_{name}"]
        for name in (
            "municipality_code", "town_code", "prefecture", "municipality_name", "town",
            "lot_as_written", "building_code", "building", "building_kana", "postal_code",
        )
    }  # fmt: skip
    empty = constant("", len(moved))
    cleared = {name: empty for name in rows.columns if name.startswith("address_before_relocation")}
    changed = {
        "history_number": constant("1", len(moved)),
        "latest": constant("0", len(moved)),
        "changed_on": settled,
        "change_reason": rows["entry_reason"],
        "change_notified_on": settled,
        "address_lot_numeric": empty,
        "address_established_on": settled,
        "address_established_notified_on": settled,
    }
    return rows.with_columns(
        [series.alias(name) for name, series in (address | cleared | changed).items()]
    )


def removed_rows(
    rng: np.random.Generator, plan: BlockPlan, elsewhere: bool
) -> tuple[pl.DataFrame, Traits]:
    """Removed records: whole households that moved out, or (else) single persons who died."""
    rows, traits, _ = current_rows(rng, plan)
    count = len(rows)
    latest_move = np.maximum(traits.settled, traits.relocated)
    room = np.maximum(plan.today - latest_move - 1, 1)
    share = rng.random(plan.people.households if elsewhere else count)
    share = share[plan.people.household] if elsewhere else share
    left = latest_move + (share * np.minimum(room, 1500)).astype(np.int64)
    day = date_texts(np.minimum(left, plan.today - 1))
    reason = constant("20" if elsewhere else "21", count)
    changed = {
        "resident_state": constant("2" if elsewhere else "3", count),
        "history_number": small_numbers((traits.relocated != NO_DAY) + 2),
        "removed_record": constant("1", count),
        "removed_record_registered_on": day,
        "removal_reason": reason,
        "removal_notified_on": day,
        "removal_changed_on": day,
        "removal_changed_on_unknown": constant("0", count),
        "change_reason": reason,
        "changed_on": day,
        "change_notified_on": day,
        "operated_on": day,
        "entry_order": constant("", count),
    }
    if elsewhere:
        changed |= _destination(rng, plan.people, day)
    return rows.with_columns([s.alias(name) for name, s in changed.items()]), traits


def _destination(rng: np.random.Generator, people: People, day: pl.Series) -> Columns:
    others = choices("other_municipalities")
    place = others.draw(rng, people.households)[people.household]
    columns: Columns = {
        "moving_out_notified_on": day,
        "moving_out_planned_on": day,
        "moving_out_confirmed_on": day,
        "moving_in_notice_on": day,
    }
    for kind in ("planned", "confirmed"):
        columns |= {
            f"{kind}_destination_{ours}": others.take(theirs, place)
            for ours, theirs in (
                ("municipality_code", "municipality_code"),
                ("prefecture", "prefecture"),
                ("municipality_name", "name"),
                ("town", "street"),
                ("postal_code", "postal_code"),
            )
        }
    return columns
