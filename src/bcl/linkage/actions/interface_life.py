"""Which version of the interface a town sends, and reminders before that version ends (R-037)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bcl.foundation import tenancy
from bcl.linkage.interface_rules import (
    DEADLINE_NEAR,
    EXPIRED,
    DeadlineNotice,
    judge_deadlines,
    load_reminder_days,
)
from bcl.linkage.models import Transmission
from bcl.linkage.rules import TransmissionState, load_interface_windows
from bcl.municipalities import api as municipalities


@dataclass(frozen=True)
class InterfaceUse:
    """The versions a town sends now, by lane, and the notices it must have open."""

    municipality_code: str
    by_lane: dict[str, str]
    notices: tuple[DeadlineNotice, ...]


def read_interface_use(municipality_code: str, *, at: datetime) -> InterfaceUse:
    """Tell which versions a town sends, inside the caller's scope. Nothing is changed.

    The newest transmission of a lane counts, unless it was refused. The urgent lane counts only
    if it has spoken since the main lane's version came up: one urgent row a year ago says
    nothing about the system of today.
    """
    sent = Transmission.objects.exclude(state=TransmissionState.REJECTED).exclude(
        interface_version=""
    )
    by_lane: dict[str, str] = {}
    main = sent.filter(lane="main").order_by("-received_at").first()
    urgent = sent.filter(lane="urgent").order_by("-received_at").first()
    if main is not None:
        by_lane["main"] = main.interface_version
        began = sent.filter(lane="main", interface_version=main.interface_version).earliest(
            "received_at"
        )
        if urgent is not None and urgent.received_at < began.received_at:
            urgent = None
    if urgent is not None:
        by_lane["urgent"] = urgent.interface_version
    notices = judge_deadlines(
        by_lane.values(), load_interface_windows(), load_reminder_days(at), at
    )
    return InterfaceUse(municipality_code, by_lane, notices)


def remind_of_deadlines(municipality_code: str, *, at: datetime) -> InterfaceUse:
    """Open the reminder a town has reached and close what no longer holds; may run any time.

    After the deadline the reminder becomes an alarm, which closes when the town's first
    transmission in an accepted version is in.
    """
    with tenancy.scope(municipality_code):
        found = read_interface_use(municipality_code, at=at)
        wanted = {(notice.code, notice.mark) for notice in found.notices}
        for standing in municipalities.open_notices(municipality_code):
            place = (standing.code, standing.mark)
            if standing.code in (DEADLINE_NEAR, EXPIRED) and place not in wanted:
                municipalities.close_notice(municipality_code, *place, at=at)
        for notice in found.notices:
            municipalities.open_notice(
                municipality_code,
                notice.code,
                notice.mark,
                at=at,
                kind="ALARM" if notice.code == EXPIRED else "REMINDER",
                detail={
                    "interface_version": notice.interface_version,
                    "expires_at": notice.accepted_until.isoformat(),
                },
            )
    return found
