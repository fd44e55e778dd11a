"""`restore --check`: a recovery package opens with its key, and every difference is told."""

import io
import zipfile
from datetime import datetime
from pathlib import Path

import pyrage
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl_contract.clock import JST
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.manifest import TransmissionManifest, describe_bytes, file_name
from bcl_contract.linkage.package import write_package
from bcl_contract.refusals import Refusal
from bcl_gateway.main import gateway as command
from bcl_gateway.restore import RecoveryReport, check_recovery_package

AT = datetime(2026, 11, 22, 20, 30, tzinfo=JST)


@pytest.fixture
def identity() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def key_file(tmp_path: Path, identity: pyrage.x25519.Identity) -> Path:
    path = tmp_path / "receiver.key"
    path.write_text(f"# 受取人の鍵\n{identity}\n", encoding="utf-8")
    return path


def clear_package() -> bytes:
    """A package of two tables with 3 and 0 rows."""
    files, entries = {}, []
    for file_id, rows in (("J06", 3), ("J02", 0)):
        columns = load_interface().files[file_id].columns
        header = ",".join(f'"{column.title_ja}"' for column in columns)
        line = ",".join('"x"' for _ in columns)
        content = "".join(f"{text}\r\n" for text in [header, *[line] * rows]).encode()
        name = file_name("999997", file_id, "full", 1, AT)
        files[name] = content
        entries.append(describe_bytes([content], name=name, file_id=file_id))
    manifest = TransmissionManifest(
        bundle_id="0123456789abcdef0123456789", municipality_code="999997",
        interface_version="1.0", lane="main", sequence=1, previous_sequence=0, mode="full",
        as_of=AT, created_at=AT, sender_system="bcl", files=entries,
    )  # fmt: skip
    target = io.BytesIO()
    write_package(target, manifest=manifest, files=files, sign=Ed25519PrivateKey.generate().sign)
    return target.getvalue()


def rewritten(package: bytes, change: dict[str, bytes | None]) -> bytes:
    """The same zip with other content under some names; None leaves a member out."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(package)) as old, zipfile.ZipFile(target, "w") as new:
        for name in [*old.namelist(), *(n for n in change if n not in old.namelist())]:
            content = change.get(name, b"" if name not in old.namelist() else old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target.getvalue()


@pytest.mark.requirement("R-032")
@pytest.mark.parametrize("encrypted", [True, False])
def test_restore__whole_package__counts_and_digests_agree(
    tmp_path: Path, identity, key_file: Path, encrypted: bool
) -> None:
    content = clear_package()
    path = tmp_path / "recovery.zip.age"
    path.write_bytes(pyrage.encrypt(content, [identity.to_public()]) if encrypted else content)
    report = check_recovery_package(path, key_file if encrypted else None)
    assert isinstance(report, RecoveryReport)
    assert (report.municipality_code, report.differences) == ("999997", 0)
    assert {file.file_id: file.rows for file in report.files} == {"J06": 3, "J02": 0}
    done = CliRunner().invoke(command, ["restore", "--check", str(path), "--key", str(key_file)])
    assert done.exit_code == 0 and "すべて一致しました" in done.output


@pytest.mark.requirement("R-032")
@pytest.mark.parametrize("what", ["row changed", "file missing", "file added"])
def test_restore__something_differs__is_counted_named_and_exits_3(
    tmp_path: Path, identity, key_file: Path, what: str
) -> None:
    package = clear_package()
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        name = next(n for n in archive.namelist() if "_J06_" in n)
        content = archive.read(name)
    change: dict[str, bytes | None] = {
        "row changed": {name: content.replace(b'"x"', b'"y"', 1)},
        "file missing": {name: None},
        "file added": {"extra.csv": b"x"},
    }[what]
    path = tmp_path / "recovery.zip.age"
    path.write_bytes(pyrage.encrypt(rewritten(package, change), [identity.to_public()]))
    report = check_recovery_package(path, key_file)
    assert isinstance(report, RecoveryReport) and report.differences == 1
    done = CliRunner().invoke(command, ["restore", "--check", str(path), "--key", str(key_file)])
    assert done.exit_code == 3 and "1件の不一致" in done.output


@pytest.mark.requirement("R-032")
def test_restore__wrong_key_cut_or_damaged_package__is_refused(
    tmp_path: Path, identity, key_file: Path
) -> None:
    sealed = pyrage.encrypt(clear_package(), [identity.to_public()])
    stranger = tmp_path / "stranger.key"
    stranger.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    damaged = bytearray(sealed)
    damaged[-40] ^= 1
    path = tmp_path / "recovery.zip.age"
    for content, key in (
        (sealed, stranger),
        (sealed, None),
        (sealed[: len(sealed) // 2], key_file),
        (bytes(damaged), key_file),
        (b"", key_file),
        (b"PK\x03\x04" + bytes(100), key_file),
    ):
        path.write_bytes(content)
        report = check_recovery_package(path, key)
        assert isinstance(report, Refusal) and report.code == "GATEWAY_RECOVERY_INVALID"
