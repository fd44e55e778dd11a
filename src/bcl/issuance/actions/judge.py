"""Gathering the facts of one moment and deciding on them (steps 3, 5 and 6 of the journey)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bcl.availability import api as availability
from bcl.foundation import tenancy
from bcl.issuance import queries, settings
from bcl.issuance.records import Certifier
from bcl.issuance.rules import Approve, IssueFacts, Wish, decide_issue
from bcl_contract.refusals import Refusal


@dataclass(frozen=True, slots=True, repr=False)
class Judged:
    """An approval with everything the paper needs, all out of the same snapshot."""

    approval: Approve
    certifier: Certifier
    town: settings.TownSettings
    data_as_of: datetime


def judge(
    municipality_code: str, card: bytes, *, wish: Wish, at: datetime, snapshot: bool
) -> Judged | Refusal:
    """Decide on one wish for the holder of one card, at one moment.

    `snapshot=True` opens the one REPEATABLE READ transaction the paper is made from; False reads
    inside the caller's scope, to look again. The refusal's code is the inner one.
    """
    with tenancy.scope(municipality_code, snapshot=snapshot):
        town = settings.town_settings(municipality_code, at)
        freshness = queries.find_freshness(municipality_code)
        certifier = queries.find_certifier(municipality_code, town, at.date())
        issuable = queries.find_issuable(municipality_code, card)
        facts = IssueFacts(
            at=at,
            wish=wish,
            town=town.rules,
            closed=_closed(municipality_code, at),
            set_up=certifier is not None,
            freshness=freshness,
            links=issuable.links,
            person=issuable.person,
            household=issuable.household,
            household_held=issuable.household_held,
            measured=issuable.measured,
            blocks=issuable.blocks,
        )
    decision = decide_issue(facts)
    if isinstance(decision, Refusal):
        return decision
    assert certifier is not None and freshness.applied_at is not None  # noqa: S101 (decided)
    return Judged(decision, certifier, town, freshness.applied_at)


def _closed(municipality_code: str, at: datetime) -> Refusal | None:
    answer = availability.is_open(municipality_code, settings.SERVICE, at)
    if answer is True:
        return None
    code = answer.code if isinstance(answer, Refusal) else ""
    suspended = "SUSPEND" in code
    return Refusal("ISSUE_SUSPENDED" if suspended else "ISSUE_OUTSIDE_HOURS")
