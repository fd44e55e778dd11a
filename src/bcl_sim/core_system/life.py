"""A town lives: each day draws how many events of each kind happen, and to whom.

Rates are yearly figures per 1,000 residents, of the size Japanese municipalities report. Planted
persons are left alone, so that their cases stay what they are.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from bcl_sim.core_system import life_people as people
from bcl_sim.core_system import life_services as services
from bcl_sim.core_system import numbers
from bcl_sim.core_system.life_book import Book, rewrite_cards
from bcl_sim.core_system.life_people import Scene
from bcl_sim.core_system.store import CoreStore, Row
from bcl_sim.core_system.tax_rows import payers_of, tax_frames

_INDEX_COLUMNS = [
    "addressee_number", "household_number", "latest", "resident_state", "resident_kind", "born_on",
    "sex", "relationship_code_1", "full_name_kana_confirmation", "former_surname",
    "moving_out_planned_on", "change_pending", "residence_period_expires_on",
]  # fmt: skip
_FRESH_INDEX_LIMIT = 50_000
_INDEX_DAYS = 10


@dataclass
class LifeIndex:
    """Current residents as columns: who they are, and what they hold (boolean masks).

    Rows stand in order of household; `starts` and `ends` give the rows of each one's household.
    """

    frame: pl.DataFrame
    starts: np.ndarray
    ends: np.ndarray
    age: np.ndarray
    size: np.ndarray
    has_card: np.ndarray
    has_seal: np.ndarray
    measured: np.ndarray
    free: np.ndarray

    def is_(self, column: str, *values: str) -> np.ndarray:
        """Mask of residents whose column holds one of the values."""
        return self.frame[column].is_in(list(values)).to_numpy()

    def names_of(self, row: int) -> tuple[str, str]:
        """Addressee number and household number of a row."""
        return self.frame["addressee_number"][row], self.frame["household_number"][row]

    def occupy(self, row: int) -> None:
        """The household of this row has something to do today."""
        self.free[self.starts[row] : self.ends[row]] = False

    def occupy_household(self, household: str) -> None:
        """The same, by household number; an empty household is no matter."""
        row = int(self.frame["household_number"].search_sorted(household))
        if row < len(self.free) and self.frame["household_number"][row] == household:
            self.occupy(row)


Mask = Callable[[LifeIndex], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """One kind of event: name, yearly rate per 1,000 residents, whom it can hit, what it does."""

    name: str
    rate: float
    who: Mask
    act: Callable[[Scene], None]


def _adult(index: LifeIndex) -> np.ndarray:
    return index.age >= 20


def _alone(index: LifeIndex) -> np.ndarray:
    return (index.size == 1) & index.is_("resident_kind", "1") & index.is_("sex", "1", "2")


def _settled(index: LifeIndex) -> np.ndarray:
    return index.is_("moving_out_planned_on", "") & index.is_("change_pending", "0")


def _anybody(index: LifeIndex) -> np.ndarray:
    return np.ones(len(index.age), dtype=bool)


KINDS = (
    Kind("出生", 6.0, lambda i: (i.age >= 20) & (i.age < 45) & i.is_("sex", "2")
         & i.is_("relationship_code_1", "02", "12") & i.is_("resident_kind", "1"), people.birth),
    Kind("死亡", 13.0, lambda i: i.age >= 60, people.death),
    Kind("転入", 20.0, _anybody, people.move_in),
    Kind("転出届", 8.0, _settled, people.notify_moving_out),
    Kind("転出", 8.0, _settled, people.move_out),
    Kind("転居", 10.0, _settled, people.relocate),
    Kind("婚姻", 4.0, lambda i: _alone(i) & (i.age >= 20) & (i.age < 50), people.marry),
    Kind("世帯分離", 1.5, lambda i: (i.age >= 20) & i.is_("relationship_code_1", "20")
         & i.is_("resident_kind", "1"), people.split_household),
    Kind("職権消除", 0.2, lambda i: _adult(i) & (i.size == 1), people.removal),
    Kind("振り仮名届", 5.0, lambda i: i.is_("full_name_kana_confirmation", "0"),
         people.confirm_kana),
    Kind("旧氏の記載", 0.5, lambda i: _adult(i) & i.is_("former_surname", "")
         & i.is_("resident_kind", "1"), people.enter_former_surname),
    Kind("職権修正", 3.0, _anybody, people.correct),
    Kind("在留期間の更新", 6.0, lambda i: ~i.is_("residence_period_expires_on", ""),
         people.extend_stay),
    Kind("住民票コード変更", 0.1, _adult, people.change_record_code),
    Kind("帰化", 0.1, lambda i: i.is_("resident_kind", "2") & (i.size == 1) & _adult(i),
         people.naturalize),
    Kind("審査中の届出", 2.0, _settled, people.start_change),
    Kind("カード交付", 25.0, lambda i: ~i.has_card, services.new_card),
    Kind("カード更新", 60.0, lambda i: i.has_card, services.new_card),
    Kind("カード失効", 4.0, lambda i: i.has_card, services.revoke_card),
    Kind("カード一時停止", 2.0, lambda i: i.has_card, services.suspend_card),
    Kind("印鑑登録", 12.0, lambda i: _adult(i) & ~i.has_seal, services.register_seal),
    Kind("改印", 2.0, lambda i: _adult(i) & i.has_seal, services.register_seal),
    Kind("印鑑廃止", 5.0, lambda i: i.has_seal, services.abolish_seal),
    Kind("印鑑一時停止", 0.5, lambda i: i.has_seal, services.suspend_seal),
    Kind("支援措置の開始", 0.3, lambda i: _adult(i) & ~i.measured, services.begin_measure),
    Kind("支援措置の延長", 0.2, lambda i: i.measured, services.extend_measure),
    Kind("支援措置の終了", 0.15, lambda i: i.measured, services.end_measure),
    Kind("発行抑止", 0.5, _adult, services.begin_block),
    Kind("税の更正", 3.0, _adult, services.start_tax_revision),
)  # fmt: skip
_AGENDA = {"move_out": people.move_out, "finish_change": people.finish_change}
_NEEDS_TAX = {"税の更正"}


def build_index(store: CoreStore, day: dt.date) -> LifeIndex:
    """Who lives in the town now."""
    frame = store.columns("J01", _INDEX_COLUMNS).filter(
        (pl.col("latest") == "1") & (pl.col("resident_state") == "1")
    )
    frame = frame.sort("household_number", "addressee_number")
    home = frame["household_number"].rle_id().to_numpy()
    born = frame["born_on"].str.to_date("%Y-%m-%d")
    age = ((pl.Series([day]) - born).dt.total_days() / 365.2425).to_numpy()
    starts = np.searchsorted(home, home, side="left")
    ends = np.searchsorted(home, home, side="right")
    limit = numbers.addressee_number(numbers.PLANTED_LIMIT)
    planted = (frame["addressee_number"] < limit).to_numpy().astype(np.int64)
    counted = np.concatenate([[0], np.cumsum(planted)])

    def holders(file_id: str, column: str, *values: str) -> np.ndarray:
        found = store.columns(file_id, ["addressee_number", "latest", column]
                              if file_id != "J05" else ["addressee_number", column])  # fmt: skip
        if "latest" in found.columns:
            found = found.filter(pl.col("latest") == "1")
        numbers_held = found.filter(pl.col(column).is_in(list(values)))["addressee_number"]
        return frame["addressee_number"].is_in(numbers_held.implode()).to_numpy()

    return LifeIndex(
        frame=frame,
        starts=starts,
        ends=ends,
        age=np.floor(age),
        size=ends - starts,
        has_card=holders("J05", "link_status", "1"),
        has_seal=holders("S01", "seal_status", "1", "4"),
        measured=holders("J04", "measure_kind", "1", "2"),
        free=counted[ends] == counted[starts],
    )


@dataclass(frozen=True)
class _Pick:
    kind: Kind
    addressee_number: str
    household_number: str
    partner: tuple[str, str] | None = None


def draw_events(
    index: LifeIndex, rng: np.random.Generator, *, at_least_one: bool, skip: set[str]
) -> list[_Pick]:
    """Which events happen on a day; no household takes part in two of them."""
    picks = []
    for kind in KINDS:
        if kind.name in skip:
            continue
        count = int(rng.poisson(kind.rate * len(index.age) / 365_000))
        count = max(count, 1) if at_least_one else count
        for chosen in _draw_persons(index, rng, kind, count):
            if kind.name == "婚姻":
                partner = _draw_partner(index, rng, chosen)
                if partner is not None:
                    picks.append(_Pick(kind, *index.names_of(chosen), index.names_of(partner)))
            else:
                picks.append(_Pick(kind, *index.names_of(chosen)))
    return picks


def _draw_persons(
    index: LifeIndex, rng: np.random.Generator, kind: Kind, count: int
) -> Iterator[int]:
    """Up to `count` persons of different free households whom an event of the kind can hit."""
    if not count:
        return
    able = np.flatnonzero(kind.who(index) & index.free)
    share = None
    if kind.name == "死亡" and len(able):
        weight = (index.age[able] / 85.0) ** 8
        share = weight / weight.sum()
    # Some of the drawn share a household; draw more than needed.
    drawn = rng.choice(able, size=min(len(able), 3 * count), replace=False, p=share)
    for chosen in drawn:
        if count and index.free[chosen]:
            index.occupy(int(chosen))
            count -= 1
            yield int(chosen)


def _draw_partner(index: LifeIndex, rng: np.random.Generator, chosen: int) -> int | None:
    other = "2" if index.frame["sex"][chosen] == "1" else "1"
    close = np.abs(index.age - index.age[chosen]) <= 8
    able = np.flatnonzero(
        _alone(index) & index.free & close & _adult(index) & index.is_("sex", other)
    )
    if not len(able):
        return None
    partner = int(rng.choice(able))
    index.occupy(partner)
    return partner


class Life:
    """Lets a town live for some days."""

    def __init__(self, store: CoreStore) -> None:
        self.store = store
        self.with_tax = store.meta("with_tax") == "1"
        self.cards: dict[tuple[str, str], dict[str, str]] = {}

    def advance(
        self,
        days: int,
        *,
        at_least_one_of_each: bool,
        correct_share: float,
        progress: Callable[[int], None],
    ) -> dict[str, int]:
        """Live `days` days; gives how many events of each kind happened.

        With `at_least_one_of_each` every kind happens on the first day (if anybody fits);
        `correct_share` of all residents get a corrected entry on the first day.
        """
        counts: Counter[str] = Counter()
        index: LifeIndex | None = None
        for number in range(days):
            day = dt.date.fromisoformat(self.store.meta("today")) + dt.timedelta(days=1)
            small = index is None or len(index.age) <= _FRESH_INDEX_LIMIT
            if index is None or small or number % _INDEX_DAYS == 0:
                index = build_index(self.store, day)
            if correct_share and number == 0:
                counts["一括の職権修正"] += self._correct_many(day, index, correct_share)
            counts += self._live(day, index, at_least_one_of_each and number == 0)
            self.store.set_meta("today", day.isoformat())
            self.store.commit()
            progress(1)
        rewrite_cards(self.store.directory / "cards.jsonl", self.cards)
        return dict(counts)

    def _live(self, day: dt.date, index: LifeIndex, at_least_one: bool) -> Counter[str]:
        seed = [int(self.store.meta("seed")), int(self.store.meta("municipality_code"))]
        rng = np.random.default_rng(np.random.SeedSequence([*seed, day.toordinal()]))
        book = Book(self.store, day, rng)
        counts: Counter[str] = Counter()
        due = book.due()
        for entry in due:
            index.occupy_household(entry["household"])
        skip = set() if self.with_tax else _NEEDS_TAX
        picks = draw_events(index, rng, at_least_one=at_least_one, skip=skip)
        counts += self._keep_agenda(book, due)
        scenes = _Scenes(self.store, book, picks)
        for pick in picks:
            scene = scenes.of(pick.addressee_number)
            if pick.partner:
                scene.partner = scenes.of(pick.partner[0])
            pick.kind.act(scene)
            counts[pick.kind.name] += 1
        if self.with_tax and (day.month, day.day) == (6, 1):
            counts["税の当初決定"] += self._decide_taxes(rng, day)
        book.close()
        self.cards |= book.cards
        return counts

    def _correct_many(self, day: dt.date, index: LifeIndex, share: float) -> int:
        """Correct the district code of a share of all residents, as a renumbering would."""
        rng = np.random.default_rng(np.random.SeedSequence([day.toordinal(), 1]))
        book = Book(self.store, day, rng)
        chosen = np.flatnonzero((rng.random(len(index.age)) < share) & index.free)
        chosen_numbers = index.frame["addressee_number"][chosen].to_list()
        rows = current_members(self.store.rows_where("J01", "addressee_number", chosen_numbers))
        for row in rows:
            people.renumber_district(book, row)
        index.free[chosen] = False
        book.close()
        return len(rows)

    def _keep_agenda(self, book: Book, due: list[dict[str, str]]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for entry in due:
            if entry["event"] == "lift_block":
                services.lift_block(book, entry["household"])
                counts["発行抑止の解除"] += 1
                continue
            rows = self.store.rows_where("J01", "household_number", [entry["household"]])
            members = current_members(rows)
            if members:
                pick = _Pick(KINDS[0], members[0]["addressee_number"], entry["household"])
                scene = _Scenes(self.store, book, [pick]).of(pick.addressee_number)
                _AGENDA[entry["event"]](scene)
                counts["転出（届出ずみ）" if entry["event"] == "move_out" else "審査の終了"] += 1
        return counts

    def _decide_taxes(self, rng: np.random.Generator, day: dt.date) -> int:
        """The notices of 1 June: a new tax year for every resident of 20 and over."""
        total = 0
        for frame in self.store.frames("J01"):
            current = frame.filter((pl.col("latest") == "1") & (pl.col("resident_state") == "1"))
            if current.is_empty():
                continue
            payers = payers_of(current, day.year)
            for file_id, rows in tax_frames(rng, payers, day.year).items():
                self.store.add_segment(file_id, rows)
            total += len(payers.age)
        return total


def current_members(rows: list[Row]) -> list[Row]:
    """Living members among J01 rows, in entry order."""
    living = [row for row in rows if row["latest"] == "1" and row["resident_state"] == "1"]
    return sorted(living, key=lambda row: int(row["entry_order"]))


class _Scenes:
    """Everything the day's events need to know, read in one go."""

    def __init__(self, store: CoreStore, book: Book, picks: list[_Pick]) -> None:
        self._book = book
        wanted = {pick.household_number for pick in picks}
        wanted |= {pick.partner[1] for pick in picks if pick.partner}
        rows = current_members(store.rows_where("J01", "household_number", wanted))
        self._homes: dict[str, list[Row]] = {}
        for row in rows:
            self._homes.setdefault(row["household_number"], []).append(row)
        self._people = {row["addressee_number"]: row for row in rows}
        self._held = {
            file_id: _by_person(store.rows_where(file_id, "addressee_number", self._people))
            for file_id in ("J05", "S01", "J04", "T02")
        }

    def of(self, addressee_number: str) -> Scene:
        """The scene around one person."""
        person = self._people[addressee_number]
        members = self._homes[person["household_number"]]
        numbers_here = [row["addressee_number"] for row in members]

        def held(file_id: str) -> list[Row]:
            return [row for n in numbers_here for row in self._held[file_id].get(n, [])]

        return Scene(
            book=self._book, person=person, members=members, cards=held("J05"),
            seals=held("S01"), measures=held("J04"), taxes=held("T02"),
        )  # fmt: skip


def _by_person(rows: list[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row["addressee_number"], []).append(row)
    return grouped
