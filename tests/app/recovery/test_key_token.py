"""A town whose key lies in a hardware token (SoftHSM): landed, read, rotated, recovered, erased."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import pyrage
import pytest

from bcl.foundation import audit, jobs, keys, rotation, tenancy
from bcl.foundation.key_provider_pkcs11 import Pkcs11KeyProvider
from bcl.foundation.keys import KeyErased, KeyPurpose
from bcl.foundation.models import TownKey
from bcl.recovery import api as recovery
from bcl.resident_store import api as store
from bcl_contract import clock

pytestmark = [pytest.mark.requirement("R-027"), pytest.mark.django_db(transaction=True)]
BY = audit.Actor("staff", "operator-1")


@pytest.fixture
def on_token(token, settings, tmp_path):
    """Every new key is made in the token; there is no key file at all."""
    settings.BCL = replace(
        settings.BCL, key_provider="pkcs11", key_token=token, key_file=tmp_path / "none.key"
    )
    keys.forget_cached_keys()


@pytest.fixture
def town(on_token, town):
    """The default town, registered while the token is the provider."""
    return town


def test_town_on_the_token__from_landing_to_recovery__needs_no_key_file(
    town, token, landed, ask, approve, second, receiver_key, run_jobs, tmp_path, monkeypatch
) -> None:
    with tenancy.scope(town):
        kek = TownKey.objects.get(destroyed_at=None).provider_key_id
    assert kek.startswith(f"pkcs11-{town}-") and not (tmp_path / "none.key").exists()
    row = landed.core.truth()["J01"][0]
    number = row["addressee_number"]

    def read() -> set[str]:
        found = store.find_person(town, number, file_ids=["J01"])
        values = store.read_records(town, [version.id for version in found])
        return {each["full_name"] for each in values.values()}

    keys.forget_cached_keys()
    before = read()
    assert row["full_name"] in before

    monkeypatch.setattr(rotation, "settle_seconds", 0.2)
    monkeypatch.setattr(rotation, "_PAUSE_SECONDS", 0)
    for purpose in (KeyPurpose.PAGES, KeyPurpose.SEAL_IMAGES):
        assert rotation.rotate(town, purpose, by=BY, at=clock.now()).version == 2
    while any(run.state != rotation.DONE for run in rotation.list_rotations(town)):
        jobs.run_pending_now(queues=["keys"], limit=200)
    assert rotation.destroy_old_versions(town, KeyPurpose.PAGES, by=BY, at=clock.now()) == [1]
    keys.rotate_town_key(town, new_kek=True)  # the key in the token itself, as well
    assert Pkcs11KeyProvider(token).destroy_kek(kek)
    keys.forget_cached_keys()
    assert read() == before

    export = approve(ask(), second)
    run_jobs()
    built = recovery.find_export(town, export.pk)
    signed = second.sign(
        "release_export", recovery.release_content(built.pk, built.package_sha256)
    )
    paths = recovery.release_export(
        town, built.pk, to=tmp_path / "out", signed=signed, at=clock.now()
    )
    package = next(path for path in paths if path.suffix == ".age")
    opened = zipfile.ZipFile(io.BytesIO(pyrage.decrypt(package.read_bytes(), [receiver_key])))
    [residents] = [name for name in opened.namelist() if "_J01_" in name]
    assert row["full_name"] in opened.read(residents).decode()

    provider = Pkcs11KeyProvider(token)
    for kek_id in provider.kek_ids(town):
        assert provider.destroy_kek(kek_id)
    keys.destroy_town_keys(town)
    keys.forget_cached_keys()
    with pytest.raises(KeyErased):
        read()
    assert ask().code == "KEY_ERASED"
