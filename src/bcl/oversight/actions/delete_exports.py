"""Deleting files that were to be taken out: at their hour, with a record (R-175, R-177)."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from bcl.foundation import keys, tenancy
from bcl.oversight.actions.exports import SYSTEM, file_path, move
from bcl.oversight.actions.exports import empty as forget
from bcl.oversight.models import DataExport
from bcl.oversight.rules import ExportState
from bcl.recovery import api as recovery
from bcl_contract import clock

_OPEN = (ExportState.REQUESTED, ExportState.APPROVED, ExportState.BUILT)


def expire_exports(municipality_code: str, *, at: datetime) -> int:
    """End exports past their time, of an erased town all of them; gives their number."""
    erased = keys.is_erased(municipality_code)
    over_at = datetime.max.replace(tzinfo=clock.JST) if erased else at
    with tenancy.scope(municipality_code):
        over = list(
            DataExport.objects.select_for_update(no_key=True).filter(
                state__in=_OPEN, expires_at__lte=over_at
            )
        )
        for export in over:
            if not erased:
                forget(export)
            export.deleted_at = at
            move(export, ExportState.EXPIRED, act="delete_data_export", by=SYSTEM, at=at)
            folder = file_path(export).parent
            transaction.on_commit(lambda folder=folder: recovery.remove_package(folder))
    return len(over)
