"""自己点検 and 保存期間: what stands there is what the running system says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from bcl.accounts import api as accounts
from bcl.accounts.models import StaffAccount
from bcl.console import self_report
from bcl.foundation import clock, tenancy
from bcl.foundation.models import TownKey
from bcl.oversight import api as oversight
from bcl.oversight.models import DataExport

TOWN = "999997"


def results(code: str = TOWN) -> dict[str, bool | None]:
    return {one.code: one.holds for one in self_report.make_report(code, at=clock.now())}


@pytest.mark.requirement("R-168")
def test_security__page__shows_each_item_and_what_is_broken(office) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    with office.signed_in(auditor) as client:
        page = client.get("/security").text
    for one in self_report.make_report(TOWN, at=clock.now()):
        assert one.title_ja in page and one.code in page
    assert results()["GATEWAY"] is False, "this town has registered no gateway"
    assert "満たしていない項目が" in page and "不適合" in page


@pytest.mark.requirement("R-168")
def test_security__each_item__turns_when_the_system_does(office) -> None:
    office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    before = results()
    held = [code for code, holds in before.items() if holds]
    assert set(held) == set(before) - {"GATEWAY", "MALWARE"}, before
    long_ago = clock.now() - timedelta(days=400)
    with tenancy.scope(TOWN):
        StaffAccount.objects.filter(login_name="auditor-1").update(
            last_sign_in_at=long_ago, created_at=long_ago, valid_until_on=long_ago.date(),
            password_hash="pbkdf2$1$x",
        )  # fmt: skip
        TownKey.objects.update(created_at=long_ago)
    office.add(TOWN, "both-1", accounts.Role.TOWN_AUDITOR, accounts.Role.TOWN_CLERK)
    after = results()
    turned = {code for code in before if before[code] != after[code]}
    assert turned == {"PASSWORDS", "DORMANT", "VALIDITY", "REVIEW", "AUDITOR_APART", "KEYS"}


@pytest.mark.requirement("R-168")
def test_security__right_to_change_the_record__is_asked_of_the_database(office) -> None:
    office.administrator(TOWN)
    assert results()["AUDIT_KEPT"] is True
    with connection.cursor() as db:
        db.execute("SELECT current_user")
        assert db.fetchone()[0] == "bcl_app", "the report must look with the serving role's rights"


def test_security__for_the_agency__leaves_out_what_only_towns_have(office) -> None:
    office.administrator(accounts.AGENCY_CODE)
    found = results(accounts.AGENCY_CODE)
    assert {code for code, holds in found.items() if holds is None} == {
        "KEYS", "TAKE_OUT", "RETENTION", "GATEWAY", "MALWARE",
    }  # fmt: skip


@pytest.mark.requirement("R-177")
def test_retention__page__names_every_class_and_the_proofs(office) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    with office.signed_in(auditor) as client:
        page = client.get("/retention").text
    for words in ("監査記録", "150年", "14日", "毎晩自動で消します", "まだ何も消していません"):
        assert words in page


@pytest.mark.requirement("R-168")
@pytest.mark.requirement("R-175")
def test_security__file_past_its_hour_that_nobody_deleted__breaks_the_item(office) -> None:
    office.administrator(TOWN)
    assert results()["TAKE_OUT"] is True
    at = clock.now()
    with tenancy.scope(TOWN):
        DataExport.objects.create(
            municipality_code=TOWN, token="0" * 32, canary="A" * 16, kind="AUDIT", state="BUILT",
            purpose="AUDIT", reference="R8-1", sealed_filter=b"", sealed_persons=b"",
            row_limit=1, rows=1, content_digest="0" * 32, recipient_id="r", request_sha256="0" * 64,
            recipient_public_key="age1", requested_at=at, requested_by="a", approved_at=at,
            approved_by="b", approval_signature="s", built_at=at, file_sha256="0" * 64,
            take_limit=3, expires_at=at - timedelta(days=3),
        )  # fmt: skip
    assert results()["TAKE_OUT"] is False
    oversight.expire_exports(TOWN, at=at)
    assert results()["TAKE_OUT"] is True
