"""Where one world keeps its things: folders, ports, and which towns live in it.

A world is everything on one machine: database, cloud, gateways, outside simulators. Two worlds run
side by side because every port is picked free once and written down.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_TOWNS = ("999997",)
PORT_NAMES = ("wire", "ocsp", "center", "page", "console")


def default_name() -> str:
    """A world's name: by setting, else one for this checkout, so that two checkouts don't meet."""
    chosen = os.environ.get("BCL_WORLD")
    if chosen:
        return chosen
    checkout = str(Path(__file__).resolve().parents[3])
    return "world-" + hashlib.sha256(checkout.encode()).hexdigest()[:8]


def default_state_root() -> Path:
    """`/var/lib/bcl` for root, else the user's state directory (decision D30)."""
    if os.geteuid() == 0:
        return Path("/var/lib/bcl")
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "bcl"


@dataclass(frozen=True)
class Places:
    """The folders and ports of one world. `results` outlives the world: what a person asked for."""

    name: str
    state: Path
    results: Path

    @classmethod
    def of(cls, name: str | None = None) -> Places:
        """The places of a world by name (not made yet)."""
        chosen = name or default_name()
        return cls(chosen, default_state_root() / chosen, Path.cwd() / "var" / "demo")

    def folder(self, *parts: str) -> Path:
        """A folder inside the state directory, made if need be (0700)."""
        path = self.state.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def town(self, municipality_code: str, part: str) -> Path:
        """A folder of one town: core | drop | gateway."""
        return self.folder("towns", municipality_code, part)

    @property
    def prints(self) -> Path:
        """Where the kiosk's paper falls."""
        return self.folder("kiosk", "prints")

    @property
    def pki(self) -> Path:
        """Certificates and message keys of the world's machines."""
        return self.folder("pki")

    @property
    def logs(self) -> Path:
        """One log file a program."""
        return self.folder("logs")

    def keep_environment(self, variables: Mapping[str, str]) -> None:
        """Write down the world's settings (paths and ports, no secrets) for later commands."""
        path = self.state / "environment.json"
        path.write_text(json.dumps(dict(variables), indent=1), encoding="utf-8")

    def kept_environment(self) -> dict[str, str]:
        """The settings of a world that was built here; empty without one."""
        path = self.state / "environment.json"
        if not path.is_file():
            return {}
        kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return kept

    def ports(self) -> dict[str, int]:
        """The world's ports, picked free the first time and kept."""
        path = self.state / "ports.json"
        kept: dict[str, int] = {}
        if path.is_file():
            kept = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in PORT_NAMES if name not in kept]
        if missing:  # all of them in a new world, some in one that an older version made
            self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            kept |= dict(zip(missing, free_ports(len(missing)), strict=True))
            path.write_text(json.dumps(kept), encoding="utf-8")
        return kept


def free_ports(count: int) -> list[int]:
    """Ports of loopback nobody listens on now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
