"""Decisions about transmissions (連携データの受入判定): dataclasses in, dataclasses out.

No clock, no database: everything a decision needs is an argument, so that it can be tested by
the thousand.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from importlib.resources import files
from types import MappingProxyType

from bcl_contract.linkage import catalog
from bcl_contract.refusals import Refusal


class TransmissionState(StrEnum):
    """Where a transmission stands. Stored as the word; moves only along `TRANSITIONS`."""

    RECEIVED = "RECEIVED"
    OPENED = "OPENED"
    LANDED = "LANDED"
    HELD = "HELD"
    REJECTED = "REJECTED"


TRANSITIONS: Mapping[TransmissionState, frozenset[TransmissionState]] = MappingProxyType(
    {
        TransmissionState.RECEIVED: frozenset(
            {TransmissionState.OPENED, TransmissionState.HELD, TransmissionState.REJECTED}
        ),
        TransmissionState.OPENED: frozenset(
            {TransmissionState.LANDED, TransmissionState.HELD, TransmissionState.REJECTED}
        ),
        TransmissionState.HELD: frozenset({TransmissionState.OPENED, TransmissionState.REJECTED}),
        TransmissionState.LANDED: frozenset(),
        TransmissionState.REJECTED: frozenset(),
    }
)


def may_move(before: TransmissionState, after: TransmissionState) -> bool:
    """Is this step in the table? Nothing leaves LANDED or REJECTED."""
    return after in TRANSITIONS[before]


# --- sequence -------------------------------------------------------------------------------


class Place(Enum):
    """How a transmission stands to the line of its lane."""

    NEXT = "NEXT"
    AHEAD = "AHEAD"


@dataclass(frozen=True)
class LaneFacts:
    """One lane of one municipality: last landed sequence (0 = none) and numbers in waiting.

    `taken` holds the sequence numbers that another transmission has already landed or holds.
    """

    last_sequence: int
    taken: frozenset[int] = frozenset()


def judge_sequence(*, sequence: int, previous_sequence: int, lane: LaneFacts) -> Place | Refusal:
    """Place a transmission in its lane (R-019).

    A number that is already landed or waiting under other content is a fork: which of the two is
    true nobody can tell from here, so the newcomer is refused and issuing stops (domain §3.8).
    The sender's idea of its predecessor must be ours too, else one side has lost something.
    """
    if sequence <= lane.last_sequence or sequence in lane.taken:
        return Refusal("TRANSMISSION_FORK", {"sequence": sequence})
    if previous_sequence != sequence - 1:
        return Refusal("TRANSMISSION_SEQUENCE_BROKEN", {"sequence": sequence})
    return Place.NEXT if sequence == lane.last_sequence + 1 else Place.AHEAD


# --- judging --------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileCounts:
    """Counts of one file of a transmission.

    `declared` is what the manifest says; `rows` was read. `inserted + changed + unchanged`
    are rows of the file, `ended` records that the load ends, `before` the records that were
    current before it.
    """

    file_id: str
    declared: int
    rows: int
    inserted: int = 0
    changed: int = 0
    ended: int = 0
    unchanged: int = 0
    before: int = 0


@dataclass(frozen=True)
class TransmissionSummary:
    """What one pass over a transmission found."""

    lane: str
    mode: str
    as_of: datetime
    files: tuple[FileCounts, ...]
    fatal: int = 0
    row_errors: int = 0
    household: int = 0
    warnings: int = 0


@dataclass(frozen=True)
class FileLimits:
    """Mass-change limits of one file, in percent of the records before the load.

    None means no limit. Up to `free_rows` changes never count as a mass: in a village of a
    hundred residents one family is six percent.
    """

    shrink_percent: int | None
    growth_percent: int | None
    free_rows: int


@dataclass(frozen=True)
class ChangeLimits:
    """Limits in force at one time for one municipality.

    `on_row_errors` is what a wrong row does: `reject` refuses the whole transmission, `hold` waits
    for a person, `quarantine` lands the other rows and holds the persons concerned (R-022).
    `quarantine_percent` of the rows may go that way by themselves; more of them are rather a
    wrong extract, and wait for a person.
    """

    by_file: Mapping[str, FileLimits]
    default: FileLimits
    on_row_errors: str = "reject"
    quarantine_percent: int = 1

    def of(self, file_id: str) -> FileLimits:
        """The limits of a file, its own or the default."""
        return self.by_file.get(file_id, self.default)


class VerdictKind(StrEnum):
    """What happens to a transmission now."""

    LAND = "LAND"
    HOLD = "HOLD"
    REJECT = "REJECT"


@dataclass(frozen=True)
class Verdict:
    """A decision and, unless it lands, why: `refusal` is None only for LAND."""

    kind: VerdictKind
    refusal: Refusal | None = None


LAND = Verdict(VerdictKind.LAND)


def judge_transmission(
    summary: TransmissionSummary,
    last: TransmissionSummary | None,
    limits: ChangeLimits,
    *,
    released: bool = False,
) -> Verdict:
    """Decide whether a transmission may land, must wait for a person, or is refused.

    HOLD is for data that is well formed but unlikely: so many people leaving at once that a
    wrong extract is the better explanation. Landing it would make kiosks print wrong papers
    (handbook II-6.2-(2)-イ), so the municipality confirms first. `released` says that it has;
    a confirmation turns HOLD into LAND and never saves what is to be refused.
    `last` is the summary of the last landed transmission of the lane, None for the first.
    """
    refusal = _find_refusal(summary, last, limits)
    if refusal is not None:
        return Verdict(VerdictKind.REJECT, refusal)
    doubt = None if released else _find_doubt(summary, last, limits)
    return LAND if doubt is None else Verdict(VerdictKind.HOLD, doubt)


def _find_refusal(
    summary: TransmissionSummary, last: TransmissionSummary | None, limits: ChangeLimits
) -> Refusal | None:
    if summary.fatal:
        return Refusal("TRANSMISSION_CONTENT_INVALID", {"findings": summary.fatal})
    for counts in summary.files:
        if counts.rows != counts.declared:
            return Refusal(
                "TRANSMISSION_CONTROL_TOTALS",
                {"file": counts.file_id, "declared": counts.declared, "rows": counts.rows},
            )
    if last is None and summary.lane == "main" and summary.mode != "full":
        return Refusal("TRANSMISSION_FIRST_NOT_FULL")
    if summary.row_errors and limits.on_row_errors not in ("hold", "quarantine"):
        return Refusal("TRANSMISSION_ROW_ERRORS", {"findings": summary.row_errors})
    return None


def _find_doubt(
    summary: TransmissionSummary, last: TransmissionSummary | None, limits: ChangeLimits
) -> Refusal | None:
    if summary.row_errors and not _may_be_quarantined(summary, limits):
        return Refusal("TRANSMISSION_ROW_ERRORS_HELD", {"findings": summary.row_errors})
    if last is not None and summary.as_of < last.as_of:
        return Refusal("TRANSMISSION_AS_OF_BACKWARDS")
    for counts in summary.files:
        if counts.before == 0:  # the first load of a file has nothing to be compared with
            continue
        own = limits.of(counts.file_id)
        for amount, percent, kind in (
            (counts.ended, own.shrink_percent, "shrink"),
            (counts.inserted, own.growth_percent, "growth"),
        ):
            if percent is not None and _is_mass(amount, counts.before, percent, own.free_rows):
                return Refusal(
                    "TRANSMISSION_MASS_CHANGE",
                    {
                        "file": counts.file_id,
                        "kind": kind,
                        "rows": amount,
                        "before": counts.before,
                        "limit_percent": percent,
                    },
                )
    return None


def _may_be_quarantined(summary: TransmissionSummary, limits: ChangeLimits) -> bool:
    rows = sum(counts.rows for counts in summary.files)
    few = not _is_mass(
        summary.row_errors, rows, limits.quarantine_percent, limits.default.free_rows
    )
    return limits.on_row_errors == "quarantine" and few


def _is_mass(amount: int, before: int, percent: int, free_rows: int) -> bool:
    return amount > free_rows and amount * 100 > before * percent


# --- interface versions -----------------------------------------------------------------------


@dataclass(frozen=True)
class InterfaceWindow:
    """When a version of the interface is accepted; `accepted_until` is exclusive, None = open."""

    version: str
    accepted_from: datetime
    accepted_until: datetime | None


def judge_interface_version(
    version: str, at: datetime, windows: Iterable[InterfaceWindow]
) -> Refusal | None:
    """Refuse a version before its first day, after its deadline, or unknown to this BCL."""
    for window in windows:
        if window.version != version:
            continue
        if at < window.accepted_from:
            return Refusal("TRANSMISSION_INTERFACE_NOT_YET_VALID")
        if window.accepted_until is not None and at >= window.accepted_until:
            return Refusal("TRANSMISSION_INTERFACE_EXPIRED")
        return None
    return Refusal("TRANSMISSION_INTERFACE_VERSION")


# --- what stands in the way of issuing -----------------------------------------------------------


@dataclass(frozen=True)
class IntakeFacts:
    """The intake of one municipality at one moment, as issuing has to see it.

    `held` maps refusal codes of held transmissions to their number; `oldest_waiting_seconds`
    is the age of the oldest transmission received and not yet judged (None: none waits);
    `urgent_waiting` counts those of the urgent lane, `urgent_rejected` refused urgent ones whose
    number nothing has landed under since. `seconds_since_landing`: None = never landed.
    """

    held: Mapping[str, int] = field(default_factory=dict)
    unconfirmed_forks: int = 0
    urgent_waiting: int = 0
    urgent_rejected: int = 0
    oldest_waiting_seconds: int | None = None
    seconds_since_landing: int | None = None


def judge_obstacle(facts: IntakeFacts, *, grace_seconds: int, stale_seconds: int) -> Refusal | None:
    """Name what forbids issuing for this municipality, the gravest first; None if nothing.

    A restriction that is known here but not applied yet must never be overtaken by a
    certificate, so the urgent lane gets no grace at all.
    """
    waiting, landed = facts.oldest_waiting_seconds, facts.seconds_since_landing
    gaps = facts.held.get("TRANSMISSION_GAP", 0)
    for code, name, amount in (
        ("TRANSMISSION_FORK", "transmissions", facts.unconfirmed_forks),
        ("LINKAGE_URGENT_REJECTED", "transmissions", facts.urgent_rejected),
        ("TRANSMISSION_GAP", "transmissions", gaps),
        ("LINKAGE_TRANSMISSION_HELD", "transmissions", sum(facts.held.values())),
        ("LINKAGE_URGENT_WAITING", "transmissions", facts.urgent_waiting),
        ("LINKAGE_BACKLOG", "oldest_seconds", waiting if (waiting or 0) > grace_seconds else 0),
        ("LINKAGE_STALE", "seconds", landed if (landed or 0) > stale_seconds else 0),
    ):
        if amount:
            return Refusal(code, {name: amount})
    return None


# --- dated data ------------------------------------------------------------------------------


def load_interface_windows() -> tuple[InterfaceWindow, ...]:
    """The windows of all versions, as the interface itself dates them."""
    return tuple(
        InterfaceWindow(each.version, each.accepted_from, each.accepted_until)
        for each in catalog.current().versions
    )


def load_limits(
    at: datetime, *, on_row_errors: str, percent: int | None = None, quarantine_percent: int = 1
) -> ChangeLimits:
    """The mass-change limits in force at `at` (`data/change_limits.csv`).

    `percent` is the municipality's own percentage; it replaces the default line only.
    `quarantine_percent`: see `ChangeLimits`.
    """
    newest: dict[str, Mapping[str, str]] = {}
    for row in sorted(_rows("change_limits.csv"), key=lambda row: row["effective_from"]):
        if datetime.fromisoformat(row["effective_from"]) <= at:
            newest[row["file_id"]] = row
    default = _limits_of(newest.pop("*"))
    if percent is not None:
        default = FileLimits(percent, percent, default.free_rows)
    return ChangeLimits(
        by_file=MappingProxyType({file_id: _limits_of(row) for file_id, row in newest.items()}),
        default=default,
        on_row_errors=on_row_errors,
        quarantine_percent=quarantine_percent,
    )


def _limits_of(row: Mapping[str, str]) -> FileLimits:
    def number(text: str) -> int | None:
        return int(text) if text else None

    return FileLimits(
        shrink_percent=number(row["shrink_percent"]),
        growth_percent=number(row["growth_percent"]),
        free_rows=int(row["free_rows"]),
    )


def _rows(name: str) -> list[dict[str, str]]:
    source = files("bcl.linkage").joinpath("data", name)
    return list(csv.DictReader(source.read_text("utf-8").splitlines()))
