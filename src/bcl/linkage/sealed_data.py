"""Where linkage keeps sealed values."""

from __future__ import annotations

from django.db.models import Q

from bcl.foundation.keys import KeyPurpose
from bcl.foundation.sealed_data import SealedCells, SealedData, Step
from bcl.linkage.models import Transmission, Upload, UploadState
from bcl.linkage.rules import TransmissionState

_NEEDED = (TransmissionState.RECEIVED, TransmissionState.OPENED, TransmissionState.HELD)


class ReceivedFiles:
    """Files of the receive area: never sealed again, they are gone once landed or refused."""

    name = "linkage_upload.file"
    purpose = KeyPurpose.RECEIVE

    def count(self, municipality_code: str, *, other_than: int | None = None) -> int:
        others = Q() if other_than is None else ~Q(key_version=other_than)
        waiting = Transmission.objects.filter(
            others, municipality_code=municipality_code, state__in=_NEEDED
        )
        open_uploads = Upload.objects.filter(
            others, municipality_code=municipality_code, state=UploadState.OPEN
        )
        return waiting.count() + open_uploads.count()

    def reseal(self, municipality_code: str, *, version: int, after: str, limit: int) -> Step:
        return Step(0, None)

    def open_one(self, municipality_code: str) -> bool | None:
        return None


SEALED: list[SealedData] = [
    SealedCells("linkage_receiptkey", "sealed_private_key", place=("key_id",)),
    SealedCells("linkage_transferkey", "sealed_identity", place=("key_id",)),
    ReceivedFiles(),
]
