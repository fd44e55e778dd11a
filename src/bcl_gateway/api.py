"""The gateway as a library: one object, one method for each command.

    with Gateway(load_config(path)) as gateway:
        gateway.collect(); gateway.check(); gateway.sign(); gateway.send(patience_seconds=60)

Every method does everything that is due and returns what it did, or a `Refusal`. One process at
a time works in a state directory (GATEWAY_BUSY); `status` and `doctor` may be asked any time.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bcl_contract import clock
from bcl_contract.refusals import Refusal
from bcl_gateway import doctor as doctor_checks
from bcl_gateway import restore as recovery
from bcl_gateway import status as status_facts
from bcl_gateway.answers import purge_spool
from bcl_gateway.check import CheckReport, check_folder, write_report
from bcl_gateway.collect import Collected, collect_folders, resume_taking, work_folder
from bcl_gateway.config import GatewayConfig, load_config
from bcl_gateway.journal import Item, Journal
from bcl_gateway.outbound import Outbound, Progress
from bcl_gateway.private_files import make_private_folder, sync_folder
from bcl_gateway.ready import Ready, read_ready
from bcl_gateway.seams import Seams
from bcl_gateway.send import Sent, lane_stopped, send_due
from bcl_gateway.sign import (
    Keys,
    drop_work_folder,
    load_keys,
    renumber_item,
    seal_item,
)
from bcl_gateway.states import ItemState

__all__ = ["Gateway", "Round", "load_config"]


@dataclass(frozen=True)
class Round:
    """What one turn of `run` did; counts, and the last refusal if something was stopped."""

    collected: int = 0
    returned: int = 0
    signed: int = 0
    uploaded: int = 0
    judged: int = 0
    refusal: Refusal | None = None

    @property
    def is_idle(self) -> bool:
        return not (self.collected or self.signed or self.uploaded or self.judged)


def _quiet(_: Item, __: int, ___: int) -> None:
    """Progress nobody watches."""


class Gateway:
    """One gateway: its settings, its journal and its folders. Use as a context manager.

    Making it creates missing folders (0700). Raises nothing for a busy or foreign state
    directory: the acts then refuse with GATEWAY_BUSY or GATEWAY_ENVIRONMENT_MISMATCH.
    """

    def __init__(
        self, config: GatewayConfig, *, seams: Seams | None = None, progress: Progress = _quiet
    ) -> None:
        self.config = config
        self.seams = seams or Seams()
        self.progress = progress
        for folder in (config.state_dir, config.spool_dir, config.work_dir, config.rejected_dir):
            make_private_folder(folder)
        config.drop_dir.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(config.journal_file)
        self._lock: int | None = None
        self._keys: Keys | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the journal and the lock go. Idempotent."""
        self.journal.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- acts

    def collect(self) -> Collected | Refusal:
        """Take finished folders out of the drop; look twice so that a settled one is taken now."""
        refusal = self._begin()
        if refusal is not None:
            return refusal
        first = collect_folders(self.config, self.journal)
        if isinstance(first, Refusal) or not first.unfinished or not self.config.settle_seconds:
            return first
        self.seams.sleep(self.config.settle_seconds)
        second = collect_folders(self.config, self.journal)
        if isinstance(second, Refusal):
            return second
        return Collected(first.taken + second.taken, second.unfinished)

    def check(self) -> list[Item] | Refusal:
        """Check every collected folder; a wrong one is returned to the hall with its report."""
        refusal = self._begin()
        if refusal is not None:
            return refusal
        return [self._check(item) for item in self.journal.items(ItemState.COLLECTED)]

    def sign(self) -> list[Item] | Refusal:
        """Number, sign and seal every checked folder, oldest first.

        Refuses GATEWAY_STORAGE_FULL while the disk has less than `minimum_free_bytes`.
        """
        keys = self._begin_with_keys()
        if isinstance(keys, Refusal):
            return keys
        done: list[Item] = []
        for item in self.journal.items(ItemState.CHECKED):
            if shutil.disk_usage(self.config.spool_dir).free < self.config.minimum_free_bytes:
                return Refusal("GATEWAY_STORAGE_FULL")
            try:
                done.append(self._seal(keys, item))
            except OSError as fault:
                if fault.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                # The half-built package is gone, the folder and its number stay as they were.
                return Refusal("GATEWAY_STORAGE_FULL")
        return done

    def send(self, *, patience_seconds: float = 0.0) -> Sent | Refusal:
        """Upload what may go and fetch BCL's answers; see `send.send_due`."""
        keys = self._begin_with_keys()
        if isinstance(keys, Refusal):
            return keys
        out = Outbound(self.config, self.journal, keys, self.seams, self.progress)
        return send_due(out, patience_seconds=patience_seconds)

    def run_once(self, *, patience_seconds: float = 0.0) -> Round | Refusal:
        """One turn: collect, check, sign, send, ask."""
        collected = self.collect()
        if isinstance(collected, Refusal):
            return collected
        checked = self.check()
        signed = self.sign()
        full: Refusal | None = None
        if isinstance(signed, Refusal) and signed.code == "GATEWAY_STORAGE_FULL":
            full, signed = signed, []  # sending is what makes room again
        sent = self.send(patience_seconds=patience_seconds)
        for part in (checked, signed, sent):
            if isinstance(part, Refusal):
                return part
        assert isinstance(checked, list) and isinstance(signed, list)  # noqa: S101
        assert isinstance(sent, Sent)  # noqa: S101
        seen = {item.id: item for item in (*checked, *signed)}.values()
        return Round(
            collected=len(collected.taken),
            returned=sum(item.state is ItemState.RETURNED for item in seen),
            signed=sum(item.state is ItemState.SIGNED for item in signed),
            uploaded=len(sent.uploaded),
            judged=len(sent.judged),
            refusal=full or sent.refusal,
        )

    def run(
        self,
        *,
        stop: Callable[[], bool] = lambda: False,
        on_round: Callable[[Round | Refusal], None] = lambda _: None,
    ) -> None:
        """Turn after turn until `stop()`; waits `interval_seconds` when nothing was to do."""
        while not stop():
            round_ = self.run_once()
            on_round(round_)
            if isinstance(round_, Refusal) or round_.is_idle:
                self._wait(stop)

    def resume(self, lane: str) -> list[Item] | Refusal:
        """Let a lane go on after a rejection: what was held back is renumbered.

        A package that no longer opens (GATEWAY_SPOOL_DAMAGED) is given up.
        """
        keys = self._begin_with_keys()
        if isinstance(keys, Refusal):
            return keys
        for item in self.journal.items(ItemState.SIGNED, ItemState.SENDING, lane=lane):
            if item.refusal_code == "GATEWAY_SPOOL_DAMAGED":
                self.journal.move(
                    item, ItemState.REJECTED, at=clock.now(), note="given up", settled=True
                )
        done: list[Item] = []
        for item in self.journal.items(ItemState.SIGNED, lane=lane):
            number = self.journal.free_number(
                lane, first=self.config.first_sequence(lane), behind_all=False
            )
            if number > (item.sequence or 0):
                continue
            moved = renumber_item(
                self.config, self.journal, keys, item, number, new_id=self.seams.new_id
            )
            if isinstance(moved, Refusal):
                return moved
            done.append(moved)
        self._settle(lane, note="resumed by a person")
        return done

    def restore(self, package: Path, key: Path | None = None) -> recovery.RecoveryReport | Refusal:
        """Check a recovery package: opens it, counts, compares digests."""
        return recovery.check_recovery_package(package, key)

    def status(self) -> dict[str, Any]:
        """Counts, waiting folders, the last items and lanes, as plain values."""
        return status_facts.read_status(self.config, self.journal)

    def report(self, item_id: int | None = None) -> list[str] | None:
        """The findings of one item (the last without an id) as Japanese lines: the check's own
        and, if BCL has answered, BCL's. None when there is no such item."""
        items = [item for item in self.journal.items() if item_id in (None, item.id)]
        return status_facts.report_of(self.journal, items[-1]) if items else None

    def doctor(self) -> list[doctor_checks.Check]:
        """Look at keys, folders, clock, disk, certificate and line; see `doctor`."""
        return doctor_checks.examine(self.config, self.journal)

    # --- inside

    def _wait(self, stop: Callable[[], bool]) -> None:
        ends_at = self.seams.monotonic() + self.config.interval_seconds
        while not stop() and (left := ends_at - self.seams.monotonic()) > 0:
            self.seams.sleep(min(left, 0.5))

    def _begin(self) -> Refusal | None:
        """Take the lock, prove that this state is ours, and finish what a kill interrupted."""
        if self._lock is not None:
            return None
        lock = os.open(self.config.state_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return Refusal("GATEWAY_BUSY")
        belongs = f"{self.config.environment}/{self.config.municipality_code}"
        if self.journal.bind("belongs_to", belongs) != belongs:
            os.close(lock)
            return Refusal("GATEWAY_ENVIRONMENT_MISMATCH")
        self._lock = lock
        self._finish_interrupted()
        return None

    def _begin_with_keys(self) -> Keys | Refusal:
        refusal = self._begin()
        if refusal is not None:
            return refusal
        if self._keys is None:
            keys = load_keys(self.config)
            if isinstance(keys, Refusal):
                return keys
            self._keys = keys
        return self._keys

    def _finish_interrupted(self) -> None:
        """Redo the file operations that a journal entry announced and a kill may have cut off."""
        resume_taking(self.config, self.journal)
        kept = set()
        for item in self.journal.items():
            if item.state is ItemState.RETURNED:
                self._hand_back(item)
            elif item.state not in (ItemState.FOUND, ItemState.COLLECTED, ItemState.CHECKED):
                drop_work_folder(self.config, item)
            purge_spool(self.config, item)
            if item.receipt is None and item.spool_file:
                kept.add(item.spool_file)
        for path in self.config.spool_dir.iterdir():
            if path.name not in kept:
                path.unlink()

    def _check(self, item: Item) -> Item:
        folder = work_folder(self.config, item)
        ready = read_ready(folder)
        if item.refusal_code:  # the look at the drop has refused it already
            return self._return(item, _refusal_of(item))
        if isinstance(ready, Refusal):
            return self._return(item, ready)
        item = self.journal.learn(item, at=clock.now(), **_facts_of(ready))
        try:
            report = check_folder(self.config, folder, ready)
        except (OSError, MemoryError):
            raise  # the machine's trouble, not this folder's
        except Exception as fault:
            # Only the kind of fault: the text of a library's message could hold values.
            detail = {"fault": type(fault).__name__}
            report = CheckReport(Refusal("GATEWAY_CONTENT_FAILED", detail))
        if report.refusal is not None:
            return self._return(item, report.refusal, report)
        self._settle_by(item)
        return self.journal.move(item, ItemState.CHECKED, at=clock.now(), report=report.as_json())

    def _return(self, item: Item, refusal: Refusal, report: CheckReport | None = None) -> Item:
        report = report or CheckReport(refusal)
        item = self.journal.move(
            item,
            ItemState.RETURNED,
            at=clock.now(),
            note=refusal.code,
            report=report.as_json(),
            refusal_code=refusal.code,
            refusal_detail=dict(refusal.detail),
            sequence=None,
        )
        self._hand_back(item)
        return item

    def _hand_back(self, item: Item) -> None:
        """Put the folder and its report where the hall finds it."""
        folder = work_folder(self.config, item)
        if folder.exists():
            target = self.config.rejected_dir / f"{item.folder}.{item.id}"
            write_report(folder, title=item.folder, report=self.journal.report(item) or {})
            folder.rename(target)
            sync_folder(self.config.rejected_dir)

    def _seal(self, keys: Keys, item: Item) -> Item:
        ready = read_ready(work_folder(self.config, item))
        sealed: Item | Refusal = (
            ready
            if isinstance(ready, Refusal)
            else seal_item(
                self.config,
                self.journal,
                keys,
                item,
                ready,
                new_id=self.seams.new_id,
                behind_all=lane_stopped(self.journal, item.lane),
            )
        )
        if isinstance(sealed, Refusal):
            return self._return(self.journal.item(item.id), sealed)
        return sealed

    def _settle_by(self, item: Item) -> None:
        """A full transmission with all files of the rejected one is its correction.

        Not if others wait behind the rejected one: their order is a person's decision.
        """
        lane = item.lane or "main"
        if item.mode != "full" or self.journal.items(ItemState.SIGNED, lane=lane):
            return
        rejected = [i for i in self.journal.items(ItemState.REJECTED, lane=lane) if not i.settled]
        if rejected and all(item.file_ids >= old.file_ids for old in rejected):
            self._settle(lane, note=f"corrected by item {item.id}")

    def _settle(self, lane: str, *, note: str) -> None:
        for old in self.journal.items(ItemState.REJECTED, lane=lane):
            if not old.settled:
                self.journal.learn(old, at=clock.now(), note=note, settled=True)


def _refusal_of(item: Item) -> Refusal:
    return Refusal(item.refusal_code or "", item.refusal_detail)


def _facts_of(ready: Ready) -> dict[str, Any]:
    """What the journal keeps of READY: tables one by one, seal images as a count."""
    tables = [file.model_dump() for file in ready.files if file.file_id != "S02I"]
    images = sum(file.file_id == "S02I" for file in ready.files)
    if images:
        tables.append({"file_id": "S02I", "count": images})
    return {
        "lane": ready.lane,
        "mode": ready.mode,
        "as_of": ready.as_of.isoformat(),
        "sender_system": ready.sender_system,
        "files": tables,
    }
