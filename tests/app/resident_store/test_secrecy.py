"""Nothing is readable at rest, towns are apart, moved ciphertext does not open."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from store_world import Sender, resident

from bcl.foundation import tenancy
from bcl.resident_store import api as store

CANARIES = ("烏丸鶫", "カラスマツグミ", "鵺町八丁目", "987654321012345")


def canary_row() -> dict[str, str]:
    return resident(
        987654321012345, household=987654321012345, full_name=CANARIES[0],
        full_name_kana=CANARIES[1], address_town=CANARIES[2], head_of_household_name=CANARIES[0],
    )


@pytest.mark.requirement("R-026")
@pytest.mark.django_db(transaction=True)
def test_data_directory__holds_no_clear_text(
    town: str, cluster_info, superuser_connection
) -> None:
    sender = Sender(town)
    sender.send({"J01": [canary_row(), *(resident(n, household=n) for n in range(1, 3000))]})
    sender.send({"J01": [canary_row() | {"sex": "2", "sex_as_written": "女"}]}, mode="differential")
    assert store.find_by_search(town, "name", CANARIES[0], file_ids=["J01"])
    superuser_connection.execute("CHECKPOINT")
    found = []
    for path in Path(cluster_info.data_dir).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found += [
                (str(path), canary) for canary in CANARIES
                if canary.encode() in content or canary.encode("utf-16-le") in content
            ]
    assert found == []
    # The test would see a real leak:
    superuser_connection.execute("CREATE TABLE canary_probe AS SELECT %s::text AS name",
                                 [CANARIES[0]])
    superuser_connection.execute("CHECKPOINT")
    leaks = [
        path for path in Path(cluster_info.data_dir).rglob("*")
        if path.is_file() and CANARIES[0].encode() in path.read_bytes()
    ]
    superuser_connection.execute("DROP TABLE canary_probe")
    assert leaks


@pytest.mark.requirement("R-025")
@pytest.mark.requirement("R-173")
def test_three_towns__with_the_same_numbers__see_only_their_own(
    town: str, other_town: str, third_town: str
) -> None:
    codes = (town, other_town, third_town)
    for place, code in enumerate(codes):
        rows = [
            resident(number, household=number, municipality_code=code,
                     full_name=f"団体{place}の住民")
            for number in range(1, 50 + 10 * place)
        ]
        assert Sender(code).send({"J01": rows}).landed
    keys = set()
    for place, code in enumerate(codes):
        assert store.counts(code)["J01"] == 49 + 10 * place
        (version,) = store.find_person(code, f"{7:015d}", file_ids=["J01"])
        keys.add((version.record_key, version.person_key))
        values = store.read_records(code, [version.id], columns=["full_name"])
        assert values[version.id]["full_name"] == f"団体{place}の住民"
        for stranger in codes:
            if stranger != code:
                assert store.read_records(stranger, [version.id]) == {}
                assert store.find_by_key(stranger, version.person_key) == []
    assert len(keys) == 3


@pytest.mark.requirement("R-173")
def test_every_table__has_forced_row_level_security(town: str) -> None:
    with connection.cursor() as db:
        db.execute(
            "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
            " WHERE relname LIKE 'resident_store_%' AND relkind = 'r'"
        )
        tables = db.fetchall()
    assert len(tables) >= 9
    assert all(enabled and forced for _, enabled, forced in tables)
    Sender(town).send({"J01": [resident(1, household=1)]})
    with connection.cursor() as db:
        for name, _, _ in tables:
            db.execute(f"SELECT count(*) FROM {name}")
            assert db.fetchone() == (0,), name


@pytest.mark.requirement("R-027")
def test_page__moved_to_another_place__does_not_open(town: str) -> None:
    sender = Sender(town)
    sender.send({"J01": [resident(number, household=number) for number in range(1, 300)]})
    first, other = (
        store.find_person(town, f"{number:015d}", file_ids=["J01"])[0] for number in (1, 200)
    )
    with tenancy.scope(town), connection.cursor() as db:
        db.execute(
            "UPDATE resident_store_page target SET sealed = source.sealed, rows = source.rows,"
            " live = source.live, live_rows = source.live_rows, slots = source.slots,"
            " clear_size = source.clear_size, crc32 = source.crc32"
            " FROM resident_store_page source WHERE target.id = %s AND source.id = %s",
            [first.id // 128, other.id // 128],
        )
        assert db.rowcount == 1
    with pytest.raises(store.PageFault):
        store.read_records(town, [first.id])
    assert store.read_records(town, [other.id])[other.id]["addressee_number"] == f"{200:015d}"


@pytest.mark.requirement("R-027")
def test_page__with_one_flipped_bit__does_not_open_and_says_no_value(town: str) -> None:
    sender = Sender(town)
    sender.send({"J01": [canary_row()]})
    (version,) = store.find_person(town, CANARIES[3], file_ids=["J01"])
    with tenancy.scope(town), connection.cursor() as db:
        db.execute(
            "UPDATE resident_store_page SET sealed = set_byte(sealed, 40,"
            " get_byte(sealed, 40) # 1) WHERE id = %s",
            [version.id // 128],
        )
    with pytest.raises(store.PageFault) as fault:
        store.read_records(town, [version.id])
    assert not any(canary in str(fault.value) for canary in CANARIES)
    assert not any(canary in repr(version) for canary in CANARIES)


def test_equal_records__have_different_ciphertext(town: str) -> None:
    row = resident(1, household=1)
    sender = Sender(town)
    sender.send({"J01": [row]})
    sender.send({"J01": []})
    sender.send({"J01": [row]})
    with tenancy.scope(town), connection.cursor() as db:
        db.execute("SELECT count(*), count(DISTINCT sealed), count(DISTINCT crc32)"
                   " FROM resident_store_page")
        assert db.fetchone() == (2, 2, 1)


@pytest.mark.requirement("R-020")
@pytest.mark.django_db(transaction=True)
def test_load__whose_connection_is_killed__leaves_the_state_before_it(
    town: str, superuser_connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bcl.resident_store import page_writer

    sender = Sender(town)
    rows = [resident(number, household=number) for number in range(1, 20_000)]
    assert sender.send({"J01": rows[:50]}).landed
    original, calls = page_writer._insert_pages, []

    def killed(db, place, pages) -> None:
        calls.append(len(pages))
        original(db, place, pages)
        if len(calls) == 1:
            superuser_connection.execute(
                "SELECT pg_terminate_backend(%s)", [db.connection.info.backend_pid]
            )

    monkeypatch.setattr(page_writer, "_insert_pages", killed)
    with pytest.raises(Exception, match=r"terminat|closed|lost"):
        sender.send({"J01": rows})
    monkeypatch.undo()
    connection.close()
    assert calls
    assert store.counts(town) == {"J01": 50, "residents": 50}
    assert store.find_person(town, f"{60:015d}") == []
    sender.sequences["main"] = 1
    assert sender.send({"J01": rows}).summary.files[0].after == 19_999
