"""A town lives: what events do to the rows."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from bcl_sim.core_system.life import KINDS
from bcl_sim.core_system.plain_reading import by_key, household_faults
from bcl_sim.core_system.town import Town

START = dt.date(2026, 11, 22)


def test_advance__one_of_each__every_kind_happens_and_rules_hold(tmp_path: Path) -> None:
    town = Town.generate(tmp_path / "t", residents=900, seed=4, start_on=START)
    happened: set[str] = set()
    for _ in range(4):
        happened |= set(town.advance(2, at_least_one_of_each=True))
        truth = town.truth()
        assert not household_faults(truth["J01"])
        for file_id, rows in truth.items():
            by_key(file_id, rows)
    assert happened >= {kind.name for kind in KINDS}


def test_advance__history__old_row_stays_and_only_one_is_latest(living_town: Town) -> None:
    before = by_key("J01", living_town.truth()["J01"])
    living_town.advance(1, at_least_one_of_each=True)
    after = by_key("J01", living_town.truth()["J01"])
    assert before.keys() <= after.keys()
    changes = by_key("J03", living_town.truth()["J03"])
    for key in after.keys() - before.keys():
        row = after[key]
        assert row["operated_on"] == "2026-11-23"
        number = f"{row['municipality_code']}|{row['addressee_number']}|{row['history_number']}"
        assert changes[number]["change_reason"] == row["change_reason"]


def test_advance__two_days_at_once_or_one_by_one__same_town(tmp_path: Path) -> None:
    truths = []
    for name, steps in (("a", [2]), ("b", [1, 1])):
        town = Town.generate(tmp_path / name, residents=400, seed=9, start_on=START)
        for days in steps:
            town.advance(days, correct_share=0.0)
        truths.append(town.truth())
    assert truths[0] == truths[1]


def test_advance__planted_persons__stay_as_they_are(living_town: Town) -> None:
    wanted = {n for case in living_town.cases() for n in case["addressee_numbers"]}

    def planted() -> list[dict[str, str]]:
        return [r for r in living_town.truth()["J01"] if r["addressee_number"] in wanted]

    before = planted()
    living_town.advance(3, at_least_one_of_each=True)
    assert planted() == before


def test_advance__deaths__end_card_and_seal(tmp_path: Path) -> None:
    town = Town.generate(tmp_path / "t", residents=600, seed=8, start_on=START, with_tax=False)
    before = {r["addressee_number"] for r in town.truth()["J01"]
              if r["latest"] == "1" and r["resident_state"] == "3"}  # fmt: skip
    town.advance(30, at_least_one_of_each=True)
    truth = town.truth()
    dead = {r["addressee_number"] for r in truth["J01"]
            if r["latest"] == "1" and r["resident_state"] == "3"} - before  # fmt: skip
    assert dead
    for row in truth["J05"]:
        assert row["addressee_number"] not in dead or row["link_status"] == "2"
    for row in truth["S01"]:
        if row["addressee_number"] in dead and row["latest"] == "1":
            assert row["seal_status"] not in {"1", "4"}


def test_advance__cards__list_follows_the_links(living_town: Town) -> None:
    living_town.advance(2, at_least_one_of_each=True)
    lines = (living_town.state / "cards.jsonl").read_text(encoding="utf-8").splitlines()
    cards = {(c["issuer_key"], c["serial_number"]): c for c in map(json.loads, lines)}
    assert len(cards) == len(lines)
    states = {"1": "valid", "2": "revoked", "3": "suspended"}
    links = living_town.truth()["J05"]
    assert len(links) == len(cards)
    for row in links:
        card = cards[row["issuer_key"], row["serial_number"]]
        assert card["state"] == states[row["link_status"]]
        assert card["full_name"] and card["born_on"]


def test_advance__first_of_june__new_tax_year(tmp_path: Path) -> None:
    town = Town.generate(tmp_path / "t", residents=300, start_on=dt.date(2027, 5, 30))
    assert {r["tax_year"] for r in town.truth()["T02"]} == {"2025", "2026", "2023"}
    counts = town.advance(3)
    truth = town.truth()
    assessed = [r for r in truth["T02"] if r["tax_year"] == "2027"]
    assert counts["税の当初決定"] == len(assessed) > 100
    for file_id in ("T01", "T03", "T05"):
        by_key(file_id, truth[file_id])


def test_advance__notified_moves__leave_on_the_planned_day(tmp_path: Path) -> None:
    town = Town.generate(tmp_path / "t", residents=500, seed=2, start_on=START, with_tax=False)
    town.advance(1, at_least_one_of_each=True)
    waiting = {
        r["addressee_number"]: r["moving_out_planned_on"]
        for r in town.truth()["J01"]
        if r["moving_out_planned_on"] and r["resident_state"] == "1"
        and int(r["addressee_number"][:-1]) >= 10_000
    }  # fmt: skip
    assert waiting
    town.advance(16)
    newest = {r["addressee_number"]: r for r in town.truth()["J01"] if r["latest"] == "1"}
    for number, planned in waiting.items():
        assert newest[number]["resident_state"] == "2"
        assert newest[number]["removal_changed_on"] == planned


def test_advance__correct_share__touches_about_that_many(living_town: Town) -> None:
    counts = living_town.advance(1, correct_share=0.25)
    assert 30 < counts["一括の職権修正"] < 130


def test_advance__again_after_reopening__goes_on(living_town: Town) -> None:
    living_town.advance(1)
    living_town.close()
    town = Town(living_town.state)
    assert town.today == dt.date(2026, 11, 23)
    town.advance(1)
    assert town.today == dt.date(2026, 11, 24)


@pytest.mark.requirement("R-267")
def test_rates__a_year_of_a_thousand__is_like_a_japanese_town(tmp_path: Path) -> None:
    town = Town.generate(tmp_path / "t", residents=1000, seed=6, start_on=START, with_tax=False)
    counts = town.advance(60)
    # 60 days of 1,000 residents: about 1 birth, 2 deaths, 3 moves in, 15 cards.
    assert 0 < counts.get("死亡", 0) < 10
    assert 0 < counts.get("転入", 0) < 14
    assert 10 < sum(counts.values()) < 130
