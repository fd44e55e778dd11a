"""Sleeping and chance, as arguments: tests and simulations put their own in."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

_system_random = random.SystemRandom()


@dataclass(frozen=True)
class Seams:
    """`sleep` waits seconds; `chance` gives a float in [0, 1); `new_id` a fresh bundle id.

    `monotonic` measures durations. Business time is `bcl_contract.clock`, not here.
    """

    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = _system_random.random
    monotonic: Callable[[], float] = time.monotonic
    new_id: Callable[[], str] = field(default=lambda: str(uuid.uuid4()))


def backoff_seconds(
    failures: int, *, first: float, longest: float, chance: Callable[[], float]
) -> float:
    """Seconds to wait after the n-th failure in a row (1, 2, …): doubling, with full jitter.

    Between half and the whole of the doubled time, so that the gateways of many towns that lost
    the same line do not all come back at the same moment.
    """
    ceiling = min(longest, first * 2.0 ** min(failures - 1, 30))
    return ceiling * (0.5 + 0.5 * chance())
