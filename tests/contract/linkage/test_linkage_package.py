"""Packages: what is written is read back, every trap is refused with its code."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from bcl_contract.linkage.package import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    OpenPackage,
    PackageFault,
    PackageLimits,
    TransmissionManifest,
    describe_bytes,
    file_name,
    open_package,
    write_package,
)
from bcl_contract.linkage.zip_structure import ZipFault, read_entries
from bcl_contract.linkage.zip_writer import ZipWriter
from bcl_contract.refusals import Refusal


@pytest.fixture
def whole(sample) -> bytes:
    return sample.package(
        {"J01": [sample.row("J01")], "S01": [sample.row("S01")], "S02": [sample.row("S02")]},
        {"seal/12345_1.png": sample.png()},
    )


def opened(data: bytes, sample, **options) -> OpenPackage | Refusal:
    options = {"verify_key": sample.key.public_key(), "expected_municipality": "999997"} | options
    return open_package(io.BytesIO(data), **options)


def code_of(data: bytes, sample, **options) -> str:
    result = opened(data, sample, **options)
    assert isinstance(result, Refusal), "the package was opened"
    return result.code


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(parts: dict[str, bytes], **options) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def resign(parts: dict[str, bytes], sample, manifest: bytes) -> bytes:
    signed = {MANIFEST_NAME: manifest, SIGNATURE_NAME: sample.key.sign(manifest)}
    return rezip(parts | signed)


@pytest.mark.requirement("R-010")
def test_open_package__a_written_package__gives_back_every_member(sample, whole):
    package = opened(whole, sample)
    assert isinstance(package, OpenPackage)
    with package:
        assert [entry.file_id for entry in package.manifest.tables] == ["J01", "S01", "S02"]
        assert [entry.rows for entry in package.manifest.files] == [1, 1, 1, 0]
        stored = members(whole)
        for entry in package.manifest.files:
            with package.open_member(entry.name) as member:
                assert member.read() == stored[entry.name]
        assert package.read_member("seal/12345_1.png") == sample.png()
        assert package.manifest_bytes == stored[MANIFEST_NAME]


def test_write_package__twice__gives_the_same_bytes(sample, whole):
    again = sample.package(
        {"J01": [sample.row("J01")], "S01": [sample.row("S01")], "S02": [sample.row("S02")]},
        {"seal/12345_1.png": sample.png()},
    )
    assert again == whole


def test_open_package__a_zip_of_another_tool__is_read_as_well(sample, whole):
    parts = members(whole)
    streamed = io.BytesIO()

    class Pipe(io.RawIOBase):  # not seekable: the library writes data descriptors
        def writable(self):
            return True

        def write(self, data):
            return streamed.write(data)

    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    for data in (rezip(parts), rezip(parts, compression=8), streamed.getvalue()):
        package = opened(data, sample)
        assert isinstance(package, OpenPackage)
        for entry in package.manifest.files:
            assert package.open_member(entry.name).read() == parts[entry.name]


@pytest.mark.requirement("R-010")
def test_frictionless__an_extracted_package__is_valid(sample, whole, tmp_path):
    frictionless = pytest.importorskip("frictionless")
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        archive.extractall(tmp_path)
    report = frictionless.validate(str(tmp_path / MANIFEST_NAME))
    assert report.valid, report.flatten(["type", "note"])
    assert {task.type for task in report.tasks} == {"table", "file"}


@pytest.mark.requirement("R-010")
@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("2020-04-01", "2020-04-31", "type-error"),
        ('"999997","000000000000001"', '"999997",""', "constraint-error"),
        ("宛名番号", "宛名", "incorrect-label"),
    ],
)
def test_frictionless__a_broken_table__is_found_by_the_published_schema(
    sample, whole, tmp_path, old, new, error
):
    frictionless = pytest.importorskip("frictionless")
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        archive.extractall(tmp_path)
    table = tmp_path / sample.name("J01")
    content = table.read_text("utf-8")
    assert old in content
    table.write_bytes(content.replace(old, new, 1).encode())
    report = frictionless.validate(str(tmp_path / MANIFEST_NAME))
    assert "hash-count" in {row[0] for row in report.flatten(["type"])}
    # Without its digest the schema alone must find it.
    manifest = json.loads((tmp_path / MANIFEST_NAME).read_text("utf-8"))
    for resource in manifest["resources"]:
        del resource["hash"], resource["bytes"]
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(manifest), "utf-8")
    report = frictionless.validate(str(tmp_path / MANIFEST_NAME))
    assert {row[0] for row in report.flatten(["type"])} == {error}


# --- signature, town, manifest -----------------------------------------------------------


@pytest.mark.requirement("R-002")
@pytest.mark.requirement("R-015")
def test_open_package__wrong_key_wrong_town_no_signature__each_has_its_code(sample, whole):
    stranger = Ed25519PrivateKey.generate().public_key()
    assert code_of(whole, sample, verify_key=stranger) == "TRANSMISSION_SIGNATURE_INVALID"
    town = code_of(whole, sample, expected_municipality="999989")
    assert town == "TRANSMISSION_WRONG_MUNICIPALITY"
    parts = members(whole)
    unsigned = rezip({n: d for n, d in parts.items() if n != SIGNATURE_NAME})
    assert code_of(unsigned, sample) == "TRANSMISSION_SIGNATURE_MISSING"
    assert isinstance(opened(unsigned, sample, verify_key=None), OpenPackage)
    short = rezip(parts | {SIGNATURE_NAME: parts[SIGNATURE_NAME][:63]})
    assert code_of(short, sample) == "TRANSMISSION_SIGNATURE_INVALID"
    edited = rezip(parts | {MANIFEST_NAME: parts[MANIFEST_NAME] + b" "})
    assert code_of(edited, sample) == "TRANSMISSION_SIGNATURE_INVALID"
    bare = rezip({n: d for n, d in parts.items() if n != MANIFEST_NAME})
    assert code_of(bare, sample) == "TRANSMISSION_MANIFEST_MISSING"


def edit(path: str, value: object):
    """Make a change of the manifest: `a.0.b` names the place."""

    def change(manifest: dict) -> None:
        place = manifest
        *steps, last = path.split(".")
        for step in steps:
            place = place[int(step)] if step.isdigit() else place[step]
        if value is None:
            del place[int(last) if last.isdigit() else last]
        else:
            place[int(last) if last.isdigit() else last] = value

    return change


@pytest.mark.requirement("R-021")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (edit("bcl", None), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("bcl.sequence", "1"), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("bcl.sequence", True), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("bcl.sequence", 0), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("bcl.previous_sequence", 5), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("bcl.lane", "express"), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("bcl.lane", "urgent"), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("bcl.mode", "differential"), "TRANSMISSION_FILE_NAME"),
        (edit("bcl.municipality_code", "999996"), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("bcl.municipality_code", "999989"), "TRANSMISSION_FILE_NAME"),
        (edit("bcl.interface_version", "9.0"), "TRANSMISSION_INTERFACE_VERSION"),
        (edit("bcl.interface_version", None), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("bcl.as_of", "2026-11-22T20:30:00"), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("bcl.extra", 1), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("bcl.files", []), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("resources", {}), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("resources.0.hash", "md5:00"), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("resources.0.bcl.rows", -1), "TRANSMISSION_MANIFEST_FIELDS"),
        (edit("resources.0.bcl.file_id", "J02"), "TRANSMISSION_FILE_NAME"),
        (edit("resources.0.bcl.file_id", "Z99"), "LINKAGE_FILE_UNKNOWN"),
        (edit("resources.0.bytes", 1), "TRANSMISSION_MANIFEST_FILES"),
        (edit("resources.0", None), "TRANSMISSION_MANIFEST_FILES"),
    ],
)
def test_open_package__a_signed_but_wrong_manifest__is_refused(sample, whole, change, code):
    parts = members(whole)
    manifest = json.loads(parts[MANIFEST_NAME])
    change(manifest)
    assert code_of(resign(parts, sample, json.dumps(manifest).encode()), sample) == code


@pytest.mark.parametrize(
    "manifest",
    [
        b'{"bcl":{},"bcl":{}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\\ud800"}',
        b"[" * 100 + b"]" * 100,
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"9" * 400 + b"}",
        b"\xff",
        b"",
    ],
    ids="doubled nan infinity surrogate deep trailing bom huge latin empty".split(),
)
def test_open_package__json_with_two_meanings__is_refused(sample, whole, manifest):
    data = resign(members(whole), sample, manifest)
    assert code_of(data, sample) == "TRANSMISSION_MANIFEST_JSON"


def test_manifest__urgent_lane_with_a_main_file__is_refused(sample):
    data = sample.package({"J01": []}, mode="differential", lane="urgent")
    assert code_of(data, sample) == "LINKAGE_URGENT_FILE"
    allowed = sample.package({"J04": []}, mode="differential", lane="urgent")
    assert isinstance(opened(allowed, sample), OpenPackage)


def test_open_package__only_header_lines__is_a_legal_heartbeat(sample):
    package = opened(sample.package({"J01": [], "J04": []}, mode="differential"), sample)
    assert isinstance(package, OpenPackage)
    assert [entry.rows for entry in package.manifest.files] == [0, 0]


def test_file_name__follows_the_interface(sample):
    assert file_name("999997", "J01", "full", 1, sample.at) == (
        "999997_J01_F_00000001_20261122203000.csv"
    )


# --- zip traps ---------------------------------------------------------------------------


def entry(name: bytes, data: bytes, **changes: int) -> dict:
    base = {
        "name": name, "local_name": name, "data": data, "crc": zlib.crc32(data), "method": 0,
        "flags": 0, "size": len(data), "packed": len(data), "attributes": 0, "made_by": 0x314,
        "extra": b"", "offset": None, "comment": b"", "local_size": len(data),
    }  # fmt: skip
    return base | changes


def build(entries: list[dict], *, prefix=b"", gap=b"", suffix=b"", comment=b"") -> bytes:
    """Write a zip by hand, so that every field can lie."""
    out, central, offsets = prefix, b"", []
    for e in entries:
        offsets.append(len(out))
        out += struct.pack(
            "<4s5H3I2H", b"PK\3\4", 20, e["flags"], e["method"], 0, 33, e["crc"], e["packed"],
            e["local_size"], len(e["local_name"]), 0,
        )  # fmt: skip
        out += e["local_name"] + e["data"] + gap
    start = len(out)
    for e, offset in zip(entries, offsets, strict=True):
        at = offset if e["offset"] is None else offsets[e["offset"]]
        central += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", e["made_by"], 20, e["flags"], e["method"], 0, 33, e["crc"],
            e["packed"], e["size"], len(e["name"]), len(e["extra"]), len(e["comment"]), 0, 0,
            e["attributes"], at,
        )  # fmt: skip
        central += e["name"] + e["extra"] + e["comment"]
    n = len(entries)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, n, n, len(central), start, len(comment))
    return out + central + end + comment + suffix


M, PNG = b"datapackage.json", b"seal/1_1.png"
BOMB = zlib.compressobj(9, wbits=-15)
BOMB_DATA = BOMB.compress(b"\0" * (64 << 20)) + BOMB.flush()

TRAPS = [
    ("parent", [entry(b"../evil.csv", b"x")], {}, "NAME"),
    ("backslash", [entry(b"..\\evil.csv", b"x")], {}, "NAME"),
    ("absolute", [entry(b"/etc/passwd", b"x")], {}, "NAME"),
    ("drive", [entry(b"C:\\evil", b"x")], {}, "NAME"),
    ("device", [entry(b"CON", b"x")], {}, "NAME"),
    ("nul", [entry(b"datapackage.json\0.csv", b"x")], {}, "NAME"),
    ("utf8", [entry("目録.json".encode(), b"x", flags=0x800)], {}, "NAME"),
    ("cp932", [entry("目録.json".encode("cp932"), b"x")], {}, "NAME"),
    ("seal-parent", [entry(b"seal/../1_1.png", b"x")], {}, "NAME"),
    ("nested", [entry(b"inner.zip", b"PK\3\4")], {}, "NAME"),
    ("folder", [entry(b"seal/", b"")], {}, "SPECIAL_FILE"),
    ("symlink", [entry(M, b"/etc/passwd", attributes=0o120777 << 16)], {}, "SPECIAL_FILE"),
    ("fifo", [entry(M, b"", attributes=0o010600 << 16)], {}, "SPECIAL_FILE"),
    ("dos-folder", [entry(M, b"", attributes=0x10)], {}, "SPECIAL_FILE"),
    ("doubled", [entry(M, b"{}"), entry(M, b"[]")], {}, "DUPLICATE"),
    ("doubled-case", [entry(b"seal/a_1.png", b"1"), entry(b"seal/A_1.png", b"2")], {}, "DUPLICATE"),
    ("overlap", [entry(M, b"{}"), entry(PNG, b"x", offset=0)], {}, "OVERLAP"),
    ("encrypted", [entry(M, b"{}", flags=1)], {}, "ENCRYPTED"),
    ("strong", [entry(M, b"{}", flags=0x41)], {}, "ENCRYPTED"),
    ("aes", [entry(M, b"{}", method=99)], {}, "ENCRYPTED"),
    ("deflate64", [entry(M, b"{}", method=9)], {}, "METHOD"),
    ("bzip2", [entry(M, b"{}", method=12)], {}, "METHOD"),
    ("stored-descriptor", [entry(M, b"{}", flags=8)], {}, "METHOD"),
    ("bomb", [entry(M, BOMB_DATA, method=8, size=64 << 20, local_size=64 << 20,
                    crc=zlib.crc32(b"\0" * (64 << 20)))], {}, "RATIO"),
    ("prefix", [entry(M, b"{}")], {"prefix": b"MZ\0\0"}, "EXTRA_BYTES"),
    ("suffix", [entry(M, b"{}")], {"suffix": b"junk"}, "EXTRA_BYTES"),
    ("gap", [entry(M, b"{}"), entry(PNG, b"x")], {"gap": b"hidden"}, "EXTRA_BYTES"),
    ("comment", [entry(M, b"{}")], {"comment": b"hello"}, "EXTRA_BYTES"),
    ("entry-comment", [entry(M, b"{}", comment=b"hi")], {}, "EXTRA_BYTES"),
    ("local-name", [entry(M, b"{}", local_name=b"datapackage.jsoN")], {}, "HEADERS_DIFFER"),
    ("local-size", [entry(M, b"{}", local_size=9)], {}, "HEADERS_DIFFER"),
    ("stored-size", [entry(M, b"{}", size=5, local_size=5)], {}, "INVALID"),
    ("unicode-path", [entry(M, b"{}", extra=struct.pack("<2H", 0x7075, 5) + b"\1evil")], {},
     "INVALID"),
    ("zip64-lie", [entry(M, b"{}", extra=struct.pack("<2HQ", 1, 8, 9))], {}, "INVALID"),
]  # fmt: skip


@pytest.mark.requirement("R-015")
@pytest.mark.parametrize(
    ("entries", "options", "code"), [t[1:] for t in TRAPS], ids=[t[0] for t in TRAPS]
)
def test_open_package__a_zip_trap__is_refused_before_inflating(sample, entries, options, code):
    assert code_of(build(entries, **options), sample) == f"TRANSMISSION_ZIP_{code}"


def test_read_entries__the_hand_made_zip_without_a_lie__is_accepted():
    """The control of the traps: the writer itself is not what is refused."""
    data = build([entry(M, b"{}"), entry(PNG, b"x")])
    assert list(read_entries(io.BytesIO(data), PackageLimits())) == [M.decode(), PNG.decode()]


def test_open_package__limits__are_judged_by_the_directory_alone(sample):
    many = build([entry(f"seal/{n}_1.png".encode(), b"x") for n in range(20)])
    limits = PackageLimits(members=10)
    assert code_of(many, sample, limits=limits) == "TRANSMISSION_ZIP_COUNT"
    limits = PackageLimits(inflated_bytes=10)
    assert code_of(many, sample, limits=limits) == "TRANSMISSION_TOO_LARGE"
    limits = PackageLimits(zip_bytes=100)
    assert code_of(many, sample, limits=limits) == "TRANSMISSION_TOO_LARGE"


@pytest.mark.requirement("R-015")
def test_open_package__cut_at_any_place__is_refused(sample, whole):
    for length in [*range(0, 80), *range(80, len(whole), 97), len(whole) - 1]:
        assert code_of(whole[:length], sample).startswith("TRANSMISSION_ZIP_")


@pytest.mark.requirement("R-015")
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_open_package__one_byte_changed__never_passes_unseen(sample, data):
    """Structure, signature or digest finds it; fields that mean nothing may differ."""
    whole = sample.package(
        {"J01": [sample.row("J01")], "S02": [sample.row("S02")]},
        {"seal/12345_1.png": sample.png()},
    )
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    original = members(whole)
    package = opened(bytes(changed), sample)
    if isinstance(package, Refusal):
        return
    try:
        content = {e.name: package.open_member(e.name).read() for e in package.manifest.files}
    except PackageFault:
        return
    assert content == {n: d for n, d in original.items() if not n.startswith("datapackage")}
    assert package.manifest_bytes == original[MANIFEST_NAME]


@pytest.mark.requirement("R-015")
@pytest.mark.requirement("R-021")
def test_open_member__content_differs_from_the_manifest__raises_at_its_end(sample, whole):
    parts = members(whole)
    name = sample.name("J01")
    parts[name] = parts[name].replace("甲野".encode(), "乙野".encode())
    package = opened(rezip(parts, compression=8), sample)
    assert isinstance(package, OpenPackage)
    with pytest.raises(PackageFault) as caught:
        package.open_member(name).read()
    assert caught.value.as_refusal().code == "TRANSMISSION_DIGEST"


def test_write_package__content_differs_from_the_manifest__raises(sample):
    described = describe_bytes([b"a\r\n"], name=sample.name("J07"), file_id="J07")
    manifest = TransmissionManifest(
        bundle_id="01JD0000000000000000000000", municipality_code="999997",
        interface_version="1.0", lane="main", sequence=1, previous_sequence=0, mode="full",
        as_of=sample.at, created_at=sample.at, sender_system="x", files=[described],
    )  # fmt: skip
    with pytest.raises(PackageFault):
        write_package(
            io.BytesIO(), manifest=manifest, files={described.name: b"b\r\n"}, sign=sample.key.sign
        )
    with pytest.raises(ValueError, match="files"):
        write_package(io.BytesIO(), manifest=manifest, files={}, sign=sample.key.sign)


@pytest.mark.parametrize("announced", [100_002, 5 << 30])
def test_zip_writer__every_reader__agrees(announced):
    """Announced as larger than 4 GiB, the member gets 64-bit sizes."""
    target = io.BytesIO()
    with ZipWriter(target) as writer:
        writer.write(M.decode(), [b"ab", b"", b"c" * 100_000], size=announced)
        writer.write(PNG.decode(), [b"xyz"], size=3, stored=True)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert archive.read(M.decode()) == b"ab" + b"c" * 100_000
    entries = read_entries(target, PackageLimits())
    assert [e.inflated_bytes for e in entries.values()] == [100_002, 3]


def test_zip_writer__more_members_than_16_bits_count__every_reader_agrees():
    target = io.BytesIO()
    with ZipWriter(target) as writer:
        for number in range(66_000):
            writer.write(f"seal/{number}_1.png", [b"x"], size=1, stored=True)
    entries = read_entries(target, PackageLimits())
    assert len(entries) == 66_000
    with zipfile.ZipFile(target) as archive:
        assert len(archive.namelist()) == 66_000
        assert archive.read("seal/65999_1.png") == b"x"


VECTORS = Path(os.environ.get("BCL_VECTORS", "/nonexistent")) / "zip_yauzl" / "test"


@pytest.mark.skipif(not VECTORS.is_dir(), reason="BCL_VECTORS is not set")
@pytest.mark.parametrize("kind", ["failure", "success"])
def test_read_entries__the_yauzl_vectors__are_all_refused(kind):
    """Failures break a rule of zip; successes hold names no transmission may hold."""
    paths = sorted((VECTORS / kind).glob("**/*.zip"))
    assert len(paths) >= 10
    for path in paths:
        try:
            entries = read_entries(io.BytesIO(path.read_bytes()), PackageLimits())
        except ZipFault as fault:
            assert fault.code.startswith("TRANSMISSION_")
            continue
        assert kind == "success", path.name
        assert entries == {}, path.name
