"""「誰がこの方の情報を見たか」: asked for with a case number, agreed to, read, handed out (R-171).

A person under a protective measure, or of whom the register knows nothing any more, takes a second
person: the statement itself may tell where somebody lives. Places (terminals, centers) then stay
out of it. What it lists ends before it was asked for, so that it reads the same ever after.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from bcl.accounts import api as accounts
from bcl.foundation import audit, clock, crypto, keys, tenancy
from bcl.municipalities import api as municipalities
from bcl.oversight import queries, rules
from bcl.oversight.documents.statement_page import Line, Sheet, compose, missing_character, render
from bcl.oversight.models import LookStatement
from bcl.oversight.rules import StatementState
from bcl.resident_store import api as store
from bcl_contract.refusals import Refusal

_NUMBER_DIGITS = 15
KINDS_JA = {
    "SHOWN": "表示",
    "PRINTED": "印刷",
    "HANDED_OUT": "提供",
    "DECIDED": "判定",
    "DATA": "更新",
    "OTHER": "その他",
}
_PLACES_JA = {
    "terminal": "端末",
    "transaction": "取引",
    "screen": "画面",
    "export": "リカバリデータ",
    "data_export": "持ち出し",
    "center": "センター",
    "subscription": "配り先",
}
# A kiosk's transaction and a terminal's name say where somebody was.
_TELL_WHERE = frozenset({"terminal", "transaction", "center"})
UNKNOWN_POST = "職員（役職は記録なし）"


@dataclass(frozen=True)
class Statement:
    """A statement with its lines, as page and paper show it."""

    request: LookStatement
    sheet: Sheet


def request_statement(
    principal: accounts.Principal,
    *,
    addressee_number: str,
    since: datetime,
    until: datetime,
    reference: str,
    at: datetime,
) -> LookStatement | Refusal:
    """Ask for the statement of one person about a period that ends no later than now."""
    code = principal.municipality_code
    number = addressee_number
    if not (number.isascii() and number.isdigit() and len(number) == _NUMBER_DIGITS):
        return Refusal("AUDIT_PERSON_NUMBER_FORM")
    if not rules.is_reference(reference):
        return Refusal("STATEMENT_REFERENCE_MISSING")
    until = min(until, at)
    limits = rules.limits_on(at.date())
    wrong = rules.judge_period(since, until, days=limits.statement_days)
    if wrong is not None:
        return wrong
    if keys.is_erased(code):
        return Refusal("KEY_ERASED")
    standing = store.find_standing(code, number)
    # Nobody knows any more whether somebody who is gone was protected.
    is_protected = standing is None or standing[1]
    token = secrets.token_hex(16)
    facts = {
        "municipality_code": code,
        "token": token,
        "person": crypto.subject_digest(code, number.encode()).hex(),
        "since": since.isoformat(),
        "until": until.isoformat(),
        "reference": reference,
        "requested_by": principal.actor.id,
    }
    with tenancy.scope(code):
        row = LookStatement.objects.create(
            municipality_code=code,
            token=token,
            state=StatementState.REQUESTED if is_protected else StatementState.READY,
            sealed_person=crypto.seal_cell(
                code, queries.STATEMENT_TABLE, "sealed_person", token, number.encode()
            ),
            since=since,
            until=until,
            reference=reference,
            is_protected=is_protected,
            request_sha256=rules.digest(facts),
            requested_at=at,
            requested_by=principal.actor.id,
        )
        _record(row, "request_statement", principal, at)
    return row


def approve_statement(
    municipality_code: str, statement_id: int, *, confirmed: accounts.ConfirmedAct, at: datetime
) -> LookStatement | Refusal:
    """Agree, as a second person, to exactly the request shown.

    `confirmed` is an act `approve_statement` over `approval_content(...)`.
    """
    with tenancy.scope(municipality_code):
        row = LookStatement.objects.select_for_update(no_key=True).filter(pk=statement_id).first()
        if row is None:
            return Refusal("STATEMENT_NOT_FOUND")
        by = accounts.verify_confirmed(
            confirmed, act="approve_statement", municipality_code=municipality_code, now=at
        )
        if isinstance(by, Refusal):
            return by
        refusal = rules.judge_approval(
            is_waiting=row.state == StatementState.REQUESTED,
            requested_by=row.requested_by,
            approved_by=by.id,
            same_request=dict(confirmed.content) == approval_content(row),
        )
        if refusal is not None:
            return refusal
        row.state = StatementState.READY
        row.approved_at, row.approved_by = at, by.id
        row.approval_signature = confirmed.signature
        row.save()
        audit.record(
            act="approve_statement",
            by=by,
            at=at,
            subject_key=queries.person_of(row).encode(),
            detail={"statement": row.pk, "request_sha256": row.request_sha256},
        )
    return row


def approval_content(row: LookStatement) -> dict[str, str | int]:
    """What the second person confirms."""
    return {"statement": row.pk, "request_sha256": row.request_sha256}


def make_statement(
    principal: accounts.Principal, row: LookStatement, *, at: datetime
) -> Statement | Refusal:
    """Read the statement on the page; that it was read is on record."""
    return _make(principal, row, act="list_looks", at=at)


def print_statement(
    principal: accounts.Principal, row: LookStatement, *, at: datetime
) -> bytes | Refusal:
    """The statement as PDF/A for handing out; that it was printed is on record."""
    ready = _ready(row)
    if ready is not None:
        return ready
    made = _compose(row, at)
    if missing_character(made) is not None:
        return Refusal("STATEMENT_CHARACTER_MISSING")
    pdf = render(made)
    with tenancy.scope(row.municipality_code):
        fresh = LookStatement.objects.select_for_update(no_key=True).get(pk=row.pk)
        fresh.state = StatementState.PRINTED
        fresh.printed_at, fresh.printed_by = at, principal.actor.id
        fresh.entries = len(made.lines)
        fresh.save()
        _record(fresh, "print_statement", principal, at, count=len(made.lines))
    return pdf


def _make(
    principal: accounts.Principal, row: LookStatement, *, act: str, at: datetime
) -> Statement | Refusal:
    ready = _ready(row)
    if ready is not None:
        return ready
    made = _compose(row, at)
    with tenancy.scope(row.municipality_code):
        _record(row, act, principal, at, count=len(made.lines))
    return Statement(row, made)


def _ready(row: LookStatement) -> Refusal | None:
    if row.state == StatementState.REQUESTED:
        return Refusal("STATEMENT_NOT_APPROVED")
    if not queries.person_of(row):
        return Refusal("STATEMENT_EMPTIED")
    return None


def _record(
    row: LookStatement, act: str, principal: accounts.Principal, at: datetime, **counts: int
) -> None:
    audit.record(
        act=act,
        by=principal.actor,
        at=at,
        subject_key=queries.person_of(row).encode(),
        detail={
            "statement": row.pk,
            "reference": row.reference,
            "terminal": principal.terminal.id,
            **counts,
        },
    )


def _compose(row: LookStatement, at: datetime) -> Sheet:
    code, number = row.municipality_code, queries.person_of(row)
    looks = accounts.who_saw(code, number, since=row.since, until=row.until)
    standing = store.find_standing(code, number)
    day = at.astimezone(clock.JST).date()
    purposes = {False: store.purposes_on(day), True: rules.purposes_on(day)}
    return compose(
        town_ja=municipalities.get_municipality(code).name_ja,
        number=row.pk,
        reference=row.reference,
        person_ja="" if standing is None else standing[0],
        addressee_number=number,
        since=row.since.astimezone(clock.JST),
        until=row.until.astimezone(clock.JST),
        made_on=at.astimezone(clock.JST).date(),
        is_protected=row.is_protected,
        lines=[
            # What was taken out has purposes of its own, under codes that may be the same.
            _line(
                each,
                purposes["data_export" in each.look.detail],
                is_protected=row.is_protected,
            )
            for each in looks
        ],
    )


def _line(each: accounts.NamedLook, purposes: dict[str, str], *, is_protected: bool) -> Line:
    look = each.look
    purpose = purposes.get(look.purpose, look.purpose)
    if look.reference:
        purpose += f"（受付番号 {look.reference}）"
    places = [] if is_protected else [
        f"{_PLACES_JA.get(kind, kind)} {name}" for kind, name in look.places
    ]
    return Line(
        at=look.at.astimezone(clock.JST),
        kind=look.act.kind,
        kind_ja=KINDS_JA[look.act.kind],
        act_ja=look.act.label_ja + ("（全員が対象）" if look.covers_everybody else ""),
        who_ja=_post(each),
        purpose_ja=purpose,
        place_ja="、".join(places),
    )


def _post(each: accounts.NamedLook) -> str:
    """Who it was, by office and post: a statement names no member of staff."""
    if each.look.actor_kind != "staff":
        return each.who_ja
    house = "機構" if each.belongs_to == accounts.AGENCY_CODE else "団体"
    return f"{house}の職員（{'・'.join(each.roles_ja)}）" if each.roles_ja else UNKNOWN_POST
