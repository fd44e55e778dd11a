"""The security self-report of a tenant: each item of the policy looked at now, with evidence.

What is looked at is the running system: rows, rights and keys, never a setting's good intention.
Titles and sources are data (`security_items.csv`). Source: R-168.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from django.db import connection

from bcl.accounts import api as accounts
from bcl.foundation import keys, malware, role_self_test, tenancy
from bcl.foundation.models import TownKey
from bcl.linkage import api as linkage
from bcl.municipalities import api as municipalities
from bcl.municipalities import retention_run
from bcl.oversight import api as oversight
from bcl.recovery import api as recovery
from bcl_contract import clock

KEY_AGE = timedelta(days=366)
_SHORTEST_PASSWORD = 12
_AUDIT_TABLES = ("foundation_auditentry", "foundation_agencyauditentry")
# Deleted at night: what became due since is no fault yet.
_NIGHTS = timedelta(days=2)
_MONTH = timedelta(days=31)


@dataclass(frozen=True)
class Finding:
    """One item: whether it holds (None: does not apply to this tenant), and what was seen."""

    code: str
    title_ja: str
    basis_ja: str
    how_ja: str
    holds: bool | None
    evidence_ja: str


Seen = tuple[bool | None, str]
NOT_HERE: Seen = (None, "この組織には当てはまりません。")


def make_report(municipality_code: str, *, at: datetime) -> list[Finding]:
    """Look at every item, in the order of the table."""
    evidence = accounts.read_evidence(municipality_code, at=at)
    is_town = municipality_code != accounts.AGENCY_CODE
    found = []
    for row in _items():
        code = row["code"]
        if code in _OF_ACCOUNTS:
            seen = _OF_ACCOUNTS[code](evidence)
        elif code in _OF_TOWNS:
            seen = _OF_TOWNS[code](municipality_code, at) if is_town else NOT_HERE
        else:
            seen = _OF_SYSTEM[code]()
        found.append(Finding(code, row["title_ja"], row["basis_ja"], row["how_ja"], *seen))
    return found


@lru_cache(maxsize=1)
def _items() -> list[dict[str, str]]:
    path = Path(__file__).with_name("security_items.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _none_of(count: int, what: str, of: accounts.AccountEvidence) -> Seen:
    return count == 0, f"有効なアカウント {of.active} のうち、{what} {count}。"


def _passwords(of: accounts.AccountEvidence) -> Seen:
    length = of.limits.password_minimum_length
    holds = of.weakly_hashed == 0 and length >= _SHORTEST_PASSWORD
    return holds, f"{length}文字以上。Argon2 でない保存 {of.weakly_hashed} 件。"


def _terminals(of: accounts.AccountEvidence) -> Seen:
    idle, hours = of.limits.idle_minutes, of.limits.absolute_hours
    words = f"登録端末 {of.terminals} 台。操作がないと{idle}分、続けても{hours}時間で終わります。"
    return of.terminals > 0, words


_OF_ACCOUNTS: dict[str, Callable[[accounts.AccountEvidence], Seen]] = {
    "TWO_FACTORS": lambda of: _none_of(of.without_second_factor, "二要素でないもの", of),
    "PASSWORDS": _passwords,
    "DORMANT": lambda of: _none_of(
        of.dormant, f"{of.limits.dormant_days}日以上使われていないもの", of
    ),
    "VALIDITY": lambda of: _none_of(of.past_validity, "期限の切れたもの", of),
    "REVIEW": lambda of: _none_of(
        of.not_reviewed, f"{of.limits.review_days}日以内に棚卸しのないもの", of
    ),
    "AUDITOR_APART": lambda of: _none_of(of.mixed_with_auditor, "監査とほかの役割を兼ねるもの", of),
    "TERMINALS": _terminals,
}


def _audit_kept() -> Seen:
    """Asked of the database itself, for the role that serves."""
    allowed = []
    with connection.cursor() as db:
        for table in _AUDIT_TABLES:
            for right in ("UPDATE", "DELETE", "TRUNCATE"):
                db.execute("SELECT has_table_privilege(%s, %s)", [table, right])
                allowed += [f"{table} {right}"] if db.fetchone()[0] else []
    return not allowed, "記録の表への変更・削除の権利 " + ("、".join(allowed) or "なし") + "。"


def _tenancy() -> Seen:
    complaints = role_self_test.find_complaints(connection)
    listed = "、".join(complaints) or "なし"
    return not complaints, f"行単位の分離の自己検査の指摘 {listed}。"


_OF_SYSTEM: dict[str, Callable[[], Seen]] = {"AUDIT_KEPT": _audit_kept, "TENANCY": _tenancy}


def _keys(code: str, at: datetime) -> Seen:
    if keys.is_erased(code):
        return None, "鍵は消去済みです。"
    with tenancy.scope(code):
        newest = TownKey.objects.filter(destroyed_at=None).order_by("-version").first()
    if newest is None:
        return False, "団体の鍵がありません。"
    made_on = newest.created_at.astimezone(clock.JST).date()
    words = f"団体の鍵 第{newest.version}版、{made_on.isoformat()} に作成。"
    return at - newest.created_at <= KEY_AGE, words


def _take_out(code: str, at: datetime) -> Seen:
    exports = recovery.list_exports(code, newest=1000)
    taken = [one for one in exports if one.released_at is not None]
    alone = [one for one in taken if one.approved_by in ("", one.requested_by)]
    late = [
        one
        for one in exports
        if one.expires_at < at - _NIGHTS and recovery.package_path(one).exists()
    ]
    files = oversight.list_exports(code, newest=1000)
    taken_files = [one for one in files if one.takes]
    alone_files = [one for one in taken_files if one.approved_by in ("", one.requested_by)]
    late_files = [
        one for one in files
        if one.expires_at < at - _NIGHTS and one.built_at is not None and one.deleted_at is None
    ]  # fmt: skip
    words = (
        f"受け渡したもの リカバリデータ {len(taken)} 件・持ち出し {len(taken_files)} 件、"
        f"二人の承認のないもの {len(alone) + len(alone_files)} 件、"
        f"期限を過ぎて残っているもの {len(late) + len(late_files)} 件。"
    )
    return not (alone or alone_files or late or late_files), words


def _retention(code: str, at: datetime) -> Seen:
    overdue = {
        each.period.label_ja: each.expired
        for each in retention_run.report(code, at=at - _NIGHTS)
        if each.expired
    }
    listed = "、".join(f"{label} {count:,} 件" for label, count in overdue.items())
    return not overdue, f"期間を過ぎて残っているもの {listed or 'なし'}。"


def _gateway(code: str, at: datetime) -> Seen:
    count = len(municipalities.list_gateways(code))
    freshness = linkage.get_freshness(code, at=at)
    last = "まだ連絡なし"
    if freshness.seen_at is not None:
        last = f"最後の連絡 {freshness.seen_at.astimezone(clock.JST):%Y-%m-%d %H:%M}"
    alarms = "、".join(sorted(freshness.alarms)) or "なし"
    return count > 0 and not freshness.alarms, f"登録 {count} 台。{last}。警報 {alarms}。"


def _malware(code: str, at: datetime) -> Seen:
    engine = malware.look_at_engine()
    unchecked = linkage.count_unchecked(code, since=at - _MONTH)
    if not engine.is_set_up:
        words = "検査ソフトが設定されていません。"
    elif not engine.answers:
        words = "検査ソフトが応答しません。"
    else:
        made = engine.definitions_at
        of_when = f"{made:%Y-%m-%d}" if made is not None else "不明"
        words = f"{engine.version}、定義の日付 {of_when}。"
    words += f"31日以内に届いた未検査の連携データ {unchecked} 件。"
    return engine.is_current(at) and unchecked == 0, words


_OF_TOWNS: dict[str, Callable[[str, datetime], Seen]] = {
    "KEYS": _keys,
    "TAKE_OUT": _take_out,
    "RETENTION": _retention,
    "GATEWAY": _gateway,
    "MALWARE": _malware,
}
