"""Rules over the tables of one transmission: doubled keys, parents, one serial with two persons.

`TransmissionRules` sees every chunk while tables are checked, keeps small facts (64-bit
hashes, line numbers) and judges at the end. What needs the state before (a parent that came
years ago, a household of which one person was sent) is judged in the resident store.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from bcl_contract.linkage import household_rules
from bcl_contract.linkage.findings import ROW, WARNING, Finding
from bcl_contract.linkage.layouts import Interface, Layout
from bcl_contract.linkage.seal_rules import SealRules
from bcl_contract.linkage.table import Chunk

STRICT_CHILDREN = frozenset({"J02", "J05", "J07", "S01"})
"""Files whose person must be a resident of J01 (E_FK)."""

LENIENT_CHILDREN = frozenset({"J03", "J04", "T01", "T02", "T03", "T04", "T05", "T06", "T07"})
"""Files whose person may be unknown to the register: counterparties, taxed non-residents (D9)."""


def _digest(column: str) -> pl.Expr:
    return pl.when(pl.col(column).is_not_null()).then(pl.col(column).hash(1))


class TransmissionRules:
    """Collects facts of all tables of one transmission and judges them together.

    `mode` is full or differential, `lane` main or urgent. `file` in findings is the name that
    `see` was given. Images are judged by `seal` when `image` reads members (see `SealRules`).
    """

    def __init__(self, interface: Interface, *, mode: str = "full", lane: str = "main") -> None:
        self.seal = SealRules(mode=mode, lane=lane)
        self._interface = interface
        self._mode = mode
        self._keys: dict[str, list[pl.DataFrame]] = {}
        self._persons: list[pl.DataFrame] = []
        self._files: dict[str, str] = {}

    def open_table(self, layout: Layout, *, file: str) -> None:
        """Say that a table is present, even when it has no row."""
        self._files[layout.file_id] = file
        self._keys.setdefault(layout.file_id, [])
        self.seal.open_table(layout, file=file)

    def see(self, layout: Layout, chunk: Chunk, *, file: str) -> None:
        """Take the facts of one chunk."""
        if layout.file_id not in self._files:
            self.open_table(layout, file=file)
        self._keys[layout.file_id].append(self._key_facts(layout, chunk))
        if layout.file_id == "J01":
            self._persons.append(household_rules.person_facts(chunk))
        self.seal.see(layout, chunk)

    def _key_facts(self, layout: Layout, chunk: Chunk) -> pl.DataFrame:
        """One row per row: line, hash of the record key, hash of the person, valid link."""
        names = [column.name for column in layout.key_columns]
        wanted = {*names}
        if layout.has("addressee_number"):
            wanted.add("addressee_number")
        if layout.file_id == "J05":
            wanted |= {"link_status", "deleted"}
        key = pl.concat_str([pl.col(name).fill_null("") for name in names], separator="\x1f")
        person = _digest("addressee_number") if "addressee_number" in wanted else None
        valid = pl.lit(False)
        if layout.file_id == "J05":
            valid = pl.col("link_status").eq_missing("1") & pl.col("deleted").ne_missing("1")
        return chunk.frame(sorted(wanted)).select(
            line=pl.int_range(chunk.first_line, chunk.first_line + chunk.rows, dtype=pl.UInt32),
            key=key.hash(1),
            person=person if person is not None else pl.lit(None, dtype=pl.UInt64),
            valid=valid,
        )

    def finish(self) -> dict[str, list[Finding]]:
        """Judge everything seen; gives findings by file id."""
        result: dict[str, list[Finding]] = {file_id: [] for file_id in self._files}
        facts = {file_id: pl.concat(parts) for file_id, parts in self._keys.items() if parts}
        for file_id, table in facts.items():
            result[file_id] += self._judge_keys(self._interface.files[file_id], table)
        self._judge_parents(facts, result)
        if self._persons:
            layout, persons = self._interface.files["J01"], pl.concat(self._persons)
            place = {"file": self._files["J01"], "mode": self._mode}
            result["J01"] += household_rules.check_persons(persons, layout, **place)
            result["J01"] += household_rules.check_households(persons, layout, **place)
        for file_id, findings in self.seal.finish().items():
            result.setdefault(file_id, []).extend(findings)
        return result

    def _judge_keys(self, layout: Layout, table: pl.DataFrame) -> list[Finding]:
        """Doubled keys; in J05, one valid serial with two persons instead (decision D8)."""
        file = self._files[layout.file_id]
        doubled = table.filter(pl.col("key").is_duplicated())
        if doubled.is_empty():
            return []
        ambiguous = doubled.clear()
        if layout.file_id == "J05":
            held = doubled.filter(pl.col("valid")).group_by("key")
            keys = held.agg(pl.col("person").n_unique()).filter(pl.col("person") > 1)
            ambiguous = doubled.join(keys.select("key"), on="key", how="semi")
            doubled = doubled.join(keys.select("key"), on="key", how="anti")
        later = doubled.sort("line").filter(~pl.col("key").is_first_distinct())
        last_key = layout.key_columns[-1].title_ja
        return [
            *(
                Finding(file, line, last_key, "KEY_DUPLICATE", ROW, "LINKAGE_KEY_DUPLICATE")
                for line in later["line"].to_list()
            ),
            *(
                Finding(
                    file, line, last_key, "SERIAL_AMBIGUOUS", WARNING, "LINKAGE_SERIAL_AMBIGUOUS"
                )
                for line in ambiguous["line"].sort().to_list()
            ),
        ]

    def _judge_parents(
        self, facts: Mapping[str, pl.DataFrame], result: dict[str, list[Finding]]
    ) -> None:
        """Children without their person, where a full J01 travels in the same transmission."""
        if self._mode != "full" or "J01" not in self._files:
            return
        residents = facts["J01"].select("person").unique() if "J01" in facts else None
        for file_id, table in facts.items():
            if file_id not in STRICT_CHILDREN | LENIENT_CHILDREN:
                continue
            orphans = table.filter(pl.col("person").is_not_null())
            if residents is not None:
                orphans = orphans.join(residents, on="person", how="anti")
            strict = file_id in STRICT_CHILDREN
            severity = ROW if strict else WARNING
            rule = "PARENT_MISSING" if strict else "PARENT_ABSENT"
            code = "LINKAGE_PARENT_MISSING" if strict else "LINKAGE_PARENT_ABSENT_ALLOWED"
            title = self._interface.files[file_id].column("addressee_number").title_ja
            result[file_id] += [
                Finding(self._files[file_id], line, title, rule, severity, code)
                for line in orphans["line"].sort().to_list()
            ]
