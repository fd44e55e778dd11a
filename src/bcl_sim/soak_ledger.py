"""The memory of long tests: one JSON line a case, so that a stopped run goes on where it stopped.

ledger = Ledger(Path("var/soak/receive.jsonl"))
for case in cases:
    if not ledger.has(case):
        ledger.note(case, result="whole", cuts=50)
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from bcl_contract import clock


class Ledger:
    """Lines of {case, result, at, …}; a case whose line was cut short counts as not done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._done: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                self._done[str(entry.get("case"))] = entry

    def has(self, case: str) -> bool:
        """Is this case on record already?"""
        return case in self._done

    def note(self, case: str, *, result: str, **facts: Any) -> None:
        """Put a finished case on record, forced to the disk."""
        entry = {"case": case, "result": result, "at": clock.now().isoformat()} | facts
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._done[case] = entry

    def entries(self, beginning: str = "") -> list[dict[str, Any]]:
        """What is on record of cases whose name begins so."""
        return [entry for case, entry in self._done.items() if case.startswith(beginning)]

    def results(self, beginning: str = "") -> Counter[str]:
        """How many cases of that name ended how."""
        return Counter(str(entry["result"]) for entry in self.entries(beginning))
