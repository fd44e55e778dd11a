"""Decisions about recovery exports (リカバリデータ提供): who may do what, what is signed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from bcl_contract.receipts import canonical_json
from bcl_contract.refusals import Refusal

_INCIDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", re.ASCII)
LONGEST_REASON = 500


class ExportState(StrEnum):
    """Where an export stands; moves only along `TRANSITIONS`."""

    REQUESTED = "REQUESTED"
    APPROVED = "APPROVED"
    BUILT = "BUILT"
    RELEASED = "RELEASED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


TRANSITIONS: Mapping[ExportState, frozenset[ExportState]] = MappingProxyType(
    {
        ExportState.REQUESTED: frozenset({ExportState.APPROVED, ExportState.EXPIRED}),
        ExportState.APPROVED: frozenset({ExportState.BUILT, ExportState.FAILED}),
        ExportState.BUILT: frozenset({ExportState.RELEASED, ExportState.EXPIRED}),
        ExportState.RELEASED: frozenset({ExportState.EXPIRED}),
        ExportState.FAILED: frozenset(),
        ExportState.EXPIRED: frozenset(),
    }
)


def may_move(before: ExportState, after: ExportState) -> bool:
    """Is this step in the table?"""
    return after in TRANSITIONS[before]


@dataclass(frozen=True)
class AsOf:
    """Which state is asked for: after a sequence of a lane, or at a time (D5). Exactly one."""

    sequence: int | None = None
    lane: str = "main"
    at: datetime | None = None

    def __post_init__(self) -> None:
        if (self.sequence is None) == (self.at is None):
            raise ValueError("name either a sequence or a time")
        if self.at is not None and self.at.tzinfo is None:
            raise ValueError("the time needs its offset")

    def as_content(self) -> dict[str, str | int]:
        """Its form in a signed act."""
        if self.at is not None:
            return {"as_of_time": self.at.isoformat()}
        return {"as_of_lane": self.lane, "as_of_sequence": int(self.sequence or 0)}


def request_content(
    *, as_of: AsOf, reason: str, incident_id: str, receiver_id: str
) -> dict[str, str | int]:
    """What the person who asks signs. The reason enters as its digest only."""
    return {
        **as_of.as_content(),
        "reason_sha256": hashlib.sha256(reason.encode("utf-8")).hexdigest(),
        "incident_id": incident_id,
        "receiver_id": receiver_id,
    }


def approval_content(export_id: int, request_sha256: str) -> dict[str, str | int]:
    """What the person who approves signs: exactly this request and no other."""
    return {"export_id": export_id, "request_sha256": request_sha256}


def release_content(export_id: int, package_sha256: str) -> dict[str, str | int]:
    """What the person who takes the package out signs."""
    return {"export_id": export_id, "package_sha256": package_sha256}


def request_digest(facts: Mapping[str, object]) -> str:
    """SHA-256 of a request with everything that decides its outcome, lower-case hex."""
    return hashlib.sha256(canonical_json(facts)).hexdigest()


def judge_request(*, reason: str, incident_id: str) -> Refusal | None:
    """A recovery export needs a reason and an incident number (R-033)."""
    if not reason.strip() or len(reason) > LONGEST_REASON or not _INCIDENT.match(incident_id):
        return Refusal("RECOVERY_REASON_MISSING")
    return None


def judge_approval(
    *, state: ExportState, requested_by: str, approved_by: str, same_request: bool
) -> Refusal | None:
    """Four eyes: another person, on exactly the request they were shown."""
    if state is not ExportState.REQUESTED:
        return Refusal("RECOVERY_NOT_REQUESTED")
    if requested_by == approved_by:
        return Refusal("RECOVERY_SAME_PERSON")
    if not same_request:
        return Refusal("RECOVERY_REQUEST_CHANGED")
    return None
