"""Every staff route is decided: who may call it stands in one table and is true for each role."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver

from bcl.accounts import rules
from bcl.accounts.screens import BEFORE_SIGN_IN

# Name of the route -> permission. A new page is added here or the test fails.
ROUTES = {
    "home": "home.view",
    "components": "home.view",
    "security": "security.view",
    "retention": "retention.view",
    "sign-in": BEFORE_SIGN_IN,
    "sign-in-code": BEFORE_SIGN_IN,
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
    "terminals": "terminals.view",
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


@pytest.mark.requirement("R-060")
@pytest.mark.parametrize("role", list(rules.Role), ids=lambda role: role.value)
def test_routes__each_role__opens_exactly_its_own(office, role) -> None:
    code = "999997" if rules.belongs_to(role, "999997") else rules.AGENCY_CODE
    office.terminal(code)
    person = office.add(code, "somebody", role)
    allowed = rules.permissions_of([role])
    with office.signed_in(person) as client:
        for one in patterns():
            if ROUTES[one.name] == BEFORE_SIGN_IN:
                continue
            answer = client.get(path_of(one))
            may = ROUTES[one.name] in allowed
            # 405: the view was reached and wants a POST; 404: it found nothing under this id;
            # 400: it wants a purpose
            reached = answer.status_code in (200, 400, 404, 405)
            assert reached is may, (one.name, answer.status_code)
            assert may or "ACCOUNT_PERMISSION_MISSING" in answer.text


@pytest.mark.requirement("R-061")
def test_routes__signed_out_and_half_signed_in__are_sent_to_sign_in(office) -> None:
    admin = office.administrator("999997")
    with office.browser("999997") as nobody, office.browser("999997") as half:
        office.post(half, "/sign-in", login_name="admin-1", password=admin.password)
        for one in patterns():
            if ROUTES[one.name] != BEFORE_SIGN_IN:
                for client in (nobody, half):
                    for answer in (client.get(path_of(one)), office.post(client, path_of(one))):
                        assert answer.status_code == 302, one.name
                        assert answer.headers["Location"].startswith("/sign-in")
