"""The audit log of each town: rows get leaf numbers, the tree's head is signed and leaves (D18).

    audit_log.seal_all(at=now)              # every minute, by the worker
    audit_log.seal("999997", at=now)

Writing an audit row takes no lock and knows nothing of this: a trigger of the database notes the
row as waiting, in the same transaction. Sealing takes what has been committed, so a row that
commits late gets a later number and is never missed. Rows stand in the log in the order in which
they were sealed. Each head names the digest of the former one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection

from bcl.foundation import agency_signing, audit_rows, audit_tree, clock, log, metrics, tenancy
from bcl.foundation.audit_outside import Head, HeadDirectory, OutsidePlace
from bcl.foundation.audit_rows import AGENCY_LOG
from bcl.foundation.audit_tree import Frontier
from bcl.foundation.models import AuditHead, AuditLeaf, ClusterInfo
from bcl_contract.receipts import canonical_json

FORMAT = "bcl-audit-head-1"
ROWS_AT_ONCE = 5_000
_LOCK = 0x42434C34

SEALED_ROWS = metrics.Counter("bcl_audit_sealed_rows_total", "Audit rows with a leaf number")
WAITING_ROWS = metrics.Gauge("bcl_audit_waiting_rows", "Audit rows that wait for a leaf number")
FAILED_LOGS = metrics.Gauge("bcl_audit_failed_logs", "Audit logs whose last sealing failed")

logger = log.get(__name__)


class AuditLogBroken(Exception):
    """What is stored of a log doesn't fit together: nothing is added to it until somebody looks."""


@dataclass(frozen=True)
class Waiting:
    """Rows of one log that have no leaf number yet."""

    log: str
    rows: int


def outside_place() -> HeadDirectory:
    """The outside place of the settings."""
    return HeadDirectory(settings.BCL.audit_heads_dir)


def seal_all(*, at: datetime | None = None, place: OutsidePlace | None = None) -> int:
    """Seal every log that has waiting rows, and hand out its heads; gives the number of rows.

    A log that can't be sealed is reported and doesn't stop the others.
    """
    waiting, sealed, failed = list_waiting(), 0, 0
    WAITING_ROWS.set(sum(each.rows for each in waiting))
    for each in waiting:
        try:
            while head := seal(each.log, at=at or clock.now()):
                sealed += head.content["tree_size"] - head.content["former_size"]
        except Exception:  # any fault: the other towns' logs go on
            failed += 1
            logger.exception("audit_log_not_sealed", municipality_code=each.log)
        try:
            hand_out(each.log, place or outside_place())
        except OSError:
            failed += 1
            logger.exception("audit_heads_not_handed_out", municipality_code=each.log)
    SEALED_ROWS.inc(sealed)
    FAILED_LOGS.set(failed)
    if failed:
        raise AuditLogBroken(f"{failed} audit logs could not be sealed or handed out")
    return sealed


def list_waiting() -> list[Waiting]:
    """Logs with rows that have no leaf number yet."""
    with connection.cursor() as db:
        db.execute(
            "SELECT municipality_code, count(*) FROM foundation_auditpending GROUP BY 1 ORDER BY 1"
        )
        return [Waiting(code, rows) for code, rows in db.fetchall()]


def seal(municipality_code: str, *, at: datetime) -> AuditHead | None:
    """Number the next waiting rows, up to `ROWS_AT_ONCE`, and sign the new head.

    One short transaction. None when nothing waits. Raises `AuditLogBroken` when the stored tree
    doesn't fit its own head: somebody has changed it.
    """
    with tenancy.scope(municipality_code):
        with connection.cursor() as db:  # one sealer a log
            db.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, int(municipality_code)])
        rows = _take_waiting(municipality_code)
        if not rows:
            return None
        last = latest_head(municipality_code)
        frontier = _frontier_of(last)
        leaves = []
        for row in rows:
            digest = audit_rows.leaf_hash(row)
            leaves.append(
                AuditLeaf(
                    municipality_code=municipality_code,
                    leaf_number=frontier.size,
                    is_agency=row["agency"],
                    entry_id=row["id"],
                    leaf_hash=digest,
                )
            )
            frontier.add(digest)
        AuditLeaf.objects.bulk_create(leaves, batch_size=1_000)
        return _add_head(municipality_code, last, frontier, at=at)


def _take_waiting(municipality_code: str) -> list[audit_rows.Row]:
    """The next rows by id. A row that is noted and gone was removed by force: its note stays, and
    the check of the log names it."""
    found = []
    with connection.cursor() as db:
        db.execute(
            "SELECT p.is_agency, p.entry_id FROM foundation_auditpending p"
            " WHERE p.municipality_code = %s AND CASE WHEN p.is_agency"
            "  THEN EXISTS (SELECT FROM foundation_agencyauditentry a WHERE a.id = p.entry_id)"
            "  ELSE EXISTS (SELECT FROM foundation_auditentry e WHERE e.id = p.entry_id) END"
            " ORDER BY 1, 2 LIMIT %s",
            [municipality_code, ROWS_AT_ONCE],
        )
        waiting = db.fetchall()
        for is_agency in (False, True):
            ids = [entry_id for agency, entry_id in waiting if agency == is_agency]
            rows = audit_rows.read_rows(municipality_code, is_agency=is_agency, entry_ids=ids)
            found += [rows[entry_id] for entry_id in ids if entry_id in rows]
            db.execute(
                "DELETE FROM foundation_auditpending"
                " WHERE municipality_code = %s AND is_agency = %s AND entry_id = ANY(%s)",
                [municipality_code, is_agency, list(rows)],
            )
    return found


def _frontier_of(last: AuditHead | None) -> Frontier:
    if last is None:
        return Frontier()
    try:
        frontier = Frontier.of(last.tree_size, bytes(last.frontier))
    except ValueError:
        raise AuditLogBroken("the stored frontier doesn't fit the head") from None
    fits = (
        last.content["tree_size"] == last.tree_size
        and frontier.root.hex() == last.content["root_sha256"]
        and digest_of(last.content) == last.sha256
    )
    if not fits:
        raise AuditLogBroken("the stored frontier doesn't fit the head")
    return frontier


def _add_head(
    municipality_code: str, last: AuditHead | None, frontier: Frontier, *, at: datetime
) -> AuditHead:
    content = {
        "format": FORMAT,
        "log": municipality_code,
        "number": 1 if last is None else last.number + 1,
        "epoch": ClusterInfo.objects.get().fencing_epoch,
        "former_size": 0 if last is None else last.tree_size,
        "former_sha256": "" if last is None else last.sha256,
        "tree_size": frontier.size,
        "root_sha256": frontier.root.hex(),
        "sealed_at": at.astimezone(clock.JST).isoformat(timespec="seconds"),
    }
    signed = agency_signing.sign(content)
    return AuditHead.objects.create(
        municipality_code=municipality_code,
        number=content["number"],
        tree_size=frontier.size,
        frontier=frontier.stored(),
        content=content,
        sha256=digest_of(content),
        key_id=signed.key_id,
        public_key=signed.public_key,
        signature=signed.signature,
    )


def digest_of(content: dict[str, Any]) -> str:
    """The digest by which the next head names this one."""
    return hashlib.sha256(canonical_json(content)).hexdigest()


def latest_head(municipality_code: str) -> AuditHead | None:
    """The newest head of a log; inside its scope."""
    return AuditHead.objects.order_by("-number").first()


def signed_head(row: AuditHead) -> Head:
    """A head as it is handed out."""
    return {
        "content": row.content,
        "key_id": row.key_id,
        "public_key": row.public_key,
        "signature": row.signature,
    }


def hand_out(municipality_code: str, place: OutsidePlace) -> int:
    """Hand every head that isn't there yet to the outside place, in order; gives their number.

    After a restore the database may be behind the outside place; its new heads carry a higher
    epoch and are added all the same, so that the loss stays visible outside.
    """
    last = place.last(municipality_code)
    known = (0, 0) if last is None else (last["content"]["epoch"], last["content"]["number"])
    with tenancy.scope(municipality_code):
        newer = AuditHead.objects.filter(
            municipality_code=municipality_code, content__epoch__gte=known[0]
        ).order_by("number")
        new = [
            signed_head(row) for row in newer
            if (row.content["epoch"], row.number) > known
        ]
    place.add(municipality_code, new)
    return len(new)


def find_leaf(municipality_code: str, entry_id: int, *, is_agency: bool = False) -> int | None:
    """The leaf number of a row; None while it waits or doesn't exist. Inside the scope."""
    row = AuditLeaf.objects.filter(is_agency=is_agency, entry_id=entry_id).first()
    return None if row is None else int(row.leaf_number)


def leaf_hashes(municipality_code: str, low: int, high: int) -> Sequence[bytes]:
    """Stored hashes of a range of leaves, in order; inside the scope."""
    with connection.cursor() as db:
        db.execute(
            "SELECT leaf_hash FROM foundation_auditleaf WHERE municipality_code = %s"
            " AND leaf_number >= %s AND leaf_number < %s ORDER BY leaf_number",
            [municipality_code, low, high],
        )
        return [bytes(each) for (each,) in db.fetchall()]


def consistency_proof(municipality_code: str, first: AuditHead, second: AuditHead) -> list[str]:
    """Hashes (hex) that prove the earlier head is the beginning of the later one (RFC 6962)."""
    known = Frontier.of(first.tree_size, bytes(first.frontier))
    ranges = audit_tree.consistency_ranges(first.tree_size, second.tree_size)

    def leaves(low: int, high: int) -> Sequence[bytes]:
        return leaf_hashes(municipality_code, low, high)

    return [each.hex() for each in audit_tree.roots_of(ranges, leaves, known=known)]


__all__ = [
    "AGENCY_LOG", "AuditLogBroken", "Waiting", "consistency_proof", "digest_of", "find_leaf",
    "hand_out", "latest_head", "leaf_hashes", "list_waiting", "outside_place", "seal", "seal_all",
    "signed_head",
]  # fmt: skip
