"""Reading what only some kinds need out of the issuable records: seals and tax years."""

from __future__ import annotations

from collections.abc import Iterable

from bcl.foundation.crypto import SealFault
from bcl.issuance import projection, subscription
from bcl.issuance.digests import BlindKeys
from bcl.issuance.eligibility import SEAL_REGISTERED
from bcl.issuance.models import IssuableRecord
from bcl.issuance.records import SealRecord, TaxYearRecord
from bcl.resident_store import api as resident_store

_RESIDENT_TAX = "1"
Opened = tuple[dict[str, str], IssuableRecord]


def find_seal(
    municipality_code: str, blind: BlindKeys, addressee_number: str
) -> tuple[SealRecord | None, bool]:
    """The seal registration of one person, and whether there are two in force.

    Where none is in force the newest other one comes back, so that its state can say why.
    """
    rows = _open(
        municipality_code,
        IssuableRecord.objects.filter(
            municipality_code=municipality_code,
            file_id=subscription.SEALS,
            person_key=blind.person(addressee_number),
        ),
    )
    if not rows:
        return None, False
    in_force = [row for row in rows if row[0].get("seal_status") == SEAL_REGISTERED]
    columns, row = max(in_force or rows, key=lambda each: each[1].load_number)
    image, version = _image_of(municipality_code, blind, columns)
    png = None
    if image:
        try:
            png = resident_store.read_seal_image(municipality_code, image.get("image_sha256", ""))
        except SealFault:
            # Stored, but not the picture its digest names: as good as none.
            png = None
    return SealRecord(columns, image, png, max(row.load_number, version)), len(in_force) > 1


def _image_of(
    municipality_code: str, blind: BlindKeys, seal: dict[str, str]
) -> tuple[dict[str, str], int]:
    rows = _open(
        municipality_code,
        IssuableRecord.objects.filter(
            municipality_code=municipality_code,
            file_id=subscription.SEAL_IMAGES,
            lookup_key=blind.seal(seal.get("seal_registration_number", "")),
        ),
    )
    wanted = [row for row in rows if row[0]["seal_image_number"] == seal.get("seal_image_number")]
    # Two pictures under one number: nobody can say which is the registered one.
    if len(wanted) != 1:
        return {}, 0
    return wanted[0][0], wanted[0][1].load_number


def find_tax_year(
    municipality_code: str, blind: BlindKeys, addressee_number: str, tax_year: int
) -> TaxYearRecord | None:
    """What was assessed for one person in one tax year; None without exactly one payer's row."""
    rows = _open(
        municipality_code,
        IssuableRecord.objects.filter(
            municipality_code=municipality_code,
            file_id__in=subscription.TAXES,
            lookup_key=blind.tax_year(addressee_number, str(tax_year)),
        ),
    )
    by_file: dict[str, list[dict[str, str]]] = {name: [] for name in subscription.TAXES}
    for columns, row in rows:
        by_file[row.file_id].append(columns)
    payers, assessed = by_file[subscription.TAX_PAYERS], by_file[subscription.TAX_ASSESSMENTS]
    dependents = by_file[subscription.TAX_DEPENDENTS]
    if len(payers) != 1 or len(assessed) > 1 or len(dependents) > 1:
        return None
    return TaxYearRecord(
        year=tax_year,
        payer=payers[0],
        assessment=assessed[0] if assessed else {},
        amounts={
            listing: {row[code]: row.get("amount", "") for row in by_file[file_id]}
            for file_id, (listing, code) in subscription.TAX_LISTS.items()
        },
        dependents=dependents[0] if dependents else {},
        payments=_payments(by_file[subscription.TAX_PAYMENTS]),
        version=max(row.load_number for _, row in rows),
    )


def _payments(rows: list[dict[str, str]]) -> tuple[dict[str, str], ...]:
    of_tax = [row for row in rows if row.get("tax_kind") == _RESIDENT_TAX]
    return tuple(
        sorted(of_tax, key=lambda row: (row.get("collection_kind", ""), int(row["term_number"])))
    )


def _open(municipality_code: str, rows: Iterable[IssuableRecord]) -> list[Opened]:
    return [
        (
            projection.open_row(
                municipality_code, row.file_id, row.record_key, row.load_number, row.content
            ),
            row,
        )
        for row in rows
    ]
