"""ホーム: what waits for a person, by what the person may do, and whose town it is."""

from __future__ import annotations

import re
from datetime import timedelta

import pyrage
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from intake_rows import TOWN, transmission

from bcl.accounts import api as accounts
from bcl.accounts.models import StaffAccount
from bcl.console import attention
from bcl.foundation import clock, tenancy
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


@pytest.mark.requirement("R-059")
@pytest.mark.requirement("R-060")
def test_home__of_who_looks_after_people__tells_what_is_due(office) -> None:
    admin = office.administrator(TOWN)
    office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    long_ago = clock.now() - timedelta(days=400)
    with tenancy.scope(TOWN):
        StaffAccount.objects.filter(login_name="clerk-1").update(
            last_sign_in_at=long_ago, created_at=long_ago, valid_until_on=long_ago.date()
        )
    with office.signed_in(admin) as client:
        page = client.get("/").text
    for title in ("90日使われていない職員", "有効期限の切れた職員", "棚卸しの時期を過ぎた職員"):
        assert figure(page, title) == 1
    assert "データの新しさ" in page and "まだない" in page


@pytest.mark.requirement("R-175")
def test_home__of_an_approver__tells_what_waits_for_a_second_person(office) -> None:
    approver = office.add(TOWN, "approver-1", accounts.Role.TOWN_APPROVER)
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    key = str(pyrage.x25519.Identity.generate().to_public())
    municipalities.register_recovery_receiver(TOWN, "receiver-1", key)
    today = clock.today().isoformat()
    with office.signed_in(auditor) as client:
        period = {"since": today, "until": today}
        made = office.post(
            client, "/statements/new", addressee_number="9" * 15, reference="R8-1", **period
        )
        assert made.status_code == 302, made.text
        made = office.post(
            client, "/exports/new/audit", purpose="AUDIT", reference="R8-2", columns=["entry"],
            row_limit=500, recipient_id="receiver-1", **period,
        )
        assert made.status_code == 302, made.text
    with office.signed_in(approver) as client:
        page = client.get("/").text
    assert figure(page, "承認待ちの回答書") == figure(page, "承認待ちの持ち出し") == 1


def test_terminal__whose_certificate_ends_soon__is_told_in_days(console_pki) -> None:
    pem = x509.load_pem_x509_certificate(console_pki.terminal(TOWN).cert_path.read_bytes())
    der, end = pem.public_bytes(Encoding.DER), pem.not_valid_after_utc
    assert attention.terminal_days_left(der, end - timedelta(days=31)) is None
    assert attention.terminal_days_left(der, end - timedelta(days=5, hours=1)) == 5
