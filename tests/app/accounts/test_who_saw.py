"""Who saw this person: complete, blind in the database, with names and purposes."""

from __future__ import annotations

import ast
import csv
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from bcl.accounts import api as accounts
from bcl.foundation import audit, audit_looks, clock, tenancy
from bcl.foundation.models import AuditEntry

ROOT = Path(__file__).resolve().parents[3]
CLERK = audit.Actor("staff", "clerk-01")
KIOSK = audit.Actor("center", "center-1")
TARO, HANAKO, JIRO = "000000000000011", "000000000000012", "000000000000013"
pytestmark = [pytest.mark.requirement("R-171"), pytest.mark.requirement("R-172")]


def search(town: str, *numbers: str, at=None, by=CLERK) -> None:
    with tenancy.scope(town):
        audit.record(
            act="search_residents", by=by, at=at or clock.now(),
            subjects=[number.encode() for number in numbers],
            detail={"purpose": "COUNTER", "terminal": "t-01", "reference": "R8-55"},
        )


def looks(town: str, number: str) -> list[accounts.NamedLook]:
    at = clock.now()
    return accounts.who_saw(
        town, number, since=at - timedelta(days=1), until=at + timedelta(days=1)
    )


def test_search_that_returned_three__has_three_persons_on_record(town):
    search(town, TARO, HANAKO, JIRO, TARO)
    with tenancy.scope(town):
        act = AuditEntry.objects.get(act="search_residents")
        shown = AuditEntry.objects.filter(act="show_resident")
        assert act.detail["persons"] == 3 and act.subject_digest is None
        assert len({bytes(each.subject_digest) for each in shown}) == shown.count() == 3
        assert {each.detail["look"] for each in shown} == {act.detail["look"]}
        stored = str(list(AuditEntry.objects.values())) + str(
            [bytes(each.subject_digest) for each in shown]
        )
    assert not any(number in stored for number in (TARO, HANAKO, JIRO))
    for number in (TARO, HANAKO, JIRO):
        (found,) = looks(town, number)
        assert (found.look.act.act, found.look.act.kind) == ("search_residents", "SHOWN")
        assert (found.look.purpose, found.look.reference) == ("COUNTER", "R8-55")
        assert found.look.places == (("terminal", "t-01"),)


def test_search_that_found_nobody__is_on_record_too(town):
    search(town)
    with tenancy.scope(town):
        assert AuditEntry.objects.get(act="search_residents").detail["persons"] == 0


def test_person_nobody_saw__has_an_empty_list_and_other_towns_see_nothing(town, other_town):
    search(town, TARO)
    assert looks(town, HANAKO) == []
    assert looks(other_town, TARO) == []


def test_look__outside_the_period__is_left_out(town):
    begin, end = clock.now(), clock.now() + timedelta(hours=1)
    for at in (begin - timedelta(microseconds=1), begin, end - timedelta(microseconds=1), end):
        search(town, TARO, at=at)
    found = audit_looks.who_saw(town, TARO, since=begin, until=end)
    assert [each.at for each in found] == [begin, end - timedelta(microseconds=1)]


def test_whole_export__belongs_to_everybodys_list(town):
    with tenancy.scope(town):
        audit.record(
            act="release_export", by=CLERK, at=clock.now(), subject_key=audit.EVERYBODY,
            detail={"export": 7},
        )
    for number in (TARO, HANAKO):
        (found,) = looks(town, number)
        assert found.look.covers_everybody and found.look.act.kind == "HANDED_OUT"
        assert found.look.places == (("export", "7"),)


def test_certificate__that_prints_the_household__is_one_event_for_each_member(town):
    with tenancy.scope(town):
        audit.record(
            act="issue_certificate", by=KIOSK, at=clock.now(), subject_key=TARO.encode(),
            subjects=[HANAKO.encode(), TARO.encode()], detail={"transaction": "tx-1"},
        )
    for number in (TARO, HANAKO):
        (found,) = looks(town, number)
        assert found.look.act.kind == "PRINTED" and found.who_ja == "証明書交付センター"


def test_staff__are_named_with_their_roles(town):
    accounts.found_administrator(town, "clerk-01", "窓口　花子", by=audit.SYSTEM, at=clock.now())
    search(town, TARO)
    (found,) = looks(town, TARO)
    assert found.name_ja == "窓口　花子" and found.belongs_to == town
    assert found.roles_ja == ("団体管理者",)
    assert "花子" not in repr(found)
    search(town, HANAKO, by=audit.Actor("staff", "nobody-knows"))
    assert looks(town, HANAKO)[0].name_ja == ""


def run(*arguments: str, given: str):
    from bcl_cli.main import bcl

    return CliRunner().invoke(bcl, ["audit", "who-saw", *arguments], input=given)


def test_command__prints_plain_japanese_and_puts_itself_on_record(town):
    search(town, TARO)
    done = run("--municipality", town, "--person-stdin", "--reference", "R8-9", given=TARO + "\n")
    assert done.exit_code == 0, done.output
    assert "住民を検索して一覧に表示した" in done.output and "目的" in done.output
    assert "clerk-01" in done.output and "端末　t-01" in done.output
    assert TARO not in done.output
    again = run("--municipality", town, "--person-stdin", "--json", given=TARO + "\n")
    assert [each["act"] for each in json.loads(again.output)] == [
        "search_residents", "list_looks"
    ]


@pytest.mark.parametrize(("arguments", "given", "code"), [
    (("--municipality", "999997"), TARO, 2),
    (("--municipality", "999971", "--person-stdin"), TARO, 2),
    (("--municipality", "999997", "--person-stdin"), "12345", 3),
    (("--municipality", "999997", "--person-stdin"), "", 3),
])  # fmt: skip
def test_command__used_wrongly__says_so_without_the_number(town, arguments, given, code):
    done = run(*arguments, given=given)
    assert done.exit_code == code
    assert not given or given not in done.output


def test_every_act_in_the_code__has_a_japanese_name_and_a_kind():
    with (ROOT / "src/bcl/foundation/audit_acts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    named = [row["act"] for row in rows]
    assert named == sorted(set(named))
    kinds = {"SHOWN", "PRINTED", "HANDED_OUT", "DECIDED", "DATA", "OTHER"}
    assert {row["kind"] for row in rows} <= kinds and all(row["label_ja"] for row in rows)
    used = set()
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "audit.record" in text or "move_export" in text:
            # Every word that may stand there, also `act="this" if … else "that"`.
            used |= {
                word.value
                for call in ast.walk(ast.parse(text)) if isinstance(call, ast.Call)
                for keyword in call.keywords if keyword.arg == "act"
                for word in ast.walk(keyword.value)
                if isinstance(word, ast.Constant) and re.fullmatch("[a-z_]+", str(word.value))
            }
    assert used - set(named) == set()
