"""`status`: where everything stands, without a single value of the register."""

from __future__ import annotations

import json
from typing import Any

from bcl_contract import clock
from bcl_contract.linkage.manifest import LANES
from bcl_gateway.check import finding_line, report_lines
from bcl_gateway.config import ENVIRONMENT_TEXTS, GatewayConfig
from bcl_gateway.journal import Item, Journal
from bcl_gateway.outbound import LAST_CONTACT, RESEND_REQUESTS
from bcl_gateway.send import lane_stopped
from bcl_gateway.states import STATE_TEXTS, ItemState

RECENT_ITEMS = 20


def read_status(config: GatewayConfig, journal: Journal) -> dict[str, Any]:
    """Give counts by state, lanes, waiting folders and the last items, newest first."""
    counts = journal.counts()
    return {
        "environment": config.environment,
        "municipality_code": config.municipality_code,
        "counts": {state.value: counts.get(state, 0) for state in ItemState},
        "lanes": {lane: _lane(journal, lane) for lane in LANES},
        "unfinished": {name: at.isoformat() for name, at in journal.watched().items()},
        "spool_files": sum(1 for _ in config.spool_dir.iterdir()),
        "sending": _sending(config),
        "resend_requests": json.loads(journal.recall(RESEND_REQUESTS) or "[]"),
        "last_contact": journal.recall(LAST_CONTACT),
        "items": [_item(item) for item in reversed(journal.items()[-RECENT_ITEMS:])],
    }


def _sending(config: GatewayConfig) -> dict[str, Any]:
    """Which way, and how fast it may be now; an external tool has its own limit."""
    if config.folders is not None:
        waiting = config.folders.outgoing_dir
        files = (
            sum(1 for path in waiting.iterdir() if path.name[0] != ".") if waiting.is_dir() else 0
        )
        return {"method": "external", "bytes_per_second_now": None, "files_for_the_tool": files}
    limits = config.limits
    return {
        "method": "builtin",
        "bytes_per_second_now": limits.at(clock.now()),
        "bytes_per_second": limits.bytes_per_second,
        "hours": [
            {
                "begins": f"{one.begins:%H:%M}",
                "ends": f"{one.ends:%H:%M}",
                "bytes_per_second": one.bytes_per_second,
            }
            for one in limits.hours
        ],
    }


def _sending_line(sending: dict[str, Any]) -> str:
    if sending["method"] == "external":
        return (
            "送信の方法: 外部転送ソフト"
            f"（引渡し待ちのファイル {sending['files_for_the_tool']}件、速度の制限は転送ソフト側）"
        )
    rate = sending["bytes_per_second_now"]
    now = "制限なし" if rate is None else f"毎秒 {rate:,}バイトまで"
    hours = "".join(
        f"、{one['begins']}～{one['ends']}は毎秒 {one['bytes_per_second']:,}バイト"
        for one in sending["hours"]
    )
    return f"送信の速さ: いま {now}{hours}"


def _wish_line(wish: dict[str, Any]) -> str:
    lane = {"main": "通常", "urgent": "緊急"}.get(wish["lane"], wish["lane"])
    what = "全件データ" if wish["kind"] == "FULL" else f"{wish['sequence']}番"
    return f"BCLから送り直しの依頼: 系列 {lane} {what}"


def _lane(journal: Journal, lane: str) -> dict[str, Any]:
    numbers = {
        state: [item.sequence for item in journal.items(state, lane=lane) if item.sequence]
        for state in (ItemState.LANDED, ItemState.HELD)
    }
    return {
        "last_landed": max(numbers[ItemState.LANDED], default=None),
        "held": len(numbers[ItemState.HELD]),
        "waiting": len(
            journal.items(ItemState.SIGNED, ItemState.SENDING, ItemState.SENT, lane=lane)
        ),
        "stopped": lane_stopped(journal, lane),
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "folder": item.folder,
        "state": item.state.value,
        "lane": item.lane,
        "mode": item.mode,
        "sequence": item.sequence,
        "bundle_id": item.bundle_id,
        "rows": item.rows,
        "package_bytes": item.package_bytes,
        "package_sha256": item.package_sha256,
        "acknowledged_bytes": item.offset,
        "refusal_code": item.refusal_code,
        "retry_at": item.retry_at.isoformat() if item.retry_at else None,
        "receipt": item.receipt,
        "changed_at": item.changed_at.isoformat(),
    }


def status_lines(status: dict[str, Any]) -> list[str]:
    """The same for people."""
    environment = ENVIRONMENT_TEXTS[status["environment"]]
    lines = [f"連携装置（団体 {status['municipality_code']}・{environment}環境）", ""]
    for state in ItemState:
        if number := status["counts"][state.value]:
            lines.append(f"  {STATE_TEXTS[state]}: {number}件")
    for lane, facts in status["lanes"].items():
        name = {"main": "通常", "urgent": "緊急"}[lane]
        landed = facts["last_landed"]
        text = "まだ反映なし" if landed is None else f"{landed}番まで反映"
        text += f"、送信待ち・処理待ち {facts['waiting']}件、保留 {facts['held']}件"
        lines.append(f"系列 {name}: {text}" + ("（停止中）" if facts["stopped"] else ""))
    lines.append(_sending_line(status["sending"]))
    lines += [_wish_line(wish) for wish in status["resend_requests"]]
    for name, since in status["unfinished"].items():
        lines.append(f"出力中とみられるフォルダー: {name}（{since} から変化なし）")
    lines += ["", "最近の送信（新しい順）:"]
    lines += [_item_line(item) for item in status["items"]]
    return lines


def report_of(journal: Journal, item: Item) -> list[str]:
    """Everything that is known about one item's findings, as lines for people."""
    lines = [f"状態: {STATE_TEXTS[item.state]}"]
    report = journal.report(item)
    if report is not None:
        lines += report_lines(item.folder, report)
    answer = journal.answer(item)
    if answer is not None:
        lines.append(f"BCLの結果: {answer['state']}")
        refusal = answer.get("refusal")
        if refusal:
            lines += [
                f"  {refusal['text']}（{refusal['code']}）",
                f"  直せる人: {refusal['who']}",
                f"  直し方: {refusal['how']}",
            ]
        lines += [finding_line(found) for found in answer.get("findings", [])]
    return lines


def _item_line(item: dict[str, Any]) -> str:
    text = STATE_TEXTS[ItemState(item["state"])]
    number = "" if item["sequence"] is None else f" {item['lane']} {item['sequence']}番"
    code = f" {item['refusal_code']}" if item["refusal_code"] else ""
    return f"  [{item['id']}] {item['folder']}{number} {text} {item['rows']}行{code}"
