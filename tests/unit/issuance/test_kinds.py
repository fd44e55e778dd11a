"""Seals and taxes on paper, and a kind that is one file: what stands there, what never may."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from bcl.issuance import kinds
from bcl.issuance.documents.items import item_of
from bcl.issuance.eligibility import RULES
from bcl.issuance.records import (
    CopyOptions,
    HouseholdRecord,
    Records,
    Scope,
    SealRecord,
    TaxYearRecord,
)
from bcl_sim.core_system.seal_image import DOTS_PER_INCH, draw_seal, pixels

SELF = CopyOptions(Scope.SELF)
SOURCE = Path(kinds.__file__).parent


def seal_record(owner: str, *, millimetres: float = 15.0, **columns: str) -> SealRecord:
    edge = pixels(millimetres)
    png = draw_seal("0000000001", 1, edge)
    row = {
        "addressee_number": owner,
        "seal_registration_number": "0000000001",
        "seal_status": "1",
        "registered_name_kind": "1",
        "registered_name": "甲野　二郎",
        "seal_image_number": "1",
    }
    image = {
        "seal_registration_number": "0000000001",
        "seal_image_number": "1",
        "image_dots_per_inch": str(DOTS_PER_INCH),
        "image_width_pixels": str(edge),
        "image_height_pixels": str(edge),
        "image_sha256": hashlib.sha256(png).hexdigest(),
    }
    return SealRecord(row | columns, image, png, 7)


def tax_record(owner: str, *, year: int = 2026, kind: str = "1", **fields) -> TaxYearRecord:
    base = {
        "year": year,
        "payer": {
            "addressee_number": owner,
            "unreported_kind": "0",
            "taxed_elsewhere_kind": "0",
            "assessment_date_full_name": "甲野　二郎",
            "assessment_date_address": "架空県見本市中央一丁目１番地２",
            "certifiable": "1",
            "certifiable_from_on": f"{year}-06-01",
        },
        "assessment": {
            "taxation_kind": kind,
            "annual_tax_amount": "187500" if kind == "1" else "0",
            "revision_in_progress": "0",
        },
        "amounts": {
            "income": {
                "101": "5231000", "102": "3744800", "110": "-250000",
                "190": "3494800", "191": "3494800", "192": "3494800",
            },
            "deduction": {"203": "748920", "205": "70000", "213": "330000", "215": "430000",
                          "290": "1578920"},
            "amount": {
                "301": "114900", "302": "113400", "303": "76600", "304": "75600", "305": "3000",
                "306": "1000", "307": "1000", "308": "1500", "309": "1000", "312": "6500",
                "350": "1915000", "390": "116400", "391": "70100", "399": "187500",
            },
        },
        "dependents": {"dependents_under_16": "2", "same_livelihood_spouse": "1"},
        "payments": tuple(
            {
                "collection_kind": "1", "term_number": f"{term}", "due_on": due,
                "levied_amount": levied, "paid_amount": paid, "unpaid_amount": unpaid,
            }
            for term, due, levied, paid, unpaid in (
                (1, "2026-06-30", "48500", "48500", "0"),
                (2, "2026-08-31", "46000", "46000", "0"),
                (3, "2026-11-02", "47000", "0", "47000"),
                (4, "2027-01-31", "46000", "0", "46000"),
            )
        ),
        "version": 9,
    }  # fmt: skip
    return TaxYearRecord(**base | fields)


@pytest.fixture
def paper(desk, person):
    """Make the expectation of a paper for one person of a household of two."""

    def make(version: str, *, year: int | None = None, kind: str = "1", holder=None, **records):
        first = holder or person(1)
        owner = first.addressee_number
        if version.startswith("seal"):
            records.setdefault("seal", seal_record(owner, registered_name=first["full_name"]))
        if version.startswith("tax"):
            records.setdefault("tax", tax_record(owner, year=year or 2026, kind=kind))
        household = HouseholdRecord("999997", (first, person(2)), 7)
        return desk.expected(
            first,
            options=replace(SELF, tax_year=year),
            records=Records(household, **records),
            definition=kinds.definition_of(version),
        )

    return make


def pdftotext(pdf: bytes) -> str:
    done = subprocess.run(
        ["pdftotext", "-raw", "-", "-"], input=pdf, capture_output=True, check=True
    )
    return done.stdout.decode()


def values(placed, field: str) -> list[str]:
    return [t.value for page in placed.model.pages for t in page.texts if t.field == field]


PAPERS = ["seal_registration-1", "tax_assessment-1", "tax_exemption-1", "tax_payment-1"]


@pytest.mark.requirement("R-043")
def test_kinds__there_are_three_by_law__each_with_its_source():
    found = kinds.all_kinds().on(date(2026, 11, 22))
    assert {d.family for d in found} == {"RESIDENT_RECORD_COPY", "SEAL_REGISTRATION", "TAX"}
    for definition in found:
        assert definition.legal_source and definition.minimum_age_source
        assert set(definition.rules) <= set(RULES)
        for name in definition.layout.fields():
            assert name.startswith("household.") or item_of(name)
    assert kinds.all_kinds().current("TAX", date(2024, 5, 31)) is None


@pytest.mark.requirement("R-066")
def test_kinds__what_the_law_lets_out__has_an_option_and_nothing_else():
    definition = kinds.definition_of("resident_record_copy-household-1")
    from bcl.issuance.documents.lints import _OMISSIBLE

    assert {o.name: set(o.fields) for o in definition.options} == _OMISSIBLE
    off = {option.name for option in definition.options if not option.offered}
    assert off == {"individual_number", "resident_record_code"}


@pytest.mark.requirement("R-080")
@pytest.mark.parametrize("version", PAPERS)
def test_paper__of_each_kind__is_sound_and_read_by_two_others(desk, paper, tmp_path, version):
    kind = "3" if version == "tax_exemption-1" else "1"
    year = 2026 if version.startswith("tax") else None
    expected = paper(version, year=year, kind=kind)
    placed = desk.place(expected)
    assert desk.lint(placed, expected) == []
    pdf = desk.render(placed)
    assert desk.compare(pdf, placed) is None
    assert desk.render(desk.place(expected)) == pdf
    path = tmp_path / "paper.pdf"
    path.write_bytes(pdf)
    assert subprocess.run(["qpdf", "--check", path], capture_output=True).returncode == 0
    fonts = subprocess.run(["pdffonts", path], capture_output=True, text=True).stdout
    listed = fonts.splitlines()[2:]
    assert listed and all("CID TrueType" in line and "yes yes yes" in line for line in listed)
    text = pdftotext(pdf).replace("\n", "").replace(" ", "")
    for page in placed.model.pages:
        for value in (t.value for t in page.texts):
            assert value.replace(" ", "").replace("　", "") in text.replace("　", "")
    # The other member of the household stands on no paper for one person.
    assert "甲野三郎" not in text.replace("　", "")


@pytest.mark.requirement("R-067")
@pytest.mark.parametrize("millimetres", [8.0, 15.0, 25.0])
def test_imprint__registered__is_printed_at_its_true_size(desk, paper, person, millimetres):
    owner = person(1).addressee_number
    expected = paper("seal_registration-1", seal=seal_record(owner, millimetres=millimetres))
    placed = desk.place(expected)
    assert desk.lint(placed, expected) == []
    (imprint,) = [i for i in placed.model.pages[0].images if i.field == "imprint"]
    assert abs(imprint.box.width - millimetres) < 25.4 / DOTS_PER_INCH
    import pypdfium2
    import pypdfium2.raw as raw

    with pypdfium2.PdfDocument(desk.render(placed)) as document:
        boxes = [
            pictured.get_bounds() for pictured in document[0].get_objects([raw.FPDF_PAGEOBJ_IMAGE])
        ]
    widths = sorted((right - left) / 72 * 25.4 for left, _, right, _ in boxes)
    assert any(abs(width - imprint.box.width) < 0.05 for width in widths)


@pytest.mark.requirement("R-067")
@pytest.mark.parametrize("slip", ["other_picture", "other_number", "other_owner", "stretched"])
def test_lint__an_imprint_that_is_another_s__is_found(desk, paper, person, slip):
    expected = paper("seal_registration-1")
    placed = desk.place(expected)
    seal = expected.records.seal
    if slip == "other_picture":
        wrong = replace(seal, png=draw_seal("0000000002", 1, pixels(15.0)))
        placed = desk.place(replace(expected, records=replace(expected.records, seal=wrong)))
        wrong = replace(seal, png=wrong.png)
    elif slip == "other_number":
        wrong = replace(seal, image=seal.image | {"seal_registration_number": "0000000009"})
    elif slip == "stretched":
        wrong = replace(seal, image=seal.image | {"image_dots_per_inch": "200"})
    else:
        wrong = replace(
            seal, columns=seal.columns | {"addressee_number": person(2).addressee_number}
        )
    spoiled = replace(expected, records=replace(expected.records, seal=wrong))
    assert desk.lint(placed, spoiled) != []


@pytest.mark.requirement("R-078")
def test_imprint__larger_than_its_frame__is_refused(desk, paper, person):
    seal = seal_record(person(1).addressee_number, millimetres=47.0)
    refusal = desk.refusal(paper("seal_registration-1", seal=seal))
    assert refusal.code == "ISSUE_LAYOUT_OVERFLOW" and refusal.detail["field"] == "seal.imprint"


@pytest.mark.requirement("R-068")
def test_tax_paper__amounts__are_written_with_commas_and_gaps_filled(desk, paper):
    placed = desk.place(paper("tax_assessment-1", year=2026))
    assert values(placed, "tax.income.101") == ["5,231,000"]
    assert values(placed, "tax.income.110") == ["-250,000"]
    assert values(placed, "tax.income.126") == ["＊＊＊"]
    assert values(placed, "tax.year") == ["令和8年度"]
    assert values(placed, "tax.income_year") == ["令和7年分"]
    assert values(placed, "tax.taxation_kind") == ["課税"]


@pytest.mark.requirement("R-082")
@pytest.mark.parametrize(
    ("year", "fiscal", "income"),
    [
        (2019, "平成31年度", "平成30年分"),
        (2020, "令和2年度", "令和元年分"),
        (1989, "平成元年度", "昭和63年分"),
        (1990, "平成2年度", "平成元年分"),
    ],
)
def test_tax_paper__years_at_an_era_border__are_named_right(desk, paper, year, fiscal, income):
    expected = paper("tax_assessment-1", year=year)
    placed = desk.place(expected)
    assert values(placed, "tax.year") == [fiscal]
    assert values(placed, "tax.income_year") == [income]
    assert desk.lint(placed, expected) == []


@pytest.mark.requirement("R-068")
@pytest.mark.parametrize(
    "field", ["tax.income.101", "tax.amount.399", "tax.year", "tax.income_year"]
)
def test_lint__a_wrong_amount_or_year__is_found(desk, paper, field):
    expected = paper("tax_assessment-1", year=2026)
    placed = desk.place(expected)
    texts = tuple(
        replace(t, value=t.value.replace("8", "9").replace("7", "6").replace("5", "4"))
        if t.field == field
        else t
        for t in placed.model.pages[0].texts
    )
    page = replace(placed.model.pages[0], texts=texts)
    changed = replace(placed, model=replace(placed.model, pages=(page,)))
    assert "page_equals_record" in {f.lint for f in desk.lint(changed, expected)}


def test_tax_paper__more_terms_than_rows__is_never_cut(desk, paper, person):
    tax = tax_record(person(1).addressee_number)
    many = replace(tax, payments=tax.payments * 4)
    refusal = desk.refusal(paper("tax_payment-1", year=2026, tax=many))
    assert refusal.code == "ISSUE_LAYOUT_OVERFLOW"


@pytest.mark.requirement("R-068")
def test_tax_paper__an_amount_without_a_cell__is_refused(desk, paper, person):
    tax = tax_record(person(1).addressee_number)
    unknown = replace(tax, amounts=tax.amounts | {"income": {"199": "1"}})
    refusal = desk.refusal(paper("tax_assessment-1", year=2026, tax=unknown))
    assert refusal.code == "ISSUE_RECORD_INCOMPLETE"
    assert refusal.detail["field"] == "tax.income.199"


def test_payment_paper__sums__are_those_of_its_rows(desk, paper):
    placed = desk.place(paper("tax_payment-1", year=2026))
    assert values(placed, "tax.payment_total.levied_amount") == ["187,500"]
    assert values(placed, "tax.payment_total.paid_amount") == ["94,500"]
    assert values(placed, "tax.payment_total.unpaid_amount") == ["93,000"]
    assert values(placed, "tax.payment.3.due_on") == ["令和8年11月2日"]


DEMO = """
version = "residence_statement-1"
code = "RESIDENCE_STATEMENT"
family = "RESIDENCE_STATEMENT"
kiosk_title = "居住証明書"
title = "居住証明書"
legal_source = "試験のためだけの種類"
in_force_from = 2026-01-01
offered = true
fee_yen = 250
scopes = ["SELF"]
page_width = 210
page_height = 297
left = 15
table_width = 180
size_pt = 12
label_pt = 9
thin_pt = 0.35
thick_pt = 0.9

[minimum_age]
years = 18
source = "試験"

[sentence]
SELF = "上記の者が現に居住していることを証明する。"

[phrase]
blank_below = "以下余白"
continued = "次頁へ続く"
issue_number = "発行番号"

[place]
title = { box = [65, 11, 80, 12], size_pt = 20, align = "SPREAD" }
page_number = { box = [165, 15, 30, 6], size_pt = 9, align = "RIGHT" }
blank_below = { box = [75, 0, 60, 5], size_pt = 9, align = "CENTER" }
continued = { box = [135, 283, 60, 5], size_pt = 8, align = "RIGHT" }
sentence = { box = [20, 90, 170, 6], size_pt = 10.5, align = "LEFT" }
issued_on = { box = [20, 100, 70, 6], size_pt = 10.5, align = "LEFT" }
certifier = { box = [62, 112, 100, 8], size_pt = 13, align = "RIGHT" }
seal = { box = [164, 104, 24, 24], size_pt = 1, align = "LEFT" }
issue_number = { box = [15, 288, 110, 5], size_pt = 7, align = "LEFT" }

[[table]]
top = 40
[[table.rows]]
height = 12
cells = [{ field = "member.full_name", label = "氏名", label_width = 40, width = 140 }]
[[table.rows]]
height = 12
cells = [{ field = "member.address", label = "住所", label_width = 40, width = 140 }]
"""


@pytest.fixture
def demo_kind(tmp_path, monkeypatch):
    (tmp_path / "residence_statement-1.toml").write_text(DEMO, encoding="utf-8")
    monkeypatch.setattr(kinds, "FOLDERS", (tmp_path, *kinds.FOLDERS))
    return kinds.definition_of("residence_statement-1")


@pytest.mark.requirement("R-087")
def test_kind__added_by_one_file__is_composed_checked_and_drawn(desk, paper, demo_kind):
    expected = paper("residence_statement-1")
    placed = desk.place(expected)
    assert desk.lint(placed, expected) == []
    pdf = desk.render(placed)
    assert desk.compare(pdf, placed) is None
    text = pdftotext(pdf).replace("\n", "").replace(" ", "")
    assert "居住証明書" in text and "中央一丁目" in text
    # Golden: the page model of this definition, digested.
    golden = [(t.field, t.value) for t in placed.model.pages[0].texts if t.person]
    assert golden == [
        ("member.full_name", "甲野　二郎"),
        ("member.address", "架空県見本市中央一丁目１番地２"),
    ]


@pytest.mark.requirement("R-087")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('scopes = ["SELF"]', 'scopes = ["SELF", "HOUSEHOLD"]'),
        ("width = 140 }", "width = 139 }"),
        ('version = "residence_statement-1"', 'version = "other-1"'),
    ],
)
def test_kind__a_definition_that_contradicts_itself__is_not_loaded(
    tmp_path, monkeypatch, old, new
):
    (tmp_path / "residence_statement-1.toml").write_text(DEMO.replace(old, new), "utf-8")
    monkeypatch.setattr(kinds, "FOLDERS", (tmp_path, *kinds.FOLDERS))
    with pytest.raises((kinds.KindError, kinds.LayoutError)):
        kinds.all_kinds()
