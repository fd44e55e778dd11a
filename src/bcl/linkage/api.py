"""The intake of linkage data: what other parts may ask of it.

    from bcl.linkage import api as linkage
    obstacle = linkage.issuing_obstacle("999997", clock.now())   # Refusal or None
    status = linkage.get_status("999997", at=clock.now())        # backlog, lanes, freshness
    linkage.release_held("999997", transmission_id, by=actor, at=now)

Every function opens the municipality's scope itself.
"""

from __future__ import annotations

from datetime import datetime

from bcl.foundation import tenancy
from bcl.linkage import queries
from bcl.linkage.actions.folder_intake import FolderRound, make_transfer_folders, watch_folder
from bcl.linkage.actions.freshness import Freshness, note_contact, read_freshness, watch_silence
from bcl.linkage.actions.holds import (
    approve_hold_release,
    ask_hold_release,
    waiting_releases,
)
from bcl.linkage.actions.interface_life import (
    InterfaceUse,
    read_interface_use,
    remind_of_deadlines,
)
from bcl.linkage.actions.landing import advance_transmission
from bcl.linkage.actions.obstacle import find_obstacle
from bcl.linkage.actions.receipt import get_receipt_public_key
from bcl.linkage.actions.resend import end_resend, open_requests, request_resend
from bcl.linkage.actions.staff import ask_release, reject_transmission, release_held
from bcl.linkage.actions.transfer_key import TransferKeyPublic, get_transfer_key
from bcl.linkage.actions.upkeep import tidy_intake
from bcl.linkage.models import ResendRequest
from bcl.linkage.queries import IntakeStatus
from bcl_contract.refusals import Refusal

__all__ = [
    "FolderRound",
    "Freshness",
    "IntakeStatus",
    "InterfaceUse",
    "TransferKeyPublic",
    "advance_transmission",
    "approve_hold_release",
    "ask_hold_release",
    "ask_release",
    "count_unchecked",
    "end_resend",
    "get_freshness",
    "get_interface_use",
    "get_receipt_public_key",
    "get_status",
    "get_transfer_key",
    "issuing_obstacle",
    "list_received",
    "list_resend_requests",
    "make_transfer_folders",
    "note_contact",
    "reject_transmission",
    "release_held",
    "remind_of_deadlines",
    "request_resend",
    "tidy_intake",
    "waiting_releases",
    "watch_folder",
    "watch_silence",
]


def issuing_obstacle(municipality_code: str, at: datetime) -> Refusal | None:
    """What in the intake forbids issuing certificates of this municipality now, or None.

    A gap, a held transmission, an unconfirmed fork, a restriction not applied yet, a backlog
    older than the grace, or no landing for longer than the municipality allows. The same stands
    in availability as a suspension of ISSUANCE, which is where issuing sees it.
    """
    with tenancy.scope(municipality_code):
        return find_obstacle(municipality_code, at)


def get_status(municipality_code: str, *, at: datetime, recent: int = 20) -> IntakeStatus:
    """Backlog, lanes, freshness and the newest transmissions of a municipality."""
    with tenancy.scope(municipality_code):
        return queries.read_status(municipality_code, at=at, recent=recent)


def get_freshness(municipality_code: str, *, at: datetime) -> Freshness:
    """How fresh a municipality's data is, against its own rhythm (R-035)."""
    with tenancy.scope(municipality_code):
        return read_freshness(municipality_code, at=at)


def count_unchecked(municipality_code: str, *, since: datetime) -> int:
    """Transmissions received since then that no malware engine had looked at (R-165)."""
    with tenancy.scope(municipality_code):
        return queries.count_unchecked(since=since)


def list_resend_requests(municipality_code: str) -> list[ResendRequest]:
    """Open wishes for re-sending, the oldest first."""
    with tenancy.scope(municipality_code):
        return list(open_requests())


def get_interface_use(municipality_code: str, *, at: datetime) -> InterfaceUse:
    """Which versions of the interface a municipality sends, and what it must be told (R-037)."""
    with tenancy.scope(municipality_code):
        return read_interface_use(municipality_code, at=at)


def list_received(
    municipality_code: str, since: datetime, until: datetime, *, limit: int
) -> list[dict[str, str]]:
    """Transmissions of a period, oldest first, as texts by column: what an export may hold."""
    with tenancy.scope(municipality_code):
        return queries.list_received(since, until, limit=limit)
