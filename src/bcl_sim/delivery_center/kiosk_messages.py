"""What a kiosk and the center say to each other (JSON over mutual TLS; ours, not a published form).

One transaction: ``begin`` → ``inquire`` → ``issue`` → ``pay`` → ``finish``. The certificate travels
sealed with ``issue``; its key comes with ``pay``. A kiosk that was not paid holds only noise.
"""

from typing import Annotated

from pydantic import AwareDatetime, Field

from bcl_contract.delivery_center import (
    CertificateOffer,
    Code,
    Copies,
    DeliveryStatus,
    HouseholdMember,
    Identifier,
    MemberRef,
    Municipality,
    OutsideRefusal,
    Scope,
    Word,
    Yen,
)
from bcl_contract.signed_messages import Bytes, Message, Number

BEGIN_PATH = "/kiosk/begin"
INQUIRE_PATH = "/kiosk/inquire"
ISSUE_PATH = "/kiosk/issue"
PAY_PATH = "/kiosk/pay"
FINISH_PATH = "/kiosk/finish"
STATUS_PATH = "/status"


class Hop(Message):
    """One station of a transaction, for the trace: where, what, when."""

    place: Word
    act: Word
    at: AwareDatetime


class Begin(Message):
    """A resident stands at the kiosk and has chosen a town."""

    municipality_code: Municipality
    vendor: Identifier
    store: Identifier
    terminal: Identifier


class Begun(Message):
    """The transaction's number and what the card is to sign (with it) before `expires_at`."""

    transaction_number: Number
    challenge_nonce: Annotated[Bytes, Field(min_length=32, max_length=32, repr=False)]
    expires_at: AwareDatetime


class CardProof(Message):
    """The certificate of the card and its signature over the challenge."""

    transaction_number: Number
    cert: Annotated[Bytes, Field(min_length=1, max_length=8192, repr=False)]
    signature: Annotated[Bytes, Field(min_length=1, max_length=1024, repr=False)]


class Inquire(CardProof):
    """What can this person have?"""


class Offered(Message):
    """What the person can have, and whom a partial copy can show."""

    transaction_number: Number
    certificates: tuple[CertificateOffer, ...]
    members: tuple[HouseholdMember, ...]
    hops: tuple[Hop, ...]


class Issue(CardProof):
    """What the person has chosen."""

    certificate_kind: Code
    scope: Scope
    member_refs: Annotated[tuple[MemberRef, ...], Field(max_length=50)] = ()
    show: Annotated[tuple[Word, ...], Field(max_length=20)] = ()
    tax_year: Annotated[int, Field(ge=1950, le=2200)] | None = None
    copies: Copies = 1


class Sealed(Message):
    """The certificate, sealed: AES-256-GCM, associated data = transaction number.

    `fee_yen` is what to take in before `pay_until`.
    """

    transaction_number: Number
    sealed_pdf: Annotated[Bytes, Field(min_length=17, repr=False)]
    seal_nonce: Annotated[Bytes, Field(min_length=12, max_length=12, repr=False)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    pages: Annotated[int, Field(ge=1)]
    document_number: Identifier
    data_as_of: AwareDatetime
    fee_yen: Yen
    pay_until: AwareDatetime
    hops: tuple[Hop, ...]


class Pay(Message):
    """The kiosk has taken this amount in."""

    transaction_number: Number
    paid_yen: Yen


class Released(Message):
    """The key to the sealed certificate."""

    transaction_number: Number
    seal_key: Annotated[Bytes, Field(min_length=32, max_length=32, repr=False)]


class Finish(Message):
    """What became of the paper."""

    transaction_number: Number
    status: DeliveryStatus
    printed_copies: Annotated[int, Field(ge=0, le=50)]


class Finished(Message):
    """The transaction's end at the center; `refund_yen` is to be given back."""

    transaction_number: Number
    state: Code
    refund_yen: Yen


class Refused(Message):
    """A no, as the person may read it; `transaction_number` is null before there is one."""

    transaction_number: Number | None
    refusal: OutsideRefusal
