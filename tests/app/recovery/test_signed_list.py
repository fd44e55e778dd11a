"""The list of a package is signed by the agency: offline, with the fingerprint entered by hand."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl.foundation import agency_signing
from bcl.recovery import api as recovery
from bcl.recovery.adapters import release_area
from bcl.resident_store import api as store
from bcl_contract import recovery_signature

pytestmark = pytest.mark.django_db


@pytest.fixture
def signed(landed, town, ask, approve, second, run_jobs, tmp_path, receiver_key) -> Path:
    """A folder with a built package, opened (still a zip), and what lies beside it."""
    import pyrage

    export = ask()
    approve(export, second)
    run_jobs()
    export = recovery.find_export(town, export.pk)
    content = recovery.release_content(export.pk, export.package_sha256)
    folder = tmp_path / "out"
    recovery.release_export(
        town, export.pk, to=folder, signed=second.sign("release_export", content),
        at=export.built_at,
    )  # fmt: skip
    package = next(folder.glob("*.age"))
    (folder / "package.zip").write_bytes(pyrage.decrypt(package.read_bytes(), [receiver_key]))
    (folder / "receiver.key").write_text(str(receiver_key))
    return folder


def read(folder: Path, *words: str, package: str = "package.zip") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(folder / "reader.py"), str(folder / package), *words],
        capture_output=True, text=True, encoding="utf-8", check=False, timeout=120,
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def rewrite(folder: Path, change) -> None:
    """Write the package anew with other members; `change` gets and gives {name: bytes}."""
    with zipfile.ZipFile(folder / "package.zip") as package:
        members = change({name: package.read(name) for name in package.namelist()})
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as package:
        for name, content in members.items():
            package.writestr(name, content)
    (folder / "package.zip").write_bytes(target.getvalue())


@pytest.mark.requirement("R-032")
@pytest.mark.requirement("R-033")
def test_list__with_the_published_fingerprint__is_the_agencys(signed) -> None:
    _, public_key = agency_signing.current_public_key()
    fingerprint = recovery_signature.fingerprint(public_key)
    code, said = read(signed, "--check", "--signer", fingerprint.upper())
    assert code == 0, said
    assert f"署名者の指紋 {fingerprint}" in said and "すべて一致しました" in said
    package = next(signed.glob("*.age")).name
    code, said = read(signed, "--check", "--key", str(signed / "receiver.key"), package=package)
    assert code == 0 and fingerprint in said and "見比べて" in said
    # The whole key works too, without anything beside the package.
    (signed / "recovery.json").unlink()
    assert read(signed, "--signer", public_key.hex())[0] == 0
    assert read(signed, "--signer", fingerprint)[0] == 3
    (signed / "signature.py").unlink()
    assert read(signed, "--check")[0] == 0 and "signature.py" in read(signed, "--check")[1]
    assert read(signed, "--signer", public_key.hex())[0] == 3


@pytest.mark.requirement("R-032")
def test_list__one_changed_byte_anywhere__is_named(signed) -> None:
    original = (signed / "package.zip").read_bytes()
    with zipfile.ZipFile(signed / "package.zip") as package:
        names = package.namelist()
    assert {"datapackage.json", "datapackage.json.sig"} < set(names)
    for name in names:
        (signed / "package.zip").write_bytes(original)

        def change(members: dict[str, bytes], name: str = name) -> dict[str, bytes]:
            content = bytearray(members[name])
            place = content.index(b"2026") if name == "datapackage.json" else len(content) // 2
            content[place] ^= 1
            return members | {name: bytes(content)}

        rewrite(signed, change)
        code, said = read(signed, "--check")
        assert code == 3, (name, said)
        named = name.removesuffix(".sig")
        assert f"不一致 {named}" in said, said


@pytest.mark.requirement("R-032")
def test_list__signed_by_somebody_else__is_refused(signed) -> None:
    _, public_key = agency_signing.current_public_key()
    fingerprint = recovery_signature.fingerprint(public_key)
    stranger = Ed25519PrivateKey.generate()

    def forge(members: dict[str, bytes]) -> dict[str, bytes]:
        listed = members["datapackage.json"]
        return members | {"datapackage.json.sig": stranger.sign(listed)}

    rewrite(signed, forge)
    assert "不一致 datapackage.json" in read(signed, "--check")[1]
    # The forger's key in recovery.json as well: the fingerprint people know tells.
    beside = signed / "recovery.json"
    forged = stranger.public_key().public_bytes_raw()
    beside.write_text(beside.read_text().replace(public_key.hex(), forged.hex()))
    assert read(signed, "--signer", fingerprint)[0] == 3
    assert "入力した指紋と違います" in read(signed, "--signer", fingerprint)[1]
    rewrite(signed, lambda members: {k: v for k, v in members.items() if not k.endswith(".sig")})
    assert read(signed, "--signer", fingerprint)[0] == 3


def test_package__of_an_older_bcl__has_no_signature_and_still_opens(landed, town, tmp_path) -> None:
    with (tmp_path / "package.zip").open("wb") as target:
        store.write_recovery_zip(target, town, 2)
    release_area.add_companions(tmp_path, b"{}")
    code, said = read(tmp_path, "--check")
    assert code == 0 and "署名なし" in said, said
    (tmp_path / "recovery.json").write_bytes(b'{"package": ')
    assert read(tmp_path, "--check")[0] == 3  # damaged, and said so
