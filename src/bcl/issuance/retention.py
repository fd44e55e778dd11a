"""What issuing keeps no longer than it must, and how far it has read the store."""

from __future__ import annotations

import hashlib
from datetime import datetime

from bcl.foundation.retention import Deleted
from bcl.issuance.models import IssuableRecord, IssuanceTransaction, ProjectionPosition
from bcl.municipalities import api as municipalities
from bcl.municipalities.api import Profile

_RECORDS_A_ROW = 20
"""Issuable records are small: so many are deleted where one row of another class would be."""


class OldTransactions:
    """Transactions that ended before the cutoff; the audit row of each stays."""

    data_class = "issuance.transactions"

    def expired(self, municipality_code: str, cutoff: datetime) -> int:
        return IssuanceTransaction.objects.filter(
            municipality_code=municipality_code, ended_at__lt=cutoff
        ).count()

    def delete(self, municipality_code: str, cutoff: datetime, *, limit: int) -> Deleted:
        rows = list(
            IssuanceTransaction.objects.filter(
                municipality_code=municipality_code, ended_at__lt=cutoff
            )
            .order_by("pk")
            .values_list("pk", "transaction_number", "request_hash", "pdf_sha256")[:limit]
        )
        if not rows:
            return Deleted()
        total = hashlib.sha256(repr([row[1:] for row in rows]).encode())
        IssuanceTransaction.objects.filter(pk__in=[row[0] for row in rows]).delete()
        return Deleted(
            {"transactions": len(rows)}, rows[0][1], rows[-1][1], total.hexdigest()
        )


class DisabledProjection:
    """Issuable records of a town that ended its use for certificates before the cutoff (R-011)."""

    data_class = "issuance.disabled_projection"

    def expired(self, municipality_code: str, cutoff: datetime) -> int:
        if not _ended_before(municipality_code, cutoff):
            return 0
        return IssuableRecord.objects.filter(municipality_code=municipality_code).count()

    def delete(self, municipality_code: str, cutoff: datetime, *, limit: int) -> Deleted:
        if not _ended_before(municipality_code, cutoff):
            return Deleted()
        rows = list(
            IssuableRecord.objects.filter(municipality_code=municipality_code)
            .order_by("pk")
            .values_list("pk", "content")[: limit * _RECORDS_A_ROW]
        )
        if not rows:
            return Deleted()
        total = hashlib.sha256()
        for pk, content in rows:
            total.update(pk.to_bytes(8, "big") + hashlib.sha256(bytes(content)).digest())
        first, last = rows[0][0], rows[-1][0]
        IssuableRecord.objects.filter(
            municipality_code=municipality_code, pk__gte=first, pk__lte=last
        ).delete()
        ProjectionPosition.objects.filter(municipality_code=municipality_code).update(load_number=0)
        return Deleted({"records": len(rows)}, str(first), str(last), total.hexdigest())


def _ended_before(municipality_code: str, cutoff: datetime) -> bool:
    ended = municipalities.find_profile_use(municipality_code, Profile.CERTIFICATES).disabled_at
    return ended is not None and ended < cutoff


def _position(municipality_code: str) -> int | None:
    if not municipalities.is_profile_enabled(municipality_code, Profile.CERTIFICATES):
        return None
    row = ProjectionPosition.objects.filter(municipality_code=municipality_code).first()
    return None if row is None else row.load_number


RETENTION = [OldTransactions(), DisabledProjection()]
READERS = [_position]
