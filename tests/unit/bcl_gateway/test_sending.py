"""Sending under bad conditions: cuts, lost answers, wrong servers, wrong receipts, refusals."""

import hashlib
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from bcl_contract import clock
from bcl_contract.refusals import Refusal
from bcl_gateway.api import Gateway
from bcl_gateway.seams import Seams, backoff_seconds
from bcl_gateway.send import Sent
from bcl_gateway.states import ItemState

CHUNK = 1 << 16


@pytest.fixture
def ready_to_send(gateway: Gateway, drop) -> Gateway:
    drop()
    for step in (gateway.collect, gateway.check, gateway.sign):
        assert not isinstance(step(), Refusal)
    return gateway


def package_bytes(gateway: Gateway) -> int:
    (item,) = gateway.journal.items()
    assert item.package_bytes
    return item.package_bytes


@pytest.mark.requirement("R-017")
@pytest.mark.parametrize("percent", [0.01, 10, 50, 99, 99.99])
def test_send__line_cut_in_the_middle__resumes_and_resends_at_most_one_chunk(
    ready_to_send: Gateway, server, percent: float
) -> None:
    size = package_bytes(ready_to_send)
    server.behaviour.cut_at = [max(1, int(size * percent / 100))]
    sent = ready_to_send.send(patience_seconds=20)
    assert isinstance(sent, Sent) and sent.refusal is None
    (upload,) = server.uploads.values()
    (item,) = ready_to_send.journal.items()
    assert item.state is ItemState.LANDED and server.behaviour.cut_at == []
    assert hashlib.sha256(upload.content).hexdigest() == item.package_sha256
    assert size <= server.received_bytes <= size + CHUNK


@pytest.mark.requirement("R-017")
def test_send__thirty_cuts_and_lost_answers__arrives_whole(ready_to_send: Gateway, server) -> None:
    size = package_bytes(ready_to_send)
    server.behaviour.cut_at = [size * n // 16 for n in range(1, 16)]
    server.behaviour.lose_ack_at = [size * n // 16 + 99 for n in range(1, 16)]
    ready_to_send.send(patience_seconds=60)
    (item,) = ready_to_send.journal.items()
    (upload,) = server.uploads.values()
    assert item.state is ItemState.LANDED
    assert hashlib.sha256(upload.content).hexdigest() == item.package_sha256
    # A chunk whose answer was lost is not sent again: the server's offset is asked first.
    assert server.received_bytes <= size + 15 * CHUNK


@pytest.mark.requirement("R-017")
@pytest.mark.parametrize(
    ("method", "status", "code"),
    [
        ("POST", 503, ""),
        ("POST", 507, "LINKAGE_UPLOAD_STORAGE_FULL"),
        ("PATCH", 500, ""),
        ("PATCH", 423, "LINKAGE_UPLOAD_BUSY"),
        ("PATCH", 460, "LINKAGE_UPLOAD_CHECKSUM"),
        ("PATCH", 409, "LINKAGE_UPLOAD_OFFSET"),
        ("GET", 503, ""),
        ("GET", 404, "TRANSMISSION_NOT_FOUND"),
    ],
)
def test_send__passing_trouble_of_the_server__is_tried_again(
    ready_to_send: Gateway, server, method: str, status: int, code: str
) -> None:
    server.behaviour.answers = [(method, status, code)] * 2
    ready_to_send.send(patience_seconds=20)
    (item,) = ready_to_send.journal.items()
    assert item.state is ItemState.LANDED and item.refusal_code is None
    assert len(server.complete()) == 1 and server.behaviour.answers == []


@pytest.mark.requirement("R-016")
def test_send__server_refuses_for_good__keeps_everything_and_says_why(
    ready_to_send: Gateway, server
) -> None:
    server.behaviour.answers = [("POST", 403, "LINKAGE_GATEWAY_NOT_REGISTERED")]
    sent = ready_to_send.send(patience_seconds=20)
    assert isinstance(sent, Sent) and sent.refusal is not None
    assert sent.refusal.code == "GATEWAY_CERTIFICATE_REFUSED"
    (item,) = ready_to_send.journal.items()
    assert item.state is ItemState.SENDING and item.refusal_code == "GATEWAY_CERTIFICATE_REFUSED"
    assert len(list(ready_to_send.config.spool_dir.iterdir())) == 1
    ready_to_send.send(patience_seconds=20)
    assert ready_to_send.journal.item(item.id).state is ItemState.LANDED


@pytest.mark.requirement("R-017")
def test_send__server_forgot_the_upload__begins_again(ready_to_send: Gateway, server) -> None:
    server.behaviour.cut_at = [package_bytes(ready_to_send) // 2]
    ready_to_send.send()
    server.uploads.clear()
    ready_to_send.send(patience_seconds=20)
    (item,) = ready_to_send.journal.items()
    assert item.state is ItemState.LANDED and len(server.complete()) == 1


@pytest.mark.requirement("R-015")
def test_send__server_lost_a_complete_upload_before_its_receipt__sends_once_more(
    ready_to_send: Gateway, server
) -> None:
    def lose(*_: object) -> None:
        if len(server.complete()) == 1 and len(server.uploads) == 1:
            server.uploads.clear()

    ready_to_send.seams = Seams(sleep=lose, chance=lambda: 0.0)
    server.behaviour.answers = [("GET", 503, "")]
    ready_to_send.send(patience_seconds=20)
    (item,) = ready_to_send.journal.items()
    assert item.state is ItemState.LANDED and len(server.complete()) == 1


@pytest.mark.requirement("R-015")
@pytest.mark.parametrize(
    "field", ["bundle_id", "municipality_code", "sha256", "bytes", "lane", "sequence", "key"]
)
def test_send__receipt_of_something_else__is_not_believed_and_nothing_is_purged(
    ready_to_send: Gateway, server, field: str
) -> None:
    wrong = {"bytes": 1, "sequence": 99, "lane": "urgent", "sha256": "0" * 64}
    if field == "key":
        server.behaviour.spoil_signature = True
    else:
        server.behaviour.change_receipt = lambda r: r.update({field: wrong.get(field, "x" * 26)})
    sent = ready_to_send.send(patience_seconds=1)
    assert isinstance(sent, Sent) and sent.refusal is not None
    assert sent.refusal.code == "GATEWAY_RECEIPT_INVALID"
    (item,) = ready_to_send.journal.items()
    assert item.state is ItemState.SENT and item.receipt is None
    assert len(list(ready_to_send.config.spool_dir.iterdir())) == 1


@pytest.mark.requirement("R-041")
def test_send__receipt_before_the_judgement__purges_the_spool_and_goes_on_asking(
    ready_to_send: Gateway, server
) -> None:
    server.behaviour.state = "RECEIVED"
    ready_to_send.send(patience_seconds=0.5)
    (item,) = ready_to_send.journal.items()
    assert item.state is ItemState.SENT and item.receipt is not None
    assert list(ready_to_send.config.spool_dir.iterdir()) == []
    server.behaviour.state = "LANDED"
    ready_to_send.send(patience_seconds=5)
    assert ready_to_send.journal.item(item.id).state is ItemState.LANDED


@pytest.mark.requirement("R-040")
def test_send__server_of_the_other_environment__gets_not_one_request(
    make_config: Callable, drop, server, pki
) -> None:
    """Address and authorities of production copied over, but its key is not among ours."""
    drop()
    for config in (
        make_config(server={"public_keys": ["0" * 64]}),
        make_config(server={"ca_file": str(pki.center_ca.cert_path)}),
    ):
        with Gateway(config) as gateway:
            done = gateway.run_once()
            assert not isinstance(done, Refusal) and done.refusal is not None
            assert done.refusal.code == "GATEWAY_SERVER_UNKNOWN"
    assert server.requests == []


@pytest.mark.requirement("R-040")
@pytest.mark.parametrize("other", [{"environment": "production"}, {"municipality_code": "999989"}])
def test_gateway__state_of_another_environment_or_town__is_refused(
    ready_to_send: Gateway, make_config: Callable, other: dict[str, str]
) -> None:
    ready_to_send.close()
    with Gateway(make_config(**other)) as gateway:
        refused = gateway.run_once()
        assert isinstance(refused, Refusal) and refused.code == "GATEWAY_ENVIRONMENT_MISMATCH"


@pytest.mark.requirement("R-016")
def test_send__tls_1_2_or_plain_http__is_not_spoken(make_config: Callable, server) -> None:
    from bcl_gateway.config import ConfigFault
    from bcl_gateway.connection import tls_context

    context = tls_context(make_config())
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    with pytest.raises(ConfigFault, match="https"):
        make_config(server={"url": "http://127.0.0.1/wire/"})


@pytest.mark.requirement("R-016")
def test_send__server_without_our_clients__handshake_refusal_is_named(
    make_config: Callable, drop, server, pki
) -> None:
    drop()
    foreign = {
        "certificate_file": str(pki.bcl_ca.cert_path),
        "key_file": str(pki.bcl_ca.key_path),
    }
    with Gateway(make_config(server=foreign)) as gateway:
        done = gateway.run_once(patience_seconds=1)
        assert not isinstance(done, Refusal) and done.refusal is not None
        assert done.refusal.code in ("GATEWAY_CERTIFICATE_REFUSED", "GATEWAY_UNREACHABLE")
    assert server.uploads == {}


@pytest.mark.requirement("R-019")
def test_send__rejected_by_bcl__lane_stops_until_the_full_correction(
    gateway: Gateway, drop, server
) -> None:
    server.behaviour.state = "REJECTED"
    drop("a")
    drop("b")
    gateway.run_once(patience_seconds=5)
    first, second = gateway.journal.items()
    assert (first.state, second.state) == (ItemState.REJECTED, ItemState.SIGNED)
    assert gateway.status()["lanes"]["main"]["stopped"]
    sent = gateway.send(patience_seconds=1)
    assert isinstance(sent, Sent) and sent.refusal is not None
    assert sent.refusal.code == "GATEWAY_LANE_STOPPED"
    assert len(server.uploads) == 1

    # Others wait behind the rejected one, so a person decides; the freed number is used again.
    server.behaviour.state = "LANDED"
    renumbered = gateway.resume("main")
    assert isinstance(renumbered, list) and [i.sequence for i in renumbered] == [1]
    gateway.send(patience_seconds=10)
    after = gateway.journal.item(second.id)
    assert (after.state, after.sequence) == (ItemState.LANDED, 1)
    assert after.bundle_id != second.bundle_id
    drop("c")
    gateway.run_once(patience_seconds=10)
    assert [i.sequence for i in gateway.journal.items(ItemState.LANDED)] == [1, 2]


@pytest.mark.requirement("R-019")
def test_send__rejected_and_nobody_behind__full_correction_takes_its_number(
    gateway: Gateway, drop, server
) -> None:
    server.behaviour.state = "REJECTED"
    drop("a")
    gateway.run_once(patience_seconds=5)
    server.behaviour.state = "LANDED"
    drop("b")
    gateway.run_once(patience_seconds=5)
    states = [(i.folder, i.state, i.sequence) for i in gateway.journal.items()]
    assert states == [("a", ItemState.REJECTED, 1), ("b", ItemState.LANDED, 1)]


@pytest.mark.requirement("R-019")
def test_send__held_by_bcl__successors_go_on_and_the_end_is_learned(
    gateway: Gateway, drop, server
) -> None:
    server.behaviour.state = "HELD"
    drop("a")
    drop("b")
    gateway.run_once(patience_seconds=5)
    assert [i.state for i in gateway.journal.items()] == [ItemState.HELD, ItemState.HELD]
    server.behaviour.state = "LANDED"
    with clock.use(clock.Clock(offset=timedelta(minutes=10))):
        server.behaviour.headers = {"X-BCL-Time": clock.now().isoformat()}
        gateway.run_once()
    assert [i.state for i in gateway.journal.items()] == [ItemState.LANDED, ItemState.LANDED]


def test_backoff__grows_doubles_and_stays_within_its_bounds() -> None:
    for chance in (0.0, 0.5, 1.0):
        waits = [
            backoff_seconds(n, first=1, longest=300, chance=lambda c=chance: c)
            for n in range(1, 60)
        ]
        assert waits == sorted(waits) and waits[-1] == 300 * (0.5 + 0.5 * chance)
        assert waits[1] == 2 * waits[0]


@pytest.mark.requirement("R-017")
def test_send__no_server_at_all__keeps_the_package_and_tries_later(
    ready_to_send: Gateway, server
) -> None:
    server.close()
    sent = ready_to_send.send(patience_seconds=0.2)
    assert isinstance(sent, Sent) and sent.refusal is not None
    assert sent.refusal.code == "GATEWAY_UNREACHABLE"
    (item,) = ready_to_send.journal.items()
    assert item.failures > 1 and item.retry_at is not None
    assert Path(ready_to_send.config.spool_dir / (item.spool_file or "")).exists()


@pytest.mark.requirement("R-041")
def test_send__spool_damaged_on_disk__is_a_refusal_not_a_wrong_upload(
    ready_to_send: Gateway, server, drop
) -> None:
    (path,) = ready_to_send.config.spool_dir.iterdir()
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    sent = ready_to_send.send()
    assert isinstance(sent, Sent) and sent.refusal is not None
    assert sent.refusal.code == "GATEWAY_SPOOL_DAMAGED"
    assert server.complete() == []
    assert ready_to_send.resume("main") == []
    drop("whole")
    ready_to_send.run_once(patience_seconds=5)
    assert [(i.state, i.sequence) for i in ready_to_send.journal.items()] == [
        (ItemState.REJECTED, 1),
        (ItemState.LANDED, 1),
    ]


@pytest.mark.parametrize(
    ("said", "seconds", "code"),
    [
        pytest.param(
            "production", 0, "GATEWAY_SERVER_ENVIRONMENT", marks=pytest.mark.requirement("R-040")
        ),
        pytest.param(
            "verification", 75, "GATEWAY_CLOCK_SKEW", marks=pytest.mark.requirement("R-263")
        ),
        pytest.param(
            "verification", -75, "GATEWAY_CLOCK_SKEW", marks=pytest.mark.requirement("R-263")
        ),
        pytest.param("verification", 45, None, marks=pytest.mark.requirement("R-263")),
    ],
)
def test_send__other_environment_or_other_time__sends_no_byte_and_goes_on_when_it_is_right(
    ready_to_send: Gateway, server, said: str, seconds: int, code: str | None
) -> None:
    shifted = (clock.now() + timedelta(seconds=seconds)).isoformat()
    server.behaviour.headers = {"X-BCL-Environment": said, "X-BCL-Time": shifted}
    ready_to_send.send(patience_seconds=2)
    (item,) = ready_to_send.journal.items()
    assert item.refusal_code == code
    assert (server.received_bytes == 0) == (code is not None)
    server.behaviour.headers = {}
    ready_to_send.send(patience_seconds=20)
    assert ready_to_send.journal.item(item.id).state is ItemState.LANDED
