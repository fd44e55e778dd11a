"""One contract for every way of sending (R-014): the built-in tus line and an external tool.

Every test runs twice. The external tool (`bcl_sim.transfer_tool`) only moves files.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bcl_contract import clock, folder_transfer
from bcl_contract.folder_transfer import Word
from bcl_gateway.api import Gateway
from bcl_gateway.journal import Item
from bcl_gateway.states import ItemState
from bcl_sim.transfer_tool import MISHAPS, Route, TransferTool

SETTLE_SECONDS = 0.4
ANSWER_MINUTES = 0.02
SEEDS = range(1, 21) if "BCL_SOAK_DIR" in os.environ else [3]


@dataclass
class Way:
    """One way of sending, end to end: what lies between the hall's gateway and BCL's judgement."""

    name: str
    hall: Any
    tool: TransferTool | None = None
    bcl_dir: Path | None = None
    rounds: list[Any] = field(default_factory=list)

    def carry(self) -> None:
        """What happens outside of the gateway in a minute: the tool, BCL's watcher, its jobs."""
        if self.tool is not None:
            self.tool.carry()
            with self.hall.door.database():
                from bcl.linkage import api as linkage

                self.rounds.append(linkage.watch_folder(self.hall.code, at=clock.now()))
                self.hall.work()
                self.rounds.append(linkage.watch_folder(self.hall.code, at=clock.now()))
            self.tool.carry()
        else:
            self.hall.work()

    def turn(self, gateway: Gateway) -> Any:
        """The gateway's turn, then everybody else's."""
        sent = gateway.run_once()
        self.carry()
        return sent

    def settle(self, gateway: Gateway, *, seconds: float = 60) -> list[Item]:
        """Turn after turn until BCL has judged everything the hall has sent."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            self.turn(gateway)
            items = gateway.journal.items()
            if items and all(i.state in (ItemState.LANDED, ItemState.REJECTED) for i in items):
                return items
            time.sleep(0.05)
        raise AssertionError([(i.sequence, i.state, i.refusal_code) for i in items])

    def loads(self) -> int:
        with self.hall.door.database():
            from bcl.resident_store import api as store

            return store.applied_position(self.hall.code).load_number


@pytest.fixture(params=["builtin", "external"])
def way(request, make_hall: Callable, tmp_path: Path, monkeypatch) -> Iterator[Way]:
    hall = make_hall()
    if request.param == "builtin":
        yield Way("builtin", hall)
        return
    from django.conf import settings

    from bcl.linkage import settings as intake_settings

    bcl_dir = tmp_path / "bcl"
    monkeypatch.setattr(settings, "BCL", replace(settings.BCL, folder_transfer_dir=bcl_dir))
    limits = intake_settings.limits()
    monkeypatch.setattr(
        intake_settings, "limits", lambda: replace(limits, folder_settle_seconds=SETTLE_SECONDS)
    )
    with hall.door.database():
        from bcl.foundation import audit
        from bcl.linkage import api as linkage
        from bcl.linkage.adapters.transfer_folders import TransferFolders

        by = audit.Actor("system", "test")
        key = linkage.get_transfer_key(hall.code, by=by, at=clock.now())
    folders = TransferFolders(bcl_dir, hall.code)
    folders.make()
    out, incoming = hall.folder / "tool-out", hall.folder / "tool-in"
    out.mkdir()
    incoming.mkdir()
    hall.external = {
        "method": "external",
        "outgoing_dir": str(out),
        "incoming_dir": str(incoming),
        "recipient": key.recipient,
        "key_id": key.key_id,
        "answer_minutes": ANSWER_MINUTES,
    }
    routes = [
        Route(out, folders.incoming, tmp_path / "line-up"),
        Route(folders.outgoing, incoming, tmp_path / "line-down"),
    ]
    yield Way("external", hall, TransferTool(routes), bcl_dir)


@pytest.mark.requirement("R-014")
@pytest.mark.requirement("R-015")
def test_way__full_then_differential__lands_with_signed_receipts(way: Way) -> None:
    gateway = way.hall.gateway()
    for number, mode in enumerate(("full", "differential"), start=1):
        if number > 1:
            way.hall.town.advance(1)
        way.hall.export(mode)
        item = way.settle(gateway)[-1]
        assert (item.state, item.sequence) == (ItemState.LANDED, number)
        assert item.receipt is not None and item.receipt["state"] == "LANDED"
        assert item.receipt["sha256"] == item.package_sha256
    assert [state for _, state in way.hall.transmissions()] == ["LANDED", "LANDED"]
    assert way.loads() == 2
    assert list(gateway.config.spool_dir.iterdir()) == []
    answer = gateway.journal.answer(item)
    assert answer is not None and answer["files"]


@pytest.mark.requirement("R-014")
@pytest.mark.requirement("R-019")
def test_way__several_waiting__arrive_in_their_order_and_once(way: Way) -> None:
    gateway = way.hall.gateway()
    way.hall.export("full")
    for _ in range(3):
        way.hall.town.advance(1)
        way.hall.export("differential")
    items = way.settle(gateway)
    assert [(i.sequence, i.state) for i in items] == [(n, ItemState.LANDED) for n in (1, 2, 3, 4)]
    assert way.loads() == 4


KILLED = """
import json, os, signal, sys
from pathlib import Path
from bcl_gateway import api, journal
from bcl_gateway.config import parse_config
from bcl_gateway.states import ItemState
state, before = ItemState(sys.argv[2]), sys.argv[3] == "before"
real = journal.Journal.move
def deadly(self, item, to, **facts):
    if to is state and before:
        os.kill(os.getpid(), signal.SIGKILL)
    moved = real(self, item, to, **facts)
    if to is state:
        os.kill(os.getpid(), signal.SIGKILL)
    return moved
journal.Journal.move = deadly
config = parse_config(json.loads(Path(sys.argv[1]).read_text()), base=Path("/"))
with api.Gateway(config) as gateway:
    gateway.run_once()
"""


@pytest.mark.requirement("R-014")
@pytest.mark.requirement("R-017")
@pytest.mark.parametrize("moment", ["SENDING after", "SENT before", "SENT after"])
def test_way__gateway_killed_while_sending__goes_on_and_lands_once(
    way: Way, moment: str, tmp_path: Path
) -> None:
    way.hall.export("full")
    first = way.hall.gateway()
    first.close()
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(way.hall.settings()))
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(settings), *moment.split()], timeout=60, check=False
    )
    assert process.returncode == -signal.SIGKILL
    way.carry()
    (item,) = way.settle(way.hall.gateway())
    assert item.state is ItemState.LANDED
    assert [state for _, state in way.hall.transmissions()] == ["LANDED"]
    assert way.loads() == 1


@pytest.mark.requirement("R-014")
@pytest.mark.requirement("R-040")
def test_way__gateway_of_the_other_environment__is_refused_and_keeps_everything(way: Way) -> None:
    way.hall.export("full")
    gateway = way.hall.gateway(environment="production")
    way.turn(gateway)
    sent = gateway.send()
    assert sent.refusal is not None
    assert sent.refusal.code in ("LINKAGE_ENVIRONMENT_MISMATCH", "GATEWAY_SERVER_ENVIRONMENT")
    assert way.hall.transmissions() == []
    assert len(list(gateway.config.spool_dir.iterdir())) == 1


@pytest.mark.requirement("R-014")
def test_way__revoked_gateway__is_refused_and_loses_nothing(way: Way) -> None:
    way.hall.export("full")
    gateway = way.hall.gateway()
    with way.hall.door.database():
        from bcl.municipalities import api as municipalities

        assert municipalities.revoke_gateway(way.hall.gateway_id)
    way.turn(gateway)
    sent = gateway.send()
    assert sent.refusal is not None and sent.refusal.code == "GATEWAY_CERTIFICATE_REFUSED"
    assert way.hall.transmissions() == []
    assert len(list(gateway.config.spool_dir.iterdir())) == 1


@pytest.mark.requirement("R-014")
@pytest.mark.requirement("R-263")
@pytest.mark.parametrize("minutes", [-2, 2])
def test_way__gateways_clock_is_wrong__nothing_is_believed_until_it_is_right(
    way: Way, minutes: int
) -> None:
    if way.name == "external" and minutes < 0:
        pytest.skip("a file that says it is two minutes old may have travelled for two minutes")
    way.hall.export("full")
    gateway = way.hall.gateway()
    with clock.use(clock.Clock(offset=timedelta(minutes=minutes))):
        gateway.run_once()
    way.carry()
    with clock.use(clock.Clock(offset=timedelta(minutes=minutes))):
        sent = gateway.send()
    assert sent.refusal is not None
    assert sent.refusal.code in ("GATEWAY_CLOCK_SKEW", "TRANSMISSION_CLOCK_SKEW")
    assert way.hall.transmissions() == []
    assert len(list(gateway.config.spool_dir.iterdir())) == 1


@pytest.mark.requirement("R-014")
def test_way__package_of_another_signer__is_rejected_and_stops_the_lane(
    way: Way, make_hall: Callable
) -> None:
    """The package inside is judged like any other, whoever carried it."""
    from bcl_gateway import sign

    other = make_hall()
    way.hall.export("full")
    gateway = way.hall.gateway()
    gateway.collect()
    gateway.check()
    real = gateway._begin_with_keys()
    foreign = replace(real, signing=way.hall.door.pki.gateway_signing(other.code).private())
    gateway._keys = foreign
    assert isinstance(foreign, sign.Keys)
    gateway.sign()
    gateway._keys = real
    (item,) = way.settle(gateway)
    assert item.state is ItemState.REJECTED
    assert item.refusal_code == "TRANSMISSION_SIGNATURE_INVALID"
    assert gateway.status()["lanes"]["main"]["stopped"]


@pytest.mark.requirement("R-014")
@pytest.mark.requirement("R-035")
def test_way__nothing_to_send__bcl_hears_of_the_gateway_and_it_hears_of_wishes(way: Way) -> None:
    with way.hall.door.database():
        from bcl.foundation import audit
        from bcl.linkage import api as linkage

        linkage.request_resend(
            way.hall.code, lane="main", sequence=None, reason_code="TEST",
            by=audit.Actor("staff", "t"), at=clock.now(),
        )  # fmt: skip
    gateway = way.hall.gateway()
    way.turn(gateway)
    with way.hall.door.database():
        found = linkage.get_freshness(way.hall.code, at=clock.now())
    assert found.asked_at is not None and clock.now() - found.asked_at < timedelta(minutes=1)
    gateway.journal.remember("last_contact", (clock.now() - timedelta(hours=1)).isoformat())
    gateway.send()
    (wish,) = gateway.status()["resend_requests"]
    assert (wish["lane"], wish["kind"]) == ("main", "FULL")


# --- what only an external tool can do --------------------------------------------------------

external = pytest.mark.parametrize("way", ["external"], indirect=True)


@external
@pytest.mark.requirement("R-014")
@pytest.mark.requirement("R-018")
@pytest.mark.parametrize("seed", SEEDS)
def test_external_tool__doubles_delays_shuffles_cuts_and_loses__all_land_once_in_order(
    way: Way, seed: int
) -> None:
    assert way.tool is not None
    way.tool.dice, way.tool.mishaps, way.tool.chance = random.Random(seed), MISHAPS, 0.25
    gateway = way.hall.gateway()
    way.hall.export("full")
    sent, ends_at = 1, time.monotonic() + 60
    while time.monotonic() < ends_at and not (
        len(way.tool.happened) >= 12 and set(way.tool.happened) == set(MISHAPS)
    ):
        if sent < 8:
            way.hall.town.advance(1)
            way.hall.export("differential")
            sent += 1
        elif not gateway.journal.items(ItemState.SIGNED, ItemState.SENDING, ItemState.SENT):
            break  # everything has landed before the tool had all its mishaps
        way.turn(gateway)
    assert len(way.tool.happened) >= 5, f"seed {seed} is too kind"
    way.tool.calm()
    items = way.settle(gateway, seconds=90)
    assert [i.sequence for i in items] == list(range(1, sent + 1))
    assert {i.state for i in items} == {ItemState.LANDED}
    assert way.loads() == sent
    assert [state for _, state in way.hall.transmissions()] == ["LANDED"] * sent


@external
@pytest.mark.requirement("R-041")
def test_external_folders__at_every_moment__hold_no_clear_byte_of_the_register(way: Way) -> None:
    way.hall.export("full")
    content, _, _ = way.hall.sealed(gateway := way.hall.gateway())
    assert b"datapackage.json" in content
    gateway.send()
    assert way.tool is not None
    packages = list(Path(way.hall.external["outgoing_dir"]).glob("*.package"))
    assert len(packages) == 1
    for path in packages:
        data = path.read_bytes()
        assert b"datapackage.json" not in data and data.startswith(b"age-encryption.org/v1")
    way.settle(gateway)
    # Nothing of the package lies in any folder afterwards, and BCL's folder is as empty.
    left = [p.name for p in way.hall.folder.rglob("*.package")]
    left += [p.name for p in (way.bcl_dir or Path()).rglob("*") if p.suffix == ".package"]
    assert left == []


@external
@pytest.mark.requirement("R-014")
def test_external_word__of_a_stranger_or_of_another_town__is_set_aside_and_on_record(
    way: Way, make_hall: Callable
) -> None:
    other = make_hall()
    key = way.hall.door.pki.gateway_signing(other.code).private()
    bundle = "00000000-0000-4000-8000-00000000abcd"
    for code in (way.hall.code, other.code):
        word = Word(
            environment="verification", municipality_code=code, kind="question",
            sent_at=clock.now(), bundle_id=bundle, package_sha256="0" * 64,
        )  # fmt: skip
        data = folder_transfer.write_word(word, key)
        name = folder_transfer.file_name(
            way.hall.code, bundle, folder_transfer.digest(data), ".ready"
        )
        (way.bcl_dir / way.hall.code / "in" / name).write_bytes(data)
    way.carry()
    assert way.rounds[0].refused == 2
    assert len(list((way.bcl_dir / way.hall.code / "refused").iterdir())) == 2
    with way.hall.door.database():
        from bcl.foundation import tenancy
        from bcl.foundation.models import AuditEntry

        with tenancy.scope(way.hall.code):
            assert AuditEntry.objects.filter(act="refuse_carried_word").count() == 2


@external
@pytest.mark.requirement("R-014")
def test_external_answer__forged_or_of_the_future__is_not_believed(way: Way) -> None:
    way.hall.export("full")
    gateway = way.hall.gateway()
    gateway.run_once()
    assert way.tool is not None
    (item,) = gateway.journal.items()
    forged = folder_transfer.AnswerFile(
        environment="verification", municipality_code=way.hall.code, subject=item.bundle_id,
        package_sha256=item.package_sha256, answered_at=clock.now(),
        content={"receipt": {}, "signature": ""},
    )  # fmt: skip
    wrong_key = way.hall.door.pki.gateway_signing(way.hall.code).private()
    name = folder_transfer.file_name(way.hall.code, item.bundle_id, "0" * 64, ".answer")
    path = Path(way.hall.external["incoming_dir"]) / name
    path.write_bytes(folder_transfer.write_answer(forged, wrong_key))
    sent = gateway.send(patience_seconds=0.1)
    assert sent.refusal is not None and sent.refusal.code == "GATEWAY_RECEIPT_INVALID"
    assert len(list(gateway.config.spool_dir.iterdir())) == 1
    # The genuine answer wins over the forged one that lies beside it.
    (item,) = way.settle(gateway)
    assert item.state is ItemState.LANDED
    way.hall.town.advance(1)
    way.hall.export("differential")
    gateway.run_once()
    way.carry()
    with clock.use(clock.Clock(offset=timedelta(minutes=-3))):
        sent = gateway.send(patience_seconds=0.1)
    assert sent.refusal is not None and sent.refusal.code == "GATEWAY_CLOCK_SKEW"


@external
@pytest.mark.requirement("R-014")
def test_external_package__damaged_for_good__is_refused_and_carried_again(way: Way) -> None:
    way.hall.export("full")
    gateway = way.hall.gateway()
    gateway.run_once()
    (package,) = Path(way.hall.external["outgoing_dir"]).glob("*.package")
    data = bytearray(package.read_bytes())
    data[len(data) // 2] ^= 1
    package.write_bytes(data)
    way.carry()
    assert way.rounds[0].waiting == 1 and way.hall.transmissions() == []
    time.sleep(SETTLE_SECONDS)
    way.carry()
    assert way.rounds[2].refused == 1
    sent = gateway.send()
    assert sent.refusal is not None and sent.refusal.code == "LINKAGE_FOLDER_DAMAGED"
    (item,) = way.settle(gateway)
    assert item.state is ItemState.LANDED and way.loads() == 1


@external
@pytest.mark.requirement("R-014")
def test_external_settings__folder_missing__is_refused_by_name(way: Way) -> None:
    way.hall.export("full")
    gateway = way.hall.gateway()
    os.rmdir(way.hall.external["outgoing_dir"])
    sent = gateway.run_once()
    assert sent.refusal is not None and sent.refusal.code == "GATEWAY_TRANSFER_FOLDER"
    with contextlib.suppress(FileExistsError):
        os.mkdir(way.hall.external["outgoing_dir"])
    (item,) = way.settle(gateway)
    assert item.state is ItemState.LANDED
