"""Rules over the tables of one transmission: doubled keys, parents, one serial with two persons.

`TransmissionRules` sees every chunk while tables are checked, keeps small facts (64-bit
hashes, line numbers) and judges each table at its end: the tables of a large town have tens of
millions of rows, and what all of them need at once must fit a small machine. What needs the state
before (a parent that came years ago, a household of which one person was sent) is judged in the
resident store.
"""

from __future__ import annotations

import numpy as np
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


_NOBODY = np.zeros(0, dtype=np.uint64)


def _digest(column: str) -> pl.Expr:
    return pl.when(pl.col(column).is_not_null()).then(pl.col(column).hash(1))


class _KeysOfTable:
    """Hashes of the record keys of one table and their lines, 12 bytes a row.

    They lie in parts by their first bits, so that sorting takes a part at a time.
    """

    _PARTS = 16

    def __init__(self) -> None:
        self._keys: list[list[np.ndarray]] = [[] for _ in range(self._PARTS)]
        self._lines: list[list[np.ndarray]] = [[] for _ in range(self._PARTS)]

    def add(self, keys: np.ndarray, lines: np.ndarray) -> None:
        """Take keys uint64 (n) and lines uint32 (n)."""
        order = np.argsort(keys)
        keys, lines = keys[order], lines[order]
        bounds = np.searchsorted(keys >> np.uint64(60), np.arange(1, self._PARTS, dtype=np.uint64))
        parts = zip(np.split(keys, bounds), np.split(lines, bounds), strict=True)
        for part, (some_keys, some_lines) in enumerate(parts):
            self._keys[part].append(some_keys.copy())
            self._lines[part].append(some_lines.copy())

    def repeated(self) -> list[int]:
        """Lines whose key an earlier line has, ascending. Forgets the keys."""
        found: list[int] = []
        while self._keys:
            keys, lines = self._keys.pop(), self._lines.pop()
            if keys:
                found += _repeated(np.concatenate(keys), np.concatenate(lines)).tolist()
        return sorted(found)


def _repeated(keys: np.ndarray, lines: np.ndarray) -> np.ndarray:
    ordered = np.sort(keys)
    if not (ordered[1:] == ordered[:-1]).any():  # nearly always: lines need no sorting
        return lines[:0]
    order = np.lexsort((lines, keys))
    ordered = keys[order]
    return lines[order][np.append(False, ordered[1:] == ordered[:-1])]


class TransmissionRules:
    """Collects facts of all tables of one transmission and judges them together.

    `mode` is full or differential, `lane` main or urgent. `file` in findings is the name that
    `see` was given. Images are judged by `seal` when `image` reads members (see `SealRules`).
    Tables come one after another (in any order; J01 first takes the least memory).
    """

    def __init__(self, interface: Interface, *, mode: str = "full", lane: str = "main") -> None:
        self.seal = SealRules(mode=mode, lane=lane)
        self._interface = interface
        self._mode = mode
        self._files: dict[str, str] = {}
        self._open = ""
        self._keys = _KeysOfTable()
        self._links: list[pl.DataFrame] = []
        self._persons: list[pl.DataFrame] = []
        self._residents: list[np.ndarray] = []
        self._all_residents: np.ndarray | None = None
        self._children: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        self._orphans: dict[str, list[np.ndarray]] = {}
        self._key_findings: dict[str, list[Finding]] = {}
        self._household_findings: list[Finding] = []

    def open_table(self, layout: Layout, *, file: str) -> None:
        """Say that a table is present, even when it has no row.

        Raises ValueError when another table came between two parts of this one.
        """
        if layout.file_id != self._open:
            self._close()
            if layout.file_id in self._files:
                raise ValueError(f"{layout.file_id} came in two parts")
            self._open = layout.file_id
        self._files[layout.file_id] = file
        self.seal.open_table(layout, file=file)

    def see(self, layout: Layout, chunk: Chunk, *, file: str) -> None:
        """Take the facts of one chunk."""
        if layout.file_id != self._open:
            self.open_table(layout, file=file)
        facts = self._key_facts(layout, chunk)
        if layout.file_id == "J05":
            self._links.append(facts)
        else:
            self._keys.add(facts["key"].to_numpy(), facts["line"].to_numpy())
        if layout.file_id == "J01":
            self._persons.append(household_rules.person_facts(chunk))
            self._residents.append(facts["person"].drop_nulls().unique().to_numpy())
        elif self._mode == "full" and layout.file_id in STRICT_CHILDREN | LENIENT_CHILDREN:
            known = facts.filter(pl.col("person").is_not_null())
            self._take_children(
                layout.file_id, known["line"].to_numpy(), known["person"].to_numpy()
            )
        self.seal.see(layout, chunk)

    def _take_children(self, file_id: str, lines: np.ndarray, persons: np.ndarray) -> None:
        """Look at once for rows without their person, or later while J01 has not come."""
        if self._all_residents is None:
            self._children.setdefault(file_id, []).append((lines, persons))
            return
        near = np.searchsorted(self._all_residents, persons)
        near[near == len(self._all_residents)] = 0
        there = self._all_residents[near] == persons if len(self._all_residents) else near < 0
        self._orphans.setdefault(file_id, []).append(lines[~there])

    def _close(self) -> None:
        """Judge the table that has come whole by itself, and forget it."""
        if not self._open:
            return
        layout = self._interface.files[self._open]
        if self._open == "J05":
            self._key_findings["J05"] = self._judge_links(layout)
        else:
            self._key_findings[self._open] = self._doubled(layout, self._keys.repeated())
            self._keys = _KeysOfTable()
        if self._open == "J01":
            self._all_residents = np.unique(np.concatenate([_NOBODY, *self._residents]))
            self._residents = []
            self._judge_persons(layout)
        self._open = ""

    def _judge_persons(self, layout: Layout) -> None:
        if not self._persons:
            return
        persons, self._persons = pl.concat(self._persons), []
        place = {"file": self._files["J01"], "mode": self._mode}
        self._household_findings += household_rules.check_residents(persons, layout, **place)

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
        self._close()
        result: dict[str, list[Finding]] = {
            file_id: self._key_findings[file_id] for file_id in self._files
        }
        self._judge_parents(result)
        if "J01" in result:
            result["J01"] += self._household_findings
        for file_id, findings in self.seal.finish().items():
            result.setdefault(file_id, []).extend(findings)
        return result

    def _judge_links(self, layout: Layout) -> list[Finding]:
        """Doubled keys of J05; one valid serial with two persons is told apart (decision D8)."""
        if not self._links:
            return []
        table, self._links = pl.concat(self._links), []
        doubled = table.filter(pl.col("key").is_duplicated())
        held = doubled.filter(pl.col("valid")).group_by("key")
        keys = held.agg(pl.col("person").n_unique()).filter(pl.col("person") > 1)
        ambiguous = doubled.join(keys.select("key"), on="key", how="semi")
        doubled = doubled.join(keys.select("key"), on="key", how="anti")
        later = doubled.sort("line").filter(~pl.col("key").is_first_distinct())
        title, file = layout.key_columns[-1].title_ja, self._files["J05"]
        return [
            *self._doubled(layout, later["line"].to_list()),
            *(
                Finding(file, line, title, "SERIAL_AMBIGUOUS", WARNING, "LINKAGE_SERIAL_AMBIGUOUS")
                for line in ambiguous["line"].sort().to_list()
            ),
        ]

    def _doubled(self, layout: Layout, lines: list[int]) -> list[Finding]:
        title, file = layout.key_columns[-1].title_ja, self._files[layout.file_id]
        return [
            Finding(file, line, title, "KEY_DUPLICATE", ROW, "LINKAGE_KEY_DUPLICATE")
            for line in lines
        ]

    def _judge_parents(self, result: dict[str, list[Finding]]) -> None:
        """Children without their person, where a full J01 travels in the same transmission."""
        if self._mode != "full" or "J01" not in self._files:
            return
        while self._children:
            file_id, parts = self._children.popitem()
            for lines, persons in parts:
                self._take_children(file_id, lines, persons)
        for file_id, found in self._orphans.items():
            strict = file_id in STRICT_CHILDREN
            severity = ROW if strict else WARNING
            rule = "PARENT_MISSING" if strict else "PARENT_ABSENT"
            code = "LINKAGE_PARENT_MISSING" if strict else "LINKAGE_PARENT_ABSENT_ALLOWED"
            title = self._interface.files[file_id].column("addressee_number").title_ja
            result[file_id] += [
                Finding(self._files[file_id], line, title, rule, severity, code)
                for line in np.concatenate(found).tolist()
            ]
