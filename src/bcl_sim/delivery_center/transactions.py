"""The center's steps of one transaction, from the touch of a card to the paper.

Each step takes the transaction from one state of the journal to the next, so that of two kiosks,
two repetitions or two processes exactly one goes on. The card is checked by the center itself
(chain, revocation by OCSP, challenge) at ``inquire`` and again at ``issue``.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bcl_contract import clock
from bcl_contract.delivery_center import (
    INQUIRE_SECONDS,
    ISSUE_SECONDS,
    ConfirmRequest,
    DeliveryStatus,
    InquireAnswer,
    InquireRequest,
    IssueAnswer,
    IssueRequest,
    KioskIdentity,
    Result,
    Scope,
    UserAuthentication,
    challenge_for,
    new_number,
)
from bcl_contract.jpki import TrustRoots, check_challenge_signature, verify_user_auth
from bcl_contract.ocsp import OcspTransport
from bcl_contract.refusals import Refusal
from bcl_sim.delivery_center import kiosk_messages as kiosk
from bcl_sim.delivery_center.bcl_client import BclClient
from bcl_sim.delivery_center.journal import ENDED, Entry, Journal, State, StateConflict

DRAWS = 3


@dataclass(frozen=True)
class Limits:
    """How long each step may take, in seconds."""

    challenge_seconds: int = 120
    choice_seconds: int = 300
    payment_seconds: int = 180
    printing_seconds: int = 900
    inquire_seconds: float = INQUIRE_SECONDS
    issue_seconds: float = ISSUE_SECONDS


@dataclass(frozen=True)
class Center:
    """The center: its journal, its line to BCL, and how it checks cards."""

    journal: Journal
    bcl: BclClient
    trust_roots: TrustRoots
    ocsp: OcspTransport
    limits: Limits = field(default_factory=Limits)
    now: Callable[[], datetime] = clock.now
    randomness: Callable[[int], bytes] = secrets.token_bytes

    def begin(self, request: kiosk.Begin, *, kiosk_digest: bytes) -> kiosk.Begun | Refusal:
        """Open a transaction under a number drawn at random and kept unique by the journal."""
        if not self.bcl.serves(request.municipality_code):
            return Refusal("CENTER_MUNICIPALITY_NOT_SERVED")
        at = self.now()
        values = {
            **request.model_dump(),
            "kiosk_digest": kiosk_digest,
            "state": State.BEGUN,
            "begun_at": at,
            "changed_at": at,
            "expires_at": at + timedelta(seconds=self.limits.challenge_seconds),
            "challenge_nonce": self.randomness(32),
        }
        for _ in range(DRAWS):
            number = new_number(at, randomness=self.randomness)
            if self.journal.add({**values, "transaction_number": number}) is not None:
                return kiosk.Begun(
                    transaction_number=number,
                    challenge_nonce=values["challenge_nonce"],
                    expires_at=values["expires_at"],
                )
        raise RuntimeError("the source of random numbers repeats itself")

    def inquire(self, request: kiosk.Inquire, *, kiosk_digest: bytes) -> kiosk.Offered | Refusal:
        """Check the card and ask the town what its holder can have."""
        entry = self._entry(request.transaction_number, kiosk_digest)
        if isinstance(entry, Refusal):
            return entry
        if entry.state is not State.BEGUN or entry.challenge_nonce is None:
            return Refusal("USER_AUTH_CERT_CHALLENGE_REPLAYED")
        if self.now() >= entry.expires_at:
            self._end(entry, State.EXPIRED, "USER_AUTH_CERT_CHALLENGE_EXPIRED")
            return Refusal("USER_AUTH_CERT_CHALLENGE_EXPIRED")
        try:
            # From here on the challenge is used up, whatever comes out.
            entry = self._move(entry, State.CHECKING, seconds=self.limits.inquire_seconds + 30)
        except StateConflict:
            return Refusal("USER_AUTH_CERT_CHALLENGE_REPLAYED")
        refusal = self._check_card(request, entry)
        answer = refusal or self._ask_inquire(request, entry)
        if isinstance(answer, Refusal):
            return self._refuse(entry, answer)
        return self._offer(request, entry, answer)

    def _offer(self, request: kiosk.Inquire, entry: Entry, answer: InquireAnswer) -> kiosk.Offered:
        names_left_out = answer.model_dump(mode="json", include={"certificates"})
        offer = {
            "certificates": names_left_out["certificates"],
            "member_refs": [member.member_ref for member in answer.members],
        }
        entry = self._move(
            entry,
            State.OFFERED,
            seconds=self.limits.choice_seconds,
            offer=offer,
            card_digest=_card_digest(request),
        )
        return kiosk.Offered(
            transaction_number=entry.transaction_number,
            certificates=answer.certificates,
            members=answer.members,
            hops=(_hop("center", "card_checked_and_inquired", entry.changed_at),),
        )

    def issue(self, request: kiosk.Issue, *, kiosk_digest: bytes) -> kiosk.Sealed | Refusal:
        """Have the chosen certificate made, and hand it over sealed."""
        entry = self._entry(request.transaction_number, kiosk_digest)
        if isinstance(entry, Refusal):
            return entry
        unit_yen = self._judge_choice(request, entry)
        if isinstance(unit_yen, Refusal):
            return unit_yen
        try:
            entry = self._move(
                entry,
                State.ISSUING,
                seconds=self.limits.issue_seconds + 30,
                certificate_kind=request.certificate_kind,
                copies=request.copies,
                fee_yen=unit_yen * request.copies,
            )
        except StateConflict:
            return Refusal("CENTER_TRANSACTION_STATE")
        # The card again: between touch and choice it may have been revoked.
        answer = self._check_card(request, entry) or self._ask_issue(request, entry)
        if isinstance(answer, Refusal):
            return self._refuse(entry, answer)
        return self._seal(entry, answer)

    def _judge_choice(self, request: kiosk.Issue, entry: Entry) -> int | Refusal:
        """Give the fee of one copy of what is chosen, or say why it can't be had."""
        if entry.state is not State.OFFERED or entry.card_digest is None:
            return Refusal("CENTER_TRANSACTION_STATE")
        if self.now() >= entry.expires_at:
            self._end(entry, State.EXPIRED, "CENTER_DEADLINE_PASSED")
            return Refusal("CENTER_DEADLINE_PASSED")
        if entry.card_digest != _card_digest(request):
            return Refusal("USER_AUTH_CERT_SIGNATURE_WRONG")
        return _fee_of_choice(request, entry)

    def _seal(self, entry: Entry, answer: IssueAnswer) -> kiosk.Sealed | Refusal:
        certificate = answer.certificate
        if certificate is None:
            return self._refuse(entry, Refusal("CENTER_ANSWER_WRONG"))
        if certificate.fee_yen != entry.fee_yen:
            return self._refuse(entry, Refusal("CENTER_FEE_DIFFERS"))
        if not certificate.pdf.startswith(b"%PDF-"):
            return self._refuse(entry, Refusal("CENTER_ANSWER_WRONG"))
        key, nonce = self.randomness(32), self.randomness(12)
        number = entry.transaction_number
        sealed_pdf = AESGCM(key).encrypt(nonce, certificate.pdf, number.encode("ascii"))
        received_at = self.now()
        entry = self._move(
            entry,
            State.HELD,
            seconds=self.limits.payment_seconds,
            seal_key=key,
            pdf_sha256=certificate.sha256,
            document_number=certificate.document_number,
        )
        return kiosk.Sealed(
            transaction_number=number,
            sealed_pdf=sealed_pdf,
            seal_nonce=nonce,
            sha256=certificate.sha256,
            pages=certificate.pages,
            document_number=certificate.document_number,
            data_as_of=certificate.data_as_of,
            fee_yen=certificate.fee_yen,
            pay_until=entry.expires_at,
            hops=(
                _hop("bcl", "issued", answer.sent_at),
                _hop("certificate", "received", received_at),
                _hop("center", "checked_and_sealed", entry.changed_at),
            ),
        )

    def pay(self, request: kiosk.Pay, *, kiosk_digest: bytes) -> kiosk.Released | Refusal:
        """Take note of the payment and give the key; asking again gives the same key."""
        entry = self._entry(request.transaction_number, kiosk_digest)
        if isinstance(entry, Refusal):
            return entry
        if entry.state is State.HELD and self.now() >= entry.expires_at:
            self._end(entry, State.EXPIRED, "CENTER_DEADLINE_PASSED")
            return Refusal("CENTER_DEADLINE_PASSED")
        if entry.state not in {State.HELD, State.PAID} or entry.seal_key is None:
            return Refusal("CENTER_TRANSACTION_STATE")
        if request.paid_yen != entry.fee_yen:
            return Refusal("CENTER_PAYMENT_DIFFERS", {"fee_yen": entry.fee_yen or 0})
        if entry.state is State.HELD:
            try:
                entry = self._move(
                    entry,
                    State.PAID,
                    seconds=self.limits.printing_seconds,
                    paid_yen=request.paid_yen,
                )
            except StateConflict:
                return Refusal("CENTER_TRANSACTION_STATE")
        if entry.seal_key is None:
            raise LookupError("a paid transaction has no key")
        return kiosk.Released(transaction_number=entry.transaction_number, seal_key=entry.seal_key)

    def finish(self, request: kiosk.Finish, *, kiosk_digest: bytes) -> kiosk.Finished | Refusal:
        """Close a transaction as the kiosk reports it, and tell BCL (again later, if need be)."""
        entry = self._entry(request.transaction_number, kiosk_digest)
        if isinstance(entry, Refusal):
            return entry
        end = State(request.status.value)
        copies = request.printed_copies
        if end is State.PRINTED and copies != entry.copies:
            return Refusal("CENTER_TRANSACTION_STATE")
        if entry.state is not end:
            paper = end is State.PRINTED
            refund = 0 if paper else entry.paid_yen
            try:
                entry = self._move(
                    entry,
                    end,
                    printed_copies=copies if paper else 0,
                    refund_yen=refund,
                )
            except (StateConflict, ValueError):
                return Refusal("CENTER_TRANSACTION_STATE")
            self.confirm(entry)
        return kiosk.Finished(
            transaction_number=entry.transaction_number,
            state=entry.state.value,
            refund_yen=entry.refund_yen,
        )

    def confirm(self, entry: Entry) -> bool:
        """Tell BCL how an ended transaction ended; True when BCL has acknowledged it."""
        if not entry.asked_to_issue or entry.confirmed_at is not None:
            return True
        at = self.now()
        request = ConfirmRequest(
            message_id=new_number(at),
            sent_at=at,
            municipality_code=entry.municipality_code,
            transaction_number=entry.transaction_number,
            status=delivery_status(entry.state) or DeliveryStatus.ABORTED,
            printed_copies=entry.printed_copies,
            paid_yen=entry.paid_yen - entry.refund_yen,
            confirmed_at=entry.changed_at,
        )
        answer = self.bcl.confirm(request)
        if isinstance(answer, Refusal) or answer.result in {Result.BUSY, Result.MAINTENANCE}:
            return False
        self.journal.mark_confirmed(entry.transaction_number, at)
        return True

    def tidy(self) -> None:
        """End what is overdue and repeat confirmations BCL has not acknowledged."""
        for entry in self.journal.list_overdue(self.now()):
            # Paid and silent is not the same as given up: only the kiosk knows about the paper.
            paid = entry.state is State.PAID
            self._end(entry, State.UNKNOWN if paid else State.EXPIRED, "CENTER_DEADLINE_PASSED")
        for entry in self.journal.list_unconfirmed():
            self.confirm(entry)

    def _entry(self, number: str, kiosk_digest: bytes) -> Entry | Refusal:
        entry = self.journal.find(number)
        if entry is None:
            return Refusal("CENTER_TRANSACTION_UNKNOWN")
        if entry.kiosk_digest != kiosk_digest:
            return Refusal("CENTER_OTHER_KIOSK")
        return entry

    def _move(self, entry: Entry, end: State, *, seconds: float = 0, **values: Any) -> Entry:
        at = self.now()
        if end not in ENDED:
            values["expires_at"] = at + timedelta(seconds=seconds)
        return self.journal.move(entry.transaction_number, entry.state, end, at=at, **values)

    def _end(self, entry: Entry, end: State, code: str) -> None:
        try:
            self._move(entry, end, refusal_code=code)
        except StateConflict:
            return

    def _refuse(self, entry: Entry, refusal: Refusal) -> Refusal:
        late = refusal.code == "CENTER_DEADLINE_PASSED"
        self._end(entry, State.EXPIRED if late else State.REFUSED, refusal.code)
        return refusal

    def _check_card(self, proof: kiosk.CardProof, entry: Entry) -> Refusal | None:
        verified = verify_user_auth(
            proof.cert, trust_roots=self.trust_roots, at=self.now(), ocsp=self.ocsp
        )
        if isinstance(verified, Refusal):
            return verified
        return check_challenge_signature(
            verified.user_auth_cert,
            challenge=challenge_for(entry.transaction_number, _nonce(entry)),
            signature=proof.signature,
        )

    def _ask_inquire(self, proof: kiosk.CardProof, entry: Entry) -> InquireAnswer | Refusal:
        request = InquireRequest(**self._envelope(proof, entry, self.limits.inquire_seconds))
        answer = self.bcl.inquire(request)
        return answer if isinstance(answer, Refusal) else _refusal_in(answer) or answer

    def _ask_issue(self, request: kiosk.Issue, entry: Entry) -> IssueAnswer | Refusal:
        # On record first: should this process die now, BCL must still hear how it ended.
        self.journal.note(entry.transaction_number, asked_to_issue=True)
        answer = self.bcl.issue(
            IssueRequest(
                **self._envelope(request, entry, self.limits.issue_seconds),
                certificate_kind=request.certificate_kind,
                scope=request.scope,
                member_refs=request.member_refs,
                show=request.show,
                tax_year=request.tax_year,
                copies=request.copies,
            )
        )
        if isinstance(answer, Refusal):
            return answer
        if answer.certificate is not None:
            return answer
        # BCL has said no and knows it: there is no result to report.
        self.journal.note(entry.transaction_number, asked_to_issue=False)
        return _refusal_in(answer) or Refusal("CENTER_ANSWER_WRONG")

    def _envelope(self, proof: kiosk.CardProof, entry: Entry, seconds: float) -> dict[str, Any]:
        at = self.now()
        return {
            "message_id": new_number(at),
            "sent_at": at,
            "municipality_code": entry.municipality_code,
            "transaction_number": entry.transaction_number,
            "center_sequence": entry.center_sequence,
            "kiosk": KioskIdentity(vendor=entry.vendor, store=entry.store, terminal=entry.terminal),
            "user_authentication": UserAuthentication(
                cert=proof.cert, challenge_nonce=_nonce(entry), signature=proof.signature
            ),
            "requested_at": at,
            "deadline_at": at + timedelta(seconds=seconds),
        }


def delivery_status(state: State) -> DeliveryStatus | None:
    """Say a state of the journal in the words of the wire; None while it is undecided."""
    if state in {State.PRINTED, State.PRINT_FAILED}:
        return DeliveryStatus(state.value)
    return DeliveryStatus.ABORTED if state in ENDED else None


def _nonce(entry: Entry) -> bytes:
    if entry.challenge_nonce is None:
        raise LookupError("an open transaction has no challenge")
    return entry.challenge_nonce


def _card_digest(proof: kiosk.CardProof) -> bytes:
    return hashlib.sha256(hashlib.sha256(proof.cert).digest() + proof.signature).digest()


def _hop(place: str, act: str, at: datetime) -> kiosk.Hop:
    return kiosk.Hop(place=place, act=act, at=at)


def _refusal_in(answer: InquireAnswer | IssueAnswer) -> Refusal | None:
    """Turn BCL's no into our own; a code we don't know becomes the general one."""
    if answer.refusal is None:
        return None
    try:
        return Refusal(answer.refusal.code)
    except KeyError:
        return Refusal("CENTER_VISIT_COUNTER")


def _fee_of_choice(request: kiosk.Issue, entry: Entry) -> int | Refusal:
    """Give the fee of one copy, or refuse what was not offered in this transaction."""
    offer = entry.offer or {"certificates": [], "member_refs": []}
    for certificate in offer["certificates"]:
        if certificate["certificate_kind"] == request.certificate_kind:
            break
    else:
        return Refusal("CENTER_KIND_NOT_OFFERED")
    years = certificate["tax_years"]
    offered = (
        request.scope in certificate["scopes"]
        and set(request.show) <= {option["name"] for option in certificate["options"]}
        and set(request.member_refs) <= set(offer["member_refs"])
        and (request.scope is Scope.PART) == bool(request.member_refs)
        and len(set(request.member_refs)) == len(request.member_refs)
        and len(set(request.show)) == len(request.show)
        and request.copies <= certificate["copies_max"]
        and (request.tax_year in years if years else request.tax_year is None)
    )
    if not offered:
        return Refusal("CENTER_OPTION_NOT_OFFERED")
    fee_yen: int = certificate["fee_yen"]
    return fee_yen
