"""`restore --check`: does a recovery package open, and is it what its manifest says? (R-032)

Step 7 of docs/journeys/recovery.md. The package is decrypted while it is read; no clear copy is
written anywhere, and no value of the register is shown.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bcl_contract import recovery_reader
from bcl_contract.refusals import Refusal

_BLOCK_BYTES = 1 << 20
_LISTED_BESIDE = frozenset({"datapackage.json", "datapackage.json.sig"})


@dataclass(frozen=True)
class CheckedFile:
    """One file of the package: its rows as counted, and whether everything matches."""

    name: str
    file_id: str
    rows: int
    bytes: int
    matches: bool


@dataclass(frozen=True)
class RecoveryReport:
    """What a package holds: its files, names nobody listed, and what it says of itself."""

    municipality_code: str
    as_of: str
    files: tuple[CheckedFile, ...]
    unlisted: tuple[str, ...]

    @property
    def differences(self) -> int:
        return len(self.unlisted) + sum(not file.matches for file in self.files)

    def as_json(self) -> dict[str, Any]:
        """Give the machine form: tables one by one, images as a count."""
        tables = [file for file in self.files if file.name.endswith(".csv")]
        return {
            "municipality_code": self.municipality_code,
            "as_of": self.as_of,
            "differences": self.differences,
            "images": len(self.files) - len(tables),
            "files": [
                {"name": f.name, "file_id": f.file_id, "rows": f.rows, "matches": f.matches}
                for f in tables
            ],
        }


def check_recovery_package(package: Path, key: Path | None) -> RecoveryReport | Refusal:
    """Open a package with the receiver's key, count rows and compare every digest.

    Refuses GATEWAY_RECOVERY_INVALID when it can't be opened or read to its end.
    """
    try:
        with _opened(package, key) as archive:
            manifest = recovery_reader.read_manifest(archive)
            listed = recovery_reader.manifest_files(manifest)
            files = tuple(_check_file(archive, entry) for entry in listed)
            known = {file.name for file in files} | _LISTED_BESIDE
            own = manifest.get("bcl", {})
            return RecoveryReport(
                municipality_code=str(own.get("municipality_code", "")),
                as_of=str(own.get("as_of", "")),
                files=files,
                unlisted=tuple(name for name in archive.namelist() if name not in known),
            )
    except recovery_reader.Unreadable:
        return Refusal("GATEWAY_RECOVERY_INVALID", {"reason": "unreadable"})
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError) as fault:
        return Refusal("GATEWAY_RECOVERY_INVALID", {"reason": type(fault).__name__})


@contextmanager
def _opened(package: Path, key: Path | None) -> Iterator[zipfile.ZipFile]:
    with package.open("rb") as source:
        clear: IO[bytes] = source
        if source.read(3) == b"age":
            if key is None:
                raise recovery_reader.Unreadable("key")
            identity = recovery_reader.parse_identity(key.read_text(encoding="utf-8"))
            source.seek(0)
            clear = io.BufferedReader(  # type: ignore[type-var]
                recovery_reader.AgeFile(source, identity), recovery_reader.CHUNK
            )
        with zipfile.ZipFile(clear) as archive:
            yield archive


def _check_file(archive: zipfile.ZipFile, entry: dict[str, Any]) -> CheckedFile:
    digest, size, lines, last = hashlib.sha256(), 0, 0, b"\n"
    try:
        with archive.open(entry["name"]) as member:
            while block := member.read(_BLOCK_BYTES):
                digest.update(block)
                size += len(block)
                lines += block.count(b"\n")
                last = block[-1:]
    except (KeyError, zipfile.BadZipFile):
        return CheckedFile(entry["name"], entry["file_id"], 0, 0, matches=False)
    is_table = entry["name"].endswith(".csv")
    rows = lines + (last != b"\n") - 1 if is_table else entry["rows"]
    found = (digest.hexdigest(), size, rows)
    return CheckedFile(
        entry["name"], entry["file_id"], rows, size,
        matches=found == (entry["sha256"], entry["bytes"], entry["rows"]),
    )  # fmt: skip
