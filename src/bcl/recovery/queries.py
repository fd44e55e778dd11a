"""Reads of recovery exports."""

from __future__ import annotations

from bcl.foundation import tenancy
from bcl.recovery.models import RecoveryExport


def find_export(municipality_code: str, export_id: int) -> RecoveryExport | None:
    """One export of a municipality, or None."""
    with tenancy.scope(municipality_code):
        return RecoveryExport.objects.filter(pk=export_id).first()


def list_exports(municipality_code: str, *, newest: int = 50) -> list[RecoveryExport]:
    """The newest exports of a municipality, newest first."""
    with tenancy.scope(municipality_code):
        return list(RecoveryExport.objects.order_by("-pk")[:newest])
