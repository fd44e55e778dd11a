"""How fast the gateway may send, by hours of the day: a town hall's line is not ours alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time

from bcl_contract import clock
from bcl_gateway.seams import Seams

_PIECES_PER_SECOND = 4
_LEAST_PIECE, _LARGEST_PIECE = 4 << 10, 128 << 10
_LONGEST_CREDIT_SECONDS = 1.0


@dataclass(frozen=True)
class HourLimit:
    """From `begins` until `ends` (Japan time; may pass midnight) at most so much."""

    begins: time
    ends: time
    bytes_per_second: int

    def holds_at(self, at: datetime) -> bool:
        """Does it hold at this moment?"""
        now = at.astimezone(clock.JST).time()
        if self.begins <= self.ends:
            return self.begins <= now < self.ends
        return now >= self.begins or now < self.ends


@dataclass(frozen=True)
class SendingLimits:
    """`bytes_per_second` of the day (None = no limit); the first of `hours` that holds wins."""

    bytes_per_second: int | None = None
    hours: Sequence[HourLimit] = ()

    def at(self, at: datetime) -> int | None:
        """Bytes per second that may be sent at this moment; None = no limit."""
        for limit in self.hours:
            if limit.holds_at(at):
                return limit.bytes_per_second
        return self.bytes_per_second


class Pace:
    """Waits before each piece so that no second carries more than the limit of its hour.

    What goes through is the content; TLS and HTTP add about two percent. A limit that begins in
    the middle of an upload holds from the next piece on.
    """

    def __init__(self, limits: SendingLimits, seams: Seams) -> None:
        self._limits, self._seams = limits, seams
        self._free_at = seams.monotonic()

    def piece_bytes(self) -> int:
        """How large the next piece should be: small enough that slow lines flow evenly."""
        rate = self._limits.at(clock.now())
        if rate is None:
            return _LARGEST_PIECE
        return max(_LEAST_PIECE, min(_LARGEST_PIECE, rate // _PIECES_PER_SECOND))

    def wait(self, size: int) -> None:
        """Wait until `size` more bytes may go out."""
        rate = self._limits.at(clock.now())
        if rate is None:
            return
        now = self._seams.monotonic()
        # A pause (an answer that took long) may be caught up with, but not for ever.
        self._free_at = max(self._free_at, now - _LONGEST_CREDIT_SECONDS)
        self._free_at += size / rate
        if self._free_at > now:
            self._seams.sleep(self._free_at - now)
