"""Value types: check digits, masks, dates with unknown parts."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcl_contract.values import (
    AddresseeNumber,
    CertificateKind,
    HouseholdNumber,
    IndividualNumber,
    InvalidValue,
    MunicipalityCode,
    PartialDate,
    ResidentRecordCode,
    SerialNumber,
    era_of,
    format_wareki,
    individual_number_check_digit,
    municipality_check_digit,
    resident_record_check_digit,
)


@pytest.mark.parametrize(
    "code",
    "010006 011002 131016 141003 271004 432024 092011 472018 999997 999989 999971".split(),
)
def test_municipality_code__published_and_invented_codes__are_accepted(code):
    assert str(MunicipalityCode(code)) == code
    assert municipality_check_digit(code[:5]) == code[5]


@pytest.mark.parametrize(
    ("first", "last"),
    [("12345678901", "8"), ("62149832025", "7"), ("98320567321", "4"), ("37947448445", "8")],
)
def test_individual_number_check_digit__published_vectors__agree(first, last):
    assert individual_number_check_digit(first) == last
    assert IndividualNumber(first + last).text == first + last


def test_resident_record_code__public_sample__agrees_and_a_mismatch_is_no_error():
    assert resident_record_check_digit("2472705960") == "8"
    assert ResidentRecordCode("24727059608").check_digit_agrees
    assert not ResidentRecordCode("24727059607").check_digit_agrees


@given(st.integers(0, 99_999), st.integers(1, 9))
def test_municipality_code__any_other_last_digit__is_refused(first, shift):
    head = f"{first:05}"
    good = municipality_check_digit(head)
    with pytest.raises(InvalidValue):
        MunicipalityCode(head + str((int(good) + shift) % 10))


@given(st.integers(0, 10**11 - 1), st.integers(0, 10), st.integers(1, 9))
def test_individual_number__one_digit_mistyped__is_found_or_both_rest_small(first, place, shift):
    """The rule folds rests 0 and 1 into one digit: only that pair may go unseen."""
    head = f"{first:011}"
    other = list(head)
    other[place] = str((int(other[place]) + shift) % 10)
    same = individual_number_check_digit(head) == individual_number_check_digit("".join(other))
    assert not same or individual_number_check_digit(head) == "0"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (AddresseeNumber, ""),
        (AddresseeNumber, "1" * 16),
        (AddresseeNumber, "１２３"),
        (HouseholdNumber, "12a"),
        (IndividualNumber, "123456789017"),
        (IndividualNumber, "12345678901"),
        (ResidentRecordCode, "123"),
        (SerialNumber, "0A"),
        (SerialNumber, "ab"),
        (SerialNumber, "A" * 41),
        (MunicipalityCode, "99999"),
    ],
)
def test_values__malformed_text__raises_without_repeating_it(kind, text):
    with pytest.raises(InvalidValue) as caught:
        kind.parse(text)
    assert not text or text not in str(caught.value)


@pytest.mark.requirement("R-010")
@pytest.mark.parametrize(
    "value",
    [
        AddresseeNumber("000000000123456"),
        HouseholdNumber("000000000123456"),
        IndividualNumber("123456789018"),
        ResidentRecordCode("24727059608"),
        SerialNumber("1A2B3C4D5E"),
    ],
)
def test_values__shown__are_masked(value):
    for shown in (repr(value), str(value), f"{value}", repr([value])):
        assert value.text not in shown
        assert value.text[:-4] not in shown
    if isinstance(value, IndividualNumber | ResidentRecordCode):
        assert value.text[-2:] not in repr(value)


def test_values__leading_zeros__make_another_value():
    assert AddresseeNumber("01") != AddresseeNumber("1")
    assert AddresseeNumber("1") != HouseholdNumber("1")


@pytest.mark.parametrize(
    ("day", "written"),
    [
        (date(2026, 11, 22), "令和8年11月22日"),
        (date(2019, 5, 1), "令和元年5月1日"),
        (date(2019, 4, 30), "平成31年4月30日"),
        (date(1989, 1, 8), "平成元年1月8日"),
        (date(1989, 1, 7), "昭和64年1月7日"),
        (date(1926, 12, 25), "昭和元年12月25日"),
        (date(1926, 12, 24), "大正15年12月24日"),
        (date(1912, 7, 30), "大正元年7月30日"),
        (date(1912, 7, 29), "明治45年7月29日"),
    ],
)
def test_format_wareki__days_around_the_borders_of_eras__are_right(day, written):
    assert format_wareki(day) == written


def test_era_of__before_meiji__is_refused():
    with pytest.raises(InvalidValue):
        era_of(date(1867, 1, 1))


def test_partial_date__unknown__is_written_as_it_was_written():
    known = PartialDate.of_columns("1990-04-01", "0", None)
    assert known.written() == "平成2年4月1日"
    assert known.written(western=True) == "1990年4月1日"
    unknown = PartialDate.of_columns("1935-01-01", "1", "昭和10年月日不詳")
    assert unknown.written() == "昭和10年月日不詳"
    assert "昭和" not in repr(unknown)
    assert PartialDate.of_columns(None, "0", None).written() == ""
    with pytest.raises(InvalidValue):
        PartialDate.of_columns("1935-01-01", "1", "").written()
    with pytest.raises(InvalidValue):
        PartialDate.of_columns("1935-02-30", "0", "")


def test_serial_number__of_an_integer__has_no_leading_zero():
    assert SerialNumber.of_integer(0x0A1B).text == "A1B"
    with pytest.raises(InvalidValue):
        SerialNumber.of_integer(0)


def test_certificate_kind__labels__exist_for_all():
    assert [kind.label_ja for kind in CertificateKind] == [
        "住民票の写し", "印鑑登録証明書", "税証明書",
    ]  # fmt: skip
