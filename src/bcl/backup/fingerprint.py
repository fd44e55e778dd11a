"""The fingerprint of every municipality: what must be equal before and after a restore.

Everything of a municipality is opened (every page decrypted, every seal image) and digested in the
form in which it would be handed out: the digests are those of a recovery package's files. The
store keeps versions, so the source can say what it held at the load that a restored database ends
with, whatever has landed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import BinaryIO, cast

from django.db import Error as DatabaseError

from bcl.foundation import keys, tenancy
from bcl.foundation.key_provider import KeyFault
from bcl.issuance import api as issuance
from bcl.municipalities import api as municipalities
from bcl.resident_store import api as store
from bcl_contract.receipts import canonical_json

EMPTY = "EMPTY"
ERASED = "ERASED"
BROKEN = "BROKEN"
WHOLE = "WHOLE"


@dataclass(frozen=True)
class TownFingerprint:
    """`state`: WHOLE, EMPTY (nothing landed), ERASED (keys destroyed), BROKEN (can't be opened).

    `papers` names golden certificates by the row they start from: [version of the data, SHA-256].
    """

    municipality_code: str
    state: str
    load_number: int = 0
    records: int = 0
    digest: str = ""
    papers: Mapping[str, tuple[int, str]] | None = None

    def as_json(self) -> dict[str, object]:
        """Its form between processes."""
        return asdict(self)


class _Nowhere:
    """Takes what is written and keeps nothing."""

    def write(self, data: bytes) -> int:
        return len(data)


def of_every_town(
    *,
    at: datetime,
    loads: Mapping[str, int] | None = None,
    papers: Mapping[str, list[str]] | None = None,
) -> dict[str, TownFingerprint]:
    """Fingerprints of all municipalities, as of `loads` (the newest by default).

    `at` is the day on the golden certificates: the same on both sides.
    `papers`: the golden certificates to make, by municipality; chosen here by default.
    """
    codes = municipalities.list_municipality_codes() if loads is None else list(loads)
    return {
        code: of_town(
            code,
            at=at,
            load_number=None if loads is None else loads[code],
            papers=None if papers is None else papers.get(code, []),
        )
        for code in codes
    }


def of_town(
    municipality_code: str,
    *,
    at: datetime,
    load_number: int | None = None,
    papers: list[str] | None = None,
) -> TownFingerprint:
    """The fingerprint of one municipality, from one snapshot."""
    if keys.is_erased(municipality_code):
        return TownFingerprint(municipality_code, ERASED)
    with tenancy.scope(municipality_code, snapshot=True):
        chosen = load_number
        if chosen is None:
            chosen = store.applied_position(municipality_code).load_number
        if not chosen:
            return TownFingerprint(municipality_code, EMPTY)
        try:
            contents = store.write_recovery_zip(
                cast(BinaryIO, _Nowhere()), municipality_code, chosen
            )
            made = issuance.make_golden_papers(municipality_code, rows=papers, at=at)
        except (store.PageFault, KeyFault, DatabaseError, ValueError, LookupError):
            return TownFingerprint(municipality_code, BROKEN, chosen)
    listed = [[each.name, each.rows, each.bytes, each.sha256] for each in contents.files]
    return TownFingerprint(
        municipality_code,
        WHOLE,
        chosen,
        sum(each.rows for each in contents.files),
        hashlib.sha256(canonical_json({"files": listed})).hexdigest(),
        made,
    )
