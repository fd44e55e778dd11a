"""What a kind asks of its holder beyond what every kind asks: rules by name, for definitions.

A definition lists the names; each rule looks at the facts and gives a refusal or None. Pure.
Sources: domain 4.3, 4.4, 5.5; 印鑑登録証明事務処理要領; requirements R-067, R-068, R-076.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import TYPE_CHECKING

from bcl.issuance.records import PersonRecord, SealRecord, TaxYearRecord
from bcl_contract.refusals import Refusal

if TYPE_CHECKING:
    from bcl.issuance.rules import IssueFacts

SEAL_REGISTERED = "1"
SEAL_SUSPENDED = "4"
_NOT_TAXED = "3"
_UNREPORTED = "4"
_NONE = ("", "0")
_TOTAL_TAX = "399"
# A transparent picture can't be printed by PDF/A-1; PNG colour types with an alpha channel.
_ALPHA = (4, 6)

Rule = Callable[["IssueFacts"], Refusal | None]


def seal_is_registered(facts: IssueFacts) -> Refusal | None:
    """The one registration in force, with its imprint, under a name the person still has.

    Only the state of the registration decides: a person under adult guardianship may be
    registered (要領 of 2019), so no flag about that stops the paper (R-076).
    """
    seal = facts.seal
    if seal is None:
        return Refusal("ISSUE_SEAL_NOT_REGISTERED")
    if facts.seal_ambiguous:
        return Refusal("ISSUE_SEAL_AMBIGUOUS")
    if seal["seal_status"] != SEAL_REGISTERED:
        suspended = seal["seal_status"] == SEAL_SUSPENDED
        return Refusal("ISSUE_SEAL_SUSPENDED" if suspended else "ISSUE_SEAL_CANCELLED")
    if not _imprint_is_sound(seal):
        return Refusal("ISSUE_SEAL_IMAGE_WRONG")
    if facts.person is None or not _name_still_fits(seal, facts.person):
        return Refusal("ISSUE_SEAL_NAME_DIFFERS")
    return None


def _imprint_is_sound(seal: SealRecord) -> bool:
    if seal.png is None or not seal.image or len(seal.png) < 33 or seal.png[25] in _ALPHA:
        return False
    size = tuple(int.from_bytes(seal.png[at : at + 4], "big") for at in (16, 20))
    told = (seal.image.get("image_width_pixels"), seal.image.get("image_height_pixels"))
    return told == (str(size[0]), str(size[1]))


def _name_still_fits(seal: SealRecord, person: PersonRecord) -> bool:
    """Tell whether the registered name is one the record still holds (seal_end_reason 04)."""
    current = {
        "1": {person["full_name"], person["full_name_roman"], person["full_name_kanji"]},
        "2": {person["former_surname"]},
        "3": {person["alias"]},
        "4": {person["full_name_roman"]},
        "5": {person["full_name_kanji"]},
        "6": {seal["full_name_kana_as_written"]},
    }.get(seal["registered_name_kind"], set())
    # A former surname is registered with or without the given name behind it.
    registered = seal["registered_name"]
    if seal["registered_name_kind"] == "2":
        former = person["former_surname"]
        return bool(former) and registered.startswith(former) and seal["former_surname"] == former
    return bool(registered) and registered in current - {""}


def tax_year_is_offered(facts: IssueFacts) -> Refusal | None:
    """The town certifies this year now: not before its opening day, not after its last year."""
    year = facts.wish.options.tax_year
    if year is None or year not in facts.town.tax_years(facts.at.date()):
        return Refusal("ISSUE_TAX_YEAR_NOT_OFFERED")
    return None


def tax_is_certifiable(facts: IssueFacts) -> Refusal | None:
    """Assessed here, reported, not under revision, opened, and the sums agree (domain 4.4)."""
    tax = facts.tax
    if tax is None or not tax.assessment:
        return Refusal("ISSUE_TAX_NOT_ASSESSED")
    if tax.payer.get("taxed_elsewhere_kind", "") not in _NONE:
        return Refusal("ISSUE_TAX_ELSEWHERE")
    unreported = tax.payer.get("unreported_kind", "") not in _NONE
    if unreported or tax.assessment.get("taxation_kind") == _UNREPORTED:
        return Refusal("ISSUE_TAX_UNREPORTED")
    if tax.assessment.get("revision_in_progress", "") != "0":
        return Refusal("ISSUE_TAX_UNDER_REVISION")
    return _judge_opening(tax, facts.at.date()) or _judge_sums(tax)


def _judge_opening(tax: TaxYearRecord, today: date) -> Refusal | None:
    opens = tax.payer.get("certifiable_from_on", "")
    if tax.payer.get("certifiable") != "1":
        return Refusal("ISSUE_TAX_NOT_CERTIFIABLE")
    if opens and today < date.fromisoformat(opens):
        return Refusal("ISSUE_TAX_NOT_OPEN")
    return None


def _judge_sums(tax: TaxYearRecord) -> Refusal | None:
    """Half a year's rows must not be printed: the total of T05 is the annual tax of T02."""
    total = tax.amounts["amount"].get(_TOTAL_TAX)
    if total is None or total != tax.assessment.get("annual_tax_amount"):
        return Refusal("ISSUE_TAX_INCONSISTENT")
    return None


def tax_is_nil(facts: IssueFacts) -> Refusal | None:
    """Nothing was levied (非課税証明書)."""
    tax = facts.tax
    if tax is None or tax.assessment.get("taxation_kind") != _NOT_TAXED:
        return Refusal("ISSUE_TAX_NOT_EXEMPT")
    if int(tax.assessment.get("annual_tax_amount") or "0") != 0:
        return Refusal("ISSUE_TAX_INCONSISTENT")
    return None


def tax_has_payments(facts: IssueFacts) -> Refusal | None:
    """The town sends what was paid, and it adds up term by term (納税証明書)."""
    if facts.tax is None or not facts.tax.payments:
        return Refusal("ISSUE_TAX_NO_PAYMENTS")
    for row in facts.tax.payments:
        levied, paid, unpaid = (
            int(row.get(name) or "0") for name in ("levied_amount", "paid_amount", "unpaid_amount")
        )
        if levied != paid + unpaid:
            return Refusal("ISSUE_TAX_INCONSISTENT")
    return None


RULES: Mapping[str, Rule] = {
    "seal_is_registered": seal_is_registered,
    "tax_year_is_offered": tax_year_is_offered,
    "tax_is_certifiable": tax_is_certifiable,
    "tax_is_nil": tax_is_nil,
    "tax_has_payments": tax_has_payments,
}
