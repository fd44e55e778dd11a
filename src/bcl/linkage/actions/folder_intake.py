"""Taking in what an external transfer tool brought (R-014): the same judgement as over HTTP.

A word is believed when a registered gateway of the town signed it. Its package is taken when it
is whole; what is not whole yet waits, what stays damaged is refused by a signed answer, so that
the town hall carries it again. Running it at any time, any number of times, changes nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bcl.foundation import audit, log, tenancy
from bcl.linkage import settings as intake_settings
from bcl.linkage.actions import upload as uploads
from bcl.linkage.actions.folder_answers import (
    answer_changes,
    answer_contact,
    answer_delivery,
    answer_refusal,
    note_delivery,
)
from bcl.linkage.actions.freshness import note_contact
from bcl.linkage.actions.obstacle import SYSTEM
from bcl.linkage.actions.transfer_key import open_identity
from bcl.linkage.adapters.carried_package import CarriedBody, digest_of
from bcl.linkage.adapters.transfer_folders import TransferFolders, age_seconds
from bcl.linkage.models import Transmission, Upload, UploadState
from bcl.linkage.queries import find_transmission
from bcl.municipalities import api as municipalities
from bcl_contract import folder_transfer
from bcl_contract.folder_transfer import Word
from bcl_contract.refusals import Refusal

_CARRIED = "carried"
_DAMAGED = frozenset({"LINKAGE_UPLOAD_CHECKSUM", "LINKAGE_UPLOAD_BODY_BROKEN"})
_LATER = frozenset(
    {"LINKAGE_UPLOAD_STORAGE_FULL", "LINKAGE_UPLOAD_BUSY", "LINKAGE_UPLOAD_TOO_MANY",
     "LINKAGE_UPLOAD_OFFSET", "LINKAGE_UPLOAD_UNKNOWN"}
)  # fmt: skip

logger = log.get(__name__)


@dataclass(frozen=True)
class FolderRound:
    """What one look into a town's folder did; counts."""

    taken: int = 0
    waiting: int = 0
    refused: int = 0
    answered: int = 0


def watch_folder(municipality_code: str, *, at: datetime) -> FolderRound:
    """Take in what is finished, answer what has changed, clear what nobody needs."""
    root = intake_settings.folder_transfer_dir()
    if root is None:
        return FolderRound()
    folders = TransferFolders(root, municipality_code)
    if not folders.exist():
        return FolderRound()
    folders.make()
    ends = [_take_word(folders, path, at=at) for path in folders.words()]
    answered = answer_changes(folders, at=at)
    removed = folders.remove_older_than(intake_settings.limits().folder_keep_seconds)
    if removed:
        logger.warning("folder_cleared", municipality_code=municipality_code, count=removed)
    return FolderRound(ends.count("taken"), ends.count("waiting"), ends.count("refused"), answered)


def _take_word(folders: TransferFolders, path: Path, *, at: datetime) -> str:
    data = folders.read(path, limit=folder_transfer.MAXIMUM_WORD_BYTES)
    unproved = None if data is None else folder_transfer.read_word(data)
    if unproved is None:
        return "waiting"  # still being moved, or cut short: the town hall says it again
    code = folders.municipality_code
    for gateway in municipalities.list_gateways(code):
        word = unproved.said_by(gateway.signing_public_key)
        if word is not None and word.municipality_code == code:
            return _take_signed(folders, path, word, str(gateway.id), at=at)
    return _refuse_stranger(folders, path, at=at)


def _take_signed(
    folders: TransferFolders, path: Path, word: Word, gateway_id: str, *, at: datetime
) -> str:
    refusal = _judge_word(word, at=at)
    if refusal is not None:
        return _refuse(folders, path, word, refusal, at=at)
    note_contact(folders.municipality_code, gateway_id, at=at, asked=True)
    if word.kind == "contact":
        answer_contact(folders, at=at)
        path.unlink(missing_ok=True)
        return "taken"
    if _answer_known(folders, word, at=at):
        return "taken"
    if word.kind == "question":
        return _refuse(folders, path, word, Refusal("TRANSMISSION_NOT_FOUND"), at=at)
    return _take_package(folders, path, word, gateway_id, at=at)


def _judge_word(word: Word, *, at: datetime) -> Refusal | None:
    """Of this environment, and not from a future our clocks don't share (R-040, R-263)."""
    own = intake_settings.environment()
    if word.environment != own:
        return Refusal("LINKAGE_ENVIRONMENT_MISMATCH", {"environment": own})
    if folder_transfer.is_ahead(word.sent_at, now=at):
        ahead = round((word.sent_at - at).total_seconds())
        return Refusal("TRANSMISSION_CLOCK_SKEW", {"seconds": ahead})
    return None


def _refuse_stranger(folders: TransferFolders, path: Path, *, at: datetime) -> str:
    """Nobody registered signed it: set aside, on record, and said to whoever reads the answers."""
    code = folders.municipality_code
    refusal = Refusal("LINKAGE_GATEWAY_NOT_REGISTERED")
    with tenancy.scope(code):
        audit.record(
            act="refuse_carried_word", by=SYSTEM, at=at,
            detail={"file": path.name, "code": refusal.code},
        )  # fmt: skip
    logger.warning("carried_word_of_stranger", municipality_code=code, file=path.name)
    parts = folder_transfer.split_name(path.name) or {}
    answer_refusal(folders, parts["subject"], refusal, package_sha256=None, at=at)
    folders.set_aside(path)
    return "refused"


def _refuse(
    folders: TransferFolders, path: Path, word: Word, refusal: Refusal, *, at: datetime
) -> str:
    """A registered gateway hears why; its files go, it still has what they carry."""
    logger.warning(
        "carried_word_refused", municipality_code=folders.municipality_code, code=refusal.code
    )
    subject = word.bundle_id or folder_transfer.CONTACT
    answer_refusal(folders, subject, refusal, package_sha256=word.package_sha256, at=at)
    package = folders.package(word)
    path.unlink(missing_ok=True)
    if package is not None:
        package.unlink(missing_ok=True)
    return "refused"


def _answer_known(folders: TransferFolders, word: Word, *, at: datetime) -> bool:
    """What BCL has already is not taken twice; the asker hears how it stands (R-018)."""
    with tenancy.scope(folders.municipality_code):
        known = find_transmission(word.bundle_id or "", sha256=word.package_sha256)
        if known is None:
            return False
        answer_delivery(folders, note_delivery(known), at=at, anyway=True)
    folders.remove_bundle(word.bundle_id or "")
    return True


def _take_package(
    folders: TransferFolders, path: Path, word: Word, gateway_id: str, *, at: datetime
) -> str:
    code = folders.municipality_code
    took: Transmission | Refusal
    package = _whole_package(folders, path, word)
    if isinstance(package, Refusal):
        took = package
    else:
        took = _receive(code, gateway_id, word, package, at=at)
    if isinstance(took, Refusal):
        if took.code in _LATER:
            logger.info("carried_package_waits", municipality_code=code, code=took.code)
            return "waiting"
        named = Refusal("LINKAGE_FOLDER_DAMAGED") if took.code in _DAMAGED else took
        return _refuse(folders, path, word, named, at=at)
    with tenancy.scope(code):
        answer_delivery(folders, note_delivery(took), at=at)
    folders.remove_bundle(word.bundle_id or "")
    return "taken"


def _whole_package(folders: TransferFolders, path: Path, word: Word) -> Path | Refusal:
    """The package if it is here as signed for; LINKAGE_UPLOAD_UNKNOWN while it may still come."""
    package = folders.package(word)
    if package is None:
        return Refusal("LINKAGE_FOLDER_DAMAGED")
    if digest_of(package, size=word.file_bytes) == word.file_sha256:
        return package
    settled = intake_settings.limits().folder_settle_seconds
    if package.exists() and min(age_seconds(package), age_seconds(path)) > settled:
        return Refusal("LINKAGE_FOLDER_DAMAGED")
    return Refusal("LINKAGE_UPLOAD_UNKNOWN")


def _receive(
    code: str, gateway_id: str, word: Word, package: Path, *, at: datetime
) -> Transmission | Refusal:
    """Through the door every transmission comes through: one upload, sealed, in one piece."""
    with tenancy.scope(code):
        identity = open_identity(code, word.key_id or "")
    if identity is None:
        return Refusal("LINKAGE_FOLDER_KEY_UNKNOWN")
    intake = uploads.Intake(
        municipality_code=code,
        gateway_id=gateway_id,
        area=intake_settings.receive_area(),
        limits=intake_settings.limits(),
    )
    upload_id = _open_upload(intake, word, at=at)
    if isinstance(upload_id, Refusal):
        return upload_id
    with CarriedBody(package, identity, declared=word.package_bytes) as body:
        chunk = uploads.Chunk(
            0, body, uploads.new_hasher(), bytes.fromhex(word.package_sha256 or "")
        )
        progress = uploads.append_chunk(intake, upload_id, chunk, at=at)
    if isinstance(progress, Refusal):
        if progress.code not in _LATER:
            uploads.terminate_upload(intake, upload_id, at=at)
        return progress
    if progress.transmission is None:
        return Refusal("LINKAGE_UPLOAD_UNKNOWN")
    return progress.transmission


def _open_upload(intake: uploads.Intake, word: Word, *, at: datetime) -> uploads.UploadId | Refusal:
    """The upload an interrupted round left, or a new one: crashes must not pile them up."""
    with tenancy.scope(intake.municipality_code):
        left = Upload.objects.filter(
            bundle_id=word.bundle_id,
            gateway_id=intake.gateway_id,
            filename=_CARRIED,
            length=word.package_bytes,
            offset=0,
            state=UploadState.OPEN,
            expires_at__gt=at,
        ).first()
    if left is not None:
        return left.id
    made = uploads.create_upload(
        intake,
        length=word.package_bytes,
        bundle_id=word.bundle_id or "",
        filename=_CARRIED,
        at=at,
    )
    return made if isinstance(made, Refusal) else made.upload_id


def make_transfer_folders(municipality_code: str) -> TransferFolders | Refusal:
    """Make a town's folders: from then on the external way is open to it."""
    root = intake_settings.folder_transfer_dir()
    if root is None:
        return Refusal("LINKAGE_FOLDER_OFF")
    folders = TransferFolders(root, municipality_code)
    folders.make()
    return folders
