"""Rows of J05 (certificate links), J04 (protective measures) and J06 (issuance blocks)
for a generated block, and the list of cards the JPKI simulator issues certificates from.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from bcl_sim.core_system import numbers
from bcl_sim.core_system.resident_rows import (
    Traits,
    constant,
    frame_of,
    only,
    small_numbers,
    stamp,
)
from bcl_sim.core_system.tables import NO_DAY, date_texts

VALID, REVOKED, SUSPENDED = "1", "2", "3"
CARD_STATES = {VALID: "valid", REVOKED: "revoked", SUSPENDED: "suspended"}


def card_rows(
    rng: np.random.Generator,
    traits: Traits,
    residents: pl.DataFrame,
    *,
    seed: int,
    today: int,
    issuer_key: str,
) -> pl.DataFrame:
    """J05: about four residents in five have a card; a few have a revoked one before it."""
    holds = rng.random(len(traits.person)) < np.where(traits.age < 1, 0.2, 0.8)
    holder = np.flatnonzero(holds)
    renewed = holder[rng.random(len(holder)) < 0.06]
    town = int(residents["municipality_code"][0]) if len(residents) else 0
    frames = [
        _cards(
            rng, traits, residents, holder=persons, ordinal=ordinal,
            town=(seed, town, today), issuer_key=issuer_key,
        )
        for persons, ordinal in ((holder, 1), (renewed, 0))
    ]  # fmt: skip
    return pl.concat(frames)


def _cards(
    rng: np.random.Generator,
    traits: Traits,
    residents: pl.DataFrame,
    *,
    holder: np.ndarray,
    ordinal: int,
    town: tuple[int, int, int],
    issuer_key: str,
) -> pl.DataFrame:
    """Cards number `ordinal` of the holders; 0 is an earlier, revoked one, 1 the current one."""
    seed, code, today = town
    count = len(holder)
    age_days = (rng.random(count) * np.minimum(1780, today - traits.born[holder])).astype(int)
    start = today - age_days
    revoked_on = np.full(count, NO_DAY)
    if ordinal == 0:
        start = start - 1825
        revoked_on = np.maximum(start + 200, today - 1780)
    picked = pl.Series(holder.astype(np.uint32))
    columns = {
        "municipality_code": residents["municipality_code"].gather(picked),
        "addressee_number": residents["addressee_number"].gather(picked),
        "digital_certificate_kind": constant("1", count),
        "serial_number": numbers.serial_numbers(
            traits.person[holder], np.full(count, ordinal), seed, code
        ),
        "issuer_key": constant(issuer_key, count),
        "valid_from_on": date_texts(start),
        "expires_on": date_texts(start + 1826),
        "link_status": constant(VALID if ordinal else REVOKED, count),
        "revoked_on": date_texts(revoked_on),
    }
    columns |= stamp(rng, start if ordinal else revoked_on)
    return frame_of("J05", count, columns)


def cards_of(links: pl.DataFrame, residents: pl.DataFrame) -> pl.DataFrame:
    """Lines of cards.jsonl for J05 rows, with the holder's name and day of birth."""
    people = residents.select("addressee_number", "full_name", "born_on").unique(
        "addressee_number", keep="last"
    )
    return links.join(people, on="addressee_number", how="left", maintain_order="left").select(
        "addressee_number",
        pl.col("full_name").fill_null(""),
        pl.col("born_on").fill_null(""),
        "serial_number",
        "issuer_key",
        pl.col("valid_from_on").alias("valid_from"),
        "expires_on",
        pl.col("link_status").replace_strict(CARD_STATES, return_dtype=pl.String).alias("state"),
    )


def measure_rows(
    rng: np.random.Generator, traits: Traits, residents: pl.DataFrame, today: int
) -> pl.DataFrame:
    """J04: one household in about 300 is under a protective measure, all its members joined."""
    first = residents["entry_order"] == "1"
    heads = np.flatnonzero(first.to_numpy())
    chosen = np.isin(traits.household, traits.household[heads[rng.random(len(heads)) < 1 / 300]])
    picked = np.flatnonzero(chosen)
    count = len(picked)
    index = pl.Series(picked.astype(np.uint32))
    # One day of start for a household: members joined the same application.
    start = today - 30 - (traits.household[picked] * 7919) % 300
    applicant = first.gather(index).to_numpy()
    columns = {
        "municipality_code": residents["municipality_code"].gather(index),
        "addressee_number": residents["addressee_number"].gather(index),
        "history_number": constant("1", count),
        "latest": constant("1", count),
        "measure_started_on": date_texts(start),
        "measure_ended_on": date_texts(start + 364),
        "measure_kind": constant("2", count),
        "measure_target_kind": small_numbers(np.where(applicant, 1, 2)),
        "measure_reason": small_numbers((traits.household[picked] % 4) + 1),
    }
    return frame_of("J04", count, columns | stamp(rng, start))


def block_rows(
    rng: np.random.Generator, traits: Traits, residents: pl.DataFrame, today: int
) -> pl.DataFrame:
    """J06: one resident in about 1,500 is blocked, every fourth time the whole household."""
    picked = np.flatnonzero(rng.random(len(traits.person)) < 1 / 1500)
    count = len(picked)
    index = pl.Series(picked.astype(np.uint32))
    start = today - 1 - rng.integers(0, 200, count)
    whole = (traits.person[picked] % 4) == 0
    number = numbers.addressee_numbers(traits.person[picked])
    columns = {
        "municipality_code": residents["municipality_code"].gather(index),
        "block_id": "BLK" + number,
        "block_scope": small_numbers(whole + 1),
        "addressee_number": only(~whole, residents["addressee_number"].gather(index)),
        "household_number": only(whole, residents["household_number"].gather(index)),
        "block_reason": small_numbers(np.where(whole, 35, 34)),
        "block_starts_at": date_texts(start) + "T09:00:00+09:00",
        "release_method": constant("1", count),
    }
    return frame_of("J06", count, columns | stamp(rng, start))


def change_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """J03: the change behind each J01 row, numbered like the history of the person."""
    count = len(rows)
    columns = {
        name: rows[name]
        for name in (
            "municipality_code", "addressee_number", "household_number", "change_reason",
            "changed_on", "changed_on_unknown", "change_notified_on", "deleted", "operator_id",
            "operated_on", "operated_time",
        )
    }  # fmt: skip
    columns |= {
        "change_number": rows["history_number"],
        "processed_on": rows["operated_on"],
        "notification_number": "N"
        + rows["operated_on"].str.replace_all("-", "")
        + rows["addressee_number"].str.slice(8, 7),
        "values_after": '{"住民状態":"' + rows["resident_state"] + '"}',
        "cancelled": constant("0", count),
    }
    return frame_of("J03", count, columns)


def alias_rows(rows: pl.DataFrame, municipality_name: str) -> pl.DataFrame:
    """J02: one line for each former surname and alias that stands on a current record."""
    parts = []
    for kind, name, kana in (
        ("1", "former_surname", "former_surname_kana"),
        ("2", "alias", "alias_kana"),
    ):
        held = rows.filter((pl.col(name) != "") & (pl.col("latest") == "1"))
        count = len(held)
        columns = {
            column: held[column]
            for column in ("municipality_code", "addressee_number", "deleted", "operator_id",
                           "operated_on", "operated_time")
        }  # fmt: skip
        columns |= {
            "alias_number": constant("1", count),
            "alias_kind": constant(kind, count),
            "alias_or_former_surname": held[name],
            "alias_or_former_surname_kana": held[kana],
            "entered_on": held["address_established_on"],
            "entered_municipality_name": constant(municipality_name, count),
        }
        parts.append(frame_of("J02", count, columns))
    return pl.concat(parts)
