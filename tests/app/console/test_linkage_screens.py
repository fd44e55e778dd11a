"""連携画面: what it shows equals the intake, who may decide, and what a stale page does."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

import pytest

from bcl.accounts import api as accounts
from bcl.foundation import clock, tenancy
from bcl.foundation.models import AuditEntry
from bcl.linkage import api as linkage
from bcl.linkage.models import Transmission, TransmissionFinding

TOWN, OTHER = "999997", "999989"
pytestmark = pytest.mark.requirement("R-059")


def transmission(code: str = TOWN, **more: object) -> Transmission:
    at = clock.now()
    facts: dict[str, object] = {
        "bundle_id": uuid.uuid4().hex,
        "sha256": uuid.uuid4().hex * 2,
        "bytes": 123_456,
        "upload_id": uuid.uuid4(),
        "key_version": 1,
        "gateway_id": "gw",
        "state": "HELD",
        "refusal_code": "TRANSMISSION_GAP",
        "lane": "main",
        "mode": "full",
        "sequence": 7,
        "as_of": at,
        "received_at": at,
        "counts": [{"file_id": "J01", "rows": 1200, "inserted": 3}],
    }
    with tenancy.scope(code):
        return Transmission.objects.create(municipality_code=code, **(facts | more))


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
    one = transmission(refusal_code="TRANSMISSION_MASS_CHANGE")
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


def test_overview__for_the_agency__is_one_line_a_town_without_transmissions(office) -> None:
    operator = office.add(accounts.AGENCY_CODE, "operator-1", accounts.Role.AGENCY_OPERATOR)
    one = transmission()
    with office.signed_in(operator) as client:
        page = client.get("/linkage").text
        assert TOWN in page and OTHER in page
        assert str(one.id) not in page
        assert client.get(f"/linkage/{one.id}").status_code == 404
