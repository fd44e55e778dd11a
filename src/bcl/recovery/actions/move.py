"""The only place where an export changes its state (transition table in `rules`)."""

from __future__ import annotations

from datetime import datetime

from bcl.foundation import audit
from bcl.recovery.models import RecoveryExport
from bcl.recovery.rules import ExportState, may_move


class ForbiddenTransition(Exception):
    """A step that is not in the transition table: a fault of the program."""


def lock_export(export_id: int) -> RecoveryExport | None:
    """Take the export's row lock until the end of the transaction; None if there is none."""
    return (
        RecoveryExport.objects.select_for_update(of=("self",), no_key=True)
        .filter(pk=export_id)
        .first()
    )


def move_export(
    export: RecoveryExport, state: ExportState, *, act: str, by: audit.Actor, at: datetime
) -> None:
    """Move an export and write the audit row, inside the caller's transaction."""
    before = ExportState(export.state)
    if not may_move(before, state):
        raise ForbiddenTransition(f"{before.value} to {state.value}")
    export.state = state.value
    export.save()
    audit.record(
        act=act,
        by=by,
        at=at,
        # The package that leaves holds everybody: it belongs to each person's own statement.
        subject_key=audit.EVERYBODY if state is ExportState.RELEASED else None,
        detail={
            "export": export.pk,
            "request_sha256": export.request_sha256,
            "package_sha256": export.package_sha256,
        },
    )
