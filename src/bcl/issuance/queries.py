"""Reads of issuing: everything a decision needs, out of one snapshot."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime

from django.db.models import Count, Q, QuerySet

from bcl.foundation import crypto, tenancy
from bcl.issuance import projection, records_of_kinds, subscription
from bcl.issuance.digests import BlindKeys
from bcl.issuance.models import (
    IssuableRecord,
    IssuanceBlock,
    IssuanceTransaction,
    OfficialSeal,
    ProjectionPosition,
)
from bcl.issuance.records import (
    RESIDENT,
    Certifier,
    HouseholdRecord,
    PersonRecord,
    SealRecord,
    TaxYearRecord,
)
from bcl.issuance.rules import Block, BlockScope, CardLink, Freshness
from bcl.issuance.settings import TownSettings, town_settings
from bcl.resident_store import api as resident_store

REASON_BYTES = 64
_SEAL_NUMBER = "seal_registration_number"


@dataclass(frozen=True, slots=True, repr=False)
class Issuable:
    """What the issuable records say about the holder of one card and the household."""

    links: tuple[CardLink, ...] = ()
    person: PersonRecord | None = None
    household: HouseholdRecord | None = None
    household_held: bool = False
    measured: frozenset[str] = field(default=frozenset())
    blocks: tuple[Block, ...] = ()
    seal: SealRecord | None = None
    seal_ambiguous: bool = False
    tax: TaxYearRecord | None = None


def card_key(municipality_code: str, issuer_key: str, serial_number: str) -> bytes:
    """Give the blind key under which a card's links and transactions are found."""
    return BlindKeys.of(municipality_code).card(issuer_key, serial_number)


def find_freshness(municipality_code: str) -> Freshness:
    """Compare the store's position with the issuable records'."""
    with tenancy.scope(municipality_code):
        applied = resident_store.applied_position(municipality_code)
        row = ProjectionPosition.objects.filter(municipality_code=municipality_code).first()
    return Freshness(
        store_load=applied.load_number,
        projection_load=row.load_number if row else 0,
        applied_at=applied.applied_at,
        has_gap=bool(applied.gaps),
    )


def find_issuable(
    municipality_code: str, card: bytes, *, tax_year: int | None = None, seal: bool = False
) -> Issuable:
    """Read links, person, household, measures and blocks for one card (step 5).

    `seal` brings the seal registration along, `tax_year` the assessment of that year.
    """
    blind = BlindKeys.of(municipality_code)
    records = IssuableRecord.objects.filter(municipality_code=municipality_code)
    links = tuple(
        _link(columns)
        for columns, _ in _open(
            municipality_code, records.filter(file_id=subscription.CARD_LINKS, lookup_key=card)
        )
    )
    addressees = {link.addressee_number for link in links}
    if len(addressees) != 1:
        return Issuable(links)
    person_key = blind.person(addressees.pop())
    residents = records.filter(file_id=subscription.RESIDENTS)
    own = _persons(municipality_code, residents.filter(person_key=person_key))
    if not own:
        return Issuable(links)
    household_key = blind.household(own[0]["household_number"])
    everybody = _persons(municipality_code, residents.filter(household_key=household_key))
    present = _present(everybody)
    version = max(p.version for p in everybody)
    keys = {blind.person(p.addressee_number): p.addressee_number for p in everybody}
    applicant = own[0].addressee_number
    registered, ambiguous = (
        records_of_kinds.find_seal(municipality_code, blind, applicant) if seal else (None, False)
    )
    return Issuable(
        links=links,
        person=own[0],
        household=HouseholdRecord(municipality_code, present, version),
        household_held=len(own) > 1
        or _is_inconsistent(present)
        or _is_held(municipality_code, own[0]["household_number"], everybody),
        measured=_measured(municipality_code, records, keys),
        blocks=_blocks(
            municipality_code,
            records,
            [blind.municipality(), *([blind.seal(registered[_SEAL_NUMBER])] if registered else [])],
            household_key,
            keys,
        ),
        seal=registered,
        seal_ambiguous=ambiguous,
        tax=records_of_kinds.find_tax_year(municipality_code, blind, applicant, tax_year)
        if tax_year is not None
        else None,
    )


def tax_year_of(municipality_code: str, issuable: Issuable, year: int) -> TaxYearRecord | None:
    """What was assessed for the holder of the card in a year; None when nobody is known."""
    if issuable.person is None:
        return None
    blind = BlindKeys.of(municipality_code)
    number = issuable.person.addressee_number
    return records_of_kinds.find_tax_year(municipality_code, blind, number, year)


def tax_years(municipality_code: str, *, at: datetime) -> tuple[int, ...]:
    """The tax years a town certifies at a moment, the newest first."""
    return town_settings(municipality_code, at).rules.tax_years(at.date())


def first_residents(municipality_code: str, limit: int) -> list[str]:
    """Numbers of the first rows that are residents' records."""
    rows = IssuableRecord.objects.filter(
        municipality_code=municipality_code, file_id=subscription.RESIDENTS
    )
    return [str(number) for number in rows.order_by("pk").values_list("pk", flat=True)[:limit]]


def household_of_row(municipality_code: str, number: int) -> HouseholdRecord | None:
    """The household of one resident's row as it would be printed; None when it could not be."""
    records = IssuableRecord.objects.filter(
        municipality_code=municipality_code, file_id=subscription.RESIDENTS
    )
    row = records.filter(pk=number).first()
    if row is None:
        return None
    everybody = _persons(municipality_code, records.filter(household_key=row.household_key))
    present = _present(everybody)
    if not present or _is_inconsistent(present):
        return None
    return HouseholdRecord(municipality_code, present, max(p.version for p in everybody))


def _present(everybody: Iterable[PersonRecord]) -> tuple[PersonRecord, ...]:
    """Those who live there now, in their order on the record."""
    return tuple(
        sorted(
            (p for p in everybody if p["resident_state"] == RESIDENT),
            key=lambda p: (p.entry_order, p.addressee_number),
        )
    )


def _is_held(
    municipality_code: str, household_number: str, everybody: Iterable[PersonRecord]
) -> bool:
    """Ask the store for held data (D7, D9): of the household, or of anybody who ever was in it.

    A row that could not be read may have been the one that protects somebody.
    """
    return resident_store.is_household_held(municipality_code, household_number) or any(
        resident_store.is_person_held(municipality_code, person.addressee_number)
        for person in everybody
    )


def _is_inconsistent(present: tuple[PersonRecord, ...]) -> bool:
    """Tell a household that names somebody twice or two heads: it must not be printed."""
    numbers = [p.addressee_number for p in present]
    heads = {p["head_of_household_name"] for p in present}
    return len(set(numbers)) != len(numbers) or len(heads) > 1


def _open(
    municipality_code: str, rows: Iterable[IssuableRecord]
) -> list[tuple[dict[str, str], IssuableRecord]]:
    opened = []
    for row in rows:
        columns = projection.open_row(
            municipality_code, row.file_id, row.record_key, row.load_number, row.content
        )
        opened.append((columns, row))
    return opened


def _persons(municipality_code: str, rows: Iterable[IssuableRecord]) -> list[PersonRecord]:
    return [
        PersonRecord(columns["addressee_number"], columns, row.load_number)
        for columns, row in _open(municipality_code, rows)
    ]


def _link(columns: dict[str, str]) -> CardLink:
    return CardLink(
        addressee_number=columns["addressee_number"],
        cert_kind=columns.get("digital_certificate_kind", ""),
        status=columns.get("link_status", ""),
        valid_from_on=_day(columns.get("valid_from_on")),
        expires_on=_day(columns.get("expires_on")),
    )


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _moment(text: str | None) -> datetime | None:
    """Read a time of J06; one without a zone or in another form counts as not given."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _measured(
    municipality_code: str, records: QuerySet[IssuableRecord], keys: dict[bytes, str]
) -> frozenset[str]:
    rows = records.filter(file_id=subscription.MEASURES, person_key__in=list(keys))
    return frozenset(keys[bytes(row.person_key)] for row in rows)


def _blocks(
    municipality_code: str,
    records: QuerySet[IssuableRecord],
    lookup_keys: list[bytes],
    household_key: bytes,
    keys: dict[bytes, str],
) -> tuple[Block, ...]:
    of_town = records.filter(file_id=subscription.BLOCKS).filter(
        Q(person_key__in=list(keys))
        | Q(household_key=household_key)
        | Q(lookup_key__in=lookup_keys)
    )
    by_town = [
        Block(
            scope=BlockScope(columns["block_scope"]),
            certificate_kind=columns.get("certificate_kind", ""),
            starts_at=_moment(columns.get("block_starts_at")),
            ends_at=_moment(columns.get("block_ends_at")),
            by_staff=False,
            addressee_number=columns.get("addressee_number", ""),
            tax_year=columns.get("tax_year", ""),
        )
        for columns, _ in _open(municipality_code, of_town)
    ]
    by_staff = [
        Block(
            scope=BlockScope(row.scope),
            certificate_kind=row.certificate_kind,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            by_staff=True,
            addressee_number=keys.get(bytes(row.person_key or b""), ""),
        )
        for row in IssuanceBlock.objects.filter(
            Q(person_key__in=list(keys)) | Q(household_key=household_key) | Q(scope="5"),
            municipality_code=municipality_code,
            lifted_at=None,
        )
    ]
    return tuple(by_staff + by_town)


@dataclass(frozen=True, slots=True)
class PlacedBlock:
    """A block that staff placed and nobody has lifted (発行禁止設定); names nobody."""

    number: int
    scope: BlockScope
    certificate_kind: str
    reason: str
    starts_at: datetime
    ends_at: datetime | None
    placed_at: datetime
    placed_by: str


def list_blocks(
    municipality_code: str, *, addressee_number: str = "", household_number: str = ""
) -> tuple[PlacedBlock, ...]:
    """The staff's blocks not yet lifted, the newest first; those on one person or household."""
    with tenancy.scope(municipality_code):
        rows = IssuanceBlock.objects.filter(municipality_code=municipality_code, lifted_at=None)
        blind = BlindKeys.of(municipality_code)
        if addressee_number:
            rows = rows.filter(person_key=blind.person(addressee_number))
        if household_number:
            rows = rows.filter(household_key=blind.household(household_number))
        return tuple(
            PlacedBlock(
                number=row.pk,
                scope=BlockScope(row.scope),
                certificate_kind=row.certificate_kind,
                reason=row.reason,
                starts_at=row.starts_at,
                ends_at=row.ends_at,
                placed_at=row.placed_at,
                placed_by=row.placed_by,
            )
            for row in rows.order_by("-placed_at", "-pk")
        )


def find_certifier(municipality_code: str, town: TownSettings, on: date) -> Certifier | None:
    """Give the mayor and the seal of a day; None while no seal is registered for it."""
    row = (
        OfficialSeal.objects.filter(
            Q(valid_until_on=None) | Q(valid_until_on__gt=on),
            municipality_code=municipality_code,
            valid_from_on__lte=on,
        )
        .order_by("-valid_from_on")
        .first()
    )
    if row is None or not town.mayor_name:
        return None
    image = crypto.open_cell(
        municipality_code, "issuance_officialseal", "image", row.sha256, bytes(row.image)
    )
    return Certifier(
        town.head_title, town.mayor_name, image, float(row.side_mm), dict(town.sentences)
    )


def find_transaction(municipality_code: str, transaction_number: str) -> IssuanceTransaction | None:
    """Find a transaction by the delivery center's number."""
    return IssuanceTransaction.objects.filter(
        municipality_code=municipality_code, transaction_number=transaction_number
    ).first()


def seal_transaction_cell(row: IssuanceTransaction, column: str, clear: bytes) -> bytes:
    """Seal a cell of a transaction, bound to its number."""
    return crypto.seal_cell(
        row.municipality_code,
        "issuance_issuancetransaction",
        column,
        row.transaction_number,
        clear,
    )


def open_reason(row: IssuanceTransaction) -> str:
    """Give the inner refusal code of a transaction to those who may know it; "" for none."""
    if row.reason is None:
        return ""
    clear = crypto.open_cell(
        row.municipality_code,
        "issuance_issuancetransaction",
        "reason",
        row.transaction_number,
        bytes(row.reason),
    )
    return clear.decode().rstrip()


def open_subject(row: IssuanceTransaction) -> dict[str, object]:
    """Give who asked and who was chosen: `applicant` and `selected` (addressee numbers)."""
    if row.subject is None:
        return {}
    clear = crypto.open_cell(
        row.municipality_code,
        "issuance_issuancetransaction",
        "subject",
        row.transaction_number,
        bytes(row.subject),
    )
    subject: dict[str, object] = json.loads(clear)
    return subject


def count_transactions(municipality_code: str) -> dict[str, int]:
    """Number of a town's transactions by state."""
    with tenancy.scope(municipality_code):
        rows = (
            IssuanceTransaction.objects.filter(municipality_code=municipality_code)
            .order_by()
            .values_list("state")
            .annotate(count=Count("pk"))
        )
        return dict(rows)
