"""The fragment index in the database: built from pages, in steps, after a load (D14).

Owns: which pages are indexed, building and rebuilding segments, finding candidates.
Promises: a step is one transaction and bounded (512 pages); killed in between, the next run goes
on. Pages not yet indexed are known, so that a search can look at them itself.
The database sees blind keys at the edges of blocks and sizes; who shares a fragment is sealed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from bcl.foundation import crypto
from bcl.foundation.keys import KeyPurpose
from bcl.resident_store import database, fragments, person_texts, town_keys
from bcl.resident_store.pages import PAGE_ROWS, PagePlace, open_lines
from bcl.resident_store.stored_versions import StoredVersions
from bcl_contract import characters
from bcl_contract.linkage.layouts import Layout, load_interface
from bcl_contract.linkage.table import Chunk, iter_chunks

SEGMENT_PAGES = fragments.SEGMENT_RECORDS // PAGE_ROWS
FEWEST_TO_MERGE = 4
TABLE = "resident_store_fragmentblock"
_PAGES_AT_ONCE = 64
_CHUNK_BYTES = 256 << 20
_SEPARATOR = "\ufdd0"
_EMPTIED = b","  # so a line begins that retention has emptied: all others begin with a quote
_FIRST_SEGMENTS, _MOST_SEGMENTS = 1, 16
_LOCK_CLASS = 0x42434C32  # "BCL2": one builder at a time per municipality

_FIND = (
    "SELECT wanted.segment, wanted.key, near.first_key, near.sealed"
    " FROM (SELECT segment, key FROM unnest(%b::bigint[]) segment, unnest(%b::bigint[]) key)"
    " wanted CROSS JOIN LATERAL (SELECT first_key, sealed FROM resident_store_fragmentblock"
    "  WHERE segment_id = wanted.segment AND last_key >= wanted.key"
    "  ORDER BY last_key LIMIT 1) near"
    " WHERE near.first_key <= wanted.key"
)


@dataclass(frozen=True)
class Segment:
    """A run of indexed pages of one file; `pages` int64 (n) their ids, ascending."""

    id: int
    pages: np.ndarray
    last_load: int
    stale: bool
    complete: bool


def row_id(segment: int, first_key: int) -> str:
    """What the seal of a block is bound to."""
    return f"{segment}/{first_key}"


# -- what is indexed -----------------------------------------------------------------------------


def list_segments(municipality_code: str, file_id: str) -> list[Segment]:
    """Segments of a file in page order. Needs the open scope."""
    with database.cursor() as db:
        db.execute(
            "SELECT id, pages, last_load, stale, complete FROM resident_store_fragmentsegment"
            " WHERE municipality_code = %s AND file_id = %s ORDER BY first_page",
            [municipality_code, file_id],
            binary=True,
        )
        return [
            Segment(number, np.frombuffer(pages, ">i8").astype(np.int64), *rest)
            for number, pages, *rest in db.fetchall()
        ]


def segment_ids(municipality_code: str) -> list[int]:
    """Ids of all segments: the same before and after means that nothing was built between."""
    with database.cursor() as db:
        db.execute(
            "SELECT id FROM resident_store_fragmentsegment WHERE municipality_code = %s"
            " ORDER BY id",
            [municipality_code],
        )
        return [row[0] for row in db.fetchall()]


def unindexed_pages(
    municipality_code: str, file_id: str, segments: Sequence[Segment], *, limit: int
) -> np.ndarray:
    """Ids of the first pages behind the last segment, int64; needs the open scope.

    Ids of a town's pages grow from load to load, because its loads wait for one another.
    """
    last = segments[-1] if segments else None
    first_load = last.last_load + last.complete if last else 0
    with database.cursor() as db:
        db.execute(
            "SELECT id FROM resident_store_page WHERE municipality_code = %s AND file_id = %s"
            " AND load_number >= %s AND id > %s ORDER BY id LIMIT %s",
            [
                municipality_code, file_id, first_load,
                int(last.pages[-1]) if last else -1, limit,
            ],
        )
        return np.array([row[0] for row in db.fetchall()], dtype=np.int64)


def mark_stale(municipality_code: str, page_ids: Sequence[int]) -> None:
    """Retention has deleted records of these pages: their segments are to be built again."""
    with database.cursor() as db:
        db.execute(
            "UPDATE resident_store_fragmentsegment segment SET stale = true"
            " FROM unnest(%b::bigint[]) page WHERE municipality_code = %s"
            " AND page BETWEEN first_page AND last_page AND NOT stale",
            [list(page_ids), municipality_code],
        )


# -- building ------------------------------------------------------------------------------------


def advance(municipality_code: str) -> bool:
    """Do one step of what there is to do; False when nothing is left. Needs the open scope.

    Segments that lost records first, then new pages, then runs of small segments. Steps of one
    town wait for one another; loads are not held up.
    """
    with database.cursor() as db:
        db.execute(
            "SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK_CLASS, int(municipality_code)]
        )
    for file_id in person_texts.PERSON_FILES:
        segments = list_segments(municipality_code, file_id)
        stale = [segment for segment in segments if segment.stale][:1]
        if stale:
            _build(
                municipality_code, file_id, stale[0].pages, replacing=stale,
                complete=stale[0].complete,
            )
            return True
        fresh = unindexed_pages(municipality_code, file_id, segments, limit=SEGMENT_PAGES)
        if len(fresh):
            # Pages of a load become visible together: fewer than asked for means all of them.
            complete = len(fresh) < SEGMENT_PAGES
            _build(municipality_code, file_id, fresh, replacing=[], complete=complete)
            return True
        if segments and not segments[-1].complete:
            _note_complete(segments[-1].id)
        run = run_to_merge([len(segment.pages) for segment in segments])
        if run is not None:
            chosen = segments[run]
            pages = np.concatenate([segment.pages for segment in chosen])
            _build(
                municipality_code, file_id, pages, replacing=chosen, complete=chosen[-1].complete
            )
            return True
    return False


def _note_complete(segment: int) -> None:
    with database.cursor() as db:
        db.execute(
            "UPDATE resident_store_fragmentsegment SET complete = true WHERE id = %s", [segment]
        )


def run_to_merge(sizes: Sequence[int]) -> slice | None:
    """The longest run of neighbours that fit into one segment, if it has 4 or more.

    So a file never keeps more than 4 segments for each full one, plus 3.
    """
    best: slice | None = None
    start, total = 0, 0
    for end, size in enumerate(sizes, start=1):
        total += size
        while total > SEGMENT_PAGES:
            total -= sizes[start]
            start += 1
        longest = best.stop - best.start if best else FEWEST_TO_MERGE - 1
        if end - start > longest:
            best = slice(start, end)
    return best


def _build(
    municipality_code: str, file_id: str, pages: np.ndarray, *, replacing: Sequence[Segment],
    complete: bool,
) -> None:
    layout = load_interface().files[file_id]
    keys = town_keys.blind_keys(municipality_code)
    entries, present, last_load = _read_entries(municipality_code, layout, pages)
    with database.cursor() as db:
        gone = [segment.id for segment in replacing]
        for table, column in ((TABLE, "segment_id"), ("resident_store_fragmentsegment", "id")):
            db.execute(f"DELETE FROM {table} WHERE {column} = ANY(%s)", [gone])  # noqa: S608
        if not len(present):
            return
        segment = database.reserve_ids("resident_store_segment_id", 1)[0]
        db.execute(
            "INSERT INTO resident_store_fragmentsegment (id, municipality_code, file_id,"
            " first_page, last_page, last_load, page_count, pages, stale, complete)"
            " VALUES (%b, %s, %s, %b, %b, %b, %b, %b, false, %b)",
            [
                segment, municipality_code, file_id, int(present[0]), int(present[-1]),
                last_load, len(present), present.astype(">i8").tobytes(), complete,
            ],
        )
        db.executemany(
            "INSERT INTO resident_store_fragmentblock"
            " (municipality_code, segment_id, first_key, last_key, sealed)"
            " VALUES (%s, %b, %b, %b, %b)",
            [
                (municipality_code, segment, first, last, _seal(
                    municipality_code, segment, first, content))
                for first, last, content in fragments.pack(keys, entries)
            ],
        )


def _seal(municipality_code: str, segment: int, first_key: int, content: bytes) -> bytes:
    return crypto.seal_cell(
        municipality_code, TABLE, "sealed", row_id(segment, first_key), content,
        purpose=KeyPurpose.PAGES,
    )


def _read_entries(
    municipality_code: str, layout: Layout, pages: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Fragments of pages: entries uint64, ids of the pages still there int64, their last load.

    Ordinals are places among the pages still there.
    """
    secret = cache(town_keys.page_secrets(municipality_code))
    versions = StoredVersions(municipality_code, target=load_interface().version)
    found: list[np.ndarray] = []
    present: list[int] = []
    last_load = 0
    for start in range(0, len(pages), _PAGES_AT_ONCE):
        with database.cursor() as db:
            db.execute(
                "SELECT id, load_number, page_number, key_version, rows, clear_size, sealed"
                " FROM resident_store_page WHERE id = ANY(%b::bigint[]) ORDER BY id",
                [pages[start : start + _PAGES_AT_ONCE].tolist()],
                binary=True,
            )
            rows = db.fetchall()
        lines: list[bytes] = []
        ordinals: list[int] = []
        for page_id, load, number, version, count, size, sealed in rows:
            place = PagePlace(municipality_code, layout.file_id, load, number, version)
            conversion = versions.conversion(layout.file_id, load)
            for slot, line in enumerate(open_lines(secret, place, sealed, size, count)):
                if not line.startswith(_EMPTIED):
                    lines.append(line if conversion is None else conversion.convert(line))
                    ordinals.append(len(present) * PAGE_ROWS + slot)
            present.append(page_id)
            last_load = max(last_load, load)
        found.append(_entries_of_lines(lines, np.array(ordinals, dtype=np.int64), layout))
    joined = np.concatenate(found) if found else np.zeros(0, np.uint64)
    return joined, np.array(present, dtype=np.int64), last_load


def _entries_of_lines(lines: list[bytes], ordinals: np.ndarray, layout: Layout) -> np.ndarray:
    source = io.BytesIO(layout.header_line + b"".join(lines))
    found: list[np.ndarray] = []
    for chunk in iter_chunks(source, layout, chunk_bytes=_CHUNK_BYTES):
        found += _entries_of_chunk(chunk, ordinals[: chunk.rows])
        ordinals = ordinals[chunk.rows :]
    return fragments.distinct(np.concatenate(found)) if found else np.zeros(0, np.uint64)


def _entries_of_chunk(chunk: Chunk, ordinals: np.ndarray) -> list[np.ndarray]:
    layout = chunk.layout
    columns = {
        kind: person_texts.columns_of_kind(layout, kind)
        for kind in (fragments.NAME, fragments.KANA, fragments.ADDRESS, fragments.BORN,
                     fragments.RECORD_CODE)
    }
    frame = chunk.frame([name for names in columns.values() for name in names])
    found = []
    for kind, fold in ((fragments.NAME, characters.fold_name),
                       (fragments.KANA, characters.fold_kana)):
        for name in columns[kind]:
            found.append(_text_entries(kind, frame[name].to_list(), fold, ordinals))
    addresses = frame.select(columns[fragments.ADDRESS]).fill_null("").rows()
    found.append(
        _text_entries(
            fragments.ADDRESS, ["".join(row) for row in addresses], characters.fold_address,
            ordinals,
        )
    )
    for kind, number in ((fragments.BORN, person_texts.date_number),
                         (fragments.RECORD_CODE, person_texts.record_code_number)):
        for name in columns[kind]:
            numbers = [number(value) for value in frame[name].to_list()]
            rows = [row for row, value in enumerate(numbers) if value is not None]
            chosen = np.array([numbers[row] for row in rows], dtype=np.uint64)
            found.append(fragments.fragments_of_numbers(kind, chosen, ordinals[rows]))
    return found


def _text_entries(
    kind: int, texts: Sequence[str | None], fold: Callable[[str], str], ordinals: np.ndarray
) -> np.ndarray:
    known = fold_many(fold, list(dict.fromkeys(text for text in texts if text)))
    folded = [known.get(text or "", "") for text in texts]
    rows = [row for row, text in enumerate(folded) if text]
    return fragments.fragments_of_texts(kind, [folded[row] for row in rows], ordinals[rows])


def fold_many(fold: Callable[[str], str], texts: Sequence[str]) -> dict[str, str]:
    """Fold many texts with one call; equal to folding each alone (tests assert it)."""
    folded = fold(_SEPARATOR.join(texts)).split(_SEPARATOR)
    if len(folded) != len(texts):
        folded = [fold(text) for text in texts]
    return dict(zip(texts, folded, strict=True))


# -- finding -------------------------------------------------------------------------------------


def candidates(
    municipality_code: str, segments: Sequence[Segment], wanted: Sequence[int]
) -> Iterator[np.ndarray]:
    """Ids of the records that have all fragments `wanted`, int64 ascending, a segment at a time.

    Reads as far as it is asked to: a common name fills the first page of results from the first
    segment. Needs the open scope. Raises `SealFault` for an altered block.
    """
    keys = town_keys.search_keys(municipality_code)
    blind = fragments.blind(keys, np.array(wanted, dtype=np.uint64)).tolist()
    at, count = 0, _FIRST_SEGMENTS
    while at < len(segments):
        part = segments[at : at + count]
        found = _find(municipality_code, [segment.id for segment in part], blind)
        for segment in part:
            arrays = found.get(segment.id, [])
            if len(arrays) == len(set(blind)):
                ordinals = fragments.in_all(arrays)
                yield segment.pages[ordinals // PAGE_ROWS] * PAGE_ROWS + ordinals % PAGE_ROWS
        at, count = at + count, min(count * 4, _MOST_SEGMENTS)


def _find(
    municipality_code: str, segments: list[int], blind: Sequence[int]
) -> dict[int, list[np.ndarray]]:
    with database.cursor() as db:
        db.execute(_FIND, [segments, sorted(set(blind))], binary=True)
        rows = db.fetchall()
    found: dict[int, list[np.ndarray]] = {}
    for segment, key, first_key, sealed in rows:
        content = crypto.open_cell(
            municipality_code, TABLE, "sealed", row_id(segment, first_key), sealed,
            purpose=KeyPurpose.PAGES,
        )
        ordinals = fragments.ordinals_in(content, key)
        if ordinals is not None:
            found.setdefault(segment, []).append(ordinals)
    return found


def candidates_in_pages(
    municipality_code: str, file_id: str, pages: np.ndarray, wanted: Sequence[int]
) -> np.ndarray:
    """The same for pages that no segment has yet, by reading them."""
    layout = load_interface().files[file_id]
    entries, present, _ = _read_entries(municipality_code, layout, pages)
    owners = entries & np.uint64(fragments.SEGMENT_RECORDS - 1)
    pieces = entries >> np.uint64(16)
    ordinals = fragments.in_all([np.unique(owners[pieces == np.uint64(each)]) for each in wanted])
    return present[ordinals // PAGE_ROWS] * PAGE_ROWS + ordinals % PAGE_ROWS
