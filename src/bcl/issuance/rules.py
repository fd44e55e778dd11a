"""Deciding whether a certificate may be issued (発行制限), as pure functions.

Facts in, `Approve` or `Refusal` out: no clock, no database, so that every combination can be
tested by the thousand. Sources: handbook I-1(2), domain 5.5 and 5.6, requirements R-043 to R-076.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from bcl.issuance.eligibility import RULES
from bcl.issuance.kinds import KindDefinition, all_kinds
from bcl.issuance.records import (
    RESIDENT,
    CopyOptions,
    HouseholdRecord,
    PersonRecord,
    Records,
    Scope,
    SealRecord,
    TaxYearRecord,
)
from bcl_contract.delivery_center import DenyReason, outside_code
from bcl_contract.refusals import Refusal

MEASURE_ENDED = "3"
LINK_VALID = "1"
USER_AUTH_KINDS = frozenset({"1", "2"})
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
    SEAL = "3"
    TAX_YEAR = "4"
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
    tax_year: str = ""

    def stops(self, definition: KindDefinition, at: datetime, shown: frozenset[str]) -> bool:
        """Tell whether it stops this kind for these persons now; an unreadable time stops."""
        mine = (definition.code, definition.family)
        # A kind that we don't know stops everything: better a counter visit than a wrong paper.
        if self.certificate_kind in all_kinds().codes and self.certificate_kind not in mine:
            return False
        if not self._is_about(shown):
            return False
        if self.scope is BlockScope.SEAL and definition.family != "SEAL_REGISTRATION":
            return False
        if self.scope is BlockScope.TAX_YEAR and not definition.by_tax_year:
            return False
        begun = self.starts_at is None or self.starts_at <= at
        return begun and (self.ends_at is None or at < self.ends_at)

    def _is_about(self, shown: frozenset[str]) -> bool:
        if self.scope is BlockScope.PERSON:
            return self.addressee_number in shown
        if self.scope is BlockScope.TAX_YEAR:
            return not self.addressee_number or self.addressee_number in shown
        return True


@dataclass(frozen=True, slots=True)
class Freshness:
    """How current the data is: loads applied in the store and in the issuable records."""

    store_load: int
    projection_load: int
    applied_at: datetime | None
    has_gap: bool


@dataclass(frozen=True, slots=True)
class TownRules:
    """The town's settings on one day (証明発行設定).

    `kinds` are codes of definitions; `options` names of their options. `minimum_ages` by code.
    A new tax year is certified from `tax_year_opens` (month, day) of the year on.
    """

    kinds: frozenset[str] = frozenset({"RESIDENT_RECORD_COPY"})
    minimum_ages: Mapping[str, int] = field(default_factory=dict)
    options: frozenset[str] = frozenset({"relationship", "registered_domicile", "foreign_items"})
    stale_after: timedelta = timedelta(hours=72)
    copies_max: int = 1
    until_moving_out: bool = True
    tax_year_opens: tuple[int, int] = (6, 1)
    tax_years_offered: int = 1

    def tax_years(self, today: date) -> tuple[int, ...]:
        """The tax years certified today, the newest first."""
        opened = (today.month, today.day) >= self.tax_year_opens
        newest = today.year if opened else today.year - 1
        return tuple(newest - back for back in range(self.tax_years_offered))

    def minimum_age(self, definition: KindDefinition) -> int:
        """The age from which a kind is issued; a town may ask for more than the definition."""
        return max(self.minimum_ages.get(definition.code, 0), definition.minimum_age)


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
    definition: KindDefinition | None
    measured: frozenset[str] = field(default=frozenset())
    blocks: tuple[Block, ...] = ()
    seal: SealRecord | None = None
    seal_ambiguous: bool = False
    tax: TaxYearRecord | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Approve:
    """Yes: for whom, out of which household, with which choices."""

    applicant: str
    records: Records
    options: CopyOptions
    definition: KindDefinition

    @property
    def household(self) -> HouseholdRecord:
        """The household of the holder of the card."""
        return self.records.household


def decide_issue(facts: IssueFacts) -> Approve | Refusal:
    """Decide one issue. The refusal's code is the inner one: see `outward`.

    Order matters outside: whatever concerns the service comes first, then the card, then the
    protective measure before anything else about the person, so that no later answer can tell
    a protected household from another one.
    """
    of_all = (_judge_wish, _judge_service, _judge_card, _judge_household, _judge_person)
    for judge in (*of_all, _judge_kind):
        refusal = judge(facts)
        if refusal is not None:
            return refusal
    definition = facts.definition
    assert facts.person is not None and facts.household is not None  # noqa: S101 (judged above)
    assert definition is not None  # noqa: S101 (judged above)
    records = Records(
        facts.household,
        facts.seal if definition.layout.imprint is not None else None,
        facts.tax if definition.by_tax_year else None,
    )
    return Approve(facts.person.addressee_number, records, facts.wish.options, definition)


def _judge_wish(facts: IssueFacts) -> Refusal | None:
    wish, town, definition = facts.wish, facts.town, facts.definition
    if definition is None or wish.kind not in town.kinds:
        return Refusal("ISSUE_KIND_NOT_OFFERED")
    known = {option.name for option in definition.options}
    if wish.options.shown - (town.options & known) or wish.options.scope not in definition.scopes:
        return Refusal("ISSUE_OPTION_NOT_ALLOWED")
    if not 1 <= wish.copies <= max(town.copies_max, 1):
        return Refusal("ISSUE_OPTION_NOT_ALLOWED")
    if definition.by_tax_year != (wish.options.tax_year is not None):
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
    assert facts.definition is not None  # noqa: S101 (judged before)
    year = facts.wish.options.tax_year
    for block in facts.blocks:
        # A block on another year says nothing about this one.
        if block.tax_year and year is not None and block.tax_year != str(year):
            continue
        if block.stops(facts.definition, facts.at, shown):
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
    assert facts.definition is not None  # noqa: S101 (judged before)
    return _judge_age(person, facts.town.minimum_age(facts.definition), today)


def _judge_kind(facts: IssueFacts) -> Refusal | None:
    """Ask what this kind alone asks, after everything that looks alike on every kind."""
    assert facts.definition is not None  # noqa: S101 (judged before)
    refusals = (RULES[name](facts) for name in facts.definition.rules)
    return next((refusal for refusal in refusals if refusal is not None), None)


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
    "ISSUE_GUARD_AWAY": DenyReason.MAINTENANCE,
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
    "ISSUE_SEAL_NOT_REGISTERED": DenyReason.SEAL_NOT_REGISTERED,
    "ISSUE_SEAL_AMBIGUOUS": DenyReason.SEAL_NOT_REGISTERED,
    "ISSUE_SEAL_SUSPENDED": DenyReason.SEAL_NOT_REGISTERED,
    "ISSUE_SEAL_IMAGE_WRONG": DenyReason.SEAL_NOT_REGISTERED,
    "ISSUE_SEAL_NAME_DIFFERS": DenyReason.SEAL_NOT_REGISTERED,
    "ISSUE_SEAL_CANCELLED": DenyReason.SEAL_CANCELLED,
    "ISSUE_TAX_NOT_ASSESSED": DenyReason.TAX_NOT_AVAILABLE,
    "ISSUE_TAX_ELSEWHERE": DenyReason.TAX_NOT_AVAILABLE,
    "ISSUE_TAX_UNREPORTED": DenyReason.TAX_NOT_AVAILABLE,
    "ISSUE_TAX_UNDER_REVISION": DenyReason.TAX_NOT_AVAILABLE,
    "ISSUE_TAX_NOT_CERTIFIABLE": DenyReason.TAX_NOT_AVAILABLE,
    "ISSUE_TAX_NOT_OPEN": DenyReason.TAX_NOT_AVAILABLE,
    "ISSUE_TAX_INCONSISTENT": DenyReason.TAX_NOT_AVAILABLE,
    "ISSUE_TAX_NOT_EXEMPT": DenyReason.TAX_NOT_AVAILABLE,
    "ISSUE_TAX_NO_PAYMENTS": DenyReason.TAX_NOT_AVAILABLE,
    "ISSUE_GLYPH_MISSING": DenyReason.CHARACTER_MISSING,
    "ISSUE_LAYOUT_OVERFLOW": DenyReason.CHARACTER_MISSING,
    "ISSUE_RECORD_INCOMPLETE": DenyReason.DOCUMENT_CHECK_FAILED,
    "ISSUE_DOCUMENT_CHECK_FAILED": DenyReason.DOCUMENT_CHECK_FAILED,
    "ISSUE_FAILED": DenyReason.DOCUMENT_CHECK_FAILED,
}
_PLAIN = {
    "ISSUE_PROFILE_NOT_ENABLED": "CENTER_PROFILE_NOT_ENABLED",
    "ISSUE_KIND_NOT_OFFERED": "CENTER_KIND_NOT_OFFERED",
    "ISSUE_OPTION_NOT_ALLOWED": "CENTER_OPTION_NOT_OFFERED",
    "ISSUE_MEMBER_NOT_IN_HOUSEHOLD": "CENTER_OPTION_NOT_OFFERED",
    "ISSUE_TAX_YEAR_NOT_OFFERED": "CENTER_OPTION_NOT_OFFERED",
    "ISSUE_INQUIRY_EXPIRED": "CENTER_OPTION_NOT_OFFERED",
    "ISSUE_TRANSACTION_CONFLICT": "CENTER_TRANSACTION_CONFLICT",
    "ISSUE_TRANSACTION_STATE": "CENTER_TRANSACTION_STATE",
    "ISSUE_TRANSACTION_UNKNOWN": "CENTER_TRANSACTION_UNKNOWN",
    "ISSUE_TRANSACTION_IN_PROGRESS": "CENTER_BUSY",
    "ISSUE_DEADLINE_PASSED": "CENTER_DEADLINE_PASSED",
}
# A paper that named others than those asked for: the accident of 2023 in the making.
_MISISSUES = (
    "persons_are_the_chosen_ones",
    "frame_is_of_this_paper",
    "imprint_is_the_registered_one",
    "read_back_",
    "guard_",
)
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
