"""Building, releasing and expiring packages (journey recovery, steps 3 to 6)."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db import transaction

from bcl.foundation import agency_signing, audit, keys, log, tenancy
from bcl.recovery import rules
from bcl.recovery.actions.move import lock_export, move_export
from bcl.recovery.actions.request import verify_act
from bcl.recovery.adapters import release_area
from bcl.recovery.models import RecoveryExport
from bcl.recovery.rules import ExportState
from bcl.resident_store import api as store
from bcl_contract import clock, recovery_signature
from bcl_contract.refusals import Refusal
from bcl_contract.signed_acts import SignedAct

SYSTEM = audit.Actor("system", "recovery")
_IMAGES = "S02I"  # each image is a member of its own
logger = log.get(__name__)


def release_root() -> Path:
    """The release folder of this installation."""
    root: Path = settings.BCL.state_dir / "release"
    return root


def package_path(export: RecoveryExport) -> Path:
    """Where the package of an export lies (or will lie)."""
    folder = release_area.export_folder(release_root(), export.municipality_code, export.pk)
    return folder / f"recovery_{export.municipality_code}_{export.pk:06}.zip.age"


def build_export(municipality_code: str, export_id: int, *, at: datetime) -> RecoveryExport:
    """Write the package of an approved export; running again after a crash starts over.

    Steps 3 to 5: one snapshot of the store, the published interface, encrypted on the way out.
    """
    with tenancy.scope(municipality_code):
        export = RecoveryExport.objects.get(pk=export_id)
    if export.state != ExportState.APPROVED:
        return export
    path = package_path(export)
    written: list[store.RecoveryContents] = []

    def write_clear(target: BinaryIO) -> None:
        # step 3 and 4: everything from one moment, whatever lands meanwhile
        with tenancy.scope(municipality_code, snapshot=True):
            written.append(
                store.write_recovery_zip(
                    target, municipality_code, export.load_number, sign=_signature
                )
            )

    agency_signing.current_public_key()  # made now, if ever: not inside the snapshot
    # step 5
    sealed = release_area.seal_package(path, export.receiver_public_key, write_clear)
    with tenancy.scope(municipality_code):
        locked = lock_export(export_id)
        if locked is None or locked.state != ExportState.APPROVED:
            return export
        locked.package_sha256, locked.package_bytes = sealed.sha256, sealed.bytes
        locked.built_at = at
        locked.counts = _counts(written[-1])
        # step 6
        release_area.add_companions(path.parent, describe(locked, written[-1]))
        move_export(locked, ExportState.BUILT, act="build_export", by=SYSTEM, at=at)
    logger.info(
        "export_built",
        municipality_code=municipality_code,
        export_id=export_id,
        bytes=sealed.bytes,
    )
    return locked


def _signature(listed: bytes) -> bytes:
    """The agency's signature over the list of a package (raw, 64 bytes)."""
    return base64.b64decode(agency_signing.sign_bytes(listed).signature)


def _counts(contents: store.RecoveryContents) -> list[dict[str, str | int]]:
    """Rows by file; the seal images count as one file of as many rows."""
    tables = [entry for entry in contents.files if entry.file_id != _IMAGES]
    counts: list[dict[str, str | int]] = [
        {"file_id": entry.file_id, "rows": entry.rows} for entry in tables
    ]
    images = len(contents.files) - len(tables)
    return counts + ([{"file_id": _IMAGES, "rows": images}] if images else [])


def describe(export: RecoveryExport, contents: store.RecoveryContents) -> bytes:
    """`recovery.json`: everything about a package that is nobody's personal data."""
    description = {
        "package": package_path(export).name,
        "package_sha256": export.package_sha256,
        "package_bytes": export.package_bytes,
        "municipality_code": export.municipality_code,
        "incident_id": export.incident_id,
        "receiver_id": export.receiver_id,
        "receiver_public_key": export.receiver_public_key,
        "request_sha256": export.request_sha256,
        "signer": _signer(),
        "load_number": export.load_number,
        "interface_version": contents.interface_version,
        "as_of": contents.as_of.astimezone(clock.JST).isoformat(),
        "built_at": export.built_at.astimezone(clock.JST).isoformat(),
        "files": [
            {
                "name": entry.name,
                "file_id": entry.file_id,
                "rows": entry.rows,
                "bytes": entry.bytes,
                "sha256": entry.sha256,
            }
            for entry in contents.files
            if entry.file_id != _IMAGES
        ],
        "seal_images": sum(1 for entry in contents.files if entry.file_id == _IMAGES),
    }
    return json.dumps(description, ensure_ascii=False, indent=1).encode("utf-8")


def _signer() -> dict[str, str]:
    """Whose signature the package carries."""
    key_id, public_key = agency_signing.current_public_key()
    return {
        "key_id": key_id,
        "public_key": public_key.hex(),
        "fingerprint": recovery_signature.fingerprint(public_key),
    }


def release_export(
    municipality_code: str, export_id: int, *, to: Path, signed: SignedAct, at: datetime
) -> list[Path] | Refusal:
    """Hand a built package out: copy it to `to` and record who took it (step 6)."""
    folder = take_export(municipality_code, export_id, signed=signed, at=at)
    return folder if isinstance(folder, Refusal) else release_area.copy_package(folder, to)


def take_export(
    municipality_code: str, export_id: int, *, signed: SignedAct, at: datetime
) -> Path | Refusal:
    """Record who takes a package; gives the folder that holds it and its companions.

    `signed` is an act `release_export` over `rules.release_content(...)`. It may be taken again
    until it expires; each time is on record.
    """
    with tenancy.scope(municipality_code):
        export = lock_export(export_id)
        if export is None:
            return Refusal("RECOVERY_EXPORT_NOT_FOUND")
        content = rules.release_content(export.pk, export.package_sha256)
        by = verify_act(municipality_code, signed, "release_export", content, at=at)
        if isinstance(by, Refusal):
            return by
        if export.state == ExportState.EXPIRED or at >= export.expires_at:
            return Refusal("RECOVERY_EXPIRED")
        if export.state not in (ExportState.BUILT, ExportState.RELEASED):
            return Refusal("RECOVERY_NOT_BUILT")
        path = package_path(export)
        if not path.is_file() or release_area.digest_of(path) != export.package_sha256:
            return Refusal("RECOVERY_BUILD_FAULT")
        export.released_at, export.released_by = at, by.id
        if export.state == ExportState.BUILT:
            move_export(export, ExportState.RELEASED, act="release_export", by=by, at=at)
        else:
            export.save()
            audit.record(
                act="release_export", by=by, at=at, subject_key=audit.EVERYBODY,
                detail={"export": export.pk},
            )  # fmt: skip
    return path.parent


def expire_exports(municipality_code: str, *, at: datetime) -> int:
    """Delete packages past their time, of an erased town all of them; gives their number."""
    over_at = datetime.max.replace(tzinfo=clock.JST) if keys.is_erased(municipality_code) else at
    with tenancy.scope(municipality_code):
        over = RecoveryExport.objects.select_for_update(of=("self",), no_key=True).filter(
            state__in=[ExportState.REQUESTED, ExportState.BUILT, ExportState.RELEASED],
            expires_at__lte=over_at,
        )
        exports = list(over)
        for export in exports:
            move_export(export, ExportState.EXPIRED, act="expire_export", by=SYSTEM, at=at)
            folder = package_path(export).parent
            transaction.on_commit(lambda folder=folder: release_area.remove_package(folder))
    return len(exports)
