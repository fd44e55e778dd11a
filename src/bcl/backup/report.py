"""Keeping drill reports: signed files, and a row in the agency's audit trail that names them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from django.conf import settings

from bcl.backup.drill import DrillReport
from bcl.foundation import agency_signing, audit
from bcl_contract.receipts import canonical_json

REPORTS = "drills"


def reports_folder() -> Path:
    """Where the reports of this installation lie."""
    folder: Path = settings.BCL.state_dir / REPORTS
    return folder


def keep(report: DrillReport, *, by: audit.Actor) -> Path:
    """Sign and write a report, and record the drill; gives the file."""
    content = report.as_json()
    signed = agency_signing.sign(content)
    folder = reports_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"drill-{report.drill_id}.json"
    whole = {"content": content, **signed._asdict()}
    path.write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    audit.record_agency(
        act="run_restore_drill",
        by=by,
        at=report.started_at,
        detail={
            "backup": report.backup_id or "none",
            "passed": int(report.passed),
            "findings": len(report.findings),
            "rpo_ms": _milliseconds(report.rpo_s),
            "rto_ms": _milliseconds(report.rto_s),
            "report_sha256": hashlib.sha256(canonical_json(content)).hexdigest(),
        },
    )
    return path


def is_genuine(path: Path) -> bool:
    """Whether the agency signed exactly this report."""
    whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    signed = agency_signing.Signature(whole["key_id"], whole["public_key"], whole["signature"])
    return agency_signing.is_genuine(whole["content"], signed)


def _milliseconds(seconds: float | None) -> int:
    return -1 if seconds is None else int(seconds * 1000)
