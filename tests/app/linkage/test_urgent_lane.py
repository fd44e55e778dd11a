"""The urgent lane beside a main load under way: real threads, real commits, a real large file."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from bcl.foundation import tenancy
from bcl.linkage import api as linkage
from bcl.linkage.actions import landing
from bcl.linkage.adapters import give_way
from bcl.linkage.models import Transmission
from bcl.linkage.rules import TransmissionState
from bcl.resident_store import api as store
from bcl_contract import clock

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.requirement("R-023"),
]
SECONDS_TO_WAIT = 60
# A restriction that stands in the town's register and in no full file made before it.
BLOCK = {
    "block_id": "BLKURGENT1", "block_scope": "1", "addressee_number": "000000000000851",
    "block_reason": "34", "block_starts_at": "2026-11-22T09:00:00+09:00", "release_method": "1",
    "deleted": "0", "operator_id": "OP0001", "operated_on": "2026-11-22",
    "operated_time": "10:00:00", "municipality_code": "999997",
}  # fmt: skip


def urgent_block(packages, **changed: str):
    """A J06 table with one block."""
    from bcl_contract.linkage.layouts import load_interface

    content = packages.header_only("J06")
    values = BLOCK | changed
    columns = load_interface("1.0").files["J06"].columns
    row = ",".join(f'"{values.get(column.name, "")}"' for column in columns)
    return packages.Content({"J06": content.tables["J06"] + row.encode() + b"\r\n"})


@pytest.fixture(scope="module")
def large_town(tmp_path_factory, packages):
    """Twenty thousand residents: seconds of loading, so a load can be met on its way."""
    from bcl_sim.core_system.town import Town

    folder = tmp_path_factory.mktemp("large")
    town = Town.generate(
        folder / "state", municipality_code="999997", residents=20_000, seed=5, with_tax=False
    )
    content = packages.read_export(town.export(folder / "out").folder)
    town.close()
    return content


def receive(gateway, packages, content, **wishes):
    package, bundle_id = packages.make_package(gateway, content, **wishes)
    gateway.send(package, bundle_id, piece=8 << 20)
    with tenancy.scope(gateway.municipality_code):
        return Transmission.objects.get(bundle_id=bundle_id).id


class Landing(threading.Thread):
    """A worker's thread that takes one transmission as far as it goes."""

    def __init__(self, town: str, transmission_id) -> None:
        super().__init__(daemon=True)
        self._town, self._id = town, transmission_id
        self.state: TransmissionState | None = None
        self.fault: BaseException | None = None
        self.seconds = 0.0

    def run(self) -> None:
        from django.db import connections

        started = time.monotonic()
        try:
            self.state = linkage.advance_transmission(self._town, self._id, at=clock.now())
        except BaseException as fault:
            self.fault = fault
        finally:
            self.seconds = time.monotonic() - started
            connections.close_all()

    def ended(self) -> TransmissionState | None:
        self.join(SECONDS_TO_WAIT)
        assert not self.is_alive()
        assert self.fault is None, self.fault
        return self.state


def town_lock_is_held() -> bool:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND objid = 999997 AND classid = %s)",
            [0x42434C31],
        )
        return bool(cursor.fetchone()[0])


def wait_until_loading() -> None:
    until = time.monotonic() + SECONDS_TO_WAIT
    while not town_lock_is_held():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_urgent__while_a_large_main_load_runs__lands_first_and_is_not_undone(
    gateway, packages, large_town
) -> None:
    town = gateway.municipality_code
    main = Landing(town, receive(gateway, packages, large_town))
    given_way = landing.GIVEN_WAY._value.get()
    main.start()
    wait_until_loading()

    urgent = Landing(
        town,
        receive(gateway, packages, urgent_block(packages), lane="urgent", mode="differential"),
    )
    urgent.start()

    assert urgent.ended() is TransmissionState.LANDED
    assert main.is_alive()
    assert main.ended() is TransmissionState.LANDED
    assert landing.GIVEN_WAY._value.get() > given_way
    assert urgent.seconds < main.seconds
    with tenancy.scope(town):
        loads = dict(Transmission.objects.values_list("lane", "load_number"))
        assert loads == {"urgent": 1, "main": 2}
        assert Transmission.objects.get(lane="main").faults == 0
        kept = [
            values["block_id"]
            for version in store.find_person(town, BLOCK["addressee_number"], file_ids=["J06"])
            for values in [store.read_records(town, [version.id], columns=["block_id"])[version.id]]
        ]
    assert BLOCK["block_id"] in kept
    assert linkage.issuing_obstacle(town, clock.now()) is None


def test_main_load__that_gave_way_often_enough__runs_through(
    gateway, packages, town_days, monkeypatch
) -> None:
    """An urgent transmission that nobody lands (its worker died) can't starve the main lane."""
    town = gateway.municipality_code
    stuck = receive(gateway, packages, packages.header_only("J06"), lane="urgent",
                    mode="differential")  # fmt: skip
    landing.open_transmission(town, stuck, at=clock.now())
    main = receive(gateway, packages, town_days[0])
    monkeypatch.setattr(give_way, "FIRST_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(give_way, "LOOK_SECONDS", 0.001)
    given_way = landing.GIVEN_WAY._value.get()

    state = linkage.advance_transmission(town, main, at=clock.now())

    assert state is TransmissionState.LANDED
    assert landing.GIVEN_WAY._value.get() == given_way + give_way.MOST_TIMES
    assert linkage.issuing_obstacle(town, clock.now()).code == "LINKAGE_URGENT_WAITING"
    assert linkage.advance_transmission(town, stuck, at=clock.now()) is TransmissionState.LANDED


def test_urgent_load__never_gives_way_and_a_rejected_one_stops_nobody(
    gateway, packages, town_days, monkeypatch
) -> None:
    town = gateway.municipality_code
    monkeypatch.setattr(give_way, "FIRST_LOOK_SECONDS", 0.001)
    first, second = (
        receive(
            gateway,
            packages,
            packages.header_only("J06"),
            lane="urgent",
            mode="differential",
            sequence=number,
            as_of=clock.now() - timedelta(minutes=5 - number),
        )
        for number in (1, 3)
    )
    assert linkage.advance_transmission(town, second, at=clock.now()) is TransmissionState.HELD
    given_way = landing.GIVEN_WAY._value.get()
    main = receive(gateway, packages, town_days[0])
    assert linkage.advance_transmission(town, first, at=clock.now()) is TransmissionState.LANDED
    assert linkage.advance_transmission(town, main, at=clock.now()) is TransmissionState.LANDED
    assert landing.GIVEN_WAY._value.get() == given_way


def test_watch__over_a_source__reads_the_same_bytes_until_something_is_seen() -> None:
    import io

    with give_way.UrgentWatch("999997", wanted=False) as watch:
        source = watch.over(io.BytesIO(b"abcdef"))
        assert source.read(2) == b"ab"
        watch._seen.set()
        with pytest.raises(give_way.GaveWay):
            source.read(2)
        with pytest.raises(give_way.GaveWay):
            watch.check()
