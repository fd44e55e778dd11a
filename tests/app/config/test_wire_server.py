"""The wire server: TLS 1.3, client certificates required, the certificate at the request."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

import httpx
import pytest

from bcl.foundation import clock
from bcl_sim.pki import make_world_pki

pytestmark = pytest.mark.requirement("R-016")

# Ways to say one comes from elsewhere; the listener alone decides.
CLAIMS = [
    {"X-Forwarded-For": "10.0.0.1"},
    {"X-Forwarded-For": "127.0.0.1, 10.0.0.1", "X-Forwarded-Proto": "http"},
    {"X-Real-IP": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1;host=operations"},
    {"X-BCL-Zone": "OPERATIONS"},
    {"BCL_ZONE": "OPERATIONS", "SCRIPT_NAME": "/metrics"},
    {"X-Original-URL": "/health", "X-Rewrite-URL": "/health"},
    {"Host": "operations.bcl.example"},
]


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    return make_world_pki(folder / "world", ["999997"], clock.now())


@pytest.fixture(scope="module")
def foreign_pki(tmp_path_factory):
    return make_world_pki(tmp_path_factory.mktemp("foreign") / "world", ["999997"], clock.now())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environ(pki, port: int, **more: str) -> dict[str, str]:
    return (
        os.environ
        | {
            "BCL_WIRE_PORT": str(port),
            "BCL_WIRE_MAX_BODY_BYTES": "65536",
            "BCL_ZONE": "LGWAN",
            "BCL_WIRE_CERTIFICATE_FILE": str(pki.wire_server.cert_path),
            "BCL_WIRE_PRIVATE_KEY_FILE": str(pki.wire_server.key_path),
            "BCL_WIRE_CLIENT_CA_FILE": str(pki.wire_clients_path),
        }
        | more
    )


@pytest.fixture(scope="module")
def server(pki, cluster, tmp_path_factory):
    port, tmp_path = _free_port(), tmp_path_factory.mktemp("server")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bcl.config.serve"],
            env=_environ(pki, port),
            stderr=log,
        )
    deadline = time.monotonic() + 40
    while True:
        assert process.poll() is None, (tmp_path / "log").read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield port, tmp_path / "log"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=40) == 0


def _client(pki, credential=None, *, at_most=None) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(pki.bcl_ca.cert_path))
    if credential is not None:
        context.load_cert_chain(str(credential.cert_path), str(credential.key_path))
    if at_most is not None:
        context.maximum_version = at_most
    return httpx.Client(verify=context, timeout=20)


def test_server__with_a_client_certificate__answers_health_and_numbers(server, pki):
    port, log = server
    with _client(pki, pki.gateway("999997")) as client:
        answer = client.get(f"https://localhost:{port}/health")
        assert answer.status_code == 200, log.read_text()
        assert answer.json()["status"] == "ok"
        for claim in ({}, *CLAIMS):
            closed = client.get(f"https://localhost:{port}/metrics", headers=claim)
            assert closed.json()["code"] == "NETWORK_ZONE_CLOSED", "numbers are for operations only"
        for answered in (answer, closed):
            assert answered.headers["X-Content-Type-Options"] == "nosniff"
            assert answered.headers["Cache-Control"] == "no-store"
            assert "frame-ancestors 'none'" in answered.headers["Content-Security-Policy"]
        unknown = client.get(f"https://localhost:{port}/people/123456789012?name=山田")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "WIRE_UNKNOWN_PLACE")
        assert unknown.json()["who"] and unknown.json()["how"]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines, "start-up events are logged"
    assert "123456789012" not in log.read_text()


def test_server__without_or_with_a_foreign_certificate__hangs_up(server, pki, foreign_pki):
    port, _ = server
    for credential in (None, foreign_pki.gateway("999997")):
        with _client(pki, credential) as client, pytest.raises(httpx.TransportError):
            client.get(f"https://localhost:{port}/health")


def test_server__asked_for_tls_1_2__hangs_up(server, pki):
    port, _ = server
    old = _client(pki, pki.gateway("999997"), at_most=ssl.TLSVersion.TLSv1_2)
    with old, pytest.raises(httpx.TransportError):
        old.get(f"https://localhost:{port}/health")


def test_server__sent_a_large_or_endless_body__refuses_before_reading(server, pki):
    port, _ = server
    bodies = ((b"x" * 65537, 413, "WIRE_BODY_TOO_LARGE"), (iter([b"x"] * 3), 411, None))
    for body, status, code in bodies:
        # A connection each: after an unread body the server hangs up.
        with _client(pki, pki.gateway("999997")) as client:
            answer = client.post(f"https://localhost:{port}/health", content=body)
        assert answer.status_code == status
        assert answer.json()["code"] == (code or "WIRE_LENGTH_REQUIRED")


def test_server__with_a_certificate_in_a_header__does_not_believe_it(rf, pki):
    from bcl.config.middleware import ClientCertificate

    seen = []
    request = rf.get("/", headers={"X-Client-Cert": "x", "X-SSL-Client-Cert": "y"})
    ClientCertificate(lambda r: seen.append(r.client_certificate_der))(request)
    assert seen == [None]


@pytest.mark.requirement("R-173")
def test_server__on_an_unsafe_role__refuses_to_start(pki, superuser_connection):
    superuser_connection.execute("ALTER ROLE bcl_app BYPASSRLS")
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "bcl.config.serve"],
            env=_environ(pki, _free_port()),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        superuser_connection.execute("ALTER ROLE bcl_app NOBYPASSRLS")
    assert finished.returncode == 1
    assert "団体のデータを分けて守れない" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_server__on_a_cluster_of_another_environment__refuses_to_start(pki, cluster):
    for environment in ("production", "demo"):
        finished = subprocess.run(
            [sys.executable, "-m", "bcl.config.serve"],
            env=_environ(pki, _free_port(), BCL_ENVIRONMENT=environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert finished.returncode == 1
        assert f"設定は {environment} 用" in finished.stderr


@pytest.mark.parametrize(
    "missing",
    [
        "BCL_WIRE_CERTIFICATE_FILE",
        "BCL_WIRE_PRIVATE_KEY_FILE",
        "BCL_WIRE_CLIENT_CA_FILE",
    ],
)
def test_server__without_a_tls_file__says_which(pki, cluster, missing):
    environ = _environ(pki, _free_port(), **{missing: "/nowhere.pem"})
    finished = subprocess.run(
        [sys.executable, "-m", "bcl.config.serve"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 2
    assert missing in finished.stderr and len(finished.stderr.splitlines()) == 1
