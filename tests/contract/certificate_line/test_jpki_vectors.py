"""Outside vectors for the chain check (NIST PKITS) and the OCSP check (OpenSSL's suite).

They lie in ``$BCL_VECTORS/pkits_pyhanko`` (pyhanko-certvalidator's fixtures, MIT) and are not ours;
without the folder these tests are skipped. A verdict counts, not the wording.
"""

import base64
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from asn1crypto import pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from pyhanko_certvalidator import PKIXValidationParams, ValidationContext
from pyhanko_certvalidator.policy_decl import DisallowWeakAlgorithmsPolicy

from bcl_contract.jpki import verify_path
from bcl_contract.ocsp import OcspRules, check_answer

FIXTURES = Path(os.environ.get("BCL_VECTORS", "/nonexistent")) / "pkits_pyhanko/tests/fixtures"
PKITS = FIXTURES / "nist_pkits"
OPENSSL = FIXTURES / "openssl-ocsp"

# PKITS signs with SHA-1 in places and has DSA keys of 1024 bits.
ALGORITHMS = DisallowWeakAlgorithmsPolicy({"md2", "md5"}, dsa_key_size_threshold=1024)

pytestmark = [
    pytest.mark.requirement("R-046"),
    # A root of 2012 has serial number zero.
    pytest.mark.filterwarnings("ignore:Parsed a serial number:Warning"),
    pytest.mark.skipif(not PKITS.is_dir(), reason="BCL_VECTORS has no pkits_pyhanko"),
]


def _load(path: Path) -> bytes:
    content = path.read_bytes()
    return pem.unarmor(content)[2] if pem.detect(content) else content


def _pkits_verdict(case: dict) -> bool:
    certs, crls = PKITS / "certs", PKITS / "crls"
    others = [_load(certs / name) for name in case.get("other_certs", [])]
    context = ValidationContext(
        trust_roots=[asn1_x509.Certificate.load(_load(certs / "TrustAnchorRootCertificate.crt"))],
        other_certs=[asn1_x509.Certificate.load(content) for content in others],
        crls=[_load(crls / name) for name in ["TrustAnchorRootCRL.crl", *case.get("crls", [])]],
        revocation_mode="require" if case.get("revocation", True) else "hard-fail",
        algorithm_usage_policy=DisallowWeakAlgorithmsPolicy(
            {"md2", "md5"}, dsa_key_size_threshold=1024
        ),
        moment=datetime(2018, 1, 1, tzinfo=UTC),
        allow_fetching=False,
    )
    params = dict(case.get("params") or {})
    if "user_initial_policy_set" in params:
        params["user_initial_policy_set"] = frozenset(params["user_initial_policy_set"])
    refusal = verify_path(
        _load(certs / case["cert"]),
        trust_roots=(),
        at=datetime(2018, 1, 1, tzinfo=UTC),
        context=context,
        params=PKIXValidationParams(**params) if params else None,
    )
    return refusal is None


@pytest.mark.requirement("R-046")
def test_path__nist_pkits__every_verdict_agrees():
    cases = json.loads((PKITS / "pkits.json").read_bytes())
    wrong = [
        (case["id"], case["name"])
        for case in cases
        if _pkits_verdict(case) is not ("error" not in case)
    ]
    assert wrong == []
    assert len(cases) == 247


def _openssl_verdict(case: dict) -> bool:
    """Check each certificate below the root against the answer recorded for it."""
    at = datetime.fromisoformat(case["moment"])
    chain = [_cert(case["root"]), *map(_cert, case.get("other_certs", [])), _cert(case["cert"])]
    rules = OcspRules(freshness=None, weak_hashes_allowed=True)
    answers = [base64.b64decode((OPENSSL / name).read_bytes()) for name in case["ocsps"]]
    # The delegated cases with an intermediate record an answer for the end entity only.
    pairs = list(zip(chain[1:], chain, strict=False))[-len(answers) :]
    # The list names the end entity's answer first.
    return all(
        check_answer(answer, cert=cert, issuer=issuer, at=at, nonce=None, rules=rules) is None
        for answer, (cert, issuer) in zip(answers, reversed(pairs), strict=True)
    )


def _cert(name: str) -> x509.Certificate:
    return x509.load_der_x509_certificate(_load(OPENSSL / name))


@pytest.mark.requirement("R-046")
def test_ocsp__openssl_suite__every_verdict_agrees():
    cases = json.loads((OPENSSL / "openssl-ocsp.json").read_bytes())
    wrong = [case["name"] for case in cases if _openssl_verdict(case) is not ("error" not in case)]
    assert wrong == []
    assert len(cases) == 29


def test_ocsp__openssl_suite_under_our_own_rules__nothing_of_2012_is_believed():
    cases = json.loads((OPENSSL / "openssl-ocsp.json").read_bytes())
    for case in cases:
        at = datetime.fromisoformat(case["moment"])
        chain = [_cert(case["root"]), *map(_cert, case.get("other_certs", []))]
        answer = base64.b64decode((OPENSSL / case["ocsps"][0]).read_bytes())
        cert = _cert(case["cert"])
        assert check_answer(answer, cert=cert, issuer=chain[-1], at=at, nonce=None) is not None
