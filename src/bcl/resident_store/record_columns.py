"""From the rows of a chunk to what the index keeps about them.

Owns: which columns become which search keys, and the slots of a chunk.
"""

from __future__ import annotations

import numpy as np

from bcl.resident_store import household_facts
from bcl.resident_store.blind_keys import FOLDS, BlindKeys, column_matrix
from bcl.resident_store.column_fold import fold_column
from bcl.resident_store.pages import LATEST, URGENT, Slots
from bcl_contract.linkage.layouts import Layout
from bcl_contract.linkage.table import MAX_FIXED_WIDTH, Chunk

PERSON, HOUSEHOLD, NAME, KANA, BORN = "person", "household", "name", "kana", "born"
CERT_LINK = "cert_link"
_PERSON_COLUMNS = ("addressee_number", "owner_addressee_number")
_HEAD_NAME_COLUMN = "head_of_household_name"
_SLOT_COLUMNS = ("addressee_number", "household_number")
_LINK_SEPARATOR = b"\x1f"


def search_kind(layout: Layout, column: str) -> str | None:
    """The kind under which a column's values are searched; None when they aren't.

    Exact columns without a kind of their own are searched under their own name
    (`seal_registration_number`, `block_id`, …). Addresses are left to the partial-text index.
    """
    search = layout.column(column).search
    if column in _PERSON_COLUMNS and search == "exact":
        return PERSON
    if column == "household_number" and search == "exact":
        return HOUSEHOLD
    if column == _HEAD_NAME_COLUMN:
        return None  # the household's search key finds the same people
    if search == "exact":
        return column
    return {"name": NAME, "kana": KANA, "date": BORN}.get(search)


def cert_link_value(issuer_key: str, serial_number: str) -> str:
    """What the search key of a certificate is made of."""
    return issuer_key + _LINK_SEPARATOR.decode() + serial_number


def equals(chunk: Chunk, column: str, value: bytes) -> np.ndarray:
    """bool (rows): whose column has exactly this value (all False without the column)."""
    if not chunk.layout.has(column):
        return np.zeros(chunk.rows, dtype=bool)
    same: np.ndarray = chunk.fixed(column, len(value)) == value
    return same & (chunk.lengths(column) == len(value))


def valid_links(chunk: Chunk) -> np.ndarray:
    """bool (rows): rows of J05 that link a certificate to a person now; else all False."""
    return equals(chunk, "link_status", b"1") & ~equals(chunk, "deleted", b"1")


def slots_of(chunk: Chunk, keys: BlindKeys, *, digests: np.ndarray, urgent: bool) -> Slots:
    """The index of all rows of a chunk; `digests` uint64 (rows, 2) of their content."""
    layout = chunk.layout
    flags = np.full(chunk.rows, URGENT if urgent else 0, dtype=np.uint8)
    if layout.has("latest"):
        flags |= np.where(chunk.fixed("latest", 1) == b"1", LATEST, 0).astype(np.uint8)
    else:
        flags |= np.uint8(LATEST)
    facts = np.zeros(chunk.rows, dtype=np.uint64)
    if layout.file_id == household_facts.RESIDENTS_FILE:
        facts = household_facts.pack(chunk, keys) ^ keys.pads(digests)
    return Slots(
        digests=digests,
        records=keys.record_keys(chunk),
        persons=_subject_keys(chunk, keys, "addressee_number", PERSON),
        households=_subject_keys(chunk, keys, "household_number", HOUSEHOLD),
        facts=facts,
        flags=flags,
    )


def _subject_keys(chunk: Chunk, keys: BlindKeys, column: str, kind: str) -> np.ndarray:
    if not chunk.layout.has(column):
        return np.zeros(chunk.rows, dtype=np.int64)
    messages, lengths = column_matrix(chunk, column)
    return np.where(lengths > 0, keys.search_keys(kind, messages, lengths), 0)


def search_entries(
    chunk: Chunk, keys: BlindKeys, slots: Slots
) -> tuple[np.ndarray, np.ndarray]:
    """All search entries of a chunk: keys int64 (m), and the row of each int32 (m)."""
    found: list[np.ndarray] = [slots.persons, slots.households]
    filled = chunk.filled_columns()
    folded: dict[str, list[str]] = {}
    for column in chunk.layout.columns:
        kind = search_kind(chunk.layout, column.name)
        if kind is None or not filled[column.position - 1] or column.name in _SLOT_COLUMNS:
            continue
        if kind in FOLDS:
            folded.setdefault(kind, []).append(column.name)
        else:
            found.append(_subject_keys(chunk, keys, column.name, kind))
    for kind, names in folded.items():
        found += _folded_keys(chunk, keys, names, kind)
    if chunk.layout.has("issuer_key"):
        found.append(_link_keys(chunk, keys))
    rows = [np.flatnonzero(column).astype(np.int32) for column in found]
    return (
        np.concatenate([each[chosen] for each, chosen in zip(found, rows, strict=True)]),
        np.concatenate(rows),
    )


def _folded_keys(
    chunk: Chunk, keys: BlindKeys, columns: list[str], kind: str
) -> list[np.ndarray]:
    """Search keys of the columns of one folded kind for all rows, 0 = none; int64 each.

    A value that an earlier column of the row holds already is left out: the preferred name is
    nearly always the name.
    """
    found: list[np.ndarray] = []
    values: list[np.ndarray] = []
    for column in columns:
        lengths = chunk.lengths(column)
        width = -(-min(MAX_FIXED_WIDTH - 3, chunk.longest(column)) // 3) * 3
        own = chunk.fixed(column, width)
        fresh = lengths > 0
        for earlier in values:
            fresh &= own != earlier
        result = np.zeros(chunk.rows, dtype=np.int64)
        rows = np.flatnonzero(fresh)
        if len(rows):
            result[rows] = _keys_of_folded(keys, kind, own[rows])
            for earlier_keys in found:  # different spellings may fold to the same
                result[result == earlier_keys] = 0
        values.append(own)
        found.append(result)
    return found


def _keys_of_folded(keys: BlindKeys, kind: str, values: np.ndarray) -> np.ndarray:
    """Search keys of values, dtype S{3 k} (n), of a folded kind; int64 (n)."""
    matrix, lengths, left = fold_column(FOLDS[kind], values)
    result = keys.search_keys(kind, matrix, lengths)
    if len(left):
        result[left] = keys.folded_keys(kind, values[left].tolist())
    return result


def _link_keys(chunk: Chunk, keys: BlindKeys) -> np.ndarray:
    """Search keys of issuer and serial together; int64."""
    pairs = [
        chunk.value_bytes(row, "issuer_key") + _LINK_SEPARATOR
        + chunk.value_bytes(row, "serial_number")
        for row in range(chunk.rows)
    ]
    if not pairs:
        return np.zeros(0, dtype=np.int64)
    matrix = np.array(pairs)
    lengths = np.fromiter(map(len, pairs), dtype=np.int64)
    return keys.search_keys(CERT_LINK, matrix.view(np.uint8).reshape(len(pairs), -1), lengths)
