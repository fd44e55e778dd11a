"""The certificate authorities of one world: who may speak to whom over mutual TLS.

Two authorities, as there are two issuing parties outside the resident's card:

- *BCL's authority* signs the wire server and the client certificates of every town's gateway and
  of a system that subscribes to data;
- *the center's authority* signs the center's server and client certificate and its kiosks.

The resident's card has an authority of its own in `bcl_sim.jpki`. Every file is written 0600 into
one directory. Making the same world twice gives the same files; a town asked for later is added.

Files: ``bcl-ca.pem|key``, ``center-ca.pem|key``, ``wire-clients.pem`` (both authorities: what the
wire server trusts), ``wire-server.pem|key``, ``gateway-<code>.pem|key``, ``center-server.pem|key``,
``center-client.pem|key``, ``subscriber.pem|key``, ``kiosk-<n>.pem|key``, and
Ed25519 message keys ``<party>-signing.key`` with ``<party>-signing.pub`` for
``bcl``, ``center`` and each ``gateway-<code>``.
"""

import fcntl
import ipaddress
import os
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=397)
# A demo started at night moves its clock into the service hours; its certificates must hold on
# both the moved clock and the machine's own, which TLS libraries look at.
BACKDATE = timedelta(days=2)
MUNICIPALITY_URN = "urn:bcl:municipality:"
# Staff terminals of the agency (機構) carry this in place of a municipality code.
AGENCY_CODE = "000000"
PARTY_URN = "urn:bcl:party:"
LOOPBACK_NAMES = ("localhost",)
LOOPBACK_ADDRESSES = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Credential:
    """One party's certificate and private key, as PEM files."""

    cert_path: Path
    key_path: Path

    def cert(self) -> x509.Certificate:
        """Read the certificate."""
        return x509.load_pem_x509_certificate(self.cert_path.read_bytes())

    def cert_der(self) -> bytes:
        """Read the certificate as DER: what a registered party is recognised by."""
        return self.cert().public_bytes(serialization.Encoding.DER)

    def key(self) -> ec.EllipticCurvePrivateKey:
        """Read the private key (P-256)."""
        key = serialization.load_pem_private_key(self.key_path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self.key_path.name} holds no EC key")
        return key


@dataclass(frozen=True)
class MessageKey:
    """One party's Ed25519 pair for signed messages, as PEM files."""

    key_path: Path
    public_path: Path

    def private(self) -> Ed25519PrivateKey:
        """Read the signing key."""
        return read_signing_key(self.key_path)

    def public(self) -> Ed25519PublicKey:
        """Read the key others verify with."""
        return read_verify_key(self.public_path)


@dataclass(frozen=True)
class WorldPki:
    """Where a world's certificates lie. All paths are inside `directory`."""

    directory: Path
    municipalities: tuple[str, ...]
    kiosks: int

    def _credential(self, name: str) -> Credential:
        return Credential(self.directory / f"{name}.pem", self.directory / f"{name}.key")

    def _message_key(self, name: str) -> MessageKey:
        return MessageKey(
            self.directory / f"{name}-signing.key", self.directory / f"{name}-signing.pub"
        )

    @property
    def bcl_ca(self) -> Credential:
        """The authority that gateways and the center trust for the wire server."""
        return self._credential("bcl-ca")

    @property
    def center_ca(self) -> Credential:
        """The authority that kiosks trust for the center."""
        return self._credential("center-ca")

    @property
    def wire_clients_path(self) -> Path:
        """The bundle of authorities whose clients the wire server lets in."""
        return self.directory / "wire-clients.pem"

    @property
    def wire_server(self) -> Credential:
        """BCL's wire server."""
        return self._credential("wire-server")

    @property
    def terminal_ca(self) -> Credential:
        """The authority of the administration terminals: nobody else gets to the staff pages."""
        return self._credential("terminal-ca")

    @property
    def console_server(self) -> Credential:
        """BCL's staff pages, as the terminals see them."""
        return self._credential("console-server")

    def terminal(self, owner_code: str) -> Credential:
        """The administration terminal of a town, or of the agency (000000)."""
        return self._credential(f"terminal-{owner_code}")

    @property
    def center_server(self) -> Credential:
        """The center as the kiosks see it."""
        return self._credential("center-server")

    @property
    def center_client(self) -> Credential:
        """The center as BCL sees it."""
        return self._credential("center-client")

    @property
    def bcl_signing(self) -> MessageKey:
        """BCL's key for receipts and certificate answers."""
        return self._message_key("bcl")

    @property
    def center_signing(self) -> MessageKey:
        """The center's key for certificate requests."""
        return self._message_key("center")

    def gateway(self, municipality_code: str) -> Credential:
        """The gateway of one town as BCL sees it."""
        return self._credential(f"gateway-{municipality_code}")

    def gateway_signing(self, municipality_code: str) -> MessageKey:
        """The key with which one town signs its transmissions."""
        return self._message_key(f"gateway-{municipality_code}")

    @property
    def subscriber(self) -> Credential:
        """A system that towns' data is given to, as BCL sees it."""
        return self._credential("subscriber")

    def kiosk(self, number: int = 1) -> Credential:
        """One kiosk as the center sees it; numbers start at 1."""
        return self._credential(f"kiosk-{number}")


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 private key from a PEM file."""
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{path.name} holds no Ed25519 key")
    return key


def read_verify_key(path: Path) -> Ed25519PublicKey:
    """Read an Ed25519 public key from a PEM file."""
    key = serialization.load_pem_public_key(path.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise TypeError(f"{path.name} holds no Ed25519 key")
    return key


def make_world_pki(
    directory: Path | str, municipalities: Iterable[str], at: datetime, *, kiosks: int = 2
) -> WorldPki:
    """Make what is missing of a world's certificates and keys; keep what is there.

    `at` is aware and starts every new certificate's life (two days back, 397 days long). Two
    processes may call this at the same time: the second waits and finds the files.
    """
    if at.tzinfo is None:
        raise ValueError("at must carry a time zone")
    towns = tuple(sorted(set(municipalities)))
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    world = WorldPki(folder, towns, kiosks)
    with _only_one_maker(folder):
        _make_authority(world.bcl_ca, "BCL wire authority", at)
        _make_authority(world.center_ca, "Certificate delivery center authority", at)
        _make_authority(world.terminal_ca, "Administration terminal authority", at)
        _make_parties(world, at)
        for name in ("bcl", "center", *(f"gateway-{code}" for code in towns)):
            _make_message_key(world._message_key(name))
        bundle = world.bcl_ca.cert_path.read_bytes() + world.center_ca.cert_path.read_bytes()
        if not world.wire_clients_path.exists():
            write_private(world.wire_clients_path, bundle)
    return world


def _make_parties(world: WorldPki, at: datetime) -> None:
    server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    bcl, center = world.bcl_ca, world.center_ca
    _make_leaf(world.wire_server, bcl, "BCL wire", purpose=server, uris=[PARTY_URN + "bcl"], at=at)
    center_uris = [PARTY_URN + "center"]
    _make_leaf(
        world.center_server, center, "Delivery center", purpose=server, uris=center_uris, at=at
    )
    _make_leaf(
        world.center_client, center, "Center client", purpose=client, uris=center_uris, at=at
    )
    for code in world.municipalities:
        uris = [MUNICIPALITY_URN + code]
        _make_leaf(world.gateway(code), bcl, f"Gateway {code}", purpose=client, uris=uris, at=at)
    uris = [PARTY_URN + "subscriber"]
    _make_leaf(world.subscriber, bcl, "Subscriber", purpose=client, uris=uris, at=at)
    console, uris = world.console_server, [PARTY_URN + "bcl"]
    _make_leaf(console, bcl, "BCL console", purpose=server, uris=uris, at=at)
    for code in (*world.municipalities, AGENCY_CODE):
        uris = [f"{PARTY_URN}terminal:{code}"]
        name = f"Terminal {code}"
        _make_leaf(world.terminal(code), world.terminal_ca, name, purpose=client, uris=uris, at=at)
    for number in range(1, world.kiosks + 1):
        uris = [f"{PARTY_URN}kiosk:{number}"]
        _make_leaf(world.kiosk(number), center, f"Kiosk {number}", purpose=client, uris=uris, at=at)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, all of it or nothing, over any earlier one."""
    temporary = path.with_name(path.name + ".part")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def distinguished_name(common_name: str, *, unit: str | None = None) -> x509.Name:
    """A subject of the simulated world: C=JP, O=BCL simulation, [OU], CN."""
    attributes = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "BCL simulation"),
    ]
    if unit:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def key_usage(*names: str) -> x509.KeyUsage:
    """A KeyUsage extension with exactly the named bits set."""
    bits = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    unknown = set(names) - set(bits)
    if unknown:
        raise ValueError(f"no such key usage: {sorted(unknown)}")
    return x509.KeyUsage(**{bit: bit in names for bit in bits})


def private_pem(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    """A private key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _make_authority(credential: Credential, common_name: str, at: datetime) -> None:
    if credential.cert_path.exists() and credential.key_path.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    name = distinguished_name(common_name)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    cert = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - BACKDATE)
        .not_valid_after(at + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    # The key goes first: a certificate without its key would look finished.
    write_private(credential.key_path, private_pem(key))
    write_private(credential.cert_path, cert.public_bytes(serialization.Encoding.PEM))


def _make_leaf(
    credential: Credential,
    authority: Credential,
    common_name: str,
    *,
    purpose: x509.ObjectIdentifier,
    uris: Sequence[str],
    at: datetime,
) -> None:
    if credential.cert_path.exists() and credential.key_path.exists():
        return
    issuer = authority.cert()
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    if purpose == ExtendedKeyUsageOID.SERVER_AUTH:
        names += [x509.DNSName(name) for name in LOOPBACK_NAMES]
        names += [x509.IPAddress(ipaddress.ip_address(text)) for text in LOOPBACK_ADDRESSES]
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
        issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )
    builder = (
        x509.CertificateBuilder(
            issuer_name=issuer.subject, subject_name=distinguished_name(common_name)
        )
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - BACKDATE)
        .not_valid_after(at + LEAF_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority_key, critical=False)
    )
    cert = builder.sign(authority.key(), hashes.SHA256())
    write_private(credential.key_path, private_pem(key))
    write_private(credential.cert_path, cert.public_bytes(serialization.Encoding.PEM))


def _make_message_key(pair: MessageKey) -> None:
    if pair.key_path.exists() and pair.public_path.exists():
        return
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_private(pair.key_path, private_pem(key))
    write_private(pair.public_path, public)


@contextmanager
def _only_one_maker(folder: Path) -> "Iterator[None]":
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
