"""The audit log: sealing, heads outside, and what the check names when somebody was at it."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest
from django.db import connection

from bcl.foundation import audit, audit_log, audit_tree, clock, tenancy
from bcl.foundation.audit_outside import HeadDirectory
from bcl.foundation.models import AuditEntry, AuditHead, AuditLeaf, AuditPending

CLERK = audit.Actor("staff", "clerk-01")


@pytest.fixture
def outside(tmp_path) -> HeadDirectory:
    return HeadDirectory(tmp_path / "heads")


def write(town: str, count: int, *, act: str = "approve_export") -> list[int]:
    with tenancy.scope(town):
        return [
            audit.record(act=act, by=CLERK, at=clock.now(), detail={"number": number})
            for number in range(count)
        ]


def test_sealing__numbers_every_committed_row_once_and_chains_the_heads(town, outside):
    write(town, 3)
    assert audit_log.seal_all(place=outside) >= 4  # registering the town left a row as well
    write(town, 2)
    assert audit_log.seal_all(place=outside) == 2
    assert audit_log.seal_all(place=outside) == 0
    with tenancy.scope(town):
        leaves = AuditLeaf.objects.order_by("leaf_number").values_list("leaf_number", "entry_id")
        entries = list(AuditEntry.objects.order_by("pk").values_list("pk", flat=True))
        assert list(leaves) == list(enumerate(entries))
        first, second = AuditHead.objects.order_by("number")
        assert second.content["former_sha256"] == first.sha256
        assert second.content["former_size"] == first.tree_size
        leaves = audit_log.leaf_hashes(town, 0, second.tree_size)
        assert audit_tree.Frontier().add_all(leaves).root.hex() == second.content["root_sha256"]
    assert not AuditPending.objects.filter(municipality_code=town).exists()
    assert [head["content"]["number"] for head in outside.read(town)] == [1, 2]


def test_sealing__of_the_agency__takes_rows_of_no_town(town, outside):
    audit.record_agency(act="register_center", by=audit.SYSTEM, at=clock.now())
    audit_log.seal_all(place=outside)
    with tenancy.scope(audit_log.AGENCY_LOG):
        assert AuditLeaf.objects.filter(is_agency=True).count() == 1
    assert outside.last(audit_log.AGENCY_LOG)["content"]["tree_size"] == 1


@pytest.mark.django_db(transaction=True)
def test_row__that_commits_after_later_rows_were_sealed__gets_the_next_number(town, app_connection):
    with app_connection.transaction():
        app_connection.execute("SELECT set_config('bcl.municipality', %s, true)", [town])
        (early,) = app_connection.execute(
            "INSERT INTO foundation_auditentry (municipality_code, act, actor_kind, actor_id, at,"
            " detail) VALUES (%s, 'slow_act', 'staff', 'x', now(), '{}') RETURNING id", [town]
        ).fetchone()
        (late,) = write(town, 1)
        assert late > early
        # Sealing does not wait for the open transaction, and it does not wait for sealing.
        assert audit_log.seal(town, at=clock.now()) is not None
        with tenancy.scope(town):
            assert audit_log.find_leaf(town, late) is not None
            assert audit_log.find_leaf(town, early) is None
    assert audit_log.seal(town, at=clock.now()) is not None
    with tenancy.scope(town):
        assert audit_log.find_leaf(town, early) > audit_log.find_leaf(town, late)


@pytest.mark.django_db(transaction=True)
def test_sealing__by_two_at_once__gives_each_row_one_number(town, outside):
    write(town, 40)
    faults: list[Exception] = []

    def run() -> None:
        try:
            audit_log.seal_all(place=outside)
        except Exception as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert faults == []
    with tenancy.scope(town):
        assert AuditLeaf.objects.count() == AuditEntry.objects.count() == 41


def test_act_that_rolls_back__leaves_nothing_waiting(town):
    audit_log.seal(town, at=clock.now())
    with pytest.raises(ZeroDivisionError), tenancy.scope(town):
        audit.record(act="approve_export", by=CLERK, at=clock.now())
        raise ZeroDivisionError
    assert not AuditPending.objects.filter(municipality_code=town).exists()


def test_sealing__of_a_tree_somebody_changed__refuses_and_others_go_on(
    town, other_town, outside, monkeypatch
):
    audit_log.seal_all(place=outside)
    write(town, 1), write(other_town, 1)
    broken = audit_log.latest_head

    def changed(code: str):
        head = broken(code)
        if code == town:
            head.content["root_sha256"] = "0" * 64
        return head

    monkeypatch.setattr(audit_log, "latest_head", changed)
    with pytest.raises(audit_log.AuditLogBroken):
        audit_log.seal_all(place=outside)
    assert AuditPending.objects.filter(municipality_code=town).exists()
    assert not AuditPending.objects.filter(municipality_code=other_town).exists()


def test_heads__missed_outside__are_handed_out_later_in_order(town, outside, monkeypatch):
    audit_log.seal(town, at=clock.now())
    write(town, 1)
    audit_log.seal(town, at=clock.now())
    assert audit_log.hand_out(town, outside) == 2
    assert audit_log.hand_out(town, outside) == 0
    file = next((outside.folder / town).iterdir())
    with file.open("ab") as handle:  # power fails within a line
        handle.write(b'{"content":{"numb')
    write(town, 1)
    audit_log.seal(town, at=clock.now() + timedelta(seconds=1))
    assert audit_log.hand_out(town, outside) == 1
    assert [head["content"]["number"] for head in outside.read(town)] == [1, 2, 3]


def test_consistency_proof__between_heads__needs_new_leaves_only(town, monkeypatch):
    from bcl_contract import audit_verifier

    for count in (3, 4, 1, 9):
        write(town, count)
        audit_log.seal(town, at=clock.now())
    asked = []
    original = audit_log.leaf_hashes
    monkeypatch.setattr(
        audit_log, "leaf_hashes",
        lambda code, low, high: asked.append(low) or original(code, low, high),
    )
    with tenancy.scope(town):
        heads = list(AuditHead.objects.order_by("number"))
        for first, second in [(a, b) for a in heads for b in heads if a.number < b.number]:
            asked.clear()
            proof = audit_log.consistency_proof(town, first, second)
            assert all(low >= first.tree_size for low in asked)
            roots = [bytes.fromhex(each.content["root_sha256"]) for each in (first, second)]
            assert audit_verifier.is_consistent(
                (first.tree_size, roots[0]), (second.tree_size, roots[1]),
                [bytes.fromhex(each) for each in proof],
            )
    assert json.dumps(proof)
