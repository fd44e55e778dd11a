"""One visit at the kiosk: card and PIN, choice, payment, paper, report (R-048, R-049)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import ValidationError

from bcl_contract import clock
from bcl_contract.delivery_center import DeliveryStatus, HouseholdMember, Scope, challenge_for
from bcl_contract.refusals import Refusal
from bcl_sim.delivery_center import kiosk_messages as messages
from bcl_sim.jpki.card import SoftwareCard
from bcl_sim.kiosk.center_line import CenterLine
from bcl_sim.pki import write_private

REPORT_TRIES = 3
Payment = Callable[[int], int]
"""Takes the fee in yen, gives what was put in (0: the person walked away)."""


@dataclass(frozen=True)
class Terminal:
    """Which machine this is."""

    vendor: str = "demo"
    store: str = "store-1"
    terminal: str = "kiosk-1"


@dataclass(frozen=True)
class Choice:
    """What the resident wants. `members` are places (from 1) in the list the kiosk shows."""

    certificate_kind: str = "RESIDENT_RECORD_COPY"
    scope: Scope = Scope.ALL
    members: tuple[int, ...] = ()
    show: tuple[str, ...] = ()
    tax_year: int | None = None
    copies: int = 1


@dataclass(frozen=True)
class IssuedPaper:
    """A printed certificate and the way it came: six stations, one transaction number."""

    transaction_number: str
    municipality_code: str
    certificate_kind: str
    title: str = field(repr=False)
    pdf_path: Path
    pages: int
    sha256: str
    document_number: str
    data_as_of: datetime
    fee_yen: int
    copies: int
    hops: tuple[messages.Hop, ...]


def pay_exactly(fee_yen: int) -> int:
    """Put in exactly what is asked."""
    return fee_yen


def issue(
    line: CenterLine,
    card: SoftwareCard,
    *,
    pin: str,
    municipality_code: str,
    choice: Choice,
    out: Path,
    pay: Payment = pay_exactly,
    terminal: Terminal | None = None,
    now: Callable[[], datetime] = clock.now,
) -> IssuedPaper | Refusal:
    """Have one certificate made, pay for it and print it into the folder `out`.

    Refuses with a KIOSK_, CENTER_ or USER_AUTH_CERT_ code; then no paper exists and no money is
    kept.
    """
    started_at = now()
    terminal = terminal or Terminal()
    try:
        begin = messages.Begin(municipality_code=municipality_code, **vars(terminal))
    except ValidationError:
        return Refusal("CENTER_MUNICIPALITY_NOT_SERVED")
    begun = line.ask(messages.BEGIN_PATH, begin, messages.Begun)
    if isinstance(begun, Refusal):
        return begun
    visit = _Visit(line, begun.transaction_number, now)
    offer = visit.show_card(card, pin, begun.challenge_nonce)
    if isinstance(offer, Refusal):
        return visit.give_up(offer)
    sealed = visit.choose(offer, choice)
    if isinstance(sealed, Refusal):
        return visit.give_up(sealed)
    path = out / f"{begun.transaction_number}.pdf"
    refusal = visit.pay_and_print(sealed, pay, path, choice.copies)
    if refusal is not None:
        return refusal
    requested = messages.Hop(place="kiosk", act="requested", at=started_at)
    printed = messages.Hop(place="kiosk", act="paid_and_printed", at=now())
    titles = {offered.certificate_kind: offered.title for offered in offer.certificates}
    return IssuedPaper(
        transaction_number=begun.transaction_number,
        municipality_code=municipality_code,
        certificate_kind=choice.certificate_kind,
        title=titles[choice.certificate_kind],
        pdf_path=path,
        pages=sealed.pages,
        sha256=sealed.sha256,
        document_number=sealed.document_number,
        data_as_of=sealed.data_as_of,
        fee_yen=sealed.fee_yen,
        copies=choice.copies,
        hops=(requested, *offer.hops, *sealed.hops, printed),
    )


class _Visit:
    """What one transaction remembers between its steps: nothing outlives the visit."""

    def __init__(
        self, line: CenterLine, transaction_number: str, now: Callable[[], datetime]
    ) -> None:
        self._line = line
        self._number = transaction_number
        self._now = now
        self._proof: tuple[bytes, bytes] = (b"", b"")

    def show_card(self, card: SoftwareCard, pin: str, nonce: bytes) -> messages.Offered | Refusal:
        cert = card.read_cert()
        if isinstance(cert, Refusal):
            return cert
        # The kiosk makes the challenge itself, so that no center can have it sign something else.
        signature = card.sign(challenge_for(self._number, nonce), pin=pin)
        if isinstance(signature, Refusal):
            return signature
        self._proof = (cert, signature)
        return self._line.ask(
            messages.INQUIRE_PATH,
            messages.Inquire(transaction_number=self._number, cert=cert, signature=signature),
            messages.Offered,
        )

    def choose(self, offer: messages.Offered, choice: Choice) -> messages.Sealed | Refusal:
        refs = _member_refs(offer.members, choice)
        if isinstance(refs, Refusal):
            return refs
        cert, signature = self._proof
        try:
            request = messages.Issue(
                transaction_number=self._number,
                cert=cert,
                signature=signature,
                certificate_kind=choice.certificate_kind,
                scope=choice.scope,
                member_refs=refs,
                show=choice.show,
                tax_year=choice.tax_year,
                copies=choice.copies,
            )
        except ValidationError:
            return Refusal("CENTER_OPTION_NOT_OFFERED")
        return self._line.ask(messages.ISSUE_PATH, request, messages.Sealed)

    def pay_and_print(
        self, sealed: messages.Sealed, pay: Payment, path: Path, copies: int
    ) -> Refusal | None:
        """Take the money in, open the certificate, print it and report; None when all is well."""
        paid_yen = pay(sealed.fee_yen)
        if paid_yen != sealed.fee_yen or self._now() >= sealed.pay_until:
            code = "KIOSK_NOT_PAID" if paid_yen == 0 else "CENTER_PAYMENT_DIFFERS"
            return self.give_up(Refusal(code, {"fee_yen": sealed.fee_yen}))
        released = self._line.ask(
            messages.PAY_PATH,
            messages.Pay(transaction_number=self._number, paid_yen=paid_yen),
            messages.Released,
            tries=REPORT_TRIES,
        )
        if isinstance(released, Refusal):
            return self.give_up(released)
        refusal = _print(sealed, released.seal_key, path)
        status = DeliveryStatus.PRINTED if refusal is None else DeliveryStatus.PRINT_FAILED
        self._report(status, copies if refusal is None else 0)
        return refusal

    def give_up(self, refusal: Refusal) -> Refusal:
        """End the visit without paper; what was put in is given back."""
        self._report(DeliveryStatus.ABORTED, 0)
        return refusal

    def _report(self, status: DeliveryStatus, printed_copies: int) -> None:
        # The center may have ended the transaction itself; its journal is the one that counts.
        self._line.ask(
            messages.FINISH_PATH,
            messages.Finish(
                transaction_number=self._number, status=status, printed_copies=printed_copies
            ),
            messages.Finished,
            tries=REPORT_TRIES,
        )


def _member_refs(members: tuple[HouseholdMember, ...], choice: Choice) -> tuple[str, ...] | Refusal:
    if any(not 1 <= place <= len(members) for place in choice.members):
        return Refusal("KIOSK_MEMBER_UNKNOWN")
    return tuple(members[place - 1].member_ref for place in choice.members)


def _print(sealed: messages.Sealed, key: bytes, path: Path) -> Refusal | None:
    """Open the seal, check the digest, and put the paper out."""
    number = sealed.transaction_number.encode("ascii")
    try:
        pdf = AESGCM(key).decrypt(sealed.seal_nonce, sealed.sealed_pdf, number)
    except InvalidTag:
        return Refusal("KIOSK_CERTIFICATE_DAMAGED")
    if hashlib.sha256(pdf).hexdigest() != sealed.sha256:
        return Refusal("KIOSK_CERTIFICATE_DAMAGED")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, pdf)
    except OSError:
        return Refusal("KIOSK_PRINT_FAILED")
    return None
