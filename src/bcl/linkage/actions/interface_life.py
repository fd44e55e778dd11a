"""Which version of the interface a town sends, reminders before that version ends, and the change
to the next one (R-036, R-037)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bcl.foundation import tenancy
from bcl.linkage.interface_rules import (
    DEADLINE_NEAR,
    EXPIRED,
    DeadlineNotice,
    judge_deadlines,
    judge_version_change,
    load_reminder_days,
)
from bcl.linkage.models import Transmission
from bcl.linkage.rules import TransmissionState, load_interface_windows
from bcl.municipalities import api as municipalities
from bcl.resident_store import api as store
from bcl_contract.linkage.package import OpenPackage
from bcl_contract.refusals import Refusal


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


def refuse_version_change(
    transmission: Transmission, package: OpenPackage | Refusal
) -> Refusal | None:
    """Why a package may not be applied: what it is refused for already, or a half change.

    Called under the lane's lock, inside the town's scope. The first main transmission of another
    version brings every file that reads otherwise there, in full.
    """
    if isinstance(package, Refusal):
        return package
    if transmission.lane != "main":
        return None
    last = (
        Transmission.objects.filter(lane="main", state=TransmissionState.LANDED)
        .order_by("-sequence")
        .first()
    )
    return judge_version_change(
        last.interface_version if last is not None else None,
        transmission.interface_version,
        mode=transmission.mode,
        sent={entry.file_id for entry in package.manifest.tables},
        records=store.counts(transmission.municipality_code),
    )
