"""Keeping the intake tidy: uploads nobody finishes, bytes nobody needs, jobs that got lost."""

from __future__ import annotations

from datetime import datetime, timedelta

from bcl.foundation import log, tenancy
from bcl.linkage import settings as intake_settings
from bcl.linkage.actions.accept import defer_opening
from bcl.linkage.actions.obstacle import publish_obstacle
from bcl.linkage.adapters.receive_area import Place
from bcl.linkage.models import Transmission, Upload, UploadState
from bcl.linkage.rules import TransmissionState
from bcl_contract.sealed_file import SealedFileBusy

LEFT_LYING = timedelta(minutes=30)
_UNFINISHED = (TransmissionState.RECEIVED, TransmissionState.OPENED)
_NEEDED = (*_UNFINISHED, TransmissionState.HELD)

logger = log.get(__name__)


def tidy_intake(municipality_code: str, *, at: datetime) -> None:
    """Expire, clear and take up, in that order."""
    expire_uploads(municipality_code, at=at)
    clear_receive_area(municipality_code)
    take_up_unfinished(municipality_code, at=at)
    with tenancy.scope(municipality_code):  # backlog and silence grow without any act
        publish_obstacle(municipality_code, at=at)


def expire_uploads(municipality_code: str, *, at: datetime) -> int:
    """Give up uploads that nobody went on with in time; gives their number."""
    with tenancy.scope(municipality_code):
        expired = Upload.objects.filter(state=UploadState.OPEN, expires_at__lte=at).update(
            state=UploadState.EXPIRED
        )
    if expired:
        logger.info("uploads_expired", municipality_code=municipality_code, count=expired)
    return expired


def clear_receive_area(municipality_code: str) -> int:
    """Delete files that no open upload and no unfinished transmission needs; gives their number.

    A file that a writer holds is left alone: it belongs to a request that is running.
    """
    area = intake_settings.receive_area()
    removed = 0
    for upload_id in area.stored_uploads(municipality_code):
        with tenancy.scope(municipality_code):
            upload = Upload.objects.filter(id=upload_id).first()
            needed = upload is None or upload.state == UploadState.OPEN
            needed |= Transmission.objects.filter(upload_id=upload_id, state__in=_NEEDED).exists()
        if needed or upload is None:
            continue
        place = Place(municipality_code, upload_id, upload.key_version)
        try:
            area.open_writer(place, acknowledged=0).abandon()
        except SealedFileBusy:
            continue
        area.remove(place)
        removed += 1
    return removed


def take_up_unfinished(municipality_code: str, *, at: datetime) -> int:
    """Queue again what has waited too long for its job; gives their number."""
    with tenancy.scope(municipality_code):
        waiting = Transmission.objects.filter(
            state__in=_UNFINISHED, received_at__lte=at - LEFT_LYING
        ).order_by("sequence", "received_at")
        for transmission in waiting:
            defer_opening(transmission, occasion=f"again-{at:%Y%m%d%H%M}")
        return len(waiting)
