"""ユーザ管理 and 管理端末 with two people at once, two tabs, two clicks; evidence to keep."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bcl.accounts import api as accounts
from bcl.foundation import tenancy
from bcl.foundation.models import AuditEntry

TOWN, OTHER, AGENCY = "999997", "999989", accounts.AGENCY_CODE
CLERK, ADMIN = accounts.Role.TOWN_CLERK, accounts.Role.TOWN_ADMIN


def refusal_on(answer) -> str:
    found = re.search(r"コード: ([A-Z_]+)", answer.text)
    return found.group(1) if found else ""


def seen_on(page: str) -> str:
    return re.search(r'name="seen" value="(\d+)"', page).group(1)


@pytest.mark.requirement("R-060")
def test_account__changed_by_two_at_once__the_second_is_told(office) -> None:
    office.add(TOWN, "clerk-1", CLERK)
    first, second = (office.add(TOWN, name, ADMIN) for name in ("admin-2", "admin-3"))
    here = "/accounts/of/clerk-1"
    with office.signed_in(first) as one, office.signed_in(second) as two:
        stale = seen_on(two.get(here).text)
        done = office.post(one, f"{here}/roles", roles=["TOWN_AUDITOR"])
        assert done.headers["Location"].endswith("done=account-roles")
        for act, more in (
            ("roles", {"roles": ["TOWN_ADMIN"]}), ("validity", {"valid_until_on": "2030-01-01"}),
            ("lock", {}), ("reset", {}), ("close", {}), ("review", {}),
        ):  # fmt: skip
            late = office.post(two, f"{here}/{act}", seen=stale, **more)
            assert (late.status_code, refusal_on(late)) == (409, "CONSOLE_CHANGED_MEANWHILE"), act
            bare = office.post(two, f"{here}/{act}", seen="", **more)
            assert refusal_on(bare) == "CONSOLE_CHANGED_MEANWHILE", act
        assert "監査担当" in late.text, "the page shows how it stands now"
    account = accounts.find_account(TOWN, "clerk-1")
    assert account.roles == {accounts.Role.TOWN_AUDITOR} and account.status == "ACTIVE"


@pytest.mark.requirement("R-060")
def test_account__the_form_sent_twice_at_once__is_one_account_with_a_code_that_works(
    office,
) -> None:
    admin = office.add(TOWN, "admin-2", ADMIN)
    form = {"login_name": "clerk-7", "name_ja": "見本　七海", "roles": ["TOWN_CLERK"]}
    with office.signed_in(admin) as client, ThreadPoolExecutor(2) as pool:
        client.get("/accounts/new")
        twice = list(pool.map(lambda _: office.post(client, "/accounts/new", **form), range(2)))
        again = office.post(client, "/accounts/new", **form)
    codes = [re.search(r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}", one.text) for one in (*twice, again)]
    assert again.status_code == 200 and codes[2] is not None
    begun = accounts.begin_enrolment(
        office.terminal(TOWN), "clerk-7", codes[2].group(0), at=office.now()
    )
    assert isinstance(begun, accounts.SignedIn)
    with tenancy.scope(TOWN):
        made = AuditEntry.objects.filter(act="create_account", detail__login_name="clerk-7")
        assert made.count() == 1


@pytest.mark.requirement("R-174")
def test_tab__of_somebody_who_left__is_refused_in_the_next_ones_name(office) -> None:
    office.add(TOWN, "clerk-1", CLERK)
    first, second = (office.add(TOWN, name, ADMIN) for name in ("admin-2", "admin-3"))
    with office.signed_in(first) as browser:
        page = browser.get("/accounts/of/clerk-1").text
        mark = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page).group(1)
        office.post(browser, "/sign-out")
        office.post(browser, "/sign-in", login_name="admin-3", password=second.password)
        office.post(browser, "/sign-in/code", code=second.code())
        assert browser.get("/").status_code == 200
        old_tab = browser.post(
            "/accounts/of/clerk-1/lock",
            data={"csrfmiddlewaretoken": mark, "seen": seen_on(page)},
            headers={"Origin": str(browser.base_url)},
        )
    assert (old_tab.status_code, refusal_on(old_tab)) == (403, "CONSOLE_FORM_STALE")
    assert accounts.find_account(TOWN, "clerk-1").status == "ACTIVE"


@pytest.mark.requirement("R-060")
def test_review__as_a_file__lists_everybody_and_is_signed(office) -> None:
    office.add(TOWN, "clerk-1", CLERK)
    office.add(OTHER, "clerk-9", CLERK)
    admin = office.add(TOWN, "admin-2", ADMIN)
    accounts.create_account(
        office.admins[TOWN], login_name="x-1", name_ja="=cmd|'/c calc'!A1", roles=[CLERK],
        at=office.now(),
    )  # fmt: skip
    with office.signed_in(admin) as client:
        office.post(client, "/accounts/of/clerk-1/review")
        answer = office.post(client, "/accounts/review.zip")
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="accounts_999997')
    packed = zipfile.ZipFile(io.BytesIO(answer.content))
    table, note = packed.read("accounts.csv"), json.loads(packed.read("signature.json"))
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(note["public_key"]))
    key.verify(base64.b64decode(note["signature"]), table)
    rows = {one["職員番号"]: one for one in csv.DictReader(io.StringIO(table.decode("utf-8-sig")))}
    assert set(rows) == {"admin-1", "admin-2", "clerk-1", "x-1"}
    assert (rows["clerk-1"]["役割"], rows["clerk-1"]["棚卸しした人"]) == ("担当者", "admin-2")
    assert rows["x-1"]["氏名"].startswith("'=")
    with tenancy.scope(TOWN):
        assert AuditEntry.objects.filter(act="take_account_review").count() == 1


@pytest.mark.requirement("R-163")
@pytest.mark.requirement("R-061")
def test_terminal__registered_under_privileges_and_revoked_by_its_town(office) -> None:
    asker = office.add(AGENCY, "agency-2", accounts.Role.AGENCY_ADMIN)
    other = office.add(AGENCY, "operator-1", accounts.Role.AGENCY_OPERATOR)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "t-77")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, SHA256())
    form = {
        "owner": TOWN, "terminal_id": "t-77", "name_ja": "窓口2", "place_ja": "本庁舎2階",
        "terminal_class": "INDIVIDUAL_NUMBER", "valid_until_on": "2030-03-31",
        "papers": request.public_bytes(Encoding.PEM).decode(),
    }  # fmt: skip
    with office.signed_in(asker) as client, office.signed_in(other) as second:
        assert refusal_on(office.post(client, "/terminals/new", **form)) == "PRIVILEGE_MISSING"
        wish = {"ticket": "CHG-5", "reason": "端末の増設", "minutes": "20"}
        asked = office.post(client, "/privileges/new", **wish)
        here = asked.headers["Location"].partition("?")[0]
        own = office.post(client, f"{here}/approve", code="000000")
        assert refusal_on(own) == "PRIVILEGE_OWN"
        office.forget_codes(other)
        agreed = office.post(second, f"{here}/approve", code=other.code())
        assert agreed.headers["Location"].endswith("done=privilege-approved"), agreed.text
        assert "特権 CHG-5" in client.get("/").text
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        leaked = office.post(client, "/terminals/new", **(form | {"papers": secret}))
        assert leaked.status_code == 422 and "秘密鍵が入っています" in leaked.text
        made = office.post(client, "/terminals/new", **form)
        assert made.headers["Location"] == f"/terminals?owner={TOWN}&done=terminal-registered"
        assert "証明書待ち" in client.get(f"/terminals?owner={TOWN}").text
        office.post(second, f"{here}/end")
        assert refusal_on(client.get("/terminals/new")) == "PRIVILEGE_MISSING"
    admin = office.administrator(TOWN)
    with office.signed_in(admin) as client:
        assert client.get(f"/terminals?owner={OTHER}").status_code == 404
        away = office.post(client, f"/terminals/of/{TOWN}/t-77/revoke")
        assert away.headers["Location"] == "/terminals?done=terminal-revoked"
        twice = office.post(client, f"/terminals/of/{TOWN}/t-77/revoke")
        assert twice.status_code == 302
        office.post(client, f"/terminals/of/{TOWN}/terminal-{TOWN}/revoke")
        gone = client.get("/terminals")
        assert (gone.status_code, refusal_on(gone)) == (403, "TERMINAL_UNKNOWN")
