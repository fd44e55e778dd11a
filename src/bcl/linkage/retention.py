"""What the intake keeps no longer than it must."""

from __future__ import annotations

import hashlib
from datetime import datetime

from bcl.foundation.retention import Deleted
from bcl.linkage.models import TransmissionFinding


class OldFindings:
    """Findings of transmissions received before the cutoff (places and rules, never values)."""

    data_class = "linkage.findings"

    def expired(self, municipality_code: str, cutoff: datetime) -> int:
        return TransmissionFinding.objects.filter(
            municipality_code=municipality_code, transmission__received_at__lt=cutoff
        ).count()

    def delete(self, municipality_code: str, cutoff: datetime, *, limit: int) -> Deleted:
        rows = list(
            TransmissionFinding.objects.filter(
                municipality_code=municipality_code, transmission__received_at__lt=cutoff
            )
            .order_by("pk")
            .values_list("pk", "transmission_id", "position", "code")[:limit]
        )
        if not rows:
            return Deleted()
        total = hashlib.sha256(repr([(str(row[1]), *row[2:]) for row in rows]).encode())
        TransmissionFinding.objects.filter(pk__in=[row[0] for row in rows]).delete()
        return Deleted(
            {"findings": len(rows)}, str(rows[0][0]), str(rows[-1][0]), total.hexdigest()
        )


RETENTION = [OldFindings()]
