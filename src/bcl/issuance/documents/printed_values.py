"""Reading printed values back against the record, from tables of its own.

`items.py` writes; this says whether what was written is the record's, without asking `items.py`.
"""

from __future__ import annotations

from datetime import date

from bcl.issuance.documents.model import Text
from bcl.issuance.records import Marks, PersonRecord, Records, TaxYearRecord
from bcl_contract.values import ERAS

# Values that are printed exactly as they stand in one column (住民基本台帳法7条, 30条の45).
_AS_WRITTEN = {
    "member.sex": "sex_as_written",
    "member.relationship": "relationship_as_written",
    "member.registered_domicile": "registered_domicile",
    "member.family_register_head": "family_register_head",
    "member.nationality": "nationality_name",
    "member.residence_status": "residence_status_name",
    "member.residence_card_number": "residence_card_number",
    "member.remarks": "resident_record_remarks",
    "member.alias": "alias",
    "member.former_surname": "former_surname",
}
_DATES = {
    "member.born_on": "born_on",
    "member.became_resident_on": "became_resident_on",
    "member.became_foreign_resident_on": "became_foreign_resident_on",
    "member.address_established_on": "address_established_on",
    "member.notified_on": "address_established_notified_on",
    "member.residence_period_expires_on": "residence_period_expires_on",
}
_ADDRESSES = {
    "member.address": "address",
    "member.address_before_moving_in": "address_before_moving_in",
    "member.address_before_relocation": "address_before_relocation",
}
_NAMES = frozenset({"member.full_name", "member.full_name_kana"})
_SEAL_AS_WRITTEN = {
    "seal.former_surname": "former_surname",
    "seal.alias": "alias",
    "seal.full_name_kana_as_written": "full_name_kana_as_written",
}
_PAYER_AS_WRITTEN = {
    "tax.assessment_date_full_name": "assessment_date_full_name",
    "tax.assessment_date_address": "assessment_date_address",
}
# Amounts by list; the last part of the item's name is the code.
_AMOUNTS = {"tax.income": "income", "tax.deduction": "deduction", "tax.amount": "amount"}


def is_value_of_person(text: Text, person: PersonRecord, marks: Marks) -> bool:
    """Tell whether a printed value is the one the person's record holds."""
    value = "" if text.value == marks.empty else text.value
    if text.field in _AS_WRITTEN:
        return value == person[_AS_WRITTEN[text.field]]
    if text.field in _DATES:
        column = _DATES[text.field]
        if person[f"{column}_unknown"] == "1":
            return bool(value) and value == person[f"{column}_as_written"]
        day = parse_printed_date(value)
        return (day.isoformat() if day else value) == person[column]
    if text.field in _ADDRESSES:
        return is_address(value, person, _ADDRESSES[text.field])
    return text.field not in _NAMES or value == _name(text.field, person)


def _name(field: str, person: PersonRecord) -> str:
    if field == "member.full_name_kana":
        confirmed = person["full_name_kana_confirmation"] == "1"
        return person["full_name_kana"] if confirmed else ""
    columns = ("full_name_roman", "full_name_kanji", "full_name")
    names = [person[name] for name in columns] if person.is_foreign else [person["full_name"]]
    return next((name for name in names if name), "")


def is_value_of_records(text: Text, records: Records, marks: Marks) -> bool:
    """Tell whether a printed value of a seal or a tax year is the record's own."""
    value = "" if text.value == marks.empty else text.value
    seal, tax = records.seal, records.tax
    if text.field in _SEAL_AS_WRITTEN:
        return seal is not None and value == seal[_SEAL_AS_WRITTEN[text.field]]
    if tax is None:
        return False
    if text.field in _PAYER_AS_WRITTEN:
        return value == tax.payer.get(_PAYER_AS_WRITTEN[text.field], "")
    if text.field in ("tax.year", "tax.income_year"):
        income = text.field == "tax.income_year"
        day = parse_printed_date(f"{value[:-1]}{'12月31日' if income else '4月1日'}")
        return day is not None and day.year == tax.year - income
    return _is_amount_of(text.field, value, tax)


def _is_amount_of(field: str, value: str, tax: TaxYearRecord) -> bool:
    family, _, code = field.rpartition(".")
    if family in _AMOUNTS:
        raw = tax.amounts[_AMOUNTS[family]].get(code, "")
        return _number(value) == (int(raw) if raw else None)
    if family == "tax.dependents":
        return (_number(value) or 0) == int(tax.dependents.get(code) or 0)
    if family == "tax.payment_total":
        return _number(value) == sum(int(row.get(code) or 0) for row in tax.payments)
    if field.startswith("tax.payment."):
        return _is_payment(field, value, tax)
    # Words for codes are the definition's; the code itself must be there.
    return bool(value)


def _is_payment(field: str, value: str, tax: TaxYearRecord) -> bool:
    place, column = field.removeprefix("tax.payment.").split(".")
    if int(place) > len(tax.payments):
        return value == ""
    raw = tax.payments[int(place) - 1].get(column, "")
    if column.endswith("_on"):
        day = parse_printed_date(value)
        return (day.isoformat() if day else value) == raw
    if column == "term_number":
        return value == f"第{int(raw)}期"
    if column == "collection_kind":
        return bool(value)
    return _number(value) == (int(raw) if raw else None)


def _number(text: str) -> int | None:
    return int(text.replace(",", "")) if text else None


def is_address(value: str, person: PersonRecord, prefix: str = "address") -> bool:
    """Tell whether a printed address has all parts of the record's, in their order."""
    inland = ("prefecture", "municipality_name", "town", "lot_as_written")
    columns = (*inland, "country_name", "overseas_address", "building")
    parts = [person[f"{prefix}_{column}"] for column in columns]
    return value.replace("　", "") == "".join(parts).replace("　", "")


def parse_printed_date(text: str) -> date | None:
    """Read a printed date back (令和元年5月1日 or 1985年4月3日); None when it is none."""
    first_days = {name: first for first, _, name in ERAS}
    head, _, rest = text.partition("年")
    month, _, day = rest.partition("月")
    era = head[:2] if head[:2] in first_days else ""
    year = head[len(era) :].replace("元", "1")
    if not (year.isdigit() and month.isdigit() and day.endswith("日") and day[:-1].isdigit()):
        return None
    offset = first_days[era].year - 1 if era else 0
    try:
        return date(int(year) + offset, int(month), int(day[:-1]))
    except ValueError:
        return None
