"""誰がこの方の情報を見たか: everything shown is in it, nobody is named, the protected are safe."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta

import pytest
from store_world import Sender
from test_resident_screens import LOOK, find, living, measure, records

from bcl.accounts import api as accounts
from bcl.foundation import audit, clock, crypto, tenancy
from bcl.foundation.models import AuditEntry
from bcl.oversight import api as oversight
from bcl.oversight.models import LookStatement
from bcl_contract.refusals import Refusal

TOWN, OTHER = "999997", "999989"
pytestmark = [pytest.mark.requirement("R-171"), pytest.mark.requirement("R-172")]


def number(one: int) -> str:
    return f"{one:015d}"


@pytest.fixture
def register(office) -> Sender:
    """Nine residents of whom 3 is under a protective measure and 4 lives with 3."""
    sender = Sender(TOWN)
    sender.send({"J01": [living(one) for one in range(1, 10)], "J04": [measure(3)]})
    return sender


def ask(office, client, person: str, **more: str):
    today = clock.today()
    wish = {
        "addressee_number": person, "reference": "R8-101",
        "since": (today - timedelta(days=30)).isoformat(), "until": today.isoformat(),
    }  # fmt: skip
    return office.post(client, "/statements/new", **wish | more)


def number_of(answer) -> int:
    assert answer.status_code == 302, answer.text
    return int(re.search(r"/statements/(\d+)", answer.headers["Location"]).group(1))


def text_of(pdf: bytes, folder) -> str:
    path = folder / "statement.pdf"
    path.write_bytes(pdf)
    done = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, check=True)
    return done.stdout.decode()


def test_statement__after_a_day_of_looking__lists_every_time_the_person_was_shown(
    office, register, tmp_path
) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    shown = 0
    with office.signed_in(clerk) as client:
        for wanted in ("見本 二", "見本", "見本 七", "二郎"):
            page = find(office, client, name=wanted).text
            shown += page.count(f">{number(2)}<")
        record = records(find(office, client, addressee_number=number(2)).text)[0]
        shown += 1
        for path in ("/residents/person", "/residents/household"):
            page = office.post(client, path, **LOOK, record=record)
            shown += page.text.count(number(2)) > 0
    with office.signed_in(auditor) as client:
        one = number_of(ask(office, client, number(2)))
        page = client.get(f"/statements/{one}").text
        assert page.count('data-kind="SHOWN"') == shown == 6
        assert "団体の職員（担当者）" in page and "連携したデータの確認" in page
        lines = page.split('id="lines"')[1]
        assert "花子" not in lines and "clerk-1" not in lines, "no member of staff is named"
        paper = office.post(client, f"/statements/{one}/paper")
        assert paper.headers["Content-Type"] == "application/pdf"
        # The page was looked at before the paper was made, and after it was asked for.
        again = office.post(client, f"/statements/{one}/paper")
        assert again.content == paper.content, "the same statement reads the same for ever"
    text = text_of(paper.content, tmp_path)
    assert "見本" in text and number(2) in text and "受付番号" in text
    acts = ("住民を検索して", "住民の画面を", "世帯の一覧を")
    assert sum(text.count(act) for act in acts) == 6
    assert "clerk-1" not in text and "花子" not in text
    paper_path = tmp_path / "statement.pdf"
    fonts = subprocess.run(["pdffonts", paper_path], capture_output=True, check=True)
    assert b"IPAmjMincho" in fonts.stdout
    assert b"pdfaid:part>1<" in paper.content or b'pdfaid:part="1"' in paper.content


def test_statement__looking_at_it__is_itself_on_record(office, register) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    with office.signed_in(auditor) as client:
        one = number_of(ask(office, client, number(2)))
        client.get(f"/statements/{one}")
        office.post(client, f"/statements/{one}/paper")
    with tenancy.scope(TOWN):
        digest = crypto.subject_digest(TOWN, number(2).encode())
        acts = list(
            AuditEntry.objects.filter(subject_digest=digest).order_by("pk").values_list("act")
        )
        stored = LookStatement.objects.get()
    assert acts == [("request_statement",), ("list_looks",), ("print_statement",)]
    assert number(2).encode() not in bytes(stored.sealed_person)
    assert stored.state == "PRINTED" and stored.printed_by == "auditor-1"


@pytest.mark.requirement("R-074")
@pytest.mark.parametrize("person", [3, 4, 77], ids=["protected", "same household", "unknown"])
def test_statement__of_somebody_who_may_be_protected__takes_a_second_person_and_no_place(
    office, register, person
) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    approver = office.add(TOWN, "approver-1", accounts.Role.TOWN_APPROVER)
    with tenancy.scope(TOWN):
        audit.record(
            act="issue_certificate", by=audit.Actor("center", "center-1"), at=clock.now(),
            subjects=[number(person).encode()],
            detail={"transaction": "tx-77", "terminal": "kiosk-far-away"},
        )
    with office.signed_in(auditor) as client, office.signed_in(approver) as second:
        one = number_of(ask(office, client, number(person)))
        here = f"/statements/{one}"
        assert number(person) not in client.get(here).text
        refused = office.post(client, f"{here}/paper")
        assert (refused.status_code, "STATEMENT_NOT_APPROVED" in refused.text) == (409, True)
        assert office.post(client, f"{here}/approve", code="1").status_code == 403
        page = second.get(here).text
        assert number(person) not in page, "who approves reads the request, not the record"
        stamp = re.search(r'name="stamp" value="([0-9a-f]{64})"', page).group(1)
        stale = office.post(second, f"{here}/approve", stamp="0" * 64, code=approver.code())
        assert "DATA_EXPORT_CHANGED" in stale.text
        office.forget_codes(approver)
        done = office.post(second, f"{here}/approve", stamp=stamp, code=approver.code())
        assert done.status_code == 302, done.text
        page = client.get(here).text
        assert 'data-kind="PRINTED"' in page
        assert "kiosk-far-away" not in page and "tx-77" not in page
        assert office.post(client, f"{here}/paper").status_code == 200


def test_statement__of_the_own_request__is_not_approved_by_who_asked(office, register) -> None:
    both = office.add(
        TOWN, "both-1", accounts.Role.TOWN_AUDITOR, accounts.Role.TOWN_APPROVER
    )
    with office.signed_in(both) as client:
        one = number_of(ask(office, client, number(3)))
        stamp = oversight.find_statement(TOWN, one).request_sha256
        refused = office.post(client, f"/statements/{one}/approve", stamp=stamp, code=both.code())
        assert "DATA_EXPORT_SAME_PERSON" in refused.text
    assert oversight.find_statement(TOWN, one).state == "REQUESTED"


@pytest.mark.requirement("R-002")
def test_statement__wrong_input_and_other_towns__get_nothing(office, register) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    foreign = office.add(OTHER, "auditor-2", accounts.Role.TOWN_AUDITOR)
    with office.signed_in(auditor) as client:
        one = number_of(ask(office, client, number(2)))
        for wrong in (
            {"addressee_number": "12"}, {"reference": ""}, {"reference": "1" * 12},
            {"since": "2010-01-01"}, {"since": "2026-12-31", "until": "2026-12-01"},
        ):  # fmt: skip
            assert ask(office, client, **{"person": number(2)} | wrong).status_code == 422, wrong
    with office.signed_in(foreign) as client:
        for path in (f"/statements/{one}", f"/statements/{2**62}"):
            assert client.get(path).status_code == 404
        assert office.post(client, f"/statements/{one}/paper").status_code == 404


@pytest.mark.requirement("R-177")
def test_statement__past_its_retention__no_longer_says_whose_it_was(office, register) -> None:
    from bcl.oversight.retention import OldStatements

    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    with office.signed_in(auditor) as client:
        one = number_of(ask(office, client, number(2)))
        later = clock.now() + timedelta(days=1)
        with tenancy.scope(TOWN):
            assert OldStatements().expired(TOWN, later) == 1
            assert OldStatements().delete(TOWN, later, limit=10).counts == {"statements": 1}
            assert OldStatements().expired(TOWN, later) == 0
        page = client.get(f"/statements/{one}")
        assert "STATEMENT_EMPTIED" in page.text and number(2) not in page.text
    row = oversight.find_statement(TOWN, one)
    made = oversight.print_statement(office.admins[TOWN], row, at=clock.now())
    assert isinstance(made, Refusal)
