"""What issuing keeps no longer than it must, and how far it has read the store."""

from __future__ import annotations

import hashlib
from datetime import datetime

from bcl.foundation.retention import Deleted
from bcl.issuance.models import IssuanceTransaction, ProjectionPosition


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


def _position(municipality_code: str) -> int | None:
    row = ProjectionPosition.objects.filter(municipality_code=municipality_code).first()
    return None if row is None else row.load_number


RETENTION = [OldTransactions()]
READERS = [_position]
