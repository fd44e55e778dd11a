"""Step 1: take finished folders out of the drop, each by one rename.

A folder counts as finished when its READY can be read, every listed file has the listed size and
nothing in it has changed for `settle_seconds`. A folder that never becomes so is returned with a
report once it has not changed for `unfinished_minutes`.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bcl_contract import clock
from bcl_contract.refusals import Refusal
from bcl_gateway.config import GatewayConfig
from bcl_gateway.journal import Item, Journal
from bcl_gateway.private_files import sync_folder
from bcl_gateway.ready import READY_NAME, Ready, compare_with_folder, read_ready, shape_of
from bcl_gateway.states import ItemState


@dataclass(frozen=True)
class Collected:
    """What one look at the drop gave: items taken, folders still being written."""

    taken: tuple[Item, ...]
    unfinished: tuple[str, ...]


def collect_folders(config: GatewayConfig, journal: Journal) -> Collected | Refusal:
    """Take every finished folder, oldest name first.

    Refuses GATEWAY_WORK_ON_OTHER_DISK when a folder can't be taken by a rename.
    """
    taken: list[Item] = []
    unfinished: list[str] = []
    resume_taking(config, journal)
    folders = _folders_in(config.drop_dir)
    journal.unwatch_all_but(folder.name for folder in folders)
    for folder in folders:
        refusal = _judge(config, journal, folder)
        if refusal is not None and refusal.detail.get("waiting"):
            unfinished.append(folder.name)
            continue
        item = journal.add(folder.name, at=clock.now())
        took = _take(config, journal, item)
        if isinstance(took, Refusal):
            return took
        if refusal is not None:
            took = journal.learn(
                took,
                at=clock.now(),
                refusal_code=refusal.code,
                refusal_detail=dict(refusal.detail),
            )
        taken.append(took)
    return Collected(tuple(taken), tuple(unfinished))


def resume_taking(config: GatewayConfig, journal: Journal) -> None:
    """Finish what a kill interrupted: the journal announced a folder, the rename may be missing."""
    for item in journal.items(ItemState.FOUND):
        if work_folder(config, item).exists():
            journal.move(item, ItemState.COLLECTED, at=clock.now())
        else:
            journal.forget(item)


def work_folder(config: GatewayConfig, item: Item) -> Path:
    """Where a taken folder lies until it is sealed."""
    return config.work_dir / str(item.id)


def _folders_in(drop: Path) -> list[Path]:
    """Folders whose writing may be over. Names with `.part` at the end are being written."""
    return sorted(
        path
        for path in drop.iterdir()
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
        and not path.name.endswith((".part", ".tmp"))
    )  # fmt: skip


def _judge(config: GatewayConfig, journal: Journal, folder: Path) -> Refusal | None:
    """None = take it; a refusal with `waiting` = not yet; another refusal = take and return it."""
    now = clock.now()
    still_for = now - journal.watch(folder.name, shape_of(folder), now)
    if still_for < timedelta(seconds=config.settle_seconds):
        return Refusal("GATEWAY_DROP_FILES", {"waiting": 1})
    refusal: Refusal | None
    if (folder / READY_NAME).exists():
        ready = read_ready(folder)
        refusal = compare_with_folder(folder, ready) if isinstance(ready, Ready) else ready
    else:
        refusal = Refusal("GATEWAY_DROP_FILES", {"missing": READY_NAME})
    if refusal is not None and still_for < timedelta(minutes=config.unfinished_minutes):
        return Refusal(refusal.code, {"waiting": 1})
    return refusal


def _take(config: GatewayConfig, journal: Journal, item: Item) -> Item | Refusal:
    target = work_folder(config, item)
    try:
        os.rename(config.drop_dir / item.folder, target)
    except OSError as fault:
        journal.forget(item)
        if fault.errno == errno.EXDEV:
            return Refusal("GATEWAY_WORK_ON_OTHER_DISK")
        raise
    target.chmod(0o700)
    sync_folder(config.work_dir)
    sync_folder(config.drop_dir)
    return journal.move(item, ItemState.COLLECTED, at=clock.now())
