"""Names for a block of persons: Japanese ones by frequency, foreign ones by kind of record.

A household bears the head's surname; the spouse's parents and lodgers bear their own.
About 1.5 % of surnames hold characters that trouble other systems (variation sequences,
compatibility ideographs, plane 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from bcl_sim.core_system.population import WIFE, People
from bcl_sim.core_system.tables import Choice, choices, day_number, given_names, read_table

_GENERATIONS = (1850, 1950, 1970, 1990, 2010)
_HARD_SHARE = 0.015


@dataclass(frozen=True)
class Names:
    """Name columns of J01 and, for foreign residents, their country."""

    columns: dict[str, pl.Series]
    country_code: pl.Series
    country_name: pl.Series


@cache
def surnames() -> Choice:
    """Common surnames by frequency plus the hard ones, 1.5 % together."""
    common, hard = read_table("surnames"), read_table("hard_surnames")
    total = sum(float(row["weight"]) for row in common)
    weight = str(total * _HARD_SHARE / len(hard))
    return Choice(common + [row | {"weight": weight} for row in hard], "weight")


def _generation_starts() -> np.ndarray:
    import datetime as dt

    return np.array([day_number(dt.date(year, 1, 1)) for year in _GENERATIONS])


def draw_given_names(
    rng: np.random.Generator, sex: np.ndarray, born: np.ndarray
) -> tuple[pl.Series, pl.Series]:
    """Given names and kana by sex and generation."""
    generation = np.searchsorted(_generation_starts(), born, side="right") - 1
    tables = given_names()
    keys = [(s, year) for s in (1, 2) for year in _GENERATIONS]
    texts = pl.concat([tables[key].take("given_name", np.arange(tables[key].size)) for key in keys])
    kana = pl.concat([tables[key].take("kana", np.arange(tables[key].size)) for key in keys])
    sizes = np.array([tables[key].size for key in keys])
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    cell = (sex - 1) * len(_GENERATIONS) + generation
    index = offsets[cell] + (rng.random(len(sex)) * sizes[cell]).astype(np.int64)
    picked = pl.Series(index.astype(np.uint32))
    return texts.gather(picked), kana.gather(picked)


def draw_names(
    rng: np.random.Generator,
    *,
    people: People,
    born: np.ndarray,
    foreign: np.ndarray,
    today: int,
) -> Names:
    """All name columns of J01 for the block."""
    count, households = len(people.age), people.households
    table = surnames()
    by_lineage = np.stack([table.draw(rng, households), table.draw(rng, households)])
    surname_index = by_lineage[np.minimum(people.lineage, 1), people.household]
    surname_index = np.where(people.lineage == 2, table.draw(rng, count), surname_index)
    given, given_kana = draw_given_names(rng, people.sex, born)
    surname, surname_kana = table.take("surname", surname_index), table.take("kana", surname_index)
    ours = pl.Series(~foreign)
    empty = pl.repeat("", count, dtype=pl.String, eager=True)
    full, kana = surname + "　" + given, surname_kana + "　" + given_kana
    former = pl.Series((people.relation == WIFE) & ~foreign & (rng.random(count) < 0.03))
    maiden = table.draw(rng, count)
    abroad = _foreign_names(rng, people, surname, surname_kana)
    confirmed = pl.Series(rng.random(count) < 0.93)
    one = pl.repeat("1", count, dtype=pl.String, eager=True)
    zero = pl.repeat("0", count, dtype=pl.String, eager=True)
    columns = {
        "full_name": full.zip_with(ours, abroad["full_name"]),
        "surname": surname.zip_with(ours, empty),
        "given_name": given.zip_with(ours, empty),
        "full_name_kana": kana.zip_with(ours, abroad["full_name_kana"]),
        "full_name_kana_confirmation": one.zip_with(confirmed, zero).zip_with(ours, empty),
        "former_surname": table.take("surname", maiden).zip_with(former, empty),
        "former_surname_kana": table.take("kana", maiden).zip_with(former, empty),
        "preferred_full_name": full.zip_with(ours, abroad["preferred_full_name"]),
        "preferred_full_name_kana": kana.zip_with(ours, abroad["preferred_full_name_kana"]),
    }
    for name in ("full_name_roman", "full_name_kanji", "alias", "alias_kana"):
        columns[name] = empty.zip_with(ours, abroad[name])
    return Names(columns, abroad["country_code"], abroad["country_name"])


def _foreign_names(
    rng: np.random.Generator, people: People, surname: pl.Series, surname_kana: pl.Series
) -> dict[str, pl.Series]:
    """Names as foreign residents have them: roman only, roman and kanji, kanji only, alias."""
    count = len(people.age)
    families, givens = choices("foreign_surnames"), choices("foreign_given_names")
    countries = choices("nationalities", "weight")
    family = families.draw(rng, people.households)[people.household]
    given = givens.draw(rng, count)
    country = countries.draw(rng, people.households)[people.household]
    family_kanji = families.take("kanji", family)
    roman = families.take("roman", family) + " " + givens.take("roman", given)
    kana = families.take("kana", family) + "　" + givens.take("kana", given)
    kanji = family_kanji + "　" + givens.take("kanji", given)
    chance = rng.random(count)
    has_kanji = (family_kanji != "").to_numpy()
    kanji_only = pl.Series(has_kanji & (chance < 0.2))
    with_kanji = pl.Series(has_kanji & (chance < 0.7))
    empty = pl.repeat("", count, dtype=pl.String, eager=True)
    aliased = pl.Series(rng.random(count) < 0.2)
    alias = (surname + "　" + givens.take("kana", given)).zip_with(aliased, empty)
    alias_kana = (surname_kana + "　" + givens.take("kana", given)).zip_with(aliased, empty)
    full = kanji.zip_with(kanji_only, roman)
    return {
        "full_name": full,
        "full_name_roman": empty.zip_with(kanji_only, roman),
        "full_name_kanji": kanji.zip_with(with_kanji, empty),
        "full_name_kana": kana,
        "alias": alias,
        "alias_kana": alias_kana,
        "preferred_full_name": alias.zip_with(aliased, full),
        "preferred_full_name_kana": alias_kana.zip_with(aliased, kana),
        "country_code": countries.take("country_code", country),
        "country_name": countries.take("name", country),
    }
