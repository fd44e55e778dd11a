"""kill -9 of the gateway at any moment: nothing lost, nothing doubled (R-017, R-018)."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bcl_gateway.api import Gateway
from bcl_gateway.config import parse_config
from bcl_gateway.journal import Journal
from bcl_gateway.states import ItemState

# Runs the gateway until a given call of a given function, and dies there without a goodbye.
DIES_AT = """
import os, signal, sys
from pathlib import Path
import bcl_gateway.{module} as module
real, left = module.{function}, {calls}
def deadly(*args, **named):
    global left
    left -= 1
    if left == 0 and {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*args, **named)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(module, "{function}", deadly)
from bcl_gateway import api
if hasattr(api, "{function}"):
    setattr(api, "{function}", deadly)
import json
from bcl_gateway.config import parse_config
config = parse_config(json.loads(Path(sys.argv[1]).read_text()), base=Path("/"))
with api.Gateway(config) as gateway:
    gateway.run_once(patience_seconds=20)
"""

MOMENTS = [
    ("collect", "_take", 1, True),
    ("collect", "_take", 1, False),
    ("collect", "sync_folder", 1, True),
    ("api", "check_folder", 1, False),
    ("sign", "_reserve", 1, False),
    ("sign", "write_package", 1, True),
    ("sign", "write_package", 1, False),
    ("sign", "_write", 1, False),
    ("sign", "drop_work_folder", 1, True),
    ("carrier_tus", "create_upload", 1, False),
    ("carrier_tus", "send_rest", 1, True),
    ("carrier_tus", "send_rest", 1, False),
    ("answers", "_take_receipt", 1, True),
    ("answers", "purge_spool", 1, True),
]


@pytest.fixture
def settings_file(make_settings: Callable[..., dict[str, Any]], tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(make_settings()))
    return path


def run_to_its_death(source: str, settings: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", source, str(settings)], timeout=120, capture_output=True, check=False
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()


@pytest.mark.requirement("R-017")
@pytest.mark.requirement("R-018")
@pytest.mark.parametrize(("module", "function", "calls", "before"), MOMENTS)
def test_kill__at_every_step__next_start_finishes_exactly_once(
    settings_file: Path, drop, server, module: str, function: str, calls: int, before: bool
) -> None:
    drop("night")
    source = DIES_AT.format(module=module, function=function, calls=calls, before=before)
    run_to_its_death(source, settings_file)

    config = parse_config(json.loads(settings_file.read_text()), base=Path("/"))
    with Gateway(config) as gateway:
        for _ in range(3):
            gateway.run_once(patience_seconds=20)
        (item,) = gateway.journal.items()
    assert (item.state, item.sequence) == (ItemState.LANDED, 1)
    landed = [u for u in server.complete() if u.bundle_id == item.bundle_id]
    assert {hashlib.sha256(u.content).hexdigest() for u in landed} == {item.package_sha256}
    assert len({u.bundle_id for u in server.complete()}) == 1
    for folder in (config.spool_dir, config.work_dir, config.drop_dir, config.rejected_dir):
        assert list(folder.iterdir()) == []


@pytest.mark.requirement("R-017")
@pytest.mark.parametrize("percent", [10, 50, 99])
def test_kill__in_the_middle_of_the_upload__resumes_with_at_most_one_chunk_again(
    settings_file: Path, drop, server, percent: int, tmp_path: Path
) -> None:
    drop("night")
    config = parse_config(json.loads(settings_file.read_text()), base=Path("/"))
    with Gateway(config) as gateway:
        gateway.collect(), gateway.check(), gateway.sign()
        size = gateway.journal.items()[0].package_bytes or 0
    process = subprocess.Popen(
        [sys.executable, "-c", DIES_AT.format(module="api", function="Gateway", calls=99,
                                              before=False), str(settings_file)]
    )  # fmt: skip
    server.behaviour.call = lambda: os.kill(process.pid, signal.SIGKILL)
    server.behaviour.call_at = [size * percent // 100]
    assert process.wait(timeout=120) == -signal.SIGKILL

    with Gateway(config) as gateway:
        gateway.send(patience_seconds=20)
        (item,) = gateway.journal.items()
    assert item.state is ItemState.LANDED
    (upload,) = server.uploads.values()
    assert hashlib.sha256(upload.content).hexdigest() == item.package_sha256
    # What the dead process had put on the line but the server had not read does not count.
    assert server.received_bytes <= size + config.chunk_bytes


@pytest.mark.requirement("R-018")
def test_gateway__second_process_in_the_same_place__is_refused(
    settings_file: Path, gateway: Gateway, drop
) -> None:
    drop("night")
    gateway.collect()
    source = "\n".join(
        (
            "import json, sys",
            "from pathlib import Path",
            "from bcl_gateway.api import Gateway",
            "from bcl_gateway.config import parse_config",
            "settings = json.loads(Path(sys.argv[1]).read_text())",
            "config = parse_config(settings, base=Path('/'))",
            "with Gateway(config) as gateway:",
            "    print(gateway.run_once().code)",
        )
    )
    answer = subprocess.run(
        [sys.executable, "-c", source, str(settings_file)],
        timeout=60, capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert answer.stdout.strip() == "GATEWAY_BUSY"


@pytest.mark.requirement("R-013")
def test_gateway__running__never_has_a_listening_socket(
    make_settings: Callable[..., dict[str, Any]], tmp_path: Path, drop, server
) -> None:
    """Looks at every socket of a running gateway while it uploads and while it waits."""
    settings = tmp_path / "gateway.toml"
    settings.write_text(_as_toml(make_settings()))
    drop("night")
    process = subprocess.Popen(
        [sys.executable, "-m", "bcl_gateway.main", "--config", str(settings), "run"],
        stdout=subprocess.DEVNULL,
    )
    states: set[str] = set()
    try:
        journal_file = tmp_path / "hall" / "state" / "journal.sqlite3"
        ends_at = time.monotonic() + 60
        landed = looks_after = 0
        while time.monotonic() < ends_at and looks_after < 20:
            states |= socket_states(process.pid)
            if journal_file.exists():
                with Journal(journal_file) as journal:
                    landed = len(journal.items(ItemState.LANDED))
            looks_after += landed
            time.sleep(0.01)
        assert landed == 1
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert "01" in states, "the upload's own connection was never seen: the look is blind"
    assert "0A" not in states
    assert not any(state.startswith("udp") for state in states)


def socket_states(pid: int) -> set[str]:
    """States (hex, as /proc writes them) of a process's TCP sockets; `udp` for a bound UDP one."""
    owned = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            if target.startswith("socket:["):
                owned.add(target[8:-1])
    except OSError:
        return set()
    states = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        path = Path(f"/proc/{pid}/net/{table}")
        if path.exists():
            for line in path.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[9] in owned:
                    states.add(fields[3] if table.startswith("tcp") else "udp")
    return states


def _as_toml(settings: dict[str, Any]) -> str:
    """Plain settings as TOML: JSON strings, numbers and lists are TOML too."""
    lines = [f"{k} = {json.dumps(v)}" for k, v in settings.items() if not isinstance(v, dict)]
    for name, table in settings.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
    return "\n".join(lines)
