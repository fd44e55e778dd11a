"""`bcl register` as the operator types it: from an empty BCL to a town that can send."""

from __future__ import annotations

import os
from pathlib import Path

import pyrage
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bcl.foundation import clock
from bcl.issuance import api as issuance
from bcl.municipalities import api as municipalities
from bcl_cli.register import register
from bcl_sim.pki import make_world_pki

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("R-004")]


@pytest.fixture(autouse=True)
def _own_role(monkeypatch) -> None:
    monkeypatch.setenv("BCL_ROLE", os.environ.get("BCL_ROLE", "command"))


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_world_pki(tmp_path_factory.mktemp("pki"), ["999997", "999989"], clock.now())


def call(*words: object) -> Result:
    return CliRunner().invoke(register, [str(word) for word in words])


def public_file(folder: Path, key=None, name: str = "signing.pub") -> Path:
    key = key or Ed25519PrivateKey.generate()
    path = folder / name
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def add_town(code: str = "999997") -> Result:
    return call(
        *("municipality", "--municipality", code, "--name", "サンプル市"),
        *("--head-title", "サンプル市長", "--mayor", "見本　太郎"),
    )


def test_register__a_new_town__has_everything_to_send_and_recover(pki, tmp_path) -> None:
    assert add_town().exit_code == 0
    certificate = pki.gateway("999997").cert_path
    words = ("--certificate", certificate, "--signing-key", public_file(tmp_path))
    for _ in range(2):  # the same again changes nothing
        added = call("gateway", "--municipality", "999997", *words)
        assert added.exit_code == 0, added.output
    public = str(pyrage.x25519.Identity.generate().to_public())
    assert (
        call(
            *("receiver", "--municipality", "999997", "--id", "r-1", "--age-key", public)
        ).exit_code
        == 0
    )
    assert (
        call(
            *("staff", "--municipality", "999997", "--id", "staff-1"),
            *("--public-key", public_file(tmp_path)),
        ).exit_code
        == 0
    )
    assert call("center", "--id", "center-1", *words).exit_code == 0

    listed = call("list").output
    gateway_id = municipalities.list_gateways("999997")[0].id
    assert "サンプル市" in listed and gateway_id in listed and "r-1" in listed
    assert municipalities.find_staff_key("999997", "staff-1") is not None

    assert call("revoke", "gateway", gateway_id).exit_code == 0
    assert municipalities.list_gateways("999997") == []
    again = call("revoke", "gateway", gateway_id)
    assert again.exit_code == 3 and "REGISTRATION_UNKNOWN" in again.output
    assert call("revoke", "staff", "staff-1", "--municipality", "999997").exit_code == 0
    assert call("revoke", "staff", "staff-1").exit_code == 2


def test_register__official_seal__is_kept_from_its_day(town, tmp_path) -> None:
    image = tmp_path / "seal.png"
    image.write_bytes(issuance.draw_demo_seal("サンプル市長"))
    words = ("seal", "--municipality", town, "--side-mm", "20", "--from", "2026-04-01")
    assert call(*words, "--image", image).exit_code == 0
    image.write_bytes(b"no picture")
    refused = call(*words, "--image", image)
    assert refused.exit_code == 3 and "REGISTRATION_SEAL_INVALID" in refused.output


def test_register__wrong_files_and_codes__each_have_their_refusal(town, pki, tmp_path) -> None:
    def code_of(result: Result) -> str:
        assert result.exit_code == 3, result.output
        return result.output.split(":")[0]

    certificate, key = pki.gateway("999989").cert_path, public_file(tmp_path)
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN CERTIFICATE-----\n", encoding="ascii")
    elliptic = public_file(tmp_path, generate_private_key(SECP256R1()), "other.pub")

    def gateway(where: str, cert: Path, signing: Path) -> Result:
        return call(
            "gateway", "--municipality", where, "--certificate", cert, "--signing-key", signing
        )

    assert code_of(add_town("999998")) == "REGISTRATION_MUNICIPALITY_CODE_INVALID"
    assert code_of(gateway("999971", certificate, key)) == "REGISTRATION_MUNICIPALITY_UNKNOWN"
    assert code_of(gateway(town, junk, key)) == "REGISTRATION_CERTIFICATE_INVALID"
    assert code_of(gateway(town, certificate, elliptic)) == "REGISTRATION_KEY_INVALID"
    assert gateway(town, certificate, key).exit_code == 0
    other = public_file(tmp_path, name="changed.pub")
    assert code_of(gateway(town, certificate, other)) == "REGISTRATION_CONFLICT"
    assert (
        code_of(call("receiver", "--municipality", town, "--id", "r", "--age-key", "age1x"))
        == "REGISTRATION_KEY_INVALID"
    )


@pytest.mark.requirement("R-061")
def test_register__terminal_and_first_administrator__can_enrol(town, pki) -> None:
    from bcl.accounts import api as accounts

    words = ("terminal", "--owner", town, "--id", "t-1", "--name", "窓口の端末")
    certificate = ("--certificate", pki.terminal(town).cert_path)
    assert call(*words, *certificate).exit_code == 0
    made = call("administrator", "--owner", town, "--id", "admin-1", "--name", "見本　一郎")
    assert made.exit_code == 0, made.output
    code = made.output.split("登録コード: ")[1].split()[0]
    (terminal,) = accounts.list_terminals(town)
    begun = accounts.begin_enrolment(terminal, "admin-1", code, at=clock.now())
    assert isinstance(begun, accounts.SignedIn)
    twice = call("administrator", "--owner", town, "--id", "admin-1", "--name", "x")
    assert twice.exit_code == 3 and "ACCOUNT_EXISTS" in twice.output
    assert call("revoke", "terminal", "t-1").exit_code == 2
    assert call("revoke", "terminal", "t-1", "--municipality", town).exit_code == 0
    again = call(*words, *certificate)
    assert again.exit_code == 3 and "REGISTRATION_CONFLICT" in again.output
