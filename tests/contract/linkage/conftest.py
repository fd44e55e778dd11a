"""A sample town for the tests of the linkage interface: valid rows, tables, packages."""

from __future__ import annotations

import csv
import hashlib
import io
import struct
import zlib
from collections.abc import Iterable, Mapping
from datetime import date, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl_contract.clock import JST
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.package import (
    TransmissionManifest,
    describe_bytes,
    file_name,
    write_package,
)
from bcl_contract.linkage.validator import CheckContext, FileReport, check_file

AT = datetime(2026, 11, 22, 20, 30, tzinfo=JST)
OPERATION = {
    "deleted": "0",
    "operator_id": "OP1",
    "operated_on": "2026-11-20",
    "operated_time": "12:34:56",
}

VALID: dict[str, dict[str, str]] = {
    "J01": {
        "addressee_number": "000000000000001",
        "history_number": "00001",
        "history_branch_number": "001",
        "latest": "1",
        "household_number": "000000000000900",
        "entry_order": "1",
        "resident_kind": "1",
        "resident_state": "1",
        "resident_record_code": "24727059608",
        "changed_on": "2020-04-01",
        "changed_on_unknown": "0",
        "change_reason": "10",
        "full_name": "甲野　太郎",
        "full_name_kana": "コウノ　タロウ",
        "sex": "1",
        "sex_as_written": "男",
        "born_on": "1980-02-29",
        "born_on_unknown": "0",
        "relationship_code_1": "02",
        "relationship_as_written": "世帯主",
        "head_of_household_name": "甲野　太郎",
        "address_municipality_code": "999997",
        "address_prefecture": "架空県",
        "address_municipality_name": "サンプル市",
        "address_town": "本町一丁目",
        "address_lot_as_written": "１番地",
        "address_building": "サンプルハイツ２０１号室",
        "address_building_kana": "サンプルハイツ２０１",
        "address_postal_code": "9999999",
        "became_resident_on": "1980-02-29",
        "registered_domicile": "架空県サンプル市本町一丁目１番地",
        "family_register_head": "甲野　太郎",
        "removed_record": "0",
        "change_pending": "0",
    },
    "J02": {
        "addressee_number": "000000000000001",
        "alias_number": "1",
        "alias_kind": "1",
        "alias_or_former_surname": "乙川",
    },
    "J03": {
        "addressee_number": "000000000000001",
        "change_number": "1",
        "household_number": "000000000000900",
        "change_reason": "10",
        "changed_on": "2020-04-01",
        "changed_on_unknown": "0",
        "processed_on": "2020-04-02",
        "values_before": '{"氏名":"甲, 野"}',
        "cancelled": "0",
    },
    "J04": {
        "addressee_number": "000000000000001",
        "history_number": "1",
        "latest": "1",
        "measure_started_on": "2026-04-01",
        "measure_kind": "2",
    },
    "J05": {
        "addressee_number": "000000000000001",
        "digital_certificate_kind": "1",
        "serial_number": "1A2B3C",
        "issuer_key": "AB" * 20,
        "valid_from_on": "2024-01-01",
        "expires_on": "2029-01-01",
        "link_status": "1",
    },
    "J06": {
        "block_id": "B1",
        "block_scope": "1",
        "addressee_number": "000000000000001",
        "block_reason": "34",
        "block_starts_at": "2026-11-01T09:00:00+09:00",
        "release_method": "2",
    },
    "J07": {"addressee_number": "000000000000001", "individual_number": "123456789018"},
    "J08": {"addressee_number": "000000000000777", "full_name": "丙山　次郎"},
    "S01": {
        "seal_registration_number": "12345",
        "history_number": "1",
        "latest": "1",
        "addressee_number": "000000000000001",
        "seal_status": "1",
        "seal_registered_on": "2020-05-01",
        "registered_name_kind": "1",
        "registered_name": "甲野　太郎",
        "seal_image_number": "1",
    },
    "S02": {
        "seal_registration_number": "12345",
        "seal_image_number": "1",
        "image_format": "png",
        "image_dots_per_inch": "400",
        "image_width_pixels": "200",
        "image_height_pixels": "200",
        "image_file_name": "seal/12345_1.png",
    },
    "T01": {
        "addressee_number": "000000000000001",
        "tax_year": "2026",
        "history_number": "1",
        "latest": "1",
        "unreported_kind": "0",
        "taxed_elsewhere_kind": "0",
        "assessment_date_full_name": "甲野　太郎",
        "assessment_date_address": "架空県サンプル市本町一丁目１番地",
        "born_on": "1980-02-29",
        "born_on_unknown": "0",
        "certifiable": "1",
    },
    "T02": {
        "addressee_number": "000000000000001",
        "tax_year": "2026",
        "history_number": "1",
        "latest": "1",
        "taxation_kind": "1",
        "annual_tax_amount": "123400",
        "revision_in_progress": "0",
    },
    "T03": {
        "addressee_number": "000000000000001",
        "tax_year": "2026",
        "history_number": "1",
        "latest": "1",
        "income_code": "101",
        "amount": "-5000000",
    },
}


def make_png(width: int = 200, height: int = 200, *, depth: int = 1, colour: int = 0) -> bytes:
    def part(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">2I5B", width, height, depth, colour, 0, 0, 0)
    line = b"\0" + b"\xff" * ((width * depth + 7) // 8)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", head)
        + part(b"IDAT", zlib.compress(line * height))
        + part(b"IEND", b"")
    )


class Sample:
    """Makes valid rows and whatever a test breaks in them."""

    at = AT
    interface = load_interface()
    key = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    png = staticmethod(make_png)

    def row(self, file_id: str, **changes: str) -> dict[str, str]:
        operation = {n: v for n, v in OPERATION.items() if self.interface.files[file_id].has(n)}
        row = {"municipality_code": "999997"} | VALID[file_id] | operation
        if file_id == "S02":
            row["image_sha256"] = hashlib.sha256(make_png()).hexdigest()
        return row | changes

    def table(self, file_id: str, rows: Iterable[Mapping[str, str]]) -> bytes:
        """Write a table with the csv module, not with the code under test."""
        layout = self.interface.files[file_id]
        out = io.StringIO()
        writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        writer.writerow([column.title_ja for column in layout.columns])
        for row in rows:
            assert set(row) <= set(layout.names), set(row) - set(layout.names)
            writer.writerow([row.get(name, "") for name in layout.names])
        return out.getvalue().encode("utf-8", "surrogatepass")

    def check(self, file_id: str, data: bytes, **context: object) -> FileReport:
        """Check one table as the town 999997 on the day of the sample."""
        settings = {"municipality_code": "999997", "as_of": date(2026, 11, 22)} | context
        return check_file(
            self.interface.files[file_id], io.BytesIO(data), context=CheckContext(**settings)
        )

    def name(self, file_id: str, *, mode: str = "full", sequence: int = 1) -> str:
        return file_name("999997", file_id, mode, sequence, AT)

    def package(
        self,
        tables: Mapping[str, Iterable[Mapping[str, str]]],
        images: Mapping[str, bytes] | None = None,
        **changes: object,
    ) -> bytes:
        """Write a signed package of tables (file id -> rows) and images (name -> bytes)."""
        mode, sequence = changes.get("mode", "full"), changes.get("sequence", 1)
        files = {
            self.name(file_id, mode=mode, sequence=sequence): self.table(file_id, rows)
            for file_id, rows in tables.items()
        }
        entries = [
            describe_bytes([data], name=name, file_id=name.split("_")[1])
            for name, data in files.items()
        ]
        for name, data in (images or {}).items():
            files[name] = data
            entries.append(describe_bytes([data], name=name, file_id="S02I"))
        manifest = TransmissionManifest(
            **{
                "bundle_id": "01JD0000000000000000000000",
                "municipality_code": "999997",
                "interface_version": "1.0",
                "lane": "main",
                "sequence": 1,
                "previous_sequence": int(sequence) - 1,
                "mode": "full",
                "as_of": AT,
                "created_at": AT,
                "sender_system": "sample/1.0",
                "files": entries,
            }
            | changes
        )
        target = io.BytesIO()
        write_package(target, manifest=manifest, files=files, sign=self.key.sign)
        return target.getvalue()


@pytest.fixture(scope="session")
def sample() -> Sample:
    return Sample()
