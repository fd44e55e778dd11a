"""The audit log as a file, and the proof of one row: what an auditor checks without BCL.

    audit_export.write(file, "999997", at=now)     # for bcl_contract/audit_verifier.py
    audit_export.prove("999997", 4711)

One JSON object a line: a header, every row with its number and hash, each head right after its
last row, and an end that says how many there were. Rows hold ids, codes, counts and keyed digests:
no name, no number of a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, BinaryIO

from bcl.foundation import audit_log, audit_rows, audit_tree, clock, tenancy
from bcl.foundation.audit_rows import Row
from bcl.foundation.models import AuditHead
from bcl_contract.receipts import canonical_json

FORMAT = "bcl-audit-export-1"
PROOF_FORMAT = "bcl-audit-proof-1"


def write(file: BinaryIO, log: str, *, at: datetime) -> tuple[int, int]:
    """Write a whole log as of one moment; gives the numbers of rows and heads."""
    with tenancy.scope(log, snapshot=True):
        newest = audit_log.latest_head(log)
        size = 0 if newest is None else newest.tree_size
        header = {
            "format": FORMAT,
            "log": log,
            "exported_at": at.astimezone(clock.JST).isoformat(timespec="seconds"),
            "tree_size": size,
        }
        file.write(canonical_json(header) + b"\n")
        heads = AuditHead.objects.order_by("number").iterator(chunk_size=1_000)
        head, rows, count = next(heads, None), 0, 0
        for number, stored, row in audit_rows.iter_leaves(log):
            file.write(canonical_json(_leaf(number, stored, row)) + b"\n")
            rows = number + 1
            while head is not None and head.tree_size <= rows:
                file.write(canonical_json({"head": audit_log.signed_head(head)}) + b"\n")
                head, count = next(heads, None), count + 1
        while head is not None:  # rows at the end are gone; the heads show it
            file.write(canonical_json({"head": audit_log.signed_head(head)}) + b"\n")
            head, count = next(heads, None), count + 1
        file.write(canonical_json({"end": {"rows": rows, "heads": count}}) + b"\n")
        return rows, count


def _leaf(number: int, stored: bytes, row: Row | int) -> dict[str, Any]:
    if isinstance(row, int):
        return {"leaf": number, "hash": stored.hex(), "row": None, "id": row}
    return {"leaf": number, "hash": stored.hex(), "row": row}


def prove(log: str, entry_id: int, *, is_agency: bool = False) -> dict[str, Any] | None:
    """That a row stands in the log: the row, its number, the path to the newest head (RFC 6962
    §2.1.1) and that head. None while it waits for its number or when there is none."""
    with tenancy.scope(log, snapshot=True):
        number = audit_log.find_leaf(log, entry_id, is_agency=is_agency)
        head = audit_log.latest_head(log)
        rows = audit_rows.read_rows(log, is_agency=is_agency, entry_ids=[entry_id])
        if number is None or head is None or entry_id not in rows:
            return None
        ranges = audit_tree.inclusion_ranges(number, head.tree_size)

        def leaves(low: int, high: int) -> Sequence[bytes]:
            return audit_log.leaf_hashes(log, low, high)

        return {
            "format": PROOF_FORMAT,
            "row": rows[entry_id],
            "leaf": number,
            "path": [each.hex() for each in audit_tree.roots_of(ranges, leaves)],
            "head": audit_log.signed_head(head),
        }
