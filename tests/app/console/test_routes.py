"""Every staff route is decided: who may call it stands in one table and is true for each role."""

from __future__ import annotations

import importlib
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.urls import URLPattern, URLResolver

from bcl.accounts import rules
from bcl.accounts.models import Elevation, StaffAccount, StaffSession, Terminal
from bcl.accounts.screens import BEFORE_SIGN_IN
from bcl.foundation import clock, crypto, tenancy

# Name of the route -> permission. A new page is added here or the test fails.
ROUTES = {
    "home": "home.view",
    "components": "home.view",
    "security": "security.view",
    "retention": "retention.view",
    "sign-in": BEFORE_SIGN_IN,
    "sign-in-code": BEFORE_SIGN_IN,
    "sign-in-passkey": BEFORE_SIGN_IN,
    "sign-out": BEFORE_SIGN_IN,
    "enrol": BEFORE_SIGN_IN,
    "enrol-password": BEFORE_SIGN_IN,
    "enrol-app": BEFORE_SIGN_IN,
    "accounts": "accounts.view",
    "account": "accounts.view",
    "account-new": "accounts.manage",
    "account-lock": "accounts.manage",
    "account-unlock": "accounts.manage",
    "account-roles": "accounts.manage",
    "account-reset": "accounts.manage",
    "account-review": "accounts.manage",
    "account-close": "accounts.manage",
    "account-review-list": "accounts.view",
    "account-validity": "accounts.manage",
    "account-end-sessions": "accounts.manage",
    "own": "home.view",
    "own-password": "home.view",
    "own-end-sessions": "home.view",
    "passkey-new": "home.view",
    "passkey-keep": "home.view",
    "passkey-remove": "home.view",
    "privileges": "privileges.view",
    "privilege-ask": "privileges.use",
    "privilege": "privileges.view",
    "privilege-approve": "privileges.approve",
    "privilege-refuse": "privileges.approve",
    "privilege-end": "privileges.view",
    "terminals": "terminals.view",
    "terminal-new": "terminals.register",
    "terminal-revoke": "terminals.revoke",
    "interface": "interface.view",
    "interface-specification": "interface.view",
    "linkage": "linkage.view",
    "transmission": "linkage.view",
    "transmission-findings": "linkage.view",
    "transmission-ask-release": "linkage.ask_release",
    "transmission-release": "linkage.release",
    "transmission-reject": "linkage.release",
    "holds": "linkage.view",
    "hold-ask": "linkage.ask_release",
    "hold-approve": "linkage.release",
    "data-uses": "subscriptions.view",
    "subscriptions": "subscriptions.view",
    "subscription": "subscriptions.view",
    "residents": "residents.view",
    "resident": "residents.view",
    "resident-reveal": "residents.reveal_address",
    "resident-household": "residents.view",
    "recovery": "recovery.view",
    "recovery-new": "recovery.request",
    "recovery-export": "recovery.view",
    "recovery-approve": "recovery.approve",
    "recovery-take": "recovery.take",
    "recovery-companion": "recovery.take",
    "audit": "audit.view",
    "audit-row": "audit.view",
    "audit-verification": "audit.verify",
    "audit-verification-start": "audit.verify",
    "audit-log-file": "audit.verify",
    "audit-verifier": "audit.verify",
    "statements": "statements.view",
    "statement-new": "statements.request",
    "statement": "statements.view",
    "statement-approve": "statements.approve",
    "statement-paper": "statements.request",
    "exports": "exports.view",
    "export-trace": "exports.view",
    "export-new": "exports.request",
    "export": "exports.view",
    "export-approve": "exports.approve",
    "export-decline": "exports.view",
    "export-take": "exports.take",
    "resend": "linkage.request_resend",
    "resend-withdraw": "linkage.request_resend",
}
ARGUMENTS = {
    "<str:version>": "1.0",
    "<str:town>": "999997",
    "<int:export_id>": "7",
    "<str:name>": "reader.py",
    "<str:log>": "999997",
    "<str:key>": "7",
    "<str:kind>": "nothing",
    "<int:statement_id>": "7",
    "<str:login_name>": "admin-1",
    "<str:owner>": "999989",
    "<str:terminal_id>": "terminal-999989",
    "<uuid:passkey_id>": "00000000-0000-4000-8000-000000000000",
    "<uuid:request_id>": "00000000-0000-4000-8000-000000000000",
    "<uuid:transmission_id>": "00000000-0000-4000-8000-000000000000",
}


def patterns() -> Iterator[URLPattern]:
    def walk(entries: list) -> Iterator[URLPattern]:
        for entry in entries:
            if isinstance(entry, URLResolver):
                yield from walk(entry.url_patterns)
            else:
                yield entry

    yield from walk(importlib.import_module("bcl.config.console_urls").urlpatterns)


def test_routes__each_view__carries_the_mark_of_the_table() -> None:
    marked = {one.name: getattr(one.callback, "bcl_permission", None) for one in patterns()}
    assert marked == ROUTES


def path_of(one: URLPattern) -> str:
    route = str(one.pattern)
    for name, value in ARGUMENTS.items():
        route = route.replace(name, value)
    return f"/{route}"


def refusal_on(page: str) -> str:
    found = re.search(r"コード: ([A-Z_]+)", page)
    return found.group(1) if found else ""


def judge_all(client, decisions: dict[str, str]) -> None:
    """Every route answers what `decisions` says: "" = reached, else the refusal's code."""
    for one in patterns():
        if ROUTES[one.name] == BEFORE_SIGN_IN:
            continue
        answer = client.get(path_of(one))
        # 405: the view was reached and wants a POST; 404: it found nothing under this id;
        # 400: it wants a purpose
        reached = answer.status_code in (200, 400, 404, 405)
        code = refusal_on(answer.text) if answer.status_code == 403 else ""
        assert (reached, code) == (not decisions[one.name], decisions[one.name]), one.name


def decisions_for(role: rules.Role, terminal_class: rules.TerminalClass, is_privileged: bool):
    """Route -> "" or why not, worked out from the tables of rights alone."""
    held = rules.permissions_of([role])

    def decide(permission: str) -> str:
        if permission not in held:
            return "ACCOUNT_PERMISSION_MISSING"
        refusal = rules.why_not_here(
            permission, terminal_class=terminal_class, is_privileged=is_privileged
        )
        return "" if refusal is None else refusal.code

    return {name: decide(permission) for name, permission in ROUTES.items()}


@pytest.mark.requirement("R-060")
@pytest.mark.requirement("R-169")
@pytest.mark.parametrize("role", list(rules.Role), ids=lambda role: role.value)
def test_routes__each_role_at_each_class_of_terminal__opens_exactly_its_own(office, role) -> None:
    code = "999997" if rules.belongs_to(role, "999997") else rules.AGENCY_CODE
    terminal = office.terminal(code)
    person = office.add(code, "somebody", role)
    with office.signed_in(person) as client:
        for terminal_class in rules.TerminalClass:
            Terminal.objects.filter(pk=terminal.id).update(terminal_class=terminal_class.value)
            judge_all(client, decisions_for(role, terminal_class, is_privileged=False))


@pytest.mark.requirement("R-163")
def test_routes__with_privileges__open_what_the_table_says_and_no_more(office) -> None:
    role = rules.Role.AGENCY_ADMIN
    office.terminal(rules.AGENCY_CODE)
    person = office.add(rules.AGENCY_CODE, "somebody", role)
    with tenancy.scope(rules.AGENCY_CODE):
        at, account = clock.now(), StaffAccount.objects.get(login_name="somebody")
        made = Elevation(
            id=uuid.uuid4(), municipality_code=rules.AGENCY_CODE, account=account, ticket="CHG-1",
            minutes=30, asked_at=at, decided_at=at, decided_by="other",
            ends_at=at + timedelta(minutes=30),
        )  # fmt: skip
        made.sealed_reason = crypto.seal_cell(
            rules.AGENCY_CODE, "accounts_elevation", "sealed_reason", made.id.bytes, b"why"
        )
        made.save(force_insert=True)
    with office.signed_in(person) as client:
        decided = decisions_for(role, rules.TerminalClass.LGWAN, is_privileged=True)
        assert decided["terminal-new"] == ""
        judge_all(client, decided)


def test_permissions__each_named_by_a_route_or_a_field__is_somebodys() -> None:
    given = set().union(*(rules.permissions_of([role]) for role in rules.Role))
    assert {one for one in ROUTES.values() if one != BEFORE_SIGN_IN} <= given


@pytest.mark.requirement("R-061")
def test_routes__signed_out_half_expired_and_at_another_towns_terminal__are_sent_to_sign_in(
    office,
) -> None:
    admin = office.administrator("999997")
    with (
        office.signed_in(admin) as expired,
        office.browser("999989") as elsewhere,
        office.browser("999997") as nobody,
        office.browser("999997") as half,
    ):
        elsewhere.cookies.update(expired.cookies)
        with tenancy.scope("999997"):
            StaffSession.objects.update(last_seen_at=clock.now() - timedelta(minutes=15))
        office.post(half, "/sign-in", login_name="admin-1", password=admin.password)
        for one in patterns():
            if ROUTES[one.name] != BEFORE_SIGN_IN:
                for client in (nobody, half, expired, elsewhere):
                    sent_to_sign_in(client, path_of(one), is_told=client is expired)


@pytest.mark.requirement("R-058")
def test_routes__a_post_without_the_pages_mark__changes_nothing_anywhere(office) -> None:
    person = office.add("999997", "somebody", *(
        role for role in rules.Role if rules.belongs_to(role, "999997")
    ))
    with office.signed_in(person) as client:
        for one in patterns():
            answer = client.post(path_of(one), data={"login_name": "x"})
            assert (answer.status_code, refusal_on(answer.text)) == (403, "CONSOLE_FORM_STALE")
        assert client.get("/").status_code == 200, "not even signed out"


@pytest.mark.requirement("R-058")
@pytest.mark.parametrize(
    "evil", ["//evil.example", "https://evil.example/", "\\\\evil.example", "/\r\nX-Evil: 1"]
)
def test_routes__parameters_that_name_a_place__lead_nowhere_else(office, evil) -> None:
    admin = office.administrator("999997")
    places = dict.fromkeys(("next", "url", "return_to", "redirect", "done", "ended", "owner"), evil)
    with office.browser("999997") as nobody, office.signed_in(admin) as client:
        for path in ("/", "/sign-in", "/accounts", "/own"):
            for browser in (nobody, client):
                answer = browser.get(path, params=places)
                there = answer.headers.get("Location", "/")
                assert there.startswith("/") and not there.startswith(("//", "/\\"))
                assert "X-Evil" not in answer.headers and "evil.example" not in answer.text
        begun = office.post(nobody, "/sign-in", login_name="admin-1", password=admin.password,
                            **places)  # fmt: skip
        assert begun.headers["Location"] == "/sign-in/code"


def sent_to_sign_in(client, path: str, *, is_told: bool) -> None:
    """Told why only where an own session has run out."""
    for answer in (client.get(path), bare_post(client, path)):
        assert answer.status_code == 302, path
        place = answer.headers["Location"]
        assert place == ("/sign-in?ended=SESSION_IDLE" if is_told else "/sign-in"), path


def bare_post(client, path: str):
    """A form with the page's mark and nothing else."""
    if "__Host-bcl-form" not in client.cookies:
        client.get("/sign-in")
    mark = {"csrfmiddlewaretoken": client.cookies.get("__Host-bcl-form")}
    return client.post(path, data=mark, headers={"Origin": str(client.base_url)})
