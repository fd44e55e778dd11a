"""データの配り先: the list and one subscription, for the town's administrator and the agency."""

from __future__ import annotations

import pytest
from subscription_rows import subscription

from bcl.accounts import api as accounts
from bcl.foundation import tenancy

TOWN, OTHER = "999997", "999989"
pytestmark = pytest.mark.requirement("R-029")


def test_list__of_a_town__shows_its_own_only(office) -> None:
    admin = office.administrator(TOWN)
    subscription(TOWN)
    subscription(OTHER, "tax-office", profile={"title": "隣町だけの購読"})
    with office.signed_in(admin) as client:
        page = client.get("/subscriptions").text
        assert "学齢簿の編製と就学の通知" in page and "配信中" in page
        assert "隣町だけの購読" not in page
        assert client.get(f"/subscriptions/{OTHER}/tax-office").status_code == 404
        assert client.get(f"/subscriptions/{TOWN}/never-was").status_code == 404


def test_detail__says_who_gets_which_columns_since_when_and_how_far(office) -> None:
    admin = office.administrator(TOWN)
    subscription(
        TOWN,
        profile={
            "columns": {"J01": ["addressee_number", "registered_domicile"]},
            "allow": {"sensitive": "本籍の確認に要る"}, "search": ["person"],
        },
    )
    subscription(
        TOWN, version=2, state="REQUESTED", approved_at=None, approved_by="",
        requested_by="staff-c",
    )
    with office.signed_in(admin) as client:
        page = client.get(f"/subscriptions/{TOWN}/school-roll").text
    for words in (
        "教育委員会 学齢簿サーバ", "学校教育法施行令", "staff-a", "staff-b", "本籍", "要配慮",
        "本籍の確認に要る", "宛名番号", "10頁", "世代1の受け取り（75％）",
        "新しい版が承認を待っています", "staff-c",
    ):
        assert words in page, words


def test_detail__waiting_or_revoked__says_what_to_do(office) -> None:
    from bcl.municipalities import api as municipalities

    admin = office.administrator(TOWN)
    subscription(TOWN, "asked-for", state="REQUESTED", approved_at=None, approved_by="")
    subscription(TOWN, "cut-off", profile={"subscriber": "old-system"})
    municipalities.revoke_subscriber("old-system")
    with office.signed_in(admin) as client:
        waiting = client.get(f"/subscriptions/{TOWN}/asked-for").text
        assert "bcl subscription approve asked-for" in waiting and "承認を待っています" in waiting
        assert "証明書が失効しています" in client.get(f"/subscriptions/{TOWN}/cut-off").text


def test_agency_operator__sees_all_towns(office) -> None:
    operator = office.add(accounts.AGENCY_CODE, "operator-1", accounts.Role.AGENCY_OPERATOR)
    subscription(TOWN)
    subscription(OTHER)
    with office.signed_in(operator) as client:
        page = client.get("/subscriptions").text
        assert "見本市" in page and "隣町市" in page
        assert client.get(f"/subscriptions/{OTHER}/school-roll").status_code == 200


@pytest.mark.requirement("R-011")
def test_data_uses__begun_building_and_ended__are_told_apart(office) -> None:
    from bcl.foundation import audit, clock
    from bcl.issuance import api as issuance
    from bcl.municipalities import api as municipalities
    from bcl.resident_store.models import Load

    admin = office.administrator(TOWN)
    with tenancy.scope(TOWN):
        Load.objects.create(
            municipality_code=TOWN, load_number=1, lane="main", sequence=1, transmission_id="t",
            mode="full", as_of=clock.now(), applied_at=clock.now(), interface_version="1.0",
            counts={"records": {}, "residents": 0},
        )
    with office.signed_in(admin) as client:
        page = client.get("/data-uses").text
        assert "住民情報バックアップ" in page and "反映 0 / 1 回分" in page and "作成中" in page
        assert page.count("始めていない</span>") == 1, "disaster support has not begun"
        issuance.refresh_issuable_records(TOWN)
        assert "証明発行DBは最新です" in client.get("/data-uses").text
        issuance.disable_certificates(TOWN, by=audit.SYSTEM, at=clock.now())
        ended = client.get("/data-uses").text
        assert "終了</span>" in ended and "削除の証明" in ended
    assert not municipalities.is_profile_enabled(TOWN, municipalities.Profile.CERTIFICATES)
