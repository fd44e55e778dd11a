"""The guard's act: look at one finished paper and let it go, or stop the town (decision D21).

The caller gives a transaction number and a PDF and nothing else. Whose names must stand on it is
worked out here from the store: the card of the transaction, the household, the stored choice. Its
only powers are SENT for this transaction, and stopping this town's issuing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from bcl.foundation import clock, tenancy
from bcl.foundation.audit import SYSTEM
from bcl.issuance import queries
from bcl.issuance.actions import states
from bcl.issuance.actions.judge import Judged, judge
from bcl.issuance.documents.compose import chosen_members
from bcl.issuance.documents.font import DEFAULT_FONT_PATH, load_typeface
from bcl.issuance.documents.second_reading import UnreadablePaperError, find_slip
from bcl.issuance.kinds import definition_of
from bcl.issuance.models import IssuanceTransaction
from bcl.issuance.records import CopyOptions, Scope
from bcl.issuance.rules import TransactionState as State
from bcl.issuance.rules import Wish
from bcl.issuance.settings import font_path
from bcl_contract.delivery_center import Scope as WireScope
from bcl_contract.refusals import Refusal

_SCOPES = {
    WireScope.ALL.value: Scope.HOUSEHOLD,
    WireScope.PART.value: Scope.PART,
    WireScope.SELF.value: Scope.SELF,
}


@dataclass(frozen=True, slots=True)
class Sent:
    """The paper may leave; it did so, for the store, at this time."""

    sent_at: datetime


def send_paper(municipality_code: str, transaction_number: str, pdf: bytes) -> Sent | Refusal:
    """Let a paper go if it is the one of this transaction, else refuse it and stop the town.

    Refuses with ISSUE_DEADLINE_PASSED, whatever a new decision refuses with, ISSUE_ANSWER_CHANGED
    when other persons would be named now, and ISSUE_DOCUMENT_CHECK_FAILED (detail: check) when
    the paper is not the one on record or names other persons. The transaction is closed then.
    """
    with tenancy.scope(municipality_code):
        if queries.find_transaction(municipality_code, transaction_number) is None:
            # Nobody asked for this paper: it belongs to no transaction of this town.
            states.stop_town(municipality_code, transaction_number, at=clock.now())
            return Refusal("ISSUE_TRANSACTION_UNKNOWN")
        row = states.lock(municipality_code, transaction_number)
        now = clock.now()
        refusal = _judge(row, pdf, now)
        if refusal is None:
            if row.state == State.ISSUED:
                states.move(row, State.SENT, sent_at=now)
            return Sent(now)
        states.close(municipality_code, transaction_number, refusal=refusal, by=SYSTEM)
        return refusal


def _judge(row: IssuanceTransaction, pdf: bytes, now: datetime) -> Refusal | None:
    if row.state not in (State.ISSUED, State.SENT):
        return Refusal("ISSUE_TRANSACTION_STATE")
    if now >= row.deadline_at:
        return Refusal("ISSUE_DEADLINE_PASSED")
    if hashlib.sha256(pdf).hexdigest() != row.pdf_sha256:
        return _failed("digest")
    subject = queries.open_subject(row)
    judged = _decide_again(row, subject, now)
    if isinstance(judged, Refusal):
        return judged
    if judged.approval.applicant != subject["applicant"]:
        return _failed("applicant")
    return _read(row, judged, pdf)


def _decide_again(
    row: IssuanceTransaction, subject: dict[str, object], now: datetime
) -> Judged | Refusal:
    """Decide from the stored choice and the stored card on what stands in the store now."""
    definition = definition_of(row.layout_version)
    options = [definition.option_by_word(word) for word in row.shown]
    selected, year = subject.get("selected"), subject.get("tax_year")
    wish = Wish(
        kind=row.certificate_kind,
        copies=row.copies,
        options=CopyOptions(
            scope=_SCOPES[row.scope],
            shown=frozenset(option.name for option in options if option is not None),
            selected=frozenset(map(str, selected)) if isinstance(selected, list) else frozenset(),
            tax_year=year if isinstance(year, int) else None,
        ),
    )
    return judge(row.municipality_code, bytes(row.card_key), wish=wish, at=now, snapshot=False)


def _read(row: IssuanceTransaction, judged: Judged, pdf: bytes) -> Refusal | None:
    approval = judged.approval
    # What was approved then and what would be approved now must be one version of the data.
    if approval.records.version != row.record_load:
        return Refusal("ISSUE_ANSWER_CHANGED")
    persons = chosen_members(approval.household, approval.applicant, approval.options)
    if isinstance(persons, Refusal):
        return persons
    try:
        slip = find_slip(
            pdf,
            definition=definition_of(row.layout_version),
            persons=persons,
            issue_number=row.issue_number or "",
            typeface=load_typeface(font_path() or DEFAULT_FONT_PATH),
        )
    except UnreadablePaperError:
        return _failed("unreadable")
    return None if slip is None else _failed(slip)


def _failed(check: str) -> Refusal:
    return Refusal("ISSUE_DOCUMENT_CHECK_FAILED", {"check": f"guard_{check}"})
