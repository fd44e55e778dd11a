"""What the world page shows: each party's state and counts, collected from the parties themselves.

Counts and states only. A party that can't be asked is shown as stopped; the page never fails.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcl_cli.world.places import Places
from bcl_cli.world.processes import is_alive, written_down
from bcl_contract import clock
from bcl_contract.values import format_wareki

OK, BUSY, ATTENTION, STOPPED = "ok", "busy", "attention", "stopped"
Figures = list[tuple[str, str]]


@dataclass(frozen=True)
class Party:
    """One box of the picture."""

    place: str
    name: str
    state: str
    label: str
    figures: Figures

    def as_json(self) -> dict[str, Any]:
        """The box for the page."""
        return {**vars(self), "figures": [list(pair) for pair in self.figures]}


class StatusCollector:
    """Asks the parties of one world. Django is loaded."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def collect(self) -> dict[str, Any]:
        """Everything the page draws."""
        self._alive = {n for n, pid in written_down(self._places.state).items() if is_alive(pid)}
        report = self._report()
        asked: dict[str, Callable[[], tuple[Party, str]]] = {
            "core": lambda: self._core(report),
            "gateway": self._gateway,
            "restore": lambda: self._restore(report),
            "linkage": self._linkage,
            "store": self._store,
            "issuance": self._issuance,
            "recovery": self._recovery,
            "center": self._center,
            "kiosk": self._kiosk,
            "jpki": self._jpki,
        }
        answers = {key: ask_safely(key, ask) for key, ask in asked.items()}
        now = clock.now()
        return {
            "at": f"{format_wareki(now.date())} {now:%H:%M:%S}",
            "parties": {key: party.as_json() for key, (party, _) in answers.items()},
            "flows": self._flows(answers),
            "steps": report.get("page_steps", []),
            "links": report.get("links", []),
        }

    def _flows(self, answers: dict[str, tuple[Party, str]]) -> dict[str, dict[str, Any]]:
        said = {key: text for key, (_, text) in answers.items()}
        busy = answers["gateway"][0].state == BUSY or answers["linkage"][0].state == BUSY
        flows = {
            "exported": said["core"],
            "sent": said["gateway"],
            "landed": said["linkage"],
            "fed": said["store"],
            "issued": said["issuance"],
            "printed": said["kiosk"],
            "cards": "",
            "asked": "",
            "recovered": said["restore"],
        }
        return {
            key: {"text": text, "active": busy and key in {"sent", "landed"}}
            for key, text in flows.items()
        }

    def _report(self) -> dict[str, Any]:
        path = self._places.results / "report.json"
        if not path.is_file():
            return {}
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return report

    def _towns(self) -> list[str]:
        from bcl.municipalities import api as municipalities

        return municipalities.list_municipality_codes()

    def _label(self, program: str) -> tuple[str, str]:
        return (OK, "動作中") if program in self._alive else (STOPPED, "停止")

    # -- town hall -------------------------------------------------------------------------------

    def _core(self, report: dict[str, Any]) -> tuple[Party, str]:
        notes = report.get("notes", {})
        figures = [
            ("住民", f"{notes.get('residents', 0):,} 人"),
            ("世帯", f"{notes.get('households', 0):,}"),
            ("書き出し", f"{notes.get('exports', 0)} 回"),
        ]
        party = Party("庁内", "住民情報システム", OK, "動作中", figures)
        return party, f"{notes.get('exports', 0)} 回"

    def _gateway(self) -> tuple[Party, str]:
        from bcl_gateway.config import load_config
        from bcl_gateway.journal import Journal
        from bcl_gateway.states import ItemState

        totals: dict[Any, int] = {}
        for code in self._towns():
            config = load_config(self._places.town(code, "gateway") / "gateway.toml")
            if not config.journal_file.is_file():
                continue
            journal = Journal(config.journal_file)
            for state, count in journal.counts().items():
                totals[state] = totals.get(state, 0) + count
            journal.close()
        landed = totals.get(ItemState.LANDED, 0)
        refused = totals.get(ItemState.REJECTED, 0)
        returned = totals.get(ItemState.RETURNED, 0)
        waiting = sum(totals.values()) - landed - refused - returned
        state, label = self._label(f"gateway-{self._towns()[0]}")
        if state == OK and waiting:
            state, label = BUSY, "送信・確認中"
        figures = [
            ("反映まで済み", f"{landed}"),
            ("途中", f"{waiting}"),
            ("差戻し・お断り", f"{returned + refused}"),
        ]
        return Party("庁内", "連携APサーバ", state, label, figures), f"{landed + waiting} 件"

    def _restore(self, report: dict[str, Any]) -> tuple[Party, str]:
        restored = report.get("notes", {}).get("restored_residents")
        if restored is None:
            return Party("庁内", "復旧先（代替環境）", OK, "待機", [("開いたデータ", "0")]), ""
        figures = [("住民票", f"{restored:,} 人"), ("元との差", "0 件")]
        return Party("庁内", "復旧先（代替環境）", OK, "元と一致", figures), "1 回"

    # -- BCL -------------------------------------------------------------------------------------

    def _linkage(self) -> tuple[Party, str]:
        from bcl.linkage import api as linkage

        found = [linkage.get_status(code, at=clock.now(), recent=0) for code in self._towns()]
        landed, held = sum(s.landed for s in found), sum(s.held for s in found)
        queued, rejected = sum(s.queued for s in found), sum(s.rejected for s in found)
        state, label = self._label("worker")
        if state == OK and held:
            state, label = ATTENTION, "保留あり"
        elif state == OK and queued:
            state, label = BUSY, "反映中"
        figures = [("反映済み", f"{landed}"), ("保留", f"{held}"), ("お断り", f"{rejected}")]
        return Party("BCL", "連携（受付）", state, label, figures), f"{landed} 件"

    def _store(self) -> tuple[Party, str]:
        from bcl.resident_store import api as store

        rows = residents = loads = 0
        for code in self._towns():
            counted = store.counts(code)
            residents += counted.pop("residents")
            rows += sum(counted.values())
            loads += store.applied_position(code).load_number
        figures = [("記録", f"{rows:,} 件"), ("住民", f"{residents:,} 人"), ("反映", f"{loads} 回")]
        return Party("BCL", "中間DB", OK, "動作中", figures), f"{loads} 回"

    def _issuance(self) -> tuple[Party, str]:
        from bcl.issuance import api as issuance

        states: dict[str, int] = {}
        for code in self._towns():
            for state, count in issuance.count_transactions(code).items():
                states[state] = states.get(state, 0) + count
        refused = states.get("REFUSED", 0)
        issued = sum(states.get(s, 0) for s in ("SENT", "DELIVERED", "UNCONFIRMED"))
        state, label = self._label("wire")
        figures = [("発行", f"{issued} 通"), ("お断り", f"{refused} 件")]
        return Party("BCL", "証明発行", state, label, figures), f"{issued} 通"

    def _recovery(self) -> tuple[Party, str]:
        from bcl.recovery import api as recovery

        exports = [export for code in self._towns() for export in recovery.list_exports(code)]
        waiting = sum(export.state == "REQUESTED" for export in exports)
        done = sum(export.state in {"BUILT", "RELEASED"} for export in exports)
        state, label = (ATTENTION, "承認待ち") if waiting else (OK, "待機")
        figures = [("申請", f"{len(exports)}"), ("書き出し", f"{done}")]
        return Party("BCL", "リカバリデータ（二人で承認）", state, label, figures), ""

    # -- outside ---------------------------------------------------------------------------------

    def _center(self) -> tuple[Party, str]:
        state, label = self._label("center")
        journal = self._places.folder("center") / "journal.sqlite"
        count = count_rows(journal, "transactions")
        refused = count_rows(journal, "transactions WHERE state = 'REFUSED'")
        figures = [("取引", f"{count} 件"), ("窓口へ案内", f"{refused} 件")]
        return Party("外部", "証明書交付センター", state, label, figures), ""

    def _kiosk(self) -> tuple[Party, str]:
        printed = sum(1 for _ in self._places.results.glob("*certificate-*.pdf"))
        party = Party("外部", "キオスク端末", OK, "待機", [("印刷", f"{printed} 通")])
        return party, f"{printed} 通"

    def _jpki(self) -> tuple[Party, str]:
        from bcl_sim.jpki.authority import Authority

        state, label = self._label("jpki")
        counts = Authority(self._places.folder("jpki")).counts()
        cards, revoked = sum(counts.values()), counts.get("revoked", 0)
        figures = [("電子証明書", f"{cards} 枚"), ("失効", f"{revoked} 枚")]
        return Party("外部", "公的個人認証", state, label, figures), ""


NAMES = {
    "core": ("庁内", "住民情報システム"),
    "gateway": ("庁内", "連携APサーバ"),
    "restore": ("庁内", "復旧先（代替環境）"),
    "linkage": ("BCL", "連携（受付）"),
    "store": ("BCL", "中間DB"),
    "issuance": ("BCL", "証明発行"),
    "recovery": ("BCL", "リカバリデータ（二人で承認）"),
    "center": ("外部", "証明書交付センター"),
    "kiosk": ("外部", "キオスク端末"),
    "jpki": ("外部", "公的個人認証"),
}


def ask_safely(key: str, ask: Callable[[], tuple[Party, str]]) -> tuple[Party, str]:
    """One party's answer; a party that fails is drawn as stopped, the others stay."""
    try:
        return ask()
    except Exception:  # the page shows what can be shown
        place, name = NAMES[key]
        return Party(place, name, STOPPED, "応答なし", []), ""


def count_rows(journal: Path, rows: str) -> int:
    """How many `rows` (a table, a condition) a party's SQLite journal has; 0 before it exists."""
    if not journal.is_file():
        return 0
    connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=1)
    try:
        found = connection.execute(f"SELECT count(*) FROM {rows}").fetchone()  # noqa: S608
    finally:
        connection.close()
    return int(found[0])
