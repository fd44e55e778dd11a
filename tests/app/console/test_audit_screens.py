"""監査ログ and its check: own rows only, every search on record, paging without a gap."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import timedelta

import pytest

from bcl.accounts import api as accounts
from bcl.foundation import audit, audit_log, audit_search, clock, jobs, tenancy
from bcl.foundation.audit_search import Question
from bcl.foundation.models import AuditEntry
from bcl.municipalities import api as municipalities
from bcl.oversight import api as oversight

TOWN, OTHER = "999997", "999989"
TARO = "000000000000011"
CLERK = audit.Actor("staff", "clerk-9")
pytestmark = pytest.mark.requirement("R-171")


@pytest.fixture(autouse=True)
def _no_heads_of_other_tests() -> None:
    """The outside place outlives the tables that a test leaves behind."""
    shutil.rmtree(audit_log.outside_place().folder, ignore_errors=True)


def record(town: str = TOWN, act: str = "sign_in", by: audit.Actor = CLERK, **more) -> int:
    with tenancy.scope(town):
        return audit.record(act=act, by=by, at=more.pop("at", clock.now()), **more)


def period() -> dict[str, str]:
    today = clock.today()
    return {"since": (today - timedelta(days=3)).isoformat(), "until": today.isoformat()}


def found(page: str) -> list[int]:
    return [int(key) for key in re.findall(r'/audit/rows/\d{6}/(\d+)"', page)]


def searches(town: str) -> list[AuditEntry]:
    with tenancy.scope(town):
        return list(AuditEntry.objects.filter(act="search_audit_log").order_by("pk"))


def test_search__by_who_act_terminal_and_outcome__finds_exactly_those(office) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    mine = record(detail={"terminal_id": "t-77"})
    other = record(by=audit.Actor("staff", "clerk-8"))
    refused = record(act="refuse_sign_in", detail={"terminal": "t-77"})
    foreign = record(OTHER, detail={"terminal": "t-77"})
    with office.signed_in(auditor) as client:
        for wanted, expected in (
            ({"actor_id": "clerk-9"}, {mine, refused}),
            ({"actor_id": "clerk-9", "outcome": "refused"}, {refused}),
            ({"actor_id": "clerk-9", "outcome": "allowed"}, {mine}),
            ({"actor_id": "clerk-8", "act": "sign_in"}, {other}),
            ({"terminal": "t-77"}, {mine, refused}),
            ({"actor_id": "nobody"}, set()),
        ):
            page = office.post(client, "/audit", **period(), **wanted)
            assert page.status_code == 200 and set(found(page.text)) == expected, wanted
            assert foreign not in found(page.text)
        wrong = office.post(client, "/audit", since="2026-02-02", until="2026-02-01")
        assert wrong.status_code == 422
    last = searches(TOWN)[-1]
    assert last.detail["fields"] == "actor_id" and last.actor_id == "auditor-1"


def test_search__by_person__shows_no_digest_and_is_in_the_persons_own_record(office) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    about = record(act="place_issuance_block", subject_key=TARO.encode())
    record(act="place_issuance_block", subject_key=b"000000000000012")
    with office.signed_in(auditor) as client:
        page = office.post(client, "/audit", **period(), addressee_number=TARO)
        assert found(page.text) == [about] and TARO not in str(page.url)
        assert office.post(client, "/audit", **period(), addressee_number="12").status_code == 422
        one = client.get(f"/audit/rows/{TOWN}/{about}")
        assert "住民についての記録です" in one.text and "digest" not in one.text
    at = clock.now()
    seen = accounts.who_saw(TOWN, TARO, since=at - timedelta(1), until=at + timedelta(1))
    assert [each.look.act.act for each in seen] == ["place_issuance_block", "search_audit_log"]


def test_paging__goes_through_every_row_once_newest_first(office) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    moment = clock.now() - timedelta(hours=1)  # many rows of one moment: the id decides
    rows = [record(act="sign_out", at=moment) for _ in range(120)]
    with office.signed_in(auditor) as client:
        seen: list[int] = []
        after = ""
        for _ in range(3):
            page = office.post(client, "/audit", **period(), act="sign_out", after=after).text
            seen += found(page)
            after = (re.findall(r'name="after" value="([^"]+)"', page) or [""])[-1]
        assert after == ""
    assert seen == sorted(rows, reverse=True)


def test_agency_log__rows_of_both_tables__come_in_one_order(office) -> None:
    office.administrator(accounts.AGENCY_CODE)
    moment = clock.now() - timedelta(hours=1)
    for number in range(6):
        at = moment + timedelta(seconds=number // 3)
        record(accounts.AGENCY_CODE, act="sign_out", at=at)
        audit.record_agency(act="sign_out", by=CLERK, at=at)
    question = Question(moment, clock.now(), act="sign_out")
    whole = audit_search.search(accounts.AGENCY_CODE, question, limit=50)
    assert len(whole.rows) == 12 and sum(row.is_agency for row in whole.rows) == 6
    seen, after = [], None
    for _ in range(12):
        page = audit_search.search(accounts.AGENCY_CODE, question, limit=1, after=after)
        seen += page.rows
        after = page.next
    assert after is None and seen == whole.rows
    assert list(audit_search.stream(accounts.AGENCY_CODE, question)) == whole.rows


@pytest.mark.requirement("R-002")
def test_town__only_own_rows__and_the_agency_where_the_town_lets_it(office) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    agency = office.add(accounts.AGENCY_CODE, "auditor-9", accounts.Role.AGENCY_AUDITOR)
    theirs, mine = record(OTHER), record(TOWN)
    with office.signed_in(auditor) as client:
        assert client.get(f"/audit/rows/{OTHER}/{theirs}").status_code == 404
        assert client.get(f"/audit/rows/{TOWN}/{theirs}").status_code == 404
        # Fields that the form doesn't have are not read.
        assert theirs not in found(office.post(client, "/audit", **period(), log=OTHER).text)
    with office.signed_in(agency) as client:
        for town in (TOWN, "123456"):
            refused = office.post(client, "/audit", **period(), log=town)
            assert refused.status_code == 403 and "AUDIT_TOWN_NOT_OPEN" in refused.text
        assert client.get(f"/audit/rows/{TOWN}/{mine}").status_code == 404
        municipalities.set_setting(
            TOWN, "oversight.agency_view", "all", effective_from=clock.now(), by=audit.SYSTEM
        )
        assert mine in found(office.post(client, "/audit", **period(), log=TOWN).text)
        assert client.get(f"/audit/rows/{TOWN}/{mine}").status_code == 200
        assert office.post(client, "/audit", **period(), log=OTHER).status_code == 403
    # It stands in the town's own log and in the agency's.
    assert searches(TOWN)[-1].actor_id == "auditor-9"
    assert searches(accounts.AGENCY_CODE)[-1].detail["log"] == TOWN


def test_check__altered_row__is_named_on_the_page_and_on_home(
    office, superuser_connection
) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    row = record()
    audit_log.seal_all()
    with office.signed_in(auditor) as client:
        office.post(client, "/audit/verification/start")
        office.post(client, "/audit/verification/start")  # a double click
        assert "data-refresh-seconds" in client.get("/audit/verification").text
        jobs.run_pending_now(queues=["oversight"])
        assert "書換え・削除・挿入はありません" in client.get("/audit/verification").text
        superuser_connection.execute("SET session_replication_role = replica")
        superuser_connection.execute(
            "UPDATE foundation_auditentry SET actor_id = 'somebody' WHERE id = %s", [row]
        )
        office.post(client, "/audit/verification/start")
        jobs.run_pending_now(queues=["oversight"])
        page = client.get("/audit/verification").text
        assert f"記録 {row}" in page and "ROW_ALTERED" in page and "1か所が合いません" in page
    assert oversight.latest_verification(TOWN).findings_total == 1
    (notice,) = municipalities.open_notices(TOWN)
    assert notice.code == "AUDIT_LOG_BROKEN"


def test_log_file__taken_with_a_code__is_accepted_by_the_stand_alone_verifier(
    office, tmp_path
) -> None:
    auditor = office.add(TOWN, "auditor-1", accounts.Role.TOWN_AUDITOR)
    record()
    audit_log.seal_all()
    with office.signed_in(auditor) as client:
        refused = office.post(client, "/audit/verification/log", code="000000")
        assert refused.status_code in (401, 403, 422) and b'"leaf"' not in refused.content
        taken = office.post(client, "/audit/verification/log", code=auditor.code())
        assert taken.status_code == 200, taken.text
        (tmp_path / "log.jsonl").write_bytes(taken.content)
        tool = client.get("/audit/verification/verifier").content
        (tmp_path / "audit_verifier.py").write_bytes(tool)
    done = subprocess.run(
        [
            sys.executable, "audit_verifier.py", "log.jsonl",
            "--heads", str(audit_log.outside_place().folder / TOWN),
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in taken.text.splitlines()]
    assert rows[-1]["end"]["rows"] >= 1
    with tenancy.scope(TOWN):
        assert AuditEntry.objects.filter(act="export_audit_log").count() == 1
