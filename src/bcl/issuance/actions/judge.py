"""Gathering the facts of one moment and deciding on them (steps 3, 5 and 6 of the journey)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from bcl.availability import api as availability
from bcl.foundation import tenancy
from bcl.issuance import queries, settings
from bcl.issuance.kinds import KindDefinition, all_kinds
from bcl.issuance.records import Certifier, CopyOptions, Scope
from bcl.issuance.rules import Approve, Freshness, IssueFacts, Wish, decide_issue
from bcl.municipalities import api as municipalities
from bcl.municipalities.api import Profile
from bcl_contract.refusals import Refusal


@dataclass(frozen=True, slots=True, repr=False)
class Judged:
    """An approval with everything the paper needs, all out of the same snapshot."""

    approval: Approve
    certifier: Certifier
    town: settings.TownSettings
    data_as_of: datetime
    at: datetime


def judge(
    municipality_code: str, card: bytes, *, wish: Wish, at: datetime, snapshot: bool
) -> Judged | Refusal:
    """Decide on one wish for the holder of one card, at one moment.

    `snapshot=True` opens the one REPEATABLE READ transaction the paper is made from; False reads
    inside the caller's scope, to look again. The refusal's code is the inner one.
    """
    with tenancy.scope(municipality_code, snapshot=snapshot):
        moment = _Moment.of(municipality_code, at)
        definition = all_kinds().current(wish.kind, at.date())
        issuable = queries.find_issuable(
            municipality_code,
            card,
            tax_year=wish.options.tax_year,
            seal=definition is not None and definition.layout.imprint is not None,
        )
        return moment.decide(moment.facts(issuable, wish, definition))


def judge_offers(
    municipality_code: str, card: bytes, *, at: datetime
) -> tuple[Judged, ...] | Refusal:
    """Decide on every kind (and tax year) the town offers, out of one snapshot.

    Gives what can be had, each judged for the holder alone; the refusal of the first kind when
    nothing can be had.
    """
    with tenancy.scope(municipality_code, snapshot=True):
        moment = _Moment.of(municipality_code, at)
        kinds = [d for d in all_kinds().on(at.date()) if d.code in moment.town.rules.kinds]
        seal = any(definition.layout.imprint is not None for definition in kinds)
        issuable = queries.find_issuable(municipality_code, card, seal=seal)
        years = moment.town.rules.tax_years(at.date())
        taxes = {
            year: queries.tax_year_of(municipality_code, issuable, year)
            for year in (years if any(d.by_tax_year for d in kinds) else ())
        }
        judged: list[Judged | Refusal] = []
        for definition in kinds:
            for year in years if definition.by_tax_year else (None,):
                wish = Wish(definition.code, 1, CopyOptions(Scope.SELF, tax_year=year))
                found = issuable if year is None else replace(issuable, tax=taxes[year])
                judged.append(moment.decide(moment.facts(found, wish, definition)))
    granted = tuple(each for each in judged if isinstance(each, Judged))
    refused = next((each for each in judged if isinstance(each, Refusal)), None)
    return granted or refused or Refusal("ISSUE_KIND_NOT_OFFERED")


@dataclass(frozen=True, slots=True, repr=False)
class _Moment:
    """What is the same for every wish at one moment: town, data, certifier, service."""

    municipality_code: str
    at: datetime
    town: settings.TownSettings
    freshness: Freshness
    certifier: Certifier | None
    closed: Refusal | None

    @classmethod
    def of(cls, municipality_code: str, at: datetime) -> _Moment:
        town = settings.town_settings(municipality_code, at)
        return cls(
            municipality_code,
            at,
            town,
            queries.find_freshness(municipality_code),
            queries.find_certifier(municipality_code, town, at.date()),
            _closed(municipality_code, at),
        )

    def facts(
        self, issuable: queries.Issuable, wish: Wish, definition: KindDefinition | None
    ) -> IssueFacts:
        return IssueFacts(
            at=self.at,
            wish=wish,
            town=self.town.rules,
            closed=self.closed,
            set_up=self.certifier is not None,
            freshness=self.freshness,
            links=issuable.links,
            person=issuable.person,
            household=issuable.household,
            household_held=issuable.household_held,
            definition=definition,
            measured=issuable.measured,
            blocks=issuable.blocks,
            seal=issuable.seal,
            seal_ambiguous=issuable.seal_ambiguous,
            tax=issuable.tax,
        )

    def decide(self, facts: IssueFacts) -> Judged | Refusal:
        decision = decide_issue(facts)
        if isinstance(decision, Refusal):
            return decision
        certifier, applied_at = self.certifier, self.freshness.applied_at
        assert certifier is not None and applied_at is not None  # noqa: S101 (decided)
        return Judged(decision, certifier, self.town, applied_at, self.at)


def _closed(municipality_code: str, at: datetime) -> Refusal | None:
    if not municipalities.is_profile_enabled(municipality_code, Profile.CERTIFICATES):
        return Refusal("ISSUE_PROFILE_NOT_ENABLED")
    answer = availability.is_open(municipality_code, settings.SERVICE, at)
    if answer is True:
        return None
    code = answer.code if isinstance(answer, Refusal) else ""
    suspended = "SUSPEND" in code
    return Refusal("ISSUE_SUSPENDED" if suspended else "ISSUE_OUTSIDE_HOURS")
