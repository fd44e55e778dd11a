"""Who may have a town's data built: two persons, one exact request, everything on record."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import IntegrityError, transaction

from bcl.foundation import tenancy
from bcl.recovery import api as recovery
from bcl.recovery.models import RecoveryExport
from bcl.resident_store import api as store
from bcl_contract import clock
from bcl_contract.refusals import Refusal

pytestmark = pytest.mark.django_db


@pytest.fixture
def a_state(town, monkeypatch):
    """The store knows load 2 as main sequence 2; no data is needed here."""
    monkeypatch.setattr(
        store, "load_number_at", lambda code, *, sequence=None, lane="main", at=None: 2
    )


def code(result) -> str:
    assert isinstance(result, Refusal)
    return result.code


@pytest.mark.requirement("R-033")
def test_approval__by_the_person_who_asked__is_refused(a_state, ask, approve, first) -> None:
    export = ask()
    assert code(approve(export, first)) == "RECOVERY_SAME_PERSON"
    assert recovery.find_export(export.municipality_code, export.pk).state == "REQUESTED"


@pytest.mark.requirement("R-033")
def test_database__refuses_the_same_person_and_a_package_without_approval(
    a_state, ask, town
) -> None:
    export = ask()
    attempts = [
        {
            "approved_by": "staff-a",
            "approved_at": clock.now(),
            "approval_signature": "x",
            "state": "APPROVED",
        },
        {"state": "APPROVED"},
        {"state": "BUILT", "built_at": clock.now(), "package_sha256": "0" * 64},
        {"state": "RELEASED"},
    ]
    with tenancy.scope(town):
        for attempt in attempts:
            with pytest.raises(IntegrityError), transaction.atomic():
                RecoveryExport.objects.filter(pk=export.pk).update(**attempt)


@pytest.mark.requirement("R-033")
def test_approval__of_another_request_than_shown__is_refused(a_state, ask, approve, second) -> None:
    shown, other = ask(), ask(incident="2026-0002")
    assert shown.request_sha256 != other.request_sha256
    refused = approve(other, second, request_sha256=shown.request_sha256)
    assert code(refused) == "RECOVERY_REQUEST_CHANGED"


@pytest.mark.requirement("R-033")
def test_approval__by_a_second_person__queues_the_build_once(
    a_state, ask, approve, second, town
) -> None:
    from bcl.foundation import jobs
    from bcl.foundation.models import AuditEntry

    export = ask()
    assert jobs.pending_count(queue="recovery") == 0
    assert approve(export, second).state == "APPROVED"
    assert jobs.pending_count(queue="recovery") == 1
    assert code(approve(export, second)) == "RECOVERY_NOT_REQUESTED"
    with tenancy.scope(town):
        acts = {
            (entry.act, entry.actor_id)
            for entry in AuditEntry.objects.filter(act__in=["request_export", "approve_export"])
        }
    assert acts == {("request_export", "staff-a"), ("approve_export", "staff-b")}


@pytest.mark.requirement("R-033")
@pytest.mark.parametrize(
    ("reason", "incident"),
    [
        ("", "2026-1"),
        ("  ", "2026-1"),
        ("理由", ""),
        ("理由", "事案1"),
        ("理" * 501, "2026-1"),
        ("理由", "x" * 65),
    ],
)
def test_request__without_reason_or_incident__is_refused(a_state, ask, reason, incident) -> None:
    assert code(ask(reason=reason, incident=incident)) == "RECOVERY_REASON_MISSING"


def test_request__signed_by_somebody_else__is_refused(a_state, ask, first, town) -> None:
    from bcl.municipalities import api as municipalities

    content = recovery.request_content(
        as_of=recovery.AsOf(sequence=2),
        reason="理由",
        incident_id="2026-1",
        receiver_id="receiver-1",
    )
    forged = type(first)(town, "staff-a", Ed25519PrivateKey.generate())
    unknown = type(first)(town, "staff-z", first.key)
    signatures = {
        "forged": forged.sign("request_export", content),
        "unknown": unknown.sign("request_export", content),
        "another act": first.sign("approve_export", content),
        "too old": first.sign("request_export", content, at=clock.now() - timedelta(minutes=11)),
        "another town": type(first)("999989", "staff-a", first.key).sign("request_export", content),
    }
    for name, signed in signatures.items():
        refused = ask(reason="理由", incident="2026-1", signed=signed)
        assert code(refused) in ("STAFF_UNKNOWN", "STAFF_SIGNATURE_INVALID"), name
    good = first.sign("request_export", content)
    assert code(ask(reason="別の理由", incident="2026-1", signed=good)) == (
        "RECOVERY_REQUEST_CHANGED"
    )
    municipalities.revoke_staff(town, "staff-a", by=_system())
    assert code(ask(reason="理由", incident="2026-1", signed=good)) == "STAFF_UNKNOWN"


def test_request__used_twice__counts_once(a_state, ask, first) -> None:
    content = recovery.request_content(
        as_of=recovery.AsOf(sequence=2),
        reason="理由",
        incident_id="2026-1",
        receiver_id="receiver-1",
    )
    signed = first.sign("request_export", content)
    assert ask(reason="理由", incident="2026-1", signed=signed).state == "REQUESTED"
    again = ask(reason="理由", incident="2026-1", signed=signed)
    assert code(again) == "RECOVERY_SIGNATURE_INVALID"


def test_request__for_an_unknown_receiver_or_state__is_refused(ask, town) -> None:
    assert code(ask(receiver="nobody")) == "RECOVERY_RECEIVER_UNKNOWN"
    assert code(ask(as_of=recovery.AsOf(sequence=1))) == "RECOVERY_STATE_UNKNOWN"
    assert code(ask(as_of=recovery.AsOf(at=clock.now()))) == "RECOVERY_STATE_UNKNOWN"


def test_reason__lies_sealed_and_opens_for_who_decides(a_state, ask, town) -> None:
    export = ask(reason="庁舎の浸水")
    with tenancy.scope(town):
        stored = RecoveryExport.objects.get(pk=export.pk)
        assert "庁舎".encode() not in bytes(stored.sealed_reason)
        assert recovery.read_reason(stored) == "庁舎の浸水"


def test_export__of_another_town__is_not_there(a_state, ask, town, other_town) -> None:
    export = ask()
    assert recovery.find_export(town, export.pk) is not None
    assert recovery.find_export(other_town, export.pk) is None


def _system():
    from bcl.foundation.audit import Actor

    return Actor("system", "test")
