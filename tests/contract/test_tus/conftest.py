"""BCL's real wire door (gunicorn, TLS 1.3, client certificates) and town halls to speak with it.

The server is a process of its own on the session's database. Every test gets towns of its own,
because a lane's numbers are for ever; the tables are emptied when the module is over.
"""

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bcl_contract import clock
from bcl_contract.values import InvalidValue, MunicipalityCode
from bcl_gateway.api import Gateway
from bcl_gateway.config import GatewayConfig, parse_config, public_key_fingerprint
from bcl_gateway.journal import Item
from bcl_gateway.sign import Keys, load_keys, open_spooled
from bcl_sim.core_system.town import Town
from bcl_sim.pki import WorldPki, make_world_pki
from bcl_sim.soak_ledger import Ledger

_town_numbers = itertools.count(99700)


def next_town_code() -> str:
    """A municipality code nobody has, with its check digit."""
    base = f"{next(_town_numbers):05d}"
    for digit in "0123456789":
        with contextlib.suppress(InvalidValue):
            MunicipalityCode(base + digit)
            return base + digit
    raise AssertionError("every five digits have one check digit")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Door:
    """The running wire door: its port, the world's certificates, and access to its database."""

    port: int
    pki_dir: Path
    pki: WorldPki
    process: subprocess.Popen[bytes]
    database: Callable[[], contextlib.AbstractContextManager[None]]
    environ: dict[str, str] = field(default_factory=dict)

    def kill(self) -> None:
        """kill -9 of the server and its workers, in the middle of whatever they do."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)

    def start(self) -> None:
        """Start it again at the same port."""
        self.process = start_server(self.environ, self.port)

    def url(self, path: str = "uploads/") -> str:
        return f"https://127.0.0.1:{self.port}/wire/{path}"

    def with_town(self, code: str) -> WorldPki:
        """Certificates of a town, made when first asked for."""
        self.pki = make_world_pki(self.pki_dir, [code], clock.now())
        return self.pki


@pytest.fixture(scope="module")
def door(
    django_db_setup: None, django_db_blocker: Any, cluster_info: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Door]:  # fmt: skip
    folder = tmp_path_factory.mktemp("door-pki")
    pki = make_world_pki(folder, ["999997"], clock.now())
    port = free_port()
    environ = os.environ | {
        "BCL_ROLE": "wire",
        "BCL_WIRE_PORT": str(port),
        "BCL_WIRE_CERTIFICATE_FILE": str(pki.wire_server.cert_path),
        "BCL_WIRE_PRIVATE_KEY_FILE": str(pki.wire_server.key_path),
        "BCL_WIRE_CLIENT_CA_FILE": str(pki.wire_clients_path),
        "PYTHONPATH": str(Path(__file__).parents[3] / "src"),
    }
    own = None
    try:
        process = start_server(environ, port)
        own = Door(port, folder, pki, process, django_db_blocker.unblock, environ)
        yield own
    finally:
        if own is not None:
            own.process.terminate()
            own.process.wait(timeout=40)
        with django_db_blocker.unblock():
            from django.db import connections

            connections.close_all()
        empty_tables(cluster_info)


def start_server(environ: dict[str, str], port: int) -> subprocess.Popen[bytes]:
    """The wire server as a process group of its own; returns when it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bcl.config.serve"],
        env=environ, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for_port(port, process)
    except BaseException:
        process.kill()
        raise
    return process


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + 60
    while time.monotonic() < ends_at:
        assert process.poll() is None, "the wire server did not start"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError("the wire server does not answer")


def empty_tables(cluster_info: Any) -> None:
    with psycopg.connect(cluster_info.url("bcl_superuser"), autocommit=True) as connection:
        tables = connection.execute(
            "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables "
            "WHERE schemaname = 'public' "
            "AND tablename NOT IN ('django_migrations', 'foundation_clusterinfo')"
        ).fetchone()
        assert tables is not None
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET lock_timeout = '20s'")
        connection.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY CASCADE")


@dataclass
class Hall:
    """One town hall: registered with BCL, with a core system's export to send."""

    code: str
    door: Door
    folder: Path
    town: Town
    gateway_id: str
    receipt_key: str
    opened: list[Gateway] = field(default_factory=list)
    external: dict[str, Any] = field(default_factory=dict)
    """Settings of an external transfer tool; empty = the built-in way."""

    def config(self, **changes: Any) -> GatewayConfig:
        return parse_config(self.settings(**changes), base=self.folder)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """The settings as the file would hold them; `changes` replace values."""
        pki = self.door.pki
        server = {
            "url": self.door.url("").rstrip("/"),
            "ca_file": str(pki.bcl_ca.cert_path),
            "certificate_file": str(pki.gateway(self.code).cert_path),
            "key_file": str(pki.gateway(self.code).key_path),
            "public_keys": [public_key_fingerprint(pki.wire_server.cert_path.read_bytes())],
            "receipt_key": self.receipt_key,
        }
        tuning = {
            "settle_seconds": 0, "chunk_mib": 0.0625, "backoff_first_seconds": 0.05,
            "backoff_longest_seconds": 0.5, "interval_seconds": 0.2,
            "answer_timeout_seconds": 20, "minimum_free_mib": 1,
        }  # fmt: skip
        if self.external:
            server, content = {"receipt_key": self.receipt_key}, {"transfer": self.external}
        else:
            content = {}
        content |= {
            "environment": "verification",
            "municipality_code": self.code,
            "state_dir": str(self.folder / "state"),
            "drop_dir": str(self.folder / "outbox"),
            "signing_key_file": str(pki.gateway_signing(self.code).key_path),
            "server": server | changes.pop("server", {}),
            "tuning": tuning | changes.pop("tuning", {}),
        }
        return content | changes

    def gateway(self, **changes: Any) -> Gateway:
        own = Gateway(self.config(**changes))
        self.opened.append(own)
        return own

    def export(self, mode: str = "full") -> None:
        (self.folder / "outbox").mkdir(exist_ok=True)
        self.town.export(self.folder / "outbox", mode=mode)

    def sealed(self, gateway: Gateway) -> tuple[bytes, str, str]:
        """Collect, check and sign; give the package's bytes, bundle id and SHA-256."""
        for step in (gateway.collect, gateway.check, gateway.sign):
            step()
        item = gateway.journal.items()[-1]
        keys = load_keys(gateway.config)
        assert isinstance(keys, Keys) and item.bundle_id and item.package_sha256
        with open_spooled(gateway.config, keys, item) as source:
            return source.read(), item.bundle_id, item.package_sha256

    def deliver(self, gateway: Gateway, *, seconds: float = 60) -> Item:
        """Send until BCL has signed for the last item, without waiting for its judgement."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            gateway.send()
            item = gateway.journal.items()[-1]
            if item.receipt is not None:
                return item
            time.sleep(0.02)
        raise AssertionError("no receipt in time")

    def transmissions(self) -> list[tuple[str, str]]:
        """(bundle id, state) of everything BCL holds of this town."""
        with self.door.database():
            from bcl.foundation import tenancy
            from bcl.linkage.models import Transmission

            with tenancy.scope(self.code):
                rows = Transmission.objects.order_by("received_at")
                return [(row.bundle_id, str(row.state)) for row in rows]

    def work(self) -> None:
        """Let BCL's background jobs run to their end."""
        with self.door.database():
            from bcl.foundation import jobs

            jobs.run_pending_now()


@pytest.fixture
def make_hall(door: Door, tmp_path: Path) -> Iterator[Callable[..., Hall]]:
    yield from _halls(door, tmp_path)


@pytest.fixture(scope="module")
def make_hall_of_module(
    door: Door, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Hall]]:
    """Halls that all tests of a module share."""
    yield from _halls(door, tmp_path_factory.mktemp("halls"))


def _halls(door: Door, place: Path) -> Iterator[Callable[..., Hall]]:
    halls: list[Hall] = []

    def make(*, residents: int = 200) -> Hall:
        code = next_town_code()
        pki = door.with_town(code)
        folder = place / code
        folder.mkdir()
        with door.database():
            from bcl.linkage import api as linkage
            from bcl.municipalities import api as municipalities

            municipalities.register_municipality(
                municipality_code=code, name_ja="試験市", head_title_ja="市長",
                mayor_name_ja="試験 太郎",
            )  # fmt: skip
            identity = municipalities.register_gateway_cert(
                code, pki.gateway(code).cert_path.read_bytes(), pki.gateway_signing(code).public()
            )
            receipt_key = linkage.get_receipt_public_key(code, at=clock.now())
        town = Town.generate(folder / "town", municipality_code=code, residents=residents, seed=3)
        hall = Hall(code, door, folder, town, str(identity.id), receipt_key)
        halls.append(hall)
        return hall

    yield make
    for hall in halls:
        for gateway in hall.opened:
            gateway.close()
        hall.town.close()
        shutil.rmtree(hall.folder)


@pytest.fixture
def hall(make_hall: Callable[..., Hall]) -> Hall:
    own = make_hall()
    own.export()
    return own


class CutProxy:
    """A TCP proxy that resets its connections when marks of passed client bytes are reached.

    `marks` count the bytes of all connections together that went from client to server.
    """

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self.passed = 0
        self.cuts = 0
        self.marks: list[int] = []
        self.connections = 0
        self.on_cut: Callable[[], None] = lambda: None
        self.manner = "rst"
        """How the line breaks: rst, fin, stall (silence, then rst), corrupt (a byte under TLS)."""
        self.stall_seconds = 0.0
        self.seconds_per_block = 0.0
        """A slow line: so long for every 4 KiB."""
        self._target = target_port
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        self._loop.close()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=4096)
        self._ready.set()
        async with server:
            await self._stop.wait()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self.connections += 1
        back = asyncio.ensure_future(self._copy(onward[0], writer))
        try:
            while data := await reader.read(4096):
                if self.seconds_per_block:
                    await asyncio.sleep(self.seconds_per_block)
                self.passed += len(data)
                due = [mark for mark in self.marks if mark <= self.passed]
                if due:
                    self.marks = [mark for mark in self.marks if mark not in due]
                    self.cuts += 1
                    self.on_cut()
                    if self.manner == "corrupt":
                        data = data[:-1] + bytes([data[-1] ^ 1])
                    else:
                        await self._break(writer, onward[1])
                        return
                onward[1].write(data)
                await onward[1].drain()
        except OSError:
            pass
        finally:
            back.cancel()
            for end in (writer, onward[1]):
                end.close()
            await asyncio.gather(back, return_exceptions=True)

    async def _break(self, *ends: asyncio.StreamWriter) -> None:
        if self.manner == "fin":
            return  # both ends are closed politely by the caller
        if self.manner == "stall":
            await asyncio.sleep(self.stall_seconds)
        for end in ends:
            _reset(end)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
            writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a cut line or a dying machine does, not with a polite end."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.fixture
def proxy(door: Door) -> Iterator[CutProxy]:
    own = CutProxy(door.port)
    yield own
    own.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """The memory of the long tests; of its own in a short run, kept by `make soak`."""
    return Ledger(Path(os.environ.get("BCL_SOAK_DIR", tmp_path)) / "receive.jsonl")
