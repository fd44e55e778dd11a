"""An external file-transfer tool, as NISMAIL would be one: it moves finished files, no more.

It knows nothing of what it carries. `mishaps` are what such tools do on a bad day: a file is
brought twice, later than its successors, in another order, cut short, or loses its way. A cut or
lost file is never brought again by itself, unless it was doubled.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

MISHAPS = ("doubled", "late", "reordered", "truncated", "lost")


@dataclass
class Route:
    """Files of `source` belong to `target`; the tool keeps what it holds in `store`."""

    source: Path
    target: Path
    store: Path


@dataclass
class TransferTool:
    """Carries the files of its routes; `mishaps` of probability `chance` each, until `calm`."""

    routes: Sequence[Route]
    dice: random.Random = field(default_factory=lambda: random.Random(1))
    mishaps: Sequence[str] = ()
    chance: float = 0.0
    happened: list[str] = field(default_factory=list)

    def calm(self) -> None:
        """From now on carry everything as it should be."""
        self.mishaps = ()

    def carry(self) -> int:
        """One turn: fetch what lies ready, bring what is held; the number of files brought."""
        return sum(self._carry(route) for route in self.routes)

    def _carry(self, route: Route) -> int:
        route.store.mkdir(parents=True, exist_ok=True)
        for path in self._ready(route.source):
            shutil.move(path, route.store / path.name)
        held = sorted(path for path in route.store.iterdir() if path.name[0] != ".")
        if self._happens("reordered"):
            self.dice.shuffle(held)
        return sum(self._bring(path, route) for path in held)

    def _bring(self, path: Path, route: Route) -> bool:
        if self._happens("late"):
            return False
        if self._happens("lost"):
            path.unlink()
            return False
        if self._happens("doubled"):
            shutil.copy(path, route.store / f".again {path.name}")
        if self._happens("truncated"):
            with path.open("r+b") as file:
                file.truncate(self.dice.randrange(path.stat().st_size))
        # Such tools write in place: whoever looks early sees half a file.
        shutil.copyfile(path, route.target / path.name)
        path.unlink()
        again = route.store / f".again {path.name}"
        if again.exists():
            again.rename(path)  # brought once more, next time
        return True

    @staticmethod
    def _ready(folder: Path) -> list[Path]:
        return sorted(path for path in folder.iterdir() if path.name[0] != ".")

    def _happens(self, mishap: str) -> bool:
        if mishap not in self.mishaps or self.dice.random() >= self.chance:
            return False
        self.happened.append(mishap)
        return True
