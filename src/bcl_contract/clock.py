"""The one clock of the product: Japan Standard Time, and injectable.

Owns: what "now" and "today" mean in every process.
Promises: every time is aware and in `JST`; tests and demo worlds can shift or fix it.
Never: business code asks the operating system for the time in another way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone

JST = timezone(timedelta(hours=9), "Asia/Tokyo")
"""Japan has no summer time, so a fixed offset is exact and needs no time zone data."""

OFFSET_VARIABLE = "BCL_CLOCK_OFFSET_SECONDS"


@dataclass(frozen=True)
class Clock:
    """A clock that runs with an offset to the machine's, or stands still.

    `offset` is added to the machine's time. `fixed`, when given, is the answer itself
    (plus `offset`); it must be aware.
    """

    offset: timedelta = field(default_factory=timedelta)
    fixed: datetime | None = None

    def __post_init__(self) -> None:
        if self.fixed is not None and self.fixed.tzinfo is None:
            raise ValueError("the fixed time of a clock must carry a time zone")

    def now(self) -> datetime:
        """Give the current time of this clock, aware, in JST."""
        base = self.fixed if self.fixed is not None else datetime.now(JST)  # noqa: TID251 - the one place
        return base.astimezone(JST) + self.offset


def _clock_of_environment() -> Clock:
    """Build the clock of a process: all processes of one demo world share one offset."""
    text = os.environ.get(OFFSET_VARIABLE, "").strip()
    if not text:
        return Clock()
    try:
        return Clock(offset=timedelta(seconds=float(text)))
    except (ValueError, OverflowError) as fault:
        raise ValueError(f"{OFFSET_VARIABLE} には秒数を指定してください。") from fault


_process_clock = _clock_of_environment()
_chosen: ContextVar[Clock | None] = ContextVar("bcl_clock", default=None)


def current() -> Clock:
    """Give the clock in force here: the innermost `use`, else the process's clock."""
    return _chosen.get() or _process_clock


def now() -> datetime:
    """Give the current business time, aware, in JST."""
    return current().now()


def today() -> date:
    """Give the current business date in Japan."""
    return now().date()


@contextmanager
def use(clock: Clock) -> Iterator[Clock]:
    """Put `clock` in force inside the block (this thread and its coroutines only)."""
    token = _chosen.set(clock)
    try:
        yield clock
    finally:
        _chosen.reset(token)
