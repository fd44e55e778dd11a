"""The guard: whatever is swapped on the way, no paper leaves and this town alone stops."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from bcl.availability import api as availability
from bcl.foundation import tenancy
from bcl.foundation.audit import Actor
from bcl.issuance import api
from bcl.issuance.actions import issue as issuing
from bcl.issuance.adapters import guard_line
from bcl_contract.clock import OFFSET_VARIABLE, Clock
from bcl_contract.delivery_center import Scope, new_number
from bcl_contract.refusals import Refusal

CENTER = Actor("center", "c1")
_HERE = Path(__file__).parent


def stops(code: str) -> list[str]:
    return availability.list_suspensions(code)


@pytest.fixture
def two(world):
    """Two residents of two households, with their cards."""
    return (
        world.resident("1", full_name="甲野　一"),
        world.resident("2", household="600", full_name="乙川　二"),
    )


def papers_of(world, card, monkeypatch, stage: str):
    """Have the paper of `card` made, and put it in place of the next one at this stage."""
    taken = []
    real = getattr(issuing, stage)

    def swapped(*args, **kwargs):
        taken.append(real(*args, **kwargs))
        return taken[0]

    monkeypatch.setattr(issuing, stage, swapped)
    assert isinstance(world.issue(card), api.Issued)
    return taken


@pytest.mark.requirement("R-069")
@pytest.mark.parametrize("stage", ["make_paper", "judge", "_issued"])
def test_swap__after_every_other_check__is_caught_and_stops_this_town_only(
    world, two, other_town, monkeypatch, stage
):
    """The whole paper, or the whole approval, of the one before: read back and lints agree."""
    papers_of(world, two[1], monkeypatch, stage)
    number = new_number(world.store.applied_at)
    answer = world.issue(two[0], number=number)
    assert isinstance(answer, Refusal) and answer.code == "CENTER_VISIT_COUNTER"
    row = world.transaction(number)
    assert row.state in ("FAILED", "REFUSED") and row.sent_at is None
    if stage != "judge":
        assert stops(world.code) == ["MISISSUE_PREVENTED"]
        assert isinstance(world.issue(two[0]), Refusal)
    assert stops(other_town) == []


@pytest.mark.requirement("R-069")
def test_guard__a_paper_recorded_with_its_own_digest_but_naming_another__is_caught(
    world, two, monkeypatch
):
    """Even when number, digest and record agree with the paper: the names are the guard's own."""
    real = issuing.make_paper
    first = []

    def of_the_one_before(judged, edition, *, layout_version):
        first.append(judged)
        return real(
            replace(judged, approval=first[0].approval), edition, layout_version=layout_version
        )

    monkeypatch.setattr(issuing, "make_paper", of_the_one_before)
    assert isinstance(world.issue(two[1]), api.Issued)
    number = new_number(world.store.applied_at)
    assert isinstance(world.issue(two[0], number=number), Refusal)
    assert world.transaction(number).state == "FAILED"
    assert world.transaction(number).pdf_sha256 != ""
    assert stops(world.code) == ["MISISSUE_PREVENTED"]


@pytest.mark.requirement("R-069")
@pytest.mark.parametrize("scope", [Scope.SELF, Scope.ALL])
def test_guard__a_member_too_many_or_too_few__is_caught(world, two, monkeypatch, scope):
    first = world.store.rows["J01", "J01-1"][1]
    world.load(
        ("J01", "J01-3", first | {
            "addressee_number": "3", "entry_order": "2", "full_name": "甲野　三",
        }),
    )  # fmt: skip
    real = issuing.make_paper
    other = {Scope.SELF: "HOUSEHOLD", Scope.ALL: "SELF"}[scope]

    def with_others(judged, edition, *, layout_version):
        options = replace(
            judged.approval.options, scope=type(judged.approval.options.scope)(other)
        )
        changed = replace(judged, approval=replace(judged.approval, options=options))
        return real(changed, edition, layout_version=layout_version)

    monkeypatch.setattr(issuing, "make_paper", with_others)
    number = new_number(world.store.applied_at)
    assert isinstance(world.issue(two[0], number=number, scope=scope), Refusal)
    assert world.transaction(number).state == "FAILED"
    assert stops(world.code) == ["MISISSUE_PREVENTED"]


@pytest.mark.requirement("R-069")
def test_guard__a_paper_of_no_transaction__stops_the_town(world, two):
    issued = world.issue(two[0])
    answer = api.send_paper(world.code, new_number(world.store.applied_at), issued.pdf)
    assert isinstance(answer, Refusal) and answer.code == "ISSUE_TRANSACTION_UNKNOWN"
    assert stops(world.code) == ["MISISSUE_PREVENTED"]


@pytest.mark.requirement("R-070")
def test_guard__away__refuses_and_names_the_reason_inside(world, two, monkeypatch, tmp_path):
    from bcl.issuance.actions import release

    monkeypatch.setattr(release.settings, "guard_socket", lambda: tmp_path / "nobody.sock")
    number = new_number(world.store.applied_at)
    assert world.issue(two[0], number=number).code == "CENTER_UNDER_MAINTENANCE"
    assert world.inner_code(number) == "ISSUE_GUARD_AWAY"
    assert stops(world.code) == []


@pytest.mark.requirement("R-069")
def test_guard__none_set_up_in_production__refuses(world, two, monkeypatch):
    from django.conf import settings

    monkeypatch.setattr(settings, "BCL", replace(settings.BCL, environment="production"))
    number = new_number(world.store.applied_at)
    assert isinstance(world.issue(two[0], number=number), Refusal)
    assert world.inner_code(number) == "ISSUE_GUARD_AWAY"


@pytest.mark.requirement("R-070")
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"yes\n",
        b"{}\n",
        b'{"transaction_number": "T2", "code": null, "sent_at": "2026-11-22T12:00:00+09:00"}\n',
        b'{"transaction_number": "T1", "code": null, "sent_at": "now"}\n',
        b'{"transaction_number": "T1", "code": "NO_SUCH_CODE", "sent_at": null}\n',
        b'["T1", null]\n',
    ],
)
def test_guard_line__an_answer_that_is_none__is_never_a_pass(tmp_path, said):
    import threading

    place = tmp_path / "g.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(place))
        server.listen()

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.recv(1 << 16)
                line.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        answer = guard_line.ask(place, "999997", "T1", b"%PDF")
        thread.join()
    assert isinstance(answer, Refusal) and answer.code == "ISSUE_GUARD_AWAY"


# -- the process ---------------------------------------------------------------------------------


def _load_module(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, module)
    spec.loader.exec_module(module)
    return module


with_store = _load_module("issuance_with_the_store", _HERE / "test_with_the_store.py")
real, patient = with_store.real, with_store.patient


@pytest.fixture
def guard_process(state_dir, monkeypatch) -> Iterator[subprocess.Popen[bytes]]:
    """`bcl serve guard` beside the tests, on their cluster, a little after their fixed noon."""
    from bcl.issuance.actions import release

    place = state_dir / "guard.sock"
    offset = with_store.helpers.NOW - Clock().now()
    child = subprocess.Popen(
        [sys.executable, "-m", "bcl_cli.main", "serve", "guard"],
        env=os.environ | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "BCL_GUARD_SOCKET": str(place),
            OFFSET_VARIABLE: str(int(offset.total_seconds())),
        },
        stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not place.is_socket():
        assert child.poll() is None, child.stderr.read()[-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    monkeypatch.setattr(release.settings, "guard_socket", lambda: place)
    yield child
    child.terminate()
    child.wait(timeout=20)
    child.stderr.close()
    place.unlink(missing_ok=True)


@pytest.mark.requirement("R-069")
@pytest.mark.django_db(transaction=True)
def test_guard_process__lets_the_right_paper_go_and_stops_the_town_for_a_wrong_one(
    patient, guard_process, other_town, monkeypatch
):
    late = {"deadline_at": with_store.helpers.NOW + timedelta(minutes=10)}
    first = patient.add(1, household=10, full_name="甲野　葛\U000e0102子")
    second = patient.add(2, household=20, full_name="乙川　他人")
    patient.send()
    patient.refresh()
    world = patient.world
    number = new_number(with_store.helpers.NOW)
    assert isinstance(world.issue(first, number=number, **late), api.Issued), (
        world.inner_code(number)
    )
    assert world.transaction(number).state == "SENT"
    assert world.transaction(number).sent_at != with_store.helpers.NOW  # the guard's clock
    papers_of_swap = issuing.make_paper
    taken = []

    def swapped(*args, **kwargs):
        taken.append(papers_of_swap(*args, **kwargs))
        return taken[0]

    monkeypatch.setattr(issuing, "make_paper", swapped)
    assert isinstance(world.issue(second, **late), api.Issued)
    number = new_number(with_store.helpers.NOW)
    assert world.issue(first, number=number, **late).code == "CENTER_VISIT_COUNTER"
    assert world.transaction(number).state == "FAILED"
    assert world.inner_code(number) == "ISSUE_DOCUMENT_CHECK_FAILED"
    assert stops(world.code) == ["MISISSUE_PREVENTED"] and stops(other_town) == []
    guard_process.kill()
    guard_process.wait(timeout=20)
    availability.resume(
        world.code, "ISSUANCE", "MISISSUE_PREVENTED", by=CENTER, at=with_store.helpers.NOW
    )
    monkeypatch.setattr(issuing, "make_paper", papers_of_swap)
    assert world.issue(first, **late).code == "CENTER_UNDER_MAINTENANCE"


@pytest.mark.requirement("R-069")
def test_guard_role__can_do_nothing_but_read_send_and_stop(cluster_info, town):
    with psycopg.connect(cluster_info.url("bcl_guard"), autocommit=True) as connection:
        for forbidden in (
            "UPDATE issuance_issuancetransaction SET pdf_sha256 = ''",
            "UPDATE issuance_issuancetransaction SET subject = NULL",
            "DELETE FROM issuance_issuancetransaction",
            "INSERT INTO issuance_issuancetransaction DEFAULT VALUES",
            "UPDATE issuance_issuablerecord SET content = ''",
                "UPDATE availability_suspension SET resumed_at = now()",
            "DELETE FROM issuance_issuanceblock",
            "SELECT * FROM accounts_staffaccount",
            "SELECT * FROM linkage_transmission",
        ):
            with pytest.raises(
                (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable)
            ):
                connection.execute(forbidden)
        # Without a town it sees nothing, like every other role.
        assert connection.execute("SELECT count(*) FROM issuance_issuablerecord").fetchone() == (0,)
    with tenancy.scope(town):
        assert api.count_transactions(town) == {}
