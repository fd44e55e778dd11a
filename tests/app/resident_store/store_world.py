"""A small register for the store's tests: rows, transmissions, and a plain replay as the oracle."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bcl.foundation.audit import SYSTEM
from bcl.resident_store import api as store
from bcl_contract.clock import JST
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.table import canonical_line

FILES = load_interface().files
START = datetime(2026, 11, 1, 20, 0, tzinfo=JST)
Row = dict[str, str]


def resident(number: int, *, household: int, order: int = 1, **values: str) -> Row:
    """A valid latest J01 row; the head of its household when `order` is 1."""
    row = {
        "municipality_code": "999997", "addressee_number": f"{number:015d}",
        "history_number": "00001", "history_branch_number": "000", "latest": "1",
        "household_number": f"{household:015d}", "entry_order": f"{order:03d}",
        "resident_kind": "1", "resident_state": "1", "changed_on": "2020-04-01",
        "changed_on_unknown": "0", "change_reason": "10", "full_name": f"試験　住民{number}",
        "full_name_kana": "シケン　ジュウミン", "sex": "1", "sex_as_written": "男",
        "born_on": "1980-02-03", "born_on_unknown": "0",
        "relationship_code_1": "02" if order == 1 else "20",
        "relationship_as_written": "世帯主" if order == 1 else "子",
        "head_of_household_name": f"試験　住民{household}",
        "address_municipality_code": "999997", "address_prefecture": "見本県",
        "address_municipality_name": "見本市", "address_postal_code": "9999999",
        "became_resident_on": "2010-04-01", "registered_domicile": "見本県見本市本町一番地",
        "family_register_head": f"試験　住民{household}", "removed_record": "0",
        "change_pending": "0", "deleted": "0", "operator_id": "op1",
        "operated_on": "2026-10-01", "operated_time": "09:00:00",
    }
    return row | values


def cert_link(number: int, serial: str, **values: str) -> Row:
    """A valid J05 row: the card certificate `serial` belongs to person `number`."""
    return {
        "municipality_code": "999997", "addressee_number": f"{number:015d}",
        "digital_certificate_kind": "1", "serial_number": serial, "issuer_key": "CN=JPKI-USER-01",
        "expires_on": "2030-01-01", "link_status": "1", "deleted": "0", "operator_id": "op1",
        "operated_on": "2026-10-01", "operated_time": "09:00:00",
    } | values


def line(file_id: str, row: Mapping[str, str]) -> bytes:
    """The canonical line of a row."""
    return canonical_line([row.get(name) for name in FILES[file_id].names])


def table(file_id: str, rows: Iterable[Mapping[str, str]]) -> bytes:
    """A whole table: header and rows."""
    return FILES[file_id].header_line + b"".join(line(file_id, row) for row in rows)


def land(_: Any) -> store.Verdict:
    """A judge that lets everything land."""
    return store.Verdict.LAND


@dataclass
class Sender:
    """Sends transmissions of one town one after another and keeps the plain truth of each."""

    town: str
    sequences: dict[str, int] = field(default_factory=lambda: {"main": 0, "urgent": 0})
    truths: dict[int, dict[str, set[bytes]]] = field(default_factory=dict)
    loads: int = 0

    def send(
        self, files: Mapping[str, Iterable[Mapping[str, str]] | bytes], *, mode: str = "full",
        lane: str = "main", decide: Any = land, images: Iterable[tuple[str, bytes]] = (),
        as_of: datetime | None = None,
    ) -> store.LoadResult:
        """Apply one transmission. Rows may be given as ready bytes (with header)."""
        self.sequences[lane] += 1
        at = START + timedelta(hours=sum(self.sequences.values()))
        contents = {
            file_id: rows if isinstance(rows, bytes) else table(file_id, rows)
            for file_id, rows in files.items()
        }
        result = store.apply_files(
            municipality_code=self.town, transmission_id=f"t{lane}{self.sequences[lane]}",
            lane=lane, sequence=self.sequences[lane], mode=mode, as_of=as_of or at,
            interface_version="1.0",
            open_files=[
                (file_id, FILES[file_id], io.BytesIO(content))
                for file_id, content in contents.items()
            ],
            declared_sha256={
                file_id: hashlib.sha256(content).hexdigest()
                for file_id, content in contents.items()
            },
            seal_images=images, decide=decide, by=SYSTEM, at=at,
        )
        if not result.landed:
            self.sequences[lane] -= 1
        else:
            self.loads = result.load_number or 0
        return result


def image(name: str) -> tuple[str, bytes, str]:
    """A member name, some bytes for it, and their SHA-256."""
    content = b"\x89PNG\r\n\x1a\n" + name.encode()
    return name, content, hashlib.sha256(content).hexdigest()
