"""Recovery exports (リカバリデータ提供): request, approval by a second person, build, release.

    from bcl.recovery import api as recovery
    content = recovery.request_content(as_of=recovery.AsOf(sequence=3), reason=..., ...)
    signed = sign_act(act="request_export", content=content, ...)      # bcl_contract.signed_acts
    export = recovery.request_export("999997", as_of=..., signed=signed, at=now, ...)

Every act is signed by a registered member of staff (D31) and opens the municipality's scope itself.
"""

from __future__ import annotations

from bcl.recovery.actions.build import (
    build_export,
    expire_exports,
    package_path,
    release_export,
    take_export,
)
from bcl.recovery.actions.request import approve_export, read_reason, request_export
from bcl.recovery.adapters.release_area import SealedPackage, remove_package, seal_package
from bcl.recovery.models import RecoveryExport
from bcl.recovery.queries import find_export, list_exports
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
    "SealedPackage",
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
    "remove_package",
    "request_content",
    "request_export",
    "seal_package",
    "take_export",
]
