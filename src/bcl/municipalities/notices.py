"""Notices of a municipality: alarms that close when they are over, reminders that are told once.

    open_notice("999997", "LINKAGE_GATEWAY_SILENT", "main", at=now, detail={"seconds": 90000})
    close_notice("999997", "LINKAGE_GATEWAY_SILENT", "main", at=now)
    open_notices("999997"); open_notices()          # one town's, or those of all towns

Opening what is open and closing what is closed change nothing, so a job may look every minute.
`code` is a code of `bcl_contract/data/refusals.csv`: its text says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from bcl.foundation import log, tenancy
from bcl.municipalities import models, queries
from bcl_contract.refusals import Refusal

Kind = Literal["ALARM", "REMINDER"]

logger = log.get(__name__)


@dataclass(frozen=True)
class NoticeRecord:
    """A notice as it stands; `closed_at` None = open."""

    municipality_code: str
    kind: str
    code: str
    mark: str
    opened_at: datetime
    closed_at: datetime | None = None
    detail: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def text_ja(self) -> str:
        """What has happened, for the people of the town hall."""
        return Refusal(self.code).text.text_ja


def open_notice(
    municipality_code: str,
    code: str,
    mark: str = "",
    *,
    at: datetime,
    detail: Mapping[str, str | int] | None = None,
    kind: Kind = "ALARM",
) -> bool:
    """Open a notice; True when it wasn't open yet. KeyError when `code` is no known code.

    Joins the caller's scope and transaction. `detail` takes ids, codes and counts (ValueError
    otherwise); that of a notice which is open already stays as it was found first.
    """
    Refusal(code)  # KeyError: an unknown code is a fault of the program
    for name, value in (detail or {}).items():
        if not log.is_harmless(name, value):
            raise ValueError(f"notice detail {name!r} must be an id, a code or a count")
    with tenancy.scope(municipality_code):
        _, opened = models.Notice.objects.get_or_create(
            municipality_code=municipality_code,
            code=code,
            mark=mark,
            closed_at=None,
            defaults={"kind": kind, "opened_at": at, "detail": dict(detail or {})},
        )
    if opened:
        logger.warning("notice_opened", municipality_code=municipality_code, code=code)
    return opened


def close_notice(municipality_code: str, code: str, mark: str = "", *, at: datetime) -> bool:
    """Close an open notice; False when there was none. Joins the caller's transaction."""
    with tenancy.scope(municipality_code):
        closed = models.Notice.objects.filter(
            municipality_code=municipality_code, code=code, mark=mark, closed_at=None
        ).update(closed_at=at)
    if closed:
        logger.info("notice_closed", municipality_code=municipality_code, code=code)
    return bool(closed)


def open_notices(municipality_code: str | None = None) -> list[NoticeRecord]:
    """Open notices of one municipality, or of all of them, the oldest first."""
    return list_notices(municipality_code, also_closed=False)


def list_notices(
    municipality_code: str | None = None, *, also_closed: bool = True
) -> list[NoticeRecord]:
    """Notices with their history, the oldest first."""
    codes = queries.list_municipality_codes() if municipality_code is None else [municipality_code]
    found: list[NoticeRecord] = []
    for code in codes:
        with tenancy.scope(code):
            rows = models.Notice.objects.filter(municipality_code=code)
            if not also_closed:
                rows = rows.filter(closed_at=None)
            found.extend(_record(row) for row in rows)
    return sorted(found, key=lambda notice: (notice.opened_at, notice.code, notice.mark))


def _record(row: models.Notice) -> NoticeRecord:
    return NoticeRecord(
        row.municipality_code,
        row.kind,
        row.code,
        row.mark,
        row.opened_at,
        row.closed_at,
        dict(row.detail),
    )
