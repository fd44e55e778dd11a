"""Deciding whether a certificate may be issued (発行制限), as pure functions.

Facts in, `Approve` or `Refusal` out: no clock, no database, so that every combination can be
tested by the thousand. Sources: handbook I-1(2), domain 5.5 and 5.6, requirements R-043 to R-076.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from bcl.issuance.records import RESIDENT, CopyOptions, HouseholdRecord, PersonRecord, Scope
from bcl_contract.delivery_center import DenyReason, outside_code
from bcl_contract.refusals import Refusal
from bcl_contract.values import CertificateKind

MEASURE_ENDED = "3"
LINK_VALID = "1"
USER_AUTH_KINDS = frozenset({"1", "2"})
_KINDS = frozenset(kind.value for kind in CertificateKind)
_STATE_CODES = {"2": "ISSUE_PERSON_MOVED_OUT", "3": "ISSUE_PERSON_DEAD"}


class TransactionState(StrEnum):
    """Where an issuance transaction stands (decision D20)."""

    REQUESTED = "REQUESTED"
    APPROVED = "APPROVED"
    REFUSED = "REFUSED"
    ISSUED = "ISSUED"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    ABORTED = "ABORTED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"
    UNCONFIRMED = "UNCONFIRMED"


_S = TransactionState
TRANSITIONS: dict[TransactionState, frozenset[TransactionState]] = {
    _S.REQUESTED: frozenset({_S.APPROVED, _S.REFUSED, _S.EXPIRED, _S.FAILED}),
    _S.APPROVED: frozenset({_S.ISSUED, _S.REFUSED, _S.EXPIRED, _S.FAILED}),
    _S.ISSUED: frozenset({_S.SENT, _S.REFUSED, _S.EXPIRED, _S.FAILED}),
    _S.SENT: frozenset({_S.DELIVERED, _S.ABORTED, _S.FAILED, _S.UNCONFIRMED}),
    _S.UNCONFIRMED: frozenset({_S.DELIVERED, _S.ABORTED, _S.FAILED}),
    _S.REFUSED: frozenset(),
    _S.DELIVERED: frozenset(),
    _S.ABORTED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.FAILED: frozenset(),
}


# States in which a paper has left BCL and may be in somebody's hand.
PAPER_LEFT = frozenset({_S.SENT, _S.UNCONFIRMED, _S.DELIVERED})


class TransitionError(RuntimeError):
    """A state change that the table doesn't know: a defect of ours."""


def check_transition(old: str, new: str) -> None:
    """Raise `TransitionError` unless the table allows this change of state."""
    if TransactionState(new) not in TRANSITIONS[TransactionState(old)]:
        raise TransitionError(f"{old} -> {new}")


class BlockScope(StrEnum):
    """What an issuance block stops (発行禁止の対象); values as in J06 where J06 has them."""

    PERSON = "1"
    HOUSEHOLD = "2"
    MUNICIPALITY = "5"


@dataclass(frozen=True, slots=True, repr=False)
class CardLink:
    """A row of J05: this user-authentication certificate belongs to this person."""

    addressee_number: str
    cert_kind: str
    status: str
    valid_from_on: date | None
    expires_on: date | None

    def __repr__(self) -> str:
        return f"CardLink(****{self.addressee_number[-4:]}, status={self.status})"


@dataclass(frozen=True, slots=True)
class Block:
    """An issuance block; an empty `certificate_kind` stops every kind. Half-open period.

    `addressee_number` names the person of a personal block, who must not appear on the paper.
    """

    scope: BlockScope
    certificate_kind: str
    starts_at: datetime | None
    ends_at: datetime | None
    by_staff: bool
    addressee_number: str = field(default="", repr=False)

    def stops(self, kind: str, at: datetime, shown: frozenset[str]) -> bool:
        """Tell whether it stops this kind for these persons now; an unreadable time stops."""
        # A kind that we don't know stops everything: better a counter visit than a wrong paper.
        if self.certificate_kind in _KINDS and self.certificate_kind != kind:
            return False
        if self.scope is BlockScope.PERSON and self.addressee_number not in shown:
            return False
        begun = self.starts_at is None or self.starts_at <= at
        return begun and (self.ends_at is None or at < self.ends_at)


@dataclass(frozen=True, slots=True)
class Freshness:
    """How current the data is: loads applied in the store and in the issuable records."""

    store_load: int
    projection_load: int
    applied_at: datetime | None
    has_gap: bool


@dataclass(frozen=True, slots=True)
class TownRules:
    """The town's settings on one day (証明発行設定)."""

    kinds: frozenset[str] = frozenset({CertificateKind.RESIDENT_RECORD_COPY})
    minimum_age: int = 15
    options: frozenset[str] = frozenset({"relationship", "registered_domicile", "foreign_items"})
    stale_after: timedelta = timedelta(hours=72)
    copies_max: int = 1
    until_moving_out: bool = True


@dataclass(frozen=True, slots=True, repr=False)
class Wish:
    """What is asked for, before anybody decided anything."""

    kind: str
    copies: int
    options: CopyOptions


@dataclass(frozen=True, slots=True, repr=False)
class IssueFacts:
    """Everything the decision may look at: one moment, one snapshot.

    `household` holds the present members; `measured` the addressee numbers with a protective
    measure in force among everybody whose newest row names this household, gone or not.
    """

    at: datetime
    wish: Wish
    town: TownRules
    closed: Refusal | None
    set_up: bool
    freshness: Freshness
    links: tuple[CardLink, ...]
    person: PersonRecord | None
    household: HouseholdRecord | None
    household_held: bool
    measured: frozenset[str] = field(default=frozenset())
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Approve:
    """Yes: for whom, out of which household, with which choices."""

    applicant: str
    household: HouseholdRecord
    options: CopyOptions


def decide_issue(facts: IssueFacts) -> Approve | Refusal:
    """Decide one issue. The refusal's code is the inner one: see `outward`.

    Order matters outside: whatever concerns the service comes first, then the card, then the
    protective measure before anything else about the person, so that no later answer can tell
    a protected household from another one.
    """
    for judge in (_judge_wish, _judge_service, _judge_card, _judge_household, _judge_person):
        refusal = judge(facts)
        if refusal is not None:
            return refusal
    assert facts.person is not None and facts.household is not None  # noqa: S101 (judged above)
    return Approve(facts.person.addressee_number, facts.household, facts.wish.options)


def _judge_wish(facts: IssueFacts) -> Refusal | None:
    wish, town = facts.wish, facts.town
    if wish.kind not in town.kinds:
        return Refusal("ISSUE_KIND_NOT_OFFERED")
    asked = {
        name
        for name in (
            "relationship",
            "registered_domicile",
            "foreign_items",
            "individual_number",
            "resident_record_code",
        )
        if getattr(wish.options, name)
    }
    if asked - town.options or not 1 <= wish.copies <= town.copies_max:
        return Refusal("ISSUE_OPTION_NOT_ALLOWED")
    return None


def _judge_service(facts: IssueFacts) -> Refusal | None:
    if facts.closed is not None:
        return facts.closed
    if not facts.set_up:
        return Refusal("ISSUE_NOT_SET_UP")
    return judge_freshness(facts.freshness, facts.town, facts.at)


def judge_freshness(freshness: Freshness, town: TownRules, at: datetime) -> Refusal | None:
    """Refuse while the data is not provably current (R-073, handbook II-6.2)."""
    if freshness.has_gap or freshness.applied_at is None:
        return Refusal("ISSUE_DATA_NOT_CURRENT", {"reason": "gap"})
    if freshness.projection_load != freshness.store_load:
        return Refusal("ISSUE_DATA_NOT_CURRENT", {"reason": "lag"})
    if at - freshness.applied_at > town.stale_after:
        return Refusal("ISSUE_DATA_NOT_CURRENT", {"reason": "old"})
    return None


def judge_links(links: tuple[CardLink, ...], today: date) -> CardLink | Refusal:
    """Find the one person a card stands for (R-047): none, two, or a dead link refuses."""
    usable = [link for link in links if link.cert_kind in USER_AUTH_KINDS]
    if not usable:
        return Refusal("ISSUE_CARD_NOT_LINKED")
    valid = [link for link in usable if link.status == LINK_VALID]
    if not valid:
        return Refusal("ISSUE_CARD_LINK_REVOKED")
    if len({link.addressee_number for link in valid}) > 1:
        return Refusal("ISSUE_CARD_LINK_AMBIGUOUS")
    current = [
        link
        for link in valid
        if link.expires_on is not None
        and today <= link.expires_on
        and (link.valid_from_on is None or link.valid_from_on <= today)
    ]
    return current[0] if current else Refusal("ISSUE_CARD_LINK_EXPIRED")


def _judge_card(facts: IssueFacts) -> Refusal | None:
    link = judge_links(facts.links, facts.at.date())
    if isinstance(link, Refusal):
        return link
    if facts.person is None or facts.person.addressee_number != link.addressee_number:
        return Refusal("ISSUE_PERSON_NOT_RESIDENT_HERE")
    return None


def _judge_household(facts: IssueFacts) -> Refusal | None:
    """Judge what stops a whole household, every kind, whoever of it asks."""
    person = facts.person
    assert person is not None  # noqa: S101 (judged before)
    members = facts.household.members if facts.household else ()
    if facts.measured:
        return Refusal("ISSUE_PROTECTIVE_MEASURE")
    if person["resident_state"] != RESIDENT or person["removed_record"] == "1":
        return Refusal(_STATE_CODES.get(person["resident_state"], "ISSUE_PERSON_REMOVED"))
    if facts.household_held or facts.household is None:
        return Refusal("ISSUE_HOUSEHOLD_HELD")
    if any(member["change_pending"] != "0" for member in (person, *members)):
        return Refusal("ISSUE_CHANGE_PENDING")
    shown = _shown(facts.wish.options, person, facts.household)
    for block in facts.blocks:
        if block.stops(facts.wish.kind, facts.at, shown):
            return Refusal("ISSUE_BLOCKED_BY_STAFF" if block.by_staff else "ISSUE_BLOCKED_BY_TOWN")
    return None


def _judge_person(facts: IssueFacts) -> Refusal | None:
    person, household, today = facts.person, facts.household, facts.at.date()
    assert person is not None and household is not None  # noqa: S101 (judged before)
    shown = _shown(facts.wish.options, person, household)
    if not shown <= {m.addressee_number for m in household.members}:
        return Refusal("ISSUE_MEMBER_NOT_IN_HOUSEHOLD")
    for member in household.members:
        if member.addressee_number in shown and _has_moved_out(member, today, facts.town):
            return Refusal("ISSUE_MOVING_OUT_DATE_PASSED")
    return _judge_age(person, facts.town.minimum_age, today)


def _shown(
    options: CopyOptions, person: PersonRecord, household: HouseholdRecord
) -> frozenset[str]:
    """Give the addressee numbers that the paper would name as members."""
    applicant = frozenset({person.addressee_number})
    everybody = frozenset(member.addressee_number for member in household.members)
    return (
        applicant
        | {
            Scope.SELF: frozenset(),
            Scope.PART: options.selected,
            Scope.HOUSEHOLD: everybody,
        }[options.scope]
    )


def _has_moved_out(person: PersonRecord, today: date, town: TownRules) -> bool:
    if person["moving_out_confirmed_on"]:
        return True
    planned = person["moving_out_planned_on"]
    if not planned:
        return False
    # Until the day before the planned day, if the town allows it at all (domain 5.5, 31).
    return not town.until_moving_out or today >= date.fromisoformat(planned)


def _judge_age(person: PersonRecord, minimum_age: int, today: date) -> Refusal | None:
    if not person["born_on"]:
        return Refusal("ISSUE_RECORD_INCOMPLETE", {"field": "member.born_on"})
    return (
        Refusal("ISSUE_UNDER_AGE")
        if today < birthday(date.fromisoformat(person["born_on"]), minimum_age)
        else None
    )


def birthday(born_on: date, age: int) -> date:
    """Give the day from whose midnight on (JST) a person has this age.

    Act on Calculation of Ages: the age is reached when the day before ends, so somebody born on
    29 February has it from 1 March in a common year.
    """
    try:
        return born_on.replace(year=born_on.year + age)
    except ValueError:
        return date(born_on.year + age, 3, 1)


_REASONS = {
    "ISSUE_OUTSIDE_HOURS": DenyReason.OUTSIDE_HOURS,
    "ISSUE_SUSPENDED": DenyReason.MAINTENANCE,
    "ISSUE_NOT_SET_UP": DenyReason.MAINTENANCE,
    "ISSUE_DATA_NOT_CURRENT": DenyReason.DATA_NOT_CURRENT,
    "ISSUE_CARD_NOT_LINKED": DenyReason.CARD_NOT_LINKED,
    "ISSUE_CARD_LINK_REVOKED": DenyReason.CARD_NOT_LINKED,
    "ISSUE_CARD_LINK_EXPIRED": DenyReason.CARD_NOT_LINKED,
    "ISSUE_CARD_LINK_AMBIGUOUS": DenyReason.CARD_NOT_LINKED,
    "ISSUE_PERSON_NOT_RESIDENT_HERE": DenyReason.CARD_NOT_LINKED,
    "ISSUE_UNDER_AGE": DenyReason.UNDER_AGE,
    "ISSUE_PERSON_DEAD": DenyReason.REMOVED,
    "ISSUE_PERSON_REMOVED": DenyReason.REMOVED,
    "ISSUE_PERSON_MOVED_OUT": DenyReason.MOVING_OUT,
    "ISSUE_MOVING_OUT_DATE_PASSED": DenyReason.MOVING_OUT,
    "ISSUE_CHANGE_PENDING": DenyReason.CHANGE_PENDING,
    "ISSUE_HOUSEHOLD_HELD": DenyReason.CHANGE_PENDING,
    "ISSUE_PROTECTIVE_MEASURE": DenyReason.PROTECTIVE_MEASURE,
    "ISSUE_BLOCKED_BY_TOWN": DenyReason.ISSUANCE_BLOCK,
    "ISSUE_BLOCKED_BY_STAFF": DenyReason.ISSUANCE_BLOCK,
    # A newer block or measure is one of the causes, so it must look like the ones above.
    "ISSUE_ANSWER_CHANGED": DenyReason.ISSUANCE_BLOCK,
    "ISSUE_GLYPH_MISSING": DenyReason.CHARACTER_MISSING,
    "ISSUE_LAYOUT_OVERFLOW": DenyReason.CHARACTER_MISSING,
    "ISSUE_RECORD_INCOMPLETE": DenyReason.DOCUMENT_CHECK_FAILED,
    "ISSUE_DOCUMENT_CHECK_FAILED": DenyReason.DOCUMENT_CHECK_FAILED,
    "ISSUE_FAILED": DenyReason.DOCUMENT_CHECK_FAILED,
}
_PLAIN = {
    "ISSUE_KIND_NOT_OFFERED": "CENTER_KIND_NOT_OFFERED",
    "ISSUE_OPTION_NOT_ALLOWED": "CENTER_OPTION_NOT_OFFERED",
    "ISSUE_MEMBER_NOT_IN_HOUSEHOLD": "CENTER_OPTION_NOT_OFFERED",
    "ISSUE_INQUIRY_EXPIRED": "CENTER_OPTION_NOT_OFFERED",
    "ISSUE_TRANSACTION_CONFLICT": "CENTER_TRANSACTION_CONFLICT",
    "ISSUE_TRANSACTION_STATE": "CENTER_TRANSACTION_STATE",
    "ISSUE_TRANSACTION_UNKNOWN": "CENTER_TRANSACTION_UNKNOWN",
    "ISSUE_TRANSACTION_IN_PROGRESS": "CENTER_BUSY",
    "ISSUE_DEADLINE_PASSED": "CENTER_DEADLINE_PASSED",
}
# A paper that named others than those asked for: the accident of 2023 in the making.
_MISISSUES = ("persons_are_the_chosen_ones", "frame_is_of_this_paper", "read_back_")
_SAYABLE = ("CENTER_", "USER_AUTH_CERT_")


def is_misissue(refusal: Refusal) -> bool:
    """Tell whether a check caught a paper that belonged to somebody else."""
    check = str(refusal.detail.get("check", ""))
    return refusal.code == "ISSUE_DOCUMENT_CHECK_FAILED" and check.startswith(_MISISSUES)


def outward(refusal: Refusal) -> Refusal:
    """Give what may leave BCL: never a detail, and one code for everything about a person.

    A spouse at a kiosk must not learn that a protective measure is why nothing comes out,
    nor that it is not (R-074, reliability M9). An inner code without a rule here becomes the
    general one: forgetting a line must not tell more.
    """
    code = refusal.code
    if code in _PLAIN:
        return Refusal(_PLAIN[code])
    if code in _REASONS:
        return Refusal(outside_code(_REASONS[code]))
    if code.startswith(_SAYABLE):
        return Refusal(code)
    return Refusal(outside_code(DenyReason.DOCUMENT_CHECK_FAILED))
