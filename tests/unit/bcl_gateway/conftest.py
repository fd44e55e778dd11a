"""One town hall for the gateway's tests: certificates, a drop folder, and a server to talk to.

`ReferenceServer` is a small tus 1.0 server over mutual TLS, written from the protocol's text
alone. It can be told to misbehave. The real door has its own tests in tests/contract.
"""

import base64
import hashlib
import http.server
import json
import re
import shutil
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl_contract import clock, receipts
from bcl_gateway.api import Gateway
from bcl_gateway.config import GatewayConfig, parse_config, public_key_fingerprint
from bcl_gateway.seams import Seams
from bcl_sim.core_system.town import Town
from bcl_sim.pki import WorldPki, make_world_pki

TOWN = "999997"


@dataclass
class Upload:
    """One upload as the reference server holds it."""

    length: int
    bundle_id: str
    content: bytearray = field(default_factory=bytearray)


@dataclass
class Behaviour:
    """What the server does next. `state` is what it says of every complete transmission.

    `cut_at` drops the line once when so many bytes of the whole upload have come in;
    `lose_ack_at` stores the chunk that passes such a mark and drops the line instead of the
    answer; `call` is called in the middle of a chunk that passes a mark of `call_at`.
    `answers` are (method, status, code) given instead of the real answer, once each.
    """

    state: str = "LANDED"
    cut_at: list[int] = field(default_factory=list)
    lose_ack_at: list[int] = field(default_factory=list)
    call_at: list[int] = field(default_factory=list)
    call: Callable[[], None] = lambda: None
    answers: list[tuple[str, int, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    change_receipt: Callable[[dict[str, Any]], None] | None = None
    spoil_signature: bool = False
    wishes: list[dict[str, Any]] = field(default_factory=list)


class ReferenceServer:
    """Uploads in memory, receipts signed with its own key."""

    def __init__(self, pki: WorldPki) -> None:
        self.uploads: dict[str, Upload] = {}
        self.behaviour = Behaviour()
        self.received_bytes = 0
        self.requests: list[tuple[str, str]] = []
        self.environments: set[str | None] = set()
        self.checksums = 0
        self.contacts = 0
        self.receipt_key = Ed25519PrivateKey.generate()
        self._http = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (_Handler,), {"own": self})
        )
        self._http.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(pki.wire_server.cert_path, pki.wire_server.key_path)
        context.load_verify_locations(pki.wire_clients_path)
        context.verify_mode = ssl.CERT_REQUIRED
        self._http.socket = context.wrap_socket(
            self._http.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def complete(self) -> list[Upload]:
        return [u for u in self.uploads.values() if len(u.content) == u.length]

    def receipt_of(self, bundle_id: str) -> dict[str, Any] | None:
        for upload in self.complete():
            if upload.bundle_id == bundle_id:
                return {
                    "bundle_id": bundle_id,
                    "municipality_code": TOWN,
                    "sha256": hashlib.sha256(upload.content).hexdigest(),
                    "bytes": upload.length,
                    "state": self.behaviour.state,
                    "lane": None,
                    "sequence": None,
                    "received_at": clock.now().isoformat(),
                }
        return None


class _Handler(http.server.BaseHTTPRequestHandler):
    """Speaks tus for the server in `own`."""

    own: ReferenceServer
    protocol_version = "HTTP/1.1"
    timeout = 10

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ssl.SSLError):
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Tus-Resumable", "1.0.0")
        said = {"X-BCL-Environment": "verification", "X-BCL-Time": clock.now().isoformat()}
        for name, value in (said | self.own.behaviour.headers).items():
            self.send_header(name, value)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _any(self) -> None:
        self.own.requests.append((self.command, self.path))
        self.own.environments.add(self.headers.get("X-BCL-Environment"))
        for planned in list(self.own.behaviour.answers):
            if planned[0] == self.command:
                self.own.behaviour.answers.remove(planned)
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = json.dumps({"code": planned[2], "detail": {}}).encode()
                self._answer(planned[1], body)
                return
        getattr(self, f"_{self.command.lower()}")()

    do_POST = do_PATCH = do_HEAD = do_GET = do_OPTIONS = _any

    def _options(self) -> None:
        self._answer(204, Tus_Version="1.0.0")

    def _post(self) -> None:
        pairs = dict(p.split(" ") for p in self.headers["Upload-Metadata"].split(","))
        bundle_id = base64.b64decode(pairs["bundle_id"]).decode()
        name = str(uuid.uuid4())
        self.own.uploads[name] = Upload(int(self.headers["Upload-Length"]), bundle_id)
        self._answer(201, Location=f"/wire/uploads/{name}", Upload_Offset="0")

    def _upload(self) -> Upload | None:
        found = re.fullmatch(r"/wire/uploads/([0-9a-f-]+)", self.path)
        return self.own.uploads.get(found[1]) if found else None

    def _head(self) -> None:
        upload = self._upload()
        if upload is None:
            self._answer(404)
        else:
            self._answer(
                200, Upload_Offset=str(len(upload.content)), Upload_Length=str(upload.length)
            )

    def _patch(self) -> None:
        upload = self._upload()
        size = int(self.headers["Content-Length"])
        if upload is None:
            self.rfile.read(size)
            self._answer(404)
            return
        offset = int(self.headers["Upload-Offset"])
        body = self._body(len(upload.content), size)
        if body is None:
            return
        algorithm, digest = self.headers["Upload-Checksum"].split(" ")
        assert algorithm == "sha256"
        self.own.checksums += 1
        if offset != len(upload.content):
            self._answer(409)
        elif base64.b64encode(hashlib.sha256(body).digest()).decode() != digest:
            self._answer(460)
        else:
            upload.content += body
            if self._due(self.own.behaviour.lose_ack_at, len(upload.content)):
                self._drop()
            else:
                self._answer(204, Upload_Offset=str(len(upload.content)))

    def _body(self, offset: int, size: int) -> bytes | None:
        """The body, or None if the line is to be cut in the middle of it."""
        body = b""
        while len(body) < size:
            part = self.rfile.read(min(4096, size - len(body)))
            if not part:
                return None
            body += part
            self.own.received_bytes += len(part)
            if self._due(self.own.behaviour.call_at, offset + len(body)):
                self.own.behaviour.call()
            if self._due(self.own.behaviour.cut_at, offset + len(body)):
                self._drop()
                return None
        return body

    def _due(self, marks: list[int], reached: int) -> bool:
        due = [mark for mark in marks if mark <= reached]
        for mark in due:
            marks.remove(mark)
        return bool(due)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _get(self) -> None:
        if self.path == "/wire/contact":
            self.own.contacts += 1
            wishes = {"resend_requests": self.own.behaviour.wishes, "lanes": {}}
            self._answer(200, json.dumps(wishes).encode())
            return
        found = re.fullmatch(r"/wire/transmissions/([^?]+)(?:\?sha256=([0-9a-f]+))?", self.path)
        receipt = self.own.receipt_of(found[1]) if found else None
        if receipt is None:
            self._answer(404, b'{"code": "TRANSMISSION_NOT_FOUND"}')
            return
        if self.own.behaviour.change_receipt:
            self.own.behaviour.change_receipt(receipt)
        signature = receipts.sign(receipt, self.own.receipt_key)
        if self.own.behaviour.spoil_signature:
            signature = receipts.sign(receipt, Ed25519PrivateKey.generate())
        content = {"receipt": receipt, "signature": signature, "state": receipt["state"]}
        self._answer(200, json.dumps(content | {"findings": []}).encode())


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> WorldPki:
    return make_world_pki(tmp_path_factory.mktemp("pki"), [TOWN, "999989"], clock.now())


@pytest.fixture
def server(pki: WorldPki) -> Iterator[ReferenceServer]:
    own = ReferenceServer(pki)
    yield own
    own.close()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full export of a village of 300 residents, made once."""
    folder = tmp_path_factory.mktemp("core")
    town = Town.generate(folder / "town", municipality_code=TOWN, residents=300, seed=7)
    (folder / "out").mkdir()
    result = town.export(folder / "out", mode="full")
    town.close()
    return Path(result.folder)


def settings_of(
    pki: WorldPki, folder: Path, *, port: int, receipt_key: Ed25519PrivateKey, **changes: Any
) -> dict[str, Any]:
    """Settings of one gateway as a mapping; `changes` replace top-level values or tuning."""
    folder.mkdir(exist_ok=True)
    content: dict[str, Any] = {
        "environment": "verification",
        "municipality_code": TOWN,
        "state_dir": str(folder / "state"),
        "drop_dir": str(folder / "outbox"),
        "signing_key_file": str(pki.gateway_signing(TOWN).key_path),
        "server": {
            "url": f"https://127.0.0.1:{port}/wire/",
            "ca_file": str(pki.bcl_ca.cert_path),
            "certificate_file": str(pki.gateway(TOWN).cert_path),
            "key_file": str(pki.gateway(TOWN).key_path),
            "public_keys": [public_key_fingerprint(pki.wire_server.cert_path.read_bytes())],
            "receipt_key": receipts.write_public_key(receipt_key.public_key()),
        },
        "tuning": {
            "settle_seconds": 0,
            "chunk_mib": 0.0625,
            "backoff_first_seconds": 0.01,
            "backoff_longest_seconds": 0.05,
            "interval_seconds": 0.05,
            "answer_timeout_seconds": 10,
            "minimum_free_mib": 1,
        },
    }
    content["tuning"] |= changes.pop("tuning", {})
    content["server"] |= changes.pop("server", {})
    return content | changes


@pytest.fixture
def make_settings(
    pki: WorldPki, server: ReferenceServer, tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """Settings for a gateway that talks to `server`, as the TOML file would hold them."""

    def make(**changes: Any) -> dict[str, Any]:
        return settings_of(
            pki, tmp_path / "hall", port=server.port, receipt_key=server.receipt_key, **changes
        )

    return make


@pytest.fixture
def make_config(
    make_settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> Callable[..., GatewayConfig]:
    def make(**changes: Any) -> GatewayConfig:
        return parse_config(make_settings(**changes), base=tmp_path)

    return make


@pytest.fixture
def config(make_config: Callable[..., GatewayConfig]) -> GatewayConfig:
    return make_config()


@pytest.fixture
def gateway(config: GatewayConfig) -> Iterator[Gateway]:
    with Gateway(config, seams=Seams(chance=lambda: 0.5)) as own:
        yield own


@pytest.fixture
def drop(config: GatewayConfig, exported: Path) -> Callable[..., Path]:
    """Put a copy of the export into the drop under a name, as a core system would."""

    def put(name: str = "night-1", change: Callable[[Path], None] | None = None) -> Path:
        config.drop_dir.mkdir(exist_ok=True, parents=True)
        part = config.drop_dir / f"{name}.part"
        shutil.copytree(exported, part)
        if change is not None:
            change(part)
        return part.rename(config.drop_dir / name)

    return put


@pytest.fixture
def rewrite_ready() -> Callable[..., Callable[[Path], None]]:
    """Give a change of a dropped folder: READY is rewritten with these values."""

    def make(**values: Any) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            ready = json.loads((folder / "READY").read_text())
            (folder / "READY").write_text(json.dumps(ready | values))

        return change

    return make
