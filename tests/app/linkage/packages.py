"""Packages of synthetic towns, signed by a test gateway."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bcl_contract import clock
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.package import (
    SEAL_IMAGE_FILE_ID,
    TransmissionManifest,
    describe_bytes,
    file_name,
    write_package,
)

BEGINNING = datetime(2026, 11, 20, 20, 30, tzinfo=clock.JST)
_numbers = itertools.count(1)


def new_bundle_id() -> str:
    """A bundle id that no other test uses."""
    return f"01JTEST{next(_numbers):019d}"


@dataclass
class Content:
    """What goes into a package: tables by file id, images by member name."""

    tables: Mapping[str, bytes]
    images: Mapping[str, bytes] = field(default_factory=dict)


def header_only(*file_ids: str, interface_version: str = "1.0") -> Content:
    """A heartbeat: tables with nothing but their header."""
    files = load_interface(interface_version).files
    return Content(
        {
            file_id: (
                ",".join(f'"{column.title_ja}"' for column in files[file_id].columns) + "\r\n"
            ).encode()
            for file_id in file_ids
        }
    )


def read_export(folder: Path) -> Content:
    """Read a folder that the core system simulator wrote."""
    tables = {path.name.split("_")[1]: path.read_bytes() for path in sorted(folder.glob("*.csv"))}
    images = {f"seal/{path.name}": path.read_bytes() for path in sorted(folder.glob("seal/*.png"))}
    return Content(tables, images)


def make_package(
    gateway: Any,
    content: Content,
    *,
    sequence: int = 1,
    mode: str = "full",
    lane: str = "main",
    bundle_id: str | None = None,
    as_of: datetime | None = None,
    municipality_code: str | None = None,
    signing_key: Any = None,
    rows_more: int = 0,
    interface_version: str = "1.0",
) -> tuple[bytes, str]:
    """Write a signed package; gives its bytes and its bundle id. `rows_more` falsifies a total."""
    code = municipality_code or gateway.municipality_code
    as_of = as_of or BEGINNING + timedelta(days=sequence)
    bundle_id = bundle_id or new_bundle_id()
    entries, files = [], {}
    for file_id, table in content.tables.items():
        name = file_name(code, file_id, mode, sequence, as_of)
        entry = describe_bytes([table], name=name, file_id=file_id)
        if rows_more and entry.rows:
            entry = type(entry)(
                entry.name, entry.file_id, entry.rows + rows_more, entry.bytes, entry.sha256
            )
        entries.append(entry)
        files[name] = table
    for name, image in content.images.items():
        entries.append(describe_bytes([image], name=name, file_id=SEAL_IMAGE_FILE_ID))
        files[name] = image
    manifest = TransmissionManifest(
        bundle_id=bundle_id,
        municipality_code=code,
        interface_version=interface_version,
        lane=lane,
        sequence=sequence,
        previous_sequence=sequence - 1,
        mode=mode,
        as_of=as_of,
        created_at=min(as_of, clock.now()),
        sender_system="test/1.0",
        files=entries,
    )
    target = io.BytesIO()
    key = signing_key or gateway.signing_key
    write_package(target, manifest=manifest, files=files, sign=key.sign)
    return target.getvalue(), bundle_id
