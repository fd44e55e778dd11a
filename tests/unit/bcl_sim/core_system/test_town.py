"""What a generated town looks like."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.validator import CheckContext, check_file
from bcl_sim.core_system import numbers
from bcl_sim.core_system.name_columns import surnames
from bcl_sim.core_system.plain_reading import by_key, household_faults
from bcl_sim.core_system.population import assemble_people, draw_ages
from bcl_sim.core_system.tables import age_shares, layouts
from bcl_sim.core_system.town import Town

START = dt.date(2026, 11, 22)


def _hashes(folder: Path) -> dict[str, str]:
    ready = json.loads((folder / "READY").read_text(encoding="utf-8"))
    return {file["name"]: file["sha256"] for file in ready["files"]}


@pytest.mark.requirement("R-267")
def test_generate__same_arguments__same_bytes(tmp_path: Path) -> None:
    exports = []
    for name, seed in (("a", 11), ("b", 11), ("c", 12)):
        town = Town.generate(tmp_path / name, residents=300, seed=seed, start_on=START)
        town.advance(2, at_least_one_of_each=True)
        exports.append(_hashes(town.export(tmp_path / f"{name}-out").folder))
    assert exports[0] == exports[1]
    assert exports[0] != exports[2]


def test_generate__residents__exactly_as_many_living_as_asked(sample_town: Town) -> None:
    assert sample_town.counts()["住民"] == 800


def test_generate__every_file__unique_keys_and_known_columns(sample_rows: dict) -> None:
    assert set(sample_rows) == set(layouts()) - {"J07", "B02", "B03"}
    for file_id, rows in sample_rows.items():
        assert by_key(file_id, rows)


def test_generate__households__keep_the_rules(sample_rows: dict) -> None:
    assert not household_faults(sample_rows["J01"])


@pytest.mark.requirement("R-012")
def test_generate__our_validator__finds_no_error(sample_export: Path) -> None:
    interface = load_interface()
    for path in sample_export.glob("*.csv"):
        layout = interface.files[path.name.split("_")[1]]
        context = CheckContext(municipality_code="999997", as_of=START, file=path.name)
        with path.open("rb") as stream:
            report = check_file(layout, stream, context=context)
        errors = [f for f in report.findings if f.severity != "warning"]
        assert report.rows and not errors, errors[:5]


def test_generate__age_pyramid__follows_the_census() -> None:
    ages, sexes = draw_ages(np.random.default_rng(1), 20_000)
    sex, age, share = age_shares()
    for code in (1, 2):
        for low in range(0, 100, 10):
            wanted = share[(sex == code) & (age >= low) & (age < low + 10)].sum()
            found = np.mean((sexes == code) & (ages >= low) & (ages < low + 10))
            assert abs(found - wanted) < 0.002
    # More women than men among the very old, fewer children than people of 40.
    assert np.sum((ages >= 85) & (sexes == 2)) > 1.5 * np.sum((ages >= 85) & (sexes == 1))
    assert np.sum(ages < 10) < 0.7 * np.sum((ages >= 45) & (ages < 55))


def test_generate__households__sizes_and_generations_are_plausible() -> None:
    people = assemble_people(np.random.default_rng(2), 20_000)
    sizes = np.bincount(np.bincount(people.household))
    assert 1.9 < len(people.age) / people.households < 2.5
    assert 0.3 < sizes[1] / people.households < 0.55
    heads = np.zeros(people.households, dtype=int)
    heads[people.household[people.relation == 0]] = people.age[people.relation == 0]
    assert (heads >= 18).all()
    children = people.relation == 3
    mothers = {
        h: a
        for h, a, r, s in zip(
            people.household, people.age, people.relation, people.sex, strict=True
        )
        if s == 2 and r in (0, 1)
    }
    gaps = [
        mothers[h] - a
        for h, a in zip(people.household[children], people.age[children], strict=True)
        if h in mothers
    ]
    assert min(gaps) >= 15
    assert 27 < np.median(gaps) < 35


def test_generate__surnames__by_frequency_with_a_few_hard_ones() -> None:
    table = surnames()
    drawn = Counter(table.take("surname", table.draw(np.random.default_rng(3), 40_000)))
    assert drawn.most_common(1)[0][0] == "佐藤"
    hard = sum(
        n for name, n in drawn.items() if any(ord(c) > 0xFFFF or c in "﨑髙邊邉齋" for c in name)
    )
    assert 0.004 < hard / 40_000 < 0.03


def test_cards__every_link__stands_in_the_list_for_the_jpki_simulator(
    sample_town: Town, sample_rows: dict
) -> None:
    path = sample_town.state / "cards.jsonl"
    cards = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    states = {"1": "valid", "2": "revoked", "3": "suspended"}
    listed = {(c["issuer_key"], c["serial_number"]): c for c in cards}
    assert len(listed) == len(cards) == len(sample_rows["J05"])
    names = {
        r["addressee_number"]: r["full_name"] for r in sample_rows["J01"] if r["latest"] == "1"
    }
    for row in sample_rows["J05"]:
        card = listed[row["issuer_key"], row["serial_number"]]
        assert card["addressee_number"] == row["addressee_number"]
        assert card["state"] == states[row["link_status"]]
        assert card["full_name"] == names[row["addressee_number"]]
        serial = row["serial_number"]
        assert serial[0] in "123456789ABCDEF" and serial == serial.upper() and len(serial) <= 40


def test_generate__two_towns_of_one_seed__share_no_serial(tmp_path: Path) -> None:
    serials = []
    for code in ("999989", "999971"):
        town = Town.generate(
            tmp_path / code, municipality_code=code, residents=250, seed=7, start_on=START
        )
        serials.append({row["serial_number"] for row in town.truth()["J05"]})
    assert not serials[0] & serials[1]


@pytest.mark.parametrize(
    ("code", "residents"), [("999998", 500), ("13101", 500), ("999997", 10), ("abcdef", 500)]
)
def test_generate__wrong_argument__is_refused(tmp_path: Path, code: str, residents: int) -> None:
    with pytest.raises(ValueError, match=r"municipality_code|residents"):
        Town.generate(tmp_path / "x", municipality_code=code, residents=residents)
    assert not (tmp_path / "x").exists()


def test_generate__state_already_there__is_refused(sample_town: Town) -> None:
    with pytest.raises(FileExistsError):
        Town.generate(sample_town.state, residents=300)


@pytest.mark.parametrize(("first_ten", "check"), [(2472705960, 8)])
def test_resident_record_code__published_sample__has_its_check_digit(
    first_ten: int, check: int
) -> None:
    digits = numbers._padded(np.array([first_ten]), 10)
    weights = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)
    assert numbers._check_digit(digits, weights)[0] == check


@pytest.mark.parametrize("code", ["010006", "131016", "141003", "432024", "472018", "999997"])
def test_municipality_code__real_ones__have_their_check_digit(code: str) -> None:
    assert numbers.municipality_check_digit(code) == int(code[5])


def test_resident_record_codes__a_hundred_thousand__all_different() -> None:
    codes = numbers.resident_record_codes(np.arange(1, 100_001), 1)
    assert codes.n_unique() == 100_000


def test_generate__speed__is_printed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    start = time.monotonic()
    state = tmp_path / "t"
    town = Town.generate(state, residents=1000, with_tax=False, start_on=dt.date(2026, 4, 1))
    with capsys.disabled():
        print(f"\n  1,000 residents in {time.monotonic() - start:.2f} s")
    assert town.counts()["住民"] == 1000
    assert not any(file_id.startswith("T") for file_id in town.file_ids)
