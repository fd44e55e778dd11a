"""The gateway against BCL's real door: it arrives, once, whatever happens on the way."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from bcl_contract.refusals import Refusal
from bcl_gateway.send import Sent
from bcl_gateway.states import ItemState

CHUNK = 1 << 16
OVERHEAD = 16 << 10
"""What TLS and HTTP add on the wire in one short upload: two handshakes, headers, records."""


@pytest.mark.requirement("R-015")
@pytest.mark.requirement("R-016")
@pytest.mark.requirement("R-012")
def test_gateway__full_then_differential__lands_with_signed_receipts(hall) -> None:
    gateway = hall.gateway()
    for number, mode in enumerate(("full", "differential"), start=1):
        if number > 1:
            hall.town.advance(1)
            hall.export(mode)
        gateway.run_once()
        hall.deliver(gateway)
        (bundle, _) = hall.transmissions()[-1]
        hall.work()
        sent = gateway.send(patience_seconds=10)
        assert isinstance(sent, Sent) and sent.refusal is None
        item = gateway.journal.items()[-1]
        assert (item.state, item.sequence) == (ItemState.LANDED, number)
        assert item.bundle_id == bundle and item.receipt is not None
        assert item.receipt["state"] == "LANDED"
        assert item.receipt["sha256"] == item.package_sha256
    assert [state for _, state in hall.transmissions()] == ["LANDED", "LANDED"]
    assert list(gateway.config.spool_dir.iterdir()) == []


@pytest.mark.requirement("R-017")
@pytest.mark.parametrize("percent", [10, 50, 99])
def test_gateway__line_cut__resumes_and_resends_at_most_one_chunk(
    hall, proxy, percent: int
) -> None:
    gateway = hall.gateway(server={"url": f"https://127.0.0.1:{proxy.port}/wire"})
    content, bundle, digest = hall.sealed(gateway)
    proxy.marks = [len(content) * percent // 100]
    passed_at_end: list[int] = []
    gateway.progress = lambda _, reached, total: (
        passed_at_end.append(proxy.passed) if reached == total else None
    )
    item = hall.deliver(gateway)
    assert proxy.cuts == 1
    assert hall.transmissions() == [(bundle, "RECEIVED")]
    assert item.receipt is not None and item.receipt["sha256"] == digest
    assert len(content) < passed_at_end[0] <= len(content) + CHUNK + OVERHEAD


@pytest.mark.requirement("R-017")
def test_gateway__twenty_cuts__arrives_whole_and_once(hall, proxy) -> None:
    gateway = hall.gateway(server={"url": f"https://127.0.0.1:{proxy.port}/wire"})
    content, bundle, _ = hall.sealed(gateway)
    # More bytes than the package pass, because cut chunks are sent again.
    proxy.marks = [len(content) * n // 20 for n in range(1, 21)]
    hall.deliver(gateway, seconds=120)
    assert proxy.cuts >= 15
    hall.work()
    assert hall.transmissions() == [(bundle, "LANDED")]


@pytest.mark.requirement("R-017")
@pytest.mark.parametrize("percent", [10, 50, 99])
def test_gateway__killed_while_sending__next_start_goes_on(
    hall, proxy, percent: int, tmp_path
) -> None:
    gateway = hall.gateway(server={"url": f"https://127.0.0.1:{proxy.port}/wire"})
    content, bundle, _ = hall.sealed(gateway)
    config = gateway.config
    gateway.close()
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(_as_settings(config)))
    process = subprocess.Popen([sys.executable, "-c", SENDS, str(settings)])
    proxy.on_cut = lambda: os.kill(process.pid, signal.SIGKILL)
    proxy.marks = [len(content) * percent // 100]
    assert process.wait(timeout=60) == -signal.SIGKILL

    again = hall.gateway(server={"url": f"https://127.0.0.1:{proxy.port}/wire"})
    passed_at_end: list[int] = []
    again.progress = lambda _, reached, total: (
        passed_at_end.append(proxy.passed) if reached == total else None
    )
    hall.deliver(again)
    assert len(content) < passed_at_end[0] <= len(content) + CHUNK + OVERHEAD
    hall.work()
    assert hall.transmissions() == [(bundle, "LANDED")]


SENDS = """
import json, sys
from pathlib import Path
from bcl_gateway.api import Gateway
from bcl_gateway.config import parse_config
settings = json.loads(Path(sys.argv[1]).read_text())
with Gateway(parse_config(settings, base=Path("/"))) as gateway:
    gateway.send(patience_seconds=30)
"""


def _as_settings(config) -> dict:
    server = config.server
    return {
        "environment": config.environment,
        "municipality_code": config.municipality_code,
        "state_dir": str(config.state_dir),
        "drop_dir": str(config.drop_dir),
        "signing_key_file": str(config.signing_key_file),
        "server": {
            "url": server.url,
            "ca_file": str(server.ca_file),
            "certificate_file": str(server.certificate_file),
            "key_file": str(server.key_file),
            "public_keys": list(server.public_keys),
            "receipt_key": server.receipt_key,
        },
        "tuning": {"chunk_mib": 0.0625, "settle_seconds": 0},
    }


@pytest.mark.requirement("R-018")
def test_gateway__same_package_five_times_in_parallel__is_applied_once(hall) -> None:
    from bcl_gateway.connection import WireConnection
    from bcl_gateway.tus_client import create_upload, send_rest

    gateway = hall.gateway()
    content, bundle, digest = hall.sealed(gateway)
    import io

    problems: list[BaseException] = []

    def send() -> None:
        try:
            with WireConnection(gateway.config) as line:
                url = create_upload(line, length=len(content), bundle_id=bundle, filename="x.zip")
                send_rest(
                    line, url, io.BytesIO(content), offset=0, length=len(content),
                    chunk_bytes=CHUNK, report=lambda _: None,
                )  # fmt: skip
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    hall.work()
    assert hall.transmissions() == [(bundle, "LANDED")]
    # Every sender asks and hears the same: here it is, landed, with a receipt.
    gateway.send(patience_seconds=10)
    item = gateway.journal.items()[-1]
    assert item.state is ItemState.LANDED and item.receipt["sha256"] == digest
    assert hall.transmissions() == [(bundle, "LANDED")]


@pytest.mark.requirement("R-016")
@pytest.mark.requirement("R-018")
def test_gateway__certificate_revoked__is_refused_and_loses_nothing(hall) -> None:
    gateway = hall.gateway()
    hall.sealed(gateway)
    with hall.door.database():
        from bcl.municipalities import api as municipalities

        assert municipalities.revoke_gateway(hall.gateway_id)
    sent = gateway.send(patience_seconds=2)
    assert isinstance(sent, Sent) and sent.refusal is not None
    assert sent.refusal.code == "GATEWAY_CERTIFICATE_REFUSED"
    assert hall.transmissions() == []
    assert len(list(gateway.config.spool_dir.iterdir())) == 1


@pytest.mark.requirement("R-016")
def test_gateway__package_signed_by_another_town__is_rejected_and_stops_the_lane(
    make_hall: Callable,
) -> None:
    one, other = make_hall(), make_hall()
    one.export()
    key = str(one.door.pki.gateway_signing(other.code).key_path)
    gateway = one.gateway(signing_key_file=key)
    gateway.run_once()
    one.deliver(gateway)
    one.work()
    sent = gateway.send(patience_seconds=10)
    assert isinstance(sent, Sent)
    item = gateway.journal.items()[-1]
    assert item.state is ItemState.REJECTED
    assert item.refusal_code == "TRANSMISSION_SIGNATURE_INVALID"
    assert gateway.status()["lanes"]["main"]["stopped"]


@pytest.mark.requirement("R-004")
def test_gateway__doctor_against_the_real_door__all_good(hall) -> None:
    checks = {check.name: check.ok for check in hall.gateway().doctor()}
    assert checks["reachable"] is True and checks["clock"] in (True, None)
    assert False not in checks.values()
    assert not isinstance(hall.gateway().status(), Refusal)
