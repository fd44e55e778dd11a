"""Every planted edge case is there, and is what its description says."""

from __future__ import annotations

import datetime as dt
import hashlib
import unicodedata
from pathlib import Path

import pytest

from bcl_sim.core_system.planted import ON_REQUEST
from bcl_sim.core_system.town import Town

START = dt.date(2026, 11, 22)
EXPECTED = {
    "foreign_roman_only", "foreign_with_kanji", "foreign_kanji_only",
    "foreign_alias_two_histories", "foreign_special_permanent", "foreign_period_passed",
    "foreign_stateless", "name_ivs_tsuji", "name_ivs_kuzu", "name_ivs_watanabe",
    "name_compat_tsuka", "name_compat_saki", "name_plane2_yoshi", "name_hashigo_taka",
    "name_ivs_no_glyph", "name_of_100_characters", "former_surname", "kana_unconfirmed",
    "birth_date_unknown", "sex_notation_empty", "no_family_register", "under_15_with_card",
    "adult_ward_with_seal", "same_name_same_birthday", "twins", "family_of_five",
    "household_of_twelve", "cohabitant_and_ties", "relationship_chain_of_three",
    "unregistered_husband", "same_address_other_household", "household_of_one",
    "moving_out_before_planned", "moving_out_on_planned_day", "moving_out_after_planned",
    "moving_out_cancelled", "deceased", "moved_out", "removed_by_authority",
    "removed_then_restored", "rewritten", "resident_record_code_changed",
    "individual_number_changed", "naturalized", "date_corrected_backwards",
    "head_died_successor_same_day", "moved_in_today_no_card", "change_pending_household",
    "measure_in_one_household", "measure_started_today", "measure_end_passed",
    "measure_provisional", "measure_without_end", "measure_ended", "measure_extended",
    "block_person", "block_household", "block_seal", "block_tax_year", "block_ended",
    "block_in_future", "measure_counterparty_not_registered", "card_revoked", "card_expired",
    "card_suspended", "card_renewed", "no_card", "card_and_smartphone",
    "same_serial_other_issuer", "seal_replaced_same_day", "seal_suspended", "seal_abolished",
    "seal_erased_name_changed", "seal_without_image", "seal_smallest", "seal_largest",
    "seal_former_surname", "seal_alias", "seal_kana", "fifteen_today", "fifteen_tomorrow",
    "tax_taxed", "tax_unreported", "tax_elsewhere", "tax_revision_in_progress", "tax_zero",
    "tax_pension", "tax_dependents_under_16_only", "tax_before_forest_tax",
    "tax_not_yet_certifiable",
}  # fmt: skip


@pytest.fixture
def of(sample_cases: dict, sample_rows: dict):
    """Rows of a file that belong to the persons of a case, in the order of the case."""

    def find(case_id: str, file_id: str = "J01") -> list[dict[str, str]]:
        wanted = sample_cases[case_id]["addressee_numbers"]
        return [row for number in wanted for row in sample_rows[file_id]
                if row["addressee_number"] == number]  # fmt: skip

    return find


def test_cases__list__is_complete_and_every_person_exists(
    sample_cases: dict, sample_rows: dict
) -> None:
    assert set(sample_cases) == EXPECTED
    known = {r["addressee_number"] for file_id in ("J01", "J08") for r in sample_rows[file_id]}
    for case in sample_cases.values():
        assert case["addressee_numbers"] and set(case["addressee_numbers"]) <= known
        assert case["description_ja"]


def test_names__hard_characters__are_written_as_they_are(of) -> None:
    assert of("name_ivs_tsuji")[0]["surname"] == "辻\U000e0102"
    assert of("name_ivs_no_glyph")[0]["surname"] == "葛\U000e0100野"
    assert of("name_plane2_yoshi")[0]["surname"] == "\U00020bb7田"
    for case_id in ("name_compat_tsuka", "name_compat_saki"):
        surname = of(case_id)[0]["surname"]
        assert unicodedata.normalize("NFKC", surname) == surname or "\ufa10" in surname
    assert "\ufa10" in of("name_compat_tsuka")[0]["full_name"]
    assert len(of("name_of_100_characters")[0]["full_name"]) == 100


@pytest.mark.parametrize("case_id", ["name_ivs_tsuji", "name_ivs_kuzu", "name_ivs_watanabe"])
def test_names__sequences__stand_in_ipamj(of, case_id: str) -> None:
    path = Path("/usr/share/fonts/truetype/ipamj/ipamjm.ttf")
    if not path.is_file():
        pytest.skip("IPAmj明朝 is not installed")
    from fontTools.ttLib import TTFont

    tables = [t for t in TTFont(path)["cmap"].tables if t.format == 14]
    surname = of(case_id)[0]["surname"]
    at = next(i for i, c in enumerate(surname) if 0xE0100 <= ord(c) <= 0xE01EF)
    held = {base for base, _ in tables[0].uvsDict[ord(surname[at])]}
    assert ord(surname[at - 1]) in held


def test_foreign_residents__kinds(of) -> None:
    roman, kanji, both = (of(f"foreign_{k}")[0] for k in ("roman_only", "kanji_only", "with_kanji"))
    assert roman["full_name_roman"] and not roman["full_name_kanji"]
    assert kanji["full_name_kanji"] and not kanji["full_name_roman"]
    assert both["full_name_kanji"] and both["full_name_roman"]
    aliases = of("foreign_alias_two_histories", "J02")
    assert [bool(row["removed_on"]) for row in aliases] == [True, False]
    assert of("foreign_alias_two_histories")[0]["alias"] == aliases[1]["alias_or_former_surname"]
    assert of("foreign_stateless")[0]["nationality_country_code"] == ""
    assert of("foreign_period_passed")[0]["residence_period_expires_on"] < START.isoformat()


def test_households__sizes_relations_addresses(of, sample_rows: dict) -> None:
    def size(case_id: str) -> int:
        home = of(case_id)[0]["household_number"]
        return sum(r["household_number"] == home and r["latest"] == "1" for r in sample_rows["J01"])

    assert [size(c) for c in ("household_of_one", "family_of_five", "household_of_twelve")] == [
        1, 5, 12,
    ]  # fmt: skip
    chain = of("relationship_chain_of_three")[0]
    assert [chain[f"relationship_code_{i}"] for i in (1, 2, 3, 4)] == ["20", "12", "52", ""]
    one, other = of("same_address_other_household")
    assert one["address_lot_as_written"] == other["address_lot_as_written"]
    assert one["household_number"] != other["household_number"]
    assert (
        of("same_name_same_birthday")[0]["born_on"] == of("same_name_same_birthday")[1]["born_on"]
    )
    assert len({r["addressee_number"] for r in of("same_name_same_birthday")}) == 2


def test_moves__planned_day_before_on_and_after(of) -> None:
    days = [
        dt.date.fromisoformat(of(f"moving_out_{k}")[0]["moving_out_planned_on"])
        for k in ("before_planned", "on_planned_day", "after_planned")
    ]
    assert days[0] > START and days[1] == START and days[2] < START
    assert all(of(f"moving_out_{k}")[0]["resident_state"] == "1"
               for k in ("before_planned", "on_planned_day", "after_planned"))  # fmt: skip


def test_records__removed_restored_naturalized(of) -> None:
    restored = of("removed_then_restored")
    assert [(r["history_number"], r["resident_state"], r["latest"]) for r in restored] == [
        ("3", "1", "1"), ("1", "1", "0"), ("2", "9", "0"),
    ]  # fmt: skip
    kinds = {r["history_number"]: r["resident_kind"] for r in of("naturalized")}
    assert kinds == {"1": "2", "2": "1"}
    removed = ("deceased", "moved_out", "removed_by_authority")
    assert [of(case_id)[0]["resident_state"] for case_id in removed] == ["3", "2", "9"]
    backwards = {r["history_number"]: r["changed_on"] for r in of("date_corrected_backwards")}
    assert backwards["2"] < backwards["1"]


def test_measures__applicant_joined_and_counterparty_in_one_household(of) -> None:
    rows = of("measure_in_one_household", "J04")
    assert [row["measure_target_kind"] for row in rows] == ["1", "2", "3"]
    assert len({row["household_number"] for row in of("measure_in_one_household")}) == 1
    extended = of("measure_extended", "J04")
    assert [row["latest"] for row in extended] == ["0", "1"]
    assert of("measure_ended", "J04")[0]["measure_kind"] == "3"
    passed = of("measure_end_passed", "J04")[0]
    assert passed["measure_ended_on"] < START.isoformat() and passed["measure_kind"] == "2"


def test_blocks__every_scope(of, sample_rows: dict) -> None:
    mine = [row for row in sample_rows["J06"] if row["block_id"].startswith("BLKCASE")]
    assert sorted(row["block_scope"] for row in mine) == ["1", "1", "1", "2", "3", "4"]
    assert of("block_ended", "J06")[0]["block_ends_at"] < f"{START}T00:00:00+09:00"


def test_cards__states(of) -> None:
    assert of("card_revoked", "J05")[0]["link_status"] == "2"
    assert of("card_suspended", "J05")[0]["link_status"] == "3"
    assert of("card_expired", "J05")[0]["expires_on"] < START.isoformat()
    assert not of("no_card", "J05") and not of("moved_in_today_no_card", "J05")
    assert sorted(r["link_status"] for r in of("card_renewed", "J05")) == ["1", "2"]
    other, owner = (of("same_serial_other_issuer", "J05")[i] for i in (1, 2))
    assert other["serial_number"] == owner["serial_number"]
    assert other["issuer_key"] != owner["issuer_key"]
    assert other["addressee_number"] != owner["addressee_number"]


def test_seals__states_and_imprints(of, sample_export: Path) -> None:
    states = [row["seal_status"] for row in of("seal_replaced_same_day", "S01")]
    assert states == ["5", "1"]
    assert of("seal_suspended", "S01")[0]["seal_status"] == "4"
    sizes = []
    for case_id in ("seal_smallest", "seal_largest"):
        number = of(case_id, "S01")[0]["seal_registration_number"]
        content = (sample_export / f"seal/{number}_1.png").read_bytes()
        sizes.append(int.from_bytes(content[16:20], "big"))
    assert sizes == [126, 394]


def test_seal_images__every_row__has_its_picture(sample_rows: dict, sample_export: Path) -> None:
    for row in sample_rows["S02"]:
        content = (sample_export / row["image_file_name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["image_sha256"]
        assert int(row["image_width_pixels"]) == int.from_bytes(content[16:20], "big")


def test_tax__cases(of) -> None:
    unreported, elsewhere = of("tax_unreported", "T02")[0], of("tax_elsewhere", "T01")[0]
    assert unreported["taxation_kind"] == "4" and unreported["annual_tax_amount"] == ""
    assert elsewhere["taxed_elsewhere_municipality_code"] == "131041"
    revision = of("tax_revision_in_progress", "T02")
    assert [(r["latest"], r["revision_in_progress"]) for r in revision] == [("0", "0"), ("1", "1")]
    assert of("tax_zero", "T02")[0]["annual_tax_amount"] == "0"
    years = {r["tax_year"]: r for r in of("tax_before_forest_tax", "T02")}
    assert set(years) == {"2023", "2026"}
    codes = {r["tax_amount_code"] for r in of("tax_before_forest_tax", "T05")
             if r["tax_year"] == "2023"}  # fmt: skip
    assert "307" not in codes


def test_tax__totals__add_up(sample_rows: dict) -> None:
    totals: dict[tuple, dict[str, int]] = {}
    for row in sample_rows["T05"]:
        key = (row["addressee_number"], row["tax_year"], row["history_number"])
        totals.setdefault(key, {})[row["tax_amount_code"]] = int(row["amount"])
    for parts in totals.values():
        whole = parts.get("390", 0) + parts.get("391", 0) + parts.get("307", 0)
        assert parts["399"] == whole
    annual = {(r["addressee_number"], r["tax_year"], r["history_number"]): r["annual_tax_amount"]
              for r in sample_rows["T02"] if r["taxation_kind"] != "4"}  # fmt: skip
    assert all(int(amount) == totals[key]["399"] for key, amount in annual.items())


def test_fifteenth_birthday__today_and_tomorrow(of) -> None:
    assert of("fifteen_today")[0]["born_on"] == "2011-11-22"
    assert of("fifteen_tomorrow")[0]["born_on"] == "2011-11-23"


@pytest.mark.parametrize(
    "start", [dt.date(2024, 2, 29), dt.date(2027, 3, 1), dt.date(2026, 1, 1), dt.date(2026, 12, 31)]
)
def test_cases__any_day_of_the_year__can_be_planted(tmp_path: Path, start: dt.date) -> None:
    town = Town.generate(tmp_path / "t", residents=250, start_on=start)
    assert {case["id"] for case in town.cases()} == EXPECTED
    newest = max(row["operated_on"] for row in town.truth()["J01"])
    assert newest <= start.isoformat()


def test_cases_on_request__are_planted_only_when_asked(tmp_path: Path, sample_cases: dict) -> None:
    assert not {"name_plane16", "head_just_died"} & set(sample_cases)
    town = Town.generate(tmp_path / "t", residents=250, start_on=START, extra_cases=ON_REQUEST)
    assert {"name_plane16", "head_just_died"} <= {case["id"] for case in town.cases()}
    assert any("\U0010de92" in row["full_name"] for row in town.truth()["J01"])
