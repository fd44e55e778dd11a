"""schemathesis at the machine doors, from their published description, through real TLS."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest
from staff_client import TOWN, tls_of

from bcl_cli.world.world import World

ROOT = Path(__file__).parents[2]
SCHEMATHESIS = ROOT / "packaging" / "attack" / ".venv" / "bin" / "schemathesis"
HOOKS = {
    "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
    "PYTHONPATH": str(Path(__file__).parent),
}
HOOKS = {
    "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
    "PYTHONPATH": str(Path(__file__).parent),
}
SECONDS = 240
EXAMPLES = 30
# positive_data_acceptance: what is well-formed may still be refused, by signature, time or turn.
# missing_required_header, unsupported_method: a stranger is refused before anything else is read.
CHECKS = ",".join(
    [
        "not_a_server_error", "status_code_conformance", "content_type_conformance",
        "response_headers_conformance", "response_schema_conformance", "allow_header_conformance",
    ]
)  # fmt: skip


def parties(world: World) -> dict[str, tuple[str, str]]:
    """Certificate and key of each kind of caller."""
    gateway, center = world.pki.gateway(TOWN), world.pki.center_client
    return {
        "gateway": (str(gateway.cert_path), str(gateway.key_path)),
        "center": (str(center.cert_path), str(center.key_path)),
    }


@pytest.mark.requirement("R-164")
@pytest.mark.parametrize("party", ["gateway", "center"])
def test_schemathesis__at_every_door__finds_nothing(world, tell, tmp_path, party) -> None:
    if not SCHEMATHESIS.exists():
        pytest.skip("schemathesis is not set up (make setup-attack)")
    certificate, key = parties(world)[party]
    done = subprocess.run(
        [
            str(SCHEMATHESIS), "run", f"{world.wire_url}/wire/openapi.json",
            "--checks", CHECKS, "--phases", "examples,coverage,fuzzing",
            "--max-examples", str(EXAMPLES), "--seed", "4",
            "--request-cert", certificate, "--request-cert-key", key,
            "--tls-verify", str(world.pki.bcl_ca.cert_path), "--request-timeout", "20",
            "--suppress-health-check", "all", "--no-color", "--continue-on-failure",
            "--header", "X-BCL-Environment: verification", "--header", "Tus-Resumable: 1.0.0",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **HOOKS},
    )  # fmt: skip
    tried = re.search(r"(\d+) generated", done.stdout)
    tell[f"schemathesis as {party}"] = {
        "cases": int(tried[1]) if tried else 0,
        "findings": 0 if done.returncode == 0 else done.stdout[-6000:],
    }
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert tried and int(tried[1]) > 100


def test_control__a_door_that_lies_about_itself__is_found(world, tmp_path) -> None:
    """The tool sees what it should see: the same door under a description that isn't true."""
    if not SCHEMATHESIS.exists():
        pytest.skip("schemathesis is not set up (make setup-attack)")
    gateway = world.pki.gateway(TOWN)
    context = tls_of(world, None)
    context.load_cert_chain(str(gateway.cert_path), str(gateway.key_path))
    with httpx.Client(verify=context) as client:
        described = client.get(f"{world.wire_url}/wire/openapi.json").json()
    described["paths"] = {"/health": described["paths"]["/health"]}
    described["components"]["schemas"]["Health"]["properties"]["status"]["enum"] = ["never"]
    place = tmp_path / "wrong.json"
    place.write_text(json.dumps(described), encoding="utf-8")
    done = subprocess.run(
        [
            str(SCHEMATHESIS), "run", str(place), "--url", world.wire_url, "--max-examples", "5",
            "--checks", CHECKS, "--phases", "examples,fuzzing", "--no-color",
            "--request-cert", str(gateway.cert_path), "--request-cert-key", str(gateway.key_path),
            "--tls-verify", str(world.pki.bcl_ca.cert_path), "--max-time", "20",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "schema" in done.stdout
