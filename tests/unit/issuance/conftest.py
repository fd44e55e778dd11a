"""Households and papers for the document tests: plain values, no database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from bcl.issuance.documents.compose import compose
from bcl.issuance.documents.demo_seal import draw_demo_seal
from bcl.issuance.documents.fit import place
from bcl.issuance.documents.font import DEFAULT_FONT_PATH, Typeface, load_typeface
from bcl.issuance.documents.lints import Expected, Finding, lint
from bcl.issuance.documents.model import PageModel, PlacedModel
from bcl.issuance.documents.read_back import Difference, compare
from bcl.issuance.documents.typst_renderer import render
from bcl.issuance.kinds import definition_of
from bcl.issuance.records import (
    Certifier,
    CopyOptions,
    Edition,
    HouseholdRecord,
    Marks,
    PersonRecord,
    Records,
    Scope,
)
from bcl_contract.refusals import Refusal

if not DEFAULT_FONT_PATH.is_file():
    pytest.skip("fonts-ipamj-mincho is not installed", allow_module_level=True)

_SEAL = draw_demo_seal("見本市長")
WHOLE = CopyOptions(
    Scope.HOUSEHOLD, frozenset({"relationship", "registered_domicile", "foreign_items"})
)


def make_person(number: int, **columns: str) -> PersonRecord:
    row = {
        "resident_kind": "1",
        "resident_state": "1",
        "entry_order": str(number),
        "resident_record_code": f"2468013579{number}",
        "full_name": f"甲野　{'一二三四五六七八九'[number % 9]}郎",
        "full_name_kana": "コウノ　タロウ",
        "full_name_kana_confirmation": "1",
        "sex_as_written": "男",
        "born_on": f"19{60 + number}-05-01",
        "relationship_as_written": "世帯主" if number == 1 else "子",
        "head_of_household_name": "甲野　太郎",
        "address_prefecture": "架空県",
        "address_municipality_name": "見本市",
        "address_town": "中央一丁目",
        "address_lot_as_written": "１番地２",
        "became_resident_on": "2001-04-01",
        "address_established_on": "2015-09-13",
        "registered_domicile": f"架空県見本市本籍町{number}番",
        "family_register_head": "甲野　筆頭",
    }
    return PersonRecord(f"{number:015d}", row | columns, 7)


def foreign(number: int, **columns: str) -> PersonRecord:
    row = {
        "resident_kind": "2",
        "full_name": "SMITH JOHN",
        "full_name_roman": "SMITH JOHN",
        "alias": "須美州　譲",
        "born_on": "1985-04-03",
        "became_foreign_resident_on": "2018-02-01",
        "became_resident_on": "",
        "nationality_name": "アメリカ合衆国",
        "article_30_45_kind": "1",
        "residence_status_name": "永住者",
        "residence_period_as_written": "無期限",
        "residence_card_number": "AB12345678CD",
        "registered_domicile": "",
        "family_register_head": "",
    }
    return make_person(number, **(row | columns))


@dataclass
class Desk:
    """Makes papers of households."""

    typeface: Typeface
    font_path: Path = DEFAULT_FONT_PATH

    def expected(self, *members: PersonRecord, options: CopyOptions = WHOLE, **fields) -> Expected:
        household = HouseholdRecord("999997", members, 7)
        certifier = Certifier("見本市長", "見本　太郎", _SEAL, 20.0)
        edition = Edition("7K3MQ4-ZTX8A-BCDEF-GHJKM-NPQRST", date(2026, 11, 22))
        base = {
            "records": Records(household),
            "definition": definition_of("resident_record_copy-household-1"),
            "applicant": members[0].addressee_number,
            "options": options,
            "marks": Marks(),
            "certifier": certifier,
            "edition": edition,
        }
        return Expected(**base | fields)

    def compose(self, expected: Expected) -> PageModel | Refusal:
        return compose(
            expected.records,
            expected.applicant,
            options=expected.options,
            definition=expected.definition,
            marks=expected.marks,
            certifier=expected.certifier,
            edition=expected.edition,
        )

    def place(self, expected: Expected) -> PlacedModel:
        model = self.compose(expected)
        assert isinstance(model, PageModel), model
        placed = place(model, self.typeface)
        assert isinstance(placed, PlacedModel), placed
        return placed

    def refusal(self, expected: Expected) -> Refusal:
        model = self.compose(expected)
        answer = model if isinstance(model, Refusal) else place(model, self.typeface)
        assert isinstance(answer, Refusal)
        return answer

    def lint(self, placed: PlacedModel, expected: Expected) -> list[Finding]:
        return lint(placed, expected, self.typeface)

    def compare(self, pdf: bytes, placed: PlacedModel) -> Difference | None:
        return compare(pdf, placed, self.typeface)

    def render(self, placed: PlacedModel) -> bytes:
        return render(placed, self.font_path)


@pytest.fixture(scope="session")
def desk() -> Desk:
    return Desk(load_typeface())


@pytest.fixture(scope="session")
def person():
    return make_person


@pytest.fixture(scope="session")
def foreigner():
    return foreign
