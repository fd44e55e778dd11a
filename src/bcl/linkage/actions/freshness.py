"""Hearing silence: contacts of gateways, and alarms when a town falls out of its rhythm (R-035)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max

from bcl.foundation import metrics, tenancy
from bcl.linkage.models import GatewayContact, Transmission
from bcl.linkage.queries import read_facts
from bcl.linkage.rhythm import (
    CORE_SILENT,
    GATEWAY_SILENT,
    Rhythm,
    SilenceFacts,
    SilenceTerms,
    judge_silence,
    learn_rhythm,
    load_silence_terms,
)
from bcl.linkage.rules import IntakeFacts, TransmissionState
from bcl.municipalities import api as municipalities

ARRIVALS = 60
"""Arrivals a rhythm is learned from: a daily town's last two months."""
_NOTED_EVERY = timedelta(seconds=30)
_LANE = "main"  # the urgent lane has no rhythm: it speaks when something happens

AGE = metrics.Gauge(
    "bcl_linkage_seconds_since_landing", "Age of the newest landed data", ["municipality_code"]
)
LATE = metrics.Gauge(
    "bcl_linkage_late", "1 while an alarm of silence is open", ["municipality_code", "code"]
)


@dataclass(frozen=True)
class Freshness:
    """How fresh a town's data is and when the next should come. Times are None before the first."""

    municipality_code: str
    rhythm: Rhythm | None
    terms: SilenceTerms
    facts: IntakeFacts
    asked_at: datetime | None
    seen_at: datetime | None
    alarms: frozenset[str]
    expected_by: datetime | None


def note_contact(municipality_code: str, gateway_id: str, *, at: datetime, asked: bool) -> None:
    """Remember that a gateway was heard of; written at most twice a minute."""
    with tenancy.scope(municipality_code):
        row, created = GatewayContact.objects.get_or_create(
            municipality_code=municipality_code,
            gateway_id=gateway_id,
            defaults={"seen_at": at, "asked_at": at if asked else None},
        )
        asked_is_old = asked and (row.asked_at is None or at - row.asked_at >= _NOTED_EVERY)
        if created or not (asked_is_old or at - row.seen_at >= _NOTED_EVERY):
            return
        changed = {"seen_at": at} | ({"asked_at": at} if asked else {})
        GatewayContact.objects.filter(pk=row.pk).update(**changed)


def read_freshness(municipality_code: str, *, at: datetime) -> Freshness:
    """Measure a town against its own rhythm, inside the caller's scope. Nothing is changed."""
    grace = municipalities.setting_at(
        municipality_code, "linkage_silence_grace_seconds", at, default=None
    )
    terms = load_silence_terms(at, grace_seconds=None if grace is None else int(grace))
    arrivals = list(
        Transmission.objects.filter(lane=_LANE, received_at__lte=at)
        .exclude(state=TransmissionState.REJECTED)
        .order_by("-received_at")
        .values_list("received_at", flat=True)[:ARRIVALS]
    )
    rhythm = learn_rhythm(arrivals[::-1], terms)
    heard = GatewayContact.objects.aggregate(seen=Max("seen_at"), asked=Max("asked_at"))
    alarms = judge_silence(SilenceFacts(heard["asked"], heard["seen"]), rhythm, terms, at)
    return Freshness(
        municipality_code=municipality_code,
        rhythm=rhythm,
        terms=terms,
        facts=read_facts(at=at),
        asked_at=heard["asked"],
        seen_at=heard["seen"],
        alarms=alarms,
        expected_by=rhythm and rhythm.next_expected + timedelta(seconds=terms.grace_seconds),
    )


def watch_silence(municipality_code: str, *, at: datetime) -> Freshness:
    """Open and close a town's alarms of silence; safe to run as often as one likes."""
    with tenancy.scope(municipality_code):
        found = read_freshness(municipality_code, at=at)
        for code in (GATEWAY_SILENT, CORE_SILENT):
            LATE.labels(municipality_code, code).set(int(code in found.alarms))
            if code in found.alarms:
                detail = {"expected_by": found.expected_by.isoformat()} if found.expected_by else {}
                municipalities.open_notice(municipality_code, code, at=at, detail=detail)
            else:
                municipalities.close_notice(municipality_code, code, at=at)
        if found.facts.seconds_since_landing is not None:
            AGE.labels(municipality_code).set(found.facts.seconds_since_landing)
    return found
