"""READY: what the core system says of a finished folder (完了の印).

The core system writes its files into a folder of the drop, and READY last, by a rename. READY is
JSON: municipality_code, mode, lane, as_of, sender_system, optional interface_version, and files
with name, file_id, rows, bytes, sha256. READY's own reading refuses everything else.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from bcl_contract import strict_json
from bcl_contract.refusals import Refusal

READY_NAME = "READY"
_MAXIMUM_READY_BYTES = strict_json.MAX_BYTES
_SAFE_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_.-]{0,119}/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")


class ReadyFile(BaseModel):
    """One file of the folder; `rows` counts lines below the header, 0 for a seal image."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=f"^{_SAFE_NAME.pattern}$")]
    file_id: Annotated[str, Field(pattern=r"^([A-Z][0-9]{2}|S02I)$")]
    rows: Annotated[int, Field(ge=0)]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Ready(BaseModel):
    """What a finished folder is: a full or differential state of the register as of a moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    municipality_code: Annotated[str, Field(pattern=r"^[0-9]{6}$")]
    mode: Literal["full", "differential"]
    lane: Literal["main", "urgent"]
    as_of: AwareDatetime
    sender_system: Annotated[str, Field(min_length=1, max_length=100)]
    interface_version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+$")] = "1.0"
    files: list[ReadyFile]


def read_ready(folder: Path) -> Ready | Refusal:
    """Read READY strictly. Refuses GATEWAY_READY_INVALID naming the first wrong field."""
    path = folder / READY_NAME
    try:
        if path.is_symlink() or path.stat().st_size > _MAXIMUM_READY_BYTES:
            return Refusal("GATEWAY_READY_INVALID", {"field": READY_NAME})
        ready = Ready.model_validate(strict_json.parse(path.read_bytes()))
    except (OSError, strict_json.JsonFault):
        return Refusal("GATEWAY_READY_INVALID", {"field": READY_NAME})
    except ValidationError as fault:
        place = fault.errors(include_input=False, include_url=False)[0]["loc"]
        return Refusal("GATEWAY_READY_INVALID", {"field": ".".join(map(str, place))[:80]})
    names = [file.name for file in ready.files]
    tables = [file.file_id for file in ready.files if file.file_id != "S02I"]
    if len(set(names)) != len(names) or len(set(tables)) != len(tables):
        return Refusal("GATEWAY_READY_INVALID", {"field": "files"})
    if ready.lane == "urgent" and ready.mode != "differential":
        return Refusal("GATEWAY_READY_INVALID", {"field": "mode"})
    return ready


def shape_of(folder: Path) -> str:
    """A digest over names, sizes and times in the folder: the same = nothing was written since."""
    lines = []
    for path in _walk(folder):
        facts = path.lstat()
        lines.append(f"{path.relative_to(folder)} {facts.st_size} {facts.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def compare_with_folder(folder: Path, ready: Ready) -> Refusal | None:
    """Are exactly the listed files there, regular and of the listed sizes?

    Refuses GATEWAY_DROP_UNSAFE (links and other things) and GATEWAY_DROP_FILES.
    """
    found: dict[str, int] = {}
    for path in _walk(folder):
        facts = path.lstat()
        if stat.S_ISDIR(facts.st_mode):
            continue
        if not stat.S_ISREG(facts.st_mode):
            return Refusal("GATEWAY_DROP_UNSAFE")
        found[path.relative_to(folder).as_posix()] = facts.st_size
    found.pop(READY_NAME, None)
    listed = {file.name: file.bytes for file in ready.files}
    if found != listed:
        wrong = {
            name for name in found.keys() | listed.keys() if found.get(name) != listed.get(name)
        }
        return Refusal("GATEWAY_DROP_FILES", {"files": len(wrong)})
    return None


def _walk(folder: Path) -> list[Path]:
    """Everything below a folder, links as themselves."""
    found = []
    for root, folders, names in os.walk(folder, followlinks=False):
        found += [Path(root, name) for name in (*folders, *names)]
    return found
