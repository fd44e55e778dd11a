"""Rows of T01–T07 (municipal and prefectural resident tax) for the residents of a block.

Amounts follow the shape of the tax (flat rates 6 % and 4 %, per-capita levies 3,000 and 1,000
yen, forest environment tax 1,000 yen from 2024), with simplified deductions: they add up, but
they are no tax calculation.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import polars as pl

from bcl_sim.core_system.resident_rows import (
    Columns,
    constant,
    flags,
    frame_of,
    only,
    small_numbers,
    stamp,
)
from bcl_sim.core_system.tables import NO_DAY, choices, date_texts, day_number

TAXED, PER_CAPITA_ONLY, NOT_TAXED, UNREPORTED = 1, 2, 3, 4
ORDINARY, SPECIAL, PENSION = 1, 2, 3
_DUE_MONTHS = ((6, 30), (8, 31), (10, 31), (1, 31))


@dataclass(frozen=True)
class Payers:
    """Who is assessed in one tax year: J01 rows and what the assessment needs of them."""

    rows: pl.DataFrame
    age: np.ndarray
    settled: np.ndarray
    children: np.ndarray


@dataclass(frozen=True)
class Assessment:
    """Amounts in yen of one tax year, one entry per payer; rows with kind 4 have none."""

    kind: np.ndarray
    elsewhere: np.ndarray
    collection: np.ndarray
    income: dict[int, np.ndarray]
    deductions: dict[int, np.ndarray]
    amounts: dict[int, np.ndarray]


def tax_year_of(today: dt.date) -> int:
    """The tax year decided last: it changes with the notices of 1 June."""
    return today.year if today.month >= 6 else today.year - 1


def assess(rng: np.random.Generator, payers: Payers, tax_year: int) -> Assessment:
    """Incomes by age, and the tax on them."""
    count, age = len(payers.age), payers.age
    works = rng.random(count) < np.interp(
        age, (20, 25, 60, 66, 75, 85), (0.5, 0.85, 0.75, 0.4, 0.1, 0)
    )
    level = np.interp(age, (20, 30, 50, 60, 75), (2.0e6, 3.6e6, 5.2e6, 4.2e6, 2.0e6))
    salary = np.where(works, level * rng.lognormal(-0.1, 0.45, count), 0)
    pension = np.where(age >= 65, 1.5e6 * rng.lognormal(0, 0.35, count), 0)
    business = np.where(~works & (age < 65) & (rng.random(count) < 0.25), 2.2e6, 0)
    salary, pension = _thousands(salary), _thousands(pension)
    salary_income = np.maximum(salary - np.maximum(650_000, salary * 3 // 10), 0)
    pension_income = np.maximum(pension - 1_100_000, 0)
    total = salary_income + pension_income + business.astype(np.int64)
    social = _thousands(total * 0.14)
    insurance = np.where(rng.random(count) < 0.4, 70_000, 0)
    basic = np.full(count, 430_000)
    dependents = np.where(payers.children > 0, 330_000, 0) * (rng.random(count) < 0.3)
    deductions = {203: social, 205: insurance, 213: dependents, 215: basic}
    deductions[290] = social + insurance + dependents + basic
    base = np.maximum(total - deductions[290], 0) // 1000 * 1000
    unreported = (rng.random(count) < 0.03) & (total == 0)
    elsewhere = payers.settled > day_number(dt.date(tax_year, 1, 1))
    kind = np.where(base > 0, TAXED, np.where(total > 450_000, PER_CAPITA_ONLY, NOT_TAXED))
    kind = np.where(unreported | elsewhere, UNREPORTED, kind)
    collection = np.where(works, SPECIAL, np.where(age >= 65, PENSION, ORDINARY))
    return Assessment(
        kind=kind,
        elsewhere=elsewhere,
        collection=collection,
        income={
            101: salary, 102: salary_income, 103: pension, 104: pension_income,
            107: business.astype(np.int64), 190: total, 191: total, 192: total,
        },
        deductions=deductions,
        amounts=_amounts(kind, base, tax_year),
    )  # fmt: skip


def _thousands(values: np.ndarray) -> np.ndarray:
    return (values // 1000 * 1000).astype(np.int64)


def _amounts(kind: np.ndarray, base: np.ndarray, tax_year: int) -> dict[int, np.ndarray]:
    taxed = kind == TAXED
    levied = taxed | (kind == PER_CAPITA_ONLY)
    city, pref = base * 6 // 100, base * 4 // 100
    city_credit, pref_credit = np.minimum(1500, city), np.minimum(1000, pref)
    city_net = np.where(taxed, (city - city_credit) // 100 * 100, 0)
    pref_net = np.where(taxed, (pref - pref_credit) // 100 * 100, 0)
    # Until 2023 the per-capita levies were 500 yen higher each; the forest tax took over in 2024.
    forest_tax = tax_year >= 2024
    city_flat = np.where(levied, 3000 if forest_tax else 3500, 0)
    pref_flat = np.where(levied, 1000 if forest_tax else 1500, 0)
    forest = np.where(levied & forest_tax, 1000, 0)
    zero = np.zeros(len(kind), dtype=np.int64)
    return {
        301: np.where(taxed, city, zero), 302: city_net,
        303: np.where(taxed, pref, zero), 304: pref_net,
        305: city_flat, 306: pref_flat, 307: forest,
        308: np.where(taxed, city_credit, zero), 309: np.where(taxed, pref_credit, zero),
        350: np.where(taxed, base, zero),
        390: city_net + city_flat, 391: pref_net + pref_flat,
        399: city_net + city_flat + pref_net + pref_flat + forest,
    }  # fmt: skip


def tax_frames(rng: np.random.Generator, payers: Payers, tax_year: int) -> dict[str, pl.DataFrame]:
    """T01–T07 of one tax year."""
    count = len(payers.age)
    assessment = assess(rng, payers, tax_year)
    decided = np.full(count, day_number(dt.date(tax_year, 6, 1)))
    shared: Columns = {
        "municipality_code": payers.rows["municipality_code"],
        "addressee_number": payers.rows["addressee_number"],
        "tax_year": constant(str(tax_year), count),
        "history_number": constant("1", count),
        "latest": constant("1", count),
    } | stamp(rng, decided)
    known = assessment.kind != UNREPORTED
    return {
        "T01": _payer_rows(rng, payers, assessment, shared),
        "T02": frame_of("T02", count, shared | {
            "taxation_kind": small_numbers(assessment.kind),
            "annual_tax_amount": only(known, _yen(assessment.amounts[399])),
            "decided_on": date_texts(decided),
            "revision_in_progress": constant("0", count),
        }),
        "T03": _code_rows("T03", "income_code", shared, assessment.income,
                          known=known, always=(190, 192)),
        "T04": _code_rows("T04", "deduction_code", shared, assessment.deductions,
                          known=known, always=(290,)),
        "T05": _code_rows("T05", "tax_amount_code", shared, assessment.amounts,
                          known=known, always=(350, 399)),
        "T06": _dependent_rows(payers, shared),
        "T07": _payment_rows(rng, assessment, shared, tax_year),
    }  # fmt: skip


def _yen(values: np.ndarray) -> pl.Series:
    return pl.Series(values.astype(np.int64)).cast(pl.String)


def _payer_rows(
    rng: np.random.Generator, payers: Payers, assessment: Assessment, shared: Columns
) -> pl.DataFrame:
    rows, count = payers.rows, len(payers.age)
    others = choices("other_municipalities")
    place = others.draw(rng, count)
    address = (
        rows["address_prefecture"] + rows["address_municipality_name"] + rows["address_town"]
        + rows["address_lot_as_written"] + rows["address_building"]
    )  # fmt: skip
    unreported = (assessment.kind == UNREPORTED) & ~assessment.elsewhere
    return frame_of("T01", count, shared | {
        "unreported_kind": flags(unreported),
        "taxed_elsewhere_kind": flags(assessment.elsewhere),
        "taxed_elsewhere_municipality_code": only(
            assessment.elsewhere, others.take("municipality_code", place)
        ),
        "assessment_date_full_name": rows["full_name"],
        "assessment_date_address": address,
        "born_on": rows["born_on"],
        "born_on_unknown": rows["born_on_unknown"],
        "born_on_as_written": rows["born_on_as_written"],
        "collection_kind": small_numbers(assessment.collection),
        "certifiable": flags(assessment.kind != UNREPORTED),
        "certifiable_from_on": shared["operated_on"],
    })  # fmt: skip


def _code_rows(
    file_id: str,
    code_name: str,
    shared: Columns,
    values: dict[int, np.ndarray],
    *,
    known: np.ndarray,
    always: tuple[int, ...],
) -> pl.DataFrame:
    """One row per code and payer: only amounts other than 0, and the totals in any case."""
    parts = []
    for code, amounts in values.items():
        picked = known if code in always else known & (amounts != 0)
        index = pl.Series(np.flatnonzero(picked).astype(np.uint32))
        columns = {name: series.gather(index) for name, series in shared.items()}
        columns |= {
            code_name: constant(str(code), len(index)),
            "amount": _yen(amounts[picked]),
        }
        parts.append(frame_of(file_id, len(index), columns))
    return pl.concat(parts)


def _dependent_rows(payers: Payers, shared: Columns) -> pl.DataFrame:
    count = len(payers.age)
    zero = constant("0", count)
    names = (
        "same_livelihood_spouse", "specific_dependents", "cohabiting_elderly_parents",
        "elderly_dependents", "other_dependents", "ordinary_disability_dependents",
        "special_disability_dependents", "cohabiting_special_disability_dependents",
        "own_disability", "widow", "single_parent", "working_student", "minor",
    )  # fmt: skip
    return frame_of("T06", count, shared | dict.fromkeys(names, zero) | {
        "dependents_under_16": small_numbers(payers.children),
    })  # fmt: skip


def _payment_rows(
    rng: np.random.Generator, assessment: Assessment, shared: Columns, tax_year: int
) -> pl.DataFrame:
    """T07: four terms for those who pay themselves; employers and pension payers pay the rest."""
    paying = (assessment.collection == ORDINARY) & (assessment.amounts[399] > 0)
    index = pl.Series(np.flatnonzero(paying).astype(np.uint32))
    yearly = assessment.amounts[399][paying]
    count = len(yearly)
    parts = []
    dropped = {"history_number", "latest"}
    for term, (month, day) in enumerate(_DUE_MONTHS, start=1):
        due = day_number(dt.date(tax_year + (month < 6), month, day))
        quarter = yearly // 4 // 1000 * 1000
        amount = quarter if term > 1 else yearly - quarter * 3
        paid = rng.random(count) < 0.96
        columns = {n: s.gather(index) for n, s in shared.items() if n not in dropped}
        columns |= {
            "tax_kind": constant("1", count),
            "levy_year": constant(str(tax_year), count),
            "collection_kind": constant(str(ORDINARY), count),
            "term_number": constant(str(term), count),
            "due_on": constant(date_texts(np.array([due]))[0], count),
            "levied_amount": _yen(amount),
            "paid_amount": _yen(np.where(paid, amount, 0)),
            "paid_on": date_texts(np.where(paid, due - rng.integers(0, 20, count), NO_DAY)),
            "unpaid_amount": _yen(np.where(paid, 0, amount)),
            "late_charge_amount": constant("0", count),
            "demanded_or_seized": flags(~paid),
            "collection_deferred": constant("0", count),
        }
        parts.append(frame_of("T07", count, columns))
    return pl.concat(parts)


def payers_of(rows: pl.DataFrame, tax_year: int) -> Payers:
    """Payers among current J01 rows: 20 years and over on 1 January of the tax year."""
    day = dt.date(tax_year, 1, 1)
    born = rows["born_on"].str.to_date("%Y-%m-%d")
    age = ((pl.Series([day]) - born).dt.total_days() // 365.2425).to_numpy()
    keep = age >= 20
    settled_text = pl.Series(np.where(
        (rows["became_resident_on"] != "").to_numpy(),
        rows["became_resident_on"].to_numpy(),
        rows["became_foreign_resident_on"].to_numpy(),
    ))  # fmt: skip
    settled = (
        (
            settled_text.str.to_date("%Y-%m-%d", strict=False).fill_null(dt.date(1900, 1, 1))
            - dt.date(1850, 1, 1)
        )
        .dt.total_days()
        .to_numpy()
    )
    minor = pl.Series((age < 16) & (age >= 0))
    homes = rows.filter(minor).group_by("household_number").len()
    count = rows.join(homes, on="household_number", how="left", maintain_order="left")["len"]
    heads = (rows["relationship_code_1"] == "02").to_numpy()
    children = np.where(heads, count.fill_null(0).to_numpy(), 0)
    index = pl.Series(np.flatnonzero(keep).astype(np.uint32))
    return Payers(rows[index], age[keep], settled[keep], children[keep])
