"""The progress bar of an upload, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from bcl_gateway.journal import Item
from bcl_gateway.outbound import Progress as Hears


@contextmanager
def progress_display(*, enabled: bool) -> Iterator[Hears]:
    """Give what hears acknowledged bytes; it draws only if `enabled` and stderr is a terminal."""
    if not enabled or not sys.stderr.isatty():
        yield lambda item, reached, total: None
        return
    from rich.console import Console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        known = {}

        def hear(item: Item, reached: int, total: int) -> None:
            if item.id not in known:
                known[item.id] = bars.add_task(f"送信 {item.lane} {item.sequence}番", total=total)
            bars.update(known[item.id], completed=reached)
            if reached >= total:
                bars.remove_task(known.pop(item.id))

        yield hear
