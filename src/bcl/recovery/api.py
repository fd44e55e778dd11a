"""Recovery exports (リカバリデータ提供): request, approval by a second person, build, release.

    from bcl.recovery import api as recovery
    content = recovery.request_content(as_of=recovery.AsOf(sequence=3), reason=..., ...)
    signed = sign_act(act="request_export", content=content, ...)      # bcl_contract.signed_acts
    export = recovery.request_export("999997", as_of=..., signed=signed, at=now, ...)

Every act is signed by a registered member of staff (D31) and opens the municipality's scope itself.
"""

from __future__ import annotations

from bcl.foundation import tenancy
from bcl.recovery.actions.build import (
    build_export,
    expire_exports,
    package_path,
    release_export,
)
from bcl.recovery.actions.request import approve_export, read_reason, request_export
from bcl.recovery.models import RecoveryExport
from bcl.recovery.rules import (
    AsOf,
    ExportState,
    approval_content,
    release_content,
    request_content,
)

__all__ = [
    "AsOf",
    "ExportState",
    "RecoveryExport",
    "approval_content",
    "approve_export",
    "build_export",
    "expire_exports",
    "find_export",
    "list_exports",
    "package_path",
    "read_reason",
    "release_content",
    "release_export",
    "request_content",
    "request_export",
]


def find_export(municipality_code: str, export_id: int) -> RecoveryExport | None:
    """One export of a municipality, or None."""
    with tenancy.scope(municipality_code):
        return RecoveryExport.objects.filter(pk=export_id).first()


def list_exports(municipality_code: str, *, newest: int = 50) -> list[RecoveryExport]:
    """The newest exports of a municipality, newest first."""
    with tenancy.scope(municipality_code):
        return list(RecoveryExport.objects.order_by("-pk")[:newest])
