"""The door of the resident store (中間DB): what other apps may call.

    result = store.apply_files(municipality_code=…, lane="main", sequence=7, mode="full", …)
    for entry in store.changes_of_load("999997", 7, ["J01"]): ...
    versions = store.find_person("999997", "000000000012345", as_of=None, file_ids=["J01"])
    values = store.read_records("999997", [v.id for v in versions], columns=["full_name"])

Positions in time are load numbers: `load_number_at` turns a sequence or a time into one.
Everything opens the town's scope itself or joins the open one; `changes_of_load` streams and
needs it open. Values come back as the register wrote them.
"""

from __future__ import annotations

from bcl.resident_store.actions.apply_files import RepeatedSequence, apply_files
from bcl.resident_store.actions.reconcile import Differences, FileDifferences, reconcile
from bcl.resident_store.actions.recovery_zip import (
    NoSuchLoad,
    RecoveryContents,
    write_recovery_zip,
)
from bcl.resident_store.database import lock_town
from bcl.resident_store.disclosure import purposes_on
from bcl.resident_store.event_dates import find_household_on, find_person_on
from bcl.resident_store.export_list import ListedResident, find_standing, list_residents
from bcl.resident_store.fragments import Match
from bcl.resident_store.hold_list import Hold, lift_hold, list_holds
from bcl.resident_store.pages import PageFault
from bcl.resident_store.person_search import (
    PersonHit,
    PersonSearchResult,
    search_persons,
)
from bcl.resident_store.protection import (
    Protected,
    household_members,
    protected_keys,
    tells_a_place,
)
from bcl.resident_store.queries import (
    LiveRecords,
    UnknownColumn,
    applied_position,
    changes_of_load,
    columns_of_profile,
    counts,
    find_by_key,
    find_by_search,
    find_cert_link,
    find_household,
    find_person,
    held_counts,
    household_key_held,
    is_household_held,
    is_person_held,
    live_records,
    load_number_at,
    person_key_held,
    read_records,
    read_seal_image,
)
from bcl.resident_store.rules import (
    Ambiguous,
    CertLink,
    FeedEntry,
    FileCounts,
    LoadResult,
    LoadSummary,
    Position,
    RecordVersion,
    Verdict,
)

__all__ = [
    "Ambiguous", "CertLink", "Differences", "FeedEntry", "FileCounts", "FileDifferences", "Hold",
    "ListedResident", "LiveRecords", "LoadResult", "LoadSummary", "Match", "NoSuchLoad",
    "PageFault", "PersonHit", "PersonSearchResult", "Position", "Protected", "RecordVersion",
    "RecoveryContents", "RepeatedSequence", "UnknownColumn", "Verdict", "applied_position",
    "apply_files", "changes_of_load", "columns_of_profile", "counts", "find_by_key",
    "find_by_search", "find_cert_link", "find_household", "find_household_on", "find_person",
    "find_person_on", "find_standing", "held_counts", "household_key_held", "household_members",
    "is_household_held", "is_person_held", "lift_hold", "list_holds", "list_residents",
    "live_records", "load_number_at", "lock_town", "person_key_held", "protected_keys",
    "purposes_on", "read_records", "read_seal_image", "reconcile", "search_persons",
    "tells_a_place", "write_recovery_zip",
]  # fmt: skip
