"""The items a certificate may print: where each value comes from and how it is written.

The words of this list are what a kind's definition may use in its cells. Printed values are the
ones the town wrote (表記); codes only decide. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from bcl.issuance.kinds.layout import Layout
from bcl.issuance.records import PersonRecord, SealRecord, TaxYearRecord
from bcl_contract.values import InvalidValue, PartialDate, format_wareki_year


class Incomplete(Exception):
    """The record can't be printed truthfully (an unknown date without its text, a new code)."""


@dataclass(frozen=True, slots=True, repr=False)
class Subject:
    """Whom a cell speaks of, with the records the paper may draw on."""

    person: PersonRecord
    seal: SealRecord | None = None
    tax: TaxYearRecord | None = None


Writer = Callable[[Subject, Layout], str]


@dataclass(frozen=True, slots=True)
class Item:
    """One printed item; `mandatory`: the paper is not made without it."""

    write: Writer
    mandatory: bool = False


def _column(name: str) -> Writer:
    return lambda subject, layout: subject.person[name]


def _date(name: str, *, western_for_foreign: bool = False) -> Writer:
    def write(subject: Subject, layout: Layout) -> str:
        person = subject.person
        value = PartialDate.of_columns(
            person[name], person[f"{name}_unknown"], person[f"{name}_as_written"]
        )
        return value.written(western=western_for_foreign and person.is_foreign)

    return write


def address_of(prefix: str) -> Writer:
    """Join the parts of an address as the two ways of splitting it need (domain 3.3)."""
    parts = ("prefecture", "municipality_name", "town", "lot_as_written")
    overseas = ("country_name", "overseas_address")

    def write(subject: Subject, layout: Layout) -> str:
        person = subject.person
        text = "".join(person[f"{prefix}_{part}"] for part in parts + overseas)
        building = person[f"{prefix}_building"]
        return f"{text}　{building}" if text and building else text + building

    return write


def _full_name(subject: Subject, layout: Layout) -> str:
    person = subject.person
    if not person.is_foreign:
        return person["full_name"]
    # A name in Roman letters comes first; where there is none the kanji name is the name.
    return person["full_name_roman"] or person["full_name_kanji"] or person["full_name"]


def _confirmed_kana(subject: Subject, layout: Layout) -> str:
    # Only a confirmed kana is an item of the record (法7条1号の2).
    person = subject.person
    return person["full_name_kana"] if person["full_name_kana_confirmation"] == "1" else ""


def _article_30_45_kind(subject: Subject, layout: Layout) -> str:
    code = subject.person["article_30_45_kind"].lstrip("0")
    words = layout.words.get("article_30_45_kind", {})
    if code and code not in words:
        raise Incomplete("member.article_30_45_kind")
    return words.get(code, "")


def _residence_period(subject: Subject, layout: Layout) -> str:
    person = subject.person
    if person["residence_period_as_written"]:
        return person["residence_period_as_written"]
    units = (("years", "年"), ("months", "月"), ("days", "日"))
    amounts = ((person[f"residence_period_{unit}"].lstrip("0"), sign) for unit, sign in units)
    return "".join(f"{amount}{sign}" for amount, sign in amounts if amount)


def _residence_period_expires_on(subject: Subject, layout: Layout) -> str:
    day = PartialDate.of_columns(subject.person["residence_period_expires_on"], "", "")
    return day.written(western=True)


def _never(subject: Subject, layout: Layout) -> str:
    # The numbers are no part of the projection that issuing may read (R-065: off by default).
    raise Incomplete("member.individual_number")


def _of_seal(column: str) -> Writer:
    def write(subject: Subject, layout: Layout) -> str:
        if subject.seal is None:
            raise Incomplete(f"seal.{column}")
        return subject.seal[column]

    return write


def _tax(subject: Subject) -> TaxYearRecord:
    if subject.tax is None:
        raise Incomplete("tax.year")
    return subject.tax


def _tax_year(subject: Subject, layout: Layout) -> str:
    # A fiscal year is named by its first day: 2019 is 平成31年度.
    return f"{format_wareki_year(date(_tax(subject).year, 4, 1))}度"


def _income_year(subject: Subject, layout: Layout) -> str:
    # A tax year's assessment rests on the income of the calendar year before (domain 4.4).
    # It is named by its last day: 2019 is 令和元年分.
    return f"{format_wareki_year(date(_tax(subject).year - 1, 12, 31))}分"


def _of_payer(column: str) -> Writer:
    return lambda subject, layout: _tax(subject).payer.get(column, "")


def _taxation_kind(subject: Subject, layout: Layout) -> str:
    code = _tax(subject).assessment.get("taxation_kind", "")
    words = layout.words.get("taxation_kind", {})
    if code not in words:
        raise Incomplete("tax.taxation_kind")
    return words[code]


def written_amount(text: str) -> str:
    """Write yen with a comma every three digits; "" stays "". Raises ValueError for no number."""
    return f"{int(text):,}" if text else ""


def _amount(listing: str, code: str) -> Writer:
    return lambda subject, layout: written_amount(_tax(subject).amounts[listing].get(code, ""))


def _dependents(column: str) -> Writer:
    def write(subject: Subject, layout: Layout) -> str:
        count = _tax(subject).dependents.get(column, "")
        return "" if count in ("", "0") else str(int(count))

    return write


def _payment(place: str, column: str) -> Writer:
    def write(subject: Subject, layout: Layout) -> str:
        payments = _tax(subject).payments
        if int(place) > len(payments):
            return ""
        value = payments[int(place) - 1].get(column, "")
        if column == "collection_kind":
            words = layout.words.get("collection_kind", {})
            if value not in words:
                raise Incomplete("tax.payment")
            return words[value]
        if column == "term_number":
            return f"第{int(value)}期"
        if column.endswith("_on"):
            return PartialDate.of_columns(value, "", "").written() if value else ""
        return written_amount(value)

    return write


def _payment_total(column: str) -> Writer:
    def write(subject: Subject, layout: Layout) -> str:
        total = sum(int(payment.get(column) or 0) for payment in _tax(subject).payments)
        return f"{total:,}"

    return write


ITEMS: Mapping[str, Item] = {
    "member.full_name_kana": Item(_confirmed_kana),
    "member.full_name": Item(_full_name, mandatory=True),
    "member.full_name_kanji": Item(_column("full_name_kanji")),
    "member.former_surname": Item(_column("former_surname")),
    "member.alias": Item(_column("alias")),
    "member.born_on": Item(_date("born_on", western_for_foreign=True), mandatory=True),
    "member.sex": Item(_column("sex_as_written")),
    "member.address": Item(address_of("address"), mandatory=True),
    "member.relationship": Item(_column("relationship_as_written"), mandatory=True),
    "member.became_resident_on": Item(_date("became_resident_on"), mandatory=True),
    "member.became_foreign_resident_on": Item(_date("became_foreign_resident_on"), mandatory=True),
    "member.address_established_on": Item(_date("address_established_on")),
    "member.notified_on": Item(_date("address_established_notified_on")),
    "member.address_before_moving_in": Item(address_of("address_before_moving_in")),
    "member.address_before_relocation": Item(address_of("address_before_relocation")),
    "member.registered_domicile": Item(_column("registered_domicile")),
    "member.family_register_head": Item(_column("family_register_head")),
    "member.individual_number": Item(_never),
    "member.resident_record_code": Item(_column("resident_record_code")),
    "member.nationality": Item(_column("nationality_name"), mandatory=True),
    "member.article_30_45_kind": Item(_article_30_45_kind, mandatory=True),
    "member.residence_status": Item(_column("residence_status_name")),
    "member.residence_period": Item(_residence_period),
    "member.residence_period_expires_on": Item(_residence_period_expires_on),
    "member.residence_card_number": Item(_column("residence_card_number")),
    "member.remarks": Item(_column("resident_record_remarks")),
    "seal.former_surname": Item(_of_seal("former_surname")),
    "seal.alias": Item(_of_seal("alias")),
    "seal.full_name_kana_as_written": Item(_of_seal("full_name_kana_as_written")),
    "tax.year": Item(_tax_year, mandatory=True),
    "tax.income_year": Item(_income_year, mandatory=True),
    "tax.assessment_date_full_name": Item(_of_payer("assessment_date_full_name"), mandatory=True),
    "tax.assessment_date_address": Item(_of_payer("assessment_date_address"), mandatory=True),
    "tax.taxation_kind": Item(_taxation_kind, mandatory=True),
}

# Items with a code or a place in their name: tax.income.101, tax.payment.3.due_on.
_FAMILIES: Mapping[str, Callable[..., Writer]] = {
    "tax.income": lambda code: _amount("income", code),
    "tax.deduction": lambda code: _amount("deduction", code),
    "tax.amount": lambda code: _amount("amount", code),
    "tax.dependents": _dependents,
    "tax.payment": _payment,
    "tax.payment_total": _payment_total,
}


def item_of(name: str) -> Item:
    """The item of a cell's name. Raises KeyError for a name that is not in the list."""
    found = ITEMS.get(name)
    if found is not None:
        return found
    parts = name.split(".")
    return Item(_FAMILIES[".".join(parts[:2])](*parts[2:]))


def value_of(name: str, subject: Subject, layout: Layout) -> str:
    """Write one item as it is printed when shown; "" when there is none. Raises `Incomplete`."""
    try:
        return item_of(name).write(subject, layout)
    except (InvalidValue, ValueError):
        raise Incomplete(name) from None
