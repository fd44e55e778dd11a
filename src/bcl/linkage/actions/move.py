"""The only place where a transmission changes its state (transition table in `rules`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bcl.foundation import audit, log
from bcl.linkage.models import MAXIMUM_FINDINGS_KEPT, Transmission, TransmissionFinding
from bcl.linkage.rules import TransmissionState, may_move
from bcl_contract.linkage.findings import Finding
from bcl_contract.refusals import Refusal

ACTS = {
    TransmissionState.OPENED: "open_transmission",
    TransmissionState.LANDED: "land_transmission",
    TransmissionState.HELD: "hold_transmission",
    TransmissionState.REJECTED: "reject_transmission",
}

logger = log.get(__name__)


class ForbiddenTransition(Exception):
    """A step that is not in the transition table: a fault of the program."""


def move_transmission(
    transmission: Transmission,
    state: TransmissionState,
    *,
    by: audit.Actor,
    at: datetime,
    refusal: Refusal | None = None,
) -> None:
    """Move a transmission, say why, and write the audit row, inside the caller's transaction."""
    before = TransmissionState(transmission.state)
    if not may_move(before, state):
        raise ForbiddenTransition(f"{before.value} to {state.value}")
    transmission.state = state.value
    transmission.refusal_code = "" if refusal is None else refusal.code
    transmission.refusal_detail = {} if refusal is None else dict(refusal.detail)
    if state is TransmissionState.OPENED and transmission.opened_at is None:
        transmission.opened_at = at
    transmission.save()
    audit.record(
        act=ACTS[state],
        by=by,
        at=at,
        detail={
            "transmission": transmission.id.hex,
            "lane": transmission.lane,
            "sequence": transmission.sequence or 0,
            "code": transmission.refusal_code,
        },
    )
    logger.info(
        ACTS[state],
        municipality_code=transmission.municipality_code,
        transmission_id=str(transmission.id),
        state=transmission.state,
        code=transmission.refusal_code,
    )


def keep_findings(transmission: Transmission, findings: Sequence[Finding], *, total: int) -> None:
    """Keep the findings of the last pass over a transmission in place of earlier ones."""
    transmission.findings.all().delete()
    transmission.findings_total = total
    TransmissionFinding.objects.bulk_create(
        TransmissionFinding(
            municipality_code=transmission.municipality_code,
            transmission=transmission,
            position=position,
            file=finding.file,
            line=finding.line,
            column=finding.column or "",
            rule=finding.rule,
            severity=finding.severity,
            code=finding.code,
        )
        for position, finding in enumerate(findings[:MAXIMUM_FINDINGS_KEPT])
    )
