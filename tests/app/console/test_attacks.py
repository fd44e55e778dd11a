"""Attacks through the forms and addresses of the staff pages, against the real server."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path

from django.contrib.auth.hashers import check_password
from intake_rows import transmission
from store_world import Sender, resident
from test_routes import ROUTES, path_of, patterns

from bcl.accounts import api as accounts
from bcl.accounts.models import StaffAccount
from bcl.foundation import audit, clock, tenancy
from bcl.linkage.models import TransmissionFinding

TOWN, OTHER = "999997", "999989"
ADMIN, CLERK = accounts.Role.TOWN_ADMIN, accounts.Role.TOWN_CLERK
HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'-alert(1)-'",
    "</textarea></title><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "{{7*7}}{% debug %}",
    "${jndi:ldap://x.example/a}",
    "a\r\nSet-Cookie: evil=1\r\n\r\n<html>",
    "x' OR '1'='1'; DROP TABLE accounts_staffaccount; --",
    "../../../../etc/passwd",
    "=cmd|' /C calc'!A0",
    "\u202egnp.exe",
    "\u200b",
    "\ufeff\ufffe",
    "𠮷野家" * 40,
    "A" * 20_000,
    "%00%0d%0aX: y",
    "\x00",
]


def naughty() -> list[str]:
    """The list above, and a sample of the big list of naughty strings where it is at hand."""
    if "BCL_VECTORS" not in os.environ:
        return HOSTILE
    place = Path(os.environ["BCL_VECTORS"]) / "blns" / "blns.json"
    return HOSTILE + json.loads(place.read_text(encoding="utf-8"))[::25]


def assert_harmless(answer, given: str) -> None:
    """No fault, no header of somebody else's making, nothing of the text as markup."""
    assert answer.status_code < 500, (answer.request.url, given[:60])
    assert "evil" not in str(answer.headers), given
    if "<" in given:
        assert given not in answer.text, (answer.request.url, given)
    for tag in ("<script>", "<svg/", "onerror=alert(1)>", "</textarea></title>"):
        assert tag not in answer.text, (answer.request.url, given)


def test_staff_text__hostile__never_becomes_markup(office) -> None:
    """Every text field of every form: what is kept is shown as text, what is refused as well."""
    admin = office.administrator(TOWN)
    clerk = office.add(TOWN, "clerk-1", CLERK)
    with office.signed_in(admin) as client, office.signed_in(clerk) as other:
        for number, text in enumerate(naughty()):
            made = office.post(
                client, "/accounts/new", login_name=f"h-{number}", name_ja=text,
                roles=["TOWN_CLERK"], valid_until_on=text,
            )  # fmt: skip
            kept = office.post(
                client, "/accounts/new", login_name=f"k-{number}", name_ja=text,
                roles=["TOWN_CLERK"],
            )  # fmt: skip
            answers = [made, kept]
            answers.append(office.post(client, "/accounts/new", login_name=text, name_ja="x"))
            look = {"purpose": "COUNTER", "reference": text[:40]}
            fields = ("name", "kana", "address", "addressee_number", "born_on", "purpose")
            answers += [office.post(other, "/residents", **(look | {one: text})) for one in fields]
            answers.append(office.post(other, "/residents", purpose="COUNTER", name=text))
            answers.append(office.post(other, "/linkage/holds/ask", hold=text, reason=text))
            answers.append(
                office.post(
                    other, "/recovery/new", which=text, sequence=text, as_of_at=text, code=text,
                    reason=text, incident_id=text, receiver_id=text,
                )
            )
            answers.append(other.get("/linkage", params={"state": text, "page": text}))
            answers.append(other.get("/", params={"done": text}))
            for answer in answers:
                assert_harmless(answer, text)
        listing = client.get("/accounts")
        assert listing.status_code == 200 and "&lt;script&gt;alert(1)" in listing.text
        for text in HOSTILE:
            assert_harmless(listing, text)


def test_resident_text__hostile__never_becomes_markup(office) -> None:
    """A register may hold anything: pages show it as the text it is."""
    clerk = office.add(TOWN, "clerk-1", CLERK)
    texts = [text for text in HOSTILE if text.isprintable() and len(text) < 100]
    people = [
        resident(
            number, household=1, order=number, full_name=f"見本　{text}",
            address_town=text, address_lot_as_written=text[:50], head_of_household_name=text,
            relationship_as_written=text[:20], registered_domicile=text, family_register_head=text,
        )
        for number, text in enumerate(texts, start=1)
    ]  # fmt: skip
    Sender(TOWN).send({"J01": people})
    look = {"purpose": "DATA_CHECK", "reference": ""}
    with office.signed_in(clerk) as client:
        pages = [office.post(client, "/residents", **look, name="見本")]
        for number in range(1, len(texts) + 1):
            found = office.post(client, "/residents", **look, addressee_number=f"{number:015d}")
            record = re.search(r'name="record" value="(\d+)"', found.text)[1]
            pages.append(found)
            for path in ("/residents/person", "/residents/household"):
                pages.append(office.post(client, path, **look, record=record))
    for page in pages:
        assert page.status_code == 200
        for text in texts:
            assert_harmless(page, text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages[1].text


def test_redirects__whatever_is_asked__stay_here(office) -> None:
    admin = office.administrator(TOWN)
    away = ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example"]
    names = ("next", "url", "return", "redirect", "to", "done", "ended")
    with office.browser(TOWN) as nobody, office.signed_in(admin) as client:
        for target in away:
            asked = dict.fromkeys(names, target)
            answers = [each.get(path_of(one), params=asked)
                       for one in patterns() for each in (nobody, client)]  # fmt: skip
            answers.append(office.post(nobody, "/sign-in", **asked, login_name="a", password="b"))
            answers.append(client.get(f"/{target}"))
            for answer in answers:
                where = answer.headers.get("Location", "/")
                assert re.match(r"/(?![/\\])", where), (answer.request.url, where)
                assert f'href="{target}' not in answer.text


def test_extra_fields__in_a_form__change_nothing(office) -> None:
    admin = office.administrator(TOWN)
    extra = {
        "municipality_code": OTHER, "owner_code": OTHER, "lg_code": OTHER, "status": "ACTIVE",
        "id": "00000000-0000-4000-8000-000000000001", "password_hash": "x", "epoch": "99",
        "enrolment_digest": "x", "totp_confirmed_at": "2026-01-01", "is_superuser": "1",
        "created_by": "somebody", "approved_by": "somebody", "last_sign_in_at": "2026-01-01",
    }  # fmt: skip
    with office.signed_in(admin) as client:
        made = office.post(
            client, "/accounts/new", login_name="new-1", name_ja="新人", roles=["TOWN_CLERK"],
            **extra,
        )  # fmt: skip
        assert made.status_code == 200
        office.post(client, "/accounts/of/new-1/roles", roles=["TOWN_AUDITOR"], **extra)
    assert accounts.find_account(OTHER, "new-1") is None
    with tenancy.scope(TOWN):
        row = StaffAccount.objects.get(login_name="new-1")
    assert (row.municipality_code, row.status, row.password_hash) == (TOWN, "INVITED", "")
    assert row.created_by != "somebody" and row.last_sign_in_at is None and row.epoch < 99
    assert row.totp_confirmed_at is None
    found = accounts.find_account(TOWN, "new-1")
    assert {role.value for role in found.roles} == {"TOWN_AUDITOR"}


def digests(connection) -> dict[str, str]:
    """Content of every table but the session's own (its last use moves) and the library's."""
    tables = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN "
        "('accounts_staffsession', 'django_migrations')"
    ).fetchall()
    return {
        table: connection.execute(
            f"SELECT md5(coalesce(string_agg(t::text, ' ' ORDER BY t::text), '')) FROM {table} t"
        ).fetchone()[0]
        for (table,) in tables
    }


def test_get__changes_nothing_anywhere(office, superuser_connection) -> None:
    """A link, a picture's address or a prefetch must never act (and HEAD and OPTIONS neither)."""
    admin = office.administrator(TOWN)
    one = transmission(refusal_code="TRANSMISSION_MASS_CHANGE")
    with office.signed_in(admin) as client:
        before = digests(superuser_connection)
        assert len(before) > 30
        for route in patterns():
            path = path_of(route).replace("00000000-0000-4000-8000-000000000000", str(one.id))
            for method in ("GET", "HEAD", "OPTIONS"):
                answer = client.request(method, path)
                assert answer.status_code < 500
        assert digests(superuser_connection) == before
    assert len(ROUTES) > 40


def test_findings_csv__never_starts_a_cell_like_a_formula(office) -> None:
    clerk = office.add(TOWN, "clerk-1", CLERK)
    one = transmission()
    bad = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "＝1", 'a"b', "a,b", "a\nb"]
    with tenancy.scope(TOWN):
        for position, text in enumerate(bad):
            TransmissionFinding.objects.create(
                municipality_code=TOWN, transmission=one, position=position, file=text, line=1,
                column=text, rule=text, severity="row", code="LINKAGE_TYPE",
            )  # fmt: skip
    with office.signed_in(clerk) as client:
        answer = client.get(f"/linkage/{one.id}/findings.csv")
    rows = list(csv.reader(io.StringIO(answer.text.lstrip("\ufeff"), newline="")))[1:]
    assert len(rows) == len(bad)
    for row, text in zip(rows, bad, strict=True):
        assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
        assert row[0].removeprefix("'") == text, "and nothing of it is lost"


def test_downloads__have_names_of_ours(office) -> None:
    clerk = office.add(TOWN, "clerk-1", CLERK)
    one = transmission(bundle_id='a"\r\nX: y/../../b')
    with office.signed_in(clerk) as client:
        version = re.search(r'href="(/interface/[^"]+\.zip)"', client.get("/interface").text)[1]
        for path in (f"/linkage/{one.id}/findings.csv", version):
            answer = client.get(path)
            assert answer.status_code == 200, path
            named = answer.headers["Content-Disposition"]
            assert re.fullmatch(r'attachment; filename="[A-Za-z0-9._-]+"', named), named
            assert "X" not in answer.headers
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_password__among_the_commonest__is_refused(office) -> None:
    invited = accounts.found_administrator(
        TOWN, "admin-1", "見本　一郎", by=audit.SYSTEM, at=clock.now()
    )
    with office.browser(TOWN) as client:
        office.post(client, "/enrol", login_name="admin-1", code=invited.enrolment_code)
        for common in ("1q2w3e4r5t6y", "password1234"):
            answer = office.post(client, "/enrol/password", password=common, again=common)
            assert answer.status_code != 302 and "PASSWORD_TOO_SIMPLE" in answer.text, common


def test_password_fields__hide_and_may_be_filled_by_a_keeper(office) -> None:
    invited = accounts.found_administrator(
        TOWN, "admin-1", "見本　一郎", by=audit.SYSTEM, at=clock.now()
    )
    with office.browser(TOWN) as client:
        page = client.get("/sign-in").text
        field = re.search(r'<input[^>]*name="password"[^>]*>', page)[0]
        assert 'type="password"' in field and 'autocomplete="current-password"' in field
        assert "onpaste" not in page
        office.post(client, "/enrol", login_name="admin-1", code=invited.enrolment_code)
        fields = re.findall(r'<input[^>]*type="password"[^>]*>', client.get("/enrol/password").text)
        assert len(fields) == 2 and all('autocomplete="new-password"' in one for one in fields)
        # Blanks at both ends and 200 characters are the person's own affair.
        wish = "  海の見える町役場で働く人  " + "あ" * 200
        done = office.post(client, "/enrol/password", password=wish, again=wish)
        assert done.headers["Location"] == "/enrol/app"
    with tenancy.scope(TOWN):
        stored = StaffAccount.objects.get(login_name="admin-1").password_hash
    assert check_password(wish, stored) and not check_password(wish.strip(), stored)
