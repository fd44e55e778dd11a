"""One pass over one file of a transmission: what changed, into pages and index.

Owns: comparing and counting; which records end.
Promises: nothing is judged here beyond single rows; nothing of a row with an error is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import BinaryIO

import numpy as np

from bcl.resident_store import page_reader, rules
from bcl.resident_store.blind_keys import BlindKeys
from bcl.resident_store.checked_rows import CheckedRows
from bcl.resident_store.chunk_reader import ChunkReader, Helpers, prefetched
from bcl.resident_store.current_state import CurrentState, DigestIndex
from bcl.resident_store.household_facts import RESIDENTS_FILE
from bcl.resident_store.keys_seen import KeysSeen
from bcl.resident_store.page_writer import PageWriter
from bcl.resident_store.pages import URGENT, Slots
from bcl.resident_store.rules import FileCounts
from bcl.resident_store.search_index import SearchIndexWriter
from bcl_contract.clock import JST
from bcl_contract.linkage.findings import FATAL, HOUSEHOLD, ROW, WARNING, Finding, TableFault
from bcl_contract.linkage.layouts import Layout
from bcl_contract.linkage.validator import CheckContext

FINDINGS_KEPT = 1000
LINKS_FILE, SEALS_FILE, IMAGES_FILE = "J05", "S01", "S02"
UNKNOWN_CODE = "LINKAGE_CODE_UNKNOWN"


@dataclass(frozen=True)
class RecordHold:
    """A record that keeps its person (and household, when set) from certificates."""

    record: tuple[int, int]
    person_key: int
    household_key: int
    code: str
    line: int = 0
    column: str = ""
    rule: str = ""


@dataclass(frozen=True)
class NewResidents:
    """What household rules need of the stored rows of J01: blind household keys int64 (n) and
    facts uint64 (n, not padded)."""

    households: np.ndarray
    facts: np.ndarray

    @staticmethod
    def of(households: list[np.ndarray], facts: list[np.ndarray]) -> NewResidents:
        """Join what the blocks brought, emptying the lists: a million rows are worth it."""
        joined = np.concatenate([np.zeros(0, np.int64), *households])
        households.clear()
        all_facts = np.concatenate([np.zeros(0, np.uint64), *facts])
        facts.clear()
        return NewResidents(joined, all_facts)


@dataclass
class FileOutcome:
    """What one pass over one file found and did.

    `images` are (line, SHA-256 in hexadecimal) of the stored rows of S02. `stored_again`, bool,
    says for each watched record key whether a row of it was stored.
    """

    counts: FileCounts
    findings: list[Finding] = field(default_factory=list)
    finding_counts: dict[str, int] = field(default_factory=dict)
    holds: list[RecordHold] = field(default_factory=list)
    images: list[tuple[int, str]] = field(default_factory=list)
    new: NewResidents = field(default_factory=lambda: NewResidents.of([], []))
    stored_again: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def add(self, findings: list[Finding]) -> None:
        """Take in findings: keep the first ones, count all."""
        for finding in findings:
            count = self.finding_counts.get(finding.severity, 0)
            self.finding_counts[finding.severity] = count + 1
            if len(self.findings) < FINDINGS_KEPT:
                self.findings.append(finding)


@dataclass(frozen=True)
class LoadTerms:
    """What holds for a whole load."""

    municipality_code: str
    load_number: int
    lane: str
    mode: str
    as_of: datetime
    interface_version: str
    restricted_seals: set[bytes] = field(default_factory=set, compare=False)
    """Urgent lane: registrations that an S01 row of this load restricts (D35)."""

    @property
    def urgent(self) -> bool:
        """Whether this is the urgent lane."""
        return self.lane == rules.URGENT


@dataclass
class _Rows:
    """The rows of a block as they are sorted out. Arrays run over rows of the block.

    `before` is the place of the live record with the same key, -1 if there is none.
    """

    checked: CheckedRows
    before: np.ndarray
    kept: np.ndarray

    @property
    def slots(self) -> Slots:
        """Their index."""
        return self.checked.slots


class FilePass:
    """One pass over one file. `run` reads it to its end; `state` then says what has ended."""

    def __init__(
        self, *, terms: LoadTerms, layout: Layout, keys: BlindKeys, state: CurrentState,
        pages: PageWriter, search: SearchIndexWriter, context: CheckContext,
        watched: np.ndarray | None = None, declared_sha256: str = "",
    ) -> None:
        """`watched`, uint64 (n, 2), are record keys of which the outcome tells.

        `declared_sha256` is that of the whole file; who reads the source judges it at its end.
        """
        self.state = state
        self._terms, self._layout, self._keys = terms, layout, keys
        self._pages, self._search, self._context = pages, search, context
        self._counts = FileCounts(layout.file_id, rows=0, before=len(state))
        self._outcome = FileOutcome(self._counts)
        self._households: list[np.ndarray] = []
        self._facts: list[np.ndarray] = []
        self._declared_sha256 = declared_sha256
        self._watched = DigestIndex(np.zeros((0, 2), np.uint64) if watched is None else watched)
        self._outcome.stored_again = np.zeros(len(self._watched.order), dtype=bool)
        self._keys_seen = KeysSeen()
        self._pairs_seen = KeysSeen()
        self._replaced: list[tuple[np.ndarray, np.ndarray]] = []
        self._reads = page_reader.SingleReads(terms.municipality_code, layout.file_id)

    def run(self, source: BinaryIO, *, helpers: Helpers | None = None) -> FileOutcome:
        """Read the whole file. Faults of its structure become fatal findings.

        `helpers` share the work on a large file.
        """
        reader = ChunkReader(
            source, layout=self._layout, state=self.state, keys=self._keys,
            context=self._context, urgent=self._terms.urgent, pages=self._pages, helpers=helpers,
        )
        try:
            for checked in prefetched(reader.chunks()):
                self._take(checked)
        except TableFault as fault:
            self._outcome.add(reader.in_original(fault.findings))
        leftover = reader.leftover_findings()
        self._outcome.add(leftover)
        doubled = sum(finding.severity == ROW for finding in leftover)
        self._count(
            rows=reader.unchanged + doubled, unchanged=reader.unchanged, quarantined=doubled
        )
        self._end_replaced()
        if self._terms.mode == rules.FULL and not self._outcome.finding_counts.get(FATAL):
            self._end_vanished()
        self._pages.finish()
        self._search.finish()
        self._outcome.counts = replace(
            self._counts,
            after=self._counts.before - int(self.state.ended.sum()) + self._pages.rows,
        )
        if reader.exact and self._outcome.counts.is_whole_file(self._terms.mode):
            self._outcome.counts = replace(
                self._outcome.counts, sha256=self._declared_sha256
            )
        self._outcome.new = NewResidents.of(self._households, self._facts)
        return self._outcome

    # -- rows --------------------------------------------------------------------------------

    def _take(self, checked: CheckedRows) -> None:
        """Sort out the rows of a block and store those that are new."""
        before = self.state.by_record.find(checked.slots.records)
        same = self.state.by_digest.find(checked.slots.digests)
        rows = _Rows(checked, before, same < 0)
        self._note_unchanged(same[same >= 0])
        self.state.touched[before[before >= 0]] = True
        bad = checked.bad & rows.kept
        rows.kept &= ~bad
        rows.kept &= ~self._doubled(rows)
        rows.kept &= ~self._not_restricting(rows)
        rows.kept &= ~self._older_than_urgent(rows)
        self._take_deletions(rows)
        self._hold_records(rows, bad)
        self._store(rows)
        self._count(rows=len(checked), quarantined=int(bad.sum()))
        self._outcome.add(checked.findings)

    def _note_unchanged(self, found: np.ndarray) -> None:
        self._count(unchanged=len(found))
        self.state.seen[found] = True
        self.state.touched[found] = True

    def _doubled(self, rows: _Rows) -> np.ndarray:
        """Rows whose key an earlier row of this file has; bool (rows).

        Two valid links of one certificate to two persons both stand, and are told (D8).
        """
        records = rows.slots.records
        doubled = self._keys_seen.repeated(records, rows.kept)
        if self._layout.file_id == LINKS_FILE:
            pairs = records.copy()
            pairs[:, 1] ^= rows.slots.persons.view(np.uint64)
            valid = rows.checked.valid_links
            second = doubled & valid & ~self._pairs_seen.repeated(pairs, rows.kept)
            self._report(rows, second, "SERIAL_AMBIGUOUS", WARNING, "LINKAGE_SERIAL_AMBIGUOUS")
            doubled &= ~second
        self._report(rows, doubled, "KEY_DUPLICATE", ROW, "LINKAGE_KEY_DUPLICATE")
        self._count(quarantined=int(doubled.sum()))
        return doubled

    def _report(
        self, rows: _Rows, chosen: np.ndarray, rule: str, severity: str, code: str
    ) -> None:
        for row in np.flatnonzero(chosen).tolist():
            line = int(rows.checked.numbers[row])
            rows.checked.findings.append(
                Finding(self._context.file, line, None, rule, severity, code)
            )

    def _not_restricting(self, rows: _Rows) -> np.ndarray:
        """Urgent lane: rows that would lift something, compared with what is in force (D3)."""
        refused = np.zeros(len(rows.checked), dtype=bool)
        if not self._terms.urgent:
            return refused
        if self._layout.file_id == IMAGES_FILE:
            return self._unaccompanied_images(rows)
        for row in np.flatnonzero(rows.kept).tolist():
            values = rows.checked.values(row)
            place = int(rows.before[row])
            old = self._reads.values(int(self.state.ids[place])) if place >= 0 else None
            refused[row] = not rules.may_travel_urgently(self._layout.file_id, values, old)
        self._report(rows, refused, "URGENT_LIFTS", ROW, "LINKAGE_URGENT_LIFTS")
        self._count(quarantined=int(refused.sum()))
        return refused

    def _unaccompanied_images(self, rows: _Rows) -> np.ndarray:
        """Urgent lane: an impression may only come with the row that restricts it (D35)."""
        refused = np.zeros(len(rows.checked), dtype=bool)
        for row in np.flatnonzero(rows.kept).tolist():
            number = rows.checked.value_bytes(row, "seal_registration_number")
            refused[row] = number not in self._terms.restricted_seals
        self._report(rows, refused, "URGENT_SEAL_IMAGE", ROW, "LINKAGE_URGENT_SEAL_IMAGE")
        self._count(quarantined=int(refused.sum()))
        return refused

    def _older_than_urgent(self, rows: _Rows) -> np.ndarray:
        """Main lane: rows made before what the urgent lane has brought do not undo it (D3)."""
        older = np.zeros(len(rows.checked), dtype=bool)
        if self._terms.urgent or not len(self.state):
            return older
        urgent = (self.state.slots.flags & URGENT).astype(bool)
        met = rows.kept & (rows.before >= 0) & urgent[np.maximum(rows.before, 0)]
        for row in np.flatnonzero(met).tolist():
            old = self._reads.values(int(self.state.ids[rows.before[row]]))
            values = rows.checked.values(row)
            older[row] = rules.operated_at(values) < rules.operated_at(old)
        self._count(kept_urgent=int(older.sum()))
        return older

    # -- effects -----------------------------------------------------------------------------

    def _take_deletions(self, rows: _Rows) -> None:
        """deleted=1: the record ends; a record nobody knew is no change."""
        deleted = rows.kept & rows.checked.deleted
        rows.kept &= ~deleted
        for row in np.flatnonzero(deleted & (rows.before >= 0)).tolist():
            for place in self._meant_by(int(rows.before[row]), int(rows.slots.persons[row])):
                self._count(ended=int(not self.state.ended[place]))
                self.state.ended[place] = True

    def _meant_by(self, place: int, person: int) -> list[int]:
        """The live records a row of this key speaks of: of two ambiguous links, its person's."""
        if self._layout.file_id != LINKS_FILE:
            return [place]
        twins = self.state.by_record.equal_to(place)
        own = [each for each in twins if int(self.state.slots.persons[each]) == person]
        return own if len(twins) > 1 and own else twins

    def _store(self, rows: _Rows) -> None:
        kept = np.flatnonzero(rows.kept)
        before = rows.before[kept]
        known = before >= 0
        self._replaced.append((before[known], rows.checked.numbers[kept[known]]))
        self._count(inserted=int((~known).sum()))
        if not len(kept):
            return
        slots = rows.slots.take(kept)
        ids = self._store_pages(rows, kept, slots)
        self._search.add(*_kept_entries(rows, kept, ids))
        self._note_stored(slots)
        if self._layout.file_id == SEALS_FILE and self._terms.urgent:
            self._terms.restricted_seals.update(
                rows.checked.value_bytes(row, "seal_registration_number") for row in kept.tolist()
            )
        if self._layout.file_id == IMAGES_FILE:
            checked = rows.checked
            self._outcome.images += [
                (int(checked.numbers[row]), checked.value_bytes(row, "image_sha256").decode())
                for row in kept.tolist()
            ]

    def _note_stored(self, slots: Slots) -> None:
        met = self._watched.find(slots.records)
        for place in met[met >= 0].tolist():  # a record may be held for several reasons
            self._outcome.stored_again[self._watched.equal_to(place)] = True
        if self._layout.file_id == RESIDENTS_FILE:
            self._households.append(slots.households)
            self._facts.append(slots.facts ^ self._keys.pads(slots.digests))

    def _store_pages(self, rows: _Rows, kept: np.ndarray, slots: Slots) -> np.ndarray:
        """Store the kept rows; gives their record ids, int64."""
        checked = rows.checked
        if checked.sealed is None:
            lines = checked.lines
            return self._pages.add(
                lines if len(kept) == len(lines) else [lines[row] for row in kept.tolist()], slots
            )
        pages = checked.sealed.pages
        if not np.array_equal(checked.sealed.rows, rows.kept):
            # The worker could not know that some of its rows are stored already or repeated.
            lines = checked.lines
            pages = list(
                self._pages.cutter.from_lines(
                    [lines[row] for row in kept.tolist()], slots, first_number=pages[0].number
                )
            )
        return self._pages.add_pages(pages)

    def _hold_records(self, rows: _Rows, bad: np.ndarray) -> None:
        """Remember whom a row with an error, an unknown code or a household fault concerns."""
        for finding in rows.checked.findings:
            unknown = finding.code == UNKNOWN_CODE
            if finding.line is None or finding.severity == FATAL:
                continue
            if not (unknown or finding.severity in (ROW, HOUSEHOLD)):
                continue
            row = rows.checked.row_of(finding.line)
            if not (rows.kept[row] or bad[row] or finding.severity == ROW):
                continue
            household = finding.severity == HOUSEHOLD
            record = rows.slots.records[row]
            self._outcome.holds.append(
                RecordHold(
                    (int(record[0]), int(record[1])),
                    int(rows.slots.persons[row]),
                    int(rows.slots.households[row]) if household else 0,
                    finding.code,
                    finding.line,
                    finding.column or "",
                    finding.rule,
                )
            )

    # -- ends --------------------------------------------------------------------------------

    def _end_replaced(self) -> None:
        """End the earlier versions of changed records, now that the whole file is known."""
        for places, numbers in self._replaced:
            for place, number in zip(places.tolist(), numbers.tolist(), strict=True):
                self._end_one_replaced(place, number)

    def _end_one_replaced(self, place: int, number: int) -> None:
        state = self.state
        twins = [place]
        if self._layout.file_id == LINKS_FILE:
            twins = state.by_record.equal_to(place)
        stay = [each for each in twins if state.seen[each]]
        if stay and self._layout.file_id == LINKS_FILE:
            # An unchanged link of the same certificate stands beside the new one (D8).
            self._outcome.add([Finding(self._context.file, number, None, "SERIAL_AMBIGUOUS",
                                       WARNING, "LINKAGE_SERIAL_AMBIGUOUS")])
        elif stay:
            self._outcome.add([Finding(self._context.file, number, None, "KEY_DUPLICATE",
                                       ROW, "LINKAGE_KEY_DUPLICATE")])
            stay = []
        going = [each for each in twins if each not in stay and not state.ended[each]]
        state.ended[going] = True
        self._count(changed=1 if going else 0, inserted=0 if going else 1)
        self._count(ended=max(0, len(going) - 1))

    def _end_vanished(self) -> None:
        """A full file supersedes: what it does not name has ended (D6).

        Not what the urgent lane brought after the file was made: it can't have known it.
        """
        state = self.state
        vanished = ~(state.seen | state.touched | state.ended)
        urgent = (state.slots.flags & URGENT).astype(bool)
        as_of = self._terms.as_of.astimezone(JST).strftime("%Y-%m-%dT%H:%M:%S")
        for place in np.flatnonzero(vanished & urgent).tolist():
            if rules.operated_at(self._reads.values(int(state.ids[place]))) > as_of:
                vanished[place] = False
                self._count(kept_urgent=1)
        state.ended |= vanished
        self._count(ended=int(vanished.sum()))

    def _count(self, **amounts: int) -> None:
        self._counts = replace(
            self._counts,
            **{name: getattr(self._counts, name) + amount for name, amount in amounts.items()},
        )


def _kept_entries(
    rows: _Rows, kept: np.ndarray, ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Search keys of the kept rows, int64 (m), and the record id of each, int64 (m)."""
    checked = rows.checked
    record_ids = np.full(len(checked), -1, dtype=np.int64)
    record_ids[kept] = ids
    found = record_ids[checked.search_rows]
    if len(kept) == len(checked):
        return checked.search_keys, found
    chosen = found >= 0
    return checked.search_keys[chosen], found[chosen]
