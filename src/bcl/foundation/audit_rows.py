"""The bytes of an audit row: what its hash in the log and its tag are made over.

The tag is a keyed digest with the town's own key. Whoever can write to the database but holds no
keys can neither change a row nor add one without the tag showing it, even before the row has its
place in the log. A fresh nonce in each tag keeps a true row from standing twice.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from bcl.foundation import audit_tree, keys
from bcl.foundation.keys import KeyFault, KeyPurpose
from bcl_contract.receipts import canonical_json

FORMAT = "bcl-audit-row-1"
AGENCY_LOG = "000000"
"""The agency's log: acts of its own staff, and acts that concern no single municipality."""
_NONCE_BYTES = 12
_MAC_BYTES = 16
_ROWS_AT_ONCE = 5_000
_PERSON = b"bcl-audit-row"
_COLUMNS = "id, act, actor_kind, actor_id, at, subject_digest, detail::text, row_tag"

Row = dict[str, Any]
"""One audit row as JSON: format, log, id, agency, act, actor_kind, actor_id, at (UTC, with
microseconds), subject (hex or None), detail, tag (hex or None)."""


def make_tag(
    municipality_code: str,
    *,
    act: str,
    actor_kind: str,
    actor_id: str,
    at: datetime,
    subject_digest: bytes | None,
    detail: dict[str, Any],
) -> bytes | None:
    """The tag of a row about to be written; None when the town's key can't be had now.

    Acts of an emergency must go through when the key device is away; the check of the log then
    names such rows, so that somebody looks at them.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    tagged = {
        "format": FORMAT,
        "log": municipality_code,
        "act": act,
        "actor_kind": actor_kind,
        "actor_id": actor_id,
        "at": _time(at),
        "subject": None if subject_digest is None else subject_digest.hex(),
        "detail": detail,
    }
    try:
        secret = keys.data_key(municipality_code, KeyPurpose.IDENTITY).secret
    except KeyFault:
        return None
    return nonce + _mac(secret, nonce, tagged)


def is_genuine(row: Row, secret: bytes) -> bool:
    """Whether the row's tag was made over exactly this row with the town's key."""
    tag = bytes.fromhex(row["tag"] or "")
    tagged = {name: row[name] for name in row.keys() - {"id", "agency", "tag"}}
    return len(tag) == _NONCE_BYTES + _MAC_BYTES and hmac.compare_digest(
        tag[_NONCE_BYTES:], _mac(secret, tag[:_NONCE_BYTES], tagged)
    )


def _mac(secret: bytes, nonce: bytes, tagged: Row) -> bytes:
    return hashlib.blake2b(
        canonical_json(tagged), digest_size=_MAC_BYTES, key=secret, salt=nonce, person=_PERSON
    ).digest()


def leaf_hash(row: Row) -> bytes:
    """The hash under which a row stands in the log."""
    return audit_tree.leaf_hash(canonical_json(row))


def read_rows(log: str, *, is_agency: bool, entry_ids: Sequence[int]) -> dict[int, Row]:
    """Rows by their ids, those that exist; inside the log's scope."""
    if not entry_ids:
        return {}
    # The names of tables and columns are ours, no part of it comes from outside.
    table = "foundation_agencyauditentry" if is_agency else "foundation_auditentry"
    columns = _COLUMNS
    town = "municipality_code = %s AND "
    if is_agency:
        columns = columns.replace("subject_digest", "NULL").replace("row_tag", "NULL")
        town = "%s IS NOT NULL AND "
    with connection.cursor() as db:
        db.execute(
            f"SELECT {columns} FROM {table} WHERE {town} id = ANY(%s)",  # noqa: S608
            [log, list(entry_ids)],
        )
        return {values[0]: _row(log, is_agency, values) for values in db.fetchall()}


def iter_leaves(log: str) -> Iterator[tuple[int, bytes, Row | int]]:
    """Leaf number, stored hash and the row, in order; where the row is gone, its id. Inside the
    log's scope."""
    low = -1
    while True:
        with connection.cursor() as db:
            db.execute(
                "SELECT leaf_number, leaf_hash, is_agency, entry_id FROM foundation_auditleaf"
                " WHERE municipality_code = %s AND leaf_number > %s ORDER BY leaf_number LIMIT %s",
                [log, low, _ROWS_AT_ONCE],
            )
            leaves = db.fetchall()
        if not leaves:
            return
        low = leaves[-1][0]
        rows: dict[tuple[bool, int], Row] = {}
        for is_agency in {agency for _, _, agency, _ in leaves}:
            ids = [entry for _, _, agency, entry in leaves if agency == is_agency]
            found = read_rows(log, is_agency=is_agency, entry_ids=ids)
            rows |= {(is_agency, entry): row for entry, row in found.items()}
        for number, stored, is_agency, entry in leaves:
            yield number, bytes(stored), rows.get((is_agency, entry), entry)


def iter_unnumbered(log: str) -> Iterator[tuple[Row, bool]]:
    """Rows without a leaf number, by id, and whether each waits for one; inside the scope."""
    for is_agency in (False, True) if log == AGENCY_LOG else (False,):
        table = "foundation_agencyauditentry" if is_agency else "foundation_auditentry"
        town = "true OR %s = ''" if is_agency else "e.municipality_code = %s"
        with connection.cursor() as db:
            db.execute(
                "SELECT e.id, p.entry_id IS NOT NULL"  # noqa: S608
                f" FROM {table} e"
                "  LEFT JOIN foundation_auditleaf l ON l.municipality_code = %s"
                "   AND l.is_agency = %s AND l.entry_id = e.id"
                "  LEFT JOIN foundation_auditpending p ON p.municipality_code = %s"
                "   AND p.is_agency = %s AND p.entry_id = e.id"
                f" WHERE l.entry_id IS NULL AND ({town}) ORDER BY e.id",
                [log, is_agency, log, is_agency, log],
            )
            waits = dict(db.fetchall())
        entry_ids = list(waits)
        for at in range(0, len(entry_ids), _ROWS_AT_ONCE):
            part = entry_ids[at : at + _ROWS_AT_ONCE]
            rows = read_rows(log, is_agency=is_agency, entry_ids=part)
            yield from ((rows[entry_id], waits[entry_id]) for entry_id in part)


def _row(log: str, is_agency: bool, values: Sequence[Any]) -> Row:
    entry_id, act, actor_kind, actor_id, at, subject, detail, tag = values
    return {
        "format": FORMAT,
        "log": log,
        "id": entry_id,
        "agency": is_agency,
        "act": act,
        "actor_kind": actor_kind,
        "actor_id": actor_id,
        "at": _time(at),
        "subject": None if subject is None else bytes(subject).hex(),
        "detail": json.loads(detail),
        "tag": None if tag is None else bytes(tag).hex(),
    }


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
