"""The periodic review (棚卸し) as a file to keep: every account with its rights, signed (R-060).

The archive holds `accounts.csv` (UTF-8 with BOM) and `signature.json`: the agency's signature over
exactly the bytes of the CSV, with the public key to check it by.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from datetime import datetime

from bcl.accounts import queries
from bcl.accounts.queries import Account, Principal
from bcl.accounts.rules import ROLE_NAMES_JA, Role, limits_on
from bcl.foundation import agency_signing, audit, tenancy
from bcl_contract.clock import JST

CSV_NAME, SIGNATURE_NAME = "accounts.csv", "signature.json"
_HEADER = (
    "職員番号", "氏名", "状態", "状態の理由", "役割", "有効期限", "作成", "最終サインイン",
    "パスキーの数", "棚卸し", "棚卸しした人", "棚卸しの期限切れ",
)  # fmt: skip
# A spreadsheet takes a cell that begins like this for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def make_review_archive(principal: Principal, *, at: datetime) -> bytes:
    """The ZIP file; that it was taken is on record."""
    accounts = queries.list_accounts(principal.municipality_code)
    table = review_csv(accounts, at=at)
    signed = agency_signing.sign_bytes(table)
    note = {
        "file": CSV_NAME,
        "sha256": hashlib.sha256(table).hexdigest(),
        "municipality_code": principal.municipality_code,
        "made_at": at.isoformat(),
        "made_by": principal.login_name,
        "algorithm": "Ed25519",
        **signed._asdict(),
    }
    with tenancy.scope(principal.municipality_code):
        audit.record(
            act="take_account_review",
            by=principal.actor,
            at=at,
            detail={"accounts": len(accounts), "sha256": str(note["sha256"])},
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CSV_NAME, table)
        archive.writestr(SIGNATURE_NAME, json.dumps(note, ensure_ascii=False, indent=1))
    return packed.getvalue()


def review_csv(accounts: list[Account], *, at: datetime) -> bytes:
    """All accounts, one a line, with whether their review is overdue."""
    lines = io.StringIO()
    writer = csv.writer(lines, quoting=csv.QUOTE_ALL)
    writer.writerow(_HEADER)
    for one in accounts:
        writer.writerow([_harmless(cell) for cell in _cells(one, at)])
    return ("\ufeff" + lines.getvalue()).encode()


def is_review_due(account: Account, *, at: datetime) -> bool:
    """Whether nobody has looked at a living account for `review_days`."""
    if account.status == "CLOSED":
        return False
    days = (at - (account.reviewed_at or account.created_at)).days
    return days >= limits_on(at.date()).review_days


def _cells(one: Account, at: datetime) -> tuple[str, ...]:
    return (
        one.login_name,
        one.name_ja,
        one.status,
        one.status_reason,
        "、".join(ROLE_NAMES_JA[role] for role in Role if role in one.roles),
        "" if one.valid_until_on is None else one.valid_until_on.isoformat(),
        _time(one.created_at),
        _time(one.last_sign_in_at),
        str(one.passkeys),
        _time(one.reviewed_at),
        one.reviewed_by,
        "はい" if is_review_due(one, at=at) else "",
    )


def _time(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(JST).strftime("%Y-%m-%d %H:%M")


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
