"""The manifest of a transmission: `datapackage.json` (Data Package standard).

Owns: what a transmission says about itself, and its one written form.
Promises: any Data Package tool can check the tables with it (R-010); every file is bound by its
SHA-256 and length; `datapackage.json.sig` is a raw Ed25519 signature over exactly its bytes.
Our own fields stand under `bcl`. `maxLength` is left out: such tools count variation selectors.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from bcl_contract import strict_json
from bcl_contract.clock import JST
from bcl_contract.linkage.layouts import (
    Column,
    Layout,
    UnknownInterfaceVersion,
    load_interface,
    supported_versions,
)
from bcl_contract.refusals import Refusal
from bcl_contract.values import InvalidValue, MunicipalityCode

MANIFEST_NAME = "datapackage.json"
SIGNATURE_NAME = "datapackage.json.sig"
SEAL_IMAGE_FILE_ID = "S02I"
LANES = ("main", "urgent")
ENVIRONMENTS = ("production", "verification")
"""本番 and 検証. A manifest that names none counts as verification: nothing reaches production
without saying that it means to (R-040)."""

_FILE_NAME = re.compile(
    r"(?P<municipality>[0-9]{6})_(?P<file_id>[A-Z][0-9]{2})_(?P<mode>[FD])"
    r"_(?P<sequence>[0-9]{8})_(?P<at>[0-9]{14})\.csv",
    re.ASCII,
)
_IMAGE_NAME = re.compile(r"seal/[0-9A-Za-z_-]{1,40}_[0-9]{1,3}\.png", re.ASCII)
_MODE_LETTERS = {"full": "F", "differential": "D"}
_SLUG = re.compile(r"[^a-z0-9._-]+")

PreviousSequence = Annotated[int, Field(ge=0, le=99_999_998, strict=True)]
TransmissionSequence = Annotated[int, Field(ge=1, le=99_999_999, strict=True)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", strict=True))
class FileEntry:
    """One member: `rows` without the header line (0 for images), `bytes` not compressed."""

    name: Annotated[str, Field(max_length=255)]
    file_id: Annotated[str, Field(pattern=r"^([A-Z][0-9]{2}|S02I)$")]
    rows: Annotated[int, Field(ge=0)]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class TransmissionManifest(BaseModel):
    """What one transmission says about itself.

    `sequence` counts per municipality and lane from 1, `previous_sequence` is the one before
    (0 at the start). `mode` full: every file present supersedes that whole file; a file not
    present is untouched. `as_of` is the moment whose state the core system wrote. `environment`
    binds the signed package to one of `ENVIRONMENTS`, by whatever way it is carried.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{26,36}$")]
    municipality_code: Annotated[str, Field(pattern=r"^[0-9]{6}$")]
    interface_version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+$")]
    lane: Literal["main", "urgent"]
    sequence: TransmissionSequence
    previous_sequence: PreviousSequence
    mode: Literal["full", "differential"]
    as_of: AwareDatetime
    created_at: AwareDatetime
    sender_system: Annotated[str, Field(min_length=1, max_length=100)]
    environment: Literal["production", "verification"] | None = None
    files: list[FileEntry]

    @model_validator(mode="after")
    def _is_consistent(self) -> TransmissionManifest:
        try:
            MunicipalityCode(self.municipality_code)
        except InvalidValue:
            raise ValueError("municipality_code") from None
        if self.previous_sequence != self.sequence - 1:
            raise ValueError("previous_sequence")
        if self.lane == "urgent" and self.mode != "differential":
            raise ValueError("mode")
        names = {entry.name for entry in self.files}
        if len(names) != len(self.files):
            raise ValueError("files")
        tables = [e.file_id for e in self.files if e.file_id != SEAL_IMAGE_FILE_ID]
        if len(set(tables)) != len(tables):
            raise ValueError("files")
        return self

    @property
    def meant_for(self) -> str:
        """The environment whose data this is."""
        return self.environment or "verification"

    def entry(self, name: str) -> FileEntry:
        """Give the entry of a member; KeyError when there is none."""
        for entry in self.files:
            if entry.name == name:
                return entry
        raise KeyError(name)

    @property
    def tables(self) -> list[FileEntry]:
        """The entries of the tables, in the order of the manifest."""
        return [entry for entry in self.files if entry.file_id != SEAL_IMAGE_FILE_ID]

    @property
    def seal_images(self) -> list[FileEntry]:
        """The entries of the seal images."""
        return [entry for entry in self.files if entry.file_id == SEAL_IMAGE_FILE_ID]


def file_name(municipality_code: str, file_id: str, mode: str, sequence: int, at: datetime) -> str:
    """Give a table's file name, e.g. 999997_J01_F_00000001_20261122203000.csv (time in JST)."""
    if not 0 <= sequence <= 99_999_999:
        raise ValueError("sequence out of range")
    moment = at.astimezone(JST).strftime("%Y%m%d%H%M%S")
    return f"{municipality_code}_{file_id}_{_MODE_LETTERS[mode]}_{sequence:08}_{moment}.csv"


def seal_image_name(seal_registration_number: str, image_number: str) -> str:
    """Give a seal image's member name, e.g. seal/12345_1.png; ValueError when impossible."""
    name = f"seal/{seal_registration_number}_{image_number}.png"
    if not _IMAGE_NAME.fullmatch(name):
        raise ValueError("the seal registration number can't stand in a file name")
    return name


def describe_file(path: Path, *, name: str, file_id: str) -> FileEntry:
    """Measure a finished file: rows (line ends less the header), bytes, SHA-256."""
    digest, size, lines, last = hashlib.sha256(), 0, 0, b"\n"
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
            size += len(block)
            lines += block.count(b"\n")
            last = block[-1:]
    lines += last != b"\n"
    rows = 0 if file_id == SEAL_IMAGE_FILE_ID else max(0, lines - 1)
    return FileEntry(name, file_id, rows, size, digest.hexdigest())


def describe_bytes(parts: Iterable[bytes], *, name: str, file_id: str) -> FileEntry:
    """Measure a file given in parts, as `describe_file` does."""
    digest, size, lines, last = hashlib.sha256(), 0, 0, b"\n"
    for part in parts:
        digest.update(part)
        size += len(part)
        lines += part.count(b"\n")
        last = part[-1:] or last
    lines += last != b"\n"
    rows = 0 if file_id == SEAL_IMAGE_FILE_ID else max(0, lines - 1)
    return FileEntry(name, file_id, rows, size, digest.hexdigest())


# --- the written form -------------------------------------------------------------------


def _field(column: Column) -> dict[str, object]:
    field: dict[str, object] = {"name": column.title_ja, "title": column.name, "type": "string"}
    constraints: dict[str, object] = {}
    if column.type == "D":
        field |= {"type": "date", "format": "%Y-%m-%d"}
    elif column.type == "T":
        field |= {"type": "time", "format": "%H:%M:%S"}
    elif column.type == "I":
        field["type"] = "integer"
    elif column.type == "F":
        constraints["enum"] = ["0", "1"]
    elif column.type == "N":
        constraints["pattern"] = "[0-9]+"
    if column.required == "Y":
        constraints["required"] = True
    if constraints:
        field["constraints"] = constraints
    return field


def table_schema(layout: Layout) -> dict[str, object]:
    """Give the published table schema of a layout (Table Schema of the Data Package standard)."""
    return {
        "fields": [_field(column) for column in layout.columns],
        "missingValues": [""],
        "primaryKey": [column.title_ja for column in layout.key_columns],
    }


def _resource(entry: FileEntry, layouts: dict[str, Layout]) -> dict[str, object]:
    resource: dict[str, object] = {
        "name": _SLUG.sub("-", entry.name.lower()),
        "path": entry.name,
        "bytes": entry.bytes,
        "hash": f"sha256:{entry.sha256}",
        "bcl": {"file_id": entry.file_id, "rows": entry.rows},
    }
    if entry.file_id == SEAL_IMAGE_FILE_ID:
        return resource | {"type": "file", "format": "png", "mediatype": "image/png"}
    layout = layouts[entry.file_id]
    return resource | {
        "profile": "tabular-data-resource",
        "type": "table",
        "title": layout.title_ja,
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "dialect": {"csv": {"delimiter": ",", "quoteChar": '"', "doubleQuote": True}},
        "schema": table_schema(layout),
    }


def write_manifest(manifest: TransmissionManifest) -> bytes:
    """Write `datapackage.json`: deterministic bytes, ready to be signed."""
    layouts = dict(load_interface(manifest.interface_version).files)
    own = manifest.model_dump(mode="json", exclude={"files"})
    if manifest.environment is None:
        del own["environment"]
    own["as_of"] = manifest.as_of.astimezone(JST).isoformat()
    own["created_at"] = manifest.created_at.astimezone(JST).isoformat()
    return strict_json.write(
        {
            "name": f"bcl-{manifest.municipality_code}-{manifest.lane}-{manifest.sequence:08}",
            "profile": "data-package",
            "created": own["created_at"],
            "bcl": own,
            "resources": [_resource(entry, layouts) for entry in manifest.files],
        }
    )


# --- reading ------------------------------------------------------------------------------


def _fields_refusal(field: str) -> Refusal:
    return Refusal("TRANSMISSION_MANIFEST_FIELDS", {"field": field})


def _entry_of(resource: object) -> FileEntry:
    """Take one file entry out of a resource; KeyError, TypeError or ValidationError if not."""
    if not isinstance(resource, dict) or not isinstance(resource["bcl"], dict):
        raise TypeError("resource")
    digest = resource["hash"]
    if not isinstance(digest, str) or not digest.startswith("sha256:"):
        raise TypeError("hash")
    return FileEntry(
        name=resource["path"],
        file_id=resource["bcl"]["file_id"],
        rows=resource["bcl"]["rows"],
        bytes=resource["bytes"],
        sha256=digest.removeprefix("sha256:"),
    )


def read_manifest(data: bytes) -> TransmissionManifest | Refusal:
    """Read `datapackage.json`; the schemas in it are ignored, only our layouts count.

    Refuses with TRANSMISSION_MANIFEST_JSON, _FIELDS, _FILES, TRANSMISSION_FILE_NAME or
    TRANSMISSION_INTERFACE_VERSION.
    """
    try:
        value = strict_json.parse(data)
    except strict_json.JsonFault as fault:
        return Refusal("TRANSMISSION_MANIFEST_JSON", {"reason": fault.reason})
    own = value.get("bcl") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(own, dict) or "files" in own:
        return _fields_refusal("bcl")
    version = own.get("interface_version")
    if not isinstance(version, str):
        return _fields_refusal("interface_version")
    if version not in supported_versions():
        return Refusal("TRANSMISSION_INTERFACE_VERSION")
    manifest = _build_manifest(own, value.get("resources"))
    return manifest if isinstance(manifest, Refusal) else _judge_names(manifest) or manifest


def _build_manifest(own: dict[str, object], resources: object) -> TransmissionManifest | Refusal:
    """Put our fields and the resources together; refuses what is not well formed."""
    if not isinstance(resources, list):
        return _fields_refusal("resources")
    try:
        entries = [_entry_of(resource) for resource in resources]
        return TransmissionManifest.model_validate(own | {"files": entries})
    except (KeyError, TypeError):
        return _fields_refusal("resources")
    except ValidationError as fault:
        return _fields_refusal(_first_field(fault))


def _first_field(fault: ValidationError) -> str:
    """Name the first wrong field; the message of the library could repeat the value."""
    error = fault.errors(include_input=False, include_url=False)[0]
    if error["loc"]:
        return ".".join(str(part) for part in error["loc"][:3])
    context = error.get("ctx", {}).get("error")
    return str(context) if context is not None else "bcl"


def _judge_names(manifest: TransmissionManifest) -> Refusal | None:
    """Refuse file ids we don't know and names that say other things than the manifest."""
    try:
        files = load_interface(manifest.interface_version).files
    except UnknownInterfaceVersion:
        return Refusal("TRANSMISSION_INTERFACE_VERSION")
    for position, entry in enumerate(manifest.files):
        wrong = Refusal("TRANSMISSION_FILE_NAME", {"position": position})
        if entry.file_id == SEAL_IMAGE_FILE_ID:
            if not _IMAGE_NAME.fullmatch(entry.name) or entry.rows:
                return wrong
            continue
        if entry.file_id not in files:
            return Refusal("LINKAGE_FILE_UNKNOWN", {"position": position})
        found = _FILE_NAME.fullmatch(entry.name)
        said = (
            manifest.municipality_code,
            entry.file_id,
            _MODE_LETTERS[manifest.mode],
            f"{manifest.sequence:08}",
        )
        if found is None or found.group("municipality", "file_id", "mode", "sequence") != said:
            return wrong
    return _judge_lane(manifest, files.values())


def _judge_lane(manifest: TransmissionManifest, layouts: Iterable[Layout]) -> Refusal | None:
    """Refuse a file that may not travel in the urgent lane (decision D3)."""
    if manifest.lane != "urgent":
        return None
    allowed = {layout.file_id for layout in layouts if layout.urgent} | {SEAL_IMAGE_FILE_ID}
    for entry in manifest.files:
        if entry.file_id not in allowed:
            return Refusal("LINKAGE_URGENT_FILE", {"file_id": entry.file_id})
    return None


def parse_file_name(name: str) -> Sequence[str] | None:
    """Give (municipality code, file id, F or D, sequence, time) of a table's name, or None."""
    found = _FILE_NAME.fullmatch(name)
    return found.groups() if found else None
