"""Versions of the interface at the door: both in the window, the old refused after its deadline,
and whoever still sends the old one is told."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from bcl.foundation import tenancy
from bcl.linkage import api as linkage
from bcl.linkage.interface_rules import judge_deadlines, load_reminder_days
from bcl.linkage.models import Transmission
from bcl.linkage.rules import InterfaceWindow
from bcl.municipalities import api as municipalities
from bcl_contract import clock
from bcl_contract.linkage import catalog

pytestmark = pytest.mark.django_db
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture
def window(tmp_path, draft_version):
    """A deadline a hundred days from now; both versions are accepted until then."""
    deadline = clock.now().replace(microsecond=0) + 100 * DAY
    with catalog.use(draft_version.write_draft(tmp_path / "draft", deadline=deadline)):
        yield deadline


@pytest.fixture
def send(gateway, packages, run_jobs):
    """Send a heartbeat in a version at a moment; gives its state and code."""

    def at_moment(at: datetime, version: str, *, sequence: int) -> tuple[str, str | None]:
        with clock.use(clock.Clock(fixed=at)):
            content = packages.header_only("J02", interface_version=version)
            package, bundle_id = packages.make_package(
                gateway, content, sequence=sequence, interface_version=version, as_of=at
            )
            gateway.send(package, bundle_id)
            run_jobs()
            answer = gateway.state(bundle_id).json()
        return answer["state"], answer["code"]

    return at_moment


def standing(town: str) -> list[tuple[str, str, str]]:
    found = municipalities.open_notices(town)
    return [(notice.kind, notice.code, notice.mark) for notice in found]


@pytest.mark.requirement("R-036")
@pytest.mark.requirement("R-037")
def test_old_version__accepted_until_the_last_second__refused_from_the_deadline(
    window, send
) -> None:
    assert send(window - 2 * SECOND, "1.0", sequence=1) == ("LANDED", None)
    assert send(window - SECOND, "2.0", sequence=2) == ("LANDED", None)
    assert send(window + SECOND, "1.0", sequence=3) == (
        "REJECTED", "TRANSMISSION_INTERFACE_EXPIRED",
    )  # fmt: skip
    assert send(window + 2 * SECOND, "2.0", sequence=3) == ("LANDED", None)


@pytest.mark.requirement("R-036")
def test_new_version__before_its_first_day__is_refused(window, send) -> None:
    begins = window - 180 * DAY
    assert send(begins - SECOND, "2.0", sequence=1) == (
        "REJECTED", "TRANSMISSION_INTERFACE_NOT_YET_VALID",
    )  # fmt: skip
    assert send(begins, "2.0", sequence=1) == ("LANDED", None)


@pytest.mark.requirement("R-037")
def test_transmission_that_arrived_in_time__opened_after_the_deadline__lands(
    window, gateway, packages, run_jobs
) -> None:
    with clock.use(clock.Clock(fixed=window - SECOND)):
        package, bundle_id = packages.make_package(
            gateway, packages.header_only("J02"), as_of=clock.now()
        )
        gateway.send(package, bundle_id)
    with clock.use(clock.Clock(fixed=window + DAY)):
        run_jobs()
        assert gateway.state(bundle_id).json()["state"] == "LANDED"


@pytest.mark.requirement("R-037")
def test_reminders__one_a_stage__then_an_alarm__closed_by_the_new_version(
    window, send, gateway
) -> None:
    town = gateway.municipality_code
    assert send(window - 95 * DAY, "1.0", sequence=1) == ("LANDED", None)
    seen = []
    for days in (91, 90, 89, 31, 30, 29, 8, 7, 6, 2, 1):
        for _ in range(2):  # an hour later nothing is told again
            linkage.remind_of_deadlines(town, at=window - days * DAY)
        seen.append((days, [mark for _, _, mark in standing(town)]))
    assert seen == [
        (91, []), (90, ["1.0/90"]), (89, ["1.0/90"]), (31, ["1.0/90"]),
        (30, ["1.0/30"]), (29, ["1.0/30"]), (8, ["1.0/30"]),
        (7, ["1.0/7"]), (6, ["1.0/7"]), (2, ["1.0/7"]), (1, ["1.0/1"]),
    ]  # fmt: skip
    assert standing(town) == [("REMINDER", "LINKAGE_INTERFACE_DEADLINE", "1.0/1")]
    assert municipalities.open_notices(town)[0].detail["expires_at"] == window.isoformat()

    linkage.remind_of_deadlines(town, at=window + SECOND)
    assert standing(town) == [("ALARM", "TRANSMISSION_INTERFACE_EXPIRED", "1.0")]
    assert send(window + DAY, "1.0", sequence=2)[0] == "REJECTED"
    linkage.remind_of_deadlines(town, at=window + DAY)
    assert [kind for kind, _, _ in standing(town)] == ["ALARM"]

    assert send(window + 2 * DAY, "2.0", sequence=2) == ("LANDED", None)
    linkage.remind_of_deadlines(town, at=window + 2 * DAY)
    assert standing(town) == []
    told = [n.mark for n in municipalities.list_notices(town) if n.kind == "REMINDER"]
    assert told == ["1.0/90", "1.0/30", "1.0/7", "1.0/1"]


@pytest.mark.requirement("R-037")
def test_town_with_the_new_version__or_none__is_not_reminded(
    window, send, gateway, other_gateway
) -> None:
    assert send(window - 5 * DAY, "2.0", sequence=1) == ("LANDED", None)
    for town in (gateway.municipality_code, other_gateway.municipality_code):
        found = linkage.remind_of_deadlines(town, at=window - DAY)
        assert found.notices == () and standing(town) == []
    use = linkage.get_interface_use(gateway.municipality_code, at=window)
    assert use.by_lane == {"main": "2.0"}


@pytest.mark.requirement("R-037")
def test_urgent_lane__still_old_after_the_main_lane_moved__is_reminded(
    window, send, gateway
) -> None:
    town = gateway.municipality_code
    send(window - 60 * DAY, "1.0", sequence=1)
    with tenancy.scope(town):
        old = Transmission.objects.get()
        old.pk, old.lane, old.sha256 = None, "urgent", "0" * 64
        old.received_at = window - 59 * DAY
        old.save(force_insert=True)
    send(window - 50 * DAY, "2.0", sequence=2)
    assert linkage.get_interface_use(town, at=window).by_lane == {"main": "2.0"}
    with tenancy.scope(town):
        Transmission.objects.filter(lane="urgent").update(received_at=window - 40 * DAY)
    found = linkage.remind_of_deadlines(town, at=window - 5 * DAY)
    assert found.by_lane == {"main": "2.0", "urgent": "1.0"}
    assert standing(town) == [("REMINDER", "LINKAGE_INTERFACE_DEADLINE", "1.0/7")]


@pytest.mark.requirement("R-037")
def test_job__looks_at_every_town(window, send, gateway, other_gateway) -> None:
    from bcl.linkage import tasks

    send(window - 5 * DAY, "1.0", sequence=1)
    with clock.use(clock.Clock(fixed=window - DAY)):
        tasks.remind_of_interface_deadlines()
    assert [mark for _, _, mark in standing(gateway.municipality_code)] == ["1.0/1"]
    assert standing(other_gateway.municipality_code) == []


def test_judge__after_a_long_absence__gives_the_last_stage_only() -> None:
    at = clock.now()
    window = InterfaceWindow("1.0", at - 400 * DAY, at + 3 * DAY)
    (notice,) = judge_deadlines(["1.0", "1.0"], [window], load_reminder_days(at), at)
    assert (notice.mark, notice.days_left) == ("1.0/7", 3)
    assert load_reminder_days(at) == (90, 30, 7, 1)
    open_end = InterfaceWindow("1.0", at - 400 * DAY, None)
    assert judge_deadlines(["1.0"], [open_end], (90,), at) == ()


# --- the change from one version to the next


@pytest.fixture
def full_exports(tmp_path_factory, window):
    """A town's full export in 1.0 and the same in 2.0."""
    from bcl_contract.linkage.convert import convert_path
    from bcl_sim.core_system.town import Town

    folder = tmp_path_factory.mktemp("change")
    town = Town.generate(folder / "core", residents=200, seed=4, with_tax=False)
    old = town.export(folder / "drop", files=("J01", "J02", "J05", "J06")).folder
    town.close()
    convert_path(old, folder / "new", from_version="1.0", to_version="2.0")
    return {"1.0": old, "2.0": folder / "new"}


@pytest.mark.requirement("R-036")
def test_version_change__needs_every_file_that_reads_otherwise_in_full(
    gateway, packages, run_jobs, full_exports
) -> None:
    def send(version: str, *file_ids: str, sequence: int, mode: str = "full", lane="main"):
        content = packages.read_export(full_exports[version])
        content.tables = {name: content.tables[name] for name in file_ids}
        package, bundle_id = packages.make_package(
            gateway, content, sequence=sequence, mode=mode, lane=lane, interface_version=version
        )
        gateway.send(package, bundle_id)
        run_jobs()
        answer = gateway.state(bundle_id).json()
        return answer["state"], answer["code"]

    half = ("REJECTED", "LINKAGE_VERSION_CHANGE_NOT_FULL")
    assert send("1.0", "J01", "J02", "J05", "J06", sequence=1) == ("LANDED", None)
    assert send("2.0", "J06", sequence=2, mode="differential") == half
    assert send("2.0", "J01", sequence=2) == half  # J02 reads otherwise too
    # A restriction never waits for a version: it lands in either.
    assert send("2.0", "J06", sequence=1, mode="differential", lane="urgent")[0] == "LANDED"
    # J05 and J06 say the same in both versions and may be left out.
    assert send("2.0", "J01", "J02", sequence=2) == ("LANDED", None)
    assert send("1.0", "J06", sequence=2, mode="differential", lane="urgent")[0] == "LANDED"
    assert send("2.0", "J06", sequence=3, mode="differential") == ("LANDED", None)


@pytest.mark.requirement("R-037")
def test_towns_command__shows_who_still_sends_the_old_version(
    window, send, gateway, other_gateway
) -> None:
    import json

    from click.testing import CliRunner

    from bcl_cli.interface import interface

    send(window - 5 * DAY, "1.0", sequence=1)
    with clock.use(clock.Clock(fixed=window - 5 * DAY)):
        shown = CliRunner().invoke(interface, ["towns"], catch_exceptions=False)
        told = CliRunner().invoke(interface, ["towns", "--json"], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert f"{gateway.municipality_code}  通常 第1.0版" in shown.output
    assert "第1.0版の受入期限まで: あと5日" in shown.output
    assert f"{other_gateway.municipality_code}  まだ送信がありません" in shown.output
    by_town = {each["municipality_code"]: each for each in json.loads(told.stdout)}
    (notice,) = by_town[gateway.municipality_code]["notices"]
    assert (notice["days_left"], notice["interface_version"]) == (5, "1.0")
