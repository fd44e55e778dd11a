"""Bad input through the real door: raw HTTP, CSV, JSON and zip, each refused by its own code.

The same inputs are judged one by one where they are read (tests/contract/linkage, tests/app/
linkage); here the whole way is walked, signed and over TLS, and afterwards nothing is left: no
load, no file, no server that stumbles. The table follows what a transmission can be made of.
"""

import csv
import hashlib
import io
import json
import socket
import ssl
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.package import MANIFEST_NAME, SIGNATURE_NAME
from bcl_contract.refusals import REFUSALS
from bcl_gateway.connection import WireConnection
from bcl_gateway.tus_client import create_upload, send_rest

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def sender(make_hall_of_module) -> "Sender":
    return Sender(make_hall_of_module())


class Sender:
    """A registered gateway that sends what it should not, signed with its genuine key."""

    def __init__(self, hall: Any) -> None:
        self.hall = hall
        hall.export()
        self.gateway = hall.gateway()
        self.package, _, _ = hall.sealed(self.gateway)
        with zipfile.ZipFile(io.BytesIO(self.package)) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}
        self.key = hall.door.pki.gateway_signing(hall.code).private()
        self.sent = 0

    def table(self, file_id: str = "J01") -> str:
        return next(name for name in self.members if f"_{file_id}_" in name)

    def packed(self, members: Members) -> bytes:
        """A plain zip of the members."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
        return out.getvalue()

    def signed(self, manifest: dict[str, Any] | bytes, members: Members) -> bytes:
        data = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        rest = {n: d for n, d in members.items() if n not in (MANIFEST_NAME, SIGNATURE_NAME)}
        return self.packed({MANIFEST_NAME: data, SIGNATURE_NAME: self.key.sign(data)} | rest)

    def manifest(self) -> tuple[dict[str, Any], str]:
        """The manifest under a bundle id of its own, so that nothing counts as sent before."""
        self.sent += 1
        manifest = json.loads(self.members[MANIFEST_NAME])
        bundle = f"00000000-0000-4000-8000-{self.sent:012d}"
        manifest["bcl"]["bundle_id"] = bundle
        return manifest, bundle

    def with_table(self, data: bytes, *, file_id: str = "J01") -> tuple[bytes, str]:
        """A genuine package in which one table holds other bytes, and the manifest says so."""
        manifest, bundle = self.manifest()
        name = self.table(file_id)
        for resource in manifest["resources"]:
            if resource["path"] == name:
                resource["bytes"] = len(data)
                resource["hash"] = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return self.signed(manifest, self.members | {name: data}), bundle

    def judge(self, content: bytes, bundle: str) -> tuple[str, str, set[str]]:
        """Send it and let BCL judge; (state, refusal code, codes of findings)."""
        with WireConnection(self.gateway.config) as line:
            url = create_upload(line, length=len(content), bundle_id=bundle, filename="bad")
            send_rest(
                line, url, io.BytesIO(content), offset=0, length=len(content),
                chunk_bytes=1 << 20, report=lambda _: None,
            )  # fmt: skip
        self.hall.work()
        with self.hall.door.database():
            from bcl.foundation import tenancy
            from bcl.linkage.models import Transmission

            with tenancy.scope(self.hall.code):
                kept = Transmission.objects.get(bundle_id=bundle)
                codes = set(kept.findings.values_list("code", flat=True))
        return kept.state, kept.refusal_code, codes

    def nothing_is_left(self) -> None:
        with self.hall.door.database():
            from bcl.foundation import jobs
            from bcl.linkage import settings as intake_settings
            from bcl.resident_store import api as store

            assert store.applied_position(self.hall.code).load_number == 0
            assert list(intake_settings.receive_area().stored_uploads(self.hall.code)) == []
            assert jobs.failed_count() == 0


@pytest.fixture(autouse=True)
def _nothing_left(sender: Sender) -> Iterator[None]:
    yield
    sender.nothing_is_left()


# --- CSV ---------------------------------------------------------------------------------------


def cell(name: str, value: str) -> Callable[[bytes], bytes]:
    """One value of the first row is another."""
    column = load_interface("1.0").files["J01"].columns
    at = next(index for index, one in enumerate(column) if one.name == name)

    def change(data: bytes) -> bytes:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))
        rows[1][at] = value
        out = io.StringIO(newline="")
        csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
        return out.getvalue().encode("utf-8", "surrogatepass")

    return change


def lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda data: b"\r\n".join(change(data.rstrip(b"\r\n").split(b"\r\n"))) + b"\r\n"


def text(value: str) -> Callable[[bytes], bytes]:
    """The full name of the first person is this."""
    return cell("full_name", value)


CSV: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "utf-16": (lambda d: d.decode().encode("utf-16"), "LINKAGE_UTF16"),
    "cp932": (lambda d: d.decode().encode("cp932", "replace"), "LINKAGE_CP932"),
    "overlong": (lambda d: d.replace("市".encode(), b"\xc0\xaf", 1), "LINKAGE_ENCODING"),
    "surrogate": (text("\ud800"), "LINKAGE_ENCODING"),
    "cesu-8": (text("\ud842\udfb7"), "LINKAGE_ENCODING"),
    "nul": (text("山\0田"), "LINKAGE_NUL"),
    "private use": (text("山\ue000田"), "LINKAGE_CHARACTER"),
    "bidi override": (text("山\u202e田"), "LINKAGE_CHARACTER"),
    "zero width": (text("山\u200b田"), "LINKAGE_CHARACTER"),
    "bom inside": (text("山\ufeff田"), "LINKAGE_CHARACTER"),
    "lone selector": (text("\U000e0100田"), "LINKAGE_CHARACTER"),
    "control": (text("山\x07田"), "LINKAGE_CHARACTER"),
    "empty": (lambda d: b"", "LINKAGE_HEADER_MISSING"),
    "no header": (lines(lambda rows: rows[1:]), "LINKAGE_HEADER_MISSING"),
    "no columns": (lambda d: b"\r\n" + d, "LINKAGE_HEADER_MISSING"),
    "shifted columns": (
        lines(lambda rows: [rows[0], rows[1].replace(b'",', b'","",', 1), *rows[2:]]),
        "LINKAGE_COLUMN_COUNT",
    ),
    "trailing comma": (
        lines(lambda rows: [rows[0], rows[1] + b",", *rows[2:]]), "LINKAGE_COLUMN_COUNT",
    ),
    "a million columns": (
        lines(lambda rows: [rows[0], b",".join([b'""'] * 1_000_000), *rows[2:]]), "LINKAGE_",
    ),
    "blank line": (lines(lambda rows: [rows[0], b"", *rows[1:]]), "LINKAGE_BLANK_LINE"),
    "cr only": (lambda d: d.replace(b"\r\n", b"\r"), "LINKAGE_CR_ONLY"),
    "line end in quotes": (text("山\n田"), "LINKAGE_NEWLINE_IN_VALUE"),
    "text after quote": (
        lambda d: d.replace(b'"\r\n', b'"x\r\n', 2), "LINKAGE_",
    ),
    "unclosed quote": (lambda d: d.rstrip(b'"\r\n'), "LINKAGE_"),
    "truncated": (lambda d: d[: len(d) * 2 // 3], "LINKAGE_"),
    "huge field": (text("山" * 5_000_000), "LINKAGE_ROW_TOO_LONG"),
    "row count differs": (lines(lambda rows: rows[:-1]), "TRANSMISSION_CONTROL_TOTALS"),
    "key doubled": (lines(lambda rows: [*rows[:-1], rows[1]]), "LINKAGE_KEY_DUPLICATE"),
    "other town": (cell("municipality_code", "011002"), "LINKAGE_WRONG_MUNICIPALITY"),
    "date of zeros": (cell("born_on", "0000-00-00"), "LINKAGE_DATE_PLACEHOLDER"),
    "date that is none": (cell("born_on", "2023-02-29"), "LINKAGE_DATE"),
    "date in words": (cell("born_on", "令和元年1月"), "LINKAGE_DATE"),
    "exponent": (cell("household_number", "1e5"), "LINKAGE_"),
    "not a number": (cell("household_number", "NaN"), "LINKAGE_"),
    "full-width digits": (cell("household_number", "１" * 15), "LINKAGE_TYPE"),
    "unknown code": (cell("sex", "8"), "LINKAGE_CODE"),
    "flag": (cell("latest", "Y"), "LINKAGE_FLAG"),
}  # fmt: skip


@pytest.mark.requirement("R-010")
@pytest.mark.requirement("R-015")
@pytest.mark.parametrize("case", CSV)
def test_csv__bad__is_rejected_with_its_finding_and_nothing_lands(
    sender: Sender, case: str
) -> None:
    change, code = CSV[case]
    original = sender.members[sender.table()]
    data = change(original)
    assert data != original
    state, refusal, codes = sender.judge(*sender.with_table(data))
    assert state == "REJECTED", codes
    if code.startswith("TRANSMISSION_"):
        assert refusal == code, codes
        return
    assert any(found.startswith(code) for found in codes), codes
    severities = {REFUSALS[found].severity for found in codes}
    fatal = "TRANSMISSION_CONTENT_INVALID"
    assert refusal == (fatal if "fatal" in severities else "TRANSMISSION_ROW_ERRORS"), codes


# --- JSON --------------------------------------------------------------------------------------


JSON: dict[str, Callable[[bytes], bytes]] = {
    "doubled name": lambda d: d.replace(b'{"', b'{"bcl": {}, "', 1),
    "proto": lambda d: d.replace(b'"bcl": {', b'"bcl": {"__proto__": {}, ', 1),
    "nan": lambda d: d.replace(b'"sequence": 1', b'"sequence": NaN', 1),
    "infinity": lambda d: d.replace(b'"sequence": 1', b'"sequence": -Infinity', 1),
    "beyond doubles": lambda d: d.replace(b'"sequence": 1', b'"sequence": 9007199254740993', 1),
    "a million digits": lambda d: d.replace(
        b'"sequence": 1', b'"sequence": ' + b"9" * 1_000_000, 1
    ),
    "deep": lambda d: d[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "lone surrogate": lambda d: d[:-1] + b', "x": "\\ud800"}',
    "bom": lambda d: b"\xef\xbb\xbf" + d,
    "trailing": lambda d: d + b"{}",
    "cut": lambda d: d[:-1],
    "utf-16": lambda d: d.decode().encode("utf-16"),
    "text for number": lambda d: d.replace(b'"sequence": 1', b'"sequence": "1"', 1),
    "true for number": lambda d: d.replace(b'"sequence": 1', b'"sequence": true', 1),
    "unknown version": lambda d: d.replace(b'"interface_version": "1.0"',
                                           b'"interface_version": "9.9"', 1),
    "upper-case digest": lambda d: d.replace(b'"sha256:', b'"SHA256:', 1),
    "two towns": lambda d: d.replace(b'"municipality_code": "', b'"municipality_code": "9', 1),
}  # fmt: skip


@pytest.mark.requirement("R-015")
@pytest.mark.requirement("R-021")
@pytest.mark.parametrize("case", JSON)
def test_manifest__bad_json_well_signed__is_rejected(sender: Sender, case: str) -> None:
    manifest, bundle = sender.manifest()
    data = json.dumps(manifest).encode()
    changed = JSON[case](data)
    assert changed != data
    state, refusal, _ = sender.judge(sender.signed(changed, sender.members), bundle)
    assert state == "REJECTED"
    assert refusal.startswith("TRANSMISSION_"), refusal


# --- zip ---------------------------------------------------------------------------------------


def lying(name: bytes, data: bytes, **lies: int) -> bytes:
    """A zip of one member whose headers may lie."""
    f = {"size": len(data), "local_size": len(data), "crc": zlib.crc32(data), "method": 0,
         "flags": 0, "attributes": 0, "disk": 0, "entries": 1} | lies  # fmt: skip
    local = struct.pack(
        "<4s5H3I2H", b"PK\3\4", 20, f["flags"], f["method"], 0, 33, f["crc"], len(data),
        f["local_size"], len(name), 0,
    )  # fmt: skip
    central = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 0x314, 20, f["flags"], f["method"], 0, 33, f["crc"], len(data),
        f["size"], len(name), 0, 0, 0, 0, f["attributes"], 0,
    )  # fmt: skip
    start = len(local) + len(name) + len(data)
    end = struct.pack(
        "<4s4H2IH", b"PK\5\6", f["disk"], 0, f["entries"], f["entries"],
        len(central) + len(name), start, 0,
    )  # fmt: skip
    return local + name + data + central + name + end


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush()


M = MANIFEST_NAME.encode()
BOMB = b"\0" * (64 << 20)
ZIP: dict[str, Callable[[Sender], bytes]] = {
    "traversal": lambda s: s.packed(s.members | {"../evil.csv": b"x"}),
    "backslash": lambda s: lying(b"..\\evil.csv", b"x"),
    "absolute": lambda s: lying(b"/etc/passwd", b"x"),
    "drive": lambda s: lying(b"C:\\evil.csv", b"x"),
    "device": lambda s: lying(b"CON", b"x"),
    "nul": lambda s: lying(M + b"\0.csv", b"x"),
    "cp932": lambda s: lying("目録.json".encode("cp932"), b"x"),
    "symlink": lambda s: lying(M, b"/etc/passwd", attributes=0o120777 << 16),
    "encrypted": lambda s: lying(M, b"{}", flags=1),
    "deflate64": lambda s: lying(M, b"{}", method=9),
    "bomb": lambda s: lying(
        M, deflated(BOMB), method=8, size=len(BOMB), local_size=len(BOMB), crc=zlib.crc32(BOMB)
    ),
    "size lie": lambda s: lying(M, b"{}", size=5, local_size=5),
    "headers differ": lambda s: lying(M, b"{}", local_size=9),
    "crc lie": lambda s: lying(M, b"{}", crc=1),
    "multi-disk": lambda s: lying(M, b"{}", disk=3),
    "count lie": lambda s: lying(M, b"{}", entries=65535),
    "nested": lambda s: s.packed(s.members | {"inner.zip": s.packed({"a": b"b"})}),
    "prepended program": lambda s: b"MZ" + bytes(510) + s.package,
    "after the end": lambda s: s.package + b"<html>",
    "truncated": lambda s: s.package[: len(s.package) * 2 // 3],
    "many members": lambda s: s.packed({f"{n}.csv": b"" for n in range(20_000)}),
    "file not listed": lambda s: s.packed(s.members | {"999997_J99.csv": b"x"}),
    "listed file missing": lambda s: s.packed(
        {n: d for n, d in s.members.items() if n != s.table()}
    ),
    "other bytes of a table": lambda s: s.packed(
        s.members | {s.table(): s.members[s.table()].replace(b"1", b"2", 1)}
    ),
    "signature over other bytes": lambda s: s.packed(
        s.members | {SIGNATURE_NAME: s.key.sign(b"something else")}
    ),
    "no signature": lambda s: s.packed({n: d for n, d in s.members.items() if n != SIGNATURE_NAME}),
    "no zip at all": lambda s: b"a,b\r\n" * 100,
    "one byte": lambda s: b"P",
}


@pytest.mark.requirement("R-015")
@pytest.mark.parametrize("case", ZIP)
def test_zip__bad__is_rejected_before_anything_is_inflated(sender: Sender, case: str) -> None:
    _, bundle = sender.manifest()
    state, refusal, _ = sender.judge(ZIP[case](sender), bundle)
    assert (state, refusal[:13]) == ("REJECTED", "TRANSMISSION_"), refusal


# --- raw HTTP ----------------------------------------------------------------------------------

HEAD = b"POST /wire/uploads/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
OURS = (
    b"X-BCL-Environment: verification\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 10\r\n"
    b"Upload-Metadata: bundle_id MDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtOTk5OTk5OTk5OTk5\r\n"
)
RAW: dict[str, bytes] = {
    "length and chunked": HEAD + OURS
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + OURS + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nabcde",
    "negative length": HEAD + OURS + b"Content-Length: -1\r\n\r\n",
    "length with plus": HEAD + OURS + b"Content-Length: +0\r\n\r\n",
    "chunked twice": HEAD + OURS + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": HEAD + OURS + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "folded header": HEAD + b"X-A: b\r\n c\r\n" + OURS + b"\r\n",
    "bare line feed": HEAD.replace(b"\r\n", b"\n") + OURS.replace(b"\r\n", b"\n") + b"\n",
    "nul in header": HEAD + b"X-A: b\0c\r\n" + OURS + b"\r\n",
    "blank before colon": HEAD + b"X-A : b\r\n" + OURS + b"\r\n",
    "long header": HEAD + b"X-A: " + b"a" * 65_536 + b"\r\n" + OURS + b"\r\n",
    "many headers": HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(10_000)) + OURS + b"\r\n",
    "long address": b"POST /wire/uploads/" + b"a" * 65_536 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "lower-case method": HEAD.replace(b"POST", b"post") + OURS + b"Content-Length: 0\r\n\r\n",
    "unknown version": HEAD.replace(b"HTTP/1.1", b"HTTP/9.9") + OURS + b"\r\n",
    "no version": b"POST /wire/uploads/\r\n\r\n",
    "host twice": HEAD + b"Host: other\r\n" + OURS + b"Content-Length: 0\r\n\r\n",
    "metadata twice": HEAD + OURS + b"Upload-Metadata: bundle_id eA==\r\nContent-Length: 0\r\n\r\n",
    "length of the upload twice": HEAD + OURS + b"Upload-Length: 11\r\nContent-Length: 0\r\n\r\n",
    "underscore for a dash": HEAD + OURS.replace(b"Upload-Length", b"Upload_Length")
    + b"Content-Length: 0\r\n\r\n",
    "method in a header": HEAD + OURS
    + b"X-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n",
    "trace": HEAD.replace(b"POST", b"TRACE") + OURS + b"Content-Length: 0\r\n\r\n",
    "connect": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n",
}  # fmt: skip


def ask_raw(sender: Sender, request: bytes) -> bytes:
    """Say it word for word over the gateway's own TLS; what came back (b"" = hung up)."""
    config = sender.gateway.config
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(config.server.ca_file)
    context.load_cert_chain(config.server.certificate_file, config.server.key_file)
    answer = b""
    with socket.create_connection(("127.0.0.1", sender.hall.door.port), 10) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as line:
            line.settimeout(5)
            try:
                line.sendall(request)
                while b"\r\n\r\n" not in answer and (part := line.recv(4096)):
                    answer += part
            except (OSError, ssl.SSLError):
                pass  # hung up in the middle of what we said
    return answer


@pytest.mark.requirement("R-015")
@pytest.mark.parametrize("case", RAW)
def test_http__bad__is_refused_without_a_fault_and_makes_no_upload(
    sender: Sender, case: str
) -> None:
    answer = ask_raw(sender, RAW[case])
    status = answer.split(b" ")[1:2]
    # 501: a transfer coding nobody knows, said by the HTTP server before our program sees it.
    assert not status or status[0][:1] == b"4" or status == [b"501"], answer[:200]
    with sender.hall.door.database():
        from bcl.foundation import tenancy
        from bcl.linkage.models import Upload

        with tenancy.scope(sender.hall.code):
            assert not Upload.objects.filter(bundle_id__endswith="999999999999").exists()
    # And the next caller is served.
    with WireConnection(sender.gateway.config) as line:
        assert line.request("GET", line.url("contact")).status == 200
