"""A main load gives way to the urgent lane of its town (R-023, decision D3).

Loads of one municipality wait for one another (`resident_store` holds a lock), and a full file of
a large city takes minutes: a restriction must not stand behind it. So a main load that reads on
asks, a few times a second, whether an urgent transmission stands opened; then it gives up, its
transaction rolls back, and its next try queues behind the urgent one at the lock.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import BinaryIO, cast

from django.db import DatabaseError, connections

from bcl.foundation import log, tenancy
from bcl.linkage.models import Transmission
from bcl.linkage.rules import TransmissionState

FIRST_LOOK_SECONDS = 0.4
LOOK_SECONDS = 0.2
MOST_TIMES = 8
"""How often one try of a main load gives way; then it runs through, so that it can't starve."""

logger = log.get(__name__)


class GaveWay(Exception):
    """A main load stopped for an urgent transmission: not a fault, it is tried again at once."""


class UrgentWatch:
    """Looks for an opened urgent transmission of a town while a main load runs.

        with UrgentWatch("999997") as watch:
            source = watch.over(source)     # its read() raises GaveWay
            watch.check()

    The look is made in a thread with a database connection of its own: the load's connection is
    busy, and its transaction could not be asked from another thread. A load shorter than
    `FIRST_LOOK_SECONDS` never opens one. `wanted=False` watches nothing.
    """

    def __init__(self, municipality_code: str, *, wanted: bool = True) -> None:
        self._municipality_code = municipality_code
        self._wanted = wanted
        self._seen, self._over = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> UrgentWatch:
        if self._wanted:
            self._thread = threading.Thread(target=self._look, name="bcl-give-way", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def check(self) -> None:
        """Raise `GaveWay` when an urgent transmission has been seen."""
        if self._seen.is_set():
            raise GaveWay

    def over(self, source: BinaryIO) -> BinaryIO:
        """The same bytes; reading on raises `GaveWay` once an urgent transmission stands there."""
        return cast(BinaryIO, _Watched(source, self))

    def _look(self) -> None:
        pause = FIRST_LOOK_SECONDS
        try:
            while not self._over.wait(pause):
                pause = LOOK_SECONDS
                if self._stands_opened():
                    self._seen.set()
                    return
        except DatabaseError:
            # The load's own connection will meet the same; without a watch it only is slower.
            logger.warning("urgent_watch_lost", municipality_code=self._municipality_code)
        finally:
            connections.close_all()  # this thread's

    def _stands_opened(self) -> bool:
        with tenancy.scope(self._municipality_code):
            return Transmission.objects.filter(
                lane="urgent", state=TransmissionState.OPENED
            ).exists()


class _Watched:
    """A binary source that asks before every read."""

    def __init__(self, source: BinaryIO, watch: UrgentWatch) -> None:
        self._source, self._watch = source, watch

    def read(self, size: int = -1) -> bytes:
        self._watch.check()
        return self._source.read(size)

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)
