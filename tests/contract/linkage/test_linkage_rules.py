"""Every seeded defect of a row is found: file, line, column, rule, and never the value."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcl_contract.refusals import REFUSALS

# (file, column, broken value, rule, severity). The defect stands on line 4, behind two good rows.
DEFECTS = [
    ("J01", "full_name", "", "REQUIRED", "row"),
    ("J01", "entry_order", "", "REQUIRED_WHEN", "row"),
    ("J01", "resident_record_code", "", "EXPECTED_WHEN", "warning"),
    ("J01", "registered_domicile", "", "EXPECTED_WHEN", "warning"),
    ("J01", "sex_as_written", "", "EXPECTED_WHEN", "warning"),
    ("J01", "became_resident_on", "", "REQUIRED_WHEN", "row"),
    ("J01", "household_number", "12３4", "TYPE_DIGITS", "row"),
    ("J01", "addressee_number", "0000000000000001", "LENGTH", "row"),
    ("J01", "operator_id", "担当1", "TYPE_ASCII", "row"),
    ("J01", "full_name_kana", "ｺｳﾉ", "TYPE_KATAKANA", "row"),
    ("J01", "full_name_kana", "こうの", "TYPE_KATAKANA", "row"),
    ("J01", "full_name_kana", "コウノ タロウ", "TYPE_KATAKANA", "row"),
    ("J01", "full_name_kana", "コウノ１", "TYPE_KATAKANA", "row"),
    ("J01", "full_name", "字" * 101, "LENGTH", "row"),
    ("J01", "address_prefecture", "架空架空県", "LENGTH", "row"),
    ("J01", "address_postal_code", "999999", "LENGTH_FIXED", "row"),
    ("J01", "address_municipality_code", "01000", "LENGTH_FIXED", "row"),
    ("J01", "address_municipality_code", "999996", "CHECK_DIGIT", "row"),
    ("J01", "resident_record_code", "24727059607", "CHECK_DIGIT_DOUBTFUL", "warning"),
    ("J07", "individual_number", "123456789017", "CHECK_DIGIT", "row"),
    ("J07", "individual_number", "12345678901", "LENGTH_FIXED", "row"),
    ("J01", "municipality_code", "999989", "MUNICIPALITY", "fatal"),
    ("J01", "born_on", "2023-02-29", "TYPE_DATE", "row"),
    ("J01", "born_on", "1900-02-29", "TYPE_DATE", "row"),
    ("J01", "born_on", "1980-13-01", "TYPE_DATE", "row"),
    ("J01", "born_on", "1980-04-31", "TYPE_DATE", "row"),
    ("J01", "born_on", "1980-1-1", "TYPE_DATE", "row"),
    ("J01", "born_on", "1980/01/01", "TYPE_DATE", "row"),
    ("J01", "born_on", "0000-00-00", "DATE_PLACEHOLDER", "row"),
    ("J01", "changed_on", "9999-99-99", "DATE_PLACEHOLDER", "row"),
    ("J01", "born_on", "1900-01-01", "DATE_PROVISIONAL", "warning"),
    ("J01", "born_on", "2026-11-23", "V08", "household"),
    ("J01", "operated_time", "24:00:00", "TYPE_TIME", "row"),
    ("J01", "operated_time", "1:02:03", "TYPE_TIME", "row"),
    ("J01", "latest", "9", "TYPE_FLAG", "row"),
    ("J01", "deleted", "はい", "TYPE_FLAG", "row"),
    ("J01", "resident_kind", "3", "CODE_CLOSED", "row"),
    ("J01", "sex", "7", "CODE_CLOSED", "row"),
    ("J01", "change_reason", "77", "CODE_UNKNOWN", "warning"),
    ("J01", "relationship_code_1", "2", "CODE_UNKNOWN", "warning"),
    ("J01", "removed_record", "1", "V06", "household"),
    ("J01", "nationality_name", "米国", "V07", "household"),
    ("J01", "full_name", "甲野\u0007太郎", "CHARACTER_CONTROL", "row"),
    ("J01", "full_name", "甲野\u0085太郎", "CHARACTER_CONTROL", "row"),
    ("J01", "full_name", "甲野\t太郎", "CHARACTER_CONTROL", "row"),
    ("J01", "full_name", "甲野\u2028太郎", "CHARACTER_LINE_SEPARATOR", "row"),
    ("J01", "full_name", "甲野\u202e太郎", "CHARACTER_BIDI", "row"),
    ("J01", "full_name", "甲野\u200b太郎", "CHARACTER_INVISIBLE", "row"),
    ("J01", "full_name", "\ue000野太郎", "CHARACTER_PRIVATE_USE", "row"),
    ("J01", "full_name", "\U0010de92野太郎", "CHARACTER_ADDITIONAL", "row"),
    ("J01", "full_name", "\U000e0100太郎", "CHARACTER_LONE_SELECTOR", "row"),
    ("J01", "full_name", "甲\U000e0100\U000e0101太郎", "CHARACTER_LONE_SELECTOR", "row"),
    ("J01", "full_name", "甲\ufffd太郎", "CHARACTER_NONCHARACTER", "row"),
    ("J01", "full_name", "甲\u0378太郎", "CHARACTER_UNASSIGNED", "row"),
    ("J05", "serial_number", "0A1B", "TYPE_HEXADECIMAL", "row"),
    ("J05", "serial_number", "1a2b", "TYPE_HEXADECIMAL", "row"),
    ("J05", "expires_on", "", "REQUIRED_WHEN", "row"),
    ("J05", "expires_on", "2023-12-31", "DATE_ORDER", "warning"),
    ("J06", "block_starts_at", "2026-11-01 09:00", "TYPE_TIMESTAMP", "row"),
    ("J06", "block_starts_at", "2026-13-01T09:00:00+09:00", "TYPE_TIMESTAMP", "row"),
    ("J06", "addressee_number", "", "REQUIRED_WHEN", "row"),
    ("S02", "image_sha256", "AB" * 32, "TYPE_HEXADECIMAL", "row"),
    ("S02", "image_format", "jpg", "CODE_CLOSED", "row"),
    ("T03", "amount", "1,000", "TYPE_INTEGER", "row"),
    ("T03", "amount", "1e5", "TYPE_INTEGER", "row"),
    ("T03", "amount", "+81", "TYPE_INTEGER", "row"),
    ("T03", "amount", "007", "TYPE_INTEGER", "row"),
    ("T03", "amount", "-0", "TYPE_INTEGER", "row"),
    ("T03", "amount", "NaN", "TYPE_INTEGER", "row"),
    ("T03", "amount", "12345678901234", "LENGTH", "row"),
    ("T03", "income_code", "999", "CODE_UNKNOWN", "warning"),
    ("T02", "annual_tax_amount", "", "REQUIRED_WHEN", "row"),
    ("T01", "tax_year", "026", "LENGTH_FIXED", "row"),
]


@pytest.mark.requirement("R-010")
@pytest.mark.parametrize(("file_id", "column", "value", "rule", "severity"), DEFECTS)
def test_check_file__one_value_is_broken__finds_file_line_column_and_rule(
    sample, file_id, column, value, rule, severity
):
    good = [sample.row(file_id), sample.row(file_id)]
    report = sample.check(
        file_id, sample.table(file_id, [*good, sample.row(file_id, **{column: value})])
    )
    found = [(f.line, f.column, f.rule, f.severity) for f in report.findings]
    title = sample.interface.files[file_id].column(column).title_ja
    assert (4, title, rule, severity) in found
    assert {line for line, *_ in found} == {4}, "the good rows must stay without finding"
    assert all(f.file == file_id and f.code in REFUSALS for f in report.findings)
    if len(value) > 2:
        assert value not in repr(report.findings)


def test_defects__the_table_of_them__holds_more_than_thirty_rules_and_columns():
    assert len({(column, rule) for _, column, _, rule, _ in DEFECTS}) >= 30


@pytest.mark.requirement("R-010")
@pytest.mark.parametrize(
    "file_id",
    "J01 J02 J03 J04 J05 J06 J07 J08 S01 S02 T01 T02 T03".split(),
)
def test_check_file__a_valid_row__finds_nothing(sample, file_id):
    report = sample.check(file_id, sample.table(file_id, [sample.row(file_id)]))
    assert (report.findings, report.rows, report.readable) == ([], 1, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"full_name": "辻\U000e0100　" + "太" * 97},  # 100 base characters, IVS not counted
        {"full_name": "﨑塚　隆"},
        {"full_name": "𠮷野家"},
        {"address_building": '"第２" ハイツ, Ⅲ号棟①'},
        {"full_name_kana": "ヴェルデ・ヽー"},
        {"address_building_kana": "メゾン（Ａ）－１０１"},
        {"born_on": "1900-01-01", "born_on_unknown": "1", "born_on_as_written": "不詳"},
        {"born_on": "2000-02-29"},
        {"born_on": "2026-11-22"},
        {"resident_state": "3", "removed_record": "1", "removal_reason": "21",
         "removal_changed_on": "2026-11-01"},
    ],
)  # fmt: skip
def test_check_file__a_rare_but_legal_value__finds_nothing(sample, changes):
    report = sample.check("J01", sample.table("J01", [sample.row("J01", **changes)]))
    assert report.findings == []


def test_check_file__unknown_date_without_written_form__is_a_row_error(sample):
    report = sample.check("J01", sample.table("J01", [sample.row("J01", born_on_unknown="1")]))
    assert [(f.rule, f.severity) for f in report.findings] == [("DATE_AS_WRITTEN", "row")]


@pytest.mark.requirement("R-010")
def test_check_file__open_list_without_values__follows_the_towns_mapping(sample):
    foreign = sample.row(
        "J01",
        resident_kind="2",
        full_name_roman="JOHN DOE",
        registered_domicile="",
        family_register_head="",
        nationality_country_code="USA",
        nationality_name="米国",
        article_30_45_kind="1",
        became_foreign_resident_on="2020-04-01",
    )
    data = sample.table("J01", [foreign])
    assert sample.check("J01", data).findings == []
    known = {"country": frozenset({"USA"})}
    assert sample.check("J01", data, mapped_codes=known).findings == []
    unmapped = sample.check("J01", data, mapped_codes={})
    assert [f.rule for f in unmapped.findings] == ["CODE_UNKNOWN"]


@pytest.mark.requirement("R-010")
@pytest.mark.parametrize(
    ("file_id", "changes", "restricts"),
    [
        ("J04", {}, True),
        ("J04", {"measure_kind": "3"}, False),
        ("J04", {"deleted": "1"}, False),
        ("J05", {}, False),
        ("J05", {"link_status": "2", "revoked_on": "2026-11-21"}, True),
        ("J05", {"link_status": "3"}, True),
        ("J06", {}, True),
        ("J06", {"deleted": "1"}, False),
        ("S01", {}, False),
        ("S01", {"seal_status": "4"}, True),
        ("S01", {"seal_status": "2", "seal_ended_on": "2026-11-21", "seal_end_reason": "01"}, True),
    ],
)
def test_urgent_lane__a_row__may_only_restrict(sample, file_id, changes, restricts):
    data = sample.table(file_id, [sample.row(file_id, **changes)])
    report = sample.check(file_id, data, lane="urgent", mode="differential")
    assert [f.rule for f in report.findings] == ([] if restricts else ["URGENT_LIFTS"])
    assert sample.check(file_id, data).findings == []


@pytest.mark.requirement("R-010")
def test_urgent_lane__a_file_that_never_restricts__is_fatal(sample):
    report = sample.check("J01", sample.table("J01", [sample.row("J01")]), lane="urgent")
    assert [(f.severity, f.code) for f in report.findings] == [("fatal", "LINKAGE_URGENT_FILE")]


@pytest.mark.requirement("R-021")
def test_check_file__row_count_differs_from_the_manifest__is_fatal(sample):
    import io

    from bcl_contract.linkage.validator import check_file

    data = sample.table("J07", [sample.row("J07")])
    report = check_file(sample.interface.files["J07"], io.BytesIO(data), expected_rows=2)
    assert [f.code for f in report.findings] == ["TRANSMISSION_ROW_COUNT"]


LETTERS = st.characters(
    codec="utf-8", exclude_categories=("Cs", "Cc", "Cf", "Co", "Cn", "Zl", "Zp", "Mn", "Me")
)


@pytest.mark.requirement("R-010")
@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(st.text(LETTERS, min_size=1, max_size=40), max_size=3),
    broken=st.sampled_from([d for d in DEFECTS if d[0] == "J01"]),
    after=st.lists(st.text(LETTERS, min_size=1, max_size=40), max_size=3),
)
def test_check_file__a_defect_anywhere_among_good_rows__is_found_on_its_line_alone(
    sample, before, broken, after
):
    _, column, value, rule, severity = broken
    rows = [
        *(sample.row("J01", full_name=name) for name in before),
        sample.row("J01", **{column: value}),
        *(sample.row("J01", full_name=name) for name in after),
    ]
    report = sample.check("J01", sample.table("J01", rows))
    line = 2 + len(before)
    assert {f.line for f in report.findings} == {line}
    assert (rule, severity) in {(f.rule, f.severity) for f in report.findings}
