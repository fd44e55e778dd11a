"""Real threads, real commits: twins of one transmission, rivals for one upload."""

from __future__ import annotations

import threading

import pytest

from bcl.foundation import tenancy
from bcl.linkage.models import Lane, Transmission
from bcl.resident_store import api as store

pytestmark = pytest.mark.django_db(transaction=True)


def together(number: int, act) -> list:
    """Run `act(index)` in threads that start at the same moment; gives their results."""
    from django.db import connections

    barrier, results, faults = threading.Barrier(number), [None] * number, []

    def run(index: int) -> None:
        try:
            barrier.wait()
            results[index] = act(index)
        except Exception as fault:
            faults.append(fault)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    return results


@pytest.mark.requirement("R-018")
def test_same_transmission__sent_five_times_at_once__is_applied_once(
    gateway, packages, run_jobs
) -> None:
    from django.test import Client

    package, bundle_id = packages.make_package(gateway, packages.header_only("J01", "J05"))

    def send(index: int):
        party = type(gateway)(
            gateway.municipality_code,
            gateway.certificate_pem,
            gateway.signing_key,
            gateway.gateway_id,
            Client(),
        )
        return party.send(package, bundle_id, piece=1000)

    answers = together(5, send)
    assert {answer["X-BCL-Transmission-State"] for answer in answers} == {"RECEIVED"}
    run_jobs()
    with tenancy.scope(gateway.municipality_code):
        assert [one.state for one in Transmission.objects.all()] == ["LANDED"]
        assert Lane.objects.get().last_sequence == 1
        assert store.applied_position(gateway.municipality_code).load_number == 1
    receipts = [gateway.state(bundle_id).json()["receipt"] for _ in range(5)]
    assert all(receipt == receipts[0] for receipt in receipts)


@pytest.mark.requirement("R-018")
def test_two_contents__for_one_number_at_once__land_exactly_one(
    gateway, packages, run_jobs
) -> None:
    from bcl.linkage import api as linkage
    from bcl_contract import clock

    sent = [
        packages.make_package(gateway, packages.header_only(*ids))
        for ids in (["J01"], ["J01", "J05"], ["J05"])
    ]
    for package, bundle_id in sent:
        gateway.send(package, bundle_id)
    with tenancy.scope(gateway.municipality_code):
        ids = list(Transmission.objects.values_list("id", flat=True))
    at = clock.now()
    together(
        3, lambda index: linkage.advance_transmission(gateway.municipality_code, ids[index], at=at)
    )
    with tenancy.scope(gateway.municipality_code):
        found = sorted((one.state, one.refusal_code) for one in Transmission.objects.all())
    assert found == [("LANDED", "")] + [("REJECTED", "TRANSMISSION_FORK")] * 2


@pytest.mark.requirement("R-017")
def test_two_writers__at_one_offset_at_once__store_one_of_them(gateway, new_bundle_id) -> None:
    from django.test import Client

    path = gateway.create(200_000, new_bundle_id())["Location"]
    bodies = [bytes([65 + index]) * 100_000 for index in range(4)]

    def write(index: int) -> int:
        party = type(gateway)(
            gateway.municipality_code,
            gateway.certificate_pem,
            gateway.signing_key,
            gateway.gateway_id,
            Client(),
        )
        return party.patch(path, bodies[index], 0).status_code

    codes = together(4, write)
    assert sorted(codes)[0] == 204
    assert codes.count(204) == 1
    assert set(codes) <= {204, 409, 423}
    assert gateway.tus("HEAD", path)["Upload-Offset"] == "100000"


def test_one_job_run_by_two_workers__lands_once(gateway, packages) -> None:
    from bcl.linkage import api as linkage
    from bcl_contract import clock

    package, bundle_id = packages.make_package(gateway, packages.header_only("J01"))
    gateway.send(package, bundle_id)
    with tenancy.scope(gateway.municipality_code):
        transmission_id = Transmission.objects.get().id
    at = clock.now()
    states = together(
        2,
        lambda _: linkage.advance_transmission(gateway.municipality_code, transmission_id, at=at),
    )
    assert states == ["LANDED", "LANDED"]
    with tenancy.scope(gateway.municipality_code):
        assert store.applied_position(gateway.municipality_code).load_number == 1
