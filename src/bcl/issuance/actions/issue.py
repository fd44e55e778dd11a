"""Issuing one certificate for the holder of a card (journey issue-a-certificate, steps 2 to 11).

Each step talks to the outside or to the database, never to both at once. What is known of a
request lives in arguments and rows: there is no queue position, no file, no module state, so an
answer can only belong to the request it was made for.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.db import IntegrityError

from bcl.foundation import audit, clock, log, tenancy
from bcl.foundation.audit import Actor
from bcl.issuance import queries
from bcl.issuance.actions import states
from bcl.issuance.actions.judge import Judged, judge
from bcl.issuance.actions.make_paper import Paper, make_paper
from bcl.issuance.actions.release import GUARD_AWAY, ask_guard
from bcl.issuance.actions.send import Sent
from bcl.issuance.actions.wishes import wish_of
from bcl.issuance.adapters import jpki
from bcl.issuance.documents.compose import chosen_members
from bcl.issuance.models import IssuanceTransaction
from bcl.issuance.records import Edition
from bcl.issuance.rules import TransactionState as State
from bcl.issuance.rules import Wish, outward
from bcl_contract.delivery_center import IssueRequest, request_hash
from bcl_contract.jpki import Verified, parse_user_auth_cert
from bcl_contract.refusals import Refusal

logger = log.get("bcl.issuance")
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate on its way to the center. The PDF exists in memory only (R-080)."""

    transaction_number: str
    pdf: bytes = field(repr=False)
    sha256: str
    pages: int
    issue_number: str
    data_as_of: datetime
    fee_yen: int


def new_issue_number(randomness: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Draw an issue number (発行番号): 128 random bits, never time, host or a counter (R-071)."""
    value = int.from_bytes(randomness(16), "big")
    digits = "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))
    return "-".join((digits[:6], digits[6:11], digits[11:16], digits[16:21], digits[21:]))


def issue_certificate(*, request: IssueRequest, by: Actor, at: datetime) -> Issued | Refusal:
    """Issue one certificate for the holder of a card, or say why not.

    Asking twice with the same transaction number gives the same bytes or a refusal: the center
    repeats a request when its line drops, and the resident must not pay twice (D22).
    The refusal is the outward one; the inner code stands sealed in the transaction.
    """
    # Step 2: the request goes on record before anything is decided about it.
    opened = _open_transaction(request, by, at)
    if isinstance(opened, Refusal):
        return outward(opened)
    number = request.transaction_number
    try:
        if opened:
            outcome = _issue(request, by)
        else:
            outcome = _answer_again(request, by)
    except Exception as fault:
        # Types and places only: a message could hold what the row holds.
        logger.exception(
            "issue_failed", municipality_code=request.municipality_code, transaction_id=number
        )
        outcome = Refusal("ISSUE_FAILED", {"fault": type(fault).__name__})
    if isinstance(outcome, Refusal):
        states.close(request.municipality_code, number, refusal=outcome, by=by)
        return outward(outcome)
    # Step 11: the guard looks at the finished paper, then the bytes may leave.
    return _release(request, outcome, by)


def _release(request: IssueRequest, issued: Issued, by: Actor) -> Issued | Refusal:
    """Hand number and bytes to the guard; only what it has let go leaves (M3, D21)."""
    code, number = request.municipality_code, request.transaction_number
    answer = ask_guard(code, number, issued.pdf)
    if isinstance(answer, Sent):
        return issued
    # The guard has closed the transaction itself, unless it was away.
    if answer.code == GUARD_AWAY:
        states.close(code, number, refusal=answer, by=by)
    return outward(answer)


def _open_transaction(request: IssueRequest, by: Actor, at: datetime) -> bool | Refusal:
    """Put the request on record; True = new, False = the same request again."""
    code, number = request.municipality_code, request.transaction_number
    digest = request_hash(request)
    row = IssuanceTransaction(
        municipality_code=code,
        transaction_number=number,
        request_hash=digest,
        state=State.REQUESTED,
        certificate_kind=request.certificate_kind,
        scope=request.scope.value,
        shown=list(request.show),
        copies=request.copies,
        kiosk=f"{request.kiosk.vendor}/{request.kiosk.store}/{request.kiosk.terminal}",
        card_key=b"",
        requested_at=request.requested_at,
        received_at=at,
        deadline_at=request.deadline_at,
    )
    try:
        with tenancy.scope(code):
            row.save(force_insert=True)
            audit.record(act="request_certificate", by=by, at=at, detail={"transaction": number})
        return True
    except IntegrityError:
        with tenancy.scope(code):
            earlier = queries.find_transaction(code, number)
            if earlier is None:
                raise
            if earlier.request_hash != digest:
                audit.record(
                    act="refuse_conflicting_request",
                    by=by,
                    at=at,
                    detail={"transaction": number},
                )
                return Refusal("ISSUE_TRANSACTION_CONFLICT")
        return _may_answer_again(earlier)


def _may_answer_again(earlier: IssuanceTransaction) -> bool | Refusal:
    if earlier.state in (State.ISSUED, State.SENT):
        return False
    if earlier.state in (State.REQUESTED, State.APPROVED):
        # Another process may be at it right now; if it died, the deadline will close the row.
        return Refusal("ISSUE_TRANSACTION_IN_PROGRESS")
    if earlier.state == State.REFUSED and earlier.refusal_code:
        return Refusal(earlier.refusal_code)
    if earlier.state == State.EXPIRED:
        return Refusal("ISSUE_DEADLINE_PASSED")
    if earlier.state == State.FAILED and not earlier.issued_at:
        return Refusal("ISSUE_FAILED")
    return Refusal("ISSUE_TRANSACTION_STATE")


def _issue(request: IssueRequest, by: Actor) -> Issued | Refusal:
    code = request.municipality_code
    known = _card_and_wish(request)
    if isinstance(known, Refusal):
        return known
    card, wish = known
    # Steps 3, 5, 6: service open, facts and decision, out of one REPEATABLE READ snapshot.
    judged = judge(code, card, wish=wish, at=clock.now(), snapshot=True)
    if isinstance(judged, Refusal):
        return judged
    # The day of the decision is the day on the paper: mayor and seal are those of that day.
    edition = Edition(new_issue_number(), judged.at.date())
    _approve(request, judged, card, by)
    # Steps 7 to 9: the paper, in memory.
    paper = make_paper(judged, edition, layout_version=judged.approval.definition.version)
    if isinstance(paper, Refusal):
        return paper
    # Step 10: one transaction looks again and puts the paper on record.
    refusal = _record_issued(request, _Made(judged, wish, edition, paper, card), by)
    return refusal or _issued(request, judged, edition, paper)


def _card_and_wish(request: IssueRequest) -> tuple[bytes, Wish] | Refusal:
    if clock.now() >= request.deadline_at:
        return Refusal("ISSUE_DEADLINE_PASSED")
    # Step 4: ask JPKI, outside of any transaction. Unknown is a refusal, never a pass.
    verified = jpki.check(
        request.user_authentication,
        transaction_number=request.transaction_number,
        at=clock.now(),
    )
    if isinstance(verified, Refusal):
        return verified
    card = _card(request, verified)
    wish = wish_of(request, card)
    return wish if isinstance(wish, Refusal) else (card, wish)


def _issued(request: IssueRequest, judged: Judged, edition: Edition, paper: Paper) -> Issued:
    return Issued(
        transaction_number=request.transaction_number,
        pdf=paper.pdf,
        sha256=paper.sha256,
        pages=paper.pages,
        issue_number=edition.issue_number,
        data_as_of=judged.data_as_of,
        fee_yen=judged.town.fee_yen(request.certificate_kind, request.copies),
    )


def _card(request: IssueRequest, verified: Verified | None = None) -> bytes:
    cert = verified or parse_user_auth_cert(request.user_authentication.cert)
    assert not isinstance(cert, Refusal)  # noqa: S101 (a verified card parses)
    return queries.card_key(request.municipality_code, cert.issuer_key, cert.serial_number)


@dataclass(frozen=True, slots=True, repr=False)
class _Made:
    judged: Judged
    wish: Wish
    edition: Edition
    paper: Paper
    card: bytes


def _approve(request: IssueRequest, judged: Judged, card: bytes, by: Actor) -> None:
    approval = judged.approval
    subject = {
        "applicant": approval.applicant,
        "selected": sorted(approval.options.selected),
        "tax_year": approval.options.tax_year,
    }
    with tenancy.scope(request.municipality_code):
        row = states.lock(request.municipality_code, request.transaction_number)
        states.move(
            row,
            State.APPROVED,
            card_key=card,
            subject=queries.seal_transaction_cell(row, "subject", json.dumps(subject).encode()),
            record_load=approval.records.version,
        )
        audit.record(
            act="approve_issue",
            by=by,
            at=clock.now(),
            subject_key=approval.applicant.encode(),
            detail={"transaction": row.transaction_number, "load": approval.records.version},
        )


def _record_issued(request: IssueRequest, made: _Made, by: Actor) -> Refusal | None:
    """Look at card, household, blocks and deadline again; then ISSUED with digest and versions."""
    code, judged = request.municipality_code, made.judged
    with tenancy.scope(code):
        row = states.lock(request.municipality_code, request.transaction_number)
        now = clock.now()
        if now >= row.deadline_at:
            return Refusal("ISSUE_DEADLINE_PASSED")
        refusal = _look_again(code, made, now)
        if refusal is not None:
            return refusal
        states.move(
            row,
            State.ISSUED,
            issue_number=made.edition.issue_number,
            issued_on=made.edition.issued_on,
            layout_version=made.paper.layout_version,
            pdf_sha256=made.paper.sha256,
            page_count=made.paper.pages,
            fee_yen=judged.town.fee_yen(row.certificate_kind, row.copies),
            data_as_of=judged.data_as_of,
            issued_at=now,
        )
        audit.record(
            act="issue_certificate",
            by=by,
            at=now,
            subject_key=judged.approval.applicant.encode(),
            subjects=_printed_beside(judged),
            detail={
                "transaction": row.transaction_number,
                "sha256": made.paper.sha256,
                "load": judged.approval.records.version,
                "layout": made.paper.layout_version,
            },
        )
    return None


def _printed_beside(judged: Judged) -> list[bytes]:
    """The other persons on the paper, for the audit row (R-172)."""
    approval = judged.approval
    chosen = chosen_members(approval.household, approval.applicant, approval.options)
    if isinstance(chosen, Refusal):
        return []
    numbers = (member.addressee_number for member in chosen)
    return [number.encode() for number in numbers if number != approval.applicant]


def _look_again(code: str, made: _Made, now: datetime) -> Refusal | None:
    """Decide a second time on what stands in the database now (M8, F2, D23)."""
    again = judge(code, made.card, wish=made.wish, at=now, snapshot=False)
    if isinstance(again, Refusal):
        return again
    first = made.judged.approval
    if again.approval != first or again.certifier != made.judged.certifier:
        return Refusal("ISSUE_ANSWER_CHANGED")
    return None


def _answer_again(request: IssueRequest, by: Actor) -> Issued | Refusal:
    """Make the same paper again from the stored versions; only equal bytes leave (D22)."""
    code = request.municipality_code
    known = _card_and_wish(request)
    if isinstance(known, Refusal):
        return known
    card, wish = known
    now = clock.now()
    judged = judge(code, card, wish=wish, at=now, snapshot=True)
    if isinstance(judged, Refusal):
        return Refusal("ISSUE_ANSWER_CHANGED")
    with tenancy.scope(code):
        row = states.lock(code, request.transaction_number)
        subject = queries.open_subject(row)
        edition = Edition(row.issue_number, row.issued_on)
    if subject["applicant"] != judged.approval.applicant:
        return Refusal("ISSUE_ANSWER_CHANGED")
    paper = make_paper(judged, edition, layout_version=row.layout_version)
    if isinstance(paper, Refusal) or paper.sha256 != row.pdf_sha256:
        return Refusal("ISSUE_ANSWER_CHANGED")
    with tenancy.scope(code):
        audit.record(
            act="repeat_answer",
            by=by,
            at=now,
            subject_key=judged.approval.applicant.encode(),
            subjects=_printed_beside(judged),
            detail={"transaction": row.transaction_number, "sha256": paper.sha256},
        )
    return _issued(request, judged, edition, paper)
