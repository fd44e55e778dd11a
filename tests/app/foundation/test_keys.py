"""Keys and sealing: a value opens in its own place and town only."""

from __future__ import annotations

import os
import stat

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from bcl.foundation import crypto, key_provider_file, keys, tenancy
from bcl.foundation.keys import KeyFault, KeyPurpose
from bcl.foundation.models import DataKey, TownKey

pytestmark = [pytest.mark.requirement("R-026"), pytest.mark.requirement("R-027")]

PLACE = ("issuance_record", "content", 7)


def test_cell__sealed_and_opened_in_place__is_the_same(town):
    sealed = crypto.seal_cell(town, *PLACE, "山田　太郎".encode())
    assert "山田".encode() not in sealed
    assert crypto.open_cell(town, *PLACE, sealed) == "山田　太郎".encode()


def test_cell__sealed_twice__differs(town):
    assert crypto.seal_cell(town, *PLACE, b"x") != crypto.seal_cell(town, *PLACE, b"x")


@pytest.mark.parametrize(
    "elsewhere",
    [
        ("issuance_other", "content", 7),
        ("issuance_record", "remarks", 7),
        ("issuance_record", "content", 8),
        ("issuance_record", "content", "7"),
        ("issuance_record", "content", b"7"),
        ("issuance_recordc", "ontent", 7),
    ],
)
def test_cell__moved_to_another_place__does_not_open(town, elsewhere):
    sealed = crypto.seal_cell(town, *PLACE, b"clear")
    with pytest.raises(crypto.SealFault):
        crypto.open_cell(town, *elsewhere, sealed)


def test_cell__of_another_town__does_not_open(town, other_town):
    sealed = crypto.seal_cell(town, *PLACE, b"clear")
    with pytest.raises(crypto.SealFault):
        crypto.open_cell(other_town, *PLACE, sealed)


def test_cell__with_any_byte_changed__does_not_open(town):
    sealed = crypto.seal_cell(town, *PLACE, b"clear")
    for position in range(len(sealed)):
        broken = bytearray(sealed)
        broken[position] ^= 1
        with pytest.raises((crypto.SealFault, KeyFault)):
            crypto.open_cell(town, *PLACE, bytes(broken))
    for length in range(len(sealed)):
        with pytest.raises((crypto.SealFault, KeyFault)):
            crypto.open_cell(town, *PLACE, sealed[:length])


_PARTS = st.tuples(
    st.text(max_size=8),
    st.text(max_size=8),
    st.text(max_size=8),
    st.one_of(st.text(max_size=8), st.integers(), st.binary(max_size=8)),
    st.integers(0, 2**32 - 1),
)


@given(_PARTS, _PARTS)
def test_aad__of_different_places__never_is_equal(one, two):
    assert (crypto.aad(*one) == crypto.aad(*two)) == (one == two)


def test_wrapped_key__copied_to_another_purpose__does_not_open(town):
    with tenancy.scope(town):
        pages = DataKey.objects.get(purpose="PAGES")
        DataKey.objects.filter(purpose="CELLS").update(wrapped_key=pages.wrapped_key)
    with pytest.raises(KeyFault):
        keys.data_key(town, KeyPurpose.CELLS)


def test_wrapped_town_key__of_another_town__does_not_open(town, other_town):
    with tenancy.scope(other_town):
        foreign = bytes(TownKey.objects.get().wrapped_key)
    with tenancy.scope(town):
        TownKey.objects.update(wrapped_key=foreign)
    with pytest.raises(KeyFault):
        keys.data_key(town, KeyPurpose.PAGES)


def test_keys__of_two_towns_and_purposes__all_differ(town, other_town):
    secrets = {
        keys.data_key(code, purpose).secret for code in (town, other_town) for purpose in KeyPurpose
    }
    assert len(secrets) == 2 * len(KeyPurpose)
    assert all(len(secret) == 32 for secret in secrets)


def test_rotation__of_a_data_key__seals_new_and_opens_old(town):
    old = crypto.seal_cell(town, *PLACE, b"old")
    assert keys.rotate_data_key(town, KeyPurpose.CELLS) == 2
    new = crypto.seal_cell(town, *PLACE, b"new")
    assert new[1:5] == (2).to_bytes(4, "big")
    assert crypto.open_cell(town, *PLACE, old) == b"old"
    assert crypto.open_cell(town, *PLACE, new) == b"new"


def test_rotation__of_the_town_key__keeps_data_keys_and_destroys_the_old_one(town):
    before = {purpose: keys.data_key(town, purpose).secret for purpose in KeyPurpose}
    with tenancy.scope(town):
        wrapped_before = set(map(bytes, DataKey.objects.values_list("wrapped_key", flat=True)))
    keys.rotate_town_key(town)
    assert {purpose: keys.data_key(town, purpose).secret for purpose in KeyPurpose} == before
    with tenancy.scope(town):
        wrapped = set(map(bytes, DataKey.objects.values_list("wrapped_key", flat=True)))
        assert not wrapped & wrapped_before
        assert TownKey.objects.get(version=1).wrapped_key is None


@pytest.mark.parametrize("purpose", [KeyPurpose.SEARCH, KeyPurpose.IDENTITY])
def test_rotation__of_a_comparing_key__is_refused(town, purpose):
    with pytest.raises(KeyFault):
        keys.rotate_data_key(town, purpose)


def test_erasure__of_a_town__makes_its_values_unreadable_and_no_other(town, other_town):
    mine = crypto.seal_cell(town, *PLACE, b"mine")
    theirs = crypto.seal_cell(other_town, *PLACE, b"theirs")
    keys.destroy_town_keys(town)
    keys.forget_cached_keys()
    with pytest.raises(KeyFault):
        crypto.open_cell(town, *PLACE, mine)
    with pytest.raises(KeyFault):
        crypto.seal_cell(town, *PLACE, b"again")
    assert crypto.open_cell(other_town, *PLACE, theirs) == b"theirs"


@pytest.mark.django_db(transaction=True)
def test_cache__after_a_rolled_back_rotation__holds_no_phantom(town):
    current = keys.data_key(town, KeyPurpose.CELLS)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        keys.rotate_data_key(town, KeyPurpose.CELLS)
        assert keys.data_key(town, KeyPurpose.CELLS).version == 2
        raise ZeroDivisionError
    assert keys.data_key(town, KeyPurpose.CELLS) == current


@pytest.mark.django_db(transaction=True)
def test_cache__of_a_settled_town__asks_the_database_once(town, django_assert_num_queries):
    keys.data_key(town, KeyPurpose.CELLS)
    with django_assert_num_queries(0):
        keys.data_key(town, KeyPurpose.CELLS)


def test_data_key__shown__hides_its_secret(town):
    key = keys.data_key(town, KeyPurpose.CELLS)
    assert key.secret.hex() not in repr(key)
    assert repr(key.secret) not in repr(key)


def test_data_key__of_a_town_without_keys__raises(db):
    with pytest.raises(KeyFault):
        keys.data_key("999954", KeyPurpose.CELLS)


def test_key_file__made_twice__keeps_the_first(tmp_path):
    path = tmp_path / "keys" / "provider.key"
    first = key_provider_file.FileKeyProvider.create(path)
    second = key_provider_file.FileKeyProvider.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.key_id == second.key_id


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("00" * 32, 0o640),
        ("00" * 31, 0o600),
        ("zz" * 32, 0o600),
        ("", 0o600),
    ],
)
def test_key_file__open_to_others_or_malformed__is_refused(tmp_path, text, mode):
    path = tmp_path / "provider.key"
    path.write_text(text)
    os.chmod(path, mode)
    with pytest.raises(KeyFault) as refused:
        key_provider_file.FileKeyProvider(path).key_id  # noqa: B018
    assert not text or text not in str(refused.value)
