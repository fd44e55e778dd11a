"""A small town for issuing: a store in memory, a simulated JPKI, cards, requests.

The store is the resident store's door as issuing sees it (`changes_of_load`, `read_records` …), so
that every state of the data can be made by a line; `test_with_the_store.py` uses the real one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from bcl_contract.clock import JST, Clock, use
from bcl_contract.delivery_center import (
    ConfirmRequest,
    DeliveryStatus,
    InquireRequest,
    IssueRequest,
    KioskIdentity,
    Scope,
    UserAuthentication,
    challenge_for,
    new_number,
)
from bcl_sim.jpki.authority import Authority, Period, Purpose

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=JST)


@dataclass(frozen=True)
class Entry:
    file_id: str
    record_key: str
    old_record_id: int | None
    new_record_id: int | None
    person_key: int = 0
    household_key: int = 0
    old_household_key: int = 0


@dataclass(frozen=True)
class Position:
    load_number: int
    main_sequence: int
    urgent_sequence: int
    applied_at: datetime | None
    as_of: datetime | None
    gaps: tuple[tuple[str, int], ...] = ()


@dataclass
class StoreInMemory:
    """What issuing needs of the resident store, over plain dicts."""

    rows: dict[tuple[str, str], tuple[int, dict[str, str]]] = field(default_factory=dict)
    versions: dict[int, dict[str, str]] = field(default_factory=dict)
    loads: list[list[Entry]] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    images: dict[str, bytes] = field(default_factory=dict)
    gaps: tuple[tuple[str, int], ...] = ()
    applied_at: datetime = NOW - timedelta(hours=1)
    asked_columns: dict[str, set[str]] = field(default_factory=dict)

    def load(self, *changes: tuple[str, str, dict[str, str] | None]) -> int:
        """Apply one load of (file, key, columns or None for an ended record)."""
        entries = []
        for file_id, key, columns in changes:
            old = self.rows.pop((file_id, key), None)
            new_id = None
            if columns is not None:
                new_id = len(self.versions) + 1
                self.versions[new_id] = columns
                self.rows[file_id, key] = (new_id, columns)
            entries.append(Entry(file_id, key, old[0] if old else None, new_id))
        self.loads.append(entries)
        return len(self.loads)

    def applied_position(self, municipality_code: str) -> Position:
        count = len(self.loads)
        return Position(count, count, 0, self.applied_at, self.applied_at, self.gaps)

    def changes_of_load(
        self, municipality_code: str, load_number: int, file_ids: list[str] | None = None
    ) -> Iterator[Entry]:
        return (e for e in self.loads[load_number - 1] if not file_ids or e.file_id in file_ids)

    def read_records(
        self, municipality_code: str, record_ids: list[int], *, columns: tuple[str, ...] = ()
    ) -> dict[int, dict[str, str]]:
        result = {}
        for record_id in record_ids:
            row = self.versions[record_id]
            result[record_id] = {name: row.get(name, "") for name in columns}
        return result

    def is_household_held(self, municipality_code: str, household_number: str) -> bool:
        return household_number in self.held

    def read_seal_image(self, municipality_code: str, sha256: str) -> bytes | None:
        return self.images.get(sha256)

    def is_person_held(self, municipality_code: str, addressee_number: str) -> bool:
        return addressee_number in self.held


def person_row(addressee: str, household: str = "500", order: int = 1, **columns: str) -> dict:
    """A resident's newest row, complete enough for a certificate."""
    row = {
        "municipality_code": "999997",
        "addressee_number": addressee,
        "latest": "1",
        "household_number": household,
        "entry_order": str(order),
        "resident_kind": "1",
        "resident_state": "1",
        "resident_record_code": f"2{addressee.zfill(10)}",
        "full_name": f"甲野　{addressee}郎",
        "full_name_kana": "コウノ　タロウ",
        "full_name_kana_confirmation": "1",
        "sex_as_written": "男",
        "born_on": "1970-05-01",
        "born_on_unknown": "0",
        "relationship_code_1": "02" if order == 1 else "20",
        "relationship_as_written": "世帯主" if order == 1 else "子",
        "head_of_household_name": f"甲野　{household}太郎",
        "address_prefecture": "架空県",
        "address_municipality_name": "見本市",
        "address_town": "中央一丁目",
        "address_lot_as_written": "１番地２",
        "became_resident_on": "2001-04-01",
        "became_resident_on_unknown": "0",
        "address_established_on": "2015-09-13",
        "registered_domicile": "架空県見本市中央一丁目１番",
        "family_register_head": f"甲野　{household}太郎",
        "removed_record": "0",
        "change_pending": "0",
        "deleted": "0",
    }
    return row | columns


def link_row(addressee: str, issuer_key: str, serial: str, **columns: str) -> dict[str, str]:
    row = {
        "addressee_number": addressee,
        "digital_certificate_kind": "1",
        "serial_number": serial,
        "issuer_key": issuer_key,
        "valid_from_on": "2025-01-01",
        "expires_on": "2030-01-01",
        "link_status": "1",
        "deleted": "0",
    }
    return row | columns


@dataclass
class Card:
    """A card's key and certificate, held open."""

    key: ec.EllipticCurvePrivateKey
    cert_der: bytes
    serial: int

    def authentication(self, number: str, nonce: bytes = bytes(32)) -> UserAuthentication:
        challenge = challenge_for(number, nonce)
        signature = self.key.sign(challenge, ec.ECDSA(hashes.SHA256()))
        return UserAuthentication(cert=self.cert_der, challenge_nonce=nonce, signature=signature)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("jpki"))
    made.initialise(NOW - timedelta(days=400))
    made.ocsp_signer(NOW)
    return made


def new_card(
    authority: Authority,
    *,
    starts_at: datetime = NOW - timedelta(days=100),
    ends_at: datetime = NOW + timedelta(days=1000),
    purpose: Purpose = Purpose.USER_AUTH,
) -> Card:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = secrets.randbits(80) | 1 << 88
    cert = authority.issue_cert(
        serial, key.public_key(), Period(starts_at, ends_at), purpose=purpose
    )
    return Card(key, cert.public_bytes(Encoding.DER), serial)


@dataclass
class World:
    """One town, ready to issue."""

    code: str
    store: StoreInMemory
    authority: Authority
    cards: dict[str, Card] = field(default_factory=dict)

    def resident(self, addressee: str, **options: Any) -> Card:
        """Put a resident with a linked card into the store (one load), refreshed."""
        card = self.cards.setdefault(addressee, new_card(self.authority))
        self.load(
            ("J01", f"J01-{addressee}", person_row(addressee, **options)),
            ("J05", f"J05-{card.serial}", self.link(addressee, card)),
        )
        return card

    def link(self, addressee: str, card: Card, **columns: str) -> dict[str, str]:
        from bcl_contract.jpki import SIMULATED_ISSUER_KEY

        return link_row(addressee, SIMULATED_ISSUER_KEY, f"{card.serial:X}", **columns)

    def load(self, *changes: tuple[str, str, dict[str, str] | None], refresh: bool = True) -> None:
        from bcl.issuance import api

        self.store.load(*changes)
        if refresh:
            api.refresh_issuable_records(self.code)

    def change(self, addressee: str, **columns: str) -> None:
        """Send one resident's row again with other values."""
        row = self.store.rows["J01", f"J01-{addressee}"][1]
        self.load(("J01", f"J01-{addressee}", row | columns))

    def issue_request(
        self, card: Card, *, number: str | None = None, **fields: Any
    ) -> IssueRequest:
        number = number or new_number(NOW)
        base = {
            "message_id": new_number(NOW),
            "sent_at": NOW,
            "municipality_code": self.code,
            "transaction_number": number,
            "center_sequence": 1,
            "kiosk": KioskIdentity(vendor="demo", store="s1", terminal="t1"),
            "user_authentication": card.authentication(number),
            "requested_at": NOW,
            "deadline_at": NOW + timedelta(seconds=20),
            "certificate_kind": "RESIDENT_RECORD_COPY",
            "scope": Scope.ALL,
            "member_refs": (),
            "show": ("head", "domicile"),
            "tax_year": None,
            "copies": 1,
            "message": "issue",
        }
        return IssueRequest(**base | fields)

    def inquire_request(self, card: Card, *, number: str | None = None) -> InquireRequest:
        number = number or new_number(NOW)
        return InquireRequest(
            message="inquire",
            message_id=new_number(NOW),
            sent_at=NOW,
            municipality_code=self.code,
            transaction_number=number,
            center_sequence=1,
            kiosk=KioskIdentity(vendor="demo", store="s1", terminal="t1"),
            user_authentication=card.authentication(number),
            requested_at=NOW,
            deadline_at=NOW + timedelta(seconds=5),
        )

    def confirm_request(
        self, number: str, status: DeliveryStatus = DeliveryStatus.PRINTED, copies: int = 1
    ) -> ConfirmRequest:
        return ConfirmRequest(
            message_id=new_number(NOW),
            sent_at=NOW,
            municipality_code=self.code,
            transaction_number=number,
            status=status,
            printed_copies=copies if status is DeliveryStatus.PRINTED else 0,
            paid_yen=300 * copies,
            confirmed_at=NOW,
        )

    def issue(self, card: Card, **fields: Any) -> Any:
        from bcl.foundation.audit import Actor
        from bcl.issuance import api

        request = self.issue_request(card, **fields)
        return api.issue_certificate(request=request, by=Actor("center", "c1"), at=NOW)

    def transaction(self, number: str) -> Any:
        from bcl.foundation import tenancy
        from bcl.issuance import queries

        with tenancy.scope(self.code):
            return queries.find_transaction(self.code, number)

    def inner_code(self, number: str) -> str:
        from bcl.foundation import tenancy
        from bcl.issuance import queries

        with tenancy.scope(self.code):
            return queries.open_reason(queries.find_transaction(self.code, number))


@pytest.fixture
def at_noon() -> Iterator[datetime]:
    with use(Clock(fixed=NOW)):
        yield NOW


@pytest.fixture
def world(
    town: str, authority: Authority, monkeypatch: pytest.MonkeyPatch, at_noon: datetime
) -> World:
    """The default town with a store in memory, a registered seal and a good OCSP line."""
    from bcl.issuance import queries, records_of_kinds
    from bcl.issuance.actions import refresh

    store = StoreInMemory()
    monkeypatch.setattr(queries, "resident_store", store)
    monkeypatch.setattr(records_of_kinds, "resident_store", store)
    monkeypatch.setattr(refresh, "resident_store", store)
    connect_jpki(authority, monkeypatch)
    register_seal(town)
    return World(town, store, authority)


def connect_jpki(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.conf import settings

    from bcl.issuance.adapters import jpki
    from bcl_sim.jpki.ocsp_responder import OcspResponder

    responder = OcspResponder(authority)
    monkeypatch.setattr(jpki, "HttpOcsp", lambda url: responder.answer)
    files = replace(
        settings.BCL.issuance,
        jpki_roots_file=authority.trust_roots_path,
        jpki_ocsp_url="http://127.0.0.1:9/ocsp",
    )
    monkeypatch.setattr(settings, "BCL", replace(settings.BCL, issuance=files))


_seal: list[bytes] = []


def register_seal(code: str) -> None:
    from bcl.foundation.audit import SYSTEM
    from bcl.issuance import api

    if not _seal:
        _seal.append(api.draw_demo_seal("見本市長"))
    api.register_official_seal(
        municipality_code=code,
        image_png=_seal[0],
        side_mm=20.0,
        valid_from_on=date(2020, 1, 1),
        by=SYSTEM,
        at=NOW,
    )


def pdf_text(pdf: bytes) -> str:
    """Text of a PDF by poppler: neither our renderer nor our read-back."""
    import subprocess

    done = subprocess.run(
        ["pdftotext", "-raw", "-", "-"], input=pdf, capture_output=True, check=True
    )
    return done.stdout.decode()


@pytest.fixture
def set_town(town: str, at_noon: datetime) -> Any:
    """Put values into the town's issuing settings, in force since yesterday."""
    from bcl.foundation.audit import SYSTEM
    from bcl.municipalities import api as municipalities

    def put(*, effective_from: datetime = NOW - timedelta(days=1), **values: Any) -> None:
        municipalities.set_setting(
            town, "issuance", values, effective_from=effective_from, by=SYSTEM, at=NOW
        )

    return put


@pytest.fixture
def text_of() -> Any:
    return pdf_text


@pytest.fixture
def canonical() -> Any:
    return lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False)
