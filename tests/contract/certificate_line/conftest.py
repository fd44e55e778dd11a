"""A small certificate line for contract tests: JPKI, center and kiosk of the product, BCL faked.

`FakeBcl` is the other end of `bcl_contract.delivery_center` as a conforming BCL behaves, with knobs
to misbehave. The suites here hold for it and for any real adapter.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bcl_contract import clock
from bcl_contract import delivery_center as wire
from bcl_contract.clock import JST
from bcl_contract.jpki import TrustRoots, check_challenge_signature, parse_user_auth_cert
from bcl_contract.refusals import Refusal
from bcl_sim.delivery_center import kiosk_messages as messages
from bcl_sim.delivery_center.bcl_client import BclClient
from bcl_sim.delivery_center.journal import Journal
from bcl_sim.delivery_center.transactions import Center
from bcl_sim.jpki.authority import CARD_LIFETIME, Authority, Period
from bcl_sim.jpki.card import SoftwareCard, issue_card
from bcl_sim.jpki.ocsp_responder import OcspResponder
from bcl_sim.pki import WorldPki, make_world_pki

TOWN = "999997"
START = datetime(2026, 11, 22, 10, 0, tzinfo=JST)
PIN = "4649"
KIOSK = b"k" * 32
PDF = b"%PDF-1.4 a certificate of a made-up person\n%%EOF\n"
FEE = 300


class MovingClock:
    """A clock that moves when told to."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


FORMS = {
    wire.INQUIRE_PATH: wire.InquireRequest,
    wire.ISSUE_PATH: wire.IssueRequest,
    wire.CONFIRM_PATH: wire.ConfirmRequest,
    wire.RECONCILE_PATH: wire.ReconcileRequest,
}


@dataclass
class FakeBcl:
    """BCL's certificate door as a WSGI application."""

    world: WorldPki
    clock: Callable[[], datetime]
    fee_yen: int = FEE
    pdf: bytes = PDF
    pdf_names_transaction: bool = False
    inquire_refusal: str | None = None
    issue_refusal: str | None = None
    before_answer: Callable[[str], None] = lambda path: None
    spoil: Callable[[str, bytes], bytes] = lambda path, body: body
    sign_with: object = None
    drop: list[str] = field(default_factory=list)
    seen: list[tuple[str, wire.Message]] = field(default_factory=list)
    message_ids: set[str] = field(default_factory=set)
    requests: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)

    def __call__(self, environ: dict, start_response: Callable) -> list[bytes]:
        path = environ["PATH_INFO"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if path in self.drop:
            self.drop.remove(path)
            raise httpx.ConnectError("dropped")
        signature = environ.get("HTTP_X_BCL_SIGNATURE")
        refusal = wire.verify_message(body, signature, key=self.world.center_signing.public())
        request = wire.parse_message(FORMS[path], body, limit=wire.LISTING_BYTES)
        assert refusal is None and not isinstance(request, Refusal), (refusal, request)
        assert wire.check_time_window(request.sent_at, at=self.clock()) is None
        assert request.message_id not in self.message_ids, "a message number came twice"
        self.message_ids.add(request.message_id)
        self.seen.append((path, request))
        answer = wire.write_message(self._answer(path, request))
        self.before_answer(path)
        answer = self.spoil(path, answer)
        key = self.sign_with or self.world.bcl_signing.private()
        headers = [
            ("Content-Type", "application/json"),
            (wire.SIGNATURE_HEADER, wire.sign_message(answer, key=key)),
        ]
        start_response("200 OK", headers)
        return [answer]

    def _answer(self, path: str, request: wire.Message) -> wire.Answer:
        envelope = {
            "in_reply_to": request.message_id,
            "sent_at": self.clock(),
            "municipality_code": request.municipality_code,
        }
        if path == wire.RECONCILE_PATH:
            return self._reconcile(request, envelope)
        envelope["transaction_number"] = request.transaction_number
        if path == wire.CONFIRM_PATH:
            self.states[request.transaction_number] = request.status.value
            return wire.ConfirmAnswer(**envelope, result=wire.Result.OK, state="DELIVERED")
        self._check_card(request)
        code = self.inquire_refusal if path == wire.INQUIRE_PATH else self.issue_refusal
        form = wire.InquireAnswer if path == wire.INQUIRE_PATH else wire.IssueAnswer
        if code is not None:
            refusal = wire.OutsideRefusal.of(code)
            return form(**envelope, result=wire.result_of(code), refusal=refusal)
        if path == wire.INQUIRE_PATH:
            return form(**envelope, result=wire.Result.OK, **self._offer())
        return form(**envelope, result=wire.Result.OK, certificate=self._certificate(request))

    def _check_card(self, request: wire.TransactionRequest) -> None:
        proof = request.user_authentication
        cert = parse_user_auth_cert(proof.cert)
        challenge = wire.challenge_for(request.transaction_number, proof.challenge_nonce)
        refusal = check_challenge_signature(cert, challenge=challenge, signature=proof.signature)
        assert refusal is None

    def _offer(self) -> dict:
        offer = wire.CertificateOffer(
            certificate_kind="RESIDENT_RECORD_COPY",
            title="住民票の写し",
            scopes=tuple(wire.Scope),
            options=(
                wire.ShowOption(name="head", label="世帯主・続柄"),
                wire.ShowOption(name="domicile", label="本籍・筆頭者"),
            ),
            fee_yen=self.fee_yen,
            copies_max=3,
        )
        members = tuple(
            wire.HouseholdMember(member_ref=f"member-reference-{n}", display_name=f"甲野 {n}")
            for n in (1, 2)
        )
        return {"certificates": (offer,), "members": members}

    def _certificate(self, request: wire.IssueRequest) -> wire.IssuedCertificate:
        digest = wire.request_hash(request)
        known = self.requests.setdefault(request.transaction_number, digest)
        assert known == digest, "a repetition asked for something else"
        self.states[request.transaction_number] = "SENT"
        pdf = self.pdf
        if self.pdf_names_transaction:
            pdf += request.transaction_number.encode("ascii")
        return wire.IssuedCertificate(
            pdf=pdf,
            sha256=hashlib.sha256(pdf).hexdigest(),
            pages=1,
            document_number="D-1",
            data_as_of=self.clock(),
            fee_yen=self.fee_yen * request.copies,
        )

    def _reconcile(self, request: wire.ReconcileRequest, envelope: dict) -> wire.ReconcileAnswer:
        center = {entry.transaction_number: entry.status for entry in request.transactions}
        differences = tuple(
            wire.ReconcileDifference(
                transaction_number=number,
                center_status=center.get(number),
                bcl_state=self.states.get(number),
            )
            for number in sorted({*center, *self.states})
            if (center.get(number) and center[number].value) != self.states.get(number)
        )
        return wire.ReconcileAnswer(**envelope, result=wire.Result.OK, differences=differences)

    def paths(self) -> list[str]:
        return [path for path, _ in self.seen]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> WorldPki:
    return make_world_pki(tmp_path_factory.mktemp("pki"), [TOWN], clock.now())


@pytest.fixture(scope="session")
def shared_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("jpki"))
    authority.initialise(START)
    return authority


@pytest.fixture
def serials() -> Callable[[], int]:
    return _next_serial


def _next_serial(_counter: list[int] = [0x9FAB0000]) -> int:  # noqa: B006
    _counter[0] += 1
    return _counter[0]


@pytest.fixture
def make_card(shared_authority: Authority, tmp_path: Path) -> Callable[..., SoftwareCard]:
    def make(**changes: object) -> SoftwareCard:
        serial_number = changes.pop("serial_number", None) or _next_serial()
        values = {
            "pin": PIN,
            "period": Period(START - timedelta(days=1), START + CARD_LIFETIME),
            "key": ec.generate_private_key(ec.SECP256R1()),
        } | changes
        path = tmp_path / f"{serial_number:X}.card"
        authority = values.pop("authority", shared_authority)
        return issue_card(authority, path, serial_number=serial_number, **values)

    return make


@pytest.fixture
def card(make_card: Callable[..., SoftwareCard]) -> SoftwareCard:
    return make_card()


@pytest.fixture
def moving_clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def responder(shared_authority: Authority, moving_clock: MovingClock) -> OcspResponder:
    return OcspResponder(shared_authority, now=moving_clock)


@pytest.fixture
def roots(shared_authority: Authority) -> TrustRoots:
    return TrustRoots.from_pem(shared_authority.trust_roots_path.read_bytes())


@pytest.fixture
def fake_bcl(world: WorldPki, moving_clock: MovingClock) -> FakeBcl:
    return FakeBcl(world, moving_clock)


@pytest.fixture
def center(
    world: WorldPki,
    fake_bcl: FakeBcl,
    roots: TrustRoots,
    responder: OcspResponder,
    moving_clock: MovingClock,
    tmp_path: Path,
) -> Center:
    client = BclClient(
        routes={TOWN: "https://bcl.test"},
        http=httpx.Client(transport=httpx.WSGITransport(app=fake_bcl)),
        signing_key=world.center_signing.private(),
        verify_key=world.bcl_signing.public(),
        now=moving_clock,
    )
    return Center(
        journal=Journal(tmp_path / "center" / "journal.sqlite"),
        bcl=client,
        trust_roots=roots,
        ocsp=responder.answer,
        now=moving_clock,
    )


@dataclass
class Steps:
    """A kiosk's steps at the center, each with sensible values; changes by keyword."""

    center: Center
    card: SoftwareCard
    kiosk: bytes = KIOSK
    number: str = ""
    proof: dict = field(default_factory=dict)

    def begin(self, town: str = TOWN) -> object:
        request = messages.Begin(municipality_code=town, vendor="v", store="s", terminal="t")
        begun = self.center.begin(request, kiosk_digest=self.kiosk)
        if isinstance(begun, messages.Begun):
            self.number = begun.transaction_number
            challenge = wire.challenge_for(self.number, begun.challenge_nonce)
            self.proof = {
                "transaction_number": self.number,
                "cert": self.card.read_cert(),
                "signature": self.card.sign(challenge, pin=PIN),
            }
        return begun

    def inquire(self, **changes: object) -> object:
        request = messages.Inquire(**self.proof | changes)
        return self.center.inquire(request, kiosk_digest=self.kiosk)

    def issue(self, **changes: object) -> object:
        values = {"certificate_kind": "RESIDENT_RECORD_COPY", "scope": wire.Scope.ALL}
        request = messages.Issue(**self.proof | values | changes)
        return self.center.issue(request, kiosk_digest=self.kiosk)

    def pay(self, paid_yen: int = FEE) -> object:
        request = messages.Pay(transaction_number=self.number, paid_yen=paid_yen)
        return self.center.pay(request, kiosk_digest=self.kiosk)

    def finish(self, status: str = "PRINTED", printed_copies: int | None = None) -> object:
        copies = (1 if status == "PRINTED" else 0) if printed_copies is None else printed_copies
        request = messages.Finish(
            transaction_number=self.number,
            status=wire.DeliveryStatus(status),
            printed_copies=copies,
        )
        return self.center.finish(request, kiosk_digest=self.kiosk)

    def entry(self) -> object:
        return self.center.journal.find(self.number)


@pytest.fixture
def steps(center: Center, card: SoftwareCard) -> Steps:
    return Steps(center, card)


@pytest.fixture
def code_of() -> Callable[[object], str | None]:
    """Give the code of a refusal, None for anything else."""
    return lambda value: value.code if isinstance(value, Refusal) else None
