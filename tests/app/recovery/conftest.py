"""A synthetic town that has landed twice, staff with keys, and a receiver."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl_contract import clock
from bcl_contract.signed_acts import SignedAct, sign_act

INCIDENT, REASON = "2026-0001", "庁舎が浸水し、住民情報システムのデータを失ったため"


@dataclass
class Landed:
    """The core system's town, and its two exports as they were landed (loads 1 and 2)."""

    core: object
    exports: list[Path]


@pytest.fixture(scope="session")
def core_exports(tmp_path_factory) -> Landed:
    """A town of a thousand residents and one day of its life."""
    from bcl_sim.core_system.town import Town

    folder = tmp_path_factory.mktemp("core")
    core = Town.generate(
        folder / "state", municipality_code="999997", residents=1000, seed=8, with_tax=False
    )
    exports = [core.export(folder / "out").folder]
    core.advance(1, at_least_one_of_each=True)
    exports.append(core.export(folder / "out", mode="differential").folder)
    return Landed(core, exports)


def land(town: str, folder: Path, *, sequence: int, mode: str) -> None:
    """Apply one export straight through the store."""
    from bcl.foundation.audit import Actor
    from bcl.resident_store import api as store
    from bcl_contract.linkage.layouts import load_interface

    layouts = load_interface("1.0").files
    files = []
    for path in sorted(folder.glob("*.csv")):
        file_id = path.name.split("_")[1]
        files.append((file_id, layouts[file_id], io.BytesIO(path.read_bytes())))
    images = [(f"seal/{path.name}", path.read_bytes()) for path in folder.glob("seal/*.png")]
    result = store.apply_files(
        municipality_code=town,
        transmission_id=f"test-{sequence}",
        lane="main",
        sequence=sequence,
        mode=mode,
        as_of=datetime(2026, 11, 20 + sequence, 20, 30, tzinfo=clock.JST),
        interface_version="1.0",
        open_files=files,
        seal_images=images,
        decide=lambda summary: store.Verdict.LAND,
        by=Actor("system", "test"),
        at=clock.now(),
    )
    assert result.landed, result.summary.findings[:5]


@pytest.fixture
def landed(town, core_exports) -> Landed:
    """The default town with both exports applied."""
    land(town, core_exports.exports[0], sequence=1, mode="full")
    land(town, core_exports.exports[1], sequence=2, mode="differential")
    return core_exports


@dataclass
class Staff:
    """A registered member of staff who signs acts."""

    municipality_code: str
    staff_id: str
    key: Ed25519PrivateKey

    def sign(self, act: str, content: dict, *, at: datetime | None = None) -> SignedAct:
        return sign_act(
            act=act,
            municipality_code=self.municipality_code,
            staff_id=self.staff_id,
            at=at or clock.now(),
            content=content,
            private_key=self.key,
        )


def make_staff(town: str, staff_id: str) -> Staff:
    from bcl.municipalities import api as municipalities

    key = Ed25519PrivateKey.generate()
    municipalities.register_staff(town, staff_id, key.public_key())
    return Staff(town, staff_id, key)


@pytest.fixture
def first(town) -> Staff:
    """Who asks."""
    return make_staff(town, "staff-a")


@pytest.fixture
def second(town) -> Staff:
    """Who approves."""
    return make_staff(town, "staff-b")


@pytest.fixture
def receiver_key(town):
    """The receiver's age identity; its public key is registered as `receiver-1`."""
    import pyrage

    from bcl.municipalities import api as municipalities

    identity = pyrage.x25519.Identity.generate()
    municipalities.register_recovery_receiver(town, "receiver-1", str(identity.to_public()))
    return identity


@pytest.fixture(autouse=True)
def _own_release_folder(tmp_path, monkeypatch) -> None:
    from bcl.recovery.actions import build

    monkeypatch.setattr(build, "release_root", lambda: tmp_path / "release")


@pytest.fixture
def ask(town, first, receiver_key):
    """Asks for an export; gives the export or the refusal."""
    from bcl.recovery import api as recovery

    def asked(*, as_of=None, by: Staff = first, reason=REASON, incident=INCIDENT, **changes):
        as_of = as_of or recovery.AsOf(sequence=2)
        receiver = changes.get("receiver", "receiver-1")
        content = recovery.request_content(
            as_of=as_of, reason=reason, incident_id=incident, receiver_id=receiver
        )
        return recovery.request_export(
            town,
            as_of=as_of,
            reason=reason,
            incident_id=incident,
            receiver_id=receiver,
            signed=changes.get("signed") or by.sign("request_export", content),
            at=clock.now(),
        )

    return asked


@pytest.fixture
def approve(town):
    """Approves an export as somebody; gives the export or the refusal."""
    from bcl.recovery import api as recovery

    def approved(export, by: Staff, *, request_sha256: str | None = None):
        content = recovery.approval_content(export.pk, request_sha256 or export.request_sha256)
        return recovery.approve_export(
            town, export.pk, signed=by.sign("approve_export", content), at=clock.now()
        )

    return approved


@pytest.fixture
def run_jobs():
    """Runs everything recovery has queued, as the worker would."""
    from bcl.foundation import jobs

    return lambda: jobs.run_pending_now(queues=["recovery"])
