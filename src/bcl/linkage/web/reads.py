"""What the linkage screens read, inside the caller's scope. No values of residents, ever."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

from bcl.linkage.models import Transmission, TransmissionFinding
from bcl.linkage.rules import TransmissionState

PAGE_ROWS = 20
FINDINGS_SHOWN = 200
TREND_LENGTH = 30
BAR_STEP = 24


@dataclass(frozen=True)
class Page:
    """One page of transmissions, newest first; pages count from 1."""

    rows: list[Transmission]
    number: int
    last: int
    total: int


def list_transmissions(*, state: str, number: int) -> Page:
    """Transmissions in this state (all with an empty one), a page of them."""
    found = Transmission.objects.order_by("-received_at", "-id")
    if state:
        found = found.filter(state=state)
    total = found.count()
    last = max(1, -(-total // PAGE_ROWS))
    number = min(max(1, number), last)
    begin = (number - 1) * PAGE_ROWS
    return Page(list(found[begin : begin + PAGE_ROWS]), number, last, total)


def find(transmission_id: uuid.UUID) -> Transmission | None:
    """One transmission of the scope's municipality, or None."""
    return Transmission.objects.filter(id=transmission_id).first()


def first_findings(transmission: Transmission) -> list[TransmissionFinding]:
    """The findings a person looks at first."""
    return list(transmission.findings.order_by("position")[:FINDINGS_SHOWN])


@dataclass(frozen=True)
class Bar:
    """One landed transmission in the trend, placed in a picture 100 high (`x`, `y`, `height`)."""

    sequence: int
    rows: int
    x: int
    y: int
    height: int


def trend() -> list[Bar]:
    """Rows of the newest landed transmissions of the main lane, oldest first."""
    landed = Transmission.objects.filter(state=TransmissionState.LANDED, lane="main")
    newest = list(landed.order_by("-sequence")[:TREND_LENGTH])[::-1]
    rows = [sum(int(one.get("rows", 0)) for one in each.counts) for each in newest]
    largest = max(rows, default=0) or 1
    bars = []
    for place, (each, count) in enumerate(zip(newest, rows, strict=True)):
        height = max(1, round(100 * count / largest))
        x = BAR_STEP * place
        bars.append(Bar(int(each.sequence or 0), count, x, 100 - height, height))
    return bars


def stamp(transmission: Transmission) -> str:
    """What a decision is about: another state or reason makes the form stale (lost update)."""
    seen = (
        transmission.id, transmission.state, transmission.refusal_code,
        transmission.release_asked_by, transmission.released_at,
    )
    return hashlib.sha256("|".join(map(str, seen)).encode()).hexdigest()[:32]
