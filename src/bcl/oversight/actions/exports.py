"""Data taken out (持ち出し): asked for, agreed to, written for one receiver, taken (R-175).

The request is judged on the very rows it means; their keyed digest is part of what the second
person agrees to, and the build refuses to write other rows than those.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db import transaction

from bcl.accounts import api as accounts
from bcl.foundation import audit, clock, crypto, jobs, keys, log, tenancy
from bcl.municipalities import api as municipalities
from bcl.oversight import queries, rules
from bcl.oversight.export_file import CountedRows, Watermark, write_rows
from bcl.oversight.export_rows import Content, read_content
from bcl.oversight.models import DataExport
from bcl.oversight.rules import ExportKind, ExportState
from bcl.recovery import api as recovery
from bcl_contract.refusals import Refusal

BUILD_TASK = "oversight.build_export"
SYSTEM = audit.Actor("system", "oversight")
_CANARY_BYTES = 10
logger = log.get(__name__)


class ContentChanged(Exception):
    """The rows are no longer those that were agreed to."""


class ForbiddenTransition(Exception):
    """A step that is not in the transition table: a fault of the program."""


@dataclass(frozen=True)
class Wish:
    """What is asked for. `conditions` are the filter, texts by name (see `export_rows`)."""

    kind: ExportKind
    purpose: str
    reference: str
    columns: tuple[str, ...]
    conditions: Mapping[str, str]
    row_limit: int
    recipient_id: str


def file_path(export: DataExport) -> Path:
    """Where the file of an export lies (or will lie)."""
    root: Path = settings.BCL.state_dir / "taken-out"
    name = f"export_{export.municipality_code}_{export.pk:06}.csv.age"
    return root / export.municipality_code / f"export-{export.pk}" / name


def request_export(
    principal: accounts.Principal, wish: Wish, *, at: datetime
) -> DataExport | Refusal:
    """Ask for data of the principal's own tenant; nothing is written before a second person."""
    code = principal.municipality_code
    refusal = rules.judge_export(
        wish.kind,
        purpose=wish.purpose,
        reference=wish.reference,
        columns=wish.columns,
        row_limit=wish.row_limit,
        permissions=principal.permissions,
        day=at.astimezone(clock.JST).date(),
    )
    if refusal is not None:
        return refusal
    receiver = municipalities.find_recovery_receiver(code, wish.recipient_id)
    if receiver is None:
        return Refusal("RECOVERY_RECEIVER_UNKNOWN")
    if keys.is_erased(code):
        return Refusal("KEY_ERASED")
    content = read_content(code, wish.kind, wish.conditions, limit=wish.row_limit, at=at)
    if isinstance(content, Refusal):
        return content
    counted = _count(content, wish)
    refusal = rules.judge_rows(counted.rows, wish.row_limit)
    if refusal is not None:
        return refusal
    return _store(principal, wish, receiver, content, counted, at=at)


def _count(content: Content, wish: Wish) -> CountedRows:
    counted = CountedRows(list(wish.columns))
    for values in content.rows:
        counted.add(values)
    return counted


def _store(
    principal: accounts.Principal,
    wish: Wish,
    receiver: municipalities.RecoveryReceiver,
    content: Content,
    counted: CountedRows,
    *,
    at: datetime,
) -> DataExport:
    code, token = principal.municipality_code, secrets.token_hex(16)
    limits = rules.limits_on(at.astimezone(clock.JST).date())
    digest = crypto.subject_digest(code, counted.digest()).hex()
    facts = {
        "municipality_code": code,
        "token": token,
        "kind": wish.kind.value,
        "purpose": wish.purpose,
        "reference": wish.reference,
        "columns": list(wish.columns),
        "rows": counted.rows,
        "row_limit": wish.row_limit,
        "content_digest": digest,
        "recipient_public_key": receiver.age_public_key,
        "requested_by": principal.actor.id,
        "requested_at": at.isoformat(),
    }
    with tenancy.scope(code):
        export = DataExport.objects.create(
            municipality_code=code,
            token=token,
            canary=base64.b32encode(secrets.token_bytes(_CANARY_BYTES)).decode(),
            kind=wish.kind,
            state=ExportState.REQUESTED,
            purpose=wish.purpose,
            reference=wish.reference,
            columns=list(wish.columns),
            sealed_filter=_seal(code, "sealed_filter", token, dict(content.conditions)),
            sealed_persons=_seal(code, "sealed_persons", token, list(content.persons)),
            row_limit=wish.row_limit,
            rows=counted.rows,
            content_digest=digest,
            recipient_id=receiver.id,
            recipient_public_key=receiver.age_public_key,
            request_sha256=rules.digest(facts),
            requested_at=at,
            requested_by=principal.actor.id,
            take_limit=limits.take_limit,
            expires_at=at + timedelta(days=limits.kept_days),
        )
        _record(export, "request_data_export", principal.actor, at)
    return export


def approve_export(
    municipality_code: str, export_id: int, *, confirmed: accounts.ConfirmedAct, at: datetime
) -> DataExport | Refusal:
    """Agree, as a second person, to exactly these rows; the writing is queued.

    `confirmed` is an act `approve_data_export` over `approval_content(...)`.
    """
    with tenancy.scope(municipality_code):
        export = lock(export_id)
        if export is None:
            return Refusal("DATA_EXPORT_NOT_FOUND")
        by = accounts.verify_confirmed(
            confirmed, act="approve_data_export", municipality_code=municipality_code, now=at
        )
        if isinstance(by, Refusal):
            return by
        refusal = rules.judge_approval(
            is_waiting=export.state == ExportState.REQUESTED and at < export.expires_at,
            requested_by=export.requested_by,
            approved_by=by.id,
            same_request=dict(confirmed.content) == approval_content(export),
        )
        if refusal is not None:
            return refusal
        export.approved_at, export.approved_by = at, by.id
        export.approval_signature = confirmed.signature
        move(export, ExportState.APPROVED, act="approve_data_export", by=by, at=at)
        jobs.defer(
            BUILD_TASK,
            municipality_code=municipality_code,
            idempotency_key=f"data-export-{export.pk}",
            export_id=export.pk,
        )
        return export


def approval_content(export: DataExport) -> dict[str, str | int]:
    """What the second person confirms: this request, and through it these rows."""
    return {"data_export": export.pk, "request_sha256": export.request_sha256}


def take_content(export: DataExport) -> dict[str, str | int]:
    """What the person who takes the file confirms."""
    return {"data_export": export.pk, "file_sha256": export.file_sha256}


def decline_export(
    principal: accounts.Principal, export_id: int, *, at: datetime
) -> DataExport | Refusal:
    """Say no, or take one's own wish back."""
    with tenancy.scope(principal.municipality_code):
        export = lock(export_id)
        if export is None:
            return Refusal("DATA_EXPORT_NOT_FOUND")
        if export.state != ExportState.REQUESTED:
            return Refusal("DATA_EXPORT_NOT_REQUESTED")
        empty(export)
        by = principal.actor
        move(export, ExportState.DECLINED, act="decline_data_export", by=by, at=at)
        return export


def build_export(municipality_code: str, export_id: int, *, at: datetime) -> DataExport:
    """Write the file of an approved export; running again after a crash starts over."""
    with tenancy.scope(municipality_code):
        export = DataExport.objects.get(pk=export_id)
        conditions = read_conditions(export)
    if export.state != ExportState.APPROVED:
        return export
    content = read_content(
        municipality_code,
        ExportKind(export.kind),
        conditions,
        limit=export.row_limit,
        at=export.requested_at,
    )
    if isinstance(content, Refusal):
        return _fail(export, content.code, at=at)
    counted = CountedRows(list(export.columns))

    def write_clear(target: BinaryIO) -> None:
        write_rows(
            target,
            content.rows,
            counted,
            titles=rules.columns_of(ExportKind(export.kind)),
            mark=_watermark(export),
            progress=lambda rows: _tell(export, rows),
        )
        # Before the file is whole: a changed one never gets its name.
        if not _same_rows(export, counted):
            raise ContentChanged

    try:
        sealed = recovery.seal_package(file_path(export), export.recipient_public_key, write_clear)
    except ContentChanged:
        return _fail(export, "DATA_EXPORT_CHANGED", at=at)
    with tenancy.scope(municipality_code):
        locked = lock(export_id)
        if locked is None or locked.state != ExportState.APPROVED:
            recovery.remove_package(file_path(export).parent)
            return export
        locked.built_at, locked.rows_written = at, counted.rows
        locked.file_sha256, locked.file_bytes = sealed.sha256, sealed.bytes
        move(locked, ExportState.BUILT, act="build_data_export", by=SYSTEM, at=at)
    logger.info("data_export_built", municipality_code=municipality_code, export_id=export_id)
    return locked


def _same_rows(export: DataExport, counted: CountedRows) -> bool:
    digest = crypto.subject_digest(export.municipality_code, counted.digest()).hex()
    return counted.rows == export.rows and digest == export.content_digest


def _watermark(export: DataExport) -> Watermark:
    approved_at = export.approved_at or export.requested_at
    return Watermark(
        number=f"{export.municipality_code}-{export.pk}",
        who=f"{export.requested_by}/{export.approved_by}",
        when=approved_at.astimezone(clock.JST).isoformat(timespec="seconds"),
        canary=export.canary,
    )


def _tell(export: DataExport, rows: int) -> None:
    with tenancy.scope(export.municipality_code):
        DataExport.objects.filter(pk=export.pk, state=ExportState.APPROVED).update(
            rows_written=rows
        )


def _fail(export: DataExport, code: str, *, at: datetime) -> DataExport:
    with tenancy.scope(export.municipality_code):
        locked = lock(export.pk)
        if locked is None or locked.state != ExportState.APPROVED:
            return export
        locked.refusal_code = code
        empty(locked)
        move(locked, ExportState.FAILED, act="fail_data_export", by=SYSTEM, at=at)
        folder = file_path(locked).parent
        transaction.on_commit(lambda: recovery.remove_package(folder))
        return locked


def take_export(
    principal: accounts.Principal,
    export_id: int,
    *,
    confirmed: accounts.ConfirmedAct,
    at: datetime,
) -> Path | Refusal:
    """Record who takes the file, with everybody it names; gives where it lies.

    `confirmed` is an act `take_data_export` over `take_content(...)`.
    """
    code = principal.municipality_code
    with tenancy.scope(code):
        export = lock(export_id)
        if export is None:
            return Refusal("DATA_EXPORT_NOT_FOUND")
        by = accounts.verify_confirmed(
            confirmed, act="take_data_export", municipality_code=code, now=at
        )
        if isinstance(by, Refusal):
            return by
        refusal = rules.judge_take(
            ExportState(export.state),
            needed=rules.NEEDED_PERMISSION[ExportKind(export.kind)],
            permissions=principal.permissions,
            takes=export.takes,
            take_limit=export.take_limit,
            expires_at=export.expires_at,
            at=at,
        )
        if refusal is not None:
            return refusal
        path = file_path(export)
        same = dict(confirmed.content) == take_content(export)
        if not same or not path.is_file() or digest_of(path) != export.file_sha256:
            return Refusal("DATA_EXPORT_FILE_FAULT")
        export.takes += 1
        export.last_taken_at, export.last_taken_by = at, by.id
        export.save()
        audit.record(
            act="take_data_export",
            by=by,
            at=at,
            # Everybody in the file reads of it in their own statement.
            subjects=[number.encode() for number in _open(export, "sealed_persons")],
            detail={
                "data_export": export.pk,
                "purpose": export.purpose,
                "reference": export.reference,
                "take": export.takes,
                "file_sha256": export.file_sha256,
            },
        )
    return path


def digest_of(path: Path) -> str:
    """SHA-256 of a file, lower-case hex."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def lock(export_id: int) -> DataExport | None:
    """Take the export's row lock until the end of the transaction; None if there is none."""
    return DataExport.objects.select_for_update(no_key=True).filter(pk=export_id).first()


def move(
    export: DataExport, state: ExportState, *, act: str, by: audit.Actor, at: datetime
) -> None:
    """Move an export along the table and write the audit row, in the caller's transaction."""
    if not rules.may_move(ExportState(export.state), state):
        raise ForbiddenTransition(f"{export.state} to {state.value}")
    export.state = state
    export.save()
    _record(export, act, by, at)


def _record(export: DataExport, act: str, by: audit.Actor, at: datetime) -> None:
    audit.record(
        act=act,
        by=by,
        at=at,
        detail={
            "data_export": export.pk,
            "kind": export.kind,
            "purpose": export.purpose,
            "reference": export.reference,
            "rows": export.rows,
            "request_sha256": export.request_sha256,
        },
    )


def empty(export: DataExport) -> None:
    """Forget what was searched for and who was in it: the file is gone or never was."""
    code, token = export.municipality_code, export.token
    export.sealed_filter = _seal(code, "sealed_filter", token, {})
    export.sealed_persons = _seal(code, "sealed_persons", token, [])


def read_conditions(export: DataExport) -> dict[str, str]:
    """The filter of an export, for the person who decides about it."""
    return dict(_open(export, "sealed_filter"))


def _seal(code: str, column: str, token: str, value: object) -> bytes:
    clear = json.dumps(value, ensure_ascii=False).encode()
    return crypto.seal_cell(code, queries.EXPORT_TABLE, column, token, clear)


def _open(export: DataExport, column: str):  # noqa: ANN202 - what was sealed: a list or a dict
    sealed = bytes(getattr(export, column))
    clear = crypto.open_cell(
        export.municipality_code, queries.EXPORT_TABLE, column, export.token, sealed
    )
    return json.loads(clear)
