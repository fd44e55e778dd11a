"""Rows that can't be stored: listed by key and place, persons held, cleared by a good row."""

from __future__ import annotations

import pytest

from bcl.foundation import tenancy
from bcl.foundation.audit import Actor
from bcl.linkage import api as linkage
from bcl.linkage.models import Transmission
from bcl.municipalities import api as municipalities
from bcl.resident_store import api as store
from bcl_contract import clock

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("R-022")]
CLERK, HEAD = Actor("staff", "clerk"), Actor("staff", "head")
BAD_LINES = (17, 4_000, 9_999)  # lines of the file, the header is line 1


@pytest.fixture(scope="module")
def residents(tmp_path_factory, packages):
    """The first ten thousand rows of a town's J01: header, rows."""
    from bcl_sim.core_system.town import Town

    folder = tmp_path_factory.mktemp("ten-thousand")
    town = Town.generate(
        folder / "state", municipality_code="999997", residents=9_500, seed=7, with_tax=False
    )
    content = packages.read_export(town.export(folder / "out").folder)
    town.close()
    header, *rows = content.tables["J01"].decode().split("\r\n")[:-1]
    assert len(rows) >= 10_000
    return header, rows[:10_000]


def table(packages, header: str, rows: list[str]):
    return packages.Content({"J01": "\r\n".join([header, *rows, ""]).encode()})


def spoilt(header: str, rows: list[str], lines) -> tuple[list[str], list[str]]:
    """The rows with a birth date that never was in the lines named; and whose rows they are."""
    columns = header.strip('"').split('","')
    changed, whose = list(rows), []
    for line in lines:
        fields = changed[line - 2].strip('"').split('","')
        fields[columns.index("生年月日")] = "1999-02-30"
        whose.append(fields[columns.index("宛名番号")])
        changed[line - 2] = '"' + '","'.join(fields) + '"'
    return changed, whose


def set_rule(town: str, value: str) -> None:
    municipalities.set_setting(
        town, "linkage_on_row_errors", value, effective_from=clock.now(), by=CLERK
    )


def send(gateway, packages, content, **wishes) -> Transmission:
    package, bundle_id = packages.make_package(gateway, content, **wishes)
    gateway.send(package, bundle_id, piece=8 << 20)
    with tenancy.scope(gateway.municipality_code):
        return Transmission.objects.get(bundle_id=bundle_id)


def state_of(town: str, transmission: Transmission) -> Transmission:
    with tenancy.scope(town):
        transmission.refresh_from_db()
    return transmission


def test_three_bad_rows_of_ten_thousand__are_listed_held_and_cleared_by_good_ones(
    gateway, packages, run_jobs, residents
) -> None:
    header, rows = residents
    town = gateway.municipality_code
    set_rule(town, "quarantine")
    bad, whose = spoilt(header, rows, BAD_LINES)
    landed = send(gateway, packages, table(packages, header, bad))
    run_jobs()

    assert state_of(town, landed).state == "LANDED"
    assert landed.counts[0]["quarantined"] == 3
    listed = [hold for hold in store.list_holds(town) if hold.quarantined]
    assert [hold.line for hold in listed] == list(BAD_LINES)
    assert {(h.file_id, h.column, h.transmission_id) for h in listed} == {
        ("J01", "生年月日", landed.id.hex)
    }
    assert len({hold.key_digest for hold in listed}) == 3
    assert "1999-02-30" not in repr(listed) and all(w not in repr(listed) for w in whose)
    assert len(set(whose)) == 3
    assert all(store.is_person_held(town, person) for person in whose)

    # A later transmission brings two good rows: their holds go, the third stays.
    good = [rows[line - 2] for line in BAD_LINES[:2]]
    send(gateway, packages, table(packages, header, good), sequence=2, mode="differential")
    run_jobs()
    assert [hold.line for hold in store.list_holds(town) if hold.quarantined] == [BAD_LINES[2]]
    assert [store.is_person_held(town, person) for person in whose] == [False, False, True]


def test_more_bad_rows_than_may_be_quarantined__wait_for_a_person(
    gateway, packages, run_jobs, residents
) -> None:
    header, rows = residents
    town = gateway.municipality_code
    set_rule(town, "quarantine")
    bad, _ = spoilt(header, rows[:2_000], range(2, 42))  # 40 of 2,000: two percent
    held = send(gateway, packages, table(packages, header, bad))
    run_jobs()
    found = state_of(town, held)
    assert (found.state, found.refusal_code) == ("HELD", "TRANSMISSION_ROW_ERRORS_HELD")
    assert store.list_holds(town) == []

    linkage.release_held(town, held.id, by=CLERK, at=clock.now())
    run_jobs()
    assert state_of(town, held).state == "LANDED"
    assert len([hold for hold in store.list_holds(town) if hold.quarantined]) == 40


def test_hold_lifted_by_hand__takes_two_persons_and_comes_back_with_the_fault(
    gateway, packages, run_jobs, residents
) -> None:
    header, rows = residents
    town = gateway.municipality_code
    set_rule(town, "quarantine")
    bad, (person,) = spoilt(header, rows[:200], [50])
    send(gateway, packages, table(packages, header, bad))
    run_jobs()
    (hold,) = [hold for hold in store.list_holds(town) if hold.quarantined]
    now = clock.now()

    missing = linkage.approve_hold_release(town, hold.id, by=HEAD, at=now)
    assert missing.code == "LINKAGE_HOLD_NOT_FOUND"
    unknown = linkage.ask_hold_release(town, "P999999999", reason="CHECKED", by=CLERK, at=now)
    assert unknown.code == "LINKAGE_HOLD_NOT_FOUND"
    linkage.ask_hold_release(town, hold.id, reason="CHECKED", by=CLERK, at=now)
    assert linkage.waiting_releases(town) == {hold.id: "clerk"}
    alone = linkage.approve_hold_release(town, hold.id, by=CLERK, at=now)
    assert alone.code == "RELEASE_NEEDS_SECOND_PERSON"
    assert store.is_person_held(town, person)

    assert linkage.approve_hold_release(town, hold.id, by=HEAD, at=now).approved_by == "head"
    assert not store.is_person_held(town, person)
    assert [hold for hold in store.list_holds(town) if hold.quarantined] == []

    again = [bad[48]]
    send(gateway, packages, table(packages, header, again), sequence=2, mode="differential")
    run_jobs()
    assert store.is_person_held(town, person)


def test_holds__of_another_town__are_neither_seen_nor_lifted(
    gateway, other_town, packages, run_jobs, residents
) -> None:
    header, rows = residents
    town = gateway.municipality_code
    set_rule(town, "quarantine")
    bad, _ = spoilt(header, rows[:200], [50])
    send(gateway, packages, table(packages, header, bad))
    run_jobs()
    hold, *_ = store.list_holds(town)
    assert store.list_holds(other_town) == []
    assert not store.lift_hold(other_town, hold.id)
    for nonsense in ("", "P", "X1", "P-1", "P1.5"):
        assert not store.lift_hold(town, nonsense)


def test_household_hold__is_listed_and_goes_with_two_persons(
    gateway, packages, run_jobs, residents
) -> None:
    """A row that can't be stored was a head of household: the others are held with it (V01)."""
    header, rows = residents
    town = gateway.municipality_code
    set_rule(town, "quarantine")
    bad, _ = spoilt(header, rows[:200], [50])
    send(gateway, packages, table(packages, header, bad))
    run_jobs()
    households = [hold for hold in store.list_holds(town) if hold.id.startswith("H")]
    assert households and not any(hold.quarantined for hold in households)
    now = clock.now()
    linkage.ask_hold_release(town, households[0].id, reason="CHECKED", by=CLERK, at=now)
    linkage.approve_hold_release(town, households[0].id, by=HEAD, at=now)
    left = [hold.id for hold in store.list_holds(town) if hold.id.startswith("H")]
    assert left == [hold.id for hold in households[1:]]
