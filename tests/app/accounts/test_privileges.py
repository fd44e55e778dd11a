"""特権ID: a ticket, a second person, some minutes, and the ticket on everything done meanwhile."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from click.testing import CliRunner
from django.db import IntegrityError, transaction
from enrolled_people import NOON, OPERATOR, Person, enrol, terminal_of

from bcl.accounts import api as accounts
from bcl.accounts.models import Elevation, StaffAccount
from bcl.foundation import clock, crypto, tenancy
from bcl.foundation.models import AgencyAuditEntry, AuditEntry
from bcl_contract.refusals import Refusal

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("R-163")]
AGENCY = accounts.AGENCY_CODE
WISH = {"ticket": "CHG-120", "reason": "端末の更改", "minutes": 30}


@pytest.fixture
def agency(town, pki) -> tuple[accounts.Terminal, Person, Person]:
    """The agency's terminal, an administrator who asks, an operator who agrees."""
    terminal = terminal_of(pki, AGENCY, "t-2")
    invited = accounts.found_administrator(
        AGENCY, "agency-admin", "機構　五月", by=OPERATOR, at=NOON
    )
    asker = enrol(terminal, invited)
    made = accounts.create_account(
        asker.whole.principal,
        login_name="operator-1",
        name_ja="運用　六助",
        roles=[accounts.Role.AGENCY_OPERATOR],
        at=NOON,
    )
    return terminal, asker, enrol(terminal, made)


def code_of(outcome) -> str:
    return outcome.code if isinstance(outcome, Refusal) else ""


def approve(person: Person, one: accounts.PrivilegeRequest, at, code=None):
    unix = at.timestamp()
    return accounts.approve_privilege(
        person.whole.principal, one.id, code or person.code(unix), unix_time=unix, at=at
    )


def now(terminal, person, at) -> accounts.Principal:
    found = accounts.find_session(terminal, person.whole.token, at)
    assert isinstance(found, accounts.Principal), found
    return found


def test_privilege__runs_for_its_minutes__and_marks_what_is_done_meanwhile(agency) -> None:
    terminal, asker, other = agency
    before = now(terminal, asker, NOON)
    assert before.why_not("terminals.register").code == "PRIVILEGE_MISSING"
    one = accounts.ask_privilege(before, **WISH, at=NOON)
    assert "terminals.register" not in now(terminal, asker, NOON).permissions
    at = NOON + timedelta(minutes=1)
    assert code_of(approve(other, one, at)) == ""
    last = at + timedelta(minutes=30) - timedelta(seconds=1)
    accounts.keep_session(
        now(terminal, asker, at + timedelta(minutes=10)), at=at + timedelta(minutes=10)
    )
    accounts.keep_session(
        now(terminal, asker, at + timedelta(minutes=20)), at=at + timedelta(minutes=20)
    )
    during = now(terminal, asker, last)
    assert "terminals.register" in during.permissions
    assert during.privilege.ticket == "CHG-120"
    assert accounts.lock_account(during, "operator-1", reason="X", at=last) is None
    ended = now(terminal, asker, last + timedelta(seconds=1))
    assert ended.privilege is None and "terminals.register" not in ended.permissions
    assert accounts.unlock_account(ended, "operator-1", at=last + timedelta(seconds=1)) is None
    with tenancy.scope(AGENCY):
        assert AuditEntry.objects.get(act="lock_account").detail["privileged_by"] == "CHG-120"
        assert "privileged_by" not in AuditEntry.objects.get(act="unlock_account").detail
        assert AuditEntry.objects.get(act="approve_privilege").detail["ticket"] == "CHG-120"
    (listed,) = accounts.list_privileges(at=last + timedelta(seconds=1))
    assert (listed.state, listed.reason) == ("ENDED", "端末の更改")


def test_privilege__of_ones_own__needs_somebody_else(agency) -> None:
    _, asker, other = agency
    one = accounts.ask_privilege(asker.whole.principal, **WISH, at=NOON)
    at = NOON + timedelta(minutes=1)
    assert code_of(approve(asker, one, at)) == "PRIVILEGE_OWN"
    assert code_of(approve(other, one, at, code="000000")) == "SIGN_IN_CODE_WRONG"
    assert code_of(accounts.ask_privilege(other.whole.principal, **WISH, at=at)) == (
        "ACCOUNT_PERMISSION_MISSING"
    )
    with pytest.raises(IntegrityError), transaction.atomic(), tenancy.scope(AGENCY):
        Elevation.objects.filter(id=one.id).update(ends_at=at + timedelta(days=1))


def test_privilege__asked_twice_decided_twice_or_too_late__counts_once(agency) -> None:
    _, asker, other = agency
    first = accounts.ask_privilege(asker.whole.principal, **WISH, at=NOON)
    second = accounts.ask_privilege(asker.whole.principal, **WISH, at=NOON)
    assert first.id == second.id and len(accounts.list_privileges(at=NOON)) == 1
    assert accounts.refuse_privilege(other.whole.principal, first.id, at=NOON) is None
    at = NOON + timedelta(minutes=1)
    assert code_of(approve(other, first, at)) == "PRIVILEGE_STATE"
    late = accounts.ask_privilege(asker.whole.principal, **WISH, at=NOON)
    assert late.id != first.id
    assert code_of(approve(other, late, NOON + timedelta(hours=24))) == "PRIVILEGE_STATE"


@pytest.mark.parametrize(
    "wrong",
    [
        {"minutes": 0}, {"minutes": 61}, {"ticket": "x"}, {"ticket": "a b c"},
        {"ticket": "CHG\r\n1"}, {"reason": "  "}, {"reason": "x" * 501},
    ],
)  # fmt: skip
def test_privilege__asked_for_wrongly__is_refused(agency, wrong) -> None:
    _, asker, _ = agency
    made = accounts.ask_privilege(asker.whole.principal, **(WISH | wrong), at=NOON)
    assert code_of(made) == "PRIVILEGE_REQUEST_WRONG"


def test_privilege__cut_from_the_machine_or_ended_by_hand__is_over_at_once(agency) -> None:
    terminal, asker, other = agency
    one = accounts.ask_privilege(asker.whole.principal, **WISH, at=NOON)
    at = NOON + timedelta(minutes=1)
    approve(other, one, at)
    assert now(terminal, asker, at).privilege is not None
    assert accounts.cut_privilege(one.id, by=OPERATOR, at=at) is None
    assert now(terminal, asker, at).privilege is None
    assert code_of(accounts.end_privilege(asker.whole.principal, one.id, at=at)) == (
        "PRIVILEGE_STATE"
    )


def test_terminal__registered_under_privileges__carries_the_ticket(agency, pki, town) -> None:
    terminal, asker, other = agency
    one = accounts.ask_privilege(asker.whole.principal, **WISH, at=NOON)
    at = NOON + timedelta(minutes=1)
    approve(other, one, at)
    accounts.register_terminal(
        owner_code=town,
        terminal_id="t-9",
        name_ja="端末",
        terminal_class=accounts.TerminalClass.INDIVIDUAL_NUMBER,
        cert_pem=pki.gateway(town).cert_path.read_bytes(),
        by=now(terminal, asker, at).actor,
        at=at,
    )
    entry = AgencyAuditEntry.objects.filter(act="register_terminal").latest("id")
    assert entry.detail["privileged_by"] == "CHG-120"
    assert entry.detail["class"] == "INDIVIDUAL_NUMBER"


@pytest.mark.django_db(transaction=True)
def test_command__lists_and_ends_privileges(agency) -> None:
    from bcl_cli.main import bcl

    at = clock.now()
    with tenancy.scope(AGENCY):
        account = StaffAccount.objects.get(login_name="agency-admin")
        running = Elevation(
            id=uuid.uuid4(), municipality_code=AGENCY, account=account, ticket="CHG-7",
            minutes=30, asked_at=at, decided_at=at, decided_by="operator-1",
            ends_at=at + timedelta(minutes=30),
        )  # fmt: skip
        running.sealed_reason = crypto.seal_cell(
            AGENCY, "accounts_elevation", "sealed_reason", running.id.bytes, b"why"
        )
        running.save(force_insert=True)
    shown = CliRunner().invoke(bcl, ["privileges", "list"])
    assert "CHG-7 agency-admin 30分 使用中" in shown.output and "why" not in shown.output
    ended = CliRunner().invoke(bcl, ["privileges", "end", str(running.id)])
    assert (ended.exit_code, "終わらせました" in ended.output) == (0, True), ended.output
    again = CliRunner().invoke(bcl, ["privileges", "end", str(running.id)])
    assert again.exit_code == 3 and "PRIVILEGE_STATE" in again.output
