"""What oversight keeps no longer than it must."""

from __future__ import annotations

import hashlib
from datetime import datetime

from django.db import connection

from bcl.foundation import crypto
from bcl.foundation.retention import Deleted
from bcl.oversight.models import LookStatement
from bcl.oversight.queries import STATEMENT_TABLE

_EMPTY_CELL_BYTES = 33
_OLD = (
    " FROM oversight_lookstatement WHERE municipality_code = %s AND requested_at < %s"
    " AND octet_length(sealed_person) > %s"
)


class OldStatements:
    """Whose statement it was; who asked, agreed and printed, and when, stays on record."""

    data_class = "oversight.statements"

    def expired(self, municipality_code: str, cutoff: datetime) -> int:
        with connection.cursor() as db:
            db.execute("SELECT count(*)" + _OLD, [municipality_code, cutoff, _EMPTY_CELL_BYTES])
            return int(db.fetchone()[0])

    def delete(self, municipality_code: str, cutoff: datetime, *, limit: int) -> Deleted:
        with connection.cursor() as db:
            db.execute(
                "SELECT id, token, sealed_person" + _OLD
                + " ORDER BY id LIMIT %s FOR NO KEY UPDATE",
                [municipality_code, cutoff, _EMPTY_CELL_BYTES, limit],
            )
            rows = db.fetchall()
        if not rows:
            return Deleted()
        total = hashlib.sha256()
        for key, token, sealed in rows:
            total.update(hashlib.sha256(bytes(sealed)).digest())
            emptied = crypto.seal_cell(
                municipality_code, STATEMENT_TABLE, "sealed_person", token, b""
            )
            LookStatement.objects.filter(pk=key).update(sealed_person=emptied)
        return Deleted(
            {"statements": len(rows)}, str(rows[0][0]), str(rows[-1][0]), total.hexdigest()
        )


RETENTION = [OldStatements()]
