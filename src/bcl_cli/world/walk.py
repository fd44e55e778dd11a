"""Walking a line step by step: what was done, how many, how long. Printed, kept for the page."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

NAME_COLUMNS = 44


class WalkFault(RuntimeError):
    """A step did not give what it must; the text is for the person watching."""


@dataclass
class Step:
    """One step: `count` and `result` are Japanese texts, `seconds` wall time."""

    name: str
    result: str = ""
    count: str = ""
    seconds: float = 0.0

    def for_page(self) -> dict[str, str]:
        """The step as the page shows it."""
        return {
            "name": self.name,
            "result": self.result,
            "count": self.count,
            "seconds": f"{self.seconds:.1f} 秒",
        }


@dataclass
class Walk:
    """The steps so far. `results` is the folder that outlives the world."""

    results: Path
    steps: list[Step] = field(default_factory=list)
    links: list[dict[str, str]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    console: Console = field(default_factory=lambda: Console(highlight=False))

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Do one step; the block fills in count and result."""
        made = Step(f"{len(self.steps) + 1} {name}")
        started = time.monotonic()
        with self.console.status(f"{made.name} …"):
            yield made
        made.seconds = time.monotonic() - started
        self.steps.append(made)
        pad = " " * max(1, NAME_COLUMNS - display_columns(made.name))
        self.console.print(
            f"  {made.name}{pad}{made.count:>12}  {made.seconds:6.1f} 秒  {made.result}",
            soft_wrap=True,
        )
        self.write()

    def link(self, text: str, file_name: str) -> None:
        """Put a result into the page's list; the file lies in the results folder."""
        self.links.append({"text": text, "href": f"/results/{file_name}"})
        self.write()

    def write(self) -> None:
        """Keep the report beside the results; the page reads it from there."""
        report = {
            "steps": [asdict(step) for step in self.steps],
            "page_steps": [step.for_page() for step in self.steps],
            "links": self.links,
            "notes": self.notes,
        }
        part = self.results / "report.part"
        part.write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
        part.replace(self.results / "report.json")


def display_columns(text: str) -> int:
    """Columns a text takes on a terminal: full-width characters take two."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def wait_until(what: str, seconds: float, check: Callable[[], bool]) -> None:
    """Poll until `check` holds; `WalkFault` names what did not come."""
    give_up = time.monotonic() + seconds
    while not check():
        if time.monotonic() > give_up:
            raise WalkFault(f"{what} が {seconds:.0f} 秒たっても終わりません。")
        time.sleep(0.1)
