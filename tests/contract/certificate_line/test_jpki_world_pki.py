"""The certificates of a world's machines: private, complete, the same when made again."""

import subprocess
import sys
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from bcl_contract import clock
from bcl_sim.pki import make_world_pki

TOWNS = ("999997", "999989")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_world__made_twice_and_with_one_more_town__keeps_what_is_there(tmp_path):
    at = clock.now()
    make_world_pki(tmp_path, TOWNS, at)
    first = contents(tmp_path)
    make_world_pki(tmp_path, TOWNS, at + timedelta(days=30))
    assert contents(tmp_path) == first
    world = make_world_pki(tmp_path, ["999971"], at)
    later = contents(tmp_path)
    assert {name: later[name] for name in first} == first
    assert world.gateway("999971").cert_path.name in later
    assert world.gateway_signing("999971").public().verify(
        world.gateway_signing("999971").private().sign(b"x"), b"x"
    ) is None  # fmt: skip


def test_world__every_file__is_for_its_owner_only(tmp_path):
    make_world_pki(tmp_path / "pki", TOWNS, clock.now())
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "pki").iterdir()}
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "pki").stat().st_mode & 0o777 == 0o700


@pytest.mark.requirement("R-004")
def test_gateway__of_each_town__names_its_town_and_nothing_else(world, tmp_path):
    own = make_world_pki(tmp_path, TOWNS, clock.now())
    keys = set()
    for code in TOWNS:
        cert = own.gateway(code).cert()
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [name.value for name in names] == [f"urn:bcl:municipality:{code}"]
        usage = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
        assert cert.public_key() == own.gateway(code).key().public_key()
        keys.add(own.gateway_signing(code).public().public_bytes_raw())
    assert len(keys) == len(TOWNS)


def test_world__checked_by_openssl__each_leaf_is_good_under_its_own_authority_only(world):
    pairs = [
        (world.wire_server, world.bcl_ca, world.center_ca, "sslserver"),
        (world.gateway("999997"), world.bcl_ca, world.center_ca, "sslclient"),
        (world.center_server, world.center_ca, world.bcl_ca, "sslserver"),
        (world.center_client, world.center_ca, world.bcl_ca, "sslclient"),
        (world.kiosk(1), world.center_ca, world.bcl_ca, "sslclient"),
    ]
    for leaf, authority, stranger, purpose in pairs:
        for ca, code in ((authority, 0), (stranger, 2)):
            done = subprocess.run(
                ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile",
                 ca.cert_path, leaf.cert_path], capture_output=True,
            )  # fmt: skip
            assert done.returncode == code, done.stderr


def test_world__two_makers_at_once__agree(tmp_path):
    program = (
        "import sys; from bcl_contract import clock; from bcl_sim.pki import make_world_pki\n"
        "world = make_world_pki(sys.argv[1], ['999997'], clock.now())\n"
        "print(world.wire_server.cert().serial_number, world.kiosk(2).cert().serial_number)\n"
    )
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = {maker.communicate(timeout=60)[0] for maker in makers}
    assert [maker.returncode for maker in makers] == [0, 0]
    assert len(said) == 1


def test_world__time_without_zone__is_a_fault(tmp_path):
    with pytest.raises(ValueError, match="time zone"):
        make_world_pki(tmp_path, TOWNS, datetime(2026, 11, 22))  # noqa: DTZ001
