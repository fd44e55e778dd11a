"""Issuing one certificate: the right paper, or none, each reason with its own inner code."""

from __future__ import annotations

import secrets
import subprocess
from datetime import date, datetime, timedelta

import pytest

from bcl.foundation import audit_looks, tenancy
from bcl.foundation.audit import SYSTEM, Actor
from bcl.foundation.models import AuditEntry
from bcl.issuance import api
from bcl.issuance.models import IssuanceTransaction
from bcl_contract.clock import JST, Clock, use
from bcl_contract.delivery_center import DeliveryStatus, Scope, new_number
from bcl_contract.refusals import Refusal

NOW_DAY = date(2026, 11, 22)
CENTER = Actor("center", "c1")


@pytest.mark.requirement("R-048")
@pytest.mark.requirement("R-045")
def test_issue__for_a_family__names_exactly_its_members(world, text_of):
    card = world.resident("1", full_name="甲野　太郎")
    world.load(
        (
            "J01",
            "J01-2",
            {
                **world.store.rows["J01", "J01-1"][1],
                "addressee_number": "2",
                "entry_order": "2",
                "full_name": "甲野　葛\U000e0102花",
            },
        ),
    )
    world.resident("9", household="900", full_name="乙川　他人")
    number = new_number(world.store.applied_at)
    issued = world.issue(card, number=number)
    assert isinstance(issued, api.Issued), issued
    text = text_of(issued.pdf)
    assert "甲野　太郎" in text.replace(" ", "　") and "葛\U000e0102花" in text
    assert "乙川" not in text and issued.issue_number in text
    assert "見本市長" in text and "令和8年11月22日" in text
    row = world.transaction(number)
    assert (row.state, row.pdf_sha256, row.page_count) == ("SENT", issued.sha256, 1)
    assert row.record_load == 2 and row.layout_version == "resident_record_copy-household-1"
    with tenancy.scope(world.code):
        acts = list(AuditEntry.objects.order_by("pk").values_list("act", flat=True))
    # The last row is the other member's own: the paper names that person too.
    assert acts[-4:] == [
        "request_certificate", "approve_issue", "issue_certificate", "show_resident",
    ]  # fmt: skip
    day = {"since": datetime(2026, 11, 1, tzinfo=JST), "until": datetime(2026, 12, 1, tzinfo=JST)}
    for member, printed in (("1", 1), ("2", 1), ("9", 0)):
        seen = audit_looks.who_saw(world.code, member, **day)
        assert sum(look.act.act == "issue_certificate" for look in seen) == printed


@pytest.mark.requirement("R-080")
def test_issue__afterwards__no_pdf_and_no_name_in_the_database(world, superuser_connection):
    card = world.resident("1", full_name="甲野　秘密")
    assert isinstance(world.issue(card), api.Issued)
    with tenancy.scope(world.code):
        for row in IssuanceTransaction.objects.values():
            text = repr(row)
            assert "%PDF" not in text and "秘密" not in text


REFUSED = {
    "dead": (lambda w: w.change("1", resident_state="3"), "ISSUE_PERSON_DEAD"),
    "moved_out": (lambda w: w.change("1", resident_state="2"), "ISSUE_PERSON_MOVED_OUT"),
    "removed": (lambda w: w.change("1", resident_state="9"), "ISSUE_PERSON_REMOVED"),
    "pending": (lambda w: w.change("1", change_pending="1"), "ISSUE_CHANGE_PENDING"),
    "moving_out_today": (
        lambda w: w.change("1", moving_out_planned_on=NOW_DAY.isoformat()),
        "ISSUE_MOVING_OUT_DATE_PASSED",
    ),
    "moved_out_confirmed": (
        lambda w: w.change("1", moving_out_confirmed_on="2026-11-01"),
        "ISSUE_MOVING_OUT_DATE_PASSED",
    ),
    "under_age": (lambda w: w.change("1", born_on="2011-11-23"), "ISSUE_UNDER_AGE"),
    "protected": (
        lambda w: w.load(
            (
                "J04",
                "m1",
                {
                    "addressee_number": "1",
                    "latest": "1",
                    "measure_kind": "2",
                    "deleted": "0",
                    "measure_ended_on": "2020-01-01",
                },
            )
        ),
        "ISSUE_PROTECTIVE_MEASURE",
    ),
    "held": (lambda w: w.store.held.add("500"), "ISSUE_HOUSEHOLD_HELD"),
    "town_block": (
        lambda w: w.load(
            (
                "J06",
                "b1",
                {
                    "block_id": "b1",
                    "block_scope": "1",
                    "addressee_number": "1",
                    "deleted": "0",
                    "block_starts_at": "2026-01-01T00:00:00+09:00",
                },
            )
        ),
        "ISSUE_BLOCKED_BY_TOWN",
    ),
    "town_block_household": (
        lambda w: w.load(
            (
                "J06",
                "b2",
                {
                    "block_id": "b2",
                    "block_scope": "2",
                    "household_number": "500",
                    "deleted": "0",
                    "block_starts_at": "2026-01-01T00:00:00+09:00",
                },
            )
        ),
        "ISSUE_BLOCKED_BY_TOWN",
    ),
    "revoked_link": (lambda w: _relink(w, link_status="2"), "ISSUE_CARD_LINK_REVOKED"),
    "suspended_link": (lambda w: _relink(w, link_status="3"), "ISSUE_CARD_LINK_REVOKED"),
    "expired_link": (lambda w: _relink(w, expires_on="2026-11-21"), "ISSUE_CARD_LINK_EXPIRED"),
    "ambiguous_link": (
        lambda w: w.load(("J05", "other", w.link("2", w.cards["1"]))),
        "ISSUE_CARD_LINK_AMBIGUOUS",
    ),
    "gap": (lambda w: setattr(w.store, "gaps", (("main", 3),)), "ISSUE_DATA_NOT_CURRENT"),
    "lag": (lambda w: w.load(("J01", "x", None), refresh=False), "ISSUE_DATA_NOT_CURRENT"),
    "glyph": (lambda w: w.change("1", full_name="甲野　\U0010de92"), "ISSUE_GLYPH_MISSING"),
    "other_ivs": (lambda w: w.change("1", full_name="葛\U000e0100城"), "ISSUE_GLYPH_MISSING"),
    "overflow": (
        lambda w: w.change("1", resident_record_remarks="長" * 500),
        "ISSUE_LAYOUT_OVERFLOW",
    ),
    "unknown_code": (
        lambda w: w.change("1", resident_kind="2", became_foreign_resident_on=""),
        "ISSUE_RECORD_INCOMPLETE",
    ),
}


def _relink(world, **columns):
    card = world.cards["1"]
    world.load(("J05", f"J05-{card.serial}", world.link("1", card, **columns)))


@pytest.mark.requirement("R-075")
@pytest.mark.requirement("R-047")
@pytest.mark.requirement("R-073")
@pytest.mark.requirement("R-074")
@pytest.mark.requirement("R-077")
@pytest.mark.parametrize("case", REFUSED)
def test_issue__refused__has_its_own_inner_code_and_no_paper(world, case):
    card = world.resident("1")
    arrange, code = REFUSED[case]
    arrange(world)
    number = new_number(world.store.applied_at)
    answer = world.issue(card, number=number)
    assert isinstance(answer, Refusal)
    row = world.transaction(number)
    assert world.inner_code(number) == code
    assert row.state in ("REFUSED", "FAILED") and row.pdf_sha256 == ""
    assert row.refusal_code == answer.code and not answer.code.startswith("ISSUE_")
    assert dict(answer.detail) == {}


@pytest.mark.requirement("R-074")
def test_issue__protected_pending_blocked__look_the_same_from_outside(world):
    answers = set()
    reasons = set()
    for name in ("protected", "pending", "town_block", "held"):
        REFUSED_WORLD = REFUSED[name][0]
        card = world.resident("1")
        REFUSED_WORLD(world)
        number = new_number(world.store.applied_at)
        answer = world.issue(card, number=number)
        answers.add((answer.code, tuple(answer.detail), answer.text.text_ja))
        reasons.add(len(bytes(world.transaction(number).reason)))
        world.load(*((f, k, None) for f, k in list(world.store.rows)))
        world.store.held.clear()
    assert len(answers) == 1 and len(reasons) == 1


@pytest.mark.requirement("R-074")
@pytest.mark.parametrize("state", ["1", "2"])
def test_issue__measure_on_another_member__stops_the_whole_household(world, state):
    card = world.resident("1")
    world.load(
        (
            "J01",
            "J01-2",
            {
                **world.store.rows["J01", "J01-1"][1],
                "addressee_number": "2",
                "entry_order": "2",
                "resident_state": state,
            },
        ),
        (
            "J04",
            "m1",
            {"addressee_number": "2", "latest": "1", "measure_kind": "1", "deleted": "0"},
        ),
    )
    number = new_number(world.store.applied_at)
    world.issue(card, number=number, scope=Scope.SELF)
    assert world.inner_code(number) == "ISSUE_PROTECTIVE_MEASURE"


@pytest.mark.requirement("R-074")
def test_issue__measure_ended_by_an_event__is_issued_again(world):
    card = world.resident("1")
    measure = {"addressee_number": "1", "latest": "1", "measure_kind": "2", "deleted": "0"}
    world.load(("J04", "m1", measure))
    assert isinstance(world.issue(card), Refusal)
    world.load(("J04", "m1", {**measure, "measure_kind": "3"}))
    assert isinstance(world.issue(card), api.Issued)


@pytest.mark.requirement("R-054")
def test_staff_block__survives_a_full_reload_and_is_lifted_by_staff_only(world):
    card = world.resident("1")
    at = world.store.applied_at
    block = api.place_block(
        municipality_code=world.code,
        scope=api.BlockScope.PERSON,
        addressee_number="1",
        reason="own_request",
        starts_at=at,
        by=SYSTEM,
        at=at,
    )
    api.rebuild_issuable_records(world.code)
    number = new_number(at)
    assert isinstance(world.issue(card, number=number), Refusal)
    assert world.inner_code(number) == "ISSUE_BLOCKED_BY_STAFF"
    assert api.lift_block(municipality_code=world.code, block_id=block, by=SYSTEM, at=at)
    assert isinstance(world.issue(card), api.Issued)


@pytest.mark.requirement("R-043")
@pytest.mark.parametrize("kind", ["FAMILY_REGISTER", "TAX_PAYMENT", "SEAL_REGISTRATION"])
def test_issue__kind_that_is_not_offered__is_refused(world, set_town, kind):
    card = world.resident("1")
    set_town(kinds=["RESIDENT_RECORD_COPY", "TAX"])
    year = 2026 if kind == "TAX_PAYMENT" else None
    answer = world.issue(card, certificate_kind=kind, scope=Scope.SELF, show=(), tax_year=year)
    assert answer.code == "CENTER_KIND_NOT_OFFERED"


@pytest.mark.requirement("R-065")
@pytest.mark.parametrize("word", ["individual_number", "resident_record_code", "shoe_size"])
def test_issue__numbers_and_unknown_items__are_refused(world, word):
    card = world.resident("1")
    assert world.issue(card, show=(word,)).code == "CENTER_OPTION_NOT_OFFERED"


def test_issue__outside_hours_and_suspended__is_refused(world):
    from bcl.availability import api as availability

    card = world.resident("1")
    late = world.store.applied_at.replace(hour=23, minute=0)
    with use(Clock(fixed=late)):
        number = new_number(late)
        answer = world.issue(card, number=number, deadline_at=late + timedelta(seconds=20))
        assert answer.code == "CENTER_OUTSIDE_HOURS"
        assert world.inner_code(number) == "ISSUE_OUTSIDE_HOURS"
    availability.suspend(world.code, "ISSUANCE", "TEST", by=SYSTEM, at=world.store.applied_at)
    with use(Clock(fixed=late.replace(hour=22))):
        number = new_number(late)
        answer = world.issue(card, number=number, deadline_at=late)
        assert answer.code == "CENTER_UNDER_MAINTENANCE"
        assert world.inner_code(number) == "ISSUE_SUSPENDED"


@pytest.mark.requirement("R-046")
def test_issue__revoked_card__is_refused_by_its_code(world):
    from bcl_sim.jpki.authority import State

    card = world.resident("1")
    world.authority.set_state(card.serial, State.REVOKED, world.store.applied_at)
    assert world.issue(card).code == "USER_AUTH_CERT_REVOKED"


@pytest.mark.requirement("R-046")
def test_issue__expired_signature_purpose_foreign_and_replayed__are_refused(world, tmp_path):
    from bcl_sim.jpki.authority import Authority, Purpose

    now = world.store.applied_at
    card = world.resident("1")
    make = type(card)
    expired = _new_card(world, ends_at=now - timedelta(days=1))
    assert world.issue(expired).code == "USER_AUTH_CERT_EXPIRED"
    signing = _new_card(world, purpose=Purpose.SIGNATURE)
    assert world.issue(signing).code == "USER_AUTH_CERT_SIGNATURE_PURPOSE"
    stranger = Authority(tmp_path / "other")
    stranger.initialise(now - timedelta(days=10))
    foreign = _new_card(world, authority=stranger)
    assert world.issue(foreign).code in (
        "USER_AUTH_CERT_FOREIGN_ISSUER",
        "USER_AUTH_CERT_PATH_INVALID",
    )
    unlinked = _new_card(world)
    assert world.issue(unlinked).code == "CENTER_CARD_NOT_LINKED"
    replayed = card.authentication(new_number(now))
    assert world.issue(card, user_authentication=replayed).code == "USER_AUTH_CERT_SIGNATURE_WRONG"
    assert make is type(expired)


def _new_card(world, authority=None, **options):
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    from bcl_sim.jpki.authority import Period, Purpose

    now = world.store.applied_at
    key = ec.generate_private_key(ec.SECP256R1())
    serial = secrets.randbits(80) | 1 << 90
    period = Period(now - timedelta(days=100), options.get("ends_at", now + timedelta(days=900)))
    cert = (authority or world.authority).issue_cert(
        serial, key.public_key(), period, purpose=options.get("purpose", Purpose.USER_AUTH)
    )
    card = next(iter(world.cards.values()))
    return type(card)(key, cert.public_bytes(Encoding.DER), serial)


@pytest.mark.requirement("R-046")
def test_issue__ocsp_down__is_refused_never_passed(world, monkeypatch):
    from bcl.issuance.adapters import jpki

    def down(_request: bytes) -> bytes:
        raise ConnectionRefusedError

    card = world.resident("1")
    monkeypatch.setattr(jpki, "HttpOcsp", lambda url: down)
    assert world.issue(card).code == "USER_AUTH_CERT_OCSP_UNREACHABLE"


@pytest.mark.requirement("R-070")
def test_issue__deadline_passes_while_drawing__is_thrown_away(world, monkeypatch):
    from bcl.issuance.actions import issue as issuing

    request = world.issue_request(world.resident("1"))
    real = issuing.make_paper
    clocks = []

    def slow(*args, **kwargs):
        clocks.append(use(Clock(fixed=world.store.applied_at + timedelta(hours=2))))
        clocks[-1].__enter__()
        return real(*args, **kwargs)

    monkeypatch.setattr(issuing, "make_paper", slow)
    try:
        answer = api.issue_certificate(request=request, by=CENTER, at=request.sent_at)
    finally:
        clocks[-1].__exit__(None, None, None)
    assert answer.code == "CENTER_DEADLINE_PASSED"
    row = world.transaction(request.transaction_number)
    assert (row.state, row.pdf_sha256) == ("EXPIRED", "")
    again = api.issue_certificate(request=request, by=CENTER, at=request.sent_at)
    assert again.code == "CENTER_DEADLINE_PASSED"


@pytest.mark.requirement("R-080")
def test_issue__same_request_again__gives_the_same_bytes(world):
    card = world.resident("1")
    request = world.issue_request(card)
    first = api.issue_certificate(request=request, by=CENTER, at=request.sent_at)
    again = api.issue_certificate(
        request=request.model_copy(update={"message_id": new_number(request.sent_at)}),
        by=CENTER,
        at=request.sent_at,
    )
    assert isinstance(first, api.Issued) and again == first and again.pdf == first.pdf


@pytest.mark.requirement("R-054")
@pytest.mark.parametrize("what", ["changed", "blocked", "late"])
def test_issue__same_request_again_after_a_change__is_refused(world, what):
    card = world.resident("1")
    request = world.issue_request(card)
    assert isinstance(
        api.issue_certificate(request=request, by=CENTER, at=request.sent_at), api.Issued
    )
    at = request.sent_at
    if what == "changed":
        world.change("1", address_town="別の町")
    if what == "blocked":
        api.place_block(
            municipality_code=world.code,
            scope=api.BlockScope.MUNICIPALITY,
            reason="test",
            starts_at=at,
            by=SYSTEM,
            at=at,
        )
    with use(Clock(fixed=at + timedelta(seconds=21 if what == "late" else 1))):
        answer = api.issue_certificate(request=request, by=CENTER, at=at)
    code = "CENTER_DEADLINE_PASSED" if what == "late" else "CENTER_VISIT_COUNTER"
    assert isinstance(answer, Refusal) and answer.code == code
    assert world.transaction(request.transaction_number).state == "SENT"


def test_issue__same_number_other_request__is_a_conflict(world):
    card = world.resident("1")
    request = world.issue_request(card)
    api.issue_certificate(request=request, by=CENTER, at=request.sent_at)
    other = request.model_copy(update={"show": ()})
    answer = api.issue_certificate(request=other, by=CENTER, at=request.sent_at)
    assert answer.code == "CENTER_TRANSACTION_CONFLICT"


@pytest.mark.requirement("R-054")
def test_issue__block_or_card_swap_while_drawing__nothing_leaves(world, monkeypatch):
    from bcl.issuance.actions import issue as issuing

    card = world.resident("1")
    number = new_number(world.store.applied_at)
    real = issuing.make_paper

    def meanwhile(*args, **kwargs):
        world.load(("J05", f"J05-{card.serial}", world.link("2", card)))
        return real(*args, **kwargs)

    monkeypatch.setattr(issuing, "make_paper", meanwhile)
    assert isinstance(world.issue(card, number=number), Refusal)
    assert world.transaction(number).state == "REFUSED"
    assert world.transaction(number).pdf_sha256 == ""


def test_issue__a_fault_inside__is_failed_and_says_nothing(world, monkeypatch):
    from bcl.issuance.actions import issue as issuing

    def broken(*args, **kwargs):
        raise ValueError("甲野　太郎")

    card = world.resident("1")
    number = new_number(world.store.applied_at)
    monkeypatch.setattr(issuing, "make_paper", broken)
    assert world.issue(card, number=number).code == "CENTER_VISIT_COUNTER"
    assert world.transaction(number).state == "FAILED"
    assert world.inner_code(number) == "ISSUE_FAILED"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (DeliveryStatus.PRINTED, "DELIVERED"),
        (DeliveryStatus.ABORTED, "ABORTED"),
        (DeliveryStatus.PRINT_FAILED, "FAILED"),
    ],
)
def test_confirm__once_and_again__is_one_state(world, status, state):
    card = world.resident("1")
    request = world.issue_request(card)
    api.issue_certificate(request=request, by=CENTER, at=request.sent_at)
    confirm = world.confirm_request(request.transaction_number, status)
    assert api.confirm_delivery(request=confirm, by=CENTER, at=request.sent_at) == state
    assert api.confirm_delivery(request=confirm, by=CENTER, at=request.sent_at) == state
    other = world.confirm_request(
        request.transaction_number,
        DeliveryStatus.ABORTED if status is DeliveryStatus.PRINTED else DeliveryStatus.PRINTED,
    )
    answer = api.confirm_delivery(request=other, by=CENTER, at=request.sent_at)
    assert isinstance(answer, Refusal) and answer.code == "CENTER_TRANSACTION_STATE"


def test_confirm__unknown_or_too_many_copies__is_refused(world):
    card = world.resident("1")
    confirm = world.confirm_request(new_number(world.store.applied_at))
    answer = api.confirm_delivery(request=confirm, by=CENTER, at=confirm.sent_at)
    assert answer.code == "CENTER_TRANSACTION_UNKNOWN"
    request = world.issue_request(card)
    api.issue_certificate(request=request, by=CENTER, at=request.sent_at)
    many = world.confirm_request(request.transaction_number, copies=2)
    assert isinstance(api.confirm_delivery(request=many, by=CENTER, at=many.sent_at), Refusal)


def test_inquire_then_part__prints_the_chosen_ones_only(world, text_of):
    card = world.resident("1", full_name="甲野　一")
    first = world.store.rows["J01", "J01-1"][1]
    world.load(
        *(
            (
                "J01",
                f"J01-{n}",
                {**first, "addressee_number": str(n), "entry_order": str(n), "full_name": name},
            )
            for n, name in ((2, "甲野　二葉"), (3, "甲野　三葉"))
        )
    )
    number = new_number(world.store.applied_at)
    offered = api.inquire(
        request=world.inquire_request(card, number=number), by=CENTER, at=world.store.applied_at
    )
    assert isinstance(offered, api.Offered)
    assert [name for _, name in offered.members] == ["甲野　二葉", "甲野　三葉"]
    reference = offered.members[1][0]
    issued = world.issue(card, number=number, scope=Scope.PART, member_refs=(reference,))
    assert isinstance(issued, api.Issued)
    text = text_of(issued.pdf)
    assert "三葉" in text and "二葉" not in text and "世帯の一部" in text
    other = world.issue(card, scope=Scope.PART, member_refs=(reference,))
    assert other.code == "CENTER_OPTION_NOT_OFFERED"


@pytest.mark.requirement("R-079")
def test_issue__twelve_members__three_numbered_pages_one_issue_number(world, text_of):
    card = world.resident("1")
    first = world.store.rows["J01", "J01-1"][1]
    world.load(
        *(
            (
                "J01",
                f"J01-{n}",
                {
                    **first,
                    "addressee_number": str(n),
                    "entry_order": str(n),
                    "full_name": f"甲野　子{n}",
                },
            )
            for n in range(2, 13)
        )
    )
    issued = world.issue(card)
    text = text_of(issued.pdf)
    assert issued.pages == 3 and issued.fee_yen == 300
    assert all(f"{n}/3" in text for n in (1, 2, 3)) and text.count(issued.issue_number) == 3


def test_close_overdue__a_request_nobody_ends__is_expired(world):
    card = world.resident("1")
    request = world.issue_request(card)
    from bcl.issuance.actions import issue as issuing

    issuing._open_transaction(request, CENTER, request.sent_at)
    again = api.issue_certificate(request=request, by=CENTER, at=request.sent_at)
    assert again.code == "CENTER_BUSY"
    assert api.close_overdue(world.code, at=request.deadline_at) == 1
    assert world.transaction(request.transaction_number).state == "EXPIRED"


def test_pdf__is_archivable_and_sound(world, tmp_path):
    card = world.resident("1", full_name="葛\U000e0102城　辻\U000e0102\U00020bb7")
    issued = world.issue(card)
    path = tmp_path / "c.pdf"
    path.write_bytes(issued.pdf)
    check = subprocess.run(["qpdf", "--check", path], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout
    fonts = subprocess.run(["pdffonts", path], capture_output=True, text=True).stdout
    line = fonts.splitlines()[2:]
    assert len(line) == 1 and "CID TrueType" in line[0] and "yes yes yes" in line[0]
    assert b"pdfaid:part>1<" in issued.pdf and b"pdfaid:conformance>B<" in issued.pdf


@pytest.mark.requirement("R-069")
@pytest.mark.parametrize("stage", ["compose", "render"])
def test_issue__another_person_s_paper_inside__nothing_leaves_and_the_town_stops(
    world, other_town, monkeypatch, stage
):
    """M7: a swap inside is caught, the bytes are dropped, this town stops, the other does not."""
    from bcl.availability import api as availability
    from bcl.issuance.actions import make_paper as making

    card = world.resident("1", full_name="甲野　一")
    other = world.resident("2", household="600", full_name="乙川　二")
    papers = []
    real = getattr(making, stage)

    def swapped(*args, **kwargs):
        papers.append(real(*args, **kwargs))
        return papers[0]

    monkeypatch.setattr(making, stage, swapped)
    assert isinstance(world.issue(other), api.Issued)
    request = world.issue_request(card)
    answer = api.issue_certificate(request=request, by=CENTER, at=request.sent_at)
    assert isinstance(answer, Refusal) and answer.code == "CENTER_VISIT_COUNTER"
    row = world.transaction(request.transaction_number)
    assert (row.state, row.pdf_sha256) == ("FAILED", "")
    assert world.inner_code(request.transaction_number) == "ISSUE_DOCUMENT_CHECK_FAILED"
    assert availability.list_suspensions(world.code) == ["MISISSUE_PREVENTED"]
    assert availability.list_suspensions(other_town) == []
    monkeypatch.undo()


def test_forget_old_messages__keeps_the_young_ones(world):
    from bcl.issuance.models import SeenMessage

    at = world.store.applied_at
    with tenancy.scope(world.code):
        for minutes in (5, 15):
            SeenMessage.objects.create(
                municipality_code=world.code,
                message_id=new_number(at),
                seen_at=at - timedelta(minutes=minutes),
            )
    assert api.forget_old_messages(world.code, at=at) == 1
