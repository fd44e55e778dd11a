"""The staff pages as a real server, with towns, terminals and people to sign in.

`store_world` (the register of the store's tests) and `intake_rows` are importable.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from bcl.accounts import api as accounts
from bcl.accounts.models import StaffAccount
from bcl.foundation import audit, clock, tenancy
from bcl_sim.pki import WorldPki, make_world_pki

sys.path[:0] = [
    str(Path(__file__).parent),
    str(Path(__file__).parents[1] / "resident_store"),
]

OPERATOR = audit.Actor("system", "operator")
PASSWORD = "山の端にいさよふ月を待つ"
TOWNS = ("999997", "999989")


@pytest.fixture(scope="session")
def console_pki(tmp_path_factory) -> WorldPki:
    return make_world_pki(tmp_path_factory.mktemp("console-pki"), TOWNS, clock.now())


@dataclass
class Console:
    """The running server; its log is looked at by nobody but a failing test."""

    url: str
    process: subprocess.Popen

    def start_afresh(self) -> None:
        """Replace the serving process: each test has new town keys, and a process keeps its own."""
        before = self._serving()
        self.process.send_signal(signal.SIGHUP)
        give_up = time.monotonic() + 40
        while not self._serving() or self._serving() & before:
            assert time.monotonic() < give_up
            time.sleep(0.02)

    def _serving(self) -> set[str]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return set(children.read_text().split())


@pytest.fixture(scope="session")
def console(console_pki, cluster, tmp_path_factory) -> Iterator[Console]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log_path = tmp_path_factory.mktemp("console") / "log"
    environment = os.environ | {
        "BCL_CONSOLE_PORT": str(port),
        "BCL_CONSOLE_CERTIFICATE_FILE": str(console_pki.console_server.cert_path),
        "BCL_CONSOLE_PRIVATE_KEY_FILE": str(console_pki.console_server.key_path),
        "BCL_CONSOLE_CLIENT_CA_FILE": str(console_pki.terminal_ca.cert_path),
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bcl_cli.main", "serve", "console"], env=environment, stderr=log
        )
    give_up = time.monotonic() + 40
    while not _listens(port):
        assert process.poll() is None, log_path.read_text()
        assert time.monotonic() < give_up
        time.sleep(0.05)
    yield Console(f"https://localhost:{port}", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=40) == 0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Browser(httpx.Client):
    """A client that may be used before and inside its `with`."""

    def __enter__(self) -> Browser:
        return self


@dataclass
class Person:
    """Somebody enrolled: login name, app key, tenant."""

    municipality_code: str
    login_name: str
    secret: str
    password: str = PASSWORD
    used: set[str] = field(default_factory=set)

    def code(self) -> str:
        """A code that was not used yet; the next step's counts too, so nobody waits."""
        totp = TOTP(base64.b32decode(self.secret), 6, SHA1(), 30)
        for ahead in (0, 30):
            code = totp.generate(int(time.time()) + ahead).decode()
            if code not in self.used:
                self.used.add(code)
                return code
        raise AssertionError("both codes of this half minute are used")


SEEN_ACTS = {"lock", "unlock", "roles", "reset", "review", "close", "validity"}


def seen_on(page: str) -> str:
    """The revision that an account's page carries along in its forms; empty without one."""
    found = re.search(r'name="seen" value="(\d+)"', page)
    return found.group(1) if found else ""


@dataclass
class Office:
    """The people and terminals of the test's towns."""

    url: str
    pki: WorldPki
    admins: dict[str, accounts.Principal] = field(default_factory=dict)
    enrolled: dict[tuple[str, str], accounts.SignedIn] = field(default_factory=dict)

    def terminal(self, code: str) -> accounts.Terminal:
        made = accounts.register_terminal(
            owner_code=code,
            terminal_id=f"terminal-{code}",
            name_ja="窓口の端末",
            terminal_class=accounts.TerminalClass.LGWAN,
            cert_pem=self.pki.terminal(code).cert_path.read_bytes(),
            by=OPERATOR,
            at=clock.now(),
        )
        assert isinstance(made, accounts.Terminal)
        return made

    def certificate(self, code: str) -> bytes:
        """The certificate of this tenant's terminal (DER)."""
        pem = self.pki.terminal(code).cert_path.read_text()
        return ssl.PEM_cert_to_DER_cert(pem)

    def enrol(self, code: str, invitation: accounts.Invitation) -> Person:
        terminal, at, unix = self.terminal(code), clock.now(), time.time()
        begun = accounts.begin_enrolment(
            terminal, invitation.login_name, invitation.enrolment_code, at=at
        )
        accounts.choose_password(begun.principal, PASSWORD, at=at)
        person = Person(code, invitation.login_name, accounts.offer_totp(begun.principal))
        early = TOTP(base64.b32decode(person.secret), 6, SHA1(), 30).generate(int(unix) - 30)
        whole = accounts.confirm_totp(terminal, begun, early.decode(), unix_time=unix, at=at)
        assert isinstance(whole, accounts.SignedIn), whole
        self.admins.setdefault(code, whole.principal)
        self.enrolled[code, invitation.login_name] = whole
        return person

    def administrator(self, code: str) -> Person:
        invited = accounts.found_administrator(
            code, "admin-1", "見本　一郎", by=OPERATOR, at=clock.now()
        )
        return self.enrol(code, invited)

    @staticmethod
    def now() -> datetime:
        """The product's time."""
        return clock.now()

    @staticmethod
    def person(code: str, login_name: str, secret: str, password: str) -> Person:
        """Somebody who enrolled by hand."""
        return Person(code, login_name, secret, password)

    def add(self, code: str, login_name: str, *roles: accounts.Role) -> Person:
        """A colleague, made by the tenant's administrator (who is enrolled first)."""
        if code not in self.admins:
            self.administrator(code)
        invited = accounts.create_account(
            self.admins[code],
            login_name=login_name,
            name_ja="見本　花子",
            roles=roles,
            at=clock.now(),
        )
        return self.enrol(code, invited)

    @staticmethod
    def forget_codes(person: Person) -> None:
        """As if half a minute had gone by: the app's codes are good again."""
        with tenancy.scope(person.municipality_code):
            StaffAccount.objects.filter(login_name=person.login_name).update(totp_last_step=0)
        person.used.clear()

    def browser(self, code: str) -> Browser:
        """Something that acts like the browser of this tenant's terminal."""
        context = ssl.create_default_context(cafile=str(self.pki.bcl_ca.cert_path))
        terminal = self.pki.terminal(code)
        context.load_cert_chain(str(terminal.cert_path), str(terminal.key_path))
        return Browser(base_url=self.url, verify=context, timeout=30, follow_redirects=False)

    @staticmethod
    def post(client: httpx.Client, path: str, **fields: object) -> httpx.Response:
        """Send a form as a page would: with the token of the page's cookie."""
        if "__Host-bcl-form" not in client.cookies:
            client.get("/sign-in")
        page, _, act = path.rpartition("/")
        if path.startswith("/accounts/of/") and act in SEEN_ACTS and "seen" not in fields:
            fields["seen"] = seen_on(client.get(page).text)
        token = client.cookies.get("__Host-bcl-form")
        return client.post(
            path,
            data={**fields, "csrfmiddlewaretoken": token},
            headers={"Referer": str(client.base_url.join(path)), "Origin": str(client.base_url)},
        )

    def signed_in(self, person: Person) -> Browser:
        client = self.browser(person.municipality_code)
        begun = self.post(
            client, "/sign-in", login_name=person.login_name, password=person.password
        )
        assert begun.status_code == 302, begun.text
        answer = self.post(client, "/sign-in/code", code=person.code())
        assert answer.status_code == 302 and answer.headers["Location"] == "/", answer.text
        return client


@pytest.fixture
def office(transactional_db, town, other_town, console, console_pki) -> Office:
    console.start_afresh()
    made = Office(console.url, console_pki)
    for code in TOWNS:
        made.terminal(code)
    return made
