"""Clear keys in the memory of one process, for seconds at a time.

What is held here is good only while the database confirms it: every `CONFIRM_SECONDS` the keys of
a town are checked against its rows, so that a destroyed key is forgotten by every process within
that time (R-027). Keys made in an open transaction are never held: it may yet roll back, and a
phantom key would seal data that nothing can open.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

CONFIRM_SECONDS = 3.0


class KeyCache:
    """Secrets by (municipality, purpose, version) and the current version of each purpose."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: dict[tuple[str, str, int], bytes] = {}
        self._current: dict[tuple[str, str], tuple[int, float]] = {}
        self._confirmed_until: dict[str, float] = {}
        self._unsettled: set[str] = set()

    def current_version(self, code: str, purpose: str) -> int | None:
        """The version to seal with, if it was looked up within the last seconds."""
        version, until = self._current.get((code, purpose), (None, 0.0))
        return version if time.monotonic() < until else None

    def remember_current(self, code: str, purpose: str, version: int) -> None:
        with self._lock:
            if code not in self._unsettled:
                self._current[code, purpose] = version, time.monotonic() + CONFIRM_SECONDS

    def secret(self, code: str, purpose: str, version: int) -> bytes | None:
        """A secret that was confirmed within the last seconds."""
        if time.monotonic() >= self._confirmed_until.get(code, 0.0):
            return None
        return self._secrets.get((code, purpose, version))

    def holds(self, code: str) -> bool:
        """Whether any secret of the town is held, confirmed or not."""
        return any(key[0] == code for key in list(self._secrets))

    def confirm(self, code: str, alive: Collection[tuple[str, int]]) -> None:
        """Keep those of a town's secrets that still exist, (purpose, version); drop the others."""
        with self._lock:
            self._secrets = {
                key: secret
                for key, secret in self._secrets.items()
                if key[0] != code or key[1:] in alive
            }
            self._confirmed_until[code] = time.monotonic() + CONFIRM_SECONDS

    def remember_secret(self, code: str, purpose: str, version: int, secret: bytes) -> None:
        with self._lock:
            if code not in self._unsettled:
                if time.monotonic() >= self._confirmed_until.get(code, 0.0):
                    self._drop_secrets(code)
                    self._confirmed_until[code] = time.monotonic() + CONFIRM_SECONDS
                self._secrets[code, purpose, version] = secret

    def unsettle(self, code: str) -> None:
        """The town's keys change in an open transaction: hold none of them until `settle`."""
        with self._lock:
            self._unsettled.add(code)
            self._forget(code)

    def settle(self, code: str) -> None:
        with self._lock:
            self._unsettled.discard(code)
            self._forget(code)

    def forget(self, code: str) -> None:
        """Drop what is held of one town."""
        with self._lock:
            self._forget(code)

    def clear(self) -> None:
        with self._lock:
            self._secrets.clear()
            self._current.clear()
            self._confirmed_until.clear()

    def _forget(self, code: str) -> None:
        self._drop_secrets(code)
        self._current = {k: v for k, v in self._current.items() if k[0] != code}
        self._confirmed_until.pop(code, None)

    def _drop_secrets(self, code: str) -> None:
        self._secrets = {k: v for k, v in self._secrets.items() if k[0] != code}
