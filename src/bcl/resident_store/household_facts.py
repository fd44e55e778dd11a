"""Facts of a resident that household rules need, packed into 64 bits; and those rules.

Owns: packing, and V01-V03 over whole columns.
Promises: packed facts are stored only under a pad (`BlindKeys.pads`); a rule may miss a wrong
head's name with probability 2^-25, and never reports a right one.

Bits, from the top: resident (latest row, resident_state 1), head (relationship 02), head unknown
(relationship 01), entry order (10), digest of the full name (25), of the head's name (25); the
lowest is free. A digest of 0 means an empty name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcl.resident_store.blind_keys import BlindKeys, bytes_matrix, column_matrix
from bcl_contract.linkage.table import Chunk

RESIDENTS_FILE = "J01"
_RESIDENT, _HEAD, _HEAD_UNKNOWN = 63, 62, 61
_ORDER, _NAME, _HEAD_NAME = 51, 26, 1
_ORDER_MASK, _NAME_MASK = (1 << 10) - 1, (1 << 25) - 1
_LATEST_FLAG, _RESIDENT_STATE = b"1", b"1"


def pack(chunk: Chunk, keys: BlindKeys) -> np.ndarray:
    """Facts of all rows of a J01 chunk; gives uint64 (n), not yet padded."""
    latest = chunk.fixed("latest", 1) == _LATEST_FLAG
    resident = latest & (chunk.fixed("resident_state", 1) == _RESIDENT_STATE)
    relationship = chunk.fixed("relationship_code_1", 2)
    facts = resident.astype(np.uint64) << np.uint64(_RESIDENT)
    facts |= (relationship == b"02").astype(np.uint64) << np.uint64(_HEAD)
    facts |= (relationship == b"01").astype(np.uint64) << np.uint64(_HEAD_UNKNOWN)
    facts |= _orders(chunk) << np.uint64(_ORDER)
    facts |= _name(chunk, "full_name", keys) << np.uint64(_NAME)
    facts |= _name(chunk, "head_of_household_name", keys) << np.uint64(_HEAD_NAME)
    return facts


def _orders(chunk: Chunk) -> np.ndarray:
    """`entry_order` as a number; anything else than digits becomes 0, which is no order."""
    digits = bytes_matrix(chunk.fixed("entry_order", 3)).astype(np.int64)
    order = np.zeros(chunk.rows, dtype=np.int64)
    valid = chunk.lengths("entry_order") > 0
    for place in range(3):
        column = digits[:, place]
        is_digit = (column >= 0x30) & (column <= 0x39)
        valid &= is_digit | (column == 0)
        order = np.where(is_digit, order * 10 + column - 0x30, order)
    return np.where(valid, order, 0).astype(np.uint64)


def _name(chunk: Chunk, column: str, keys: BlindKeys) -> np.ndarray:
    messages, lengths = column_matrix(chunk, column)
    digests = keys.name_checks(messages, lengths) & np.uint64(_NAME_MASK)
    return np.where(lengths == 0, np.uint64(0), np.maximum(digests, np.uint64(1)))


def is_resident(facts: np.ndarray) -> np.ndarray:
    """bool (n): which records count as residents now."""
    return (facts >> np.uint64(_RESIDENT)).astype(bool)


def _bits(facts: np.ndarray, shift: int, mask: int) -> np.ndarray:
    return (facts >> np.uint64(shift)) & np.uint64(mask)


@dataclass(frozen=True)
class HouseholdFaults:
    """Blind keys of households that break a rule, int64 arrays by rule id."""

    by_rule: dict[str, np.ndarray]

    def households(self) -> np.ndarray:
        """All faulty households, each once."""
        return np.unique(np.concatenate([*self.by_rule.values(), np.zeros(0, np.int64)]))


def judge_households(households: np.ndarray, facts: np.ndarray) -> HouseholdFaults:
    """Judge whole households after a load (V01, V02, V03 of the interface).

    `households` int64 (n) and `facts` uint64 (n, not padded) hold every live record of the
    households in question; rows that are not residents are left out here.
    V01: exactly one head (none where the head is recorded as unknown). V02: the entry orders are
    1…n. V03: everybody's head-of-household name is the head's own name.
    """
    resident = is_resident(facts)
    households, facts = households[resident], facts[resident]
    order = _bits(facts, _ORDER, _ORDER_MASK).astype(np.int16)
    sorting = np.lexsort((order, households))
    households, facts, order = households[sorting], facts[sorting], order[sorting]
    del sorting, resident
    starts = np.flatnonzero(np.append(True, households[1:] != households[:-1]))
    if not len(households):
        return HouseholdFaults({})
    unique = households[starts]
    of = np.cumsum(np.append(False, households[1:] != households[:-1]), dtype=np.int32)
    del households

    def count(marks: np.ndarray) -> np.ndarray:
        return np.add.reduceat(marks.astype(np.int32), starts)

    head = _bits(facts, _HEAD, 1).astype(bool)
    heads = count(head)
    unknown = count(_bits(facts, _HEAD_UNKNOWN, 1)) > 0
    no_single_head = (heads > 1) | ((heads == 0) & ~unknown)
    disordered = count(order != np.arange(1, len(order) + 1) - starts[of]) > 0
    name = _bits(facts, _NAME, _NAME_MASK).astype(np.int32)
    heads_name = np.add.reduceat(np.where(head, name, 0), starts)  # of one head: its name
    said = _bits(facts, _HEAD_NAME, _NAME_MASK).astype(np.int32)
    misnamed = (count((said != heads_name[of]) & (said != 0)) > 0) & (heads == 1)
    return HouseholdFaults(
        {
            rule: unique[faulty]
            for rule, faulty in (
                ("V01", no_single_head), ("V02", disordered), ("V03", misnamed),
            )
            if faulty.any()
        }
    )
