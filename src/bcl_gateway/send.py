"""Steps 4 and 10: upload signed packages in their order, then ask what became of them.

A transmission leaves only when its predecessor in the lane has landed or is held by BCL, so what
BCL applies has the order the town hall gave it. When BCL rejects one, the lane stops until the
correction (a full transmission of the same files) or a person says how to go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from bcl_contract import clock
from bcl_contract.linkage.manifest import LANES
from bcl_contract.refusals import Refusal
from bcl_contract.sealed_file import SealedFileError
from bcl_gateway.carrier_folder import FolderCarrier
from bcl_gateway.carrier_tus import TusCarrier
from bcl_gateway.connection import LineBroken, ServerRefuses
from bcl_gateway.journal import Item, Journal
from bcl_gateway.outbound import Carrier, Outbound, contact_is_due
from bcl_gateway.seams import backoff_seconds
from bcl_gateway.states import ItemState


@dataclass(frozen=True)
class Sent:
    """What one round of sending did. `refusal` is the last no that stopped something."""

    uploaded: tuple[Item, ...] = ()
    judged: tuple[Item, ...] = ()
    waiting: int = 0
    refusal: Refusal | None = None


def send_due(out: Outbound, *, patience_seconds: float = 0.0) -> Sent:
    """Upload what may go and fetch the answers to what went.

    A broken line is tried again, with growing waits, for `patience_seconds`; after that the
    journal keeps the time of the next attempt. Nothing is lost either way. With patience (a
    person asks) the first attempt is made at once, whenever the next one was planned.
    """
    ends_at = out.seams.monotonic() + patience_seconds
    total = Sent()
    at_once = patience_seconds > 0
    while True:
        round_ = _one_round(out, at_once=at_once)
        at_once = False
        total = Sent(
            total.uploaded + round_.uploaded,
            total.judged + round_.judged,
            round_.waiting,
            round_.refusal,
        )
        left = ends_at - out.seams.monotonic()
        moved = round_.uploaded or round_.judged
        if round_.waiting == 0 or left <= 0 or (not moved and _is_final(round_.refusal)):
            return total
        if not moved:
            out.seams.sleep(min(left, _seconds_to_next(out)))


def _is_final(refusal: Refusal | None) -> bool:
    """Will waiting not help? A broken line may heal, and a stopped lane stops only itself."""
    return refusal is not None and refusal.code not in (
        "GATEWAY_UNREACHABLE",
        "GATEWAY_LANE_STOPPED",
    )


def _one_round(out: Outbound, *, at_once: bool) -> Sent:
    """Every item that is due gets one attempt: answers first, they may free the next upload."""
    uploaded: list[Item] = []
    judged: list[Item] = []
    refusal: Refusal | None = None
    try:
        with carrier_of(out) as carrier:
            for step, done in ((carrier.fetch_answer, judged), (carrier.upload, uploaded)):
                for item in _due(out, fetching=done is judged, at_once=at_once):
                    after, problem = _attempt(out, item, step)
                    refusal = problem or refusal
                    if problem is None and after.state is not item.state:
                        done.append(after)
            contact = _keep_contact(out, carrier)
            refusal = refusal or contact
    except ServerRefuses as no:
        refusal = no.refusal
    stopped = {lane for lane in LANES if lane_stopped(out.journal, lane)}
    if refusal is None and stopped:
        refusal = Refusal("GATEWAY_LANE_STOPPED")
    waiting = out.journal.items(ItemState.SENDING, ItemState.SENT)
    waiting += [i for i in out.journal.items(ItemState.SIGNED) if i.lane not in stopped]
    for item in waiting:
        if refusal is None and item.refusal_code:
            refusal = Refusal(item.refusal_code, item.refusal_detail)
    return Sent(tuple(uploaded), tuple(judged), len(waiting), refusal)


def carrier_of(out: Outbound) -> Carrier:
    """The way to BCL that the settings name (R-014)."""
    return TusCarrier(out) if out.config.folders is None else FolderCarrier(out)


def _keep_contact(out: Outbound, carrier: Carrier) -> Refusal | None:
    """Now and then BCL must hear of us, also when there is nothing to send (R-035).

    A broken line is no news here: what is to be sent finds it too, and says so.
    """
    if not contact_is_due(out, carrier.contact_every):
        return None
    try:
        carrier.make_contact()
    except LineBroken:
        return None
    except ServerRefuses as no:
        return no.refusal
    return None


def _due(out: Outbound, *, fetching: bool, at_once: bool) -> list[Item]:
    """Whose turn it is now: answers of what was sent, or the next upload of each lane."""
    now = clock.now()
    if fetching:
        items = out.journal.items(ItemState.SENT, ItemState.HELD)
    else:
        items = [item for lane in LANES if (item := next_to_upload(out.journal, lane))]
    return [item for item in items if at_once or item.retry_at is None or item.retry_at <= now]


def next_to_upload(journal: Journal, lane: str) -> Item | None:
    """The lane's next upload: the lowest number that is not sent, if its turn has come."""
    underway = journal.items(ItemState.SENDING, lane=lane)
    if underway:
        return underway[0]
    if lane_stopped(journal, lane):
        return None
    signed = sorted(journal.items(ItemState.SIGNED, lane=lane), key=lambda item: item.sequence or 0)
    # The predecessor must be judged: a number BCL rejects is given to the correction.
    if not signed or journal.items(ItemState.SENT, lane=lane):
        return None
    return signed[0]


def lane_stopped(journal: Journal, lane: str | None) -> bool:
    """Has BCL rejected something of this lane that nobody has dealt with yet?"""
    return any(not item.settled for item in journal.items(ItemState.REJECTED, lane=lane or "main"))


def _attempt(
    out: Outbound, item: Item, step: Callable[[Item], Item]
) -> tuple[Item, Refusal | None]:
    """Take one step with an item; a broken line or a no is written down with the next time."""
    try:
        return step(item), None
    except LineBroken:
        refusal = Refusal("GATEWAY_UNREACHABLE")
    except ServerRefuses as no:
        refusal = no.refusal
    except (SealedFileError, FileNotFoundError):
        refusal = Refusal("GATEWAY_SPOOL_DAMAGED", {"sequence": item.sequence or 0})
    return _put_off(out, item, refusal), refusal


def _put_off(out: Outbound, item: Item, refusal: Refusal) -> Item:
    failures = item.failures + 1
    wait = backoff_seconds(
        failures,
        first=out.config.backoff_first_seconds,
        longest=out.config.backoff_longest_seconds,
        chance=out.seams.chance,
    )
    at = clock.now()
    return out.journal.learn(
        item,
        at=at,
        note="" if item.refusal_code == refusal.code else refusal.code,
        failures=failures,
        retry_at=at + timedelta(seconds=wait),
        refusal_code=refusal.code,
        refusal_detail=dict(refusal.detail),
    )


def _seconds_to_next(out: Outbound) -> float:
    times = [
        item.retry_at
        for item in out.journal.items(ItemState.SIGNED, ItemState.SENDING, ItemState.SENT)
        if item.retry_at is not None
    ]
    if not times:
        return out.config.backoff_first_seconds
    return max(0.01, (min(times) - clock.now()).total_seconds())
