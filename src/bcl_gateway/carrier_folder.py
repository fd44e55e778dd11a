"""The other way to BCL: an external transfer tool (NISMAIL and the like) moves files (R-014).

We put an encrypted package and then a signed word into the outgoing folder, and find BCL's signed
answers in the incoming folder. The tool is not trusted with anything: a file may come late,
twice, in another order or cut short, or never. What stays without an answer is carried again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Self

import pyrage

from bcl_contract import clock, folder_transfer, receipts
from bcl_contract.folder_transfer import AnswerFile, Word
from bcl_contract.refusals import REFUSALS, Refusal
from bcl_gateway.answers import note_contact, take_answer, take_contact
from bcl_gateway.config import FolderSettings
from bcl_gateway.connection import ServerRefuses
from bcl_gateway.journal import Item
from bcl_gateway.outbound import NO_PROBLEM, Outbound
from bcl_gateway.private_files import sync_folder
from bcl_gateway.sign import open_spooled
from bcl_gateway.states import ItemState

_FILE_MODE = 0o640
"""The tool's account takes the files by group; they are ciphertext and signed words."""
_ASKED = "asked what became of it"


class FolderCarrier:
    """Writes into the outgoing folder, reads the incoming one; the tool does the rest."""

    contact_every = timedelta(minutes=15)

    def __init__(self, out: Outbound) -> None:
        assert out.config.folders is not None  # noqa: S101 - chosen by this setting
        self._out = out
        self._config = out.config
        self._folders: FolderSettings = out.config.folders

    def __enter__(self) -> Self:
        for folder in (self._folders.outgoing_dir, self._folders.incoming_dir):
            if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise ServerRefuses(Refusal("GATEWAY_TRANSFER_FOLDER", {"folder": folder.name}))
        return self

    def __exit__(self, *_: object) -> None:
        self._clear_incoming()

    # --- out

    def upload(self, item: Item) -> Item:
        """SIGNED → SENDING → SENT: package first, the word that finishes it last."""
        journal, length = self._out.journal, item.package_bytes or 0
        if item.state is ItemState.SIGNED:
            item = journal.move(item, ItemState.SENDING, at=clock.now())
        if not self._lies_there(item):
            try:
                self._put_package(item)
            except OSError as fault:
                if fault.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                self._remove_unfinished(item.bundle_id or "")
                raise ServerRefuses(Refusal("GATEWAY_STORAGE_FULL")) from None
        self._out.progress(item, length, length)
        return journal.move(item, ItemState.SENT, at=clock.now(), offset=length, **NO_PROBLEM)

    def _lies_there(self, item: Item) -> bool:
        """Is a finished pair of this item still waiting for the tool?"""
        own = f"{self._config.municipality_code}_{item.bundle_id}_"
        for word in self._folders.outgoing_dir.glob(f"{own}*{folder_transfer.WORD_ENDING}"):
            if word.with_suffix(folder_transfer.PACKAGE_ENDING).exists():
                return True
        return False

    def _put_package(self, item: Item) -> None:
        folder, bundle = self._folders.outgoing_dir, item.bundle_id or ""
        self._remove_unfinished(bundle)
        free = shutil.disk_usage(folder).free
        if free - (item.package_bytes or 0) < self._config.minimum_free_bytes:
            raise ServerRefuses(Refusal("GATEWAY_STORAGE_FULL"))
        unfinished = folder / f".{bundle}.package.part"
        with open_spooled(self._config, self._out.keys, item) as source:
            with _new_file(unfinished) as target:
                counted = _Counted(target)
                _encrypt(_Source(source), counted, self._folders.recipient)
                target.flush()
                os.fsync(target.fileno())
        digest = counted.digest.hexdigest()
        name = folder_transfer.file_name(
            self._config.municipality_code, bundle, digest, folder_transfer.PACKAGE_ENDING
        )
        unfinished.rename(folder / name)
        sync_folder(folder)
        word = self._word(
            "package",
            bundle_id=bundle,
            package_sha256=item.package_sha256,
            package_bytes=item.package_bytes,
            file_name=name,
            file_bytes=counted.bytes,
            file_sha256=digest,
            key_id=self._folders.key_id,
        )
        self._put_word(word, Path(name).stem + folder_transfer.WORD_ENDING)

    def _remove_unfinished(self, bundle: str) -> None:
        """Our own half-written file, and a package whose word was never written."""
        folder = self._folders.outgoing_dir
        (folder / f".{bundle}.package.part").unlink(missing_ok=True)
        own = f"{self._config.municipality_code}_{bundle}_*{folder_transfer.PACKAGE_ENDING}"
        for package in folder.glob(own):
            if not package.with_suffix(folder_transfer.WORD_ENDING).exists():
                package.unlink(missing_ok=True)

    def _word(self, kind: str, **facts: Any) -> Word:
        return Word.model_validate(
            facts
            | {
                "kind": kind,
                "environment": self._config.environment,
                "municipality_code": self._config.municipality_code,
                "sent_at": clock.now(),
            }
        )

    def _put_word(self, word: Word, name: str | None = None) -> None:
        data = folder_transfer.write_word(word, self._out.keys.signing)
        name = name or folder_transfer.file_name(
            word.municipality_code,
            word.bundle_id or folder_transfer.CONTACT,
            folder_transfer.digest(data),
            folder_transfer.WORD_ENDING,
        )
        folder = self._folders.outgoing_dir
        unfinished = folder / f".{name}.part"
        unfinished.unlink(missing_ok=True)
        with _new_file(unfinished) as target:
            target.write(data)
            target.flush()
            os.fsync(target.fileno())
        unfinished.rename(folder / name)
        sync_folder(folder)

    def make_contact(self) -> None:
        """Put a contact, in place of those the tool has not taken yet; read BCL's last answer."""
        self._read_contact()
        own = f"{self._config.municipality_code}_{folder_transfer.CONTACT}_*"
        for waiting in self._folders.outgoing_dir.glob(own):
            waiting.unlink(missing_ok=True)
        self._put_word(self._word("contact"))
        note_contact(self._out)

    # --- in

    def fetch_answer(self, item: Item) -> Item:
        """Take the newest answer about an item; without one for too long, carry it again."""
        known = (self._out.journal.answer(item) or {}).get("answered_at")
        newest, paths = self._newest_answer(item.bundle_id or "", item.package_sha256)
        if newest is None or (known and newest.answered_at < datetime.fromisoformat(known)):
            _remove(paths)
            return self._wait_or_ask(item)
        if newest.content is None:
            # BCL could not take the package in: nothing of it is there, so it goes once more.
            _remove(paths)
            refusal = _refusal_of(newest)
            if item.receipt is None:
                self._out.journal.move(
                    item, ItemState.SENDING, at=clock.now(), note=refusal.code, offset=0
                )
                self._take_back(item)
            raise ServerRefuses(refusal)
        content = newest.content | {"answered_at": newest.answered_at.isoformat()}
        item = take_answer(self._out, item, content)
        _remove(paths)
        return item

    def _take_back(self, item: Item) -> None:
        """Take our files of an item out of the outgoing folder, as far as they still lie there."""
        own = f"{self._config.municipality_code}_{item.bundle_id}_*"
        _remove(list(self._folders.outgoing_dir.glob(own)))

    def _wait_or_ask(self, item: Item) -> Item:
        """No news. After `answer_seconds` carry it again or, with a receipt, ask."""
        now, journal = clock.now(), self._out.journal
        told = [
            at
            for at, state, note in journal.history(item)
            if state is ItemState.SENT or note == _ASKED
        ]
        patience = timedelta(seconds=self._folders.answer_seconds)
        if told and now - max(told) < patience:
            later = now + timedelta(seconds=self._config.interval_seconds)
            return journal.learn(item, at=now, retry_at=later)
        if item.receipt is None:
            self._take_back(item)
            return journal.move(item, ItemState.SENDING, at=now, note="no answer", offset=0)
        self._put_word(
            self._word("question", bundle_id=item.bundle_id, package_sha256=item.package_sha256)
        )
        return journal.learn(item, at=now, note=_ASKED)

    def _read_contact(self) -> None:
        newest, paths = self._newest_answer(folder_transfer.CONTACT, None)
        if newest is not None and newest.content is not None:
            take_contact(self._out, newest.content)
        _remove(paths)

    def _newest_answer(
        self, subject: str, package_sha256: str | None
    ) -> tuple[AnswerFile | None, list[Path]]:
        """The newest answer of this environment that BCL signed, and the files to remove then.

        Raises ServerRefuses when there is none such but one that must not be believed, and when
        an answer comes from the future: then our clock is behind.
        """
        believed: list[AnswerFile] = []
        whole: list[Path] = []
        for path, answer in self._answers(subject):
            whole.append(path)
            if answer is not None and _is_about(answer, package_sha256):
                believed.append(answer)
        if whole and not believed:
            raise ServerRefuses(Refusal("GATEWAY_RECEIPT_INVALID"))
        if not believed:
            return None, []
        newest = max(believed, key=lambda answer: answer.answered_at)
        if newest.environment != self._config.environment:
            own = {"own": self._config.environment}
            raise ServerRefuses(Refusal("GATEWAY_SERVER_ENVIRONMENT", own))
        if folder_transfer.is_ahead(newest.answered_at, now=clock.now()):
            behind = round((clock.now() - newest.answered_at).total_seconds())
            raise ServerRefuses(Refusal("GATEWAY_CLOCK_SKEW", {"seconds": behind}))
        return newest, whole

    def _answers(self, subject: str) -> Iterator[tuple[Path, AnswerFile | None]]:
        """Whole answers about a subject; None for one that is not signed by BCL for this town."""
        own = f"{self._config.municipality_code}_{subject}_*{folder_transfer.ANSWER_ENDING}"
        key = receipts.parse_public_key(self._config.server.receipt_key)
        for path in sorted(self._folders.incoming_dir.glob(own)):
            try:
                if path.stat().st_size > folder_transfer.MAXIMUM_ANSWER_BYTES:
                    continue
                unproved = folder_transfer.read_answer(path.read_bytes())
            except FileNotFoundError:
                continue
            if unproved is None:  # still being moved, or cut short: BCL's next answer replaces it
                continue
            answer = unproved.said_by(key)
            if answer is not None and (
                answer.municipality_code != self._config.municipality_code
                or answer.subject != subject
            ):
                answer = None
            yield path, answer

    def _clear_incoming(self) -> None:
        """Remove what nobody waits for any more: doubles that came late, files cut short.

        Only files of our town with names of the agreement; a stranger's file is left alone.
        """
        journal = self._out.journal
        waiting = {i.bundle_id for i in journal.items(ItemState.SENT, ItemState.HELD)}
        for path in self._folders.incoming_dir.glob(f"{self._config.municipality_code}_*"):
            parts = folder_transfer.split_name(path.name)
            if parts is None or parts["ending"] != folder_transfer.ANSWER_ENDING:
                continue
            is_over = parts["subject"] not in waiting | {folder_transfer.CONTACT}
            if is_over or _age_seconds(path) > self._folders.answer_seconds:
                path.unlink(missing_ok=True)


class _Source:
    """Reads through and remembers what went wrong: pyrage tells no more than that it did."""

    def __init__(self, source: BinaryIO) -> None:
        self.source = source
        self.fault: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self.source.read(size)
        except Exception as fault:
            self.fault = fault
            raise


class _Counted:
    """Writes through to a file and keeps digest and length of what went by, and its fault."""

    def __init__(self, target: BinaryIO) -> None:
        self.target, self.digest, self.bytes = target, hashlib.sha256(), 0
        self.fault: Exception | None = None

    def write(self, data: bytes) -> int:
        try:
            self.target.write(data)
        except Exception as fault:
            self.fault = fault
            raise
        self.digest.update(data)
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None:
        self.target.flush()


def _encrypt(source: _Source, target: _Counted, recipient: str) -> None:
    """Encrypt with age. Raises what source or target raised, not pyrage's word for it."""
    try:
        pyrage.encrypt_io(source, target, [pyrage.x25519.Recipient.from_str(recipient)])
    except pyrage.EncryptError as fault:
        raise source.fault or target.fault or fault from None


def _new_file(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, _FILE_MODE), "wb")


def _age_seconds(path: Path) -> float:
    """Since when the file has not changed; by the machine's own clock, which set its time."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _is_about(answer: AnswerFile, package_sha256: str | None) -> bool:
    """A refusal may name no package: BCL could not believe the word that named it."""
    named = answer.package_sha256
    return named == package_sha256 or (named is None and answer.content is None)


def _refusal_of(answer: AnswerFile) -> Refusal:
    said = answer.refusal or {}
    code, detail = said.get("code"), said.get("detail", {})
    if code not in REFUSALS or not isinstance(detail, dict):
        return Refusal("GATEWAY_SERVER_ANSWER")
    if code == "LINKAGE_GATEWAY_NOT_REGISTERED":
        return Refusal("GATEWAY_CERTIFICATE_REFUSED")
    return Refusal(code, {str(k): v for k, v in detail.items() if isinstance(v, str | int)})
