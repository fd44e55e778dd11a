"""Crypto-erasure of a town that leaves: two persons, nothing opens any more, a signed proof."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl.foundation import audit, clock, crypto, escrow, key_cache, keys, tenancy
from bcl.foundation import erasure as foundation_erasure
from bcl.foundation.keys import KeyErased, KeyFault, KeyPurpose
from bcl.foundation.models import AuditEntry, DataKey, TownErasure, TownKey
from bcl.municipalities import api as municipalities
from bcl.municipalities import erasure
from bcl_contract.refusals import Refusal
from bcl_contract.signed_acts import sign_act

PLACE = ("linkage_receiptkey", "sealed_private_key", "k1")
pytestmark = pytest.mark.requirement("R-027")


@pytest.fixture
def staff(town):
    """Signs acts as one of three members of the town."""
    private = {each: Ed25519PrivateKey.generate() for each in ("staff-a", "staff-b", "staff-c")}
    for each, key in private.items():
        municipalities.register_staff(town, each, key.public_key())

    def sign(staff_id, act, content, *, at=None):
        return sign_act(
            act=act,
            municipality_code=town,
            staff_id=staff_id,
            at=at or clock.now(),
            content=content,
            private_key=private[staff_id],
        )

    return sign


@pytest.fixture
def sealed(town):
    """Something sealed for the town: the row of a receipt key."""
    from bcl.linkage.models import ReceiptKey

    with tenancy.scope(town):
        ReceiptKey.objects.create(
            municipality_code=town,
            key_id="k1",
            public_key="p",
            sealed_private_key=crypto.seal_cell(town, *PLACE, b"secret"),
            created_at=clock.now(),
        )
    return town


def ask(town, staff, *, reason="CONTRACT_ENDED", reference="doc-2026-118"):
    content = erasure.request_content(reason_code=reason, reference=reference)
    return municipalities.request_erasure(
        town,
        reason_code=reason,
        reference=reference,
        signed=staff("staff-a", "request_erasure", content),
        at=clock.now(),
    )


def approve(town, staff, row, *, by="staff-b", at=None, **changes):
    content = erasure.approval_content(row.pk, row.request_sha256) | changes
    at = at or clock.now()
    return municipalities.approve_erasure(
        town, row.pk, signed=staff(by, "approve_erasure", content, at=at), at=at
    )


def test_erasure__by_two_persons__makes_everything_unreadable_and_proves_it(
    sealed, other_town, staff
):
    town = sealed
    theirs = crypto.seal_cell(other_town, *PLACE, b"theirs")
    with tenancy.scope(town):
        backup = {
            "town": bytes(TownKey.objects.get().wrapped_key),
            "kek": TownKey.objects.get().provider_key_id,
            "pages": bytes(DataKey.objects.get(purpose="PAGES").wrapped_key),
        }
    row = ask(town, staff)
    assert isinstance(row, TownErasure)
    proof = approve(town, staff, row)
    assert not isinstance(proof, Refusal)
    content = proof["content"]
    assert content["nothing_opens"] and content["unreadable_values"] >= 1
    assert content["before"]["readable_before"]["linkage_receiptkey.sealed_private_key"] == "OPENED"
    assert content["attempts_after"]["linkage_receiptkey.sealed_private_key"] == "refused"
    assert content["keks"][backup["kek"]] == "destroyed"
    assert set(content["keks"].values()) == {"destroyed"}  # rolled back tests left others behind
    assert content["requested_by"] == "staff-a" and content["approved_by"] == "staff-b"
    assert erasure.is_genuine(json.loads(json.dumps(proof)))
    assert not erasure.is_genuine(proof | {"content": content | {"reference": "other"}})
    assert keys.is_erased(town)
    for purpose in KeyPurpose:
        with pytest.raises(KeyErased):
            keys.data_key(town, purpose)
    with tenancy.scope(town):
        assert not TownKey.objects.exclude(wrapped_key=None).exists()
        assert not DataKey.objects.exclude(wrapped_key=None).exists()
        acts = list(AuditEntry.objects.order_by("pk").values_list("act", flat=True))
        assert acts[-3:] == ["request_erasure", "approve_erasure", "erase_town"]
    assert crypto.open_cell(other_town, *PLACE, theirs) == b"theirs"
    # A backup of yesterday brings the wrapped keys back; the provider's key is gone for good.
    with tenancy.scope(town):
        TownKey.objects.update(wrapped_key=backup["town"], destroyed_at=None)
        DataKey.objects.filter(purpose="PAGES").update(
            wrapped_key=backup["pages"], destroyed_at=None
        )
    with pytest.raises(KeyFault):
        keys.data_key(town, KeyPurpose.PAGES)
    assert content["backups"]["readable_until"] is None


def test_erasure__by_one_person_alone__is_refused(sealed, staff):
    row = ask(sealed, staff)
    refused = approve(sealed, staff, row, by="staff-a")
    assert isinstance(refused, Refusal) and refused.code == "KEY_ERASURE_SAME_PERSON"
    assert keys.data_key(sealed, KeyPurpose.CELLS)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"reason": "BORED"}, "KEY_ERASURE_REASON"),
        ({"reference": "第一号"}, "KEY_ERASURE_REASON"),
        ({"reference": ""}, "KEY_ERASURE_REASON"),
    ],
)
def test_erasure__asked_without_a_known_reason_or_document__is_refused(sealed, staff, change, code):
    refused = ask(sealed, staff, **change)
    assert isinstance(refused, Refusal) and refused.code == code


def test_erasure__approved_for_another_request_or_too_late__is_refused(sealed, staff):
    row = ask(sealed, staff)
    refused = approve(sealed, staff, row, request_sha256="0" * 64)
    assert isinstance(refused, Refusal) and refused.code == "KEY_ERASURE_CHANGED"
    late = clock.now() + timedelta(days=8)
    refused = approve(sealed, staff, row, at=late)
    assert isinstance(refused, Refusal) and refused.code == "KEY_ERASURE_NOT_OPEN"
    refused = approve(sealed, staff, replace_pk(row, 999))
    assert isinstance(refused, Refusal) and refused.code == "KEY_ERASURE_NOT_FOUND"
    assert keys.data_key(sealed, KeyPurpose.CELLS)


def replace_pk(row, pk):
    other = TownErasure(pk=pk, request_sha256=row.request_sha256)
    return other


def test_erasure__asked_with_somebody_elses_signature__is_refused(sealed, staff):
    content = erasure.request_content(reason_code="MERGED", reference="doc-1")
    signed = staff("staff-a", "request_erasure", content)
    for wrong in (replace(signed, staff_id="staff-b"), replace(signed, act="approve_erasure")):
        refused = municipalities.request_erasure(
            sealed, reason_code="MERGED", reference="doc-1", signed=wrong, at=clock.now()
        )
        assert isinstance(refused, Refusal) and refused.code == "STAFF_SIGNATURE_INVALID"


def test_erasure__interrupted_after_the_provider__is_finished_by_approving_again(
    sealed, staff, monkeypatch
):
    row = ask(sealed, staff)

    def crash(*_: object, **__: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(foundation_erasure.keys, "destroy_town_keys", crash)
        with pytest.raises(ConnectionError):
            approve(sealed, staff, row)
    keys.forget_cached_keys()
    with pytest.raises(KeyFault):
        keys.data_key(sealed, KeyPurpose.CELLS)
    proof = approve(sealed, staff, row, by="staff-c")
    assert set(proof["content"]["keks"].values()) == {"absent"}
    assert proof["content"]["nothing_opens"] and proof["content"]["approved_by"] == "staff-b"
    assert proof["content"]["before"]["town_keys"][0]["wrapped_sha256"]
    refused = approve(sealed, staff, row)
    assert isinstance(refused, Refusal) and refused.code == "KEY_ERASURE_NOT_OPEN"


def test_erased_town__escrow_is_void_and_named_in_the_proof(sealed, staff):
    identities = [pyrage.x25519.Identity.generate() for _ in range(2)]
    package = escrow.create_escrow(
        sealed,
        custodians=[str(each.to_public()) for each in identities],
        threshold=2,
        by="staff-a",
    )
    value = crypto.seal_cell(sealed, *PLACE, b"secret")
    proof = approve(sealed, staff, ask(sealed, staff))
    assert proof["content"]["backups"]["escrow_copies_to_destroy"] == [package.sha256]
    assert all(each.destroyed_at for each in escrow.list_escrows(sealed))
    opened = escrow.open_escrow(package.content, [str(each) for each in identities])
    with escrow.use(opened), pytest.raises(KeyFault):  # the wrapped data keys are gone as well
        crypto.open_cell(sealed, *PLACE, value)


@pytest.mark.django_db(transaction=True)
def test_destroyed_key__in_the_memory_of_another_process__is_forgotten_within_seconds(
    sealed, monkeypatch
):
    keys.data_key(sealed, KeyPurpose.CELLS)
    with tenancy.scope(sealed):  # as another process would: this one's memory is not told
        TownKey.objects.update(wrapped_key=None, destroyed_at=clock.now())
    assert keys.data_key(sealed, KeyPurpose.CELLS)  # still confirmed, for at most three seconds
    assert key_cache.CONFIRM_SECONDS <= 3
    now = key_cache.time.monotonic()
    monkeypatch.setattr(key_cache.time, "monotonic", lambda: now + key_cache.CONFIRM_SECONDS)
    with pytest.raises(KeyErased):
        keys.data_key(sealed, KeyPurpose.CELLS)
    with pytest.raises(KeyErased):
        keys.data_key_version(sealed, KeyPurpose.CELLS, 1)


def test_recovery__of_an_erased_town__is_refused_with_its_code(sealed, staff):
    from bcl.recovery import api as recovery

    approve(sealed, staff, ask(sealed, staff))
    as_of = recovery.AsOf(sequence=1)
    content = recovery.request_content(
        as_of=as_of, reason="r", incident_id="2026-1", receiver_id="receiver-1"
    )
    refused = recovery.request_export(
        sealed,
        as_of=as_of,
        reason="r",
        incident_id="2026-1",
        receiver_id="receiver-1",
        signed=staff("staff-a", "request_export", content),
        at=clock.now(),
    )
    assert isinstance(refused, Refusal) and refused.code == "KEY_ERASED"


def test_erased_town__registered_again__starts_with_new_keys(sealed, staff):
    approve(sealed, staff, ask(sealed, staff))
    municipalities.register_municipality(
        municipality_code=sealed, name_ja="見本市", head_title_ja="市長", mayor_name_ja="見本 太郎"
    )
    assert keys.data_key(sealed, KeyPurpose.CELLS).version == 2
    with pytest.raises(KeyFault):
        keys.data_key_version(sealed, KeyPurpose.CELLS, 1)
    assert audit.SYSTEM.id
