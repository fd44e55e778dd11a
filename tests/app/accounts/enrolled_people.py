"""People enrolled at terminals, with a fixed clock, for the tests of staff accounts."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from bcl.accounts import api as accounts
from bcl.foundation import audit, clock

NOON = datetime(2026, 11, 23, 12, tzinfo=clock.JST)
UNIX = NOON.timestamp()
PASSWORD = "山の端にいさよふ月を待つ"
OPERATOR = audit.Actor("system", "operator")


def terminal_of(pki, code: str, number: str = "t-1") -> accounts.Terminal:
    # Any registered certificate will do: which authority signs it is the TLS server's business.
    source = pki.gateway(code) if number == "t-1" else pki.center_client
    made = accounts.register_terminal(
        owner_code=code,
        terminal_id=f"{number}-{code}",
        name_ja="窓口の端末",
        terminal_class=accounts.TerminalClass.LGWAN,
        cert_pem=source.cert_path.read_bytes(),
        by=OPERATOR,
        at=NOON,
    )
    assert isinstance(made, accounts.Terminal)
    return made


@dataclass
class Person:
    """An enrolled member of staff and the app in the person's pocket."""

    login_name: str
    secret: str
    whole: accounts.SignedIn

    def code(self, unix_time: float) -> str:
        return TOTP(base64.b32decode(self.secret), 6, SHA1(), 30).generate(int(unix_time)).decode()


def enrol(terminal: accounts.Terminal, invitation: accounts.Invitation, at=NOON) -> Person:
    begun = accounts.begin_enrolment(
        terminal, invitation.login_name, invitation.enrolment_code, at=at
    )
    assert isinstance(begun, accounts.SignedIn), begun
    assert begun.principal.permissions == frozenset()
    assert accounts.choose_password(begun.principal, PASSWORD, at=at) is None
    secret = accounts.offer_totp(begun.principal)
    assert secret in accounts.totp_uri(begun.principal, secret)
    person = Person(invitation.login_name, secret, begun)
    unix = at.timestamp()
    whole = accounts.confirm_totp(terminal, begun, person.code(unix), unix_time=unix, at=at)
    assert isinstance(whole, accounts.SignedIn), whole
    return Person(invitation.login_name, secret, whole)


def half(terminal, person, at=NOON, password=PASSWORD):
    return accounts.sign_in(terminal, person.login_name, password, at=at)


def whole(terminal, person, at, code=None):
    begun = half(terminal, person, at)
    assert isinstance(begun, accounts.SignedIn), begun
    unix = at.timestamp()
    return accounts.confirm_code(
        terminal, begun.token, code or person.code(unix), unix_time=unix, at=at
    )
