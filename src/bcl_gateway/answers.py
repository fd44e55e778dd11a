"""Step 10: BCL's answers. A receipt that BCL signed, about exactly our bytes, moves an item on."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from bcl_contract import clock, receipts
from bcl_contract.refusals import Refusal
from bcl_gateway.check import FINDINGS_IN_REPORT
from bcl_gateway.config import GatewayConfig
from bcl_gateway.connection import ServerRefuses
from bcl_gateway.journal import Item
from bcl_gateway.outbound import LAST_CONTACT, NO_PROBLEM, RESEND_REQUESTS, Outbound
from bcl_gateway.seams import backoff_seconds
from bcl_gateway.sign import spool_path
from bcl_gateway.states import ItemState

_JUDGED = (ItemState.LANDED, ItemState.HELD)


def take_answer(out: Outbound, item: Item, content: Any) -> Item:
    """Judge an answer and move the item. Raises ServerRefuses for one that is not to be believed.

    With the first good receipt the sealed package is purged: BCL has it (R-041).
    """
    try:
        receipt, signature = content["receipt"], content["signature"]
    except (KeyError, TypeError):
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
    facts: dict[str, Any] = NO_PROBLEM | {
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
        facts["retry_at"] = at + timedelta(seconds=wait) if wait else soon(out, item, at)
        facts["failures"] = item.failures + 1
        item = out.journal.learn(item, at=at, **facts)
    else:
        item = out.journal.move(item, state, at=at, **facts)
    purge_spool(out.config, item)
    return item


def soon(out: Outbound, item: Item, at: datetime) -> datetime:
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


_ANSWER_FIELDS = (
    "state", "code", "lane", "sequence", "received_at", "landed_at", "load_number", "files",
    "findings_total", "answered_at",
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


_REQUEST_FIELDS = ("lane", "kind", "sequence", "reason")


def take_contact(out: Outbound, content: Any) -> None:
    """Remember what BCL wishes to have sent again, for `status`."""
    wishes = content.get("resend_requests") if isinstance(content, dict) else None
    if not isinstance(wishes, list):
        raise ServerRefuses(Refusal("GATEWAY_SERVER_ANSWER"))
    kept = [
        {name: wish.get(name) for name in _REQUEST_FIELDS}
        for wish in wishes[:100]
        if isinstance(wish, dict)
    ]
    out.journal.remember(RESEND_REQUESTS, json.dumps(kept, ensure_ascii=False))


def note_contact(out: Outbound) -> None:
    """Remember that BCL has been told of us now."""
    out.journal.remember(LAST_CONTACT, clock.now().isoformat())
