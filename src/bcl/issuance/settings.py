"""Where issuing's files and addresses come from, and what a town has set for a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import settings

from bcl.issuance.kinds import KindDefinition, all_kinds
from bcl.issuance.records import Marks
from bcl.issuance.rules import TownRules
from bcl.municipalities import api as municipalities
from bcl_contract.jpki import TrustRoots

SERVICE = "ISSUANCE"
SETTING = "issuance"


class IssuanceNotConfiguredError(RuntimeError):
    """A file or address that issuing needs is not set; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class TownSettings:
    """One town's choices in force at a moment (証明発行設定)."""

    rules: TownRules
    marks: Marks
    fees_yen: dict[str, int]
    sentences: dict[str, str]
    head_title: str
    mayor_name: str

    def fee_yen(self, kind: str, copies: int) -> int:
        """Fee of all copies together; a paper of several pages is one copy (R-079)."""
        return self.fees_yen[kind] * copies


def font_path() -> Path | None:
    """The file of IPAmj明朝 (setting BCL_FONT_IPAMJ); None: where Debian puts it."""
    return settings.BCL.issuance.font_file


def guard_socket() -> Path | None:
    """Where the guard's process listens (setting BCL_GUARD_SOCKET); None: look in this process."""
    return settings.BCL.issuance.guard_socket


def is_production() -> bool:
    """Whether this installation serves real towns."""
    return bool(settings.BCL.environment == "production")


def ocsp_url() -> str:
    """Address of the OCSP responder of JPKI."""
    url = settings.BCL.issuance.jpki_ocsp_url
    if not url:
        raise IssuanceNotConfiguredError("BCL_JPKI_OCSP_URL が設定されていません。")
    return str(url)


def trust_roots() -> TrustRoots:
    """The JPKI authorities that are believed (PEM file, read once per process)."""
    path = settings.BCL.issuance.jpki_roots_file
    if path is None:
        raise IssuanceNotConfiguredError("BCL_JPKI_ROOTS_FILE が設定されていません。")
    return _read_roots(path)


def signing_key() -> Ed25519PrivateKey:
    """The key that BCL's answers to the delivery center are signed with."""
    path = settings.BCL.issuance.signing_key_file
    if path is None:
        raise IssuanceNotConfiguredError("BCL_ISSUANCE_SIGNING_KEY_FILE が設定されていません。")
    return _read_key(path)


@lru_cache(maxsize=4)
def _read_roots(path: Path) -> TrustRoots:
    return TrustRoots.from_pem(path.read_bytes())


@lru_cache(maxsize=4)
def _read_key(path: Path) -> Ed25519PrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise IssuanceNotConfiguredError("応答の署名鍵は Ed25519 にしてください。")
    return key


def town_settings(municipality_code: str, at: datetime) -> TownSettings:
    """Read what is in force at `at`; what the town has not set takes the product's default."""
    raw: dict[str, Any] = (
        municipalities.setting_at(municipality_code, SETTING, at, default=None) or {}
    )
    town = municipalities.get_municipality(municipality_code)
    kinds = all_kinds().on(at.date())
    marks = Marks(raw.get("omitted_mark", Marks().omitted), raw.get("empty_mark", Marks().empty))
    # While the head is away somebody else signs, under a title of their own (職務代理者).
    acting = raw.get("acting_head") or {}
    own_title = raw.get("head_title", full_head_title(town.name_ja, town.head_title_ja))
    return TownSettings(
        rules=_rules(raw, kinds),
        marks=marks,
        fees_yen={kind.code: kind.fee_yen for kind in kinds} | raw.get("fees_yen", {}),
        sentences=dict(raw.get("sentences", {})),
        head_title=str(acting.get("title", own_title)),
        mayor_name=str(acting.get("name", raw.get("mayor_name", town.mayor_name_ja))),
    )


def _rules(raw: dict[str, Any], kinds: tuple[KindDefinition, ...]) -> TownRules:
    plain = TownRules()
    known = frozenset(kind.code for kind in kinds)
    offered = frozenset(kind.code for kind in kinds if kind.offered)
    month, day = map(int, raw.get("tax_year_opens", "06-01").split("-"))
    return TownRules(
        kinds=frozenset(raw.get("kinds", offered)) & known,
        minimum_ages={kind: int(age) for kind, age in raw.get("minimum_ages", {}).items()},
        options=_options(raw, kinds),
        stale_after=timedelta(
            hours=float(raw.get("stale_after_hours", plain.stale_after.total_seconds() / 3600))
        ),
        copies_max=int(raw.get("copies_max", plain.copies_max)),
        until_moving_out=bool(raw.get("until_moving_out", plain.until_moving_out)),
        tax_year_opens=(month, day),
        tax_years_offered=int(raw.get("tax_years_offered", plain.tax_years_offered)),
    )


def _options(raw: dict[str, Any], kinds: tuple[KindDefinition, ...]) -> frozenset[str]:
    every = [option for kind in kinds for option in kind.options]
    # Numbers are never offered here: they need a recorded PIA first.
    allowed = {option.name for option in every if not option.needs_assessment}
    chosen = raw.get("options", [option.name for option in every if option.offered])
    return frozenset(chosen) & allowed


def full_head_title(name: str, title: str) -> str:
    """Join a town's name with the title of its head as it is printed (見本市 + 市長 → 見本市長).

    A title that holds the name already stays as it is: titles are data, not made by rule.
    """
    if title.startswith(name[:-1]):
        return title
    return name + (title[1:] if title[:1] == name[-1:] else title)
