"""What recovery keeps no longer than it must, and which old states it still needs."""

from __future__ import annotations

import hashlib
from datetime import datetime

from django.db import connection

from bcl.foundation import crypto
from bcl.foundation.retention import Deleted
from bcl.recovery.models import RecoveryExport
from bcl.recovery.rules import ExportState

_EMPTY_CELL_BYTES = 33
_OLD = (
    " FROM recovery_recoveryexport WHERE municipality_code = %s AND requested_at < %s"
    " AND state IN ('RELEASED', 'EXPIRED', 'FAILED') AND octet_length(sealed_reason) > %s"
)


class OldReasons:
    """The free text of old requests; who asked, approved and took, and when, stays on record."""

    data_class = "recovery.reasons"

    def expired(self, municipality_code: str, cutoff: datetime) -> int:
        with connection.cursor() as db:
            db.execute("SELECT count(*)" + _OLD, [municipality_code, cutoff, _EMPTY_CELL_BYTES])
            return int(db.fetchone()[0])

    def delete(self, municipality_code: str, cutoff: datetime, *, limit: int) -> Deleted:
        with connection.cursor() as db:
            db.execute(
                "SELECT id, request_signature, sealed_reason" + _OLD
                + " ORDER BY id LIMIT %s FOR NO KEY UPDATE",
                [municipality_code, cutoff, _EMPTY_CELL_BYTES, limit],
            )
            rows = db.fetchall()
        if not rows:
            return Deleted()
        total = hashlib.sha256()
        for key, signature, sealed in rows:
            total.update(hashlib.sha256(bytes(sealed)).digest())
            RecoveryExport.objects.filter(pk=key).update(
                sealed_reason=crypto.seal_cell(
                    municipality_code, "recovery_recoveryexport", "sealed_reason", signature, b""
                )
            )
        return Deleted(
            {"reasons": len(rows)}, str(rows[0][0]), str(rows[-1][0]), total.hexdigest()
        )


def _open_exports(municipality_code: str) -> int | None:
    """The oldest state that somebody has asked for and not yet got built."""
    rows = RecoveryExport.objects.filter(
        municipality_code=municipality_code,
        state__in=[ExportState.REQUESTED, ExportState.APPROVED],
    )
    return rows.order_by("load_number").values_list("load_number", flat=True).first()


RETENTION = [OldReasons()]
READERS = [_open_exports]
