"""Other programs at BCL's real door: tuspy, tus-js-client, curl, and wrong certificates."""

import datetime as dt
import http.client
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bcl_contract import clock
from bcl_sim.pki import Credential

CURL = shutil.which("curl")
NPM_TESTS = os.environ.get("BCL_NPM_TESTS") == "1" and shutil.which("npm") is not None


@pytest.mark.requirement("R-016")
def test_tuspy__sends_a_transmission_that_lands(hall, monkeypatch: pytest.MonkeyPatch) -> None:
    from tusclient.client import TusClient

    content, bundle, _ = hall.sealed(hall.gateway())
    credential = hall.door.pki.gateway(hall.code)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(hall.door.pki.bcl_ca.cert_path))
    client = TusClient(
        hall.door.url(), client_cert=(str(credential.cert_path), str(credential.key_path))
    )
    client.set_headers({"X-BCL-Environment": "verification"})
    metadata = {"bundle_id": bundle, "filename": "transmission.zip"}
    first = client.uploader(
        file_stream=io.BytesIO(content), chunk_size=60_000, metadata=metadata, upload_checksum=True
    )
    first.upload_chunk()
    # Another uploader goes on from where the first one stopped.
    second = client.uploader(
        file_stream=io.BytesIO(content), chunk_size=60_000, url=first.url, upload_checksum=True
    )
    assert second.offset == 60_000
    second.upload()
    hall.work()
    assert hall.transmissions() == [(bundle, "LANDED")]


TUS_JS = """
const fs = require('fs'), tus = require('tus-js-client');
const [url, file, bundle, ca, cert, key] = process.argv.slice(2);
const read = (name) => fs.readFileSync(name);
const tls = { ca: read(ca), cert: read(cert), key: read(key), minVersion: 'TLSv1.3' };
const agent = new (require('https').Agent)({ keepAlive: false, ...tls });
const upload = (previous) => new Promise((resolve, reject) => {
  let stopped = false;
  const one = new tus.Upload(fs.createReadStream(file), {
    endpoint: url, uploadSize: fs.statSync(file).size, chunkSize: 50000,
    uploadUrl: previous, retryDelays: [0, 500],
    headers: { 'X-BCL-Environment': 'verification' },
    metadata: { bundle_id: bundle, filename: 'transmission.zip' },
    httpStack: new tus.DefaultHttpStack({ agent }),
    onError: reject,
    onSuccess: () => resolve({ url: one.url, done: true }),
    onChunkComplete: (size, accepted, total) => {
      if (!previous && !stopped && accepted < total) {
        stopped = true;
        one.abort().then(() => resolve({ url: one.url, done: false }));
      }
    },
  });
  one.start();
});
upload(null).then((first) => {
  if (first.done) throw new Error('was to stop after its first chunk');
  return upload(first.url);
}).then((second) => console.log(JSON.stringify(second)))
  .catch((error) => { console.error(String(error)); process.exit(1); });
"""


@pytest.mark.requirement("R-016")
@pytest.mark.slow
@pytest.mark.skipif(not NPM_TESTS, reason="needs npm, a registry and BCL_NPM_TESTS=1")
def test_tus_js_client__sends_a_transmission_that_lands(hall, tmp_path: Path) -> None:
    content, bundle, _ = hall.sealed(hall.gateway())
    (tmp_path / "package.zip").write_bytes(content)
    (tmp_path / "send.cjs").write_text(TUS_JS)
    (tmp_path / "package.json").write_text('{"private": true}')
    subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "tus-js-client@4"],
        cwd=tmp_path, check=True, timeout=180,
    )  # fmt: skip
    pki = hall.door.pki
    arguments = [
        hall.door.url(), "package.zip", bundle, pki.bcl_ca.cert_path,
        pki.gateway(hall.code).cert_path, pki.gateway(hall.code).key_path,
    ]  # fmt: skip
    done = subprocess.run(
        ["node", "send.cjs", *map(str, arguments)],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] is True
    hall.work()
    assert hall.transmissions() == [(bundle, "LANDED")]


def curl(*arguments: str) -> tuple[int, str]:
    """Exit code of curl and the HTTP status it saw (000 = none)."""
    done = subprocess.run(
        [str(CURL), "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20",
         *arguments],
        capture_output=True, text=True, timeout=40, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.requirement("R-016")
@pytest.mark.skipif(CURL is None, reason="needs curl")
def test_curl__without_certificate_or_in_plain_http__gets_nowhere(hall) -> None:
    ca = ["--cacert", str(hall.door.pki.bcl_ca.cert_path)]
    for path in ("uploads/", "transmissions/x", ""):
        code, status = curl(*ca, hall.door.url(path))
        assert code != 0 and status == "000"
        plain = hall.door.url(path).replace("https://", "http://")
        code, status = curl(plain)
        assert status in ("000", "400") and not status.startswith("2")
    code, status = curl(*ca, "--tls-max", "1.2", *credential_of(hall), hall.door.url())
    assert code != 0 and status == "000"
    # The same call with everything right does get in: the looks above are not blind.
    said = ["-H", "Tus-Resumable: 1.0.0", "-H", "X-BCL-Environment: verification"]
    code, status = curl(*ca, *credential_of(hall), "-X", "OPTIONS", *said, hall.door.url())
    assert (code, status) == (0, "204")


def credential_of(hall) -> list[str]:
    own = hall.door.pki.gateway(hall.code)
    return ["--cert", str(own.cert_path), "--key", str(own.key_path)]


def make_client(
    folder: Path, name: str, *, authority: Credential | None, days: tuple[int, int],
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
) -> Credential:  # fmt: skip
    """A client certificate valid from `days[0]` to `days[1]` from now; None = signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = authority.cert().subject if authority else subject
    certificate = (
        x509.CertificateBuilder(issuer_name=issuer, subject_name=subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now() + dt.timedelta(days=days[0]))
        .not_valid_after(clock.now() + dt.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(authority.key() if authority else key, hashes.SHA256())
    )
    own = Credential(folder / f"{name}.pem", folder / f"{name}.key")
    own.cert_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    own.key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return own


def ask(hall, credential: Credential, *, path: str = "/wire/uploads/") -> tuple[int, str] | None:
    """Create an upload with this certificate: (status, refusal code), None = no conversation."""
    context = ssl.create_default_context(cafile=str(hall.door.pki.bcl_ca.cert_path))
    context.load_cert_chain(credential.cert_path, credential.key_path)
    line = http.client.HTTPSConnection("127.0.0.1", hall.door.port, context=context, timeout=20)
    try:
        headers = {
            "Tus-Resumable": "1.0.0",
            "X-BCL-Environment": "verification",
            "Upload-Length": "10",
            "Upload-Metadata": "bundle_id MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5,filename eA==",
        }
        line.request("POST", path, headers=headers)
        answer = line.getresponse()
        body = answer.read()
        return answer.status, json.loads(body)["code"] if body else ""
    except (OSError, http.client.HTTPException):
        return None
    finally:
        line.close()


@pytest.mark.requirement("R-016")
def test_door__wrong_client_certificates__no_conversation_or_403(hall, tmp_path: Path) -> None:
    pki = hall.door.pki
    bcl, center = pki.bcl_ca, pki.center_ca
    server_usage = ExtendedKeyUsageOID.SERVER_AUTH
    make = make_client
    for credential in (
        make(tmp_path, "expired", authority=bcl, days=(-30, -1)),
        make(tmp_path, "future", authority=bcl, days=(1, 30)),
        make(tmp_path, "self-signed", authority=None, days=(-1, 30)),
        make(tmp_path, "wrong-usage", authority=bcl, days=(-1, 30), usage=server_usage),
    ):
        assert ask(hall, credential) is None, credential.cert_path.stem
    # Genuine, but nobody registered it as a gateway: the handshake passes, the door does not open.
    for credential in (
        make(tmp_path, "unregistered", authority=bcl, days=(-1, 30)),
        make(tmp_path, "of-the-center", authority=center, days=(-1, 30)),
        pki.center_client,
        pki.kiosk(1),
    ):
        assert ask(hall, credential) == (403, "LINKAGE_GATEWAY_NOT_REGISTERED")
    assert ask(hall, pki.gateway(hall.code)) == (201, "")


@pytest.mark.requirement("R-016")
def test_door__another_towns_gateway__sees_nothing_and_sends_nothing_for_us(make_hall) -> None:
    one, other = make_hall(), make_hall()
    one.export()
    gateway = one.gateway()
    content, bundle, _ = one.sealed(gateway)
    del content
    one.deliver(gateway)
    stranger = other.config()
    from bcl_gateway.connection import WireConnection

    with WireConnection(stranger) as line:
        answer = line.request("GET", line.url(f"transmissions/{bundle}"))
        unknown = line.request("GET", line.url("transmissions/0123456789abcdef0123456789"))
        assert (answer.status, answer.content) == (404, unknown.content)
    # Our genuine package, sent through their door, is refused there and changes nothing here.
    copy = one.gateway(
        state_dir=str(one.folder / "second"),
        server={
            "certificate_file": str(one.door.pki.gateway(other.code).cert_path),
            "key_file": str(one.door.pki.gateway(other.code).key_path),
        },
    )
    one.town.advance(1)
    one.export("full")
    copy.run_once()
    one.work()
    assert [state for _, state in one.transmissions()] == ["LANDED"]
    assert [state for _, state in other.transmissions()] == ["REJECTED"]


@pytest.mark.requirement("R-016")
def test_door__plain_bytes_and_half_handshakes__do_not_stop_the_next_caller(hall) -> None:
    for first in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00", b"", b"\x00" * 512):
        with socket.create_connection(("127.0.0.1", hall.door.port), 5) as line:
            line.sendall(first)
            line.settimeout(2)
            try:
                answered = line.recv(64)
            except OSError:
                answered = b""
            assert not answered.startswith(b"HTTP/1.1 2")
    assert ask(hall, hall.door.pki.gateway(hall.code)) == (201, "")


@pytest.mark.requirement("R-016")
@pytest.mark.requirement("R-017")
@pytest.mark.parametrize("why", ["rotated", "expired"])
def test_gateway__certificate_changes_in_the_middle_of_an_upload__goes_on_where_it_was(
    hall, proxy, tmp_path: Path, why: str
) -> None:
    """The old one is revoked or runs out, the next start has the new one: nothing is lost."""
    from bcl_gateway.states import ItemState

    url = {"url": f"https://127.0.0.1:{proxy.port}/wire"}
    first = hall.gateway(server=url)
    content, bundle, digest = hall.sealed(first)
    proxy.marks = [len(content) // 2]
    first.send()
    (item,) = first.journal.items()
    reached = item.offset
    assert item.state is ItemState.SENDING and 0 < reached < len(content)
    first.close()
    authority = hall.door.pki.bcl_ca
    old = make_client(tmp_path, "old", authority=authority, days=(-30, -1))
    new = make_client(tmp_path, "new", authority=authority, days=(-1, 397))
    with hall.door.database():
        from bcl.municipalities import api as municipalities

        signing = hall.door.pki.gateway_signing(hall.code).public()
        municipalities.register_gateway_cert(hall.code, new.cert_path.read_bytes(), signing)
        assert municipalities.revoke_gateway(hall.gateway_id)

    shut_out = dict(url)
    if why == "expired":
        shut_out |= {"certificate_file": str(old.cert_path), "key_file": str(old.key_path)}
    second = hall.gateway(server=shut_out)
    sent = second.send(patience_seconds=0.2)
    assert sent.refusal is not None and sent.refusal.code == "GATEWAY_CERTIFICATE_REFUSED"
    assert "certificate" in {c.name for c in second.doctor() if c.ok is False} or why == "rotated"
    assert [i.offset for i in second.journal.items()] == [reached]
    second.close()

    given = {"certificate_file": str(new.cert_path), "key_file": str(new.key_path)}
    third = hall.gateway(server=url | given)
    proxy.passed = 0
    done = hall.deliver(third)
    assert done.receipt is not None and done.receipt["sha256"] == digest
    assert proxy.passed < len(content) - reached + (64 << 10)
    hall.work()
    assert hall.transmissions() == [(bundle, "LANDED")]
