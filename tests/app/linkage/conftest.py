"""Gateways with certificates, and a client that speaks tus through Django's test client."""

from __future__ import annotations

import base64
import datetime as dt
import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from django.http import HttpResponse
from django.test import Client

from bcl_contract import clock


def make_certificate(name: str) -> bytes:
    """A self-signed certificate (PEM): the app looks at who is registered, TLS at the rest."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM)


@dataclass
class GatewayParty:
    """A registered gateway of one town: its certificate and its signing key."""

    municipality_code: str
    certificate_pem: bytes
    signing_key: Ed25519PrivateKey
    gateway_id: str = ""
    client: Client = field(default_factory=Client)

    @property
    def certificate_der(self) -> bytes:
        return x509.load_pem_x509_certificate(self.certificate_pem).public_bytes(Encoding.DER)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> HttpResponse:
        said = {"X-BCL-Environment": "verification"} | headers
        sent = {
            "HTTP_" + name.upper().replace("-", "_"): value
            for name, value in said.items()
            if name.lower() != "content-type"
        }
        return self.client.generic(
            method,
            path,
            body,
            content_type=headers.get("Content-Type", "application/octet-stream"),
            secure=True,
            **sent,
            **{"gunicorn.socket": self.line()},
        )

    def line(self) -> FakeLine:
        return FakeLine(self.certificate_der)

    def tus(self, method: str, path: str, body: bytes = b"", **headers: str) -> HttpResponse:
        return self.request(method, path, body, **{"Tus-Resumable": "1.0.0"} | headers)

    def create(self, length: int, bundle_id: str, **headers: str) -> HttpResponse:
        wanted = {"Upload-Length": str(length), "Upload-Metadata": metadata(bundle_id=bundle_id)}
        return self.tus("POST", "/wire/uploads/", **wanted | headers)

    def patch(self, path: str, body: bytes, offset: int, **headers: str) -> HttpResponse:
        wanted = {
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
        }
        return self.tus("PATCH", path, body, **wanted | headers)

    def send(self, content: bytes, bundle_id: str, *, piece: int = 1 << 20) -> HttpResponse:
        """Upload everything; gives the last answer."""
        created = self.create(len(content), bundle_id)
        assert created.status_code == 201, created.content
        answer = created
        for at in range(0, len(content), piece):
            answer = self.patch(created["Location"], content[at : at + piece], at)
            assert answer.status_code == 204, answer.content
        return answer

    def state(self, bundle_id: str, **query: str) -> HttpResponse:
        return self.request("GET", f"/wire/transmissions/{bundle_id}", **query)


class FakeLine:
    """Stands for the TLS connection that gunicorn hands to the application."""

    def __init__(self, certificate_der: bytes | None) -> None:
        self.certificate_der = certificate_der

    def getpeercert(self, binary_form: bool = False) -> bytes | None:
        assert binary_form
        return self.certificate_der

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0


def metadata(**values: str) -> str:
    return ",".join(
        f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items()
    )


@pytest.fixture(autouse=True)
def _own_receive_area(tmp_path, monkeypatch) -> None:
    """Every test begins with an empty receive area."""
    from dataclasses import replace

    from django.conf import settings

    monkeypatch.setattr(settings, "BCL", replace(settings.BCL, receive_dir=tmp_path / "receive"))


@pytest.fixture
def new_bundle_id(packages):
    """Makes bundle ids that no other test uses."""
    return packages.new_bundle_id


@pytest.fixture
def make_gateway():
    """Registers one more gateway for a town."""

    def make(municipality_code: str) -> GatewayParty:
        from bcl.municipalities import api as municipalities

        party = GatewayParty(
            municipality_code,
            make_certificate(f"gateway-{municipality_code}"),
            Ed25519PrivateKey.generate(),
        )
        identity = municipalities.register_gateway_cert(
            municipality_code, party.certificate_pem, party.signing_key.public_key()
        )
        party.gateway_id = identity.id
        return party

    return make


@pytest.fixture
def gateway(town, make_gateway) -> GatewayParty:
    """The registered gateway of the default town."""
    return make_gateway(town)


@pytest.fixture
def other_gateway(other_town, make_gateway) -> GatewayParty:
    """The registered gateway of a second town."""
    return make_gateway(other_town)


@pytest.fixture(scope="session")
def packages():
    """The module `packages.py` beside this file (tests are not importable packages)."""
    place = Path(__file__).with_name("packages.py")
    spec = importlib.util.spec_from_file_location("linkage_test_packages", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules["linkage_test_packages"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def town_days(tmp_path_factory, packages):
    """Exports of a small synthetic town: full, then one differential a day for three days."""
    from bcl_sim.core_system.town import Town

    folder = tmp_path_factory.mktemp("core")
    town = Town.generate(
        folder / "state", municipality_code="999997", residents=1000, seed=5, with_tax=False
    )
    exports = [town.export(folder / "out")]
    for _ in range(3):
        town.advance(1, at_least_one_of_each=True)
        exports.append(town.export(folder / "out", mode="differential"))
    contents = [packages.read_export(export.folder) for export in exports]
    town.close()
    return contents


@pytest.fixture
def run_jobs():
    """Runs everything that is queued, as the worker would."""
    from bcl.foundation import jobs

    return lambda: jobs.run_pending_now(queues=["linkage", "linkage_urgent"])
