"""What needs a person's attention today, for the home page: only what their permissions concern."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from django.urls import reverse

from bcl.accounts import api as accounts
from bcl.availability import api as availability
from bcl.linkage import api as linkage
from bcl.municipalities import api as municipalities
from bcl.oversight import api as oversight
from bcl.recovery import api as recovery
from bcl.resident_store import api as store
from bcl_contract.refusals import Refusal

TERMINAL_WARNING = timedelta(days=30)
SERVICES = (
    ("証明書の交付", availability.Service.ISSUANCE),
    ("住民情報のバックアップ", availability.Service.BACKUP),
    ("リカバリデータの提供", availability.Service.RECOVERY),
)


@dataclass(frozen=True)
class Card:
    """One number with where to go about it; `asks` when any of them wants an act."""

    title_ja: str
    count: int
    text_ja: str
    url: str
    asks: bool = False

    @property
    def is_urgent(self) -> bool:
        """Whether somebody has to act now."""
        return self.asks and self.count > 0


@dataclass(frozen=True)
class ServiceState:
    """A service as it stands now: open, or the reason in words."""

    title_ja: str
    is_open: bool
    reason_ja: str = ""


def cards_for(principal: accounts.Principal, at: datetime) -> list[Card]:
    """The cards of this person's permissions, those that need an act first."""
    makers: tuple[tuple[str, Callable[[accounts.Principal, datetime], list[Card]]], ...] = (
        ("linkage.view", _linkage),
        ("recovery.view", _recovery),
        ("exports.approve", _exports_to_approve),
        ("exports.take", _exports_to_take),
        ("statements.approve", _statements),
        ("accounts.view", _accounts),
        ("audit.view", _slowed),
    )
    is_town = principal.municipality_code != accounts.AGENCY_CODE
    found = [
        card
        for permission, make in makers
        if permission in principal.permissions and (is_town or make in _ALSO_OF_THE_AGENCY)
        for card in make(principal, at)
    ]
    return sorted(found, key=lambda card: not card.is_urgent)


def _linkage(principal: accounts.Principal, at: datetime) -> list[Card]:
    code = principal.municipality_code
    status = linkage.get_status(code, at=at, recent=0)
    held = store.held_counts(code)
    listing = reverse("linkage")
    return [
        Card(
            "保留中の連携データ", status.held, "確かめて、承認か却下を決めます。",
            f"{listing}?state=HELD", asks=True,
        ),
        Card(
            "発行を止めている人", held["persons"], f"世帯では{held['households']}世帯です。",
            reverse("holds"), asks=True,
        ),
        Card(
            "解除の申し出", len(linkage.waiting_releases(code)), "別の承認者の確認を待っています。",
            reverse("holds"), asks=True,
        ),
        Card(
            "送り直しの依頼", len(linkage.list_resend_requests(code)), "届くと消えます。", listing,
        ),
    ]  # fmt: skip


def _recovery(principal: accounts.Principal, at: datetime) -> list[Card]:
    exports = recovery.list_exports(principal.municipality_code)
    waiting = sum(one.state == "REQUESTED" for one in exports)
    ready = sum(one.state == "BUILT" for one in exports)
    here = reverse("recovery")
    return [
        Card("承認待ちのリカバリ申請", waiting, "別の人が承認します。", here, asks=True),
        Card("受渡し待ちのリカバリデータ", ready, "期限までに受け取ります。", here, asks=True),
    ]


def _exports_to_approve(principal: accounts.Principal, at: datetime) -> list[Card]:
    waiting = oversight.count_waiting(principal.municipality_code, principal.permissions)
    return [
        Card(
            "承認待ちの持ち出し", waiting.exports_to_approve, "内容を確かめ、別の人が承認します。",
            reverse("exports"), asks=True,
        )
    ]  # fmt: skip


def _exports_to_take(principal: accounts.Principal, at: datetime) -> list[Card]:
    waiting = oversight.count_waiting(principal.municipality_code, principal.permissions)
    return [
        Card(
            "受取り待ちの持ち出し", waiting.exports_to_take, "期限を過ぎると消えます。",
            reverse("exports"), asks=True,
        )
    ]  # fmt: skip


def _statements(principal: accounts.Principal, at: datetime) -> list[Card]:
    waiting = oversight.count_waiting(principal.municipality_code, principal.permissions)
    return [
        Card(
            "承認待ちの回答書", waiting.statements_to_approve, "支援措置の対象者などのものです。",
            reverse("statements"), asks=True,
        )
    ]  # fmt: skip


def _slowed(principal: accounts.Principal, at: datetime) -> list[Card]:
    slowed = accounts.count_slowed(principal.municipality_code, at=at)
    return [
        Card(
            "短い時間に多くの住民を見た職員", slowed, "この24時間のものです。目的を確かめます。",
            reverse("audit"), asks=True,
        )
    ]  # fmt: skip


def _accounts(principal: accounts.Principal, at: datetime) -> list[Card]:
    found = accounts.list_accounts(principal.municipality_code)
    evidence = accounts.read_evidence(principal.municipality_code, at=at)
    here = reverse("accounts")
    manages = "accounts.manage" in principal.permissions
    counted = [
        Card(title, sum(one.status == status for one in found), text, f"{here}?state={status}")
        for title, status, text in (
            ("停止中の職員", "LOCKED", "理由を確かめ、よければ解除します。"),
            ("登録待ちの職員", "INVITED", "登録コードを渡してください。"),
        )
    ]
    limits = evidence.limits
    return counted + [
        Card(title, count, text, here, asks=manages)
        for title, count, text in (
            (
                f"{limits.dormant_days}日使われていない職員",
                evidence.dormant,
                "要らなければ廃止します。",
            ),
            ("有効期限の切れた職員", evidence.past_validity, "要らなければ廃止します。"),
            ("棚卸しの時期を過ぎた職員", evidence.not_reviewed, "開いて「確かめた」を押します。"),
        )
    ]


_ALSO_OF_THE_AGENCY = (_accounts, _exports_to_approve, _exports_to_take)


@dataclass(frozen=True)
class Intake:
    """How fresh the town's data is and how much waits; `age_hours` is None before the first."""

    landed_at: datetime | None
    age_hours: int | None
    queued: int
    held: int
    is_late: bool


def intake_for(principal: accounts.Principal, at: datetime) -> Intake | None:
    """Freshness and backlog of the own town, for whoever may see linkage."""
    code = principal.municipality_code
    if code == accounts.AGENCY_CODE or "linkage.view" not in principal.permissions:
        return None
    status = linkage.get_status(code, at=at, recent=0)
    seconds = status.seconds_since_landing
    return Intake(
        landed_at=status.last_landed_at,
        age_hours=None if seconds is None else seconds // 3600,
        queued=status.queued,
        held=status.held,
        is_late=bool(linkage.get_freshness(code, at=at).alarms),
    )


def terminal_days_left(cert_der: bytes, at: datetime) -> int | None:
    """Days until the certificate of the terminal in use ends; None while there is time."""
    left = x509.load_der_x509_certificate(cert_der).not_valid_after_utc - at
    return left.days if left < TERMINAL_WARNING else None


def notices_for(principal: accounts.Principal) -> list[municipalities.NoticeRecord]:
    """Open notices: of the own town, or of all towns for the agency."""
    if "linkage.view" not in principal.permissions:
        return []
    is_agency = principal.municipality_code == accounts.AGENCY_CODE
    return municipalities.open_notices(None if is_agency else principal.municipality_code)


def services_for(principal: accounts.Principal, at: datetime) -> list[ServiceState]:
    """The services of the own town at this moment; nothing for the agency, which has all towns."""
    if principal.municipality_code == accounts.AGENCY_CODE:
        return []
    found = []
    for title, service in SERVICES:
        verdict = availability.is_open(principal.municipality_code, service, at)
        is_closed = isinstance(verdict, Refusal)
        found.append(ServiceState(title, not is_closed, verdict.text.text_ja if is_closed else ""))
    return found
