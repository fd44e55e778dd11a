"""Answering what the holder of a card can have now (照会, domain 5.2 step 4)."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from bcl.foundation import audit, clock, crypto, tenancy
from bcl.foundation.audit import Actor
from bcl.issuance import queries
from bcl.issuance.actions.judge import Judged, judge_offers
from bcl.issuance.adapters import jpki
from bcl.issuance.models import Inquiry
from bcl.issuance.records import Scope
from bcl.issuance.rules import outward
from bcl_contract.delivery_center import InquireRequest
from bcl_contract.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Offer:
    """One kind that can be had now. `options` are (word, label); `tax_years` the newest first."""

    kind: str
    title: str
    scopes: tuple[Scope, ...]
    options: tuple[tuple[str, str], ...]
    tax_years: tuple[int, ...]
    fee_yen: int
    copies_max: int


@dataclass(frozen=True, slots=True)
class Offered:
    """The answer to an inquiry. `members` are (reference, name) of the other members."""

    offers: tuple[Offer, ...]
    members: tuple[tuple[str, str], ...] = field(repr=False)


def inquire(*, request: InquireRequest, by: Actor, at: datetime) -> Offered | Refusal:
    """Say which certificates the holder of this card can have, and for whom.

    References to household members are random and mean something in this transaction and with
    this card only. The refusal is the outward one.
    """
    code = request.municipality_code
    verified = jpki.check(
        request.user_authentication,
        transaction_number=request.transaction_number,
        at=clock.now(),
    )
    if isinstance(verified, Refusal):
        return _refused(request, verified, by, at)
    card = queries.card_key(code, verified.issuer_key, verified.serial_number)
    granted = judge_offers(code, card, at=clock.now())
    if isinstance(granted, Refusal):
        return _refused(request, granted, by, at)
    if clock.now() >= request.deadline_at:
        return _refused(request, Refusal("ISSUE_DEADLINE_PASSED"), by, at)
    approval = granted[0].approval
    # Names of others are shown only when a paper may name them.
    several = any(judged.approval.definition.whole_household for judged in granted)
    references = {
        secrets.token_urlsafe(18): member
        for member in approval.household.members
        if several and member.addressee_number != approval.applicant
    }
    _remember(
        request,
        card,
        {ref: member.addressee_number for ref, member in references.items()},
        applicant=approval.applicant,
        by=by,
    )
    members = tuple(
        (reference, member["full_name"] or member["full_name_roman"])
        for reference, member in references.items()
    )
    return Offered(_offers(granted), members)


def _offers(granted: tuple[Judged, ...]) -> tuple[Offer, ...]:
    years: dict[str, list[int]] = {}
    first: dict[str, Judged] = {}
    for judged in granted:
        code, year = judged.approval.definition.code, judged.approval.options.tax_year
        first.setdefault(code, judged)
        years.setdefault(code, []).extend([] if year is None else [year])
    return tuple(_offer(judged, tuple(years[code])) for code, judged in first.items())


def _offer(judged: Judged, tax_years: tuple[int, ...]) -> Offer:
    rules, definition = judged.town.rules, judged.approval.definition
    members = judged.approval.household.members
    foreign = any(member.is_foreign for member in members)
    options = tuple(
        (option.word, option.label)
        for option in definition.options
        if option.name in rules.options and (foreign or not option.foreign_only)
    )
    return Offer(
        kind=definition.code,
        title=definition.title,
        scopes=tuple(s for s in definition.scopes if len(members) > 1 or s is not Scope.PART),
        options=options,
        tax_years=tax_years,
        fee_yen=judged.town.fee_yen(definition.code, 1),
        copies_max=rules.copies_max,
    )


def _remember(
    request: InquireRequest,
    card: bytes,
    references: dict[str, str],
    *,
    applicant: str,
    by: Actor,
) -> None:
    code, number = request.municipality_code, request.transaction_number
    clear = json.dumps(references).encode()
    with tenancy.scope(code):
        now = clock.now()
        Inquiry.objects.update_or_create(
            municipality_code=code,
            transaction_number=number,
            defaults={
                "card_key": card,
                "members": crypto.seal_cell(code, "issuance_inquiry", "members", number, clear),
                "asked_at": now,
            },
        )
        audit.record(
            act="answer_inquiry",
            by=by,
            at=now,
            subject_key=applicant.encode(),
            # The others of the household: their names are shown at the kiosk.
            subjects=[other.encode() for other in references.values()],
            detail={"transaction": number, "members": len(references)},
        )


def _refused(request: InquireRequest, refusal: Refusal, by: Actor, at: datetime) -> Refusal:
    said = outward(refusal)
    with tenancy.scope(request.municipality_code):
        audit.record(
            act="refuse_inquiry",
            by=by,
            at=at,
            detail={"transaction": request.transaction_number, "code": said.code},
        )
    return said
