"""Planted edge cases about resident tax (domain part 13: 税), with round amounts."""

from __future__ import annotations

import datetime as dt

from bcl_sim.core_system.planted_builder import Register, empty_row, stamped
from bcl_sim.core_system.store import Row
from bcl_sim.core_system.tax_rows import tax_year_of

_TAXED: dict[str, dict[str, int]] = {
    "T03": {"101": 4_000_000, "102": 2_760_000, "190": 2_760_000, "191": 2_760_000,
            "192": 2_760_000},
    "T04": {"203": 386_000, "215": 430_000, "290": 816_000},
    "T05": {"301": 116_640, "302": 115_100, "303": 77_760, "304": 76_700, "305": 3_000,
            "306": 1_000, "307": 1_000, "308": 1_500, "309": 1_000, "350": 1_944_000,
            "390": 118_100, "391": 77_700, "399": 196_800},
}  # fmt: skip
_NOTHING: dict[str, dict[str, int]] = {
    "T03": {"190": 0, "191": 0, "192": 0},
    "T04": {"215": 430_000, "290": 430_000},
    "T05": {"350": 0, "399": 0},
}
_PENSION: dict[str, dict[str, int]] = {
    "T03": {"103": 2_100_000, "104": 1_000_000, "190": 1_000_000, "191": 1_000_000,
            "192": 1_000_000},
    "T04": {"203": 140_000, "215": 430_000, "290": 570_000},
    "T05": {"301": 25_800, "302": 24_300, "303": 17_200, "304": 16_200, "305": 3_000,
            "306": 1_000, "307": 1_000, "308": 1_500, "309": 1_000, "350": 430_000,
            "390": 27_300, "391": 17_200, "399": 45_500},
}  # fmt: skip
_BEFORE_FOREST_TAX: dict[str, dict[str, int]] = _TAXED | {
    "T05": _TAXED["T05"] | {"305": 3_500, "306": 1_500, "390": 118_600, "391": 78_200}
}
_CODE_NAMES = {"T03": "income_code", "T04": "deduction_code", "T05": "tax_amount_code"}


class TaxWriter:
    """Writes the tax files of one planted person and year."""

    def __init__(self, register: Register) -> None:
        self.register = register
        self.year = tax_year_of(register.today)
        self.people: set[str] = set()

    def _base(self, person: Row, file_id: str, year: int, history: int) -> Row:
        row = empty_row(file_id) | {
            "municipality_code": person["municipality_code"],
            "addressee_number": person["addressee_number"],
            "tax_year": str(year),
            "history_number": str(history),
            "latest": "1",
        }
        return stamped(row, dt.date(year, 6, 1))

    def write(
        self,
        person: Row,
        amounts: dict[str, dict[str, int]] | None,
        *,
        year: int | None = None,
        history: int = 1,
        payer: dict[str, str] | None = None,
        assessment: dict[str, str] | None = None,
    ) -> None:
        """T01–T06 of a person; `amounts` = None when nothing is known (not declared)."""
        year = year or self.year
        self.people.add(person["addressee_number"])
        add, base = self.register.add, self._base
        total = amounts["T05"]["399"] if amounts else None
        kind = "4" if total is None else "1" if total else "3"
        add("T01", base(person, "T01", year, history) | {
            "unreported_kind": "0",
            "taxed_elsewhere_kind": "0",
            "assessment_date_full_name": person["full_name"],
            "assessment_date_address": "".join(
                person.get(f"address_{part}", "")
                for part in ("prefecture", "municipality_name", "town", "lot_as_written",
                             "building")
            ),
            "born_on": person["born_on"],
            "born_on_unknown": person["born_on_unknown"],
            "born_on_as_written": person["born_on_as_written"],
            "collection_kind": "1",
            "certifiable": "1" if amounts else "0",
            "certifiable_from_on": f"{year}-06-01",
        } | (payer or {}))  # fmt: skip
        add("T02", base(person, "T02", year, history) | {
            "taxation_kind": kind,
            "annual_tax_amount": "" if total is None else str(total),
            "decided_on": f"{year}-06-01",
            "revision_in_progress": "0",
        } | (assessment or {}))  # fmt: skip
        for file_id, values in (amounts or {}).items():
            for code, amount in values.items():
                add(file_id, base(person, file_id, year, history) | {
                    _CODE_NAMES[file_id]: code, "amount": str(amount),
                })  # fmt: skip
        add("T06", base(person, "T06", year, history) | {"dependents_under_16": "0"})

    def mark_history(self, person: Row) -> None:
        """Everything written so far for the person is no longer the latest."""
        for file_id in ("T01", "T02", "T03", "T04", "T05", "T06"):
            for row in self.register.rows.get(file_id, []):
                if row["addressee_number"] == person["addressee_number"]:
                    row["latest"] = "0"

    def term(self, person: Row, number: int, due: str, levied: int, paid: int) -> None:
        """A T07 row."""
        row = self._base(person, "T07", self.year, 1)
        kept = {k: v for k, v in row.items() if k not in ("latest", "history_number")}
        self.register.add("T07", kept | {
            "tax_kind": "1", "levy_year": str(self.year), "collection_kind": "1",
            "term_number": str(number), "due_on": due, "levied_amount": str(levied),
            "paid_amount": str(paid), "paid_on": due if paid else "",
            "unpaid_amount": str(levied - paid), "late_charge_amount": "0",
            "demanded_or_seized": "0", "collection_deferred": "0",
        })  # fmt: skip


def plant_taxes(register: Register) -> set[str]:
    """Tax cases; gives the addressee numbers whose tax rows are written here."""
    writer = TaxWriter(register)
    year = writer.year

    def adult(kana: str, given: str, age: int = 46, **columns: str) -> Row:
        name = ("丙山", given, "ヘイヤマ", kana)
        return register.resident(register.new_household(), name, age, 2, **columns)

    row = adult("カゼイ", "課税")
    writer.write(row, _TAXED)
    for number, due in enumerate(
        (f"{year}-06-30", f"{year}-08-31", f"{year}-11-02", f"{year + 1}-02-01"), start=1
    ):
        writer.term(row, number, due, 49_200, 49_200 if number < 3 else 0)
    register.case("tax_taxed", "課税（普通徴収・4期）", row)
    row = adult("ミシンコク", "未申告")
    writer.write(row, None, payer={"unreported_kind": "1"})
    register.case("tax_unreported", "未申告", row)
    row = adult("タダンタイ", "他課税", came_on=f"{year}-02-10")
    elsewhere = {"taxed_elsewhere_kind": "1", "taxed_elsewhere_municipality_code": "131041"}
    writer.write(row, None, payer=elsewhere)
    register.case("tax_elsewhere", "1月1日の住所が他団体（他団体課税）", row)
    row = adult("コウセイ", "更正")
    writer.write(row, _TAXED, history=1)
    writer.mark_history(row)
    writer.write(row, _TAXED, history=2, assessment={"revision_in_progress": "1"})
    register.case("tax_revision_in_progress", "更正中（履歴2行）", row)
    row = adult("レイエン", "零円")
    writer.write(row, _NOTHING)
    register.case("tax_zero", "非課税（税額0円）", row)
    row = adult("ネンキン", "年金", 72)
    writer.write(row, _PENSION, payer={"collection_kind": "3"})
    register.case("tax_pension", "年金特別徴収", row)
    head = adult("フヨウ", "扶養", 38)
    register.member(head, ("丙山", "小", "ヘイヤマ", "ショウ"), 10, 1, ("20", "子"), 2)
    writer.write(head, _TAXED)
    register.rows["T06"][-1]["dependents_under_16"] = "1"
    register.case("tax_dependents_under_16_only", "16歳未満の扶養だけ", head)
    row = adult("シンリン", "森林")
    writer.write(row, _TAXED)
    before = {**_BEFORE_FOREST_TAX, "T05": dict(_BEFORE_FOREST_TAX["T05"])}
    before["T05"].pop("307")
    writer.write(row, before, year=2023)
    register.case("tax_before_forest_tax", "森林環境税の導入前の年度（2023）がある人", row)
    row = adult("セイゲン", "先", 50)
    writer.write(row, _TAXED, payer={"certifiable_from_on": register.day(30).isoformat()})
    register.case("tax_not_yet_certifiable", "証明可能日の前", row)
    return writer.people
