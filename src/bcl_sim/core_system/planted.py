"""All planted edge cases of a town, finished into frames like a generated block."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from bcl_sim.core_system import certificate_link_rows as links
from bcl_sim.core_system import planted_changes, planted_persons, planted_services
from bcl_sim.core_system.planted_builder import Case, Register
from bcl_sim.core_system.planted_taxes import plant_taxes
from bcl_sim.core_system.store import frame_of_rows
from bcl_sim.core_system.tables import date_of
from bcl_sim.core_system.tax_rows import payers_of, tax_frames, tax_year_of

FORBIDDEN, HEADLESS = "private_use_name", "headless_household"
ON_REQUEST = (FORBIDDEN, HEADLESS)
"""Cases that the linkage refuses or holds; planted only when asked for."""


@dataclass(frozen=True)
class PlantedTown:
    """Rows of the planted persons by file, their cards, and the list of cases."""

    frames: dict[str, pl.DataFrame]
    cards: pl.DataFrame
    cases: list[Case]
    residents: int


def plant(
    *,
    municipality_code: str,
    seed: int,
    today: int,
    issuer_key: str,
    with_tax: bool,
    extra: tuple[str, ...] = (),
) -> PlantedTown:
    """Every case of the list; `extra` names cases of ON_REQUEST to plant as well."""
    register = Register(
        municipality_code=municipality_code, seed=seed, today=date_of(today), issuer_key=issuer_key
    )
    planted_persons.plant_persons(register)
    planted_persons.plant_households(register)
    planted_changes.plant_changes(register)
    planted_changes.plant_measures(register)
    planted_changes.plant_blocks(register)
    planted_changes.plant_nonregistered(register)
    planted_services.plant_cards(register)
    planted_services.plant_seals(register)
    taxed = plant_taxes(register)
    if FORBIDDEN in extra:
        planted_persons.plant_private_use_name(register)
    if HEADLESS in extra:
        planted_changes.plant_headless_household(register)
    _give_cards(register)
    return _finish(register, taxed, with_tax)


def _give_cards(register: Register) -> None:
    """Whoever has no card of a case gets an ordinary one."""
    held = {row["addressee_number"] for row in register.rows["J05"]} | register.without_card
    for row in register.rows["J01"]:
        living = row["latest"] == "1" and row["resident_state"] == "1"
        if living and row["addressee_number"] not in held:
            register.card(row)


def _finish(register: Register, taxed: set[str], with_tax: bool) -> PlantedTown:
    frames = {file_id: frame_of_rows(file_id, rows) for file_id, rows in register.rows.items()}
    residents = frames["J01"]
    living = residents.filter((pl.col("latest") == "1") & (pl.col("resident_state") == "1"))
    frames["J03"] = links.change_rows(residents)
    aliases = links.alias_rows(residents, register.facts.name)
    known = frames["J02"]["addressee_number"].implode()
    frames["J02"] = pl.concat(
        [frames["J02"], aliases.filter(~pl.col("addressee_number").is_in(known))]
    )
    if with_tax:
        rng = np.random.default_rng(np.random.SeedSequence([register.seed, 999]))
        others = living.filter(
            ~pl.col("addressee_number").is_in(pl.Series(sorted(taxed)).implode())
        )
        last_year = tax_year_of(register.today)
        for year in (last_year, last_year - 1):
            for file_id, frame in tax_frames(rng, payers_of(others, year), year).items():
                frames[file_id] = pl.concat([frames[file_id], frame])
    else:
        frames = {file_id: f for file_id, f in frames.items() if not file_id.startswith("T")}
    cards = links.cards_of(frames["J05"], residents.filter(pl.col("latest") == "1"))
    return PlantedTown(frames, cards, register.cases, len(living))


def write_cases(path: Path, cases: list[Case]) -> None:
    """`edge_cases.json`: id, description, persons, household of every planted case."""
    lines = [{"id": d.pop("case_id"), **d} for d in (asdict(case) for case in cases)]
    path.write_text(json.dumps(lines, ensure_ascii=False, indent=1), encoding="utf-8")
