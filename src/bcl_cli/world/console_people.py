"""Terminals and people of a demonstration world's staff pages (D31).

They exist only in a cluster made for demonstrations. Passwords and authenticator keys are random
in each world and lie in its state directory (0600), so that `bcl world people` can tell them.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from bcl_cli.world.places import Places
from bcl_contract import clock
from bcl_sim.pki import AGENCY_CODE, WorldPki, write_private

# Login name, name, roles. The first of each list is the administrator.
TOWN_PEOPLE = (
    ("admin-1", "管理　一子", ("TOWN_ADMIN",)),
    ("clerk-1", "担当　次郎", ("TOWN_CLERK",)),
    ("approver-1", "承認　三枝", ("TOWN_APPROVER",)),
    ("auditor-1", "監査　四郎", ("TOWN_AUDITOR",)),
)
AGENCY_PEOPLE = (
    ("agency-admin", "機構　五月", ("AGENCY_ADMIN",)),
    ("operator-1", "運用　六助", ("AGENCY_OPERATOR",)),
)


@dataclass(frozen=True)
class DemoPerson:
    """Somebody who can sign in to this world's staff pages."""

    municipality_code: str
    login_name: str
    roles_ja: str
    password: str
    totp_secret: str

    def code(self, *, ahead: int = 0) -> str:
        """The six digits of this half minute, or of the next one: each is good once."""
        return _code(self.totp_secret, time.time() + 30 * ahead)


def _code(secret: str, unix_time: float) -> str:
    # SHA-1 is what authenticator apps know (RFC 6238).
    totp = TOTP(base64.b32decode(secret), 6, SHA1(), 30)  # noqa: S303
    return totp.generate(int(unix_time)).decode()


def people_path(places: Places) -> Path:
    """Where the people of the world are written down."""
    return places.folder("console") / "people.json"


def read_people(places: Places) -> list[DemoPerson]:
    """The people of a world that was built; none without one."""
    path = people_path(places)
    if not path.is_file():
        return []
    return [DemoPerson(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def browser_key_path(places: Places, owner_code: str) -> Path:
    """The terminal's certificate and key as one file that a browser imports (no password)."""
    return places.folder("console") / f"terminal-{owner_code}.p12"


def register_people(places: Places, pki: WorldPki) -> None:
    """Register a terminal and enrol the people of every tenant; what is there stays."""
    people = read_people(places)
    for code in (*pki.municipalities, AGENCY_CODE):
        _register_terminal(places, pki, code)
        if any(one.municipality_code == code for one in people):
            continue
        people += _enrol_tenant(code, AGENCY_PEOPLE if code == AGENCY_CODE else TOWN_PEOPLE)
        rows = [asdict(one) for one in people]
        write_private(people_path(places), json.dumps(rows, ensure_ascii=False).encode())


def _register_terminal(places: Places, pki: WorldPki, code: str) -> None:
    from bcl.accounts import api as accounts
    from bcl.foundation import audit

    pem = pki.terminal(code).cert_path.read_bytes()
    accounts.register_terminal(
        owner_code=code,
        terminal_id=f"terminal-{code}",
        name_ja="機構の端末" if code == AGENCY_CODE else "窓口の端末",
        terminal_class=accounts.TerminalClass.LGWAN,
        cert_pem=pem,
        by=audit.SYSTEM,
        at=clock.now(),
    )
    key = serialization.load_pem_private_key(
        pki.terminal(code).key_path.read_bytes(), password=None
    )
    bundle = pkcs12.serialize_key_and_certificates(
        f"BCL {code}".encode(),
        key,  # type: ignore[arg-type]
        x509.load_pem_x509_certificate(pem),
        None,
        serialization.NoEncryption(),
    )
    write_private(browser_key_path(places, code), bundle)


def _enrol_tenant(code: str, wanted: tuple[tuple[str, str, tuple[str, ...]], ...]) -> list:
    from bcl.accounts import api as accounts
    from bcl.foundation import audit

    at, enrolled, administrator = clock.now(), [], None
    for login_name, name_ja, role_names in wanted:
        roles = [accounts.Role(name) for name in role_names]
        if administrator is None:
            invited = accounts.found_administrator(
                code, login_name, name_ja, by=audit.SYSTEM, at=at
            )
        else:
            invited = accounts.create_account(
                administrator, login_name=login_name, name_ja=name_ja, roles=roles, at=at
            )
        assert isinstance(invited, accounts.Invitation), invited  # noqa: S101
        person, principal = _enrol(code, invited, roles)
        administrator = administrator or principal
        enrolled.append(person)
    return enrolled


def _enrol(code: str, invited, roles):  # noqa: ANN001, ANN202 - accounts' types, imported late
    """Go through enrolment as the person would."""
    from bcl.accounts import api as accounts
    from bcl_contract.refusals import Refusal

    at, unix_time = clock.now(), time.time()
    (terminal,) = accounts.list_terminals(code)
    password = "-".join(secrets.token_hex(3) for _ in range(3))
    begun = accounts.begin_enrolment(terminal, invited.login_name, invited.enrolment_code, at=at)
    assert not isinstance(begun, Refusal), begun  # noqa: S101
    refused = accounts.choose_password(begun.principal, password, at=at)
    assert refused is None, refused  # noqa: S101
    person = DemoPerson(
        code,
        invited.login_name,
        "、".join(accounts.ROLE_NAMES_JA[role] for role in roles),
        password,
        accounts.offer_totp(begun.principal),
    )
    # The code before this one, so that the one on the screen still works right away.
    early = _code(person.totp_secret, unix_time - 30)
    whole = accounts.confirm_totp(terminal, begun, early, unix_time=unix_time, at=at)
    assert not isinstance(whole, Refusal), whole  # noqa: S101
    return person, whole.principal
