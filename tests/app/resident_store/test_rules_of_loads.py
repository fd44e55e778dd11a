"""Holds, ambiguous certificates, the urgent lane, duplicates, deletions, images, refusals."""

from __future__ import annotations

import pytest
from store_world import FILES, START, Row, Sender, cert_link, image, line, resident, table

from bcl.foundation import tenancy
from bcl.resident_store import api as store

ISSUER = "CN=JPKI-USER-01"


@pytest.fixture
def sender(town: str) -> Sender:
    return Sender(town)


def household(head: int, members: int) -> list[Row]:
    """A whole household whose number is its head's."""
    return [
        resident(
            head + place,
            household=head,
            order=place + 1,
            head_of_household_name=f"試験　住民{head}",
        )
        for place in range(members)
    ]


def codes(result: store.LoadResult) -> set[str]:
    return {
        finding.code
        for finding in result.summary.findings
        if finding.code != "LINKAGE_EXPECTED_WHEN"
    }


def measure(number: int, **values: str) -> Row:
    return {
        "municipality_code": "999997",
        "addressee_number": f"{number:015d}",
        "history_number": "00001",
        "latest": "1",
        "measure_started_on": "2026-10-01",
        "measure_kind": "2",
        "measure_block_targets": "11111",
        "deleted": "0",
        "operator_id": "op1",
        "operated_on": "2026-11-01",
        "operated_time": "12:00:00",
    } | values


# -- households (D7) ------------------------------------------------------------------------------


@pytest.mark.requirement("R-022")
def test_household__left_open_by_a_differential__is_held_and_lifted_when_whole(
    sender: Sender,
) -> None:
    old, new = household(10, 3), household(20, 2)
    sender.send({"J01": old + new})
    assert store.held_counts(sender.town) == {"households": 0, "persons": 0}
    # The head of household 10 moves to 20, and nobody says who leads 10 now.
    moved = resident(
        10, household=20, order=3, head_of_household_name="試験　住民20", operated_time="10:00:00"
    )
    result = sender.send({"J01": [moved]}, mode="differential")
    assert result.landed
    assert result.summary.households_held > 0
    assert store.is_household_held(sender.town, f"{10:015d}")
    assert not store.is_household_held(sender.town, f"{20:015d}")
    rest = [
        resident(11 + place, household=10, order=place + 1, head_of_household_name="試験　住民11")
        for place in range(2)
    ]
    result = sender.send({"J01": rest}, mode="differential")
    assert result.summary.households_lifted > 0
    assert not store.is_household_held(sender.town, f"{10:015d}")


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        (1, {"relationship_code_1": "02", "head_of_household_name": "試験　住民10"}),
        (1, {"entry_order": "003"}),
        (1, {"head_of_household_name": "別人　太郎"}),
        (0, {"relationship_code_1": "20"}),
    ],
)
def test_household__that_breaks_a_rule__is_held(
    sender: Sender, place: int, fault: dict[str, str]
) -> None:
    rows = household(10, 2)
    rows[place] |= fault
    assert sender.send({"J01": rows + household(30, 2)}).landed
    assert store.is_household_held(sender.town, f"{10:015d}")
    assert not store.is_household_held(sender.town, f"{30:015d}")


def test_household__of_an_unknown_head__is_whole(sender: Sender) -> None:
    row = resident(10, household=10, relationship_code_1="01", relationship_as_written="世帯主不明")
    del row["head_of_household_name"]
    assert sender.send({"J01": [row]}).landed
    assert not store.is_household_held(sender.town, f"{10:015d}")


# -- persons (D9) ---------------------------------------------------------------------------------


def test_person__with_an_unknown_code__is_held_until_the_code_is_known(sender: Sender) -> None:
    sender.send({"J01": [resident(1, household=1, change_reason="97"), resident(2, household=2)]})
    assert store.is_person_held(sender.town, f"{1:015d}")
    assert not store.is_person_held(sender.town, f"{2:015d}")
    sender.send({"J01": [resident(1, household=1), resident(2, household=2)]})
    assert not store.is_person_held(sender.town, f"{1:015d}")


def test_person__with_two_unknown_codes__is_free_when_both_are_known(sender: Sender) -> None:
    doubtful = resident(1, household=1, change_reason="97")
    sender.send({"J01": [doubtful]})
    sender.send({"J01": [doubtful | {"born_on": "1980-02-31"}]})  # held for this as well
    assert store.is_person_held(sender.town, f"{1:015d}")
    sender.send({"J01": [resident(1, household=1)]})
    assert not store.is_person_held(sender.town, f"{1:015d}")


@pytest.mark.requirement("R-022")
def test_row_error__when_landed_all_the_same__keeps_the_old_version_and_holds_the_person(
    sender: Sender,
) -> None:
    sender.send({"J01": [resident(1, household=1), resident(2, household=2)]})
    bad = resident(1, household=1, born_on="1980-02-31")
    seen = []

    def judge(summary: store.LoadSummary) -> store.Verdict:
        seen.append(summary)
        return store.Verdict.LAND

    result = sender.send({"J01": [bad, resident(2, household=2)]}, decide=judge)
    assert seen[0].count("row") == 1
    assert result.summary.files[0].quarantined == 1
    assert result.summary.files[0].ended == 0
    (finding,) = [each for each in result.summary.findings if each.severity == "row"]
    assert (finding.line, finding.column, finding.code) == (2, "生年月日", "LINKAGE_DATE")
    assert store.is_person_held(sender.town, f"{1:015d}")
    (version,) = store.find_person(sender.town, f"{1:015d}", file_ids=["J01"])
    assert store.read_records(sender.town, [version.id])[version.id]["born_on"] == "1980-02-03"
    sender.send({"J01": [resident(1, household=1), resident(2, household=2)]})
    assert not store.is_person_held(sender.town, f"{1:015d}")


def test_findings__in_a_full_file_of_mostly_known_lines__name_the_original_line(
    sender: Sender,
) -> None:
    rows = [resident(number, household=number) for number in range(1, 500)]
    sender.send({"J01": rows})
    rows[400] = rows[400] | {"sex": "x"}
    result = sender.send({"J01": rows}, decide=lambda _: store.Verdict.REJECT)
    assert {f.line for f in result.summary.findings if f.severity == "row"} == {402}


def test_duplicate_keys__are_row_errors_wherever_they_stand(sender: Sender) -> None:
    rows = [resident(number, household=number) for number in range(1, 6)]
    result = sender.send({"J01": [*rows, rows[0] | {"operator_id": "op2"}]})
    assert codes(result) == {"LINKAGE_KEY_DUPLICATE"}
    assert result.summary.files[0].after == 5
    for doubled in (
        [*rows, rows[2]],
        [*rows, rows[2] | {"operator_id": "op3"}],
        [rows[2] | {"operator_id": "op3"}, *rows],
    ):
        result = sender.send({"J01": doubled}, decide=lambda _: store.Verdict.REJECT)
        assert "LINKAGE_KEY_DUPLICATE" in codes(result)


# -- certificates (D8) ----------------------------------------------------------------------------


@pytest.mark.requirement("R-047")
def test_cert_link__to_two_valid_persons__is_ambiguous_until_one_goes(sender: Sender) -> None:
    both = [cert_link(1, "A1"), cert_link(2, "A1"), cert_link(3, "B2")]
    result = sender.send({"J05": both})
    assert result.landed
    assert codes(result) == {"LINKAGE_SERIAL_AMBIGUOUS"}
    assert isinstance(store.find_cert_link(sender.town, ISSUER, "A1"), store.Ambiguous)
    single = store.find_cert_link(sender.town, ISSUER, "B2")
    assert isinstance(single, store.CertLink)
    assert single.addressee_number == f"{3:015d}"
    assert store.find_cert_link(sender.town, "CN=OTHER", "B2") is None
    sender.send({"J05": both[1:]})
    link = store.find_cert_link(sender.town, ISSUER, "A1")
    assert isinstance(link, store.CertLink)
    assert link.addressee_number == f"{2:015d}"


def test_cert_link__second_person_beside_an_unchanged_one__is_ambiguous(sender: Sender) -> None:
    sender.send({"J05": [cert_link(1, "A1")]})
    first, second = cert_link(1, "A1"), cert_link(2, "A1")
    for rows in ([first, second], [second, first]):
        result = sender.send({"J05": rows})
        assert "LINKAGE_KEY_DUPLICATE" not in codes(result)
        assert isinstance(store.find_cert_link(sender.town, ISSUER, "A1"), store.Ambiguous)


def test_cert_link__given_to_another_person_by_a_differential__follows(sender: Sender) -> None:
    sender.send({"J05": [cert_link(1, "A1")]})
    sender.send({"J05": [cert_link(2, "A1")]}, mode="differential")
    link = store.find_cert_link(sender.town, ISSUER, "A1")
    assert isinstance(link, store.CertLink)
    assert link.addressee_number == f"{2:015d}"


# -- urgent lane (D3) -----------------------------------------------------------------------------


@pytest.mark.requirement("R-023")
def test_urgent_lane__restricts_at_once_and_an_older_main_row_does_not_undo_it(
    sender: Sender,
) -> None:
    sender.send({"J05": [cert_link(1, "A1")]})
    revoked = cert_link(1, "A1", link_status="2", operated_on="2026-11-02", revoked_on="2026-11-02")
    assert sender.send({"J05": [revoked]}, lane="urgent", mode="differential").landed
    stale = cert_link(1, "A1", operator_id="op9")  # made in October
    for mode in ("differential", "full"):
        result = sender.send({"J05": [stale]}, mode=mode)
        assert result.summary.files[0].kept_urgent == 1
        link = store.find_cert_link(sender.town, ISSUER, "A1")
        assert isinstance(link, store.CertLink)
        assert link.values["link_status"] == "2"
    newer = cert_link(1, "A1", operated_on="2026-11-03")
    sender.send({"J05": [newer]})
    link = store.find_cert_link(sender.town, ISSUER, "A1")
    assert isinstance(link, store.CertLink)
    assert link.values["link_status"] == "1"


def test_urgent_lane__row_the_full_file_could_not_know__stays(sender: Sender) -> None:
    sender.send({"J04": [], "J01": [resident(1, household=1)]})
    late = measure(1, operated_on="2026-11-20")
    assert sender.send({"J04": [late]}, lane="urgent", mode="differential").landed
    sender.send({"J04": []}, as_of=START)
    assert len(store.find_person(sender.town, f"{1:015d}", file_ids=["J04"])) == 1
    sender.send({"J04": []}, as_of=START.replace(month=12))
    assert store.find_person(sender.town, f"{1:015d}", file_ids=["J04"]) == []


@pytest.mark.parametrize(
    ("file_id", "row"),
    [
        ("J05", cert_link(1, "A1")),
        ("J05", cert_link(1, "A1", link_status="2", deleted="1")),
        ("J04", measure(1, measure_kind="3")),
        ("J04", measure(1, measure_block_targets="01111")),
        ("J01", resident(1, household=1)),
    ],
)
def test_urgent_lane__a_row_that_lifts__is_refused(sender: Sender, file_id: str, row: Row) -> None:
    sender.send({"J04": [measure(1)], "J01": [resident(1, household=1)]})
    verdict = lambda summary: store.Verdict("REJECT" if summary.findings else "LAND")  # noqa: E731
    result = sender.send({file_id: [row]}, lane="urgent", mode="differential", decide=verdict)
    assert not result.landed
    assert codes(result) & {"LINKAGE_URGENT_LIFTS", "LINKAGE_URGENT_FILE"}


# -- images, individual numbers, broken files ----------------------------------------


def seal_image_row(name: str, sha256: str) -> Row:
    return {
        "municipality_code": "999997",
        "seal_registration_number": "12345",
        "seal_image_number": "1",
        "image_format": "png",
        "image_dots_per_inch": "400",
        "image_width_pixels": "320",
        "image_height_pixels": "320",
        "image_file_name": name,
        "image_sha256": sha256,
        "deleted": "0",
        "operator_id": "op1",
        "operated_on": "2026-10-01",
        "operated_time": "09:00:00",
    }


def test_seal_image__is_sealed_on_its_own_and_missing_ones_are_told(sender: Sender) -> None:
    name, content, sha256 = image("seal/12345_1.png")
    result = sender.send({"S02": [seal_image_row(name, sha256)]})
    assert codes(result) == {"LINKAGE_SEAL_IMAGE_MISSING"}
    changed = seal_image_row(name, sha256) | {"operator_id": "op2"}
    result = sender.send({"S02": [changed]}, images=[(name, content)])
    assert codes(result) == set()
    assert store.read_seal_image(sender.town, sha256) == content
    assert store.read_seal_image(sender.town, "0" * 64) is None


def test_individual_numbers__are_refused_whatever_the_judge_says(sender: Sender) -> None:
    result = sender.send({"J07": FILES["J07"].header_line})
    assert not result.landed
    assert codes(result) == {"LINKAGE_INDIVIDUAL_NUMBERS_OFF"}


@pytest.mark.requirement("R-020")
def test_broken_file__leaves_the_state_as_it_was(sender: Sender) -> None:
    rows = [resident(number, household=number) for number in range(1, 200)]
    sender.send({"J01": rows})
    broken = table("J01", [row | {"operator_id": "op2"} for row in rows])[:-40]
    result = sender.send({"J01": broken})
    assert not result.landed
    assert result.summary.count("fatal") == 1
    assert store.applied_position(sender.town).load_number == 1
    assert store.counts(sender.town)["J01"] == 199
    (version,) = store.find_person(sender.town, f"{150:015d}")
    assert version.until_load is None


@pytest.mark.requirement("R-020")
def test_load__that_fails_while_writing__leaves_nothing(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bcl.resident_store import page_writer

    sender.send({"J01": [resident(1, household=1)]})
    calls = []

    def fail(db, place, pages) -> None:
        calls.append(len(pages))
        if len(calls) == 2:
            raise RuntimeError("disk")
        original(db, place, pages)

    original = page_writer._insert_pages
    monkeypatch.setattr(page_writer, "_insert_pages", fail)
    many = [resident(number, household=number) for number in range(1, 20_000)]
    with pytest.raises(RuntimeError, match="disk"):
        sender.send({"J01": many})
    monkeypatch.undo()
    assert store.counts(sender.town) == {"J01": 1, "residents": 1}
    assert store.find_person(sender.town, f"{500:015d}") == []
    assert store.applied_position(sender.town).main_sequence == 1


def test_non_canonical_input__is_stored_canonically_and_recognised_again(sender: Sender) -> None:
    rows = [resident(number, household=number) for number in range(1, 50)]
    sender.send({"J01": rows})
    unix = table("J01", rows).replace(b"\r\n", b"\n")
    result = sender.send({"J01": unix})
    assert result.landed
    assert result.summary.files[0].unchanged == 49
    assert result.summary.files[0].rows == 49


def test_positions__sequence_time_and_load_number_agree(sender: Sender) -> None:
    assert store.applied_position(sender.town).load_number == 0
    for day in range(3):
        sender.send({"J01": [resident(day + 1, household=day + 1)]})
    position = store.applied_position(sender.town)
    assert (position.load_number, position.main_sequence, position.gaps) == (3, 3, ())
    assert store.load_number_at(sender.town, sequence=2) == 2
    assert store.load_number_at(sender.town, at=START.replace(hour=22, minute=30)) == 2
    assert store.load_number_at(sender.town, at=START) is None
    assert store.load_number_at(sender.town, sequence=9) is None
    with pytest.raises(store.RepeatedSequence):
        sender.sequences["main"] = 1
        sender.send({"J01": []})


def test_read_records__gives_only_the_columns_asked_for(sender: Sender) -> None:
    sender.send({"J01": [resident(1, household=1)]})
    (version,) = store.find_person(sender.town, f"{1:015d}")
    rows = store.read_records(sender.town, [version.id], columns=["sex", "born_on"])
    assert rows == {version.id: {"sex": "1", "born_on": "1980-02-03"}}
    with pytest.raises(store.UnknownColumn):
        store.read_records(sender.town, [version.id], columns=["individual_number"])
    assert "operator_id" in store.columns_of_profile("J01", "a")
    with tenancy.scope(sender.town):
        assert line("J01", resident(1, household=1)).startswith(b'"999997"')
