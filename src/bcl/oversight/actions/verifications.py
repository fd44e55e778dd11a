"""Checking the audit log as a job: asked for on the page, counted while it runs (R-171)."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import DatabaseError, IntegrityError, connection, transaction

from bcl.accounts import api as accounts
from bcl.foundation import audit, audit_check, audit_log, clock, jobs, tenancy
from bcl.foundation.models import AuditLeaf
from bcl.municipalities import api as municipalities
from bcl.oversight.models import AuditVerification
from bcl.oversight.rules import VerificationState

CHECK_TASK = "oversight.run_verification"
FINDINGS_KEPT = 200
_TELL_EVERY_SECONDS = 1.0
_OPEN = (VerificationState.WAITING, VerificationState.RUNNING)


def request_verification(principal: accounts.Principal, *, at: datetime) -> AuditVerification:
    """Queue a check of the principal's own log; where one is on its way, that one."""
    code = principal.municipality_code
    with tenancy.scope(code):
        try:
            with transaction.atomic():
                row = AuditVerification.objects.create(
                    municipality_code=code,
                    state=VerificationState.WAITING,
                    requested_at=at,
                    requested_by=principal.actor.id,
                )
        except IntegrityError:
            return AuditVerification.objects.filter(state__in=_OPEN).latest("pk")
        audit.record(
            act="request_audit_check", by=principal.actor, at=at, detail={"check": row.pk}
        )
        jobs.defer(
            CHECK_TASK,
            municipality_code=code,
            idempotency_key=f"check-{row.pk}",
            verification_id=row.pk,
        )
        return row


def run_verification(municipality_code: str, verification_id: int) -> None:
    """Check the whole log and keep what was found. Running again starts over."""
    with tenancy.scope(municipality_code):
        row = AuditVerification.objects.filter(pk=verification_id, state__in=_OPEN).first()
        if row is None:
            return
        row.state, row.total, row.looked_at = (
            VerificationState.RUNNING,
            AuditLeaf.objects.count(),
            0,
        )
        row.save(update_fields=["state", "total", "looked_at"])
    try:
        with _Teller(municipality_code, verification_id) as teller:
            report = audit_check.check(
                municipality_code,
                outside=list(audit_log.outside_place().read(municipality_code)),
                at=clock.now(),
                progress=teller.tell,
            )
    except Exception:
        with tenancy.scope(municipality_code):
            row.state, row.finished_at = VerificationState.FAILED, clock.now()
            row.save(update_fields=["state", "finished_at"])
        raise
    _keep(row, report)


def _keep(row: AuditVerification, report: audit_check.Report) -> None:
    at = clock.now()
    with tenancy.scope(row.municipality_code):
        row.state, row.finished_at = VerificationState.DONE, at
        row.looked_at = row.total = report.rows
        row.heads, row.outside_heads = report.heads, report.outside_heads
        row.waiting, row.tags_checked = report.waiting, report.tags_checked
        row.findings_total = len(report.findings)
        row.findings = [_plain(each) for each in report.findings[:FINDINGS_KEPT]]
        row.save()
        audit.record(
            act="finish_audit_check",
            by=audit.SYSTEM,
            at=at,
            detail={"check": row.pk, "rows": report.rows, "findings": len(report.findings)},
        )
        if row.municipality_code != audit_log.AGENCY_LOG:
            _notify(row, sound=report.is_sound, at=at)


def _notify(row: AuditVerification, *, sound: bool, at: datetime) -> None:
    """A broken log stands on everybody's home page until a check finds it whole."""
    if sound:
        municipalities.close_notice(row.municipality_code, "AUDIT_LOG_BROKEN", at=at)
        return
    municipalities.open_notice(
        row.municipality_code, "AUDIT_LOG_BROKEN", at=at, detail={"check": row.pk}
    )


def _plain(finding: audit_check.Finding) -> dict[str, Any]:
    return {**asdict(finding), "kind": finding.kind.value}


class _Teller:
    """Writes how far the check is, over a connection of its own: the check reads one snapshot."""

    def __init__(self, municipality_code: str, verification_id: int) -> None:
        self._code, self._id = municipality_code, verification_id
        self._looked_at = self._told = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-check-progress", daemon=True)

    def __enter__(self) -> _Teller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def tell(self, looked_at: int) -> None:
        """How many rows have been looked at."""
        self._looked_at = looked_at

    def _run(self) -> None:
        try:
            while not self._over.wait(_TELL_EVERY_SECONDS):
                if self._looked_at != self._told:
                    self._told = self._looked_at
                    # What can't be told now is told in a second.
                    with suppress(DatabaseError):
                        self._write()
        finally:
            connection.close()

    def _write(self) -> None:
        with tenancy.scope(self._code):
            AuditVerification.objects.filter(
                pk=self._id, state=VerificationState.RUNNING
            ).update(looked_at=self._told)
