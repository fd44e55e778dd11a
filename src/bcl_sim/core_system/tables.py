"""The small facts tables the synthetic town is drawn from, loaded once.

Sources of the facts: age pyramid = census 2020 by five-year class and sex; surname weights =
estimated bearers in thousands; codes of other municipalities = published local government codes.
Streets and the towns themselves are invented.
"""

from __future__ import annotations

import csv
import datetime as dt
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import polars as pl

FIRST_DATE = dt.date(1850, 1, 1)
_FIRST_DAY = FIRST_DATE.toordinal()
_DAYS = dt.date(2200, 1, 1).toordinal() - _FIRST_DAY


@dataclass(frozen=True)
class FileLayout:
    """What the core system knows about one linkage file: titles, names and key columns."""

    file_id: str
    titles: tuple[str, ...]
    names: tuple[str, ...]
    types: tuple[str, ...]
    lengths: tuple[int, ...]
    keys: tuple[str, ...]

    def key_of(self, row: dict[str, str]) -> str:
        """The record key of a row as one text, parts joined by `|`."""
        return "|".join(row[name] for name in self.keys)


@dataclass(frozen=True)
class TownFacts:
    """Name and shape of one invented municipality."""

    municipality_code: str
    name: str
    prefecture: str
    share_of_foreign_residents: float


def read_table(name: str) -> list[dict[str, str]]:
    """All rows of a csv file of this package (`data/<name>.csv` or `<name>.csv`)."""
    root = resources.files("bcl_sim.core_system")
    path = root / "data" / f"{name}.csv"
    if not path.is_file():
        path = root / f"{name}.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@cache
def layouts() -> dict[str, FileLayout]:
    """Layout facts by file id, columns in file order."""
    grouped: dict[str, list[dict[str, str]]] = {}
    for row in read_table("layout_facts"):
        grouped.setdefault(row["file_id"], []).append(row)
    found = {}
    for file_id, rows in grouped.items():
        rows.sort(key=lambda row: int(row["position"]))
        keyed = sorted((r for r in rows if r["key_position"]), key=lambda r: int(r["key_position"]))
        found[file_id] = FileLayout(
            file_id=file_id,
            titles=tuple(r["title_ja"] for r in rows),
            names=tuple(r["name"] for r in rows),
            types=tuple(r["type"] for r in rows),
            lengths=tuple(int(r["length"]) for r in rows),
            keys=tuple(r["name"] for r in keyed),
        )
    return found


@cache
def town_facts(municipality_code: str) -> TownFacts:
    """Facts of an invented town; any other code gets a neutral name."""
    for row in read_table("towns"):
        if row["municipality_code"] == municipality_code:
            return TownFacts(
                municipality_code,
                row["name"],
                row["prefecture"],
                float(row["share_of_foreign_residents"]),
            )
    return TownFacts(municipality_code, "みほん町", "見本県", 0.02)


class Choice:
    """A facts table as columns that can be gathered by index (numpy in, polars out)."""

    def __init__(self, rows: list[dict[str, str]], weight: str | None = None) -> None:
        self.size = len(rows)
        self._columns = {
            name: pl.Series(name, [row[name] for row in rows], dtype=pl.String)
            for name in (rows[0] if rows else {})
        }
        shares = np.array([float(r[weight]) if weight else 1.0 for r in rows])
        self._cumulative = np.cumsum(shares / shares.sum())
        self._cumulative[-1] = 1.0

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """`count` row indexes by weight."""
        return np.searchsorted(self._cumulative, rng.random(count), side="right").astype(np.int64)

    def take(self, column: str, index: np.ndarray) -> pl.Series:
        """Column values at `index`."""
        return gather(self._columns[column], index)

    def value(self, column: str, index: int) -> str:
        """One value."""
        return self._columns[column][int(index)]


def gather(series: pl.Series, index: np.ndarray) -> pl.Series:
    """`series[index]` for a numpy index array, without a Python loop."""
    return series.gather(pl.Series(index.astype(np.uint32)))


@cache
def choices(name: str, weight: str | None = None) -> Choice:
    """The facts table `name` ready for drawing."""
    return Choice(read_table(name), weight)


@cache
def given_names() -> dict[tuple[int, int], Choice]:
    """Given names by (sex, first year of birth of the generation)."""
    grouped: dict[tuple[int, int], list[dict[str, str]]] = {}
    for row in read_table("given_names"):
        grouped.setdefault((int(row["sex"]), int(row["born_from_year"])), []).append(row)
    return {key: Choice(rows) for key, rows in grouped.items()}


@cache
def age_shares() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(sex, age, share) over single years of age; shares add up to one.

    Inside a five-year class the people are spread evenly, except above 94, where each year
    keeps two thirds of the one before.
    """
    sexes: list[int] = []
    ages: list[int] = []
    people: list[float] = []
    for row in read_table("age_pyramid"):
        low, high = int(row["age_from"]), int(row["age_until"])
        parts = np.array([(2 / 3) ** i if low >= 95 else 1.0 for i in range(high - low)])
        for offset, part in enumerate(parts / parts.sum()):
            sexes.append(int(row["sex"]))
            ages.append(low + offset)
            people.append(float(row["people"]) * part)
    total = np.array(people)
    return np.array(sexes), np.array(ages), total / total.sum()


@cache
def _date_texts() -> pl.Series:
    texts = [dt.date.fromordinal(_FIRST_DAY + i).isoformat() for i in range(_DAYS)]
    return pl.Series("date", [*texts, ""], dtype=pl.String)


NO_DAY = -(10**9)


def day_number(date: dt.date) -> int:
    """Days since 1850-01-01, the unit of every date array here."""
    return date.toordinal() - _FIRST_DAY


def date_of(day: int) -> dt.date:
    """The date of a day number."""
    return dt.date.fromordinal(_FIRST_DAY + int(day))


def date_texts(days: np.ndarray) -> pl.Series:
    """ISO texts of day numbers; `NO_DAY` becomes the empty text."""
    index = np.where(days == NO_DAY, _DAYS, days)
    return gather(_date_texts(), index)


@cache
def number_texts() -> pl.Series:
    """Texts of 0..9999 for gathering small numbers."""
    return pl.Series("number", [str(i) for i in range(10_000)], dtype=pl.String)
