"""Generates a town block by block into its state directory; memory holds one block at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from bcl_sim.core_system import certificate_link_rows as links
from bcl_sim.core_system import numbers
from bcl_sim.core_system.planted import plant, write_cases
from bcl_sim.core_system.population import assemble_people
from bcl_sim.core_system.resident_rows import (
    BlockPlan,
    Traits,
    current_rows,
    history_rows,
    removed_rows,
)
from bcl_sim.core_system.seal_rows import image_rows, nonregistered_rows, seal_rows
from bcl_sim.core_system.store import CoreStore
from bcl_sim.core_system.tables import date_of, town_facts
from bcl_sim.core_system.tax_rows import payers_of, tax_frames, tax_year_of

BLOCK_PEOPLE = 20_000
_MOVED_OUT_SHARE, _DECEASED_SHARE = 0.025, 0.02
_MOVED_OUT_OFFSET, _DECEASED_OFFSET = 25_000, 30_000


@dataclass(frozen=True)
class TownPlan:
    """What a town is generated from. Equal plans give equal towns."""

    municipality_code: str
    seed: int
    residents: int
    today: int
    issuer_key: str
    with_tax: bool
    seal_image_share: float
    extra_cases: tuple[str, ...] = ()


@dataclass(frozen=True)
class GeneratedBlock:
    """Rows of one block by file, the cards of its residents, and the current J01 rows alone."""

    frames: dict[str, pl.DataFrame]
    cards: pl.DataFrame
    current: pl.DataFrame


def block_sizes(residents: int) -> list[int]:
    """Living residents per block."""
    full, rest = divmod(residents, BLOCK_PEOPLE)
    return [BLOCK_PEOPLE] * full + ([rest] if rest else [])


def generate_block(plan: TownPlan, block: int, count: int) -> GeneratedBlock:
    """The register files (no tax) of block number `block` with `count` living residents."""
    town = int(plan.municipality_code)
    rng = np.random.default_rng(np.random.SeedSequence([plan.seed, town, block]))
    living = _block_plan(plan, block, 0, count, rng)
    current, traits, _ = current_rows(rng, living)
    parts = [history_rows(current, traits), current]
    for offset, share, elsewhere in (
        (_MOVED_OUT_OFFSET, _MOVED_OUT_SHARE, True),
        (_DECEASED_OFFSET, _DECEASED_SHARE, False),
    ):
        past = _block_plan(plan, block, offset, max(1, int(count * share)), rng)
        parts.append(removed_rows(rng, past, elsewhere)[0])
    residents = pl.concat(parts)
    frames = {"J01": residents}
    frames |= _register_files(rng, plan, traits, current, residents)
    frames |= _seal_files(rng, plan, traits, current, block)
    return GeneratedBlock(frames, links.cards_of(frames["J05"], current), current)


def _block_plan(
    plan: TownPlan, block: int, offset: int, count: int, rng: np.random.Generator
) -> BlockPlan:
    base = numbers.PLANTED_LIMIT + block * numbers.BLOCK_STRIDE + offset
    return BlockPlan(
        facts=town_facts(plan.municipality_code),
        seed=plan.seed,
        today=plan.today,
        first_person=base,
        first_household=base,
        people=assemble_people(rng, count),
    )


def _register_files(
    rng: np.random.Generator,
    plan: TownPlan,
    traits: Traits,
    current: pl.DataFrame,
    residents: pl.DataFrame,
) -> dict[str, pl.DataFrame]:
    facts = town_facts(plan.municipality_code)
    return {
        "J02": links.alias_rows(residents, facts.name),
        "J03": links.change_rows(residents),
        "J04": links.measure_rows(rng, traits, current, plan.today),
        "J05": links.card_rows(
            rng, traits, current, seed=plan.seed, today=plan.today, issuer_key=plan.issuer_key
        ),
        "J06": links.block_rows(rng, traits, current, plan.today),
    }


def _seal_files(
    rng: np.random.Generator, plan: TownPlan, traits: Traits, current: pl.DataFrame, block: int
) -> dict[str, pl.DataFrame]:
    seals = seal_rows(rng, traits, current, plan.today)
    outside = max(2, len(current) // 200)
    return {
        "S01": seals,
        "S02": image_rows(rng, seals, plan.seal_image_share),
        "J08": nonregistered_rows(rng, plan.municipality_code, block, outside, plan.today),
    }


def tax_years(
    plan: TownPlan, block: int, current: pl.DataFrame
) -> Iterator[dict[str, pl.DataFrame]]:
    """T01–T07 of the tax year in force and of the one before, one year at a time."""
    this_year = tax_year_of(date_of(plan.today))
    for year in (this_year, this_year - 1):
        seed = [plan.seed, int(plan.municipality_code), block, year]
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        yield tax_frames(rng, payers_of(current, year), year)


def fill_store(store: CoreStore, plan: TownPlan, *, progress: Callable[[int], None]) -> None:
    """Generate the town into the store: the planted cases, then the rest block by block."""
    planted = plant(
        municipality_code=plan.municipality_code,
        seed=plan.seed,
        today=plan.today,
        issuer_key=plan.issuer_key,
        with_tax=plan.with_tax,
        extra=plan.extra_cases,
    )
    write_cases(store.directory / "edge_cases.json", planted.cases)
    for file_id, frame in planted.frames.items():
        store.add_segment(file_id, frame)
    progress(planted.residents)
    with (store.directory / "cards.jsonl").open("wb") as cards:
        planted.cards.write_ndjson(cards)
        for block, count in enumerate(block_sizes(plan.residents - planted.residents)):
            generated = generate_block(plan, block, count)
            for file_id, frame in generated.frames.items():
                store.add_segment(file_id, frame)
            for taxes in tax_years(plan, block, generated.current) if plan.with_tax else ():
                for file_id, frame in taxes.items():
                    store.add_segment(file_id, frame)
            generated.cards.write_ndjson(cards)
            progress(count)
    store.commit()
