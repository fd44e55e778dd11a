"""A simulated JPKI: its authorities, the certificates it issued, and which of them still hold.

Two authorities, as in the real one: for user authentication (利用者証明用) and for signature
(署名用); the second exists so that its certificates can be refused. A register in SQLite holds
serial numbers and states only: who a card belongs to is the town's knowledge (J05).

Directory: ``user-auth-ca.pem|key``, ``signature-ca.pem|key``, ``ocsp-signer.pem`` (key and cert),
``register.sqlite``.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from bcl_contract.jpki import SIGNATURE_POLICY, USER_AUTH_POLICY, simulated_ca_name
from bcl_sim.pki import BACKDATE, key_usage, write_private

CA_LIFETIME = timedelta(days=3650)
CARD_LIFETIME = timedelta(days=5 * 365)
SIGNER_LIFETIME = timedelta(days=90)
CRL_LIFETIME = timedelta(hours=24)
RSA_BITS = 2048

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class Purpose(StrEnum):
    """Which of the two certificates of a card."""

    USER_AUTH = "user-auth"
    SIGNATURE = "signature"


class State(StrEnum):
    """What the authority says about a certificate it issued."""

    GOOD = "good"
    REVOKED = "revoked"
    SUSPENDED = "suspended"


class AuthorityError(Exception):
    """A wish the authority can't grant; the message is Japanese and names no person."""


@dataclass(frozen=True)
class Entry:
    """One row of the register. `reason` is the RFC 5280 word, `changed_at` when it was set."""

    serial_number: int
    purpose: Purpose
    state: State
    reason: str | None
    changed_at: datetime | None


@dataclass(frozen=True)
class Period:
    """The life of a certificate; both ends inclusive, as X.509 has it."""

    starts_at: datetime
    ends_at: datetime


def parse_serial(text: str) -> int:
    """Read a serial number as J05 has it: hex, upper case, 1 to 40 digits, no leading zero."""
    if not re.fullmatch(r"[1-9A-F][0-9A-F]{0,39}", text):
        raise AuthorityError("発行番号は16進大文字40桁以内（先頭にゼロなし）で指定してください。")
    number = int(text, 16)
    if number.bit_length() > 159:
        raise AuthorityError("発行番号が大きすぎます（20オクテット以内）。")
    return number


class Authority:
    """The authorities of one world, in one directory. Safe for several processes at once."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)

    def initialise(self, at: datetime, *, ocsp_url: str | None = None) -> None:
        """Make what is missing: both authorities, the OCSP signer, the register. Idempotent."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for purpose in Purpose:
            if not self._path(f"{purpose}-ca.pem").exists():
                self._make_ca(purpose, at)
        if ocsp_url is not None:
            write_private(self._path("ocsp-url"), ocsp_url.encode("ascii"))
        self.ocsp_signer(at)
        with self._register() as register:
            register.execute(
                "CREATE TABLE IF NOT EXISTS issued (serial_number TEXT NOT NULL,"
                " purpose TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, changed_at TEXT,"
                " PRIMARY KEY (purpose, serial_number)) STRICT, WITHOUT ROWID"
            )

    def _path(self, name: str) -> Path:
        return self.directory / name

    @property
    def trust_roots_path(self) -> Path:
        """The certificate that center and BCL trust for user authentication (PEM)."""
        return self._path(f"{Purpose.USER_AUTH}-ca.pem")

    def ca_cert(self, purpose: Purpose = Purpose.USER_AUTH) -> x509.Certificate:
        """Read an authority's own certificate."""
        return x509.load_pem_x509_certificate(self._path(f"{purpose}-ca.pem").read_bytes())

    def _ca_key(self, purpose: Purpose) -> PrivateKey:
        return _load_key(self._path(f"{purpose}-ca.key").read_bytes())

    def _make_ca(self, purpose: Purpose, at: datetime) -> None:
        unit = "User authentication" if purpose is Purpose.USER_AUTH else "Signature"
        name = simulated_ca_name(unit)
        key = rsa.generate_private_key(65537, RSA_BITS)
        cert = (
            x509.CertificateBuilder(issuer_name=name, subject_name=name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - BACKDATE)
            .not_valid_after(at + CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        write_private(self._path(f"{purpose}-ca.key"), _key_pem(key))
        write_private(self._path(f"{purpose}-ca.pem"), _cert_pem(cert))

    def ocsp_signer(self, at: datetime) -> tuple[x509.Certificate, PrivateKey]:
        """Give the delegated OCSP signer, a new one when the last has less than a day left."""
        path = self._path("ocsp-signer.pem")
        if path.exists():
            key_pem, begin, cert_pem = path.read_bytes().partition(b"-----BEGIN CERTIFICATE")
            cert = x509.load_pem_x509_certificate(begin + cert_pem)
            if at + timedelta(days=1) < cert.not_valid_after_utc:
                return cert, _load_key(key_pem)
        key = ec.generate_private_key(ec.SECP256R1())
        name = simulated_ca_name("OCSP responder")
        cert = (
            self._builder(Purpose.USER_AUTH, name, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - BACKDATE)
            .not_valid_after(at + SIGNER_LIFETIME)
            .add_extension(key_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), True)
            .add_extension(x509.OCSPNoCheck(), critical=False)
            .sign(self._ca_key(Purpose.USER_AUTH), hashes.SHA256())
        )
        # One file, replaced at once: nobody ever sees the key of one and the cert of another.
        write_private(path, _key_pem(key) + _cert_pem(cert))
        return cert, key

    def _builder(
        self, purpose: Purpose, subject: x509.Name, public_key: PublicKey
    ) -> x509.CertificateBuilder:
        ca = self.ca_cert(purpose)
        identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        return (
            x509.CertificateBuilder(issuer_name=ca.subject, subject_name=subject)
            .public_key(public_key)
            .add_extension(authority_key, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )

    def issue_cert(
        self,
        serial_number: int,
        public_key: PublicKey,
        period: Period,
        *,
        purpose: Purpose = Purpose.USER_AUTH,
    ) -> x509.Certificate:
        """Issue one certificate under a serial number given from outside.

        Like the real one it names nobody: the subject is the serial number. Raises
        `AuthorityError` when the number has been used.
        """
        user_auth = purpose is Purpose.USER_AUTH
        policy = USER_AUTH_POLICY if user_auth else SIGNATURE_POLICY
        usage = ("digital_signature",) if user_auth else ("digital_signature", "content_commitment")
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
                x509.NameAttribute(NameOID.COMMON_NAME, f"{serial_number:X}"),
            ]
        )
        policies = [x509.PolicyInformation(x509.ObjectIdentifier(policy), None)]
        builder = (
            self._builder(purpose, subject, public_key)
            .serial_number(serial_number)
            .not_valid_before(period.starts_at)
            .not_valid_after(period.ends_at)
            .add_extension(key_usage(*usage), critical=True)
            .add_extension(x509.CertificatePolicies(policies), critical=True)
        )
        if self._path("ocsp-url").exists():
            url = x509.UniformResourceIdentifier(self._path("ocsp-url").read_text("ascii"))
            access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, url)
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), False)
        cert = builder.sign(self._ca_key(purpose), hashes.SHA256())
        # On record before anybody holds it: an unrecorded certificate could not be revoked.
        self._record(serial_number, purpose)
        return cert

    def _record(self, serial_number: int, purpose: Purpose) -> None:
        try:
            with self._register() as register:
                register.execute(
                    "INSERT INTO issued (serial_number, purpose, state) VALUES (?, ?, ?)",
                    (f"{serial_number:X}", purpose, State.GOOD),
                )
        except sqlite3.IntegrityError:
            raise AuthorityError("この発行番号の電子証明書は発行済みです。") from None

    def set_state(
        self, serial_number: int, state: State, at: datetime, *, reason: str = "unspecified"
    ) -> Entry:
        """Revoke, suspend or resume a user-authentication certificate.

        A revoked one stays revoked. Raises `AuthorityError` for an unknown or revoked number.
        """
        words = (None, None) if state is State.GOOD else (reason, at.isoformat())
        if state is State.SUSPENDED:
            words = (x509.ReasonFlags.certificate_hold.value, at.isoformat())
        with self._register() as register:
            changed = register.execute(
                "UPDATE issued SET state = ?, reason = ?, changed_at = ?"
                " WHERE serial_number = ? AND purpose = ? AND state <> ?",
                (state, *words, f"{serial_number:X}", Purpose.USER_AUTH, State.REVOKED),
            )
            if changed.rowcount != 1:
                raise AuthorityError("その発行番号の有効な電子証明書はありません。")
        entry = self.find(serial_number)
        if entry is None:
            raise LookupError("a changed entry has vanished")
        return entry

    def find(self, serial_number: int) -> Entry | None:
        """Look up a user-authentication certificate; None when it was never issued."""
        with self._register() as register:
            row = register.execute(
                "SELECT serial_number, purpose, state, reason, changed_at FROM issued"
                " WHERE serial_number = ? AND purpose = ?",
                (f"{serial_number:X}", Purpose.USER_AUTH),
            ).fetchone()
        return _entry(row) if row else None

    def counts(self) -> dict[str, int]:
        """Count user-authentication certificates by state, for the world page."""
        with self._register() as register:
            rows = register.execute(
                "SELECT state, count(*) FROM issued WHERE purpose = ? GROUP BY state",
                (Purpose.USER_AUTH,),
            ).fetchall()
        return {state.value: dict(rows).get(state.value, 0) for state in State}

    def crl(self, at: datetime) -> x509.CertificateRevocationList:
        """Sign the current list of revoked and suspended user-authentication certificates."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.ca_cert().subject)
            .last_update(at)
            .next_update(at + CRL_LIFETIME)
            .add_extension(x509.CRLNumber(int(at.timestamp() * 1000)), critical=False)
        )
        with self._register() as register:
            rows = register.execute(
                "SELECT serial_number, purpose, state, reason, changed_at FROM issued"
                " WHERE purpose = ? AND state <> ? ORDER BY serial_number",
                (Purpose.USER_AUTH, State.GOOD),
            ).fetchall()
        for entry in map(_entry, rows):
            if entry.changed_at is None or entry.reason is None:
                raise ValueError("a register row without time or reason")
            revoked = x509.RevokedCertificateBuilder(entry.serial_number, entry.changed_at)
            if entry.reason != x509.ReasonFlags.unspecified.value:
                flag = x509.CRLReason(x509.ReasonFlags(entry.reason))
                revoked = revoked.add_extension(flag, critical=False)
            builder = builder.add_revoked_certificate(revoked.build())
        return builder.sign(self._ca_key(Purpose.USER_AUTH), hashes.SHA256())

    @contextmanager
    def _register(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path("register.sqlite"), timeout=10)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            with connection:
                yield connection
        finally:
            connection.close()


def _entry(row: tuple[str, str, str, str | None, str | None]) -> Entry:
    serial_number, purpose, state, reason, changed_at = row
    moment = datetime.fromisoformat(changed_at) if changed_at else None
    return Entry(int(serial_number, 16), Purpose(purpose), State(state), reason, moment)


def _load_key(content: bytes) -> PrivateKey:
    key = serialization.load_pem_private_key(content, password=None)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError("neither an RSA nor an EC key")
    return key


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _cert_pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)
