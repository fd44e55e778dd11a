"""Messages between the certificate delivery center (証明書交付センター) and BCL.

The real interface (広域交付システムインタフェース仕様書) is disclosed to participants only; this is
our own abstract form of it, and an adapter maps one to the other. JSON bodies over mutual TLS, each
signed with Ed25519 over its bytes (header ``X-BCL-Signature``), both ways. One transaction is
``inquire`` → ``issue`` → ``confirm``; beside it stand ``reconcile``, ``maintenance``, ``health``.

A receiver does, in this order: `parse_message` (strict: no unknown field, no duplicate key, no
coercion), `verify_message`, `check_time_window`, its own memory of ``message_id`` (replay), then
`bcl_contract.jpki.check_challenge_signature` with `challenge_for`. Refusals say which field, never
what stood in it.
"""

import hashlib
from collections.abc import Mapping
from datetime import date
from enum import IntEnum, StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from bcl_contract.refusals import REFUSALS
from bcl_contract.signed_messages import (
    REQUEST_BYTES,
    SIGNATURE_HEADER,
    TIME_WINDOW,
    Bytes,
    Message,
    Number,
    check_time_window,
    new_number,
    parse_message,
    request_hash,
    sign_message,
    verify_message,
    write_message,
)

__all__ = [
    "ANSWER_BYTES",
    "CHALLENGE_CONTEXT",
    "CONFIRM_PATH",
    "INQUIRE_PATH",
    "INQUIRE_SECONDS",
    "ISSUE_PATH",
    "ISSUE_SECONDS",
    "LISTING_BYTES",
    "MAINTENANCE_PATH",
    "NONCE_BYTES",
    "RECONCILE_PATH",
    "REQUEST_BYTES",
    "SIGNATURE_HEADER",
    "TIME_WINDOW",
    "Answer",
    "CertificateOffer",
    "Code",
    "ConfirmAnswer",
    "ConfirmRequest",
    "Copies",
    "DeliveryStatus",
    "DenyReason",
    "HealthAnswer",
    "HouseholdMember",
    "Identifier",
    "InquireAnswer",
    "InquireRequest",
    "IssueAnswer",
    "IssueRequest",
    "IssuedCertificate",
    "KioskIdentity",
    "Label",
    "MaintenanceAnswer",
    "MaintenanceRequest",
    "MemberRef",
    "Message",
    "Municipality",
    "OutsideRefusal",
    "ReconcileAnswer",
    "ReconcileDifference",
    "ReconcileEntry",
    "ReconcileRequest",
    "Request",
    "Result",
    "Scope",
    "ShowItem",
    "ShowOption",
    "TransactionRequest",
    "UserAuthentication",
    "Word",
    "Yen",
    "challenge_for",
    "check_time_window",
    "new_number",
    "outside_code",
    "parse_message",
    "request_hash",
    "result_of",
    "sign_message",
    "verify_message",
    "write_message",
]

INQUIRE_SECONDS = 5
ISSUE_SECONDS = 20
# A certificate of fifty pages with embedded fonts stays below 8 MiB; base64 adds a third.
ANSWER_BYTES = 16 << 20
LISTING_BYTES = 8 << 20
CHALLENGE_CONTEXT = b"BCL user authentication challenge v1\x00"
NONCE_BYTES = 32

INQUIRE_PATH = "/wire/issuance/inquire"
ISSUE_PATH = "/wire/issuance/issue"
CONFIRM_PATH = "/wire/issuance/confirm"
RECONCILE_PATH = "/wire/issuance/reconcile"
MAINTENANCE_PATH = "/wire/issuance/maintenance"

Municipality = Annotated[str, Field(pattern=r"^[0-9]{6}$")]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Code = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
Identifier = Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]{1,40}$")]
MemberRef = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{16,64}$")]
Label = Annotated[str, Field(min_length=1, max_length=200, repr=False)]
Yen = Annotated[int, Field(ge=0, le=1_000_000)]
Copies = Annotated[int, Field(ge=1, le=50)]


class ShowItem(StrEnum):
    """Items of a copy of a resident record that are left out unless asked for (domain §4.2)."""

    HEAD = "head"
    DOMICILE = "domicile"
    RESIDENT_RECORD_CODE = "resident_record_code"
    INDIVIDUAL_NUMBER = "individual_number"
    NATIONALITY = "nationality"


class Scope(StrEnum):
    """Whose entries a copy of a resident record shows."""

    ALL = "ALL"
    PART = "PART"
    SELF = "SELF"


class Result(StrEnum):
    """How a request ended."""

    OK = "OK"
    REFUSED = "REFUSED"
    BUSY = "BUSY"
    MAINTENANCE = "MAINTENANCE"


class DeliveryStatus(StrEnum):
    """What became of the paper at the kiosk."""

    PRINTED = "PRINTED"
    ABORTED = "ABORTED"
    PRINT_FAILED = "PRINT_FAILED"


class DenyReason(IntEnum):
    """Why BCL does not issue: its own record of the matter, kept inside (domain §5.5)."""

    OUTSIDE_HOURS = 10
    MAINTENANCE = 11
    DATA_NOT_CURRENT = 12
    CARD_NOT_LINKED = 20
    UNDER_AGE = 21
    REMOVED = 30
    MOVING_OUT = 31
    CHANGE_PENDING = 32
    PROTECTIVE_MEASURE = 33
    ISSUANCE_BLOCK = 34
    RESIDENCE_INVESTIGATED = 35
    SEAL_NOT_REGISTERED = 40
    SEAL_CANCELLED = 41
    TAX_NOT_AVAILABLE = 50
    DISASTER_NOT_AVAILABLE = 60
    CHARACTER_MISSING = 70
    DOCUMENT_CHECK_FAILED = 71


# Everything about a person's situation leaves as one code with one text: a spouse at a kiosk must
# not learn that a protective measure (33) is why nothing comes out, nor that it is not.
_OUTSIDE: Mapping[DenyReason, str] = {
    DenyReason.OUTSIDE_HOURS: "CENTER_OUTSIDE_HOURS",
    DenyReason.MAINTENANCE: "CENTER_UNDER_MAINTENANCE",
    DenyReason.DATA_NOT_CURRENT: "CENTER_UNDER_MAINTENANCE",
    DenyReason.CARD_NOT_LINKED: "CENTER_CARD_NOT_LINKED",
    DenyReason.UNDER_AGE: "CENTER_UNDER_AGE",
    DenyReason.SEAL_NOT_REGISTERED: "CENTER_CERTIFICATE_NOT_AVAILABLE",
    DenyReason.SEAL_CANCELLED: "CENTER_CERTIFICATE_NOT_AVAILABLE",
    DenyReason.TAX_NOT_AVAILABLE: "CENTER_CERTIFICATE_NOT_AVAILABLE",
    DenyReason.DISASTER_NOT_AVAILABLE: "CENTER_CERTIFICATE_NOT_AVAILABLE",
}


def outside_code(reason: DenyReason) -> str:
    """Give the code the center and the kiosk may see for a reason BCL keeps to itself."""
    return _OUTSIDE.get(reason, "CENTER_VISIT_COUNTER")


class KioskIdentity(Message):
    """The machine the resident stands at."""

    vendor: Identifier
    store: Identifier
    terminal: Identifier


class UserAuthentication(Message):
    """What the card gave: its user-authentication certificate and a signed challenge.

    The signature covers `challenge_for(transaction_number, challenge_nonce)`, so it proves this
    transaction and no other (R-046).
    """

    cert: Annotated[Bytes, Field(min_length=1, max_length=8192, repr=False)]
    challenge_nonce: Annotated[
        Bytes, Field(min_length=NONCE_BYTES, max_length=NONCE_BYTES, repr=False)
    ]
    signature: Annotated[Bytes, Field(min_length=1, max_length=1024, repr=False)]


class Request(Message):
    """The envelope of a request. `message_id` is new for every sending, also for a repetition."""

    message_id: Number
    sent_at: AwareDatetime
    municipality_code: Municipality


class TransactionRequest(Request):
    """A request inside one transaction, bound to the card and to a deadline.

    `requested_at` is when the resident asked; after `deadline_at` no answer may be used.
    """

    transaction_number: Number
    center_sequence: Annotated[int, Field(ge=1)]
    kiosk: KioskIdentity
    user_authentication: UserAuthentication
    requested_at: AwareDatetime
    deadline_at: AwareDatetime

    @model_validator(mode="after")
    def _deadline_follows_request(self) -> Self:
        if self.deadline_at <= self.requested_at:
            raise ValueError("deadline_at must lie after requested_at")
        return self


class InquireRequest(TransactionRequest):
    """Which certificates can the holder of this card have?"""

    message: Literal["inquire"] = "inquire"


class IssueRequest(TransactionRequest):
    """Make this certificate. `member_refs` come from the inquire answer of this transaction."""

    message: Literal["issue"] = "issue"
    certificate_kind: Code
    scope: Scope
    member_refs: Annotated[tuple[MemberRef, ...], Field(max_length=50)] = ()
    show: Annotated[tuple[Word, ...], Field(max_length=20)] = ()
    tax_year: Annotated[int, Field(ge=1950, le=2200)] | None = None
    copies: Copies = 1

    @model_validator(mode="after")
    def _members_only_with_part(self) -> Self:
        if (self.scope is Scope.PART) != bool(self.member_refs):
            raise ValueError("member_refs go with scope PART and with nothing else")
        if len(set(self.member_refs)) != len(self.member_refs):
            raise ValueError("member_refs must differ")
        if len(set(self.show)) != len(self.show):
            raise ValueError("show must not repeat an item")
        return self


class ConfirmRequest(Request):
    """What became of the paper. Only PRINTED is billed."""

    message: Literal["confirm"] = "confirm"
    transaction_number: Number
    status: DeliveryStatus
    printed_copies: Annotated[int, Field(ge=0, le=50)]
    paid_yen: Yen
    confirmed_at: AwareDatetime

    @model_validator(mode="after")
    def _copies_match_status(self) -> Self:
        if (self.status is DeliveryStatus.PRINTED) != (self.printed_copies > 0):
            raise ValueError("printed_copies is positive exactly when the status is PRINTED")
        return self


class ReconcileEntry(Message):
    """One transaction as the center knows it at the end of a day."""

    transaction_number: Number
    status: DeliveryStatus | None
    printed_copies: Annotated[int, Field(ge=0, le=50)]
    paid_yen: Yen


class ReconcileRequest(Request):
    """The center's list of one day (JST, by `requested_at`)."""

    message: Literal["reconcile"] = "reconcile"
    day: date
    transactions: Annotated[tuple[ReconcileEntry, ...], Field(max_length=50_000)]


class MaintenanceRequest(Request):
    """A planned stop of one town, of one kind or of all (`certificate_kind` null)."""

    message: Literal["maintenance"] = "maintenance"
    certificate_kind: Code | None
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    reason: Code


class OutsideRefusal(Message):
    """A refusal as the resident may read it."""

    code: Code
    text: Annotated[str, Field(min_length=1, max_length=400)]

    @classmethod
    def of(cls, code: str) -> Self:
        """Take the text from the list of refusal codes (KeyError for an unknown code)."""
        return cls(code=code, text=REFUSALS[code].text_ja)


def result_of(code: str) -> Result:
    """Give the result that goes with a refusal code in an answer."""
    special = {"CENTER_BUSY": Result.BUSY, "CENTER_UNDER_MAINTENANCE": Result.MAINTENANCE}
    return special.get(code, Result.REFUSED)


class Answer(Message):
    """The envelope of an answer, bound to the sending it answers."""

    in_reply_to: Number
    sent_at: AwareDatetime
    municipality_code: Municipality
    result: Result
    refusal: OutsideRefusal | None = None

    @model_validator(mode="after")
    def _refusal_says_why(self) -> Self:
        if (self.result is Result.OK) != (self.refusal is None):
            raise ValueError("a refusal goes with every result but OK")
        return self


class ShowOption(Message):
    """An item the resident may have printed or left out."""

    name: Word
    label: Label


class CertificateOffer(Message):
    """One kind the holder can have now, and what it costs a copy."""

    certificate_kind: Code
    title: Label
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=3)]
    options: Annotated[tuple[ShowOption, ...], Field(max_length=20)] = ()
    tax_years: Annotated[tuple[int, ...], Field(max_length=20)] = ()
    fee_yen: Yen
    copies_max: Copies = 1


class HouseholdMember(Message):
    """A person to choose from for scope PART: a reference for this transaction and a name."""

    member_ref: MemberRef
    display_name: Label


class InquireAnswer(Answer):
    """What the kiosk may offer."""

    message: Literal["inquire_answer"] = "inquire_answer"
    transaction_number: Number
    certificates: Annotated[tuple[CertificateOffer, ...], Field(max_length=20)] = ()
    members: Annotated[tuple[HouseholdMember, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _offers_only_when_ok(self) -> Self:
        if (self.result is Result.OK) != bool(self.certificates):
            raise ValueError("certificates go with OK and with nothing else")
        if self.members and self.result is not Result.OK:
            raise ValueError("members go with OK only")
        return self


class IssuedCertificate(Message):
    """The certificate itself. `fee_yen` is for all copies together."""

    pdf: Annotated[Bytes, Field(min_length=1, repr=False)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    pages: Annotated[int, Field(ge=1, le=200)]
    document_number: Identifier
    data_as_of: AwareDatetime
    fee_yen: Yen

    @model_validator(mode="after")
    def _digest_is_of_this_pdf(self) -> Self:
        if hashlib.sha256(self.pdf).hexdigest() != self.sha256:
            raise ValueError("sha256 is not that of pdf")
        return self


class IssueAnswer(Answer):
    """The certificate, or why there is none."""

    message: Literal["issue_answer"] = "issue_answer"
    transaction_number: Number
    certificate: IssuedCertificate | None = None

    @model_validator(mode="after")
    def _certificate_only_when_ok(self) -> Self:
        if (self.result is Result.OK) != (self.certificate is not None):
            raise ValueError("a certificate goes with OK and with nothing else")
        return self


class ConfirmAnswer(Answer):
    """The state BCL has put on record for the transaction (decision D20)."""

    message: Literal["confirm_answer"] = "confirm_answer"
    transaction_number: Number
    state: Code | None = None


class ReconcileDifference(Message):
    """One transaction on which the two sides disagree. Null: that side does not know it."""

    transaction_number: Number
    center_status: DeliveryStatus | None
    bcl_state: Code | None


class ReconcileAnswer(Answer):
    """The differences of a day; an empty list is agreement."""

    message: Literal["reconcile_answer"] = "reconcile_answer"
    differences: Annotated[tuple[ReconcileDifference, ...], Field(max_length=100_000)] = ()


class MaintenanceAnswer(Answer):
    """The acknowledgement of a planned stop."""

    message: Literal["maintenance_answer"] = "maintenance_answer"


class HealthAnswer(Message):
    """How BCL's issuing is: version, processes, load applied last, oldest answer unconfirmed."""

    message: Literal["health_answer"] = "health_answer"
    version: Annotated[str, Field(max_length=80)]
    replicas: Annotated[int, Field(ge=0)]
    applied_position: Annotated[int, Field(ge=0)] | None
    oldest_pending_at: AwareDatetime | None


def challenge_for(transaction_number: str, challenge_nonce: bytes) -> bytes:
    """Give the 32 bytes a card must sign in this transaction.

    The transaction number is inside, so a signature heard in one transaction is worthless in the
    next, and BCL sees that without keeping a list of used challenges (R-046).
    """
    content = CHALLENGE_CONTEXT + transaction_number.encode("ascii") + b"\x00" + challenge_nonce
    return hashlib.sha256(content).digest()
