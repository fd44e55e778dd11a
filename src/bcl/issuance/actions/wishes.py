"""Reading what the resident chose out of a request, against what this transaction was offered."""

from __future__ import annotations

import json
from datetime import timedelta

from bcl.foundation import clock, crypto, tenancy
from bcl.issuance.kinds import all_kinds
from bcl.issuance.models import Inquiry
from bcl.issuance.records import CopyOptions, Scope
from bcl.issuance.rules import Wish
from bcl_contract.delivery_center import IssueRequest
from bcl_contract.delivery_center import Scope as WireScope
from bcl_contract.refusals import Refusal

REFERENCES_LAST = timedelta(minutes=30)
_SCOPES = {
    WireScope.ALL: Scope.HOUSEHOLD,
    WireScope.PART: Scope.PART,
    WireScope.SELF: Scope.SELF,
}


def wish_of(request: IssueRequest, card: bytes) -> Wish | Refusal:
    """Give the wish of a request; member references are looked up in this transaction's inquiry.

    Refuses with ISSUE_KIND_NOT_OFFERED (a kind that doesn't exist), ISSUE_OPTION_NOT_ALLOWED (an
    item it doesn't have) and ISSUE_INQUIRY_EXPIRED (references of another transaction, another
    card, or too old).
    """
    definition = all_kinds().current(request.certificate_kind, clock.today())
    if definition is None:
        return Refusal("ISSUE_KIND_NOT_OFFERED")
    options = [definition.option_by_word(word) for word in request.show]
    if any(option is None for option in options):
        return Refusal("ISSUE_OPTION_NOT_ALLOWED")
    selected: frozenset[str] = frozenset()
    if request.scope is WireScope.PART:
        chosen = _members(request, card)
        if isinstance(chosen, Refusal):
            return chosen
        selected = chosen
    return Wish(
        kind=request.certificate_kind,
        copies=request.copies,
        options=CopyOptions(
            scope=_SCOPES[request.scope],
            shown=frozenset(option.name for option in options if option is not None),
            selected=selected,
            tax_year=request.tax_year,
        ),
    )


def _members(request: IssueRequest, card: bytes) -> frozenset[str] | Refusal:
    code, number = request.municipality_code, request.transaction_number
    with tenancy.scope(code):
        inquiry = Inquiry.objects.filter(
            municipality_code=code, transaction_number=number, card_key=card
        ).first()
    if inquiry is None or clock.now() - inquiry.asked_at > REFERENCES_LAST:
        return Refusal("ISSUE_INQUIRY_EXPIRED")
    references: dict[str, str] = json.loads(
        crypto.open_cell(code, "issuance_inquiry", "members", number, bytes(inquiry.members))
    )
    if any(reference not in references for reference in request.member_refs):
        return Refusal("ISSUE_INQUIRY_EXPIRED")
    return frozenset(references[reference] for reference in request.member_refs)
