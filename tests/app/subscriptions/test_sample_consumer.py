"""The sample in `examples/` against a real wire server: mutual TLS, signed answers, a copy."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from store_world import Sender, resident

from bcl.foundation import agency_signing, clock
from bcl.subscriptions import api
from bcl_contract.subscription_profile import SubscriptionProfile, parse_profile
from bcl_sim.pki import make_world_pki

pytestmark = [
    pytest.mark.requirement("R-029", "R-155"), pytest.mark.django_db(transaction=True),
]
SAMPLE = Path(__file__).parents[3] / "examples" / "subscriber"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_world_pki(tmp_path_factory.mktemp("pki") / "world", ["999997"], clock.now())


@pytest.fixture
def door(town, pki, tmp_path):
    """A wire server on the subscribers' network; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "BCL_WIRE_PORT": str(port),
        "BCL_ZONE": "IP_VPN",
        "BCL_WIRE_CERTIFICATE_FILE": str(pki.wire_server.cert_path),
        "BCL_WIRE_PRIVATE_KEY_FILE": str(pki.wire_server.key_path),
        "BCL_WIRE_CLIENT_CA_FILE": str(pki.wire_clients_path),
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bcl.config.serve"], env=environment, stderr=log
        )
    give_up = time.monotonic() + 40
    while True:
        assert process.poll() is None, (tmp_path / "log").read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert time.monotonic() < give_up
        time.sleep(0.05)
    yield port
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=40) == 0


@pytest.fixture
def agreed(town, agreement, pki) -> SubscriptionProfile:
    """The sample's own profile, agreed to; its system registered by certificate."""
    from bcl.municipalities import api as municipalities

    profile = parse_profile((SAMPLE / "profile.toml").read_bytes())
    assert isinstance(profile, SubscriptionProfile), profile
    municipalities.register_subscriber(
        profile.subscriber_id, "学齢簿システム", pki.subscriber.cert_path.read_bytes()
    )
    for done in (agreement.ask(profile), agreement.approve(profile)):
        assert not hasattr(done, "code"), done
    return profile


def run_sample(pki, port: int, copy: Path, *more: str, key: str | None = None):
    signing_key = key or agency_signing.current_public_key()[1].hex()
    return subprocess.run(
        [
            sys.executable, str(SAMPLE / "consumer.py"), "--host", "localhost", "--port", str(port),
            "--municipality", "999997", "--subscription", "school-roll",
            "--ca", str(pki.bcl_ca.cert_path), "--certificate", str(pki.subscriber.cert_path),
            "--key", str(pki.subscriber.key_path), "--signing-key", signing_key,
            "--copy", str(copy), *more,
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )


def held(copy: Path) -> dict[str, dict]:
    with sqlite3.connect(copy) as open_copy:
        rows = [json.loads(row[0]) for row in open_copy.execute("SELECT columns FROM record")]
    return {row["addressee_number"]: row for row in rows}


def test_sample__follows_a_town_through_changes_a_rebuild_and_its_own_loss(
    town, door, pki, agreement, agreed, tmp_path
) -> None:
    sender, copy = Sender(town), tmp_path / "copy.sqlite3"
    rows = [resident(number, household=number, address_town="本町") for number in range(1, 9)]
    sender.send({"J01": rows})
    api.prepare_deliveries(town)
    first = run_sample(pki, door, copy)
    assert first.returncode == 0, first.stderr
    assert set(held(copy)) == {f"{number:015d}" for number in range(1, 9)}
    assert all(set(row) == set(agreed.columns["J01"]) for row in held(copy).values())
    moved = rows[0] | {"address_town": "栄町"}
    sender.send({"J01": [moved, rows[1] | {"deleted": "1"}]}, mode="differential")
    api.prepare_deliveries(town)
    assert "1 頁" in run_sample(pki, door, copy).stdout
    assert held(copy)[f"{1:015d}"]["address_town"] == "栄町" and len(held(copy)) == 7
    assert "0 頁" in run_sample(pki, door, copy).stdout, "what is stored does not come again"
    agreement.change("rebuild")
    api.prepare_deliveries(town)
    assert run_sample(pki, door, copy).returncode == 0 and len(held(copy)) == 7
    lost = tmp_path / "lost.sqlite3"
    assert "SUBSCRIPTION_POSITION_PASSED" in run_sample(pki, door, lost).stderr
    assert run_sample(pki, door, lost, "--restart").returncode == 0
    api.prepare_deliveries(town)
    assert run_sample(pki, door, lost).returncode == 0 and held(lost) == held(copy)


def test_door__foreign_callers_forged_keys_and_columns_beyond__get_nothing(
    town, door, pki, agreed, tmp_path
) -> None:
    from bcl.municipalities import api as municipalities

    Sender(town).send({"J01": [resident(1, household=1, full_name="漏洩　太郎")]})
    api.prepare_deliveries(town)
    forged = run_sample(pki, door, tmp_path / "copy.sqlite3", key="00" * 31 + "01")
    assert forged.returncode == 1 and held(tmp_path / "copy.sqlite3") == {}

    def ask(credential, **fields) -> httpx.Response:
        context = ssl.create_default_context(cafile=str(pki.bcl_ca.cert_path))
        context.load_cert_chain(str(credential.cert_path), str(credential.key_path))
        body = {"message": "changes", "municipality_code": town, "subscription": "school-roll"}
        with httpx.Client(verify=context, timeout=20) as client:
            place = f"https://localhost:{door}/wire/subscriptions/changes"
            return client.post(place, json=body | fields)

    for credential, fields, code in (
        (pki.gateway(town), {}, "SUBSCRIBER_NOT_REGISTERED"),
        (pki.subscriber, {"columns": {"J01": ["full_name", "registered_domicile"]}},
         "SUBSCRIPTION_COLUMN_DENIED"),
        (pki.subscriber, {"columns": {"J07": ["individual_number"]}}, "SUBSCRIPTION_COLUMN_DENIED"),
        (pki.subscriber, {"municipality_code": "999989"}, "SUBSCRIPTION_TOWN_NOT_AGREED"),
        (pki.subscriber, {"subscription": "other"}, "SUBSCRIPTION_TOWN_NOT_AGREED"),
        (pki.subscriber, {"after": -1}, "SUBSCRIPTION_MESSAGE_FORM"),
        (pki.subscriber, {"extra": "x"}, "SUBSCRIPTION_MESSAGE_FORM"),
    ):
        answer = ask(credential, **fields)
        assert answer.json()["code"] == code, answer.text
        assert answer.status_code >= 400 and "漏洩" not in answer.text
    assert ask(pki.subscriber).status_code == 200
    municipalities.revoke_subscriber("school-system")
    assert ask(pki.subscriber).json()["code"] == "SUBSCRIBER_NOT_REGISTERED"
