"""Answering into the folder of an external tool: every change of state, once, signed (R-014)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from bcl.foundation import tenancy
from bcl.linkage import settings as intake_settings
from bcl.linkage.actions.answers import describe_contact, describe_transmission
from bcl.linkage.actions.receipt import open_receipt_key, sign_receipt
from bcl.linkage.actions.resend import tell_requests
from bcl.linkage.adapters.transfer_folders import TransferFolders
from bcl.linkage.models import FolderDelivery, Transmission
from bcl.linkage.queries import list_findings, list_lanes
from bcl.linkage.rules import TransmissionState
from bcl_contract import folder_transfer
from bcl_contract.folder_transfer import AnswerFile
from bcl_contract.receipts import canonical_json
from bcl_contract.refusals import Refusal

_FINAL = (TransmissionState.LANDED, TransmissionState.REJECTED)


def answer_changes(folders: TransferFolders, *, at: datetime) -> int:
    """Write an answer for every delivery whose state is not what was answered; their number.

    The file comes before the note of it: a crash in between writes the same answer again.
    """
    code, written = folders.municipality_code, 0
    with tenancy.scope(code):
        for delivery in FolderDelivery.objects.filter(is_closed=False).order_by("id"):
            written += answer_delivery(folders, delivery, at=at)
    return written


def answer_delivery(
    folders: TransferFolders, delivery: FolderDelivery, *, at: datetime, anyway: bool = False
) -> bool:
    """Answer about one delivery if there is news (or `anyway`: it was asked for)."""
    transmission = delivery.transmission
    content = describe_transmission(
        transmission, list_findings(transmission), sign_receipt(transmission, at=at)
    )
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    if digest == delivery.answered and not anyway:
        return False
    put_answer(
        folders,
        transmission.bundle_id,
        at=at,
        package_sha256=transmission.sha256,
        content=content,
    )
    delivery.answered = digest
    delivery.is_closed = transmission.state in _FINAL
    delivery.save()
    return True


def note_delivery(transmission: Transmission) -> FolderDelivery:
    """Remember that a transmission is answered into the folder, in the caller's scope."""
    delivery, _ = FolderDelivery.objects.get_or_create(
        municipality_code=transmission.municipality_code, transmission=transmission
    )
    return delivery


def answer_contact(folders: TransferFolders, *, at: datetime) -> None:
    """Tell a gateway what is wished for and how far each lane has landed."""
    with tenancy.scope(folders.municipality_code):
        content = describe_contact(tell_requests(at=at), list_lanes())
        put_answer(folders, folder_transfer.CONTACT, at=at, content=content)


def answer_refusal(
    folders: TransferFolders,
    subject: str,
    refusal: Refusal,
    *,
    package_sha256: str | None,
    at: datetime,
) -> None:
    """Say why nothing was taken in."""
    with tenancy.scope(folders.municipality_code):
        put_answer(
            folders, subject, at=at, package_sha256=package_sha256, refusal=refusal.as_json()
        )


def put_answer(
    folders: TransferFolders,
    subject: str,
    *,
    at: datetime,
    package_sha256: str | None = None,
    content: dict[str, Any] | None = None,
    refusal: dict[str, Any] | None = None,
) -> None:
    """Sign an answer with the town's receipt key and give it to the tool; in the caller's scope."""
    code = folders.municipality_code
    answer = AnswerFile.model_validate(
        {
            "environment": intake_settings.environment(),
            "municipality_code": code,
            "subject": subject,
            "package_sha256": package_sha256,
            "answered_at": at,
            "content": content,
            "refusal": refusal,
        }
    )
    data = folder_transfer.write_answer(answer, open_receipt_key(code, at=at))
    folders.put_answer(subject, data)
