"""What every way of sending shares: settings, journal, keys, seams, and who hears the progress.

`Carrier` is the replaceable part (R-014): the built-in tus line (`carrier_tus`) or an external
tool over drop folders (`carrier_folder`). Which one is a setting; everything else is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, Self

from bcl_contract import clock
from bcl_gateway.config import GatewayConfig
from bcl_gateway.journal import Item, Journal
from bcl_gateway.seams import Seams
from bcl_gateway.sign import Keys

Progress = Callable[[Item, int, int], None]
"""Hears (item, acknowledged bytes, all bytes)."""

NO_PROBLEM: dict[str, Any] = {
    "failures": 0,
    "retry_at": None,
    "refusal_code": None,
    "refusal_detail": None,
}


@dataclass(frozen=True)
class Outbound:
    """What sending needs."""

    config: GatewayConfig
    journal: Journal
    keys: Keys
    seams: Seams
    progress: Progress


class Carrier(Protocol):
    """One way to BCL. Acts raise LineBroken, ServerRefuses, SealedFileError, FileNotFoundError.

    A kill in any of them is followed by the same act again: it must come to the same end.
    """

    contact_every: timedelta

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def upload(self, item: Item) -> Item:
        """SIGNED or SENDING → SENT."""
        ...

    def fetch_answer(self, item: Item) -> Item:
        """Learn what became of a SENT or HELD item; believes only signed receipts."""
        ...

    def make_contact(self) -> None:
        """Tell BCL that we live and learn what it wishes to have sent again (R-035)."""
        ...


LAST_CONTACT = "last_contact"
RESEND_REQUESTS = "resend_requests"


def contact_is_due(out: Outbound, every: timedelta) -> bool:
    """Has BCL not heard of us for `every`?"""
    last = out.journal.recall(LAST_CONTACT)
    return last is None or not timedelta(0) <= clock.now() - datetime.fromisoformat(last) < every
