"""Checking that a resident's card is what it says: 利用者証明用電子証明書 of JPKI (R-045–R-047).

`verify_user_auth` checks, in this order: form, purpose, chain to a trusted JPKI authority, period,
key usage and policy, strength, and revocation by OCSP. `check_challenge_signature` then shows that
the card itself is present. Each failure has a code of its own; none is ever a pass.

The profile follows what is publicly known of JPKI (no personal data in the certificate, critical
certificatePolicies, keyUsage digitalSignature alone). The policy numbers are of our simulated JPKI
and are settings of the caller: a real adapter passes the real ones.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from asn1crypto import x509 as asn1_x509  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pyhanko_certvalidator import CertificateValidator, PKIXValidationParams, ValidationContext
from pyhanko_certvalidator.errors import (
    ExpiredError,
    InvalidCertificateError,
    NotYetValidError,
    PathBuildingError,
    PathValidationError,
    ValidationError,
)

from bcl_contract.ocsp import OcspTransport, check_revocation
from bcl_contract.refusals import Refusal

# Arc 2.999 is the one set aside for examples: these numbers can never meet real ones.
USER_AUTH_POLICY = "2.999.392.8.5.1"
SIGNATURE_POLICY = "2.999.392.8.5.2"

# A JPKI card of today is RSA 2048; the next generation is announced as P-384.
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_CERT_BYTES = 8192


def simulated_ca_name(unit: str = "User authentication") -> x509.Name:
    """Give the subject of a simulated JPKI authority: known before any key exists."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "JPKI simulation"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        ]
    )


def issuer_key_of(name: x509.Name) -> str:
    """Give the issuer key (発行者識別) of J05: hex SHA-256 of the issuer's DER name.

    X.509 names a certificate by issuer name and serial number; the digest makes the name fit
    the column. It survives a change of the authority's key.
    """
    return hashlib.sha256(name.public_bytes()).hexdigest()


SIMULATED_ISSUER_KEY = issuer_key_of(simulated_ca_name())


@dataclass(frozen=True)
class UserAuthCert:
    """A parsed user-authentication certificate.

    `serial_number` is hex upper case without leading zero, as column 発行番号 of J05 has it.
    """

    serial_number: str
    issuer_key: str
    not_valid_before: datetime
    not_valid_after: datetime
    cert: x509.Certificate = field(repr=False, compare=False)

    def __repr__(self) -> str:
        return f"UserAuthCert(****{self.serial_number[-4:]})"


@dataclass(frozen=True)
class Verified:
    """A certificate that held every check at `at`."""

    user_auth_cert: UserAuthCert
    at: datetime

    @property
    def serial_number(self) -> str:
        """The serial number to look up in J05."""
        return self.user_auth_cert.serial_number

    @property
    def issuer_key(self) -> str:
        """The issuer key to look up in J05."""
        return self.user_auth_cert.issuer_key


@dataclass(frozen=True)
class TrustRoots:
    """The JPKI authorities believed, and the policies that tell the two kinds of cert apart."""

    certs: tuple[x509.Certificate, ...]
    user_auth_policy: str = USER_AUTH_POLICY
    signature_policy: str = SIGNATURE_POLICY

    @classmethod
    def from_pem(cls, content: bytes) -> "TrustRoots":
        """Read one or more PEM certificates (ValueError when there is none)."""
        return cls(tuple(x509.load_pem_x509_certificates(content)))

    def issuer_of(self, cert: x509.Certificate) -> x509.Certificate | None:
        """Find the authority whose key signed `cert`."""
        for root in self.certs:
            if root.subject == cert.issuer and _is_signed(cert, root):
                return root
        return None


def parse_user_auth_cert(cert_der: bytes) -> UserAuthCert | Refusal:
    """Read a certificate, judging nothing but its form (USER_AUTH_CERT_MALFORMED)."""
    if not 0 < len(cert_der) <= _CERT_BYTES:
        return Refusal("USER_AUTH_CERT_MALFORMED")
    try:
        cert = x509.load_der_x509_certificate(cert_der)
        if cert.public_bytes(Encoding.DER) != cert_der or cert.serial_number <= 0:
            return Refusal("USER_AUTH_CERT_MALFORMED")
        list(cert.extensions)
        cert.public_key()
        return UserAuthCert(
            serial_number=f"{cert.serial_number:X}",
            issuer_key=issuer_key_of(cert.issuer),
            not_valid_before=cert.not_valid_before_utc,
            not_valid_after=cert.not_valid_after_utc,
            cert=cert,
        )
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        return Refusal("USER_AUTH_CERT_MALFORMED")
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return Refusal("USER_AUTH_CERT_MALFORMED")


def verify_user_auth(
    cert_der: bytes, *, trust_roots: TrustRoots, at: datetime, ocsp: OcspTransport
) -> Verified | Refusal:
    """Check one user-authentication certificate completely at the moment `at`.

    Refuses with USER_AUTH_CERT_ and MALFORMED, SIGNATURE_PURPOSE, FOREIGN_ISSUER, PATH_INVALID,
    NOT_YET_VALID, EXPIRED, WRONG_PURPOSE, WEAK, and the revocation codes of
    `bcl_contract.ocsp.check_revocation`.
    """
    parsed = parse_user_auth_cert(cert_der)
    if isinstance(parsed, Refusal):
        return parsed
    # The commonest mistake first: the other certificate on the same card, whose own authority
    # is not among the roots. Nothing passes here, so believing its policy is harmless.
    if trust_roots.signature_policy in _policies(parsed.cert):
        return Refusal("USER_AUTH_CERT_SIGNATURE_PURPOSE")
    refusal = verify_path(
        cert_der,
        trust_roots=trust_roots.certs,
        at=at,
        policies=frozenset({trust_roots.user_auth_policy}),
    ) or check_profile(parsed.cert, trust_roots.user_auth_policy)
    if refusal is not None:
        return refusal
    issuer = trust_roots.issuer_of(parsed.cert)
    if issuer is None:
        return Refusal("USER_AUTH_CERT_FOREIGN_ISSUER")
    # RFC 5280 takes a trust anchor as given; here an authority past its end vouches for nobody.
    if not issuer.not_valid_before_utc <= at <= issuer.not_valid_after_utc:
        return Refusal("USER_AUTH_CERT_PATH_INVALID")
    refusal = check_revocation(parsed.cert, issuer, at=at, ask=ocsp)
    return refusal or Verified(parsed, at)


def verify_path(
    cert_der: bytes,
    *,
    trust_roots: Sequence[x509.Certificate],
    at: datetime,
    policies: frozenset[str] | None = None,
    context: ValidationContext | None = None,
    params: PKIXValidationParams | None = None,
) -> Refusal | None:
    """Check the chain of a certificate by RFC 5280; None when it holds.

    `context` and `params` replace the product's own for chains with intermediates and CRLs (the
    NIST PKITS cases run through here). Revocation in the product is `check_revocation`'s.
    Refuses with USER_AUTH_CERT_ and FOREIGN_ISSUER, EXPIRED, NOT_YET_VALID, PATH_INVALID,
    WRONG_PURPOSE (the policy asked for is not there).
    """
    context = context or ValidationContext(
        trust_roots=[
            asn1_x509.Certificate.load(root.public_bytes(Encoding.DER)) for root in trust_roots
        ],
        moment=at,
        allow_fetching=False,
        revocation_mode="soft-fail",
        weak_hash_algos={"md2", "md5", "sha1"},
        time_tolerance=timedelta(0),
    )
    if params is None and policies is not None:
        params = PKIXValidationParams(
            user_initial_policy_set=policies, initial_explicit_policy=True
        )
    try:
        leaf = asn1_x509.Certificate.load(cert_der)
        validator = CertificateValidator(leaf, validation_context=context, pkix_params=params)
        _run(validator.async_validate_path)
    except (PathBuildingError, InvalidCertificateError):
        return Refusal("USER_AUTH_CERT_FOREIGN_ISSUER")
    except (ExpiredError, NotYetValidError) as error:
        # An authority outside its own period makes the chain bad, not the card old.
        if not error.is_ee_cert:
            return Refusal("USER_AUTH_CERT_PATH_INVALID")
        expired = isinstance(error, ExpiredError)
        return Refusal("USER_AUTH_CERT_EXPIRED" if expired else "USER_AUTH_CERT_NOT_YET_VALID")
    except PathValidationError as error:
        no_policy = "valid set of policies" in error.failure_msg
        return Refusal(
            "USER_AUTH_CERT_WRONG_PURPOSE" if no_policy else "USER_AUTH_CERT_PATH_INVALID"
        )
    except (ValidationError, ValueError, TypeError):
        return Refusal("USER_AUTH_CERT_PATH_INVALID")
    return None


T = TypeVar("T")


def _run(begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a validation that never waits for the network. Not for use inside an event loop.

    With everything at hand the coroutine runs through at its first step, and an event loop for
    each card would cost as much again as the check itself.
    """
    coroutine = begin()
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    coroutine.close()
    return asyncio.run(begin())


def check_profile(cert: x509.Certificate, policy: str) -> Refusal | None:
    """Check usage, policy and strength of a user-authentication certificate; None when right."""
    if not _is_for_user_auth(cert, policy):
        return Refusal("USER_AUTH_CERT_WRONG_PURPOSE")
    if not _is_strong(cert):
        return Refusal("USER_AUTH_CERT_WEAK")
    return None


def _is_for_user_auth(cert: x509.Certificate, policy: str) -> bool:
    try:
        policies = cert.extensions.get_extension_for_class(x509.CertificatePolicies)
        usage = cert.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        return False
    if not (policies.critical and usage.critical and policy in _policies(cert)):
        return False
    bits = usage.value
    others = (
        bits.content_commitment, bits.key_encipherment, bits.data_encipherment,
        bits.key_agreement, bits.key_cert_sign, bits.crl_sign,
    )  # fmt: skip
    return bits.digital_signature and not any(others) and not _is_for_others(cert)


def _is_for_others(cert: x509.Certificate) -> bool:
    """Tell whether basicConstraints or an extended usage makes it something else than a card's."""
    for extension in cert.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            return True
        if isinstance(value, x509.ExtendedKeyUsage):
            return ExtendedKeyUsageOID.CLIENT_AUTH not in value
    return False


def _policies(cert: x509.Certificate) -> Iterable[str]:
    try:
        value = cert.extensions.get_extension_for_class(x509.CertificatePolicies).value
    except x509.ExtensionNotFound:
        return ()
    return [policy.policy_identifier.dotted_string for policy in value]


def _is_strong(cert: x509.Certificate) -> bool:
    algorithm = cert.signature_hash_algorithm
    if algorithm is None or algorithm.digest_size < 32:
        return False
    public = cert.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return public.key_size >= 2048 and public.public_numbers().e >= 65537
    return isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, _CURVES)


def _is_signed(cert: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        cert.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def check_challenge_signature(
    user_auth_cert: UserAuthCert, *, challenge: bytes, signature: bytes
) -> Refusal | None:
    """Check that the card's key signed `challenge` (SHA-256; RSA PKCS #1 v1.5 or ECDSA).

    Refuses with USER_AUTH_CERT_SIGNATURE_WRONG.
    """
    public = user_auth_cert.cert.public_key()
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, challenge, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, challenge, ec.ECDSA(hashes.SHA256()))
        else:
            return Refusal("USER_AUTH_CERT_SIGNATURE_WRONG")
    except (InvalidSignature, ValueError):
        return Refusal("USER_AUTH_CERT_SIGNATURE_WRONG")
    return None
