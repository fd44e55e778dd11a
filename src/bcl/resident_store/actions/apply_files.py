"""Applying one transmission: one pass, one transaction, all or nothing (journey step 8, D6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import BinaryIO

import numpy as np
from django.db import transaction
from django.db.models import Max

from bcl.foundation import audit, keys, tenancy
from bcl.foundation.keys import KeyPurpose
from bcl.resident_store import database, holds, rules, town_keys
from bcl.resident_store import seal_images as images_store
from bcl.resident_store.blind_keys import BlindKeys
from bcl.resident_store.chunk_reader import Helpers
from bcl.resident_store.current_state import CurrentState, read_current_state
from bcl.resident_store.file_pass import (
    IMAGES_FILE,
    FileOutcome,
    FilePass,
    LoadTerms,
    NewResidents,
)
from bcl.resident_store.household_facts import RESIDENTS_FILE
from bcl.resident_store.load_worker import FileTask
from bcl.resident_store.load_workers import LoadWorkers
from bcl.resident_store.models import Load
from bcl.resident_store.page_cutter import PageCutter
from bcl.resident_store.page_writer import PageWriter, WriterThreads
from bcl.resident_store.pages import PAGE_ROWS, live_mask, live_slots
from bcl.resident_store.rules import LoadResult, LoadSummary, Verdict
from bcl.resident_store.search_index import SearchIndexWriter
from bcl_contract.clock import JST
from bcl_contract.linkage.findings import FATAL, ROW, Finding
from bcl_contract.linkage.layouts import Layout, load_interface
from bcl_contract.linkage.validator import CheckContext

OpenFile = tuple[str, Layout, BinaryIO]
_INDIVIDUAL_NUMBERS_FILE = "J07"
_ROWS_AT_ONCE = 5000
_SUMMARY_FINDINGS = 1000


class _NotLanded(Exception):
    """Rolls the load's own part of the transaction back; never leaves this module."""


class RepeatedSequence(Exception):
    """A load with this lane and sequence is applied already: the caller's lane rule failed."""


@dataclass
class _Load:
    """A load under way: what its files have come to so far."""

    terms: LoadTerms
    keys: BlindKeys
    threads: WriterThreads
    workers: LoadWorkers
    outcomes: dict[str, FileOutcome] = field(default_factory=dict)
    held: holds.HoldCounts = field(default_factory=holds.HoldCounts)
    persons_held: int = 0
    extra_findings: list[Finding] = field(default_factory=list)
    declared_sha256: Mapping[str, str] = field(default_factory=dict)


def apply_files(
    *,
    municipality_code: str,
    transmission_id: str,
    lane: str,
    sequence: int,
    mode: str,
    as_of: datetime,
    interface_version: str,
    open_files: Iterable[OpenFile],
    seal_images: Iterable[tuple[str, bytes]] = (),
    decide: Callable[[LoadSummary], Verdict],
    by: audit.Actor,
    at: datetime,
    declared_sha256: Mapping[str, str] | None = None,
) -> LoadResult:
    """Apply a transmission's files, unless `decide` holds or rejects what the pass found.

    Each of `open_files` is read once, to its end, before the next is taken. `decide` sees the
    whole summary while nothing is visible to anybody; with anything but LAND, or a fatal finding,
    the load leaves no trace. Joins the caller's `tenancy.scope` if one is open, so that the
    caller's own state changes with it. Loads of one municipality wait for one another.
    `declared_sha256` (hex, by file id) may be given only when reading a file to its end raises
    unless it is so.

    Raises what reading the files raises (`PackageFault`), `RepeatedSequence`, `keys.KeyFault`.
    """
    with tenancy.scope(municipality_code):
        database.lock_town(municipality_code)
        if Load.objects.filter(
            municipality_code=municipality_code, lane=lane, sequence=sequence
        ).exists():
            raise RepeatedSequence
        last = Load.objects.filter(municipality_code=municipality_code).aggregate(
            last=Max("load_number")
        )["last"]
        terms = LoadTerms(
            municipality_code, (last or 0) + 1, lane, mode, as_of, interface_version
        )
        summary: LoadSummary | None = None
        verdict = Verdict.REJECT
        try:
            with transaction.atomic(), _without_timeout():
                summary = _run(terms, open_files, seal_images, declared_sha256 or {})
                verdict = Verdict(decide(summary))
                if verdict is not Verdict.LAND or summary.count(FATAL):
                    raise _NotLanded
                _record_load(
                    terms, summary, transmission_id=transmission_id, sequence=sequence,
                    at=at, by=by,
                )
        except _NotLanded:
            assert summary is not None  # noqa: S101 - raised only after it was made
            return LoadResult(False, verdict, summary, None)
        return LoadResult(True, verdict, summary, terms.load_number)


@contextmanager
def _without_timeout() -> Iterator[None]:
    """A load of a million rows may take longer than what a request is allowed."""
    with database.cursor() as db:
        db.execute("SELECT current_setting('statement_timeout')")
        before = db.fetchone()
        db.execute("SET LOCAL statement_timeout = 0")
    yield
    with database.cursor() as db:
        db.execute("SELECT set_config('statement_timeout', %s, true)", before)


def _run(
    terms: LoadTerms, open_files: Iterable[OpenFile], images: Iterable[tuple[str, bytes]],
    declared_sha256: Mapping[str, str],
) -> LoadSummary:
    town = terms.municipality_code
    with WriterThreads() as threads, LoadWorkers() as workers:
        load = _Load(
            terms, town_keys.blind_keys(town), threads, workers, declared_sha256=declared_sha256
        )
        for file_id, layout, source in open_files:
            if (refused := _refused_file(terms, file_id, layout)) is not None:
                load.extra_findings.append(refused)
                while source.read(1 << 20):
                    pass  # to its end: the member's digest is checked there
                continue
            _apply_one(load, file_id, layout, source)
        threads.finish()
    if images_found := list(images):
        images_store.store_images(town, terms.load_number, images_found)
    _check_images(load)
    return _summarise(load)


def _refused_file(terms: LoadTerms, file_id: str, layout: Layout) -> Finding | None:
    """A file that may not come at all.

    J07 needs a table and a key of its own, which this version does not bring (R-026). The urgent
    lane carries restrictions only (D3).
    """
    if file_id == _INDIVIDUAL_NUMBERS_FILE:
        code = "LINKAGE_INDIVIDUAL_NUMBERS_OFF"
        return Finding(file_id, None, None, "INDIVIDUAL_NUMBERS", FATAL, code)
    if terms.urgent and not layout.urgent and file_id != IMAGES_FILE:
        return Finding(file_id, None, None, "LINKAGE_URGENT_FILE", FATAL, "LINKAGE_URGENT_FILE")
    return None


def _apply_one(load: _Load, file_id: str, layout: Layout, source: BinaryIO) -> None:
    terms = load.terms
    town, load_number = terms.municipality_code, terms.load_number
    page_key = keys.data_key(town, KeyPurpose.PAGES)
    state = read_current_state(town, file_id)
    cutter = PageCutter(town, file_id, load_number, page_key.version, page_key.secret)
    context = CheckContext(
        municipality_code=town, lane=terms.lane, mode=terms.mode,
        as_of=terms.as_of.astimezone(JST).date(),
        interface=load_interface(terms.interface_version), file=file_id,
    )
    open_holds = holds.open_person_holds(town, file_id)
    file_pass = FilePass(
        terms=terms, layout=layout, keys=load.keys, state=state,
        pages=PageWriter(load.threads, cutter),
        search=SearchIndexWriter(
            load.threads, municipality_code=town, file_id=file_id, load_number=load_number
        ),
        context=context, watched=holds.watched_records(open_holds),
        declared_sha256=load.declared_sha256.get(file_id, ""),
    )
    outcome = file_pass.run(source, helpers=_helpers(load, layout, context, cutter))
    load.threads.finish()
    _end_records(terms, file_id, state)
    if file_id == RESIDENTS_FILE:
        load.held = holds.hold_households(
            municipality_code=terms.municipality_code, load_number=terms.load_number,
            state=state, new=outcome.new, keys=load.keys,
        )
    load.persons_held += holds.hold_persons(
        municipality_code=terms.municipality_code, load_number=terms.load_number,
        file_id=file_id, state=state, outcome=outcome, full=terms.mode == rules.FULL,
        open_holds=open_holds,
    )
    outcome.new = NewResidents.of([], [])  # a million of them are no longer needed
    load.outcomes[file_id] = outcome


def _helpers(
    load: _Load, layout: Layout, context: CheckContext, cutter: PageCutter
) -> Helpers | None:
    """Workers for a file whose layout they know as well; None where there are none."""
    interface = context.interface
    if not load.workers.count or interface.files.get(cutter.file_id) != layout:
        return None
    town = cutter.municipality_code
    return Helpers(
        load.workers,
        FileTask(
            interface_version=interface.version, file_id=cutter.file_id, municipality_code=town,
            lane=context.lane, mode=context.mode, as_of=context.as_of, file=context.file,
            urgent=load.terms.urgent, cutter=cutter,
            identity_secret=keys.data_key(town, KeyPurpose.IDENTITY).secret,
            search_secret=keys.data_key(town, KeyPurpose.SEARCH).secret,
        ),
    )


def _end_records(terms: LoadTerms, file_id: str, state: CurrentState) -> None:
    """Write which records ended, and take them out of their pages' bitmaps."""
    places = np.flatnonzero(state.ended)
    if not len(places):
        return
    ids = state.ids[places]
    with database.cursor() as db:
        for start in range(0, len(places), _ROWS_AT_ONCE):
            part = places[start : start + _ROWS_AT_ONCE]
            db.execute(
                "INSERT INTO resident_store_endedrecord (record_id, municipality_code, file_id,"
                " until_load, record_key, person_key, household_key)"
                " SELECT ended.id, %s, %s, %s, ended.key, ended.person, ended.household"
                " FROM unnest(%b::bigint[], %b::uuid[], %b::bigint[], %b::bigint[])"
                " ended(id, key, person, household)",
                [
                    terms.municipality_code, file_id, terms.load_number,
                    state.ids[part].tolist(),
                    [holds.record_uuid(record) for record in state.slots.records[part]],
                    state.slots.persons[part].tolist(),
                    state.slots.households[part].tolist(),
                ],
            )
    _clear_live_bits(ids)


def _clear_live_bits(record_ids: np.ndarray) -> None:
    pages, slots = record_ids // PAGE_ROWS, record_ids % PAGE_ROWS
    order = np.argsort(pages, kind="stable")
    pages, slots = pages[order], slots[order]
    unique, starts = np.unique(pages, return_index=True)
    ended = np.split(slots, starts[1:])
    with database.cursor() as db:
        for start in range(0, len(unique), _ROWS_AT_ONCE):
            wanted = unique[start : start + _ROWS_AT_ONCE].tolist()
            gone = dict(zip(wanted, ended[start : start + _ROWS_AT_ONCE], strict=True))
            db.execute(
                "SELECT id, rows, live FROM resident_store_page WHERE id = ANY(%s)",
                [wanted], binary=True,
            )
            masks = {}
            for page_id, rows, mask in db.fetchall():
                live = live_slots(mask, rows)
                live[gone[page_id]] = False
                masks[page_id] = (live_mask(live), int(live.sum()))
            db.execute(
                "UPDATE resident_store_page page SET live = fresh.live, live_rows = fresh.rows"
                " FROM unnest(%b::bigint[], %b::bytea[], %b::smallint[]) fresh(id, live, rows)"
                " WHERE page.id = fresh.id",
                [list(masks), [m for m, _ in masks.values()], [n for _, n in masks.values()]],
            )


def _check_images(load: _Load) -> None:
    """Every row of S02 that this load stores has its picture, in it or stored before (D19)."""
    outcome = load.outcomes.get(IMAGES_FILE)
    for line, sha256 in outcome.images if outcome else ():
        if not images_store.has_image(load.terms.municipality_code, sha256):
            load.extra_findings.append(
                Finding(IMAGES_FILE, line, None, "SEAL_IMAGE_MISSING", ROW,
                        "LINKAGE_SEAL_IMAGE_MISSING")
            )


def _summarise(load: _Load) -> LoadSummary:
    findings: list[Finding] = list(load.extra_findings)
    counts: dict[str, int] = {}
    for finding in load.extra_findings:
        counts[finding.severity] = counts.get(finding.severity, 0) + 1
    for outcome in load.outcomes.values():
        findings += outcome.findings
        for severity, count in outcome.finding_counts.items():
            counts[severity] = counts.get(severity, 0) + count
    terms = load.terms
    return LoadSummary(
        load_number=terms.load_number, lane=terms.lane, mode=terms.mode, as_of=terms.as_of,
        files=tuple(outcome.counts for outcome in load.outcomes.values()),
        findings=tuple(findings[:_SUMMARY_FINDINGS]),
        finding_counts=counts,
        residents_before=load.held.residents_before,
        residents_after=load.held.residents_after,
        households_held=load.held.households_held,
        households_lifted=load.held.households_lifted,
        persons_held=load.persons_held,
    )


def _record_load(
    terms: LoadTerms, summary: LoadSummary, *, transmission_id: str, sequence: int,
    at: datetime, by: audit.Actor,
) -> None:
    town = terms.municipality_code
    before = (
        Load.objects.filter(municipality_code=town).order_by("-load_number").first()
    )
    state = dict(before.counts["records"]) if before else {}
    residents = before.counts["residents"] if before else 0
    for counts in summary.files:
        state[counts.file_id] = counts.after
        if counts.file_id == RESIDENTS_FILE:
            residents = summary.residents_after
    Load.objects.create(
        municipality_code=town, load_number=terms.load_number, lane=terms.lane,
        sequence=sequence, transmission_id=transmission_id, mode=terms.mode, as_of=terms.as_of,
        applied_at=at, interface_version=terms.interface_version,
        counts={
            "records": state,
            "residents": residents,
            "files": [asdict(counts) for counts in summary.files],
        },
    )
    audit.record(
        act="apply_transmission", by=by, at=at,
        detail={
            "load_number": terms.load_number, "lane": terms.lane, "sequence": sequence,
            "transmission": transmission_id,
        },
    )
