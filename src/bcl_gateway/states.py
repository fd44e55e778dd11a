"""Where a collected folder stands on its way, and which steps exist."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class ItemState(StrEnum):
    """One step behind the other; the word is what the journal stores."""

    FOUND = "FOUND"
    COLLECTED = "COLLECTED"
    CHECKED = "CHECKED"
    SIGNED = "SIGNED"
    SENDING = "SENDING"
    SENT = "SENT"
    HELD = "HELD"
    LANDED = "LANDED"
    REJECTED = "REJECTED"
    RETURNED = "RETURNED"


STATE_TEXTS: Mapping[ItemState, str] = MappingProxyType(
    {
        ItemState.FOUND: "受取前",
        ItemState.COLLECTED: "受取済み（検査前）",
        ItemState.CHECKED: "検査済み（封をする前）",
        ItemState.SIGNED: "署名済み（送信待ち）",
        ItemState.SENDING: "送信中",
        ItemState.SENT: "送信済み（BCLの処理待ち）",
        ItemState.HELD: "BCLで保留",
        ItemState.LANDED: "BCLで反映済み",
        ItemState.REJECTED: "BCLで不受理",
        ItemState.RETURNED: "検査で差戻し（送っていません）",
    }
)

TRANSITIONS: Mapping[ItemState, frozenset[ItemState]] = MappingProxyType(
    {
        ItemState.FOUND: frozenset({ItemState.COLLECTED, ItemState.RETURNED}),
        ItemState.COLLECTED: frozenset({ItemState.CHECKED, ItemState.RETURNED}),
        # A file may still be changed by hand between check and sealing: the digest tells.
        ItemState.CHECKED: frozenset({ItemState.SIGNED, ItemState.RETURNED}),
        # REJECTED from here: a person gave up a package that no longer opens.
        ItemState.SIGNED: frozenset({ItemState.SENDING, ItemState.REJECTED}),
        ItemState.SENDING: frozenset({ItemState.SENT, ItemState.REJECTED}),
        # BCL lost what it had not signed for: it is sent once more.
        ItemState.SENT: frozenset(
            {ItemState.SENDING, ItemState.HELD, ItemState.LANDED, ItemState.REJECTED}
        ),
        ItemState.HELD: frozenset({ItemState.LANDED, ItemState.REJECTED}),
        ItemState.LANDED: frozenset(),
        ItemState.REJECTED: frozenset(),
        ItemState.RETURNED: frozenset(),
    }
)

UNSENT = (ItemState.SIGNED,)
UNDERWAY = (ItemState.SENDING, ItemState.SENT)
NUMBER_GIVEN_BACK = (ItemState.REJECTED, ItemState.RETURNED)
"""Their sequence number is free again: the corrected data takes it, so lanes have no gap."""
