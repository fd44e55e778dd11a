"""A second place beside the session's cluster, with a receiver that follows its log."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bcl.backup.place import Base, Place
from bcl.backup.receive import Receiver, slot_state
from bcl.backup.take import take_base
from bcl.backup.tools import Source, Tools
from bcl.foundation import postgres_binaries, roles

_STORE = Path(__file__).parents[1] / "resident_store" / "store_world.py"


def _store_world():
    spec = importlib.util.spec_from_file_location("store_world", _STORE)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("store_world", module)
    spec.loader.exec_module(module)
    return module


store_world = _store_world()


@dataclass
class Second:
    """The second place of the test cluster and what is needed to use it."""

    place: Place
    source: Source
    tools: Tools
    receiver: Receiver

    def take(self) -> Base:
        return take_base(self.place, self.source, self.tools)

    def wait_for_log(self) -> None:
        """Until everything the database has written has arrived."""
        give_up = time.monotonic() + 20
        while slot_state(self.source).behind_bytes:
            assert time.monotonic() < give_up
            time.sleep(0.05)


@pytest.fixture(scope="module")
def second(cluster, cluster_info) -> Iterator[Second]:
    """A second place with a running receiver, for the tests of one file."""
    # Reachable for the backup's own user, which pytest's private folders are not.
    home = Path(tempfile.mkdtemp(prefix="bcl-second-", dir="/tmp"))
    home.chmod(0o711)
    place = Place(home / "place")
    user = postgres_binaries.database_os_user(postgres_binaries.BACKUP_OS_USER)
    tools = Tools(cluster_info.bin_dir, user)
    source = Source(cluster_info.url(roles.BACKUP, database="postgres"), cluster.data_dir)
    receiver = Receiver(place, source, tools)
    receiver.ensure_running()
    yield Second(place, source, tools, receiver)
    receiver.stop()
    import psycopg

    with psycopg.connect(cluster_info.url(roles.SUPERUSER), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            " WHERE slot_name = 'bcl_backup'"
        )
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def set_up(second, monkeypatch):
    """Settings with this second place; nightly drills on."""
    from django.conf import settings

    chosen = dataclasses.replace(
        settings.BCL.backup, directory=second.place.root, nightly_drill=True
    )
    monkeypatch.setattr(settings, "BCL", dataclasses.replace(settings.BCL, backup=chosen))
    return second


@pytest.fixture
def sender(town):
    """Sends transmissions of the town straight into its store."""
    return store_world.Sender(town)


@pytest.fixture
def residents():
    """Rows of `count` residents, each a household of one, with `mark` in their names."""

    def made(count: int, mark: str):
        return [
            store_world.resident(number, household=number, full_name=f"試験　{mark}{number}")
            | {"head_of_household_name": f"試験　{mark}{number}"}
            for number in range(1, count + 1)
        ]

    return made
