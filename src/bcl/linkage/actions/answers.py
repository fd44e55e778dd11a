"""What a gateway is told about a transmission: JSON without a single value of a resident."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bcl.linkage.actions.receipt import SignedReceipt
from bcl.linkage.models import Lane, ResendRequest, Transmission, TransmissionFinding
from bcl_contract.refusals import Refusal


def describe_transmission(
    transmission: Transmission,
    findings: Sequence[TransmissionFinding],
    receipt: SignedReceipt,
) -> dict[str, object]:
    """Compose the answer of `GET /wire/transmissions/<bundle_id>`."""
    refusal = None
    if transmission.refusal_code:
        refusal = Refusal(transmission.refusal_code, transmission.refusal_detail).as_json()
    return {
        "bundle_id": transmission.bundle_id,
        "state": transmission.state,
        "code": transmission.refusal_code or None,
        "refusal": refusal,
        "lane": transmission.lane or None,
        "sequence": transmission.sequence,
        "mode": transmission.mode or None,
        "as_of": _text(transmission.as_of),
        "interface_version": transmission.interface_version or None,
        "received_at": _text(transmission.received_at),
        "landed_at": _text(transmission.landed_at),
        "load_number": transmission.load_number,
        "files": transmission.counts,
        "findings": [
            {
                "file": finding.file,
                "line": finding.line,
                "column": finding.column or None,
                "rule": finding.rule,
                "severity": finding.severity,
                "code": finding.code,
            }
            for finding in findings
        ],
        "findings_total": transmission.findings_total,
        "receipt": receipt.receipt,
        "signature": receipt.signature,
        "key_id": receipt.key_id,
    }


def describe_contact(requests: Sequence[ResendRequest], lanes: Sequence[Lane]) -> dict[str, object]:
    """Compose the answer of `GET /wire/contact`."""
    return {
        "resend_requests": [
            {
                "id": str(one.id),
                "lane": one.lane,
                "kind": one.kind,
                "sequence": one.sequence,
                "reason": one.reason_code,
                "requested_at": _text(one.requested_at),
            }
            for one in requests
        ],
        "lanes": {lane.lane: lane.last_sequence for lane in lanes},
    }


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
