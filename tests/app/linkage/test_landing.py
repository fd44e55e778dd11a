"""From received to landed, with the real store: in order, once, all or nothing."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl.foundation import jobs, tenancy
from bcl.linkage import api as linkage
from bcl.linkage import settings as intake_settings
from bcl.linkage.models import Lane, Transmission
from bcl.municipalities import api as municipalities
from bcl.resident_store import api as store
from bcl_contract import clock

pytestmark = pytest.mark.django_db


def facts(gateway, bundle_id: str) -> dict:
    return gateway.state(bundle_id).json()


def position(town: str) -> store.Position:
    with tenancy.scope(town):
        return store.applied_position(town)


def receive(gateway, packages, content, **changes) -> str:
    package, bundle_id = packages.make_package(gateway, content, **changes)
    gateway.send(package, bundle_id, piece=4 << 20)
    return bundle_id


def land(gateway, packages, run_jobs, content, **changes) -> str:
    bundle_id = receive(gateway, packages, content, **changes)
    run_jobs()
    found = facts(gateway, bundle_id)
    assert found["state"] == "LANDED", (found["code"], found["findings"][:5])
    return bundle_id


def with_impossible_birth_date(packages, content):
    """The content with one wrong row: the first resident is born on 30 February."""
    header, first, rest = content.tables["J01"].decode().split("\r\n", 2)
    columns = header.strip('"').split('","')
    fields = first.strip('"').split('","')
    fields[columns.index("生年月日")] = "1999-02-30"
    wrong = "\r\n".join([header, '"' + '","'.join(fields) + '"', rest])
    return packages.Content({**content.tables, "J01": wrong.encode()}, content.images)


@pytest.mark.requirement("R-015")
@pytest.mark.requirement("R-025")
def test_full_transmission__lands_with_the_counts_of_its_manifest(
    gateway, packages, run_jobs, town_days
) -> None:
    bundle_id = land(gateway, packages, run_jobs, town_days[0])
    found = facts(gateway, bundle_id)
    sent = {file_id: table.count(b"\n") - 1 for file_id, table in town_days[0].tables.items()}
    assert {row["file_id"]: row["rows"] for row in found["files"]} == sent
    assert found["load_number"] == 1
    assert found["receipt"]["state"] == "LANDED"
    assert found["receipt"]["sequence"] == 1
    assert position(gateway.municipality_code).main_sequence == 1
    assert linkage.issuing_obstacle(gateway.municipality_code, clock.now()) is None
    # The receive area is empty again.
    assert not list(intake_settings.receive_area().stored_uploads(gateway.municipality_code))


@pytest.mark.requirement("R-019")
def test_gap__closes_when_the_missing_one_comes__and_all_apply_in_order(
    gateway, packages, run_jobs, town_days
) -> None:
    land(gateway, packages, run_jobs, town_days[0])
    ids = {}
    for sequence in (4, 3):
        ids[sequence] = receive(
            gateway, packages, town_days[sequence - 1], sequence=sequence, mode="differential"
        )
        run_jobs()
        assert facts(gateway, ids[sequence])["code"] == "TRANSMISSION_GAP"
    status = linkage.get_status(gateway.municipality_code, at=clock.now())
    assert (status.backlog, status.held) == (2, 2)
    assert position(gateway.municipality_code).main_sequence == 1
    obstacle = linkage.issuing_obstacle(gateway.municipality_code, clock.now())
    assert obstacle is not None and obstacle.code == "TRANSMISSION_GAP"

    ids[2] = land(gateway, packages, run_jobs, town_days[1], sequence=2, mode="differential")
    landed = {number: facts(gateway, bundle_id) for number, bundle_id in ids.items()}
    assert {number: found["state"] for number, found in landed.items()} == {
        2: "LANDED",
        3: "LANDED",
        4: "LANDED",
    }
    assert [landed[number]["load_number"] for number in (2, 3, 4)] == [2, 3, 4]
    assert linkage.issuing_obstacle(gateway.municipality_code, clock.now()) is None
    assert linkage.get_status(gateway.municipality_code, at=clock.now()).backlog == 0


@pytest.mark.requirement("R-018")
def test_landed_transmission__sent_again__is_not_applied_again(
    gateway, packages, run_jobs, town_days
) -> None:
    package, bundle_id = packages.make_package(gateway, town_days[0])
    gateway.send(package, bundle_id, piece=4 << 20)
    run_jobs()
    for _ in range(3):
        answer = gateway.send(package, bundle_id, piece=4 << 20)
        run_jobs()
        assert answer["X-BCL-Transmission-State"] == "LANDED"
    assert position(gateway.municipality_code).load_number == 1
    assert facts(gateway, bundle_id)["load_number"] == 1
    # The job itself, run again: nothing.
    with tenancy.scope(gateway.municipality_code):
        transmission = Transmission.objects.get()
    linkage.advance_transmission(gateway.municipality_code, transmission.id, at=clock.now())
    assert position(gateway.municipality_code).load_number == 1


@pytest.mark.requirement("R-018")
def test_other_content__under_a_landed_number__is_a_fork_until_a_person_has_looked(
    gateway, packages, run_jobs, town_days
) -> None:
    from bcl.foundation.audit import Actor

    land(gateway, packages, run_jobs, town_days[0])
    fork = receive(gateway, packages, packages.header_only("J03"), mode="differential")
    run_jobs()
    assert facts(gateway, fork)["code"] == "TRANSMISSION_FORK"
    obstacle = linkage.issuing_obstacle(gateway.municipality_code, clock.now())
    assert obstacle is not None and obstacle.code == "TRANSMISSION_FORK"
    with tenancy.scope(gateway.municipality_code):
        fork_id = Transmission.objects.get(bundle_id=fork).id
    linkage.reject_transmission(
        gateway.municipality_code, fork_id, by=Actor("staff", "staff-a"), at=clock.now()
    )
    assert linkage.issuing_obstacle(gateway.municipality_code, clock.now()) is None


@pytest.mark.requirement("R-021")
@pytest.mark.parametrize("rows_more", [1, -1])
def test_totals__off_by_one__reject_the_whole_and_leave_the_state(
    gateway, packages, run_jobs, town_days, rows_more
) -> None:
    land(gateway, packages, run_jobs, town_days[0])
    before = store.counts(gateway.municipality_code)
    bundle_id = receive(
        gateway, packages, town_days[1], sequence=2, mode="differential", rows_more=rows_more
    )
    run_jobs()
    found = facts(gateway, bundle_id)
    assert (found["state"], found["code"]) == ("REJECTED", "TRANSMISSION_CONTROL_TOTALS")
    assert store.counts(gateway.municipality_code) == before
    assert position(gateway.municipality_code).load_number == 1
    # The number is free: the corrected transmission lands under it.
    land(gateway, packages, run_jobs, town_days[1], sequence=2, mode="differential")


@pytest.mark.requirement("R-022")
def test_row_errors__are_listed_without_their_values(
    gateway, packages, run_jobs, town_days
) -> None:
    content = with_impossible_birth_date(packages, town_days[0])
    bundle_id = receive(gateway, packages, content)
    run_jobs()
    found = facts(gateway, bundle_id)
    assert (found["state"], found["code"]) == ("REJECTED", "TRANSMISSION_ROW_ERRORS")
    wrong = [one for one in found["findings"] if one["severity"] == "row"]
    assert wrong and wrong[0]["line"] == 2 and wrong[0]["column"] == "生年月日"
    assert "1999-02-30" not in gateway.state(bundle_id).content.decode()
    assert position(gateway.municipality_code).load_number == 0


@pytest.mark.requirement("R-022")
def test_row_errors__where_the_town_holds__land_without_the_rows_after_release(
    gateway, packages, run_jobs, town_days
) -> None:
    from bcl.foundation.audit import Actor

    staff = Actor("staff", "staff-a")
    municipalities.set_setting(
        gateway.municipality_code,
        "linkage_on_row_errors",
        "hold",
        effective_from=clock.now(),
        by=staff,
    )
    content = with_impossible_birth_date(packages, town_days[0])
    bundle_id = receive(gateway, packages, content)
    run_jobs()
    found = facts(gateway, bundle_id)
    assert (found["state"], found["code"]) == ("HELD", "TRANSMISSION_ROW_ERRORS_HELD")
    with tenancy.scope(gateway.municipality_code):
        held_id = Transmission.objects.get(bundle_id=bundle_id).id
    linkage.release_held(gateway.municipality_code, held_id, by=staff, at=clock.now())
    run_jobs()
    found = facts(gateway, bundle_id)
    assert found["state"] == "LANDED"
    residents = next(row for row in found["files"] if row["file_id"] == "J01")
    assert residents["quarantined"] == 1


def test_mass_change__is_held_until_released__and_can_be_rejected(
    gateway, packages, run_jobs, town_days
) -> None:
    from bcl.foundation.audit import Actor

    staff = Actor("staff", "staff-a")
    land(gateway, packages, run_jobs, town_days[0])
    before = store.counts(gateway.municipality_code)
    lines = town_days[0].tables["J03"].split(b"\r\n")
    shrunk = packages.Content({"J03": b"\r\n".join([lines[0], b""])})
    bundle_id = receive(gateway, packages, shrunk, sequence=2, mode="full")
    run_jobs()
    found = facts(gateway, bundle_id)
    assert (found["state"], found["code"]) == ("HELD", "TRANSMISSION_MASS_CHANGE")
    assert found["refusal"]["detail"]["kind"] == "shrink"
    assert store.counts(gateway.municipality_code) == before
    obstacle = linkage.issuing_obstacle(gateway.municipality_code, clock.now())
    assert obstacle is not None and obstacle.code == "LINKAGE_TRANSMISSION_HELD"
    # The next one waits behind it and is no gap.
    behind = receive(
        gateway, packages, packages.header_only("J03"), sequence=3, mode="differential"
    )
    run_jobs()
    assert facts(gateway, behind)["code"] == "TRANSMISSION_PREDECESSOR_HELD"

    with tenancy.scope(gateway.municipality_code):
        held_id = Transmission.objects.get(bundle_id=bundle_id).id
        behind_id = Transmission.objects.get(bundle_id=behind).id
    refused = linkage.release_held(gateway.municipality_code, behind_id, by=staff, at=clock.now())
    assert refused.code == "TRANSMISSION_WAITS_FOR_PREDECESSOR"
    asked = linkage.release_held(gateway.municipality_code, held_id, by=staff, at=clock.now())
    assert asked.released_at is None
    alone = linkage.release_held(gateway.municipality_code, held_id, by=staff, at=clock.now())
    assert alone.code == "RELEASE_NEEDS_SECOND_PERSON"
    run_jobs()
    assert facts(gateway, bundle_id)["state"] == "HELD"
    second = Actor("staff", "staff-b")
    linkage.release_held(gateway.municipality_code, held_id, by=second, at=clock.now())
    run_jobs()
    assert facts(gateway, bundle_id)["state"] == "LANDED"
    assert facts(gateway, behind)["state"] == "LANDED"
    assert store.counts(gateway.municipality_code)["J03"] == 0


def test_rejected_by_staff__frees_its_number_and_its_bytes(
    gateway, packages, run_jobs, town_days
) -> None:
    from bcl.foundation.audit import Actor

    land(gateway, packages, run_jobs, town_days[0])
    lines = town_days[0].tables["J03"].split(b"\r\n")
    shrunk = packages.Content({"J03": b"\r\n".join([lines[0], b""])})
    bundle_id = receive(gateway, packages, shrunk, sequence=2, mode="full")
    run_jobs()
    with tenancy.scope(gateway.municipality_code):
        held_id = Transmission.objects.get(bundle_id=bundle_id).id
    rejected = linkage.reject_transmission(
        gateway.municipality_code, held_id, by=Actor("staff", "staff-a"), at=clock.now()
    )
    assert rejected.state == "REJECTED"
    assert not list(intake_settings.receive_area().stored_uploads(gateway.municipality_code))
    assert linkage.issuing_obstacle(gateway.municipality_code, clock.now()) is None
    land(gateway, packages, run_jobs, town_days[1], sequence=2, mode="differential")


def test_first_differential__is_rejected(gateway, packages, run_jobs, town_days) -> None:
    bundle_id = receive(gateway, packages, town_days[1], mode="differential")
    run_jobs()
    assert facts(gateway, bundle_id)["code"] == "TRANSMISSION_FIRST_NOT_FULL"


@pytest.mark.requirement("R-019")
def test_lanes__have_sequences_of_their_own(gateway, packages, run_jobs, town_days) -> None:
    land(gateway, packages, run_jobs, town_days[0])
    urgent = packages.header_only("J06")
    land(gateway, packages, run_jobs, urgent, lane="urgent", mode="differential")
    land(gateway, packages, run_jobs, town_days[1], sequence=2, mode="differential")
    with tenancy.scope(gateway.municipality_code):
        lanes = {lane.lane: lane.last_sequence for lane in Lane.objects.all()}
    assert lanes == {"main": 2, "urgent": 1}


@pytest.mark.requirement("R-002")
def test_three_towns__keep_apart(gateway, other_gateway, packages, run_jobs, town_days) -> None:
    land(gateway, packages, run_jobs, town_days[0])
    assert position(other_gateway.municipality_code).load_number == 0
    assert linkage.get_status(other_gateway.municipality_code, at=clock.now()).landed == 0


def test_silence__becomes_an_obstacle_after_the_towns_hours(
    gateway, packages, run_jobs, town_days
) -> None:
    from datetime import timedelta

    land(gateway, packages, run_jobs, town_days[0])
    now = clock.now()
    assert linkage.issuing_obstacle(gateway.municipality_code, now + timedelta(hours=71)) is None
    stale = linkage.issuing_obstacle(gateway.municipality_code, now + timedelta(hours=73))
    assert stale is not None and stale.code == "LINKAGE_STALE"


# --- faults in the middle ---------------------------------------------------------------------


@pytest.mark.requirement("R-020")
@pytest.mark.parametrize(
    "place",
    [
        "bcl.linkage.adapters.store.store.apply_files",
        "bcl.linkage.actions.landing._record_outcome",
        "bcl.linkage.actions.landing.find_next_held",
        "bcl.linkage.actions.move.audit.record",
        "bcl.resident_store.actions.apply_files._record_load",
    ],
)
def test_fault__anywhere_in_the_middle__leaves_the_state_before_and_a_second_run_lands(
    gateway, packages, run_jobs, town_days, monkeypatch, place
) -> None:
    land(gateway, packages, run_jobs, town_days[0])
    before = (store.counts(gateway.municipality_code), position(gateway.municipality_code))
    bundle_id = receive(gateway, packages, town_days[1], sequence=2, mode="differential")

    class Killed(BaseException):
        """Stands for the death of the process: no handler of ours may catch it."""

    def die(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(place, die)
        with pytest.raises(Killed):
            run_jobs()
    after = (store.counts(gateway.municipality_code), position(gateway.municipality_code))
    assert after == before
    assert facts(gateway, bundle_id)["state"] in ("RECEIVED", "OPENED")
    run_jobs()
    assert facts(gateway, bundle_id)["state"] == "LANDED"
    assert position(gateway.municipality_code).load_number == 2


@pytest.mark.requirement("R-020")
def test_fault__after_the_landing_inside_the_transaction__takes_the_landing_back(
    gateway, packages, run_jobs, town_days, monkeypatch
) -> None:
    from bcl.linkage.actions import landing

    real = landing._record_outcome

    class Killed(BaseException):
        pass

    def record_and_die(*args, **kwargs):
        real(*args, **kwargs)
        raise Killed

    bundle_id = receive(gateway, packages, town_days[0])
    with monkeypatch.context() as broken:
        broken.setattr(landing, "_record_outcome", record_and_die)
        with pytest.raises(Killed):
            run_jobs()
    assert facts(gateway, bundle_id)["state"] == "OPENED"
    assert position(gateway.municipality_code).load_number == 0
    run_jobs()
    assert facts(gateway, bundle_id)["load_number"] == 1


def test_fault__three_times__holds_the_transmission_and_frees_the_queue(
    gateway, packages, run_jobs, town_days, monkeypatch
) -> None:
    from bcl.foundation.audit import Actor

    bundle_id = receive(gateway, packages, town_days[0])

    def fail(*args, **kwargs):
        raise RuntimeError("a defect of ours")

    with monkeypatch.context() as broken:
        broken.setattr("bcl.linkage.adapters.store.store.apply_files", fail)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                run_jobs()
        run_jobs()
    found = facts(gateway, bundle_id)
    assert (found["state"], found["code"]) == ("HELD", "TRANSMISSION_PROCESSING_FAULT")
    assert jobs.pending_count(queue="linkage") == 0
    with tenancy.scope(gateway.municipality_code):
        held_id = Transmission.objects.get().id
    linkage.release_held(
        gateway.municipality_code, held_id, by=Actor("staff", "staff-a"), at=clock.now()
    )
    run_jobs()
    assert facts(gateway, bundle_id)["state"] == "LANDED"


def test_lost_job__is_taken_up_again(gateway, packages, run_jobs, town_days) -> None:
    from datetime import timedelta

    from django.db import connection

    bundle_id = receive(gateway, packages, town_days[0])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT procrastinate_finish_job_v1(id, 'failed', false) "
            "FROM procrastinate_jobs WHERE status = 'todo'"
        )
    run_jobs()
    assert facts(gateway, bundle_id)["state"] == "RECEIVED"
    linkage.tidy_intake(gateway.municipality_code, at=clock.now() + timedelta(minutes=31))
    run_jobs()
    assert facts(gateway, bundle_id)["state"] == "LANDED"


# --- issuing stops and goes on ------------------------------------------------------------------


def issuing(town: str):
    """What availability says of issuing at nine in the morning."""
    from bcl.availability import api as availability

    at = clock.now().replace(hour=22, minute=59)
    return availability.is_open(town, availability.Service.ISSUANCE, at)


@pytest.mark.requirement("R-019")
def test_issuing__is_suspended_by_a_gap_and_goes_on_when_it_has_closed(
    gateway, packages, run_jobs, town_days
) -> None:
    town = gateway.municipality_code
    land(gateway, packages, run_jobs, town_days[0])
    assert issuing(town) is True
    receive(gateway, packages, town_days[2], sequence=3, mode="differential")
    run_jobs()
    stopped = issuing(town)
    assert stopped.code == "SERVICE_SUSPENDED"
    assert stopped.detail["reason"] == "TRANSMISSION_GAP"
    land(gateway, packages, run_jobs, town_days[1], sequence=2, mode="differential")
    assert issuing(town) is True


@pytest.mark.requirement("R-019")
def test_issuing__stops_with_the_acknowledgement_of_an_urgent_transmission(
    gateway, packages, run_jobs, town_days
) -> None:
    """Not with its landing: between the two a certificate could overtake the restriction."""
    town = gateway.municipality_code
    land(gateway, packages, run_jobs, town_days[0])
    bundle_id = receive(
        gateway, packages, packages.header_only("J06"), lane="urgent", mode="differential"
    )
    assert issuing(town).detail["reason"] == "LINKAGE_URGENT_WAITING"
    run_jobs()
    assert facts(gateway, bundle_id)["state"] == "LANDED"
    assert issuing(town) is True


def test_issuing__stays_stopped_after_a_broken_urgent_transmission(
    gateway, packages, run_jobs, town_days
) -> None:
    town = gateway.municipality_code
    land(gateway, packages, run_jobs, town_days[0])
    urgent = packages.header_only("J06")
    receive(
        gateway,
        packages,
        urgent,
        lane="urgent",
        mode="differential",
        sequence=1,
        signing_key=Ed25519PrivateKey.generate(),
    )
    run_jobs()
    assert issuing(town).detail["reason"] == "LINKAGE_URGENT_REJECTED"
    land(gateway, packages, run_jobs, urgent, lane="urgent", mode="differential", sequence=1)
    assert issuing(town) is True


def test_tables_of_the_intake__hold_no_residents_data(
    gateway, packages, run_jobs, town_days
) -> None:
    from django.apps import apps

    land(gateway, packages, run_jobs, town_days[0])
    receive(
        gateway,
        packages,
        with_impossible_birth_date(packages, town_days[1]),
        sequence=2,
        mode="differential",
    )
    run_jobs()
    header, *lines = town_days[0].tables["J01"].decode().split("\r\n")
    place = header.strip('"').split('","').index("氏名")
    names = {line.strip('"').split('","')[place] for line in lines if line}
    assert len(names) > 100
    with tenancy.scope(gateway.municipality_code):
        text = "\n".join(
            str(row)
            for model in apps.get_app_config("linkage").get_models()
            for row in model.objects.values_list()
        )
    assert text
    assert [name for name in names if name in text] == []
