"""The door: who may speak, which messages count, and answers that show nothing they must not."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from django.test import RequestFactory

from bcl.issuance.wire import views
from bcl_contract.delivery_center import (
    SIGNATURE_HEADER,
    ConfirmAnswer,
    DeliveryStatus,
    InquireAnswer,
    IssueAnswer,
    ReconcileAnswer,
    ReconcileEntry,
    ReconcileRequest,
    Result,
    Scope,
    new_number,
    parse_message,
    sign_message,
    verify_message,
    write_message,
)
from bcl_contract.refusals import Refusal

DOORS = {"inquire": views.inquire, "issue": views.issue, "confirm": views.confirm}
ALL_DOORS = DOORS | {"reconcile": views.reconcile}


@pytest.fixture
def center(world, tmp_path, monkeypatch, authority):
    """The registered delivery center, with its signing key; BCL's own key in a file."""
    from django.conf import settings

    from bcl.municipalities import api as municipalities

    own, bcl = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    path = tmp_path / "bcl.key"
    path.write_bytes(bcl.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files = replace(settings.BCL.issuance, signing_key_file=path)
    monkeypatch.setattr(settings, "BCL", replace(settings.BCL, issuance=files))
    cert = authority.ca_cert()
    municipalities.register_delivery_center("c1", cert.public_bytes(Encoding.PEM), own.public_key())
    return Center(own, bcl.public_key(), cert.public_bytes(Encoding.DER))


class Center:
    def __init__(self, key, bcl_public, cert_der: bytes) -> None:
        self.key, self.bcl_public, self.cert_der = key, bcl_public, cert_der

    def post(self, door: str, body: bytes, *, key=None, cert: bytes | None = b""):
        headers = {SIGNATURE_HEADER: sign_message(body, key=key or self.key)}
        request = RequestFactory().post(
            f"/wire/issuance/{door}", body, content_type="application/json", headers=headers
        )
        request.client_certificate_der = self.cert_der if cert == b"" else cert
        return ALL_DOORS[door](request)

    def ask(self, door: str, message, model):
        response = self.post(door, write_message(message))
        assert response.status_code == 200, response.content
        refusal = verify_message(
            response.content, response.headers[SIGNATURE_HEADER], key=self.bcl_public
        )
        assert refusal is None
        answer = parse_message(model, response.content, limit=1 << 24)
        assert not isinstance(answer, Refusal), answer
        return answer


@pytest.mark.requirement("R-048")
def test_wire__inquire_issue_confirm__is_one_signed_conversation(world, center, text_of):
    card = world.resident("1", full_name="甲野　一")
    world.load(
        (
            "J01",
            "J01-2",
            world.store.rows["J01", "J01-1"][1]
            | {"addressee_number": "2", "entry_order": "2", "full_name": "甲野　二葉"},
        ),
    )
    number = new_number(world.store.applied_at)
    offer = center.ask("inquire", world.inquire_request(card, number=number), InquireAnswer)
    assert offer.result is Result.OK and offer.transaction_number == number
    assert [m.display_name for m in offer.members] == ["甲野　二葉"]
    assert {o.name for o in offer.certificates[0].options} == {"head", "domicile"}
    request = world.issue_request(
        card, number=number, scope=Scope.PART, member_refs=(offer.members[0].member_ref,)
    )
    answer = center.ask("issue", request, IssueAnswer)
    assert answer.result is Result.OK and answer.in_reply_to == request.message_id
    text = text_of(answer.certificate.pdf)
    assert "二葉" in text and answer.certificate.document_number in text
    confirmed = center.ask("confirm", world.confirm_request(number), ConfirmAnswer)
    assert confirmed.state == "DELIVERED"


@pytest.mark.requirement("R-074")
def test_wire__refusals_about_a_person__are_equal_byte_for_byte(world, center):
    """M9: protected, pending, blocked and held differ in nothing that leaves."""
    bodies = set()
    number = new_number(world.store.applied_at)
    for name in ("protected", "pending", "blocked", "held"):
        card = world.resident("1")
        if name == "protected":
            world.load(
                (
                    "J04",
                    "m",
                    {"addressee_number": "1", "latest": "1", "measure_kind": "2", "deleted": "0"},
                )
            )
        if name == "pending":
            world.change("1", change_pending="1")
        if name == "blocked":
            world.load(
                (
                    "J06",
                    "b",
                    {
                        "block_id": "b",
                        "block_scope": "1",
                        "deleted": "0",
                        "addressee_number": "1",
                        "block_starts_at": "2026-01-01T00:00:00+09:00",
                    },
                )
            )
        if name == "held":
            world.store.held.add("500")
        for door, request, model in (
            (
                "inquire",
                world.inquire_request(card, number=new_number(world.store.applied_at)),
                InquireAnswer,
            ),
            ("issue", world.issue_request(card), IssueAnswer),
        ):
            response = center.post(door, write_message(request))
            assert parse_message(model, response.content).result is Result.REFUSED
            same = response.content.replace(request.transaction_number.encode(), number.encode())
            same = same.replace(request.message_id.encode(), number.encode())
            bodies.add((door, same))
        world.load(*((f, k, None) for f, k in list(world.store.rows)))
        world.store.held.clear()
    assert len(bodies) == 2


@pytest.mark.parametrize("door", DOORS)
def test_wire__strangers_and_bad_messages__get_nowhere(world, center, door):
    card = world.resident("1")
    message = {
        "inquire": world.inquire_request(card),
        "issue": world.issue_request(card),
        "confirm": world.confirm_request(new_number(world.store.applied_at)),
    }[door]
    body = write_message(message)

    def code(response) -> tuple[int, str]:
        return response.status_code, json.loads(response.content)["code"]

    assert code(center.post(door, body, cert=None)) == (403, "CENTER_NOT_REGISTERED")
    assert code(center.post(door, body, cert=b"other")) == (403, "CENTER_NOT_REGISTERED")
    other = Ed25519PrivateKey.generate()
    assert code(center.post(door, body, key=other)) == (401, "CENTER_SIGNATURE_WRONG")
    assert code(center.post(door, b"{"))[1] == "CENTER_MESSAGE_NOT_JSON"
    assert code(center.post(door, body[:-1] + b',"x":1}'))[1] == "CENTER_MESSAGE_WRONG_FORM"
    late = re.sub(rb'"sent_at":"[^"]*"', b'"sent_at":"2026-11-22T11:58:00+09:00"', body)
    assert code(center.post(door, late))[1] == "CENTER_MESSAGE_NOT_NOW"
    elsewhere = body.replace(b'"999997"', b'"999989"')
    assert code(center.post(door, elsewhere))[1] == "CENTER_MUNICIPALITY_NOT_SERVED"
    assert center.post(door, body).status_code == 200
    assert code(center.post(door, body)) == (409, "CENTER_MESSAGE_REPLAYED")


def test_wire__a_fault_inside__is_the_general_no(world, center, monkeypatch):
    card = world.resident("1")

    def broken(**_):
        raise RuntimeError("甲野　太郎")

    monkeypatch.setattr(views.api, "issue_certificate", broken)
    answer = center.ask("issue", world.issue_request(card), IssueAnswer)
    assert answer.refusal.code == "CENTER_VISIT_COUNTER"


def test_wire__get__is_not_allowed():
    assert views.issue(RequestFactory().get("/wire/issuance/issue")).status_code == 405


def test_wire__paths__are_those_of_the_contract():
    from django.urls import reverse

    from bcl_contract import delivery_center as contract

    assert reverse("issuance_inquire") == contract.INQUIRE_PATH
    assert reverse("issuance_issue") == contract.ISSUE_PATH
    assert reverse("issuance_confirm") == contract.CONFIRM_PATH
    assert reverse("issuance_reconcile") == contract.RECONCILE_PATH


@pytest.mark.requirement("R-055")
def test_wire__reconcile__lists_exactly_what_differs(world, center):
    card = world.resident("1")
    numbers = [new_number(world.store.applied_at) for _ in range(3)]
    for number in numbers:
        center.ask("issue", world.issue_request(card, number=number), IssueAnswer)
    center.ask("confirm", world.confirm_request(numbers[0]), ConfirmAnswer)
    refused = new_number(world.store.applied_at)
    center.ask("issue", world.issue_request(card, number=refused, copies=9), IssueAnswer)
    stranger = new_number(world.store.applied_at)

    def entry(number, status, copies=0, paid=0):
        return ReconcileEntry(
            transaction_number=number, status=status, printed_copies=copies, paid_yen=paid
        )

    entries = (
        entry(numbers[0], DeliveryStatus.PRINTED, 1, 300),
        entry(numbers[1], DeliveryStatus.PRINTED, 1, 300),
        entry(refused, None),
        entry(stranger, DeliveryStatus.ABORTED),
    )
    base = world.confirm_request(numbers[0])
    request = ReconcileRequest(
        message_id=new_number(base.sent_at),
        sent_at=base.sent_at,
        municipality_code=world.code,
        day=base.sent_at.date(),
        transactions=entries,
    )
    answer = center.ask("reconcile", request, ReconcileAnswer)
    found = {d.transaction_number: (d.center_status, d.bcl_state) for d in answer.differences}
    assert found == {
        numbers[1]: (DeliveryStatus.PRINTED, "SENT"),
        numbers[2]: (None, "SENT"),
        stranger: (DeliveryStatus.ABORTED, None),
    }
