"""ホーム: what waits for a person, by what the person may do, and whose town it is."""

from __future__ import annotations

import re

import pytest
from intake_rows import TOWN, transmission

from bcl.accounts import api as accounts
from bcl.foundation import clock
from bcl.municipalities import api as municipalities

OTHER = "999989"


def figure(page: str, title: str) -> int:
    found = re.search(rf"<h3>{title}</h3><p class=\"figure\">([0-9,]+)件", page)
    return int(found.group(1).replace(",", ""))


@pytest.mark.requirement("R-059")
def test_home__shows_what_waits_and_only_of_the_own_town(office) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    with office.signed_in(clerk) as client:
        assert "いま対応の要るものはありません" in client.get("/").text
        transmission(sequence=1)
        transmission(sequence=2)
        transmission(OTHER, sequence=1)
        municipalities.open_notice(TOWN, "LINKAGE_RESEND_REQUESTED", at=clock.now())
        municipalities.open_notice(OTHER, "LINKAGE_GATEWAY_SILENT", at=clock.now())
        page = client.get("/").text
    assert figure(page, "保留中の連携データ") == 2
    assert "LINKAGE_RESEND_REQUESTED" in page and "LINKAGE_GATEWAY_SILENT" not in page
    assert "停止中の職員" not in page, "a clerk doesn't administer accounts"
    assert "住民情報のバックアップ" in page


def test_home__of_the_agency__shows_notices_of_all_towns_by_code(office) -> None:
    operator = office.add(accounts.AGENCY_CODE, "operator-1", accounts.Role.AGENCY_OPERATOR)
    municipalities.open_notice(OTHER, "LINKAGE_GATEWAY_SILENT", at=clock.now())
    with office.signed_in(operator) as client:
        page = client.get("/").text
    assert f"（{OTHER}）" in page and "保留中の連携データ" not in page
