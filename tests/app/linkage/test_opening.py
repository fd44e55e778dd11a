"""Opening: what is refused before a single row is read, and whose turn it is."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl.foundation import tenancy
from bcl.linkage import settings as intake_settings
from bcl.linkage.models import Transmission
from bcl.municipalities import api as municipalities
from bcl_contract import clock, receipts

pytestmark = pytest.mark.django_db


@pytest.fixture
def heartbeat(packages):
    return packages.header_only("J01", "J05")


def outcome(gateway, bundle_id: str, **query: str) -> tuple[str, str | None]:
    answer = gateway.state(bundle_id, **query).json()
    return answer["state"], answer["code"]


def send(gateway, run_jobs, package: bytes, bundle_id: str) -> tuple[str, str | None]:
    gateway.send(package, bundle_id)
    run_jobs()
    return outcome(gateway, bundle_id)


def rewrite(package: bytes, change) -> bytes:
    """The same zip with members changed, as another zip tool would write it."""
    members = {}
    with zipfile.ZipFile(io.BytesIO(package)) as source:
        for name in source.namelist():
            members[name] = source.read(name)
    change(members)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return target.getvalue()


def test_package__signed_by_an_unknown_key__is_rejected(
    gateway, run_jobs, packages, heartbeat
) -> None:
    package, bundle_id = packages.make_package(
        gateway, heartbeat, signing_key=Ed25519PrivateKey.generate()
    )
    assert send(gateway, run_jobs, package, bundle_id) == (
        "REJECTED",
        "TRANSMISSION_SIGNATURE_INVALID",
    )


def test_package__signed_by_another_towns_gateway__is_rejected(
    gateway, other_gateway, run_jobs, packages, heartbeat
) -> None:
    package, bundle_id = packages.make_package(
        gateway, heartbeat, signing_key=other_gateway.signing_key
    )
    assert send(gateway, run_jobs, package, bundle_id)[1] == "TRANSMISSION_SIGNATURE_INVALID"


def test_package__of_another_town__is_rejected(
    gateway, other_gateway, run_jobs, packages, heartbeat
) -> None:
    package, bundle_id = packages.make_package(
        gateway, heartbeat, municipality_code=other_gateway.municipality_code
    )
    assert send(gateway, run_jobs, package, bundle_id)[1] == "TRANSMISSION_WRONG_MUNICIPALITY"
    assert other_gateway.state(bundle_id).status_code == 404


def test_package__whose_gateway_was_revoked_meanwhile__is_rejected(
    gateway, make_gateway, run_jobs, packages, heartbeat
) -> None:
    package, bundle_id = packages.make_package(gateway, heartbeat)
    gateway.send(package, bundle_id)
    municipalities.revoke_gateway(gateway.gateway_id)
    run_jobs()
    second = make_gateway(gateway.municipality_code)
    assert outcome(second, bundle_id) == ("REJECTED", "TRANSMISSION_SIGNER_REVOKED")


def test_package__announced_under_another_bundle_id__is_rejected(
    gateway, run_jobs, packages, heartbeat, new_bundle_id
) -> None:
    package, _ = packages.make_package(gateway, heartbeat)
    announced = new_bundle_id()
    assert send(gateway, run_jobs, package, announced)[1] == "TRANSMISSION_BUNDLE_ID"


@pytest.mark.requirement("R-020")
@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda package: package[: len(package) // 2], "TRANSMISSION_ZIP"),
        (lambda package: package[:-1], "TRANSMISSION_ZIP"),
        (lambda package: package + b"x", "TRANSMISSION_ZIP"),
        (lambda package: b"x" + package, "TRANSMISSION_ZIP"),
        (lambda package: b"\x00" * len(package), "TRANSMISSION_ZIP"),
        (lambda package: b"PK\x05\x06" + bytes(18), "TRANSMISSION_"),
        (
            lambda package: rewrite(package, lambda members: members.pop("datapackage.json")),
            "TRANSMISSION_",
        ),
        (
            lambda package: rewrite(package, lambda members: members.pop("datapackage.json.sig")),
            "TRANSMISSION_",
        ),
        (
            lambda package: rewrite(package, lambda members: members.update({"../evil": b"x"})),
            "TRANSMISSION_",
        ),
        (
            lambda package: rewrite(package, lambda members: members.update({"extra.csv": b"x"})),
            "TRANSMISSION_",
        ),
    ],
    ids=[
        "half",
        "last byte gone",
        "a byte more",
        "a byte before",
        "zeros",
        "empty zip",
        "no manifest",
        "no signature",
        "traversal",
        "extra file",
    ],
)
def test_package__spoiled__is_rejected_with_its_code(
    gateway, run_jobs, packages, heartbeat, spoil, code
) -> None:
    package, bundle_id = packages.make_package(gateway, heartbeat)
    state, found = send(gateway, run_jobs, spoil(package), bundle_id)
    assert state == "REJECTED"
    assert found.startswith(code)
    assert not list(intake_settings.receive_area().stored_uploads(gateway.municipality_code))


@pytest.mark.requirement("R-019")
def test_gap__is_held_and_stops_issuing(gateway, run_jobs, packages, heartbeat) -> None:
    from bcl.linkage import api as linkage

    package, bundle_id = packages.make_package(gateway, heartbeat, sequence=3)
    assert send(gateway, run_jobs, package, bundle_id) == ("HELD", "TRANSMISSION_GAP")
    answer = gateway.state(bundle_id).json()
    assert answer["refusal"]["detail"] == {"expected": 1, "got": 3}
    assert answer["refusal"]["who"] and answer["refusal"]["how"]
    obstacle = linkage.issuing_obstacle(gateway.municipality_code, clock.now())
    assert obstacle is not None and obstacle.code == "TRANSMISSION_GAP"
    assert linkage.get_status(gateway.municipality_code, at=clock.now()).backlog == 1
    # What waits keeps its bytes.
    assert list(intake_settings.receive_area().stored_uploads(gateway.municipality_code))


@pytest.mark.requirement("R-018")
def test_fork__of_a_waiting_number__is_rejected(gateway, run_jobs, packages, heartbeat) -> None:
    from bcl.linkage import api as linkage

    first, first_id = packages.make_package(gateway, heartbeat, sequence=3)
    second, second_id = packages.make_package(gateway, heartbeat, sequence=3)
    send(gateway, run_jobs, first, first_id)
    assert send(gateway, run_jobs, second, second_id) == ("REJECTED", "TRANSMISSION_FORK")
    assert outcome(gateway, first_id) == ("HELD", "TRANSMISSION_GAP")
    obstacle = linkage.issuing_obstacle(gateway.municipality_code, clock.now())
    assert obstacle is not None and obstacle.code == "TRANSMISSION_FORK"


@pytest.mark.requirement("R-018")
def test_other_content__under_a_taken_bundle_id__is_a_fork(
    gateway, run_jobs, packages, heartbeat
) -> None:
    first, bundle_id = packages.make_package(gateway, heartbeat, sequence=3)
    other, _ = packages.make_package(
        gateway, packages.header_only("J01"), sequence=3, bundle_id=bundle_id
    )
    send(gateway, run_jobs, first, bundle_id)
    answer = gateway.send(other, bundle_id)
    assert answer["X-BCL-Transmission-State"] == "REJECTED"
    with tenancy.scope(gateway.municipality_code):
        states = {one.sha256: one.state for one in Transmission.objects.all()}
    assert sorted(states.values()) == ["HELD", "REJECTED"]
    # The question without a digest is about the first; each digest answers for itself.
    assert outcome(gateway, bundle_id) == ("HELD", "TRANSMISSION_GAP")
    for sha256, state in states.items():
        path = f"/wire/transmissions/{bundle_id}?sha256={sha256}"
        assert gateway.request("GET", path).json()["state"] == state


@pytest.mark.requirement("R-018")
def test_resent_package__gives_the_earlier_receipt(gateway, run_jobs, packages, heartbeat) -> None:
    package, bundle_id = packages.make_package(gateway, heartbeat, sequence=3)
    send(gateway, run_jobs, package, bundle_id)
    first = gateway.state(bundle_id).json()
    answer = gateway.send(package, bundle_id)
    assert answer["X-BCL-Transmission-State"] == "HELD"
    again = gateway.state(bundle_id).json()
    assert (again["receipt"], again["signature"]) == (first["receipt"], first["signature"])
    with tenancy.scope(gateway.municipality_code):
        assert Transmission.objects.count() == 1
    # The bytes of the second upload are gone, those of the waiting one are not.
    assert len(list(intake_settings.receive_area().stored_uploads(gateway.municipality_code))) == 1


def test_interface_version__past_its_deadline__is_rejected(
    gateway, run_jobs, packages, heartbeat, monkeypatch
) -> None:
    from bcl.linkage.actions import opening
    from bcl.linkage.rules import InterfaceWindow

    now = clock.now()
    windows = (InterfaceWindow("1.0", now - timedelta(days=9), now - timedelta(seconds=1)),)
    monkeypatch.setattr(opening, "load_interface_windows", lambda: windows)
    package, bundle_id = packages.make_package(gateway, heartbeat)
    assert send(gateway, run_jobs, package, bundle_id)[1] == "TRANSMISSION_INTERFACE_EXPIRED"


@pytest.mark.requirement("R-015")
def test_receipt__is_signed_by_the_towns_receipt_key_and_by_no_other(
    gateway, other_gateway, packages, heartbeat
) -> None:
    from bcl.linkage import api as linkage

    package, bundle_id = packages.make_package(gateway, heartbeat)
    gateway.send(package, bundle_id)
    answer = gateway.state(bundle_id).json()
    own = linkage.get_receipt_public_key(gateway.municipality_code, at=clock.now())
    foreign = linkage.get_receipt_public_key(other_gateway.municipality_code, at=clock.now())
    assert receipts.verify(answer["receipt"], answer["signature"], own)
    assert not receipts.verify(answer["receipt"], answer["signature"], foreign)
    assert not receipts.verify(answer["receipt"] | {"state": "LANDED"}, answer["signature"], own)


def test_audit__has_one_row_for_each_step_of_a_transmission(
    gateway, run_jobs, packages, heartbeat
) -> None:
    from bcl.foundation.models import AuditEntry

    package, bundle_id = packages.make_package(gateway, heartbeat, sequence=3)
    send(gateway, run_jobs, package, bundle_id)
    with tenancy.scope(gateway.municipality_code):
        transmission = Transmission.objects.get()
        acts = [
            entry.act
            for entry in AuditEntry.objects.order_by("id")
            if entry.detail.get("transmission") == transmission.id.hex
        ]
    assert acts == ["accept_transmission", "hold_transmission"]
