"""データの持ち出し: two persons on the same rows, one receiver, marks, an end (R-175)."""

from __future__ import annotations

import csv
import io
import re
import shutil
from datetime import timedelta

import pyrage
import pytest
from store_world import Sender
from test_resident_screens import SECRET_TOWN, living, measure

from bcl.accounts import api as accounts
from bcl.foundation import audit, clock, jobs, tenancy
from bcl.foundation.models import AuditEntry
from bcl.municipalities import api as municipalities
from bcl.oversight import api as oversight
from bcl.oversight.actions.exports import file_path
from bcl.oversight.models import DataExport
from bcl.resident_store import protection

TOWN, OTHER = "999997", "999989"
pytestmark = pytest.mark.requirement("R-175")
WISH = {
    "purpose": "DATA_CHECK", "reference": "R8-7", "recipient_id": "receiver-1", "row_limit": "500",
    "columns": ["addressee_number", "full_name", "address"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_files_of_other_tests(state_dir) -> None:
    """Numbers begin anew with every test, files don't."""
    shutil.rmtree(state_dir / "taken-out", ignore_errors=True)


@pytest.fixture
def key() -> pyrage.x25519.Identity:
    """The receiver's key; registered with the town."""
    made = pyrage.x25519.Identity.generate()
    municipalities.register_recovery_receiver(TOWN, "receiver-1", str(made.to_public()))
    return made


@pytest.fixture
def register(office, key) -> Sender:
    """Nine residents; 3 is protected, 4 lives with 3; 6 has a name that a spreadsheet would run."""
    # Kept by town and load for the life of a process; here every test begins with load 1.
    protection._protected_after.cache_clear()
    sender = Sender(TOWN)
    people = [living(one) for one in range(1, 10)]
    people[5] |= {"full_name": "=HYPERLINK　見本"}
    sender.send({"J01": people, "J04": [measure(3)]})
    return sender


@pytest.fixture
def clerk(office):
    return office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)


@pytest.fixture
def approver(office):
    return office.add(TOWN, "approver-1", accounts.Role.TOWN_APPROVER)


def ask(office, client, kind: str = "residents", **wish: object):
    return office.post(client, f"/exports/new/{kind}", **WISH | {"name": "見本"} | wish)


def number_of(answer) -> int:
    assert answer.status_code == 302, answer.text
    return int(re.search(r"/exports/(\d+)", answer.headers["Location"]).group(1))


def approve(office, client, person, one: int):
    stamp = oversight.find_export(TOWN, one).request_sha256
    office.forget_codes(person)
    return office.post(client, f"/exports/{one}/approve", stamp=stamp, code=person.code())


def take(office, client, person, one: int):
    stamp = oversight.find_export(TOWN, one).file_sha256
    office.forget_codes(person)
    return office.post(client, f"/exports/{one}/take", stamp=stamp, code=person.code())


def rows_of(content: bytes, key: pyrage.x25519.Identity) -> list[list[str]]:
    text = pyrage.decrypt(content, [key]).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


def test_list_of_residents__asked_agreed_built_taken__only_the_receiver_reads_it(
    office, register, key, clerk, approver
) -> None:
    with office.signed_in(clerk) as client, office.signed_in(approver) as second:
        one = number_of(ask(office, client))
        assert jobs.pending_count(queue="oversight") == 0, "nothing is built before a second person"
        page = second.get(f"/exports/{one}").text
        assert "氏名" in page and "見本" in page and "9件" in page
        assert approve(office, second, approver, one).status_code == 302
        jobs.run_pending_now(queues=["oversight"])
        taken = take(office, client, clerk, one)
        assert taken.status_code == 200, taken.text
    assert "見本".encode() not in taken.content
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(taken.content, [pyrage.x25519.Identity.generate()])
    header, *rows = rows_of(taken.content, key)
    assert header[:3] == ["宛名番号", "氏名", "住所"] and len(rows) == 9
    by_number = {row[0]: row for row in rows}
    assert by_number[f"{6:015d}"][1] == "'=HYPERLINK　見本"
    assert "本町1番地" in by_number[f"{1:015d}"][2]
    for one_protected in (3, 4):
        assert SECRET_TOWN not in by_number[f"{one_protected:015d}"][2]
    export = oversight.find_export(TOWN, one)
    for place, row in enumerate(rows, start=1):
        assert row[3:5] == [f"{TOWN}-{one}", "clerk-1/approver-1"]
        assert row[6] == f"{export.canary}-{place:06}"
    assert oversight.trace_canary(TOWN, rows[4][6]).pk == one
    at = clock.now()
    looks = accounts.who_saw(
        TOWN, f"{4:015d}", since=at - timedelta(1), until=at + timedelta(1)
    )
    assert [each.look.act.kind for each in looks] == ["HANDED_OUT"]


def test_request__in_the_database__shows_neither_filter_nor_persons(
    office, register, clerk
) -> None:
    with office.signed_in(clerk) as client:
        number_of(ask(office, client, name="二郎"))
    with tenancy.scope(TOWN):
        stored = str([
            bytes(value) if isinstance(value, memoryview) else value
            for value in DataExport.objects.values_list().get()
        ])
    assert "二郎" not in stored and f"{2:015d}" not in stored


def test_approval__by_who_asked_or_on_another_page__counts_not(office, register, clerk) -> None:
    both = office.add(TOWN, "both-1", accounts.Role.TOWN_CLERK, accounts.Role.TOWN_APPROVER)
    with office.signed_in(both) as client:
        one = number_of(ask(office, client))
        assert "DATA_EXPORT_SAME_PERSON" in approve(office, client, both, one).text
        office.forget_codes(both)
        stale = office.post(
            client, f"/exports/{one}/approve", stamp="0" * 64, code=both.code()
        )
        assert "DATA_EXPORT_CHANGED" in stale.text
        wrong = office.post(client, f"/exports/{one}/approve", code="000000")
        assert wrong.status_code in (401, 403)
    with office.signed_in(clerk) as client:
        assert office.post(client, f"/exports/{one}/approve", code="1").status_code == 403
        assert office.post(client, f"/exports/{one}/decline").status_code == 403
    assert oversight.find_export(TOWN, one).state == "REQUESTED"


def test_rows__changed_after_the_approval__are_not_written(
    office, register, clerk, approver
) -> None:
    with office.signed_in(clerk) as client, office.signed_in(approver) as second:
        one = number_of(ask(office, client))
        assert approve(office, second, approver, one).status_code == 302
        # Somebody comes under a protective measure: what may be told of them is another thing now.
        register.send({"J04": [measure(7)]}, mode="differential")
        jobs.run_pending_now(queues=["oversight"])
        page = client.get(f"/exports/{one}").text
        assert "申請したときと内容が変わっています" in page
        assert "DATA_EXPORT_NOT_BUILT" in take(office, client, clerk, one).text
    export = oversight.find_export(TOWN, one)
    assert (export.state, export.refusal_code) == ("FAILED", "DATA_EXPORT_CHANGED")
    assert not file_path(export).exists()


def test_request__beyond_the_limit_or_without_a_purpose__is_refused(
    office, register, clerk
) -> None:
    with office.signed_in(clerk) as client:
        for wrong, code in (
            ({"row_limit": "8"}, "DATA_EXPORT_TOO_MANY"),
            ({"name": "だれでもない"}, "DATA_EXPORT_EMPTY"),
            ({"name": ""}, "RESIDENT_SEARCH_EMPTY"),
            ({"row_limit": "501"}, ""),
            ({"purpose": ""}, ""),
            ({"columns": []}, ""),
            ({"columns": ["individual_number"]}, ""),
            ({"recipient_id": "receiver-9"}, ""),
        ):
            answer = ask(office, client, **wrong)
            assert answer.status_code in (400, 422) and code in answer.text, wrong
        assert ask(office, client, kind="audit").status_code == 403
    with tenancy.scope(TOWN):
        assert DataExport.objects.count() == 0


def test_file__taken_as_often_as_allowed_and_gone_at_its_hour(
    office, register, clerk, approver
) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    with office.signed_in(clerk) as client, office.signed_in(approver) as second:
        one = number_of(ask(office, client))
        approve(office, second, approver, one)
        jobs.run_pending_now(queues=["oversight"])
        with office.signed_in(auditor) as other:
            assert "受取り待ちの持ち出し</h3>" not in other.get("/").text, "not theirs to take"
            page = other.get(f"/exports/{one}").text.split("<main", 1)[1]
            assert "見本" not in page, "an auditor reads no filter of residents"
            assert "ACCOUNT_PERMISSION_MISSING" in take(office, other, auditor, one).text
        assert "受取り待ちの持ち出し</h3>" in client.get("/").text
        for _ in range(3):
            assert take(office, client, clerk, one).status_code == 200
        assert "DATA_EXPORT_TAKEN_OUT" in take(office, client, clerk, one).text
        export = oversight.find_export(TOWN, one)
        path = file_path(export)
        assert path.exists() and path.stat().st_mode & 0o077 == 0
        assert oversight.expire_exports(TOWN, at=export.expires_at - timedelta(seconds=1)) == 0
        assert oversight.expire_exports(TOWN, at=export.expires_at) == 1
        assert not path.exists()
        assert "DATA_EXPORT_EXPIRED" in take(office, client, clerk, one).text
        assert "消しました" in client.get(f"/exports/{one}").text
    with tenancy.scope(TOWN):
        assert AuditEntry.objects.filter(act="delete_data_export").count() == 1
        assert AuditEntry.objects.filter(act="take_data_export").count() == 3


def test_audit_log__asked_for_from_the_search_page__comes_out_complete(
    office, key, approver
) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    with tenancy.scope(TOWN):
        for _ in range(30):
            audit.record(act="sign_out", by=audit.Actor("staff", "clerk-9"), at=clock.now())
    today = clock.today().isoformat()
    conditions = {"since": today, "until": today, "act": "sign_out", "actor_id": "clerk-9"}
    with office.signed_in(auditor) as client, office.signed_in(approver) as second:
        form = office.post(client, "/exports/new/audit", prefill="1", **conditions).text
        assert 'value="clerk-9"' in form
        wish = {"columns": ["entry", "at", "act_ja", "actor_id"], "purpose": "AUDIT"}
        one = number_of(
            ask(office, client, kind="audit", **conditions | wish | {"row_limit": "1000"})
        )
        approve(office, second, approver, one)
        jobs.run_pending_now(queues=["oversight"])
        taken = take(office, client, auditor, one)
    _, *rows = rows_of(taken.content, key)
    assert len(rows) == 30 and {row[3] for row in rows} == {"clerk-9"}
    assert oversight.find_export(TOWN, one).rows_written == 30


def test_own_request__taken_back__and_a_found_mark_of_another_town(
    office, register, clerk
) -> None:
    foreign = office.add(OTHER, "clerk-2", accounts.Role.TOWN_CLERK)
    with office.signed_in(clerk) as client:
        one = number_of(ask(office, client))
        assert office.post(client, f"/exports/{one}/decline").status_code == 302
        again = office.post(client, f"/exports/{one}/decline")
        assert "DATA_EXPORT_NOT_REQUESTED" in again.text
        mark = oversight.find_export(TOWN, one).canary
        assert f"持ち出し {one} のファイルです" in office.post(
            client, "/exports/trace", mark=f"{mark.lower()}-000003"
        ).text
    with office.signed_in(foreign) as client:
        assert client.get(f"/exports/{one}").status_code == 404
        assert "この透かしの持ち出しはありません" in office.post(
            client, "/exports/trace", mark=mark
        ).text
