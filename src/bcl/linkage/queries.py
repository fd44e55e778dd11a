"""Reads of the intake, inside the caller's scope."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Min, Q

from bcl.foundation.clock import JST
from bcl.linkage.models import Lane, MalwareCheck, Transmission, TransmissionFinding
from bcl.linkage.rules import (
    FileCounts,
    IntakeFacts,
    LaneFacts,
    TransmissionState,
    TransmissionSummary,
)

_WAITING = (TransmissionState.RECEIVED, TransmissionState.OPENED)


def find_transmission(bundle_id: str, *, sha256: str | None = None) -> Transmission | None:
    """A transmission by its bundle id; of several contents under one id the first that came."""
    found = Transmission.objects.filter(bundle_id=bundle_id)
    if sha256 is not None:
        found = found.filter(sha256=sha256)
    return found.order_by("received_at", "id").first()


def get_transmission(transmission_id: uuid.UUID | str) -> Transmission:
    """A transmission that must exist in this scope (DoesNotExist otherwise)."""
    return Transmission.objects.get(id=transmission_id)


def count_unchecked(*, since: datetime) -> int:
    """Transmissions used since then that no malware engine had looked at."""
    return Transmission.objects.filter(
        malware_check=MalwareCheck.UNCHECKED, received_at__gte=since
    ).count()


def list_findings(transmission: Transmission) -> list[TransmissionFinding]:
    """The findings kept of a transmission, in the order found."""
    return list(transmission.findings.order_by("position"))


def list_lanes() -> list[Lane]:
    """All lanes of the scope's municipality."""
    return list(Lane.objects.order_by("lane"))


def read_lane_facts(lane: Lane, *, but: uuid.UUID) -> LaneFacts:
    """The line of a lane as another transmission than `but` sees it."""
    taken = (
        Transmission.objects.filter(
            lane=lane.lane,
            sequence__gt=lane.last_sequence,
            state__in=[TransmissionState.HELD, TransmissionState.OPENED],
        )
        .exclude(id=but)
        .values_list("sequence", flat=True)
    )
    return LaneFacts(lane.last_sequence, frozenset(taken))


def find_next_held(lane: Lane, codes: frozenset[str]) -> Transmission | None:
    """The transmission whose turn has come and that waited only for its turn."""
    return Transmission.objects.filter(
        lane=lane.lane,
        sequence=lane.last_sequence + 1,
        state=TransmissionState.HELD,
        refusal_code__in=codes,
    ).first()


def find_last_landed(lane: str) -> TransmissionSummary | None:
    """Summary of the last landed transmission of a lane, None before the first."""
    last = (
        Transmission.objects.filter(lane=lane, state=TransmissionState.LANDED)
        .order_by("-sequence")
        .first()
    )
    if last is None or last.as_of is None:
        return None
    return TransmissionSummary(
        lane=lane,
        mode=last.mode,
        as_of=last.as_of,
        files=tuple(
            FileCounts(
                file_id=row["file_id"],
                declared=row.get("declared", row["rows"]),
                rows=row["rows"],
                inserted=row.get("inserted", 0),
                changed=row.get("changed", 0),
                ended=row.get("ended", 0),
                unchanged=row.get("unchanged", 0),
            )
            for row in last.counts
        ),
    )


@dataclass(frozen=True)
class IntakeStatus:
    """The intake of one municipality at one moment.

    `backlog` is what is received and neither landed nor refused (滞留): `queued` waits for the
    machine, `held` for a missing predecessor or a person. `lanes` maps a lane to its last landed
    sequence. `seconds_since_landing` is the freshness; None = nothing has ever landed.
    """

    municipality_code: str
    queued: int
    held: int
    held_by_code: Mapping[str, int]
    rejected: int
    landed: int
    lanes: Mapping[str, int]
    last_landed_at: datetime | None
    last_as_of: datetime | None
    seconds_since_landing: int | None
    facts: IntakeFacts
    recent: tuple[Transmission, ...] = field(default=())

    @property
    def backlog(self) -> int:
        """Transmissions that are here and not applied."""
        return self.queued + self.held


def read_status(municipality_code: str, *, at: datetime, recent: int = 20) -> IntakeStatus:
    """Count what is in the intake of the scope's municipality."""
    states = Counter(
        {
            row["state"]: row["number"]
            for row in Transmission.objects.values("state").annotate(number=Count("id"))
        }
    )
    lanes = {lane.lane: lane for lane in Lane.objects.all()}
    landings = [lane.last_landed_at for lane in lanes.values() if lane.last_landed_at]
    main = lanes.get("main")
    facts = _read_facts(lanes, at)
    return IntakeStatus(
        municipality_code=municipality_code,
        queued=sum(states[state] for state in _WAITING),
        held=states[TransmissionState.HELD],
        held_by_code=facts.held,
        rejected=states[TransmissionState.REJECTED],
        landed=states[TransmissionState.LANDED],
        lanes={name: lane.last_sequence for name, lane in sorted(lanes.items())},
        last_landed_at=max(landings, default=None),
        last_as_of=main.last_as_of if main else None,
        seconds_since_landing=facts.seconds_since_landing,
        facts=facts,
        recent=tuple(Transmission.objects.order_by("-received_at", "-id")[:recent]),
    )


def read_facts(*, at: datetime) -> IntakeFacts:
    """What issuing must know of the intake of the scope's municipality."""
    return _read_facts({lane.lane: lane for lane in Lane.objects.all()}, at)


def _read_facts(lanes: Mapping[str, Lane], at: datetime) -> IntakeFacts:
    held = {
        row["refusal_code"]: row["number"]
        for row in Transmission.objects.filter(state=TransmissionState.HELD)
        .values("refusal_code")
        .annotate(number=Count("id"))
    }
    waiting = Transmission.objects.filter(state__in=_WAITING)
    oldest = waiting.aggregate(oldest=Min("received_at"))["oldest"]
    rejected = Transmission.objects.filter(state=TransmissionState.REJECTED, confirmed_at=None)
    main = lanes.get("main")
    landed_at = main.last_landed_at if main else None
    return IntakeFacts(
        held=held,
        unconfirmed_forks=rejected.filter(refusal_code="TRANSMISSION_FORK").count(),
        urgent_waiting=waiting.filter(lane="urgent").count(),
        urgent_rejected=rejected.filter(_still_missing(lanes.get("urgent"))).count(),
        oldest_waiting_seconds=_age(oldest, at),
        seconds_since_landing=_age(landed_at, at),
    )


def _still_missing(urgent: Lane | None) -> Q:
    """Refused urgent transmissions whose restriction nothing has brought since.

    A package too broken to show its number counts until the lane has landed something newer.
    """
    last = urgent.last_sequence if urgent else 0
    unnumbered = Q(sequence__isnull=True)
    if urgent is not None and urgent.last_landed_at is not None:
        unnumbered &= Q(received_at__gt=urgent.last_landed_at)
    return Q(lane="urgent") & (Q(sequence__gt=last) | unnumbered)


def _age(since: datetime | None, at: datetime) -> int | None:
    return None if since is None else max(0, int((at - since).total_seconds()))


def list_received(since: datetime, until: datetime, *, limit: int) -> list[dict[str, str]]:
    """Transmissions received from `since` up to, without, `until`, oldest first, as texts by
    column (times ISO in Japan): what an export may hold of them. Inside the scope."""
    found = Transmission.objects.filter(received_at__gte=since, received_at__lt=until)
    return [
        {
            "bundle_id": each.bundle_id,
            "received_at": each.received_at.astimezone(JST).isoformat(timespec="seconds"),
            "lane": each.lane,
            "sequence": "" if each.sequence is None else str(each.sequence),
            "mode": each.mode,
            "state": each.state,
            "refusal_code": each.refusal_code,
            "rows": str(sum(int(one.get("rows", 0)) for one in each.counts)),
            "findings": str(each.findings_total),
            "landed_at": ""
            if each.landed_at is None
            else each.landed_at.astimezone(JST).isoformat(timespec="seconds"),
        }
        for each in found.order_by("received_at", "id")[:limit]
    ]
