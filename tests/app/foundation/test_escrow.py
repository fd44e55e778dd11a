"""Escrow of town keys: m of n custodians open a town without its provider (R-033, D13)."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pyrage
import pytest

from bcl.foundation import crypto, escrow, keys, tenancy
from bcl.foundation.keys import KeyFault
from bcl.foundation.models import TownKey
from bcl_contract.refusals import Refusal

PLACE = ("municipalities_staffmember", "note", 7)
pytestmark = pytest.mark.requirement("R-033")


@pytest.fixture(scope="module")
def custodians() -> list[pyrage.x25519.Identity]:
    return [pyrage.x25519.Identity.generate() for _ in range(3)]


def public(identities) -> list[str]:
    return [str(each.to_public()) for each in identities]


@pytest.fixture
def package(town, custodians):
    made = escrow.create_escrow(town, custodians=public(custodians), threshold=2, by="staff-a")
    assert isinstance(made, escrow.EscrowPackage)
    return made


@pytest.fixture
def provider_lost(settings, tmp_path):
    """The key file is gone and an empty new one stands in its place."""

    def lose() -> None:
        settings.BCL = replace(settings.BCL, key_file=tmp_path / "new" / "provider.key")
        keys.provider()
        keys.forget_cached_keys()

    return lose


def test_escrow__with_every_two_of_three__opens_the_town_without_its_provider(
    town, package, custodians, provider_lost
):
    sealed = crypto.seal_cell(town, *PLACE, "住民".encode())
    provider_lost()
    with pytest.raises(KeyFault):
        crypto.open_cell(town, *PLACE, sealed)
    for chosen in itertools.combinations(custodians, 2):
        opened = escrow.open_escrow(package.content, [str(each) for each in chosen])
        with escrow.use(opened):
            assert crypto.open_cell(town, *PLACE, sealed) == "住民".encode()
        with pytest.raises(KeyFault):  # nothing of it stays in memory
            crypto.open_cell(town, *PLACE, sealed)


def test_escrow__with_all_three_in_any_order__opens(package, custodians):
    for order in itertools.permutations(custodians):
        opened = escrow.open_escrow(package.content, [str(each) for each in order])
        assert isinstance(opened, escrow.OpenedTownKey)


def test_escrow__with_one_of_three__stays_closed(package, custodians):
    stranger = pyrage.x25519.Identity.generate()
    for each in custodians:
        for given in ([each], [each, each], [each, stranger]):
            answer = escrow.open_escrow(package.content, [str(one) for one in given])
            assert isinstance(answer, Refusal) and answer.code == "KEY_ESCROW_TOO_FEW"


def test_escrow__one_custodian_with_the_file_by_hand__gets_through_one_layer_only(
    package, custodians
):
    from base64 import b64decode

    content = json.loads(package.content)
    for sealed in content["sets"].values():
        for each in custodians:
            try:
                inner = pyrage.decrypt(b64decode(sealed), [each])
            except pyrage.DecryptError:
                continue
            assert b"key" not in inner and inner.startswith(b"age-encryption.org/v1")
            with pytest.raises(pyrage.DecryptError):
                pyrage.decrypt(inner, [each])


def test_escrow__restored__works_for_every_process_and_makes_the_old_one_void(
    town, package, custodians, provider_lost
):
    sealed = crypto.seal_cell(town, *PLACE, b"clear")
    provider_lost()
    opened = escrow.open_escrow(package.content, [str(each) for each in custodians[1:]])
    version = escrow.restore(opened)
    keys.forget_cached_keys()
    assert crypto.open_cell(town, *PLACE, sealed) == b"clear"
    assert version == package.town_key_version + 1
    with tenancy.scope(town):
        assert TownKey.objects.get(destroyed_at=None).version == version
    with pytest.raises(KeyFault):
        escrow.restore(opened)


def test_escrow__of_a_rotated_key__no_longer_opens_the_town(
    town, package, custodians, provider_lost
):
    sealed = crypto.seal_cell(town, *PLACE, b"clear")
    keys.rotate_town_key(town)
    fresh = escrow.create_escrow(town, custodians=public(custodians), threshold=2, by="staff-a")
    assert escrow.retire_escrows(town, keep_version=2) == [package.sha256]
    provider_lost()
    identities = [str(each) for each in custodians]
    with escrow.use(escrow.open_escrow(package.content, identities)), pytest.raises(KeyFault):
        crypto.open_cell(town, *PLACE, sealed)
    with escrow.use(escrow.open_escrow(fresh.content, identities)):
        assert crypto.open_cell(town, *PLACE, sealed) == b"clear"


def test_escrow__of_a_wrong_key__is_not_put_to_use(town):
    forged = escrow.OpenedTownKey(town, 1, b"x" * 32)
    with pytest.raises(KeyFault):
        escrow.restore(forged)
    assert "120" not in repr(forged) and "xxx" not in repr(forged)


def test_escrow__package__is_not_in_the_database_and_shows_no_key(town, package):
    with tenancy.scope(town):
        _, secret = keys.town_key_for_escrow(town)
    assert secret.hex().encode() not in package.content
    [row] = escrow.list_escrows(town)
    assert row.package_sha256 == package.sha256 and row.threshold == 2
    assert not any(isinstance(value, bytes | memoryview) for value in vars(row).values())


@pytest.mark.parametrize("threshold", [0, 4, -1])
def test_escrow__with_an_impossible_threshold__is_refused(town, custodians, threshold):
    answer = escrow.create_escrow(
        town, custodians=public(custodians), threshold=threshold, by="staff-a"
    )
    assert isinstance(answer, Refusal) and answer.code == "KEY_ESCROW_CUSTODIANS"


def test_escrow__to_the_same_custodian_twice_or_to_nobody__is_refused(town, custodians):
    one = public(custodians)[0]
    for listed in ([one, one], ["age1nonsense"], [], [str(custodians[0])]):
        answer = escrow.create_escrow(town, custodians=listed, threshold=1, by="staff-a")
        assert isinstance(answer, Refusal) and answer.code == "KEY_ESCROW_CUSTODIANS"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: b"[]",
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"bcl-key-escrow-1", b"bcl-key-escrow-9"),
        lambda content: content.replace(b'"sets": {', b'"sots": {'),
        lambda content: json.dumps(
            json.loads(content)
            | {"sets": dict.fromkeys(json.loads(content)["sets"], "AAAA")}
        ).encode(),
    ],
)
def test_escrow__spoiled__is_refused_without_a_trace(package, custodians, spoil):
    answer = escrow.open_escrow(spoil(package.content), [str(each) for each in custodians])
    assert isinstance(answer, Refusal) and answer.code == "KEY_ESCROW_UNREADABLE"


def test_escrow__with_no_key_file_at_all__is_refused(package):
    answer = escrow.open_escrow(package.content, ["# no key here"])
    assert isinstance(answer, Refusal) and answer.code == "KEY_ESCROW_UNREADABLE"
