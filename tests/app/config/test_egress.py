"""A serving process connects to the places of its table and nowhere else (R-162)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bcl.config import egress, env

pytestmark = pytest.mark.requirement("R-162")

# Runs with the gate in place, tries what it is told, and says what became of each try.
PROGRAM = """
import json, os, socket, sys
import http.client
import django
django.setup()
from bcl.config import egress, env
from bcl.foundation import metrics
settings = env.read()
egress.enforce(settings)
port, other, place = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

def stream(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as line:
        line.settimeout(5)
        line.connect(address)

def datagram(how):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        if how == "sendto":
            line.sendto(b"x", ("127.0.0.1", other))
        else:
            line.sendmsg([b"x"], [], 0, ("127.0.0.1", other))

def web(host, to):
    line = http.client.HTTPConnection(host, to, timeout=5)
    line.connect()
    line.close()

tries = {
    "status service": lambda: web("localhost", port),
    "its number": lambda: stream(socket.AF_INET, ("127.0.0.1", port)),
    "other port": lambda: stream(socket.AF_INET, ("127.0.0.1", other)),
    "by connect_ex": lambda: socket.socket().connect_ex(("127.0.0.1", other)),
    "other host": lambda: web("bcl.example", port),
    "name": lambda: socket.getaddrinfo("bcl.example", 80),
    "old name": lambda: socket.gethostbyname("bcl.example"),
    "sendto": lambda: datagram("sendto"),
    "sendmsg": lambda: datagram("sendmsg"),
    "engine": lambda: stream(socket.AF_UNIX, place),
    "other socket": lambda: stream(socket.AF_UNIX, place + ".other"),
    "in a child": lambda: forked(),
}

def forked():
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            stream(socket.AF_INET, ("127.0.0.1", other))
            os.write(writing, b"went")
        except egress.EgressRefused:
            os.write(writing, b"refused")
        os._exit(0)
    os.wait()
    if os.read(reading, 10) == b"refused":
        raise egress.EgressRefused

results = {}
for name, attempt in tries.items():
    try:
        attempt()
        results[name] = "went"
    except egress.EgressRefused:
        results[name] = "refused"
    except OSError as fault:
        results[name] = type(fault).__name__
results["counted"] = egress.REFUSED._value.get()
print(json.dumps(results))
"""


@pytest.fixture
def listeners():
    """Two ports that would answer; gives their numbers."""
    doors = []
    for _ in range(2):
        door = socket.socket()
        door.bind(("127.0.0.1", 0))
        door.listen()
        threading.Thread(target=_accept_all, args=(door,), daemon=True).start()
        doors.append(door)
    yield [door.getsockname()[1] for door in doors]
    for door in doors:
        door.close()


def _accept_all(door: socket.socket) -> None:
    try:
        while True:
            door.accept()[0].close()
    except OSError:
        return


def attempts(process: str, listeners: list[int], place: Path) -> dict[str, str]:
    allowed, other = listeners
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(Path(egress.__file__).parents[2]),
        "DJANGO_SETTINGS_MODULE": "bcl.config.settings",
        "BCL_STATE_DIR": str(place.parent),
        "BCL_ROLE": process,
        "BCL_JPKI_OCSP_URL": f"http://localhost:{allowed}/ocsp",
        "BCL_CLAMD_SOCKET": str(place),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(allowed), str(other), str(place)],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "egress_refused" in done.stderr, "the alarm is an error in the log"
    return json.loads(done.stdout)


def test_wire__only_reaches_the_status_service(listeners, tmp_path) -> None:
    found = attempts("wire", listeners, tmp_path / "clamd")
    assert found.pop("counted") == 9, "the child counts its own"
    went = {name for name, outcome in found.items() if outcome == "went"}
    assert went == {"status service", "its number"}
    assert {found[name] for name in set(found) - went} == {"refused"}


def test_worker__only_reaches_the_malware_engine(listeners, tmp_path) -> None:
    found = attempts("worker", listeners, tmp_path / "clamd")
    # Nobody listens there in this test; what matters is that the gate let it try.
    assert found.pop("engine") == "FileNotFoundError"
    assert found.pop("counted") == 10
    assert set(found.values()) == {"refused"}


def test_table__names_known_processes_targets_and_settings() -> None:
    readme = (Path(egress.__file__).parent / "README.md").read_text(encoding="utf-8")
    for row in egress.table():
        assert row["process"] in ("wire", "console", "worker", "guard")
        assert row["setting"] in readme and row["why"]
        egress.allowed_targets(env.read({}), row["process"])


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("postgresql://bcl@db1,db2:6000/bcl", {("db1", 5432), ("db2", 6000)}),
        ("host=/run/postgresql dbname=bcl", {("/run/postgresql", 5432)}),
        ("host=10.1.2.3 port=5433 dbname=bcl", {("10.1.2.3", 5433)}),
    ],
)
def test_targets__of_an_external_database__are_its_hosts_and_ports(url, places) -> None:
    settings = replace(env.read({}), external_urls={"app": url})
    found = egress.allowed_targets(settings, "worker")
    assert {(target.host, target.port) for target in found} == places
