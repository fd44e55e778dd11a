"""Uploads cut in every manner arrive whole, and a cut costs at most one chunk (R-017).

Short in `make test`; `make soak` sets BCL_CUTS and BCL_SOAK_DIR and goes on where it stopped.
"""

import contextlib
import hashlib
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bcl_contract import clock
from bcl_contract.sealed_file import SealedWriter
from bcl_gateway.api import Gateway
from bcl_gateway.journal import Item, Journal
from bcl_gateway.sign import load_keys, spool_context, spool_path
from bcl_gateway.states import ItemState
from bcl_sim.soak_ledger import Ledger

CUTS = int(os.environ.get("BCL_CUTS", "30"))
SEED = int(os.environ.get("BCL_SOAK_SEED", "20261125"))
LOSSES = [1, 5, 20, 30] if "BCL_SOAK_DIR" in os.environ else [20]
CUTS_A_SLICE = 50
CHUNK = 1 << 16
OVERHEAD_A_CONNECTION = 16 << 10
OVERHEAD_A_CHUNK = 1 << 10
MANNERS = ["rst", "fin", "stall", "corrupt", "slow", "kill client", "kill server"]
WEIGHTS = [6, 6, 3, 4, 2, 4, 1]
NO_NETWORK_OF_ITS_OWN = (
    os.geteuid() != 0
    or not all(shutil.which(name) for name in ("unshare", "ip", "nft"))
    or subprocess.run(["unshare", "-n", "nft", "list", "ruleset"], capture_output=True).returncode
)


def put_noise(gateway: Gateway, size: int) -> Item:
    """A signed item of random bytes, as large as one likes: what is carried is not looked at here.

    Every part of it is different, so a piece in a wrong place can't go unseen.
    """
    assert not isinstance(gateway._begin_with_keys(), str)
    keys, journal, at = load_keys(gateway.config), gateway.journal, clock.now()
    bundle, digest = gateway.seams.new_id(), hashlib.sha256()
    path, context = spool_path(gateway.config, bundle), spool_context(gateway.config, bundle)
    with SealedWriter(path, keys.spool, context=context) as writer:
        left = size
        while left:
            block = secrets.token_bytes(min(left, 1 << 20))
            writer.write(block)
            digest.update(block)
            left -= len(block)
    item = journal.move(journal.add("noise", at=at), ItemState.COLLECTED, at=at)
    item = journal.move(item, ItemState.CHECKED, at=at, lane="main", sequence=1, bundle_id=bundle)
    return journal.move(
        item, ItemState.SIGNED, at=at, spool_file=bundle, package_bytes=size,
        package_sha256=digest.hexdigest(),
    )  # fmt: skip


class Sender:
    """The gateway's sending as a process that can be killed; started again until all is sent."""

    SOURCE = """
import json, sys
from pathlib import Path
from bcl_gateway.api import Gateway
from bcl_gateway.config import parse_config
with Gateway(parse_config(json.loads(Path(sys.argv[1]).read_text()), base=Path("/"))) as own:
    own.send(patience_seconds=3600)
"""

    def __init__(self, settings: dict[str, Any], folder: Path, prefix: list[str]) -> None:
        self.file = folder / "settings.json"
        self.file.write_text(json.dumps(settings))
        self.prefix = prefix
        self.starts = 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        self.process = subprocess.Popen(
            [*self.prefix, sys.executable, "-c", self.SOURCE, str(self.file)],
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        self.process.kill()

    def keep_alive(self) -> None:
        if self.process.poll() is not None:
            self.start()

    def end(self) -> None:
        self.process.kill()
        self.process.wait(timeout=20)


def is_sent(journal_file: Path) -> bool:
    journal = Journal(journal_file)
    try:
        return journal.items()[-1].state is not ItemState.SENDING and (
            journal.items()[-1].receipt is not None
        )
    finally:
        journal.close()


def settings_of(hall, port: int) -> dict[str, Any]:
    url = f"https://127.0.0.1:{port}/wire"
    tuning = {
        "answer_timeout_seconds": 3, "backoff_first_seconds": 0.02, "backoff_longest_seconds": 0.2,
        "connect_timeout_seconds": 3, "chunk_mib": CHUNK / (1 << 20),
    }  # fmt: skip
    return hall.settings(server={"url": url}, tuning=tuning)


def run_slice(hall, proxy, folder: Path, *, cuts: int, seed: int) -> dict[str, Any]:
    """One upload through `cuts` cuts; gives what was measured. Raises for anything not whole."""
    dice = random.Random(seed)
    settings = settings_of(hall, proxy.port)
    with Gateway(
        hall.config(**{"server": settings["server"], "tuning": settings["tuning"]})
    ) as own:
        item = put_noise(own, size := cuts * CHUNK * 2)
        journal_file = own.config.journal_file
    happened: list[str] = []
    proxy.passed = proxy.cuts = proxy.connections = 0
    sender = Sender(settings, folder, [])
    in_work = threading.Lock()

    def next_cut() -> None:
        """Called in the proxy's loop at a cut: do this one, and set the mark of the next."""
        manner = dice.choices(MANNERS, WEIGHTS)[0]
        happened.append(manner)
        proxy.manner = manner if manner in ("rst", "fin", "stall", "corrupt") else "rst"
        proxy.stall_seconds = 3.2 if len(happened) % 5 == 0 else 0.05
        proxy.seconds_per_block = 0.004 if manner == "slow" else 0.0
        if manner == "kill client":
            sender.kill()
        elif manner == "kill server":
            in_work.acquire()
            threading.Thread(target=restart).start()
        if len(happened) < cuts:
            proxy.marks = [proxy.passed + dice.randrange(1, 2 * CHUNK)]

    def restart() -> None:
        hall.door.kill()
        hall.door.start()
        in_work.release()

    proxy.on_cut = next_cut
    proxy.marks = [dice.randrange(1, 2 * CHUNK)]
    ends_at = time.monotonic() + 60 + 3 * cuts
    try:
        while not (is_sent(journal_file) and len(happened) >= min(cuts, 1)):
            assert time.monotonic() < ends_at, f"seed {seed}: not whole after {happened}"
            sender.keep_alive()
            time.sleep(0.1)
    finally:
        with in_work:
            sender.end()
        proxy.on_cut, proxy.marks, proxy.seconds_per_block = lambda: None, [], 0.0
    with hall.door.database():
        from bcl.foundation import tenancy
        from bcl.linkage.models import Transmission

        with tenancy.scope(hall.code):
            (kept,) = Transmission.objects.all()
    assert (kept.sha256, kept.bytes) == (item.package_sha256, size), f"seed {seed}"
    limit = (
        size
        + proxy.cuts * CHUNK
        + proxy.connections * OVERHEAD_A_CONNECTION
        + (size // CHUNK + proxy.cuts) * OVERHEAD_A_CHUNK
    )
    assert proxy.passed <= limit, f"seed {seed}: {proxy.passed} bytes passed, {limit} at most"
    return {
        "seed": seed, "cuts": proxy.cuts, "bytes": size, "passed": proxy.passed,
        "manners": {m: happened.count(m) for m in MANNERS if m in happened},
        "resent_chunks_per_cut": round((proxy.passed - size) / CHUNK / proxy.cuts, 3),
    }  # fmt: skip


@pytest.mark.requirement("R-017")
@pytest.mark.timeout(7200)
def test_cuts__in_every_manner__arrive_whole_and_resend_at_most_a_chunk_each(
    make_hall, proxy, ledger: Ledger, tmp_path: Path
) -> None:
    number, left = 0, CUTS
    while left > 0:
        cuts, number = min(left, CUTS_A_SLICE), number + 1
        left -= cuts
        case = f"cuts/{SEED}/{number}/{cuts}"
        if ledger.has(case):
            continue
        hall = make_hall()
        measured = run_slice(hall, proxy, tmp_path, cuts=cuts, seed=SEED + number)
        assert measured["cuts"] >= cuts * 0.9, measured
        ledger.note(case, result="whole", **measured)
    assert set(ledger.results("cuts/")) == {"whole"}


LOSSY = """
set -eu
ip link set lo up
nft add table inet t
nft add chain inet t i '{ type filter hook input priority 0; }'
nft add rule inet t i tcp dport %(port)d numgen random mod 100 '<' %(percent)d drop
"$PYTHON" - <<'PROGRAM' &
%(relay)s
PROGRAM
relay=$!
( for turn in 1 2 3; do sleep 1.5; ip link set lo down; sleep 0.7; ip link set lo up; done ) &
flapping=$!
until "$PYTHON" -c "import socket; socket.create_connection(('127.0.0.1', %(port)d), 2)"; do
  sleep 0.1
done
"$PYTHON" -c "$SOURCE" "$SETTINGS" || true
kill $relay $flapping 2>/dev/null || true
"""

RELAY = """
import asyncio
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def serve(reader, writer):
    try:
        other = await asyncio.open_unix_connection({path!r})
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, other[1]), pump(other[0], writer), return_exceptions=True)
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", {port}) as server:
        await server.serve_forever()
asyncio.run(main())
"""

BRIDGE = """
import asyncio
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def serve(reader, writer):
    other = await asyncio.open_connection("127.0.0.1", {port})
    await asyncio.gather(pump(reader, other[1]), pump(other[0], writer), return_exceptions=True)
async def main():
    async with await asyncio.start_unix_server(serve, {path!r}) as server:
        await server.serve_forever()
asyncio.run(main())
"""


@pytest.mark.requirement("R-017")
@pytest.mark.skipif(bool(NO_NETWORK_OF_ITS_OWN), reason="needs root, unshare -n, ip and nft")
@pytest.mark.parametrize("percent", LOSSES)
def test_lossy_network__that_also_goes_down__arrives_whole(
    make_hall, ledger: Ledger, tmp_path: Path, percent: int
) -> None:
    """The gateway lives in a network namespace of its own: packets are lost, the link flaps.

    Only a socket file leads out of it, so nothing of the machine's own network is touched.
    """
    case = f"loss/{SEED}/{percent}"
    if ledger.has(case):
        return
    hall = make_hall()
    port = 8443
    settings = settings_of(hall, port)
    with Gateway(
        hall.config(**{"server": settings["server"], "tuning": settings["tuning"]})
    ) as own:
        item = put_noise(own, 2_000_000)
        journal_file = own.config.journal_file
    path = str(tmp_path / "line.sock")
    bridge = subprocess.Popen([sys.executable, "-c", BRIDGE.format(port=hall.door.port, path=path)])
    relay = RELAY.format(path=path, port=port)
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(settings))
    script = LOSSY % {"port": port, "percent": percent, "relay": relay}
    environ = os.environ | {
        "PYTHON": sys.executable, "SETTINGS": str(file),
        "SOURCE": Sender.SOURCE.replace("3600", "90"),
    }  # fmt: skip
    began = time.monotonic()
    inside = subprocess.Popen(
        ["unshare", "-n", "bash", "-c", script], env=environ, start_new_session=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not is_sent(journal_file):
            assert time.monotonic() - began < 120, f"{percent} % loss: not whole in time"
            time.sleep(0.1)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(inside.pid, signal.SIGKILL)
        inside.wait(timeout=20)
        bridge.kill()
        bridge.wait(timeout=20)
    journal = Journal(journal_file)
    kept = journal.items()[-1].receipt
    journal.close()
    assert kept is not None and kept["sha256"] == item.package_sha256
    ledger.note(case, result="whole", seconds=round(time.monotonic() - began, 1), loss=percent)
