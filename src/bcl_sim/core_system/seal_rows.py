"""Rows of S01 (seal registrations) and S02 (imprints) for a generated block, and J08 persons."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import polars as pl

from bcl_sim.core_system import numbers
from bcl_sim.core_system.resident_rows import (
    Columns,
    Traits,
    constant,
    frame_of,
    only,
    small_numbers,
    stamp,
    where,
)
from bcl_sim.core_system.seal_image import (
    DOTS_PER_INCH,
    draw_seal,
    edge_millimetres,
    pixels,
)
from bcl_sim.core_system.tables import NO_DAY, choices, date_texts

REGISTERED, ABOLISHED, ERASED, SUSPENDED, REPLACED = "1", "2", "3", "4", "5"


def seal_number(person: int, ordinal: int = 1) -> str:
    """Registration number on the registration card: ten digits."""
    return f"{person % 100_000_000 * 10 + ordinal:010d}"


def seal_rows(
    rng: np.random.Generator, traits: Traits, residents: pl.DataFrame, today: int
) -> pl.DataFrame:
    """S01: 45 % of residents of 15 and over; a few abolished or suspended."""
    old_enough = traits.age >= 16
    holder = np.flatnonzero(old_enough & (rng.random(len(traits.person)) < 0.47))
    count = len(holder)
    index = pl.Series(holder.astype(np.uint32))
    earliest = np.maximum(traits.settled[holder], traits.born[holder] + 15 * 366)
    earliest = np.minimum(earliest, today - 1)
    registered = earliest + (rng.random(count) * (today - earliest)).astype(np.int64)
    fate = rng.random(count)
    abolished, suspended = fate < 0.02, (fate >= 0.02) & (fate < 0.023)
    status = np.where(abolished, 2, np.where(suspended, 4, 1))
    ended = np.where(abolished, np.minimum(registered + 300, today - 1), NO_DAY)
    ended = np.where(abolished, np.maximum(ended, registered), NO_DAY)
    alias = residents["alias"].gather(index)
    uses_alias = (alias != "").to_numpy()
    columns = {
        "municipality_code": residents["municipality_code"].gather(index),
        "seal_registration_number": pl.Series(
            [seal_number(int(person)) for person in traits.person[holder]], dtype=pl.String
        ),
        "history_number": constant("1", count),
        "latest": constant("1", count),
        "addressee_number": residents["addressee_number"].gather(index),
        "seal_status": small_numbers(status),
        "seal_registered_on": date_texts(registered),
        "seal_ended_on": date_texts(ended),
        "seal_end_reason": only(abolished, constant("01", count)),
        "registered_name_kind": small_numbers(np.where(uses_alias, 3, 1)),
        "registered_name": where(uses_alias, alias, residents["full_name"].gather(index)),
        "alias": alias,
        "seal_image_number": constant("1", count),
    }
    last = np.where(abolished, ended, registered)
    return frame_of("S01", count, columns | stamp(rng, last))


def image_rows(rng: np.random.Generator, seals: pl.DataFrame, share: float) -> pl.DataFrame:
    """S02 for a share of the registrations."""
    chosen = seals.filter(pl.Series(rng.random(len(seals)) < share))
    rows = [
        image_columns(number, int(image))
        for number, image in zip(
            chosen["seal_registration_number"], chosen["seal_image_number"], strict=True
        )
    ]
    count = len(chosen)
    columns: Columns = {
        name: pl.Series([row[name] for row in rows], dtype=pl.String)
        for name in image_columns("0", 1)
    }
    columns |= {
        name: chosen[name]
        for name in (
            "municipality_code", "seal_registration_number", "seal_image_number", "deleted",
            "operator_id", "operated_on", "operated_time",
        )
    }  # fmt: skip
    return frame_of("S02", count, columns)


def image_member(number: str, image: int) -> str:
    """Path of an imprint inside an export."""
    return f"seal/{number}_{image}.png"


def image_columns(number: str, image: int, millimetres: float | None = None) -> dict[str, str]:
    """The columns of S02 that describe the picture."""
    edge = pixels(millimetres or edge_millimetres(number, image))
    return {
        "image_format": "png",
        "image_dots_per_inch": str(DOTS_PER_INCH),
        "image_width_pixels": str(edge),
        "image_height_pixels": str(edge),
        "image_file_name": image_member(number, image),
        "image_sha256": hashlib.sha256(draw_seal(number, image, edge)).hexdigest(),
    }


def images_of(rows: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
    """(member name, PNG) of every S02 row."""
    for row in rows.iter_rows(named=True):
        number, image = row["seal_registration_number"], int(row["seal_image_number"])
        yield row["image_file_name"], draw_seal(number, image, int(row["image_width_pixels"]))


def nonregistered_rows(
    rng: np.random.Generator, municipality_code: str, block: int, count: int, today: int
) -> pl.DataFrame:
    """J08: persons not on the register (owners of houses, payers of tax) of other towns."""
    surnames, givens = choices("surnames", "weight"), choices("given_names")
    others = choices("other_municipalities")
    surname, given, place = (
        surnames.draw(rng, count),
        givens.draw(rng, count),
        others.draw(rng, count),
    )
    person = numbers.NONREGISTERED_START + block * numbers.BLOCK_STRIDE + np.arange(count)
    born = today - rng.integers(25 * 365, 90 * 365, count)
    known = rng.random(count) < 0.9
    columns = {
        "municipality_code": constant(municipality_code, count),
        "addressee_number": numbers.addressee_numbers(person),
        "full_name": surnames.take("surname", surname) + "　" + givens.take("given_name", given),
        "full_name_kana": surnames.take("kana", surname) + "　" + givens.take("kana", given),
        "born_on": only(known, date_texts(born)),
        "born_on_unknown": constant("0", count),
        "sex": givens.take("sex", given),
        "address_prefecture": others.take("prefecture", place),
        "address_municipality_name": others.take("name", place),
        "address_town": others.take("street", place),
        "address_lot_as_written": constant("１番１号", count),
        "address_postal_code": others.take("postal_code", place),
    }
    return frame_of("J08", count, columns | stamp(rng, np.full(count, today - 100)))
