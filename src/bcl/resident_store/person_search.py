"""Searching persons by parts of names, addresses, dates and numbers (中間DB参照).

    found = store.search_persons("999997", name="山田", birth_date="1980-02-03")
    for hit in found.hits: audit.record(..., subject_key=hit.addressee_number.encode())

Every candidate of the index is opened and compared in clear: no person comes back who doesn't
match. Who calls records every returned person (R-172); this module only reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bcl.resident_store import (
    database,
    fragment_index,
    page_reader,
    person_texts,
    record_columns,
    town_keys,
)
from bcl.resident_store.blind_keys import BlindKeys
from bcl.resident_store.fragment_index import Segment
from bcl.resident_store.fragments import Match
from bcl.resident_store.holds import record_uuid
from bcl.resident_store.pages import PAGE_ROWS, live_slots
from bcl.resident_store.person_texts import PERSON_FILES, PersonConditions, PersonMatcher
from bcl.resident_store.search_index import find_record_ids
from bcl_contract import characters
from bcl_contract.linkage.layouts import Layout, load_interface
from bcl_contract.refusals import Refusal

LIST_COLUMNS = (
    "addressee_number", "household_number", "full_name", "full_name_kana",
    "preferred_full_name", "born_on", "born_on_as_written", "sex_as_written", "address_prefecture",
    "address_municipality_name", "address_town", "address_lot_as_written", "address_building",
    "resident_kind", "resident_state", "latest",
)
"""What a list of results shows: no more of a row leaves a search unless it is asked for."""
MOST_RESULTS = 500
_UNINDEXED_PAGES_READ = 128
_EXACT_READ = 4_000
_TRIES = 3


@dataclass(frozen=True)
class PersonHit:
    """One row of a person that matches. `values` are the columns asked for."""

    record_id: int
    file_id: str
    record_key: str
    person_key: int
    addressee_number: str = field(repr=False)
    values: Mapping[str, str | None] = field(repr=False)


@dataclass(frozen=True)
class PersonSearchResult:
    """Hits in order of file and record id; `more`: there are others beyond the limit."""

    hits: tuple[PersonHit, ...]
    more: bool


def search_persons(
    municipality_code: str,
    *,
    name: str | None = None,
    kana: str | None = None,
    birth_date: str | None = None,
    address: str | None = None,
    addressee_number: str | None = None,
    resident_record_code: str | None = None,
    match: Match | str = Match.CONTAINS,
    as_of: int | None = None,
    include_history: bool = False,
    file_ids: Sequence[str] = PERSON_FILES,
    columns: Sequence[str] = LIST_COLUMNS,
    limit: int = 50,
) -> PersonSearchResult | Refusal:
    """Persons who fulfil all conditions given, in force now or after load `as_of`.

    `match` says how name and kana must lie in the stored ones (contains, prefix, suffix, exact);
    an address is always a part, cut at whole numbers; the others are exact. Names, readings and
    addresses are compared folded; any name of a person counts (former surname, alias, roman).
    History rows come only with `include_history`. A column that a file does not have is left out.
    Refuses: nothing searched for (`RESIDENT_SEARCH_EMPTY`), the index of a large load is still
    being built (`RESIDENT_SEARCH_NOT_READY`). Raises ValueError for a limit out of range.
    """
    if not 1 <= limit <= MOST_RESULTS:
        raise ValueError("limit out of range")
    conditions = PersonConditions(
        name=None if name is None else characters.fold_name(name),
        kana=None if kana is None else characters.fold_kana(kana),
        birth_date=birth_date,
        address=None if address is None else person_texts.fold_search_address(address),
        addressee_number=addressee_number,
        resident_record_code=resident_record_code,
        match=Match(match),
    )
    if conditions.is_empty:
        return Refusal("RESIDENT_SEARCH_EMPTY")
    with database.town_scope(municipality_code):
        keys = town_keys.search_keys(municipality_code)
        state = database.newest_load(municipality_code) if as_of is None else as_of
        terms = _Terms(municipality_code, conditions, state, include_history, tuple(columns), keys)
        for _ in range(_TRIES):
            before = fragment_index.segment_ids(municipality_code)
            found = _search(terms, [each for each in PERSON_FILES if each in file_ids], limit)
            if fragment_index.segment_ids(municipality_code) == before:
                break  # nobody has rebuilt the index under our hands
    return found


@dataclass(frozen=True)
class _Terms:
    """One search: what, as of when, which columns of the hits."""

    municipality_code: str
    conditions: PersonConditions
    as_of: int
    include_history: bool
    columns: tuple[str, ...]
    keys: BlindKeys


def _search(
    terms: _Terms, file_ids: Sequence[str], limit: int
) -> PersonSearchResult | Refusal:
    hits: list[PersonHit] = []
    for file_id in file_ids:
        layout = load_interface().files[file_id]
        matcher = PersonMatcher(terms.conditions, layout)
        sources = _sources(terms, file_id)
        if isinstance(sources, Refusal):
            return sources
        for candidates in sources:
            wanted = limit + 1 - len(hits)
            hits += _matching(terms, layout, matcher, candidates=candidates, wanted=wanted)
            if len(hits) > limit:
                return PersonSearchResult(tuple(hits[:limit]), more=True)
    return PersonSearchResult(tuple(hits), more=False)


# -- candidates ----------------------------------------------------------------------------------


def _sources(terms: _Terms, file_id: str) -> Iterator[np.ndarray] | Refusal:
    """Arrays of record ids, ascending over all: everybody who may match."""
    exact = _by_exact_key(terms, file_id)
    if exact is not None:
        return iter([exact])
    town = terms.municipality_code
    segments = fragment_index.list_segments(town, file_id)
    fresh = fragment_index.unindexed_pages(
        town, file_id, segments, limit=_UNINDEXED_PAGES_READ + 1
    )
    if len(fresh) > _UNINDEXED_PAGES_READ:
        born = _born_on(terms, file_id)
        return Refusal("RESIDENT_SEARCH_NOT_READY") if born is None else iter([born])
    return _by_fragments(terms, file_id, segments, fresh)


def _by_fragments(
    terms: _Terms, file_id: str, segments: Sequence[Segment], fresh: np.ndarray
) -> Iterator[np.ndarray]:
    wanted = terms.conditions.fragments()
    if not wanted:  # a date or code that none can be
        return
    yield from fragment_index.candidates(terms.municipality_code, segments, wanted)
    if len(fresh):
        yield fragment_index.candidates_in_pages(
            terms.municipality_code, file_id, fresh, wanted
        )


def _by_exact_key(terms: _Terms, file_id: str) -> np.ndarray | None:
    number = terms.conditions.addressee_number
    if number is None:
        return None
    return _ids_under(terms, record_columns.PERSON, number, file_id)


def _born_on(terms: _Terms, file_id: str) -> np.ndarray | None:
    """Everybody born on the day, as long as those are few enough to be read."""
    if terms.conditions.birth_date is None:
        return None
    found = _ids_under(terms, record_columns.BORN, terms.conditions.birth_date, file_id)
    return found if len(found) <= _EXACT_READ else None


def _ids_under(terms: _Terms, kind: str, value: str, file_id: str) -> np.ndarray:
    key = terms.keys.search_key(kind, value)
    found = find_record_ids(terms.municipality_code, key, [file_id])
    return np.array(found, dtype=np.int64)


# -- looking at candidates -----------------------------------------------------------------------


def _matching(
    terms: _Terms, layout: Layout, matcher: PersonMatcher, *, candidates: np.ndarray, wanted: int
) -> list[PersonHit]:
    """The first `wanted` candidates that are in force and match, in order."""
    hits: list[PersonHit] = []
    at, count = 0, wanted
    while at < len(candidates) and len(hits) < wanted:
        part = _in_force(terms, layout.file_id, candidates[at : at + count])
        for record_id, _, line in page_reader.iter_lines(terms.municipality_code, part):
            values = page_reader.parse_line(line, layout)
            if _counts(terms, values) and matcher.matches(values):
                hits.append(_hit(terms, record_id, layout, values))
        at, count = at + count, min(count * 2, 512)
    return hits[:wanted]


def _counts(terms: _Terms, values: Mapping[str, str | None]) -> bool:
    return terms.include_history or values.get("latest", "1") == "1"


def _in_force(terms: _Terms, file_id: str, candidates: np.ndarray) -> list[int]:
    """Those of the records that are of the file and in force, ascending."""
    with database.cursor() as db:
        db.execute(
            "SELECT id, load_number, rows, live FROM resident_store_page"
            " WHERE id = ANY(%s) AND file_id = %s",
            [np.unique(candidates // PAGE_ROWS).tolist(), file_id],
            binary=True,
        )
        pages = {
            page_id: (load, rows, live_slots(mask, rows))
            for page_id, load, rows, mask in db.fetchall()
        }
    found: list[int] = []
    dead: list[int] = []
    nothing = (0, 0, np.zeros(0, dtype=bool))
    for record_id in candidates.tolist():
        load, rows, live = pages.get(record_id // PAGE_ROWS, nothing)
        slot = record_id % PAGE_ROWS
        if slot >= rows or load > terms.as_of:
            continue
        (found if live[slot] else dead).append(record_id)
    if dead:
        found += _ended_after(dead, terms.as_of)
    return sorted(found)


def _ended_after(record_ids: list[int], as_of: int) -> list[int]:
    with database.cursor() as db:
        db.execute(
            "SELECT record_id FROM resident_store_endedrecord"
            " WHERE record_id = ANY(%s) AND until_load > %s",
            [record_ids, as_of],
        )
        return [row[0] for row in db.fetchall()]


def _hit(
    terms: _Terms, record_id: int, layout: Layout, values: Mapping[str, str | None]
) -> PersonHit:
    number = values["addressee_number"] or ""
    record = terms.keys.record_key(
        layout, {column.name: values[column.name] or "" for column in layout.key_columns}
    )
    return PersonHit(
        record_id=record_id, file_id=layout.file_id, record_key=str(record_uuid(record[0])),
        person_key=terms.keys.search_key(record_columns.PERSON, number), addressee_number=number,
        values={name: values[name] for name in terms.columns if name in values},
    )
