"""連携画面: what it shows equals the intake, who may decide, and what a stale page does."""

from __future__ import annotations

import csv
import io
import re
import uuid
import zipfile
from datetime import timedelta

import pytest
from intake_rows import TOWN, transmission

from bcl.accounts import api as accounts
from bcl.foundation import clock, tenancy
from bcl.foundation.models import AuditEntry
from bcl.linkage import api as linkage
from bcl.linkage.models import Transmission, TransmissionFinding
from bcl.resident_store.models import HeldPerson, Load

OTHER = "999989"
pytestmark = pytest.mark.requirement("R-059")


def landed(number: int) -> Transmission:
    at = clock.now() - timedelta(days=40 - number)
    return transmission(
        state="LANDED",
        refusal_code="",
        sequence=number,
        received_at=at,
        landed_at=at,
        load_number=number,
        counts=[{"file_id": "J01", "rows": number * 10}],
    )


def test_overview__numbers__equal_the_intake(office) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    for number in range(1, 36):
        landed(number)
    held = transmission(sequence=37)
    status = linkage.get_status(TOWN, at=clock.now())
    with office.signed_in(clerk) as client:
        page = client.get("/linkage").text
        assert f'滞留</h2><p class="figure">{status.backlog}件' in page
        assert f'反映済み</h2><p class="figure">{status.landed}件' in page
        assert "証明書の発行を止めています" in page
        assert page.count("<rect ") == 30 and "通番35: 350件" in page
        assert "1 / 2 ページ" in page and page.count("反映済み</span>") == 19
        second = client.get("/linkage?state=&page=2").text
        assert "2 / 2 ページ" in second and second.count("反映済み</span>") == 16
        only = client.get("/linkage?state=HELD").text
        assert str(held.id) in only and "連携データ（1件）" in only
        assert "連携データ（36件）" in client.get("/linkage?state='%20OR%201=1&page=-5").text


@pytest.mark.requirement("R-022")
def test_detail__findings__name_file_line_and_rule(office) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    one = transmission(findings_total=1)
    with tenancy.scope(TOWN):
        TransmissionFinding.objects.create(
            municipality_code=TOWN,
            transmission=one,
            position=0,
            file="J01.csv",
            line=31,
            column="氏名",
            rule="<V03>",
            severity="row",
            code="LINKAGE_ROW_INVALID",
        )
    with office.signed_in(clerk) as client:
        page = client.get(f"/linkage/{one.id}").text
        for word in ("J01.csv", ">31<", "氏名", "&lt;V03&gt;", "通番7", "対応する人"):
            assert word in page, word
        assert "承認する" not in page, "a clerk sees it and can't decide it"


@pytest.mark.requirement("R-002")
def test_detail__of_another_town__is_as_unknown_as_none(office) -> None:
    approver = office.add(TOWN, "approver-1", accounts.Role.TOWN_APPROVER)
    foreign = transmission(OTHER)
    with office.signed_in(approver) as client:
        for path in ("", "/release", "/reject"):
            answers = [
                client.get(f"/linkage/{number}")
                if not path
                else office.post(client, f"/linkage/{number}{path}", stamp="x", checked="on")
                for number in (foreign.id, uuid.uuid4())
            ]
            assert [one.status_code for one in answers] == [404, 404]
        assert str(foreign.id) not in client.get("/linkage").text
    with tenancy.scope(OTHER):
        assert Transmission.objects.get(id=foreign.id).state == "HELD"


def stamp_of(page: str) -> str:
    return re.search(r'name="stamp" value="([0-9a-f]+)"', page).group(1)


def test_decision__needs_the_mark_and_a_fresh_page__then_stands_in_the_audit(office) -> None:
    approver = office.add(TOWN, "approver-1", accounts.Role.TOWN_APPROVER)
    one = transmission(refusal_code="TRANSMISSION_ROW_ERRORS_HELD")
    with office.signed_in(approver) as client:
        here = f"/linkage/{one.id}"
        stamp = stamp_of(client.get(here).text)
        bare = office.post(client, f"{here}/release", stamp=stamp)
        assert (bare.status_code, "CONSOLE_NOT_CONFIRMED" in bare.text) == (422, True)
        stale = office.post(client, f"{here}/release", stamp="0" * 32, checked="on")
        assert (stale.status_code, "CONSOLE_CHANGED_MEANWHILE" in stale.text) == (409, True)
        good = office.post(client, f"{here}/release", stamp=stamp, checked="on")
        assert good.headers["Location"].endswith("?done=transmission-released")
        again = office.post(client, f"{here}/release", stamp=stamp, checked="on")
        assert again.status_code == 409, "a double click decides once"
    with tenancy.scope(TOWN):
        (row,) = AuditEntry.objects.filter(act="release_transmission")
        assert row.actor_id == "approver-1"


def test_mass_change__a_clerk_asks_and_an_approver_releases(office) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    approver = office.add(TOWN, "approver-1", accounts.Role.TOWN_APPROVER)
    one = transmission(refusal_code="TRANSMISSION_MASS_CHANGE")
    here = f"/linkage/{one.id}"
    with office.signed_in(clerk) as client:
        page = client.get(here).text
        assert "承認を申し出る" in page and "正しいデータとして承認する" not in page
        asked = office.post(client, f"{here}/ask-release", stamp=stamp_of(page), checked="on")
        assert asked.headers["Location"].endswith("?done=transmission-release-asked")
        again = client.get(here).text
        assert "承認の申し出があります" in again and 'name="stamp"' not in again
        denied = office.post(client, f"{here}/release", stamp="x", checked="on")
        assert denied.status_code == 403
    with tenancy.scope(TOWN):
        assert Transmission.objects.get(id=one.id).released_at is None
    with office.signed_in(approver) as client:
        page = client.get(here).text
        good = office.post(client, f"{here}/release", stamp=stamp_of(page), checked="on")
        assert good.headers["Location"].endswith("?done=transmission-released")
    with tenancy.scope(TOWN):
        found = Transmission.objects.get(id=one.id)
        assert (found.release_asked_by, found.released_by) == ("clerk-1", "approver-1")


def test_mass_change__one_approver_alone__only_asks(office) -> None:
    approver = office.add(TOWN, "approver-1", accounts.Role.TOWN_APPROVER)
    one = transmission(refusal_code="TRANSMISSION_MASS_CHANGE")
    here = f"/linkage/{one.id}"
    with office.signed_in(approver) as client:
        stamp = stamp_of(client.get(here).text)
        office.post(client, f"{here}/ask-release", stamp=stamp, checked="on")
        page = client.get(here).text
        assert "正しいデータとして承認する" not in page and "却下する" in page
        forced = office.post(client, f"{here}/release", stamp=stamp_of(page), checked="on")
        assert "RELEASE_NEEDS_SECOND_PERSON" in forced.text
    with tenancy.scope(TOWN):
        assert Transmission.objects.get(id=one.id).released_at is None


@pytest.mark.requirement("R-022")
def test_findings__as_csv__are_what_the_page_shows(office) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    one = transmission(findings_total=1)
    with tenancy.scope(TOWN):
        TransmissionFinding.objects.create(
            municipality_code=TOWN, transmission=one, position=0, file="J01.csv", line=31,
            column="氏名", rule="V03", severity="row", code="HOUSEHOLD_V01",
        )  # fmt: skip
    with office.signed_in(clerk) as client:
        answer = client.get(f"/linkage/{one.id}/findings.csv")
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
        assert [(row["ファイル"], row["行"], row["規則"]) for row in rows] == [
            ("J01.csv", "31", "V03")
        ]
        assert client.get(f"/linkage/{uuid.uuid4()}/findings.csv").status_code == 404


@pytest.mark.requirement("R-022")
def test_resend__asked_once_shown_and_taken_back(office) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    wish = {"lane": "main", "sequence": "7", "reason_code": "DATA_WRONG"}
    with office.signed_in(clerk) as client:
        assert office.post(client, "/linkage/resend", **wish).status_code == 302
        (made,) = linkage.list_resend_requests(TOWN)
        assert (made.sequence, made.requested_by) == (7, "clerk-1")
        assert "内容に誤りがあった" in client.get("/linkage").text
        assert "LINKAGE_RESEND_ASKED_ALREADY" in office.post(client, "/linkage/resend", **wish).text
        for wrong in (
            {"lane": "x"},
            {"sequence": "-1"},
            {"sequence": "9" * 40},
            {"reason_code": ""},
        ):
            refused = office.post(client, "/linkage/resend", **(wish | wrong))
            assert (refused.status_code, "CONSOLE_INPUT_WRONG" in refused.text) == (422, True)
        office.post(client, f"/linkage/resend/{made.id}/withdraw")
        assert linkage.list_resend_requests(TOWN) == []


@pytest.mark.requirement("R-022")
def test_hold__asked_by_one_and_lifted_by_another(office) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    approver = office.add(TOWN, "approver-1", accounts.Role.TOWN_APPROVER)
    with tenancy.scope(TOWN):
        Load.objects.create(
            municipality_code=TOWN, load_number=1, lane="main", sequence=1, mode="full",
            as_of=clock.now(), applied_at=clock.now(), transmission_id=uuid.uuid4().hex,
            interface_version="1", counts=[],
        )  # fmt: skip
        HeldPerson.objects.create(
            municipality_code=TOWN, since_load=1, record_key=uuid.uuid4(), person_key=5,
            household_key=0, file_id="J01", line=31, column="生年月日", rule="T03",
            code="LINKAGE_ROW_INVALID",
        )  # fmt: skip
    with office.signed_in(clerk) as client:
        page = client.get("/linkage/holds").text
        assert "生年月日" in page and ">31<" in page and "（1件）" in page
        hold = re.search(r'name="hold" value="(P\d+)"', page).group(1)
        asked = office.post(client, "/linkage/holds/ask", hold=hold, reason="CORE_IS_RIGHT")
        assert asked.headers["Location"].endswith("?done=hold-asked")
        assert office.post(client, "/linkage/holds/approve", hold=hold).status_code == 403
        for wrong in ({"hold": "", "reason": "CORE_IS_RIGHT"}, {"hold": hold, "reason": "x"}):
            assert office.post(client, "/linkage/holds/ask", **wrong).status_code == 422
    with office.signed_in(approver) as client:
        assert "解除を承認する" in client.get("/linkage/holds").text
        gone = office.post(client, "/linkage/holds/approve", hold="P99999")
        assert (gone.status_code, "LINKAGE_HOLD_NOT_FOUND" in gone.text) == (404, True)
        lifted = office.post(client, "/linkage/holds/approve", hold=hold)
        assert lifted.headers["Location"].endswith("?done=hold-lifted")
        assert "止めている人も世帯もありません" in client.get("/linkage/holds").text


def test_overview__for_the_agency__is_one_line_a_town_without_transmissions(office) -> None:
    operator = office.add(accounts.AGENCY_CODE, "operator-1", accounts.Role.AGENCY_OPERATOR)
    one = transmission()
    with office.signed_in(operator) as client:
        page = client.get("/linkage").text
        assert TOWN in page and OTHER in page
        assert str(one.id) not in page
        assert client.get(f"/linkage/{one.id}").status_code == 404


@pytest.mark.requirement("R-036")
def test_interface__versions_dates_and_what_the_town_sends(office) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    transmission(
        state="LANDED", refusal_code="", interface_version="1.0",
        landed_at=clock.now(), load_number=1,
    )  # fmt: skip
    with office.signed_in(clerk) as client:
        page = client.get("/interface").text
        assert "受付中" in page and "通常: 1.0" in page and OTHER not in page
        packed = client.get("/interface/1.0.zip")
        names = zipfile.ZipFile(io.BytesIO(packed.content)).namelist()
        assert any(name.endswith(".html") for name in names)
        assert any(name.endswith(".xlsx") for name in names)
        for unknown in ("9.9", "..%2F..%2Fx", "1.0%00"):
            assert client.get(f"/interface/{unknown}.zip").status_code == 404


@pytest.mark.requirement("R-036")
def test_interface__for_the_agency__lists_every_town(office) -> None:
    operator = office.add(accounts.AGENCY_CODE, "operator-1", accounts.Role.AGENCY_OPERATOR)
    with office.signed_in(operator) as client:
        page = client.get("/interface").text
    assert TOWN in page and OTHER in page and "まだ送っていません" in page
