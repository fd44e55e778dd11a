"""Steps 4 and 10: upload signed packages in their order, then ask what became of them.

A transmission leaves only when its predecessor in the lane has landed or is held by BCL, so what
BCL applies has the order the town hall gave it. When BCL rejects one, the lane stops until the
correction (a full transmission of the same files) or a person says how to go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from bcl_contract import clock, receipts
from bcl_contract.linkage.manifest import LANES
from bcl_contract.refusals import Refusal
from bcl_contract.sealed_file import SealedFileError
from bcl_gateway.check import FINDINGS_IN_REPORT
from bcl_gateway.config import GatewayConfig
from bcl_gateway.connection import LineBroken, ServerRefuses, WireConnection, refusal_in
from bcl_gateway.journal import Item, Journal
from bcl_gateway.seams import Seams, backoff_seconds
from bcl_gateway.sign import Keys, open_spooled, spool_path
from bcl_gateway.states import ItemState
from bcl_gateway.tus_client import ask_offset, create_upload, send_rest

Progress = Callable[[Item, int, int], None]
"""Hears (item, acknowledged bytes, all bytes)."""

_JUDGED = (ItemState.LANDED, ItemState.HELD)


@dataclass(frozen=True)
class Outbound:
    """What sending needs: settings, journal, keys, seams, and who hears the progress."""

    config: GatewayConfig
    journal: Journal
    keys: Keys
    seams: Seams
    progress: Progress


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
        if any(_due(out, fetching=fetching, at_once=at_once) for fetching in (True, False)):
            with WireConnection(out.config) as line:
                for step, done in ((_fetch_answer, judged), (_upload, uploaded)):
                    for item in _due(out, fetching=step is _fetch_answer, at_once=at_once):
                        after, problem = _attempt(out, line, item, step)
                        refusal = problem or refusal
                        if problem is None and after.state is not item.state:
                            done.append(after)
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
    out: Outbound,
    line: WireConnection,
    item: Item,
    step: Callable[[Outbound, WireConnection, Item], Item],
) -> tuple[Item, Refusal | None]:
    """Take one step with an item; a broken line or a no is written down with the next time."""
    try:
        return step(out, line, item), None
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


_NO_PROBLEM: dict[str, Any] = {
    "failures": 0,
    "retry_at": None,
    "refusal_code": None,
    "refusal_detail": None,
}


def _upload(out: Outbound, line: WireConnection, item: Item) -> Item:
    """SIGNED → SENDING → SENT, from wherever BCL's offset stands."""
    journal = out.journal
    if item.state is ItemState.SIGNED:
        item = journal.move(item, ItemState.SENDING, at=clock.now())
    length = item.package_bytes or 0
    with open_spooled(out.config, out.keys, item) as source:
        offset = ask_offset(line, item.upload_url) if item.upload_url else None
        if offset is None:
            url = create_upload(
                line, length=length, bundle_id=item.bundle_id or "", filename=f"{item.sequence}.zip"
            )
            item, offset = journal.learn(item, at=clock.now(), upload_url=url, offset=0), 0

        def acknowledged(reached: int) -> None:
            journal.learn(item, at=clock.now(), offset=reached, **_NO_PROBLEM)
            out.progress(item, reached, length)

        out.progress(item, offset, length)
        send_rest(
            line, item.upload_url or "", source,
            offset=offset, length=length, chunk_bytes=out.config.chunk_bytes, report=acknowledged,
        )  # fmt: skip
    return journal.move(item, ItemState.SENT, at=clock.now(), offset=length, **_NO_PROBLEM)


def _fetch_answer(out: Outbound, line: WireConnection, item: Item) -> Item:
    """Ask what became of a transmission; believe only a receipt that BCL signed (R-015).

    With the first good receipt the sealed package is purged: BCL has it (R-041).
    """
    query = f"transmissions/{quote(item.bundle_id or '')}?sha256={item.package_sha256}"
    answer = line.request("GET", line.url(query))
    if answer.status == 404:
        return _send_again(out, item)
    if answer.status != 200:
        raise ServerRefuses(refusal_in(answer)) if answer.status < 500 else LineBroken()
    try:
        content = answer.json()
        receipt, signature = content["receipt"], content["signature"]
    except (ValueError, KeyError, TypeError):
        raise ServerRefuses(Refusal("GATEWAY_SERVER_ANSWER")) from None
    if not _is_receipt_of(out.config, item, receipt, signature):
        raise ServerRefuses(Refusal("GATEWAY_RECEIPT_INVALID"))
    return _take_receipt(out, item, receipt, signature, content)


def _is_receipt_of(config: GatewayConfig, item: Item, receipt: Any, signature: Any) -> bool:
    """Is it signed by BCL, and about exactly these bytes of ours?"""
    if not isinstance(receipt, dict) or not isinstance(signature, str):
        return False
    if not receipts.verify(receipt, signature, config.server.receipt_key):
        return False
    ours = {
        "bundle_id": item.bundle_id,
        "municipality_code": config.municipality_code,
        "sha256": item.package_sha256,
        "bytes": item.package_bytes,
    }
    placed = receipt["lane"] in (None, item.lane) and receipt["sequence"] in (None, item.sequence)
    return placed and all(receipt[name] == value for name, value in ours.items())


def _take_receipt(
    out: Outbound, item: Item, receipt: dict[str, Any], signature: str, content: dict[str, Any]
) -> Item:
    at = clock.now()
    facts: dict[str, Any] = _NO_PROBLEM | {
        "receipt": receipt,
        "receipt_signature": signature,
        "answer": _plain_answer(content),
    }
    states = {state.value: state for state in (*_JUDGED, ItemState.REJECTED)}
    state = states.get(receipt["state"])
    refusal = content.get("refusal")
    if state in (ItemState.HELD, ItemState.REJECTED) and isinstance(refusal, dict):
        facts["refusal_code"] = str(refusal.get("code", ""))
    if state is None or state is item.state:
        # HELD waits for a person: asking each second would be noise.
        wait = out.config.interval_seconds if item.state is ItemState.HELD else 0.0
        facts["retry_at"] = at + timedelta(seconds=wait) if wait else _soon(out, item, at)
        facts["failures"] = item.failures + 1
        item = out.journal.learn(item, at=at, **facts)
    else:
        item = out.journal.move(item, state, at=at, **facts)
    purge_spool(out.config, item)
    return item


def _soon(out: Outbound, item: Item, at: datetime) -> datetime:
    """BCL is still working on it: ask again, each time a little later, at most every interval."""
    first = min(0.2, out.config.interval_seconds)
    return at + timedelta(
        seconds=backoff_seconds(
            item.failures + 1, first=first, longest=out.config.interval_seconds,
            chance=out.seams.chance,
        )
    )  # fmt: skip


def purge_spool(config: GatewayConfig, item: Item) -> None:
    """Delete the sealed package of an item whose receipt is in the journal."""
    if item.receipt is not None and item.spool_file:
        spool_path(config, item.spool_file).unlink(missing_ok=True)


def _send_again(out: Outbound, item: Item) -> Item:
    """BCL does not know what it never signed for: upload once more. After a receipt it must."""
    if item.receipt is not None:
        raise ServerRefuses(Refusal("GATEWAY_SERVER_ANSWER", {"status": 404}))
    if item.failures < 3:  # the job that records it may be a moment late
        raise LineBroken
    return out.journal.move(
        item, ItemState.SENDING, at=clock.now(), note="unknown to BCL", upload_url=None, offset=0
    )


_ANSWER_FIELDS = (
    "state", "code", "lane", "sequence", "received_at", "landed_at", "load_number", "files",
    "findings_total",
)  # fmt: skip
_REFUSAL_FIELDS = ("code", "text", "who", "how")
_FINDING_FIELDS = ("file", "line", "column", "rule", "severity", "code")


def _plain_answer(content: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an answer: counts, places and codes."""
    kept = {name: content.get(name) for name in _ANSWER_FIELDS}
    refusal = content.get("refusal")
    if isinstance(refusal, dict):
        kept["refusal"] = {name: str(refusal.get(name, "")) for name in _REFUSAL_FIELDS}
    findings = content.get("findings")
    if isinstance(findings, list):
        kept["findings"] = [
            {name: found.get(name) for name in _FINDING_FIELDS}
            for found in findings[:FINDINGS_IN_REPORT]
            if isinstance(found, dict)
        ]
    return kept
