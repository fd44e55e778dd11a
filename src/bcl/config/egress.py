"""Where a serving process may connect to: a table by process, enforced in one place (R-162).

`enforce` hooks every connection, datagram and name look-up that this process makes in Python;
whatever `data/egress.csv` doesn't list for it is refused, counted and logged as an error. No code
can take the hook out again.

The database driver connects in C and gets its address from settings alone; what programs of other
kinds do (the malware engine's own updates) is the firewall's, whose list is the same table.
"""

from __future__ import annotations

import csv
import errno
import ipaddress
import socket
import sys
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from bcl.config.env import Settings
from bcl.foundation import log, metrics

logger = log.get(__name__)

REFUSED = metrics.Counter(
    "bcl_egress_refused_total", "Connections that this process tried and was not allowed"
)
_CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_DATABASE_PORT = 5432
_OCSP_PORT = 80


class EgressRefused(PermissionError):
    """A connection to a place that the table doesn't list for this process."""


@dataclass(frozen=True)
class Target:
    """One allowed place: `host` and `port`, or the path of a local socket with port 0."""

    name: str
    host: str
    port: int


@cache
def table() -> tuple[dict[str, str], ...]:
    """Rows of `data/egress.csv`: process, target, setting, why."""
    path = resources.files("bcl.config") / "data" / "egress.csv"
    return tuple(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def allowed_targets(settings: Settings, process: str) -> frozenset[Target]:
    """The places that the table and this installation's settings give a process."""
    found: set[Target] = set()
    for row in table():
        if row["process"] == process:
            found |= _targets_of(row["target"], settings)
    return frozenset(found)


def _targets_of(name: str, settings: Settings) -> set[Target]:
    if name == "database":
        return {found for url in settings.external_urls.values() for found in _of(name, url)}
    if name == "backup_database":
        return set(_of(name, settings.backup.url))
    if name == "malware_engine":
        place = settings.malware.clamd_socket
        return {Target(name, str(place), 0)} if place is not None else set()
    if name == "issuance_guard":
        place = settings.issuance.guard_socket
        return {Target(name, str(place), 0)} if place is not None else set()
    if name == "jpki_status":
        parts = urlsplit(settings.issuance.jpki_ocsp_url)
        port = parts.port or _OCSP_PORT
        return {Target(name, parts.hostname, port)} if parts.hostname else set()
    raise ValueError(f"egress.csv names an unknown target: {name}")


def _of(name: str, url: str) -> list[Target]:
    """The places of a connection string, which may list several; local sockets are paths."""
    parts = conninfo_to_dict(url) if url else {}
    hosts = str(parts.get("host") or "").split(",")
    ports = str(parts.get("port") or _DATABASE_PORT).split(",")
    ports += ports[-1:] * (len(hosts) - len(ports))
    return [
        Target(name, host, int(port or _DATABASE_PORT))
        for host, port in zip(hosts, ports, strict=False)
        if host
    ]


def enforce(settings: Settings) -> None:
    """From now on this process, and what it forks, connects to its allowed places only."""
    gate = _Gate(allowed_targets(settings, settings.process_role))
    sys.addaudithook(gate.judge)


class _Gate:
    """Judges what the interpreter is about to do on the network."""

    def __init__(self, targets: frozenset[Target]) -> None:
        self._hosts = {target.host for target in targets}
        self._places = {(target.host, target.port) for target in targets}

    def judge(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Raises `EgressRefused` for what isn't allowed; anything else passes."""
        if event in _LOOKUPS:
            host = arguments[0]
            if not self._may_resolve(host):
                self._refuse("name")
        elif event in _CONNECTS and not self._may_connect(arguments[1]):
            self._refuse("connection")

    def _may_resolve(self, host: Any) -> bool:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        return name is None or name == "" or name in self._hosts or _is_number(str(name))

    def _may_connect(self, address: Any) -> bool:
        if address is None:  # a datagram on a line that is connected already, and was judged then
            return True
        if isinstance(address, str | bytes):
            path = address.decode("utf-8", "replace") if isinstance(address, bytes) else address
            return (path, 0) in self._places
        if not isinstance(address, tuple) or len(address) < 2:
            return False
        return self._is_allowed(str(address[0]), int(address[1]))

    def _is_allowed(self, host: str, port: int) -> bool:
        if (host, port) in self._places:
            return True
        # A name was looked up before: the connection shows one of its addresses.
        return any(
            port == allowed_port and host in _addresses_of(name)
            for name, allowed_port in self._places
            if not _is_number(name) and not name.startswith("/")
        )

    def _refuse(self, kind: str) -> None:
        REFUSED.inc()
        logger.error("egress_refused", kind=kind)
        raise EgressRefused(errno.EACCES, "this process may not connect there")


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _addresses_of(name: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
    except OSError:
        return set()
