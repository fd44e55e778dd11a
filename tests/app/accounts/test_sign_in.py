"""Staff accounts on the real database: enrolment, two factors, sessions, administration."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from enrolled_people import NOON, OPERATOR, PASSWORD, enrol, half, terminal_of, whole

from bcl.accounts import api as accounts
from bcl.accounts.actions import sign_in
from bcl.accounts.models import StaffAccount, StaffSession
from bcl.foundation import tenancy
from bcl.foundation.models import AuditEntry
from bcl_contract.refusals import Refusal

pytestmark = pytest.mark.django_db

@pytest.mark.requirement("R-058")
def test_sign_in__both_factors__gives_the_roles_rights_and_a_new_cookie(terminal, clerk) -> None:
    later = NOON + timedelta(hours=1)
    begun = half(terminal, clerk, later)
    assert begun.principal.permissions == frozenset()
    unix = later.timestamp()
    done = accounts.confirm_code(terminal, begun.token, clerk.code(unix), unix_time=unix, at=later)
    assert "residents.view" in done.principal.permissions
    assert "accounts.manage" not in done.principal.permissions
    assert done.token != begun.token
    old = accounts.find_session(terminal, begun.token, later)
    assert isinstance(old, Refusal) and old.code == "SESSION_UNKNOWN"
    assert accounts.find_session(terminal, done.token, later).login_name == "clerk-1"


@pytest.mark.parametrize("typed", [
    lambda code: f" {code[:3]} {code[3:]} ",  # as apps show it
    lambda code: "".join(chr(ord(digit) + 0xFEE0) for digit in code),  # full width
])  # fmt: skip
def test_sign_in__a_code_typed_as_it_looks__is_the_same_code(terminal, clerk, typed) -> None:
    later = NOON + timedelta(hours=1)
    code = typed(clerk.code(later.timestamp()))
    assert isinstance(whole(terminal, clerk, later, code), accounts.SignedIn)


def test_sign_in__a_code__is_good_once(terminal, clerk) -> None:
    later = NOON + timedelta(hours=1)
    code = clerk.code(later.timestamp())
    assert isinstance(whole(terminal, clerk, later, code), accounts.SignedIn)
    again = whole(terminal, clerk, later, code)
    assert isinstance(again, Refusal) and again.code == "SIGN_IN_CODE_WRONG"
    # the one before it neither: time only goes forward
    before = whole(terminal, clerk, later, clerk.code(later.timestamp() - 30))
    assert isinstance(before, Refusal)


def test_sign_in__unknown_and_wrong__look_the_same(terminal, clerk) -> None:
    wrong = half(terminal, clerk, password="wrong wrong wrong")
    unknown = accounts.sign_in(terminal, "nobody", PASSWORD, at=NOON)
    assert wrong == unknown == Refusal("SIGN_IN_FAILED")


def test_sign_in__unknown_and_wrong__cost_one_password_check_each(
    terminal, clerk, monkeypatch
) -> None:
    """The costly step is counted, not timed: it decides how long an answer takes."""
    checked = []
    real = sign_in.check_password
    monkeypatch.setattr(
        sign_in, "check_password", lambda *given: checked.append(given[1][:20]) or real(*given)
    )
    half(terminal, clerk, password="wrong wrong wrong")
    accounts.sign_in(terminal, "nobody", PASSWORD, at=NOON)
    assert len(checked) == 2 and checked[0] == checked[1], "the same kind of hash both times"


@pytest.mark.requirement("R-061")
def test_session__more_than_allowed_at_once__the_oldest_ends(terminal, clerk) -> None:
    tokens, at = [clerk.whole.token], NOON
    for _ in range(3):
        at += timedelta(minutes=1)
        tokens.append(whole(terminal, clerk, at).token)
    alive = [not isinstance(accounts.find_session(terminal, one, at), Refusal) for one in tokens]
    assert alive == [False, True, True, True]
    mine = accounts.find_session(terminal, tokens[-1], at)
    assert len(accounts.list_sessions(mine, "clerk-1", at=at)) == 3
    assert accounts.end_sessions(mine, "clerk-1", at=at) is None
    alive = [not isinstance(accounts.find_session(terminal, one, at), Refusal) for one in tokens]
    assert alive == [False, False, False, True], "the own other ones"


@pytest.mark.requirement("R-060")
def test_session__ended_by_an_administrator__all_end_and_the_account_stays(
    terminal, admin, clerk
) -> None:
    assert accounts.end_sessions(admin.whole.principal, "clerk-1", at=NOON) is None
    assert accounts.find_session(terminal, clerk.whole.token, NOON).code == "SESSION_UNKNOWN"
    assert isinstance(half(terminal, clerk), accounts.SignedIn)
    denied = accounts.end_sessions(clerk.whole.principal, "admin-1", at=NOON)
    assert denied.code == "ACCOUNT_PERMISSION_MISSING"


@pytest.mark.requirement("R-060")
def test_account__past_its_day__is_out_and_back_when_it_is_moved(terminal, admin, clerk) -> None:
    by, after = admin.whole.principal, NOON + timedelta(days=1)
    assert accounts.set_validity(by, "clerk-1", NOON.date(), at=NOON) is None
    assert not isinstance(accounts.find_session(terminal, clerk.whole.token, NOON), Refusal)
    assert half(terminal, clerk, after).code == "ACCOUNT_EXPIRED"
    assert accounts.set_validity(by, "clerk-1", None, at=after) is None
    assert isinstance(half(terminal, clerk, after), accounts.SignedIn)


@pytest.mark.requirement("R-061")
def test_sign_in__too_many_at_one_terminal__another_terminal_still_works(
    town, pki, terminal, clerk
) -> None:
    for _ in range(5):
        assert half(terminal, clerk, password="guess guess guess").code == "SIGN_IN_FAILED"
    assert half(terminal, clerk).code == "SIGN_IN_TOO_MANY"
    elsewhere = terminal_of(pki, town, "t-2")
    assert isinstance(half(elsewhere, clerk), accounts.SignedIn)
    later = NOON + timedelta(minutes=16)
    assert isinstance(half(terminal, clerk, later), accounts.SignedIn)


def test_sign_in__codes_guessed_all_day__the_account_is_stopped(terminal, clerk) -> None:
    at = NOON
    for _ in range(10):
        at += timedelta(minutes=16)
        assert whole(terminal, clerk, at, "000000").code == "SIGN_IN_CODE_WRONG"
    at += timedelta(minutes=16)
    right = whole(terminal, clerk, at)
    assert isinstance(right, Refusal) and right.code == "ACCOUNT_LOCKED"


@pytest.mark.requirement("R-061")
def test_session__at_another_terminal_or_too_late__is_worth_nothing(
    town, pki, terminal, clerk
) -> None:
    token = clerk.whole.token
    assert not isinstance(accounts.find_session(terminal, token, NOON), Refusal)
    elsewhere = terminal_of(pki, town, "t-2")
    assert accounts.find_session(elsewhere, token, NOON).code == "SESSION_UNKNOWN"
    idle = NOON + timedelta(minutes=15)
    assert accounts.find_session(terminal, token, idle).code == "SESSION_IDLE"
    at = NOON
    while at < NOON + timedelta(hours=10):
        principal = accounts.find_session(terminal, token, at)
        assert not isinstance(principal, Refusal)
        accounts.keep_session(principal, at=at)
        at += timedelta(minutes=10)
    assert accounts.find_session(terminal, token, at).code == "SESSION_TOO_OLD"


def test_session__signed_out__is_over(terminal, clerk) -> None:
    accounts.sign_out(clerk.whole.principal, at=NOON)
    assert accounts.find_session(terminal, clerk.whole.token, NOON).code == "SESSION_UNKNOWN"


@pytest.mark.requirement("R-060")
def test_roles__withdrawn__end_with_the_next_request(terminal, admin, clerk) -> None:
    by = admin.whole.principal
    assert accounts.set_roles(by, "clerk-1", [accounts.Role.TOWN_AUDITOR], at=NOON) is None
    now = accounts.find_session(terminal, clerk.whole.token, NOON)
    assert now.roles == {accounts.Role.TOWN_AUDITOR}
    assert "residents.view" not in now.permissions and "audit.view" in now.permissions


@pytest.mark.requirement("R-060")
def test_administration__never_above_own_rights_nor_on_oneself(
    town, terminal, admin, clerk
) -> None:
    by = admin.whole.principal
    agency = accounts.set_roles(by, "clerk-1", [accounts.Role.AGENCY_ADMIN], at=NOON)
    assert agency.code == "ACCOUNT_ROLE_NOT_YOURS"
    assert accounts.set_roles(by, "admin-1", [], at=NOON).code == "ACCOUNT_OWN"
    assert accounts.lock_account(by, "admin-1", reason="X", at=NOON).code == "ACCOUNT_OWN"
    low = clerk.whole.principal
    assert accounts.reset_account(low, "admin-1", at=NOON).code == "ACCOUNT_PERMISSION_MISSING"
    assert accounts.create_account(
        low, login_name="x", name_ja="x", roles=[accounts.Role.TOWN_CLERK], at=NOON
    ).code == ("ACCOUNT_PERMISSION_MISSING")
    assert accounts.create_account(
        by, login_name="clerk-1", name_ja="x", roles=[], at=NOON
    ).code == ("ACCOUNT_EXISTS")


@pytest.mark.requirement("R-060")
def test_administration__lock_unlock_reset_close__each_ends_the_sessions(
    terminal, admin, clerk
) -> None:
    by = admin.whole.principal
    assert accounts.lock_account(by, "clerk-1", reason="LEAVE", at=NOON) is None
    assert isinstance(accounts.find_session(terminal, clerk.whole.token, NOON), Refusal)
    assert half(terminal, clerk).code == "ACCOUNT_LOCKED"
    assert accounts.unlock_account(by, "clerk-1", at=NOON) is None
    later = NOON + timedelta(hours=1)
    assert isinstance(whole(terminal, clerk, later), accounts.SignedIn)

    invited = accounts.reset_account(by, "clerk-1", at=later)
    assert half(terminal, clerk, later).code == "SIGN_IN_FAILED"
    expired = accounts.begin_enrolment(
        terminal, "clerk-1", invited.enrolment_code, at=later + timedelta(hours=72)
    )
    assert expired.code == "ENROLMENT_EXPIRED"
    again = enrol(terminal, invited, at=later)
    used = accounts.begin_enrolment(terminal, "clerk-1", invited.enrolment_code, at=later)
    assert used.code == "SIGN_IN_FAILED"

    assert accounts.close_account(by, "clerk-1", at=later) is None
    assert isinstance(accounts.find_session(terminal, again.whole.token, later), Refusal)
    assert accounts.unlock_account(by, "clerk-1", at=later).code == "ACCOUNT_UNKNOWN"


@pytest.mark.requirement("R-060")
def test_accounts__unused_for_90_days__are_locked_once(town, admin, clerk) -> None:
    almost = NOON + timedelta(days=90) - timedelta(seconds=1)
    assert accounts.lock_dormant_accounts(town, at=almost) == 0
    assert accounts.lock_dormant_accounts(town, at=NOON + timedelta(days=90)) == 2
    assert accounts.lock_dormant_accounts(town, at=NOON + timedelta(days=91)) == 0
    assert accounts.find_account(town, "clerk-1").status_reason == "DORMANT"


@pytest.mark.requirement("R-002")
def test_accounts__of_another_town__do_not_exist(town, other_town, pki, admin, clerk) -> None:
    assert accounts.list_accounts(other_town) == []
    foreign = terminal_of(pki, other_town)
    assert half(foreign, clerk).code == "SIGN_IN_FAILED"
    assert accounts.find_session(foreign, clerk.whole.token, NOON).code == "SESSION_UNKNOWN"
    assert accounts.revoke_terminal(
        "t-1-999997", owner_code=other_town, by=OPERATOR, at=NOON
    ).code == ("REGISTRATION_UNKNOWN")


@pytest.mark.requirement("R-061")
def test_terminal__revoked__is_not_found(town, pki, terminal) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    pem = pki.gateway(town).cert_path.read_bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert accounts.find_terminal_by_cert(der, at=NOON).id == terminal.id
    again = terminal_of(pki, town)
    assert again.last_seen_at == NOON
    assert replace(again, last_seen_at=None) == terminal, "the same again changes nothing"
    assert accounts.revoke_terminal(terminal.id, owner_code=town, by=OPERATOR, at=NOON) is None
    assert accounts.find_terminal_by_cert(der, at=NOON) is None


@pytest.mark.requirement("R-176")
def test_database__holds_no_password_secret_name_or_cookie_in_clear(town, admin, clerk) -> None:
    with tenancy.scope(town), connection.cursor() as cursor:
        tables = ("accounts_staffaccount", "accounts_staffsession", "accounts_signinfailure")
        seen = b""
        for table in tables:
            cursor.execute(f"SELECT * FROM {table}")
            for row in cursor.fetchall():
                for cell in row:
                    seen += bytes(cell) if isinstance(cell, memoryview) else str(cell).encode()
        raw = base64.b32decode(clerk.secret)
    for hidden in (PASSWORD.encode(), "見本".encode(), raw, clerk.whole.token.encode()):
        assert hidden not in seen
    assert re.search(rb"\$argon2id\$|argon2", seen)


def test_database__an_active_account_without_second_factor__is_impossible(town, admin) -> None:
    with pytest.raises(DatabaseError), transaction.atomic(), tenancy.scope(town):
        StaffAccount.objects.filter(login_name="admin-1").update(totp_confirmed_at=None)


def test_audit__every_act_leaves_its_row(town, terminal, admin, clerk) -> None:
    accounts.review_account(admin.whole.principal, "clerk-1", at=NOON)
    with tenancy.scope(town):
        acts = set(AuditEntry.objects.values_list("act", flat=True))
        assert {"create_account", "grant_role", "enrol_account", "review_account"} <= acts
        assert StaffSession.objects.filter(ended_at=None).count() == 2
