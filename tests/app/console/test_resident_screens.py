"""中間DB参照: a purpose for every look, all persons shown on record, protected places held back."""

from __future__ import annotations

import re

import pytest
from store_world import Sender, resident

from bcl.accounts import api as accounts
from bcl.accounts.models import StaffAccount
from bcl.accounts.rules import limits_on
from bcl.foundation import clock, crypto, tenancy
from bcl.foundation.models import AuditEntry

TOWN, OTHER = "999997", "999989"
SECRET_TOWN = "秘密町"  # where the protected person lives
pytestmark = pytest.mark.requirement("R-056")
LOOK = {"purpose": "DATA_CHECK", "reference": "2026-12"}


def measure(number: int, **values: str) -> dict[str, str]:
    return {
        "municipality_code": "999997", "addressee_number": f"{number:015d}",
        "history_number": "00001", "latest": "1", "measure_started_on": "2026-01-01",
        "measure_kind": "2", "measure_target_kind": "1", "measure_reason": "1",
        "deleted": "0", "operator_id": "op1", "operated_on": "2026-10-01",
        "operated_time": "09:00:00",
    } | values  # fmt: skip


def living(number: int, **values: str) -> dict[str, str]:
    place = SECRET_TOWN if number in (3, 4) else "本町"
    household = 3 if number == 4 else number
    return resident(
        number, household=household, order=2 if number == 4 else 1,
        full_name=f"見本　{'一二三四五六七八九'[number - 1]}郎",
        address_town=place, address_lot_as_written=f"{number}番地", **values,
    )  # fmt: skip


@pytest.fixture
def register(office) -> Sender:
    """Nine residents of whom 3 is protected and 4 lives with 3; then 1 moves within the town."""
    sender = Sender(TOWN)
    people = [living(number) for number in range(1, 10)]
    sender.send({"J01": people, "J04": [measure(3), measure(5, measure_target_kind="3")]})
    moved = living(1, history_number="00002") | {"address_town": "新町", "changed_on": "2026-10-01"}
    old = living(1, latest="0")
    sender.send({"J01": [old, moved]}, mode="differential")
    return sender


def records(page: str) -> list[str]:
    return re.findall(r'action="/residents/person"[^§]*?name="record" value="(\d+)"', page)


def rows_about(number: int, act: str = "show_resident") -> list[AuditEntry]:
    with tenancy.scope(TOWN):
        digest = crypto.subject_digest(TOWN, f"{number:015d}".encode())
        return list(AuditEntry.objects.filter(subject_digest=digest, act=act))


def find(office, client, **wanted: str):
    return office.post(client, "/residents", **(LOOK | wanted))


@pytest.mark.requirement("R-172")
def test_search__partial_name__lists_and_records_everybody_shown(office, register) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    with office.signed_in(clerk) as client:
        page = find(office, client, name="見本 二").text
        assert "見本　二郎" in page and "見つかった人（1人）" in page
        assert [row.actor_id for row in rows_about(2)] == ["clerk-1"]
        assert rows_about(6) == []
        everybody = find(office, client, name="見本").text
        assert "見つかった人（9人）" in everybody
        assert all(len(rows_about(number)) == (2 if number == 2 else 1) for number in range(1, 10))
    with tenancy.scope(TOWN):
        (first, _) = AuditEntry.objects.filter(act="search_residents").order_by("pk")
    assert first.detail == {
        "purpose": "DATA_CHECK", "reference": "2026-12", "persons": 1, "fields": "name",
        "terminal": f"terminal-{TOWN}", "look": first.detail["look"],
    }  # fmt: skip


def test_look__without_a_purpose__is_refused_and_shows_nobody(office, register) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    with office.signed_in(clerk) as client:
        record = records(find(office, client, name="見本 二").text)[0]
        for path in ("/residents/person", "/residents/household"):
            for fields in ({}, {"record": record}, {"record": record, "purpose": "FUN"}):
                refused = office.post(client, path, **fields)
                assert (refused.status_code, "見本　二" in refused.text) == (400, False)
            assert client.get(path).status_code == 400
        bare = office.post(client, "/residents", name="見本")
        assert (bare.status_code, "見本　二郎" in bare.text) == (422, False)
        empty = office.post(client, "/residents", **LOOK)
        assert empty.status_code == 422
        number = office.post(client, "/residents", **LOOK | {"name": "見本", "reference": "1" * 12})
        assert number.status_code == 422, "a personal number is no reference"


def test_person__shows_record_history_and_household(office, register) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    with office.signed_in(clerk) as client:
        record = records(find(office, client, addressee_number=f"{1:015d}").text)[0]
        page = office.post(client, "/residents/person", **LOOK, record=record).text
        assert "新町" in page and "履歴（" in page and "連携したデータの確認" in page
        assert "権限がないため表示しません" in page, "a clerk doesn't see the register domicile"
        older = [one for one in records(page) if one != record]
        past = office.post(client, "/residents/person", **LOOK, record=older[-1]).text
        assert "本町" in past and "過去の記録を表示しています" in past
        family = office.post(client, "/residents/household", **LOOK, record=record).text
        assert "世帯（1人）" in family
    assert {row.detail["in"] for row in rows_about(1)} == {
        "search_residents", "view_resident", "view_household",
    }  # fmt: skip


@pytest.mark.requirement("R-074")
def test_protected__place_of_the_whole_household__is_in_no_page(office, register) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    with office.signed_in(clerk) as client:
        pages = [find(office, client, name="見本").text]
        pages += [
            office.post(client, path, **LOOK, record=record).text
            for number in (3, 4)
            for record in records(find(office, client, addressee_number=f"{number:015d}").text)
            for path in ("/residents/person", "/residents/household")
        ]
        by_address = find(office, client, address=SECRET_TOWN)
        assert "この条件に合う人はいません" in by_address.text
        record = records(find(office, client, addressee_number=f"{3:015d}").text)[0]
        denied = office.post(client, "/residents/person/reveal", **LOOK, record=record, code="1")
        assert denied.status_code == 403
    assert len(pages) == 5
    for page in pages:
        assert "支援措置" in page and SECRET_TOWN not in page
    assert "本町5番地" in pages[0], "the counterparty's own place is not the protected one"


@pytest.mark.requirement("R-074")
def test_protected__place_asked_for_with_a_fresh_code__is_shown_once_and_recorded(
    office, register
) -> None:
    approver = office.add(TOWN, "approver-1", accounts.Role.TOWN_APPROVER)
    with office.signed_in(approver) as client:
        record = records(find(office, client, addressee_number=f"{3:015d}").text)[0]
        here = "/residents/person/reveal"
        wrong = office.post(client, here, **LOOK, record=record, code="000000")
        assert (wrong.status_code, SECRET_TOWN in wrong.text) == (401, False)
        shown = office.post(client, here, **LOOK, record=record, code=approver.code())
        assert shown.status_code == 200 and SECRET_TOWN in shown.text
        again = office.post(client, "/residents/person", **LOOK, record=record)
        assert SECRET_TOWN not in again.text
    assert [row.detail["in"] for row in rows_about(3)].count("reveal_address") == 1


@pytest.mark.requirement("R-002")
def test_record__of_another_town__is_as_unknown_as_none(office, register) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    foreign = office.add(OTHER, "clerk-2", accounts.Role.TOWN_CLERK)
    with office.signed_in(clerk) as client:
        record = records(find(office, client, addressee_number=f"{1:015d}").text)[0]
    with office.signed_in(foreign) as client:
        assert "この条件に合う人はいません" in find(office, client, name="見本").text
        for number in (record, 2**62, 0):
            for path in ("/residents/person", "/residents/household"):
                assert office.post(client, path, **LOOK, record=number).status_code == 404
        assert office.post(client, "/residents/person", **LOOK, record=-1).status_code == 400


@pytest.mark.requirement("R-172")
def test_looks__too_many_persons_in_a_short_time__wait_and_are_told_to_the_auditor(
    office, register
) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    other = office.add(TOWN, "clerk-2", accounts.Role.TOWN_CLERK)
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    most = limits_on(clock.now().date()).look_persons
    told = "短い時間に多くの住民を見た職員"
    with office.signed_in(clerk) as client, office.signed_in(auditor) as watching:
        record = records(find(office, client, name="見本 二").text)[0]
        before = shown_persons("clerk-1")
        assert before == 1
        already_shown("clerk-1", most - 1)
        everybody = find(office, client, name="見本")
        assert everybody.status_code == 200, "the last look below the limit is answered whole"
        assert shown_persons("clerk-1") == most - 1 + 9
        assert f"{told}</a></dt><dd>0件" in watching.get("/").text
        for _ in range(2):
            again = find(office, client, name="見本 三")
            assert again.status_code == 429 and "LOOKS_TOO_MANY" in again.text
            assert "見本　三郎" not in again.text
        for path in ("/residents/person", "/residents/household"):
            assert office.post(client, path, **LOOK, record=record).status_code == 429
        with office.signed_in(other) as neighbour:
            assert find(office, neighbour, name="見本").status_code == 200, "only who leafs waits"
        assert f"<h3>{told}</h3><p class=\"figure\">1件" in watching.get("/").text
        with tenancy.scope(TOWN):
            (row,) = AuditEntry.objects.filter(act="slow_looks")
            assert (row.actor_id, row.detail["persons"]) == ("clerk-1", most + 8)
            began = StaffAccount.objects.filter(login_name="clerk-1")
            began.update(looks_since=clock.now() - limits_on(clock.now().date()).look_window)
        assert find(office, client, name="見本 三").status_code == 200
        assert shown_persons("clerk-1") == 1, "a new window begins"


def shown_persons(login_name: str) -> int:
    with tenancy.scope(TOWN):
        return StaffAccount.objects.get(login_name=login_name).looks_persons


def already_shown(login_name: str, persons: int) -> None:
    """As if the person had looked at so many by now."""
    with tenancy.scope(TOWN):
        StaffAccount.objects.filter(login_name=login_name).update(looks_persons=persons)
