"""Telling the rest of BCL that a town's data can't be trusted for issuing right now (R-019).

Issuing asks availability whether it is open; it knows nothing of transmissions. So whatever in the
intake forbids issuing is kept there as a suspension of ours, changed in the very transaction that
changes the intake: a restriction that was acknowledged is never overtaken by a certificate.
"""

from __future__ import annotations

from datetime import datetime

from django.db import connection

from bcl.availability import api as availability
from bcl.foundation import audit, metrics
from bcl.linkage.queries import read_facts
from bcl.linkage.rules import judge_obstacle
from bcl.municipalities import api as municipalities
from bcl_contract.refusals import Refusal

# Defaults of settings a municipality may change (domain §5.6: stop at 72 hours without data).
GRACE_SECONDS = 1800
STALE_HOURS = 72
OUR_REASONS = frozenset(
    {
        "TRANSMISSION_FORK",
        "TRANSMISSION_GAP",
        "LINKAGE_URGENT_REJECTED",
        "LINKAGE_TRANSMISSION_HELD",
        "LINKAGE_URGENT_WAITING",
        "LINKAGE_BACKLOG",
        "LINKAGE_STALE",
    }
)
SYSTEM = audit.Actor("system", "linkage")
STOPPED = metrics.Gauge(
    "bcl_linkage_issuing_stopped", "1 while the intake forbids issuing", ["municipality_code"]
)
_LOCK_CLASS = 0x4C4B  # any number of our own; the second half of the key is the town


def find_obstacle(municipality_code: str, at: datetime) -> Refusal | None:
    """What in the intake forbids issuing now, inside the caller's scope."""

    def setting(name: str, default: int) -> int:
        return int(municipalities.setting_at(municipality_code, name, at, default=default))

    return judge_obstacle(
        read_facts(at=at),
        grace_seconds=setting("linkage_grace_seconds", GRACE_SECONDS),
        stale_seconds=3600 * setting("linkage_stale_hours", STALE_HOURS),
    )


def publish_obstacle(municipality_code: str, *, at: datetime) -> None:
    """Bring the suspension of issuing in line with the intake, in the caller's transaction.

    Call it last: the lock it takes makes two transactions that change the intake at once see
    each other's work, or one could lift what the other has just relied on.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK_CLASS, int(municipality_code)]
        )
    obstacle = find_obstacle(municipality_code, at)
    wanted = None if obstacle is None else obstacle.code
    STOPPED.labels(municipality_code).set(0 if wanted is None else 1)
    service = availability.Service.ISSUANCE
    for reason in availability.list_suspensions(municipality_code, service):
        if reason in OUR_REASONS and reason != wanted:
            availability.resume(municipality_code, service, reason, SYSTEM, at)
    if wanted is not None:
        availability.suspend(municipality_code, service, wanted, SYSTEM, at)
