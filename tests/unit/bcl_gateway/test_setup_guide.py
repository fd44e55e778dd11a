"""The setup guide (構築手順書) is carried out: folders, keys, settings, self check (R-004)."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from bcl_contract import clock
from bcl_gateway.main import gateway as command

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "gateway-setup.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def as_toml(settings: dict[str, Any]) -> str:
    import json

    lines = [f"{k} = {json.dumps(v)}" for k, v in settings.items() if not isinstance(v, dict)]
    for name, table in settings.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
    return "\n".join(lines)


@pytest.mark.requirement("R-004")
@pytest.mark.requirement("R-041")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_guide__followed_step_by_step__self_check_is_all_good(
    tmp_path: Path, server, pki, make_settings
) -> None:
    program = tmp_path / "bin" / "bcl-gateway"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m bcl_gateway.main "$@"\n')
    program.chmod(0o755)
    environ = os.environ | {
        "BASE": str(tmp_path),
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[3] / "src"),
    }

    def follow(name: str) -> str:
        (script,) = blocks(f"bash {name}")
        done = subprocess.run(
            ["bash", "-eu", "-c", script],
            env=environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    follow("folders")
    follow("keys")
    etc = tmp_path / "etc" / "bcl-gateway"
    assert {path.stat().st_mode & 0o077 for path in etc.glob("*.key")} == {0}
    _answer_request(etc, pki)

    (written,) = blocks("toml")
    settings = tomllib.loads(written.replace('"/etc/', f'"{tmp_path}/etc/'))
    given = make_settings()["server"]
    settings |= {name: f"{tmp_path}{settings[name]}" for name in ("state_dir", "drop_dir")}
    settings["server"] |= {
        name: given[name] for name in ("url", "public_keys", "receipt_key", "ca_file")
    }
    settings["tuning"]["minimum_free_mib"] = 1
    (etc / "gateway.toml").write_text(as_toml(settings))
    said = follow("doctor")
    assert "[否]" not in said and said.count("[良]") >= 15

    # Bandwidth limits of the guide are settings that are taken, and seen.
    (limits,) = blocks("toml sending")
    (etc / "gateway.toml").write_text(as_toml(settings) + "\n" + limits)
    shown = subprocess.run(
        [str(program), "--config", str(etc / "gateway.toml"), "status"],
        env=environ, capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert "08:30～17:15は毎秒 250,000バイト" in shown

    # The same machine handed over to an external transfer tool: only settings change.
    follow("transfer-folders")
    (written,) = blocks("toml transfer")
    transfer = tomllib.loads(written.replace('"/var/', f'"{tmp_path}/var/'))["transfer"]
    transfer["recipient"] = str(pyrage.x25519.Identity.generate().to_public())
    external = settings | {
        "server": {"receipt_key": given["receipt_key"]}, "transfer": transfer,
    }  # fmt: skip
    (etc / "gateway.toml").write_text(as_toml(external))
    said = follow("doctor")
    assert "[否]" not in said and "転送ソフト" in said


def _answer_request(etc: Path, pki) -> None:
    """What BCL's operator does with the request: a certificate of BCL's authority."""
    request = x509.load_pem_x509_csr((etc / "request.csr").read_bytes())
    assert request.is_signature_valid
    certificate = (
        x509.CertificateBuilder(issuer_name=pki.bcl_ca.cert().subject, subject_name=request.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now() - timedelta(days=1))
        .not_valid_after(clock.now() + timedelta(days=397))
        .sign(pki.bcl_ca.key(), hashes.SHA256())
    )
    (etc / "gateway.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


def test_guide__every_command_in_it__exists() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    named = set(re.findall(r"bcl-gateway(?: --config \S+)? ([a-z]+)", text))
    assert {"run", "doctor", "status", "report", "resume", "restore"} <= named
    assert named <= set(command.commands)
