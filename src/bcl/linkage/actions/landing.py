"""Judging and landing an opened transmission (journey daily-sync, steps 7 to 9).

One streaming pass inside one transaction: the store validates, versions and copies; the finished
counts are judged; LAND commits the load, the state LANDED, the lane's new position, the audit row
and the jobs of all subscribers together. Any other verdict leaves nothing of the load behind.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from typing import Any

from bcl.foundation import jobs, log, metrics, tenancy
from bcl.linkage import settings as intake_settings
from bcl.linkage.actions.accept import defer_opening
from bcl.linkage.actions.interface_life import refuse_version_change
from bcl.linkage.actions.move import keep_findings, move_transmission
from bcl.linkage.actions.obstacle import SYSTEM, publish_obstacle
from bcl.linkage.actions.opening import (
    WAITS_FOR_TURN,
    clear_bytes,
    lock_lane,
    lock_transmission,
    open_transmission,
    opened_package,
)
from bcl.linkage.adapters.give_way import MOST_TIMES, GaveWay, UrgentWatch
from bcl.linkage.adapters.store import LoadOutcome, apply_package
from bcl.linkage.models import Lane, Transmission
from bcl.linkage.queries import find_last_landed, find_next_held, get_transmission
from bcl.linkage.rules import (
    TransmissionState,
    TransmissionSummary,
    Verdict,
    VerdictKind,
    judge_transmission,
    load_limits,
)
from bcl.municipalities import api as municipalities
from bcl_contract.refusals import Refusal

FAULTS_BEFORE_HOLD = 3
GIVEN_WAY = metrics.Counter(
    "bcl_linkage_gave_way_total", "Main loads that stopped for an urgent transmission"
)
logger = log.get(__name__)


def advance_transmission(
    municipality_code: str, transmission_id: uuid.UUID | str, *, at: datetime
) -> TransmissionState:
    """Take a transmission as far as it can go now; safe to run any number of times.

    A fault of the program rolls everything back and is raised for the queue to try again; the
    third one holds the transmission for a person, so that it can't block the queue for ever.
    """
    try:
        state = open_transmission(municipality_code, transmission_id, at=at)
        if state is TransmissionState.HELD:
            state = _resume_held(municipality_code, transmission_id, at=at)
        if state is TransmissionState.OPENED:
            state = _land_giving_way(municipality_code, transmission_id, at=at)
    except Exception:
        if not _count_fault(municipality_code, transmission_id, at=at):
            raise
        state = TransmissionState.HELD
    if state in (TransmissionState.LANDED, TransmissionState.REJECTED):
        with tenancy.scope(municipality_code):
            transmission = get_transmission(transmission_id)
        clear_bytes(transmission)
    return state


def _land_giving_way(
    municipality_code: str, transmission_id: uuid.UUID | str, *, at: datetime
) -> TransmissionState:
    """Land; a main load begins anew each time it gave way to an urgent one, but not for ever.

    The urgent one waits for the store's lock already, so the next try queues up behind it.
    """
    for times in range(MOST_TIMES):
        try:
            return land_transmission(municipality_code, transmission_id, at=at)
        except GaveWay:
            GIVEN_WAY.inc()
            logger.info(
                "main_load_gave_way",
                municipality_code=municipality_code,
                transmission_id=str(transmission_id),
                count=times + 1,
            )
    return land_transmission(municipality_code, transmission_id, at=at, give_way=False)


def land_transmission(
    municipality_code: str,
    transmission_id: uuid.UUID | str,
    *,
    at: datetime,
    give_way: bool = True,
) -> TransmissionState:
    """Apply an OPENED transmission whose turn it is, or hold or reject it.

    Raises `GaveWay`, with nothing changed, when a main load meets an urgent transmission.
    """
    with tenancy.scope(municipality_code):
        transmission = get_transmission(transmission_id)
    with ExitStack() as stack:
        package = stack.enter_context(opened_package(transmission))
        stack.enter_context(tenancy.scope(municipality_code))
        lane = lock_lane(municipality_code, transmission.lane)
        transmission = lock_transmission(transmission_id)
        if transmission.state != TransmissionState.OPENED:
            return TransmissionState(transmission.state)
        refusal = refuse_version_change(transmission, package)
        if isinstance(package, Refusal) or refusal is not None:
            move_transmission(
                transmission, TransmissionState.REJECTED, by=SYSTEM, at=at, refusal=refusal
            )
            publish_obstacle(municipality_code, at=at)
            return TransmissionState.REJECTED
        if transmission.sequence != lane.last_sequence + 1:
            # Placed under the lane's lock and unchanged since, unless its predecessor was
            # rejected afterwards by a person: then it waits again.
            refusal = Refusal("TRANSMISSION_GAP", {"expected": lane.last_sequence + 1})
            move_transmission(
                transmission, TransmissionState.HELD, by=SYSTEM, at=at, refusal=refusal
            )
            publish_obstacle(municipality_code, at=at)
            return TransmissionState.HELD
        watch = stack.enter_context(
            UrgentWatch(municipality_code, wanted=give_way and transmission.lane == "main")
        )
        outcome = apply_package(
            package,
            transmission=transmission,
            decide=_judge(transmission, at),
            watch=watch,
            by=SYSTEM,
            at=at,
        )
        _record_outcome(transmission, lane, outcome, at=at)
        publish_obstacle(municipality_code, at=at)
    return TransmissionState(transmission.state)


def _judge(transmission: Transmission, at: datetime) -> Callable[[TransmissionSummary], Verdict]:
    def setting(name: str, default: Any) -> Any:
        return municipalities.setting_at(transmission.municipality_code, name, at, default=default)

    limits = load_limits(
        at,
        on_row_errors=setting("linkage_on_row_errors", "reject"),
        percent=setting("linkage_change_percent", None),
        quarantine_percent=int(setting("linkage_quarantine_percent", 1)),
    )
    last = find_last_landed(transmission.lane)
    released = transmission.released_at is not None

    def decide(summary: TransmissionSummary) -> Verdict:
        # step 7
        return judge_transmission(summary, last, limits, released=released)

    return decide


def _record_outcome(
    transmission: Transmission, lane: Lane, outcome: LoadOutcome, *, at: datetime
) -> None:
    transmission.counts = outcome.counts or transmission.counts
    keep_findings(transmission, outcome.findings, total=outcome.findings_total)
    if outcome.verdict.kind is VerdictKind.LAND:
        transmission.landed_at = at
        transmission.load_number = outcome.load_number
        move_transmission(transmission, TransmissionState.LANDED, by=SYSTEM, at=at)
        lane.last_sequence = transmission.sequence
        lane.last_as_of = transmission.as_of
        lane.last_landed_at = at
        lane.save()
        _start_what_follows(transmission, lane)
        return
    state = (
        TransmissionState.HELD
        if outcome.verdict.kind is VerdictKind.HOLD
        else TransmissionState.REJECTED
    )
    move_transmission(transmission, state, by=SYSTEM, at=at, refusal=outcome.verdict.refusal)


def _start_what_follows(transmission: Transmission, lane: Lane) -> None:
    """Step 9, and the next of the line: jobs of the same transaction, so none can be lost."""
    for task in intake_settings.subscriber_tasks():
        jobs.defer(
            task,
            municipality_code=transmission.municipality_code,
            idempotency_key=f"{task}:{transmission.municipality_code}:{transmission.load_number}",
        )
    waiting = find_next_held(lane, WAITS_FOR_TURN)
    if waiting is not None:
        defer_opening(waiting, occasion=f"turn-{transmission.load_number}")


def _resume_held(
    municipality_code: str, transmission_id: uuid.UUID | str, *, at: datetime
) -> TransmissionState:
    """A held transmission goes on when its turn has come or a person has released it."""
    with tenancy.scope(municipality_code):
        lane_name = get_transmission(transmission_id).lane
        if not lane_name:
            return TransmissionState.HELD
        lane = lock_lane(municipality_code, lane_name)
        transmission = lock_transmission(transmission_id)
        its_turn = transmission.sequence == lane.last_sequence + 1
        may_go_on = transmission.refusal_code in WAITS_FOR_TURN or (
            transmission.released_at is not None
        )
        if transmission.state == TransmissionState.HELD and its_turn and may_go_on:
            move_transmission(transmission, TransmissionState.OPENED, by=SYSTEM, at=at)
            # Still not applied: the town's issuing stays stopped until it has landed.
        return TransmissionState(transmission.state)


def _count_fault(municipality_code: str, transmission_id: uuid.UUID | str, *, at: datetime) -> bool:
    """Count a fault; True when it was one too many and the transmission is held now."""
    with tenancy.scope(municipality_code):
        transmission = lock_transmission(transmission_id)
        transmission.faults += 1
        over = transmission.faults % FAULTS_BEFORE_HOLD == 0
        if over and transmission.state in (TransmissionState.RECEIVED, TransmissionState.OPENED):
            logger.exception("transmission_fault", transmission_id=str(transmission_id))
            transmission.released_at, transmission.released_by = None, ""
            transmission.release_asked_at, transmission.release_asked_by = None, ""
            move_transmission(
                transmission,
                TransmissionState.HELD,
                by=SYSTEM,
                at=at,
                refusal=Refusal("TRANSMISSION_PROCESSING_FAULT"),
            )
            publish_obstacle(municipality_code, at=at)
            return True
        transmission.save()
        return False
