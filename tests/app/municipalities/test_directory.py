"""The municipality directory: registered parties, dated settings, signed acts of staff."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl.foundation import audit, clock, tenancy
from bcl.foundation.models import AgencyAuditEntry, AuditEntry
from bcl.municipalities import api as municipalities
from bcl_contract.refusals import Refusal
from bcl_contract.signed_acts import sign_act
from bcl_contract.values import InvalidValue
from bcl_sim.pki import make_world_pki

CLERK = audit.Actor("staff", "clerk-01")
NOON = datetime(2026, 11, 22, 12, tzinfo=clock.JST)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_world_pki(tmp_path_factory.mktemp("pki"), ["999997", "999989"], clock.now())


@pytest.fixture
def signing_key():
    return Ed25519PrivateKey.generate()


def _gateway(pki, code, key):
    return municipalities.register_gateway_cert(
        code, pki.gateway(code).cert_path.read_bytes(), key.public_key()
    )


def test_municipality__registered_again__is_brought_up_to_date(town):
    before = municipalities.get_municipality(town)
    after = municipalities.register_municipality(
        municipality_code=town,
        name_ja=before.name_ja,
        head_title_ja="市長",
        mayor_name_ja="見本 次郎",
    )
    assert after.mayor_name_ja == "見本 次郎" and after.mayor_name_ja not in repr(after)
    assert municipalities.list_municipality_codes() == [town]


def test_municipality__with_a_wrong_check_digit__is_refused(db):
    with pytest.raises(InvalidValue):
        municipalities.register_municipality(
            municipality_code="999998", name_ja="x", head_title_ja="x", mayor_name_ja="x"
        )


def test_municipality__unknown__raises_and_find_gives_none(db):
    assert municipalities.find_municipality("999954") is None
    with pytest.raises(municipalities.UnknownMunicipality):
        municipalities.get_municipality("999954")


@pytest.mark.requirement("R-002")
def test_gateway__found_by_its_certificate__belongs_to_its_town(town, other_town, pki, signing_key):
    mine = _gateway(pki, town, signing_key)
    _gateway(pki, other_town, Ed25519PrivateKey.generate())
    found = municipalities.find_gateway_by_cert(pki.gateway(town).cert_der())
    assert found == mine and found.municipality_code == town
    assert found.signing_public_key == signing_key.public_key()
    assert municipalities.find_signing_key(town, mine.id) == signing_key.public_key()
    assert municipalities.find_signing_key(other_town, mine.id) is None
    assert municipalities.find_gateway_by_cert(pki.center_client.cert_der()) is None
    assert municipalities.find_gateway_by_cert(b"") is None


def test_gateway__revoked__is_found_no_more_and_cannot_come_back(town, pki, signing_key):
    gateway = _gateway(pki, town, signing_key)
    assert municipalities.revoke_gateway(gateway.id, by=CLERK)
    assert not municipalities.revoke_gateway(gateway.id, by=CLERK)
    assert municipalities.find_gateway_by_cert(pki.gateway(town).cert_der()) is None
    assert municipalities.find_signing_key(town, gateway.id) is None
    with pytest.raises(ValueError, match="revoked"):
        _gateway(pki, town, signing_key)
    with tenancy.scope(town):
        acts = list(AuditEntry.objects.order_by("pk").values_list("act", flat=True))
    assert acts[-2:] == ["register_gateway", "revoke_gateway"]


def test_gateway__registered_twice__stays_one(town, pki, signing_key):
    assert _gateway(pki, town, signing_key) == _gateway(pki, town, signing_key)
    assert len(municipalities.list_gateways(town)) == 1


def test_gateway__certificate_claimed_by_another_town_or_key__is_refused(
    town, other_town, pki, signing_key
):
    _gateway(pki, town, signing_key)
    pem = pki.gateway(town).cert_path.read_bytes()
    with pytest.raises(ValueError, match="otherwise"):
        municipalities.register_gateway_cert(other_town, pem, signing_key.public_key())
    with pytest.raises(ValueError, match="otherwise"):
        municipalities.register_gateway_cert(town, pem, Ed25519PrivateKey.generate().public_key())


def test_center__registered_renewed_and_revoked__follows(db, pki, signing_key):
    for credential in (pki.center_client, pki.center_server):
        municipalities.register_delivery_center(
            "center-1", credential.cert_path.read_bytes(), signing_key.public_key()
        )
        found = municipalities.find_delivery_center_by_cert(credential.cert_der())
        assert found.id == "center-1"
        assert found.signing_public_key == signing_key.public_key()
    assert municipalities.find_delivery_center_by_cert(pki.center_client.cert_der()) is None
    assert municipalities.revoke_delivery_center("center-1")
    assert municipalities.find_delivery_center_by_cert(pki.center_server.cert_der()) is None
    assert AgencyAuditEntry.objects.count() == 3


def test_setting__at_a_moment__is_the_last_that_began(town, other_town):
    for hours, value in ((0, 10), (24, 20)):
        municipalities.set_setting(
            town, "limit", value, effective_from=NOON + timedelta(hours=hours), by=CLERK
        )
    just_before = NOON - timedelta(microseconds=1)
    assert municipalities.setting_at(town, "limit", just_before, default=5) == 5
    assert municipalities.setting_at(town, "limit", NOON) == 10
    assert municipalities.setting_at(town, "limit", NOON + timedelta(hours=23)) == 10
    assert municipalities.setting_at(town, "limit", NOON + timedelta(hours=24)) == 20
    assert municipalities.setting_at(other_town, "limit", NOON) is None
    municipalities.set_setting(town, "limit", [1], effective_from=NOON, by=CLERK)
    assert municipalities.setting_at(town, "limit", NOON) == [1]


# -- acts of staff, signed (D31) ----------------------------------------------------------------


def _signed(key, town, **changes):
    given = {
        "act": "approve_export",
        "municipality_code": town,
        "staff_id": "clerk-01",
        "at": clock.now(),
        "content": {"export": 12},
        "private_key": key,
    } | changes
    return sign_act(**given)


def _verify(signed, town, **changes):
    return municipalities.verify_staff_act(
        signed, **({"act": "approve_export", "municipality_code": town} | changes)
    )


def test_staff_act__signed_by_a_registered_member__names_the_actor(town, signing_key):
    municipalities.register_staff(town, "clerk-01", signing_key.public_key())
    assert _verify(_signed(signing_key, town), town) == CLERK


def test_staff_act__of_an_unknown_or_revoked_member__is_refused(town, other_town, signing_key):
    assert _verify(_signed(signing_key, town), town) == Refusal("STAFF_UNKNOWN")
    municipalities.register_staff(town, "clerk-01", signing_key.public_key())
    in_other = _signed(signing_key, other_town)
    assert _verify(in_other, other_town) == Refusal("STAFF_UNKNOWN")
    assert municipalities.revoke_staff(town, "clerk-01", by=audit.SYSTEM)
    assert _verify(_signed(signing_key, town), town) == Refusal("STAFF_UNKNOWN")


def test_staff_act__altered_old_or_for_something_else__is_refused(town, other_town, signing_key):
    municipalities.register_staff(town, "clerk-01", signing_key.public_key())
    invalid = Refusal("STAFF_SIGNATURE_INVALID")
    old = clock.now() - timedelta(minutes=11)
    assert _verify(_signed(signing_key, town, at=old), town) == invalid
    assert _verify(_signed(Ed25519PrivateKey.generate(), town), town) == invalid
    assert _verify(_signed(signing_key, town), town, act="release_export") == invalid
    assert _verify(_signed(signing_key, other_town), town) == invalid


# -- receivers of recovery packages -------------------------------------------------------------


def test_receiver__registered__is_of_its_town_only(town, other_town):
    key = str(pyrage.x25519.Identity.generate().to_public())
    municipalities.register_recovery_receiver(town, "vendor-1", key)
    assert municipalities.find_recovery_receiver(town, "vendor-1").age_public_key == key
    assert municipalities.find_recovery_receiver(other_town, "vendor-1") is None
    with pytest.raises(ValueError, match="age"):
        municipalities.register_recovery_receiver(town, "vendor-2", key[:-1])
