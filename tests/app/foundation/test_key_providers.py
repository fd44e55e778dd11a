"""One contract for both key providers, and what is special to each (R-027)."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from bcl.config.env import read as read_settings
from bcl.foundation import keys, tenancy
from bcl.foundation.key_provider import AGENCY, KeyFault, KeyProviderAway, owner_of
from bcl.foundation.key_provider_file import FileKeyProvider
from bcl.foundation.key_provider_pkcs11 import Pkcs11KeyProvider, read_pin
from bcl.foundation.keys import KeyPurpose
from bcl.foundation.models import TownKey

SECRET, CONTEXT = b"k" * 32, b"bcl 999997 town key 1"
pytestmark = pytest.mark.requirement("R-027")


@pytest.fixture(params=["file", "pkcs11"])
def make_provider(request, tmp_path):
    """Makes providers over the same keys, as two processes would have them."""
    if request.param == "file":
        return lambda: FileKeyProvider.create(tmp_path / "keys" / "provider.key")
    token = request.getfixturevalue("token")
    return lambda: Pkcs11KeyProvider(token)


@pytest.fixture
def provider(make_provider):
    return make_provider()


# -- the contract --------------------------------------------------------------------------------


def test_wrapped_key__with_its_kek_and_context__opens_again_elsewhere(provider, make_provider):
    provider.check()
    kek = provider.create_kek("999997")
    wrapped = provider.wrap(kek, SECRET, context=CONTEXT)
    assert SECRET not in wrapped and len(wrapped) == 12 + 32 + 16
    assert make_provider().unwrap(kek, wrapped, context=CONTEXT) == SECRET
    assert provider.wrap(kek, SECRET, context=CONTEXT) != wrapped
    assert owner_of(kek) == "999997" and len(kek) <= 64


def test_wrapped_key__in_another_place__does_not_open(provider):
    kek, other = provider.create_kek("999997"), provider.create_kek("999989")
    wrapped = provider.wrap(kek, SECRET, context=CONTEXT)
    with pytest.raises(KeyFault):
        provider.unwrap(kek, wrapped, context=CONTEXT + b"1")
    with pytest.raises(KeyFault):
        provider.unwrap(other, wrapped, context=CONTEXT)


def test_wrapped_key__changed_or_cut__does_not_open(provider):
    kek = provider.create_kek("999997")
    wrapped = provider.wrap(kek, SECRET, context=CONTEXT)
    for position in (0, 11, 12, 30, len(wrapped) - 1):
        broken = bytearray(wrapped)
        broken[position] ^= 1
        with pytest.raises(KeyFault):
            provider.unwrap(kek, bytes(broken), context=CONTEXT)
    for length in (0, 5, 12, 28, len(wrapped) - 1):
        with pytest.raises(KeyFault):
            provider.unwrap(kek, wrapped[:length], context=CONTEXT)


def test_destroyed_kek__never_opens_again_in_any_process(provider, make_provider):
    other_process = make_provider()
    kek, kept = provider.create_kek("999997"), provider.create_kek("999997")
    wrapped = provider.wrap(kek, SECRET, context=CONTEXT)
    assert other_process.unwrap(kek, wrapped, context=CONTEXT) == SECRET
    assert provider.destroy_kek(kek) is True
    assert provider.destroy_kek(kek) is False
    for each in (provider, other_process):
        with pytest.raises(KeyFault):
            each.unwrap(kek, wrapped, context=CONTEXT)
        with pytest.raises(KeyFault):
            each.wrap(kek, SECRET, context=CONTEXT)
    assert kek not in provider.kek_ids("999997") and kept in provider.kek_ids("999997")


def test_keks__are_listed_by_owner(provider):
    mine, theirs = provider.create_kek("999997"), provider.create_kek("999971")
    agency = provider.create_kek(AGENCY)
    assert mine in provider.kek_ids("999997") and theirs not in provider.kek_ids("999997")
    assert {mine, theirs, agency} <= set(provider.kek_ids())
    assert provider.kek_ids(AGENCY) == [agency] or agency in provider.kek_ids(AGENCY)


@pytest.mark.parametrize("kek", ["", "../provider", "file-999997-zz", "pkcs11-999997-1", "x" * 64])
def test_kek_id__that_is_none__opens_nothing(provider, kek):
    with pytest.raises(KeyFault):
        provider.wrap(kek, SECRET, context=CONTEXT)
    with pytest.raises(KeyFault):
        provider.destroy_kek(kek)


@pytest.mark.parametrize("owner", ["", "99999", "999997-x", "../999"])
def test_kek__of_a_malformed_owner__is_refused(provider, owner):
    with pytest.raises(ValueError, match="belongs"):
        provider.create_kek(owner)


def test_provider__used_by_many_threads__answers_each(provider):
    kek = provider.create_kek("999997")
    wrong: list[object] = []

    def work(number: int) -> None:
        secret = bytes([number]) * 32
        for _ in range(10):
            wrapped = provider.wrap(kek, secret, context=b"%d" % number)
            if provider.unwrap(kek, wrapped, context=b"%d" % number) != secret:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _unwrap_in_child(provider, kek, wrapped, answer) -> None:
    try:
        answer.put(provider.unwrap(kek, wrapped, context=CONTEXT) == SECRET)
    except BaseException as fault:  # told to the parent
        answer.put(repr(fault))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_provider__after_a_fork__works_in_child_and_parent(provider):
    kek = provider.create_kek("999997")
    wrapped = provider.wrap(kek, SECRET, context=CONTEXT)
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=_unwrap_in_child, args=(provider, kek, wrapped, answer))
    child.start()
    assert answer.get(timeout=30) is True
    child.join(30)
    assert provider.unwrap(kek, wrapped, context=CONTEXT) == SECRET


# -- files ---------------------------------------------------------------------------------------


def test_file_provider__keeps_every_key_private_and_wrapped(tmp_path):
    provider = FileKeyProvider.create(tmp_path / "keys" / "provider.key")
    kek = provider.create_kek("999997")
    files = [path for path in (tmp_path / "keys").rglob("*") if path.is_file()]
    assert len(files) == 2
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    other = FileKeyProvider.create(tmp_path / "other" / "provider.key")
    folder = tmp_path / "other" / "provider.key.d"
    folder.mkdir()
    copied = folder / f"{kek}.kek"
    copied.write_bytes((tmp_path / "keys" / "provider.key.d" / f"{kek}.kek").read_bytes())
    copied.chmod(0o600)
    with pytest.raises(KeyFault):  # a KEK's file alone, without the master, is worth nothing
        other.wrap(kek, SECRET, context=CONTEXT)


@pytest.mark.requirement("R-034")
def test_key_files__with_any_bit_flipped__are_told_and_never_open_wrongly(tmp_path):
    path = tmp_path / "keys" / "provider.key"
    kek = FileKeyProvider.create(path).create_kek("999997")
    wrapped = FileKeyProvider(path).wrap(kek, SECRET, context=CONTEXT)
    for file in (path, path.parent / "provider.key.d" / f"{kek}.kek"):
        good = file.read_bytes()
        for position in range(len(good) * 8):
            bad = bytearray(good)
            bad[position // 8] ^= 1 << position % 8
            file.write_bytes(bytes(bad))
            try:
                opened = FileKeyProvider(path).unwrap(kek, wrapped, context=CONTEXT)
            except KeyFault:
                continue
            # "a" may become "A", a line's end a blank: the key is the same.
            assert opened == SECRET and bad.lower().split() == good.lower().split()
        file.write_bytes(good)
    assert FileKeyProvider(path).unwrap(kek, wrapped, context=CONTEXT) == SECRET


# -- token ---------------------------------------------------------------------------------------


def test_token__key__cannot_be_read_out(token):
    import pkcs11
    from pkcs11 import Attribute, ObjectClass

    provider = Pkcs11KeyProvider(token)
    kek = provider.create_kek("999997")

    def look(session):
        key = session.get_key(object_class=ObjectClass.SECRET_KEY, id=kek.encode())
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            key[Attribute.VALUE]
        return key[Attribute.NEVER_EXTRACTABLE] and key[Attribute.ALWAYS_SENSITIVE]

    assert provider._with_session(look)


# The library's own clean-up of the dead session complains where nobody can catch it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_token__whose_session_broke__is_opened_again(token):
    provider = Pkcs11KeyProvider(token)
    kek = provider.create_kek("999997")
    provider._session.close()
    wrapped = provider.wrap(kek, SECRET, context=CONTEXT)
    assert provider.unwrap(kek, wrapped, context=CONTEXT) == SECRET


@pytest.mark.parametrize(
    "change", [{"label": "no-such-token"}, {"module": "/nonexistent/module.so"}]
)
def test_token__that_is_away__is_told_in_japanese(token, change):
    with pytest.raises(KeyProviderAway, match="鍵装置") as told:
        Pkcs11KeyProvider(replace(token, **change)).check()
    assert "4817" not in str(told.value)


def test_token__with_a_wrong_pin__is_told_without_the_pin(token, tmp_path):
    pin_file = tmp_path / "pin"
    pin_file.write_text("9999-wrong")
    pin_file.chmod(0o600)
    # A process of its own: here another session has logged in to the token already.
    program = (
        "from pathlib import Path\n"
        "from bcl.foundation.key_provider import Token\n"
        "from bcl.foundation.key_provider_pkcs11 import Pkcs11KeyProvider\n"
        f"Pkcs11KeyProvider(Token(Path({str(token.module)!r}), {token.label!r}, 'k',"
        f" Path({str(pin_file)!r}))).check()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "暗証番号が違います" in done.stderr
    assert "9999-wrong" not in done.stderr + done.stdout


@pytest.mark.parametrize(("text", "mode"), [("1234", 0o640), ("", 0o600), (None, 0)])
@pytest.mark.requirement("R-176")
def test_pin_file__open_to_others_empty_or_absent__is_refused(tmp_path, text, mode):
    path = tmp_path / "pin"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(KeyProviderAway) as told:
        read_pin(path)
    assert not text or text not in str(told.value)


def test_pin__from_the_credential_directory__needs_no_setting(tmp_path):
    (tmp_path / "bcl-pkcs11-pin").write_text("2468\n")
    (tmp_path / "bcl-pkcs11-pin").chmod(0o400)
    module = {"BCL_PKCS11_MODULE": "/usr/lib/token.so", "BCL_STATE_DIR": str(tmp_path)}
    named = read_settings(module | {"CREDENTIALS_DIRECTORY": str(tmp_path)}).key_token
    assert named is not None and read_pin(named.pin_file) == "2468"
    bare = read_settings(module).key_token
    assert bare is not None and bare.pin_file is None
    with pytest.raises(KeyProviderAway):
        read_pin(bare.pin_file)


# -- a town on the token, and moving there ---------------------------------------------------------


@pytest.fixture
def on_token(token, settings):
    """New keys are made in the token from here on."""

    def switch() -> None:
        settings.BCL = replace(settings.BCL, key_provider="pkcs11", key_token=token)

    return switch


def test_town__moved_from_file_to_token__needs_the_file_no_more(town, on_token, settings, tmp_path):
    before = {purpose: keys.data_key(town, purpose).secret for purpose in KeyPurpose}
    on_token()
    keys.forget_cached_keys()
    assert {each: keys.data_key(town, each).secret for each in KeyPurpose} == before
    keys.rotate_town_key(town)  # the KEK of another provider is left behind
    with tenancy.scope(town):
        row = TownKey.objects.get(destroyed_at=None)
        assert row.provider_key_id.startswith("pkcs11-999997-")
    settings.BCL = replace(settings.BCL, key_file=tmp_path / "gone" / "provider.key")
    keys.forget_cached_keys()
    assert {each: keys.data_key(town, each).secret for each in KeyPurpose} == before


def test_town_key__rotated_within_its_provider__keeps_its_kek(town, on_token):
    def kek() -> str:
        with tenancy.scope(town):
            return TownKey.objects.get(destroyed_at=None).provider_key_id

    first = kek()
    keys.rotate_town_key(town)
    assert kek() == first
    keys.rotate_town_key(town, new_kek=True)
    assert kek() != first
