"""The center's transaction from begin to finish: order, binding, money, deadlines."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bcl_contract import delivery_center as wire
from bcl_sim.delivery_center.journal import ENDED, Journal, State
from bcl_sim.delivery_center.reconciliation import reconcile_day
from bcl_sim.jpki.authority import State as CertState

FEE = 300


@pytest.mark.requirement("R-048")
@pytest.mark.requirement("R-049")
def test_transaction__all_steps__paper_is_paid_and_confirmed(steps, fake_bcl):
    steps.begin()
    offered = steps.inquire()
    assert [offer.certificate_kind for offer in offered.certificates] == ["RESIDENT_RECORD_COPY"]
    sealed = steps.issue(show=("head",))
    released = steps.pay()
    pdf = AESGCM(released.seal_key).decrypt(
        sealed.seal_nonce, sealed.sealed_pdf, steps.number.encode()
    )
    assert pdf == fake_bcl.pdf
    assert steps.finish().state == "PRINTED"
    assert steps.entry().confirmed_at is not None
    numbers = {request.transaction_number for _, request in fake_bcl.seen}
    assert numbers == {steps.number}
    assert fake_bcl.paths() == [wire.INQUIRE_PATH, wire.ISSUE_PATH, wire.CONFIRM_PATH]
    confirm = fake_bcl.seen[-1][1]
    assert (confirm.status, confirm.printed_copies, confirm.paid_yen) == ("PRINTED", 1, FEE)


@pytest.mark.requirement("R-049")
def test_pay__before_the_certificate_or_with_another_amount__gives_no_key(steps, code_of):
    steps.begin()
    assert code_of(steps.pay()) == "CENTER_TRANSACTION_STATE"
    steps.inquire()
    assert code_of(steps.pay()) == "CENTER_TRANSACTION_STATE"
    steps.issue()
    for amount in (0, FEE - 1, FEE + 1, FEE * 2):
        assert code_of(steps.pay(amount)) == "CENTER_PAYMENT_DIFFERS"
    assert steps.entry().paid_yen == 0
    first, again = steps.pay(), steps.pay()
    assert first.seal_key == again.seal_key
    assert steps.entry().paid_yen == FEE


@pytest.mark.requirement("R-049")
def test_finish__printed_without_payment__is_refused(steps, code_of):
    steps.begin()
    steps.inquire()
    steps.issue()
    assert code_of(steps.finish("PRINTED")) == "CENTER_TRANSACTION_STATE"
    assert steps.finish("ABORTED").refund_yen == 0


@pytest.mark.requirement("R-083")
def test_finish__paper_jam_after_payment__gives_the_money_back(steps, fake_bcl, center):
    steps.begin(), steps.inquire(), steps.issue(), steps.pay()
    assert steps.finish("PRINT_FAILED").refund_yen == FEE
    assert steps.finish("PRINT_FAILED").refund_yen == FEE, "saying it twice changes nothing"
    confirm = fake_bcl.seen[-1][1]
    assert (confirm.status, confirm.printed_copies, confirm.paid_yen) == ("PRINT_FAILED", 0, 0)
    money = center.journal.money()
    assert money["paid_yen"] == money["printed_yen"] + money["refund_yen"]


@pytest.mark.requirement("R-083")
def test_finish__twice_with_another_result__keeps_the_first(steps, code_of):
    steps.begin(), steps.inquire(), steps.issue(), steps.pay(), steps.finish("PRINTED")
    assert code_of(steps.finish("PRINT_FAILED")) == "CENTER_TRANSACTION_STATE"
    assert steps.entry().state is State.PRINTED


def test_finish__other_number_of_copies__is_refused(steps, code_of):
    steps.begin(), steps.inquire(), steps.issue(copies=2), steps.pay(2 * FEE)
    assert code_of(steps.finish("PRINTED", 1)) == "CENTER_TRANSACTION_STATE"
    assert steps.finish("PRINTED", 2).state == "PRINTED"


@pytest.mark.requirement("R-048")
def test_any_step__from_another_kiosk__is_refused(steps, code_of):
    steps.begin(), steps.inquire(), steps.issue()
    steps.kiosk = b"x" * 32
    for step in (steps.inquire, steps.issue, steps.pay, steps.finish):
        assert code_of(step()) == "CENTER_OTHER_KIOSK"


def test_any_step__with_an_unknown_number__is_refused(steps, code_of):
    steps.begin()
    steps.proof["transaction_number"] = steps.number = "0" * 26
    for step in (steps.inquire, steps.issue, steps.pay, steps.finish):
        assert code_of(step()) == "CENTER_TRANSACTION_UNKNOWN"


def test_begin__town_that_takes_no_part__is_refused(steps, code_of):
    assert code_of(steps.begin(town="999989")) == "CENTER_MUNICIPALITY_NOT_SERVED"


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        ({"certificate_kind": "FAMILY_REGISTER"}, "CENTER_KIND_NOT_OFFERED"),
        ({"show": ("individual_number",)}, "CENTER_OPTION_NOT_OFFERED"),
        ({"show": ("head", "head")}, "CENTER_OPTION_NOT_OFFERED"),
        ({"copies": 4}, "CENTER_OPTION_NOT_OFFERED"),
        ({"tax_year": 2025}, "CENTER_OPTION_NOT_OFFERED"),
        ({"scope": wire.Scope.PART}, "CENTER_OPTION_NOT_OFFERED"),
        ({"member_refs": ("member-reference-1",)}, "CENTER_OPTION_NOT_OFFERED"),
        (
            {"scope": wire.Scope.PART, "member_refs": ("member-reference-of-others",)},
            "CENTER_OPTION_NOT_OFFERED",
        ),
    ],
)
@pytest.mark.requirement("R-043")
def test_issue__what_was_not_offered__never_reaches_bcl(steps, fake_bcl, code_of, choice, code):
    steps.begin(), steps.inquire()
    assert code_of(steps.issue(**choice)) == code
    assert wire.ISSUE_PATH not in fake_bcl.paths()


@pytest.mark.requirement("R-046")
def test_inquire__same_challenge_again__is_a_replay(steps, code_of):
    steps.begin()
    steps.inquire()
    assert code_of(steps.inquire()) == "USER_AUTH_CERT_CHALLENGE_REPLAYED"


@pytest.mark.requirement("R-046")
def test_inquire__signature_of_another_transaction__is_wrong(steps, code_of):
    steps.begin()
    earlier = steps.proof["signature"]
    steps.begin()
    assert code_of(steps.inquire(signature=earlier)) == "USER_AUTH_CERT_SIGNATURE_WRONG"
    assert steps.entry().state is State.REFUSED


@pytest.mark.requirement("R-046")
def test_inquire__after_the_challenge_has_expired__is_refused(steps, moving_clock, code_of):
    steps.begin()
    moving_clock.forward(120)
    assert code_of(steps.inquire()) == "USER_AUTH_CERT_CHALLENGE_EXPIRED"
    assert steps.entry().state is State.EXPIRED


@pytest.mark.requirement("R-046")
def test_issue__with_another_card_than_inquired__is_refused(steps, make_card, fake_bcl, code_of):
    steps.begin(), steps.inquire()
    other = make_card().read_cert()
    assert code_of(steps.issue(cert=other)) == "USER_AUTH_CERT_SIGNATURE_WRONG"
    assert wire.ISSUE_PATH not in fake_bcl.paths()


@pytest.mark.requirement("R-046")
@pytest.mark.requirement("R-047")
def test_issue__card_revoked_after_the_inquiry__is_refused(
    steps, make_card, shared_authority, serials, moving_clock, fake_bcl, code_of
):
    serial_number = serials()
    steps.card = make_card(serial_number=serial_number)
    steps.begin(), steps.inquire()
    shared_authority.set_state(serial_number, CertState.REVOKED, moving_clock())
    assert code_of(steps.issue()) == "USER_AUTH_CERT_REVOKED"
    assert wire.ISSUE_PATH not in fake_bcl.paths()


@pytest.mark.requirement("R-048")
def test_issue__answer_after_the_deadline__is_thrown_away(steps, fake_bcl, moving_clock, code_of):
    steps.begin(), steps.inquire()
    fake_bcl.before_answer = lambda path: moving_clock.forward(20.001)
    assert code_of(steps.issue()) == "CENTER_DEADLINE_PASSED"
    entry = steps.entry()
    assert (entry.state, entry.seal_key, entry.pdf_sha256) == (State.EXPIRED, None, None)
    fake_bcl.before_answer = lambda path: None
    steps.center.tidy()
    assert fake_bcl.states[steps.number] == "ABORTED", "BCL hears that nothing was delivered"


def test_inquire__answer_after_the_deadline__is_thrown_away(steps, fake_bcl, moving_clock, code_of):
    steps.begin()
    fake_bcl.before_answer = lambda path: moving_clock.forward(5.001)
    assert code_of(steps.inquire()) == "CENTER_DEADLINE_PASSED"


@pytest.mark.requirement("R-049")
def test_pay__after_the_time_to_pay__gives_no_key(steps, moving_clock, code_of):
    steps.begin(), steps.inquire(), steps.issue()
    moving_clock.forward(180)
    assert code_of(steps.pay()) == "CENTER_DEADLINE_PASSED"
    assert steps.entry().seal_key is None


SPOILERS = {
    "another transaction": lambda s, body: body.replace(s.number.encode(), b"0" * 26),
    "another town": lambda s, body: body.replace(b'"999997"', b'"999989"'),
    "an unknown field": lambda s, body: body[:-1] + b',"more":1}',
    "not json": lambda s, body: body[:-1],
    "a doubled key": lambda s, body: body[:-1] + b',"message":"issue_answer"}',
    "another pdf": lambda s, body: body.replace(b"JVBERi0", b"JVBERi1"),
    "an old answer": lambda s, body: body.replace(b"T10:00:0", b"T09:50:0"),
}


@pytest.mark.requirement("R-048")
@pytest.mark.parametrize("name", SPOILERS)
def test_issue__answer_that_does_not_fit__is_not_used(steps, fake_bcl, code_of, name):
    steps.begin(), steps.inquire()
    plain = []

    def spoil(path, body):
        changed = SPOILERS[name](steps, body)
        plain.append((body, changed))
        return changed

    fake_bcl.spoil = spoil
    assert code_of(steps.issue()) == "CENTER_ANSWER_WRONG"
    assert all(before != after for before, after in plain), "the spoiler must bite"
    assert steps.entry().state is State.REFUSED


@pytest.mark.requirement("R-048")
def test_issue__answer_signed_by_somebody_else__is_not_used(steps, fake_bcl, code_of):
    steps.begin(), steps.inquire()
    fake_bcl.sign_with = Ed25519PrivateKey.generate()
    assert code_of(steps.issue()) == "CENTER_ANSWER_WRONG"


@pytest.mark.requirement("R-049")
def test_issue__fee_changed_between_inquiry_and_issue__is_not_used(steps, fake_bcl, code_of):
    steps.begin(), steps.inquire()
    fake_bcl.fee_yen = 350
    assert code_of(steps.issue()) == "CENTER_FEE_DIFFERS"


def test_issue__bcl_says_no__the_kiosk_reads_bcls_code(steps, fake_bcl, code_of):
    steps.begin(), steps.inquire()
    fake_bcl.issue_refusal = "CENTER_VISIT_COUNTER"
    assert code_of(steps.issue()) == "CENTER_VISIT_COUNTER"
    steps.center.tidy()
    assert wire.CONFIRM_PATH not in fake_bcl.paths(), "a refusal has no result to report"


def test_issue__line_drops_once__the_same_request_goes_again(steps, fake_bcl):
    steps.begin(), steps.inquire()
    fake_bcl.drop = [wire.ISSUE_PATH]
    assert steps.issue().sha256
    fake_bcl.drop = [wire.CONFIRM_PATH] * 2
    steps.pay(), steps.finish()
    assert steps.entry().confirmed_at is None
    steps.center.tidy()
    assert steps.entry().confirmed_at is not None


def test_issue__bcl_is_gone__is_refused_and_reported_later(steps, fake_bcl, code_of):
    steps.begin(), steps.inquire()
    fake_bcl.drop = [wire.ISSUE_PATH] * 2
    assert code_of(steps.issue()) == "CENTER_MUNICIPALITY_UNREACHABLE"
    steps.center.tidy()
    assert fake_bcl.states == {steps.number: "ABORTED"}


@pytest.mark.requirement("R-083")
def test_reconcile__after_mixed_results__names_the_difference(steps, fake_bcl, moving_clock):
    for status in ("PRINTED", "PRINT_FAILED"):
        steps.begin(), steps.inquire(), steps.issue(), steps.pay(), steps.finish(status)
    day = moving_clock().date()
    assert reconcile_day(steps.center, "999997", day) == ()
    fake_bcl.states[steps.number] = "SENT"
    (difference,) = reconcile_day(steps.center, "999997", day)
    assert difference.transaction_number == steps.number
    assert (difference.center_status, difference.bcl_state) == ("PRINT_FAILED", "SENT")
    assert reconcile_day(steps.center, "999997", day + timedelta(days=1)) != ()


@pytest.mark.requirement("R-083")
def test_tidy__kiosk_falls_silent__open_ones_expire_and_paid_ones_stay_unknown(
    steps, moving_clock, fake_bcl
):
    steps.begin(), steps.inquire(), steps.issue()
    held = steps.number
    steps.begin(), steps.inquire(), steps.issue(), steps.pay()
    moving_clock.forward(3600)
    steps.center.tidy()
    journal = steps.center.journal
    assert journal.find(held).state is State.EXPIRED
    assert fake_bcl.states[held] == "ABORTED"
    assert steps.entry().state is State.UNKNOWN
    assert journal.money()["open_yen"] == FEE
    assert steps.finish("PRINTED").state == "PRINTED", "the kiosk came back and said so"
    assert journal.money()["open_yen"] == 0


@pytest.mark.requirement("R-048")
def test_journal__after_the_end__holds_nothing_personal(steps, fake_bcl, tmp_path, card):
    steps.begin(), steps.inquire(), steps.issue(), steps.pay()
    key = steps.entry().seal_key
    steps.finish()
    entry = steps.entry()
    assert (entry.seal_key, entry.card_digest, entry.offer, entry.challenge_nonce) == (None,) * 4
    content = b"".join(path.read_bytes() for path in (tmp_path / "center").iterdir())
    assert steps.number.encode() in content
    for secret in (key, fake_bcl.pdf, card.read_cert(), "甲野".encode(), b"member-reference"):
        assert secret not in content


@pytest.mark.requirement("R-071")
def test_begin__frozen_clock_and_eight_threads__numbers_never_meet(center, card):
    from concurrent.futures import wait

    with ThreadPoolExecutor(8) as pool:
        request = _begin_request()
        futures = [pool.submit(center.begin, request, kiosk_digest=b"k") for _ in range(200)]
        wait(futures)
    numbers = {future.result().transaction_number for future in futures}
    assert len(numbers) == 200


@pytest.mark.requirement("R-071")
def test_begin__randomness_that_repeats__is_drawn_again_then_stops(center):
    from dataclasses import replace

    source = iter(
        [b"n" * 32, b"1" * 10, b"n" * 32, b"1" * 10, b"2" * 10, b"n" * 32] + [b"1" * 10] * 3
    )
    stuck = replace(center, randomness=lambda size: next(source))
    first = stuck.begin(_begin_request(), kiosk_digest=b"k")
    second = stuck.begin(_begin_request(), kiosk_digest=b"k")
    assert first.transaction_number != second.transaction_number
    with pytest.raises(RuntimeError):
        stuck.begin(_begin_request(), kiosk_digest=b"k")


def test_pay__eight_at_once__is_paid_once(steps):
    steps.begin(), steps.inquire(), steps.issue()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: steps.pay(), range(8)))
    assert steps.entry().paid_yen == FEE
    assert steps.entry().state is State.PAID


@pytest.mark.requirement("R-083")
def test_journal__reopened_after_a_restart__goes_on_where_it_was(steps, tmp_path):
    steps.begin(), steps.inquire(), steps.issue()
    journal = Journal(tmp_path / "center" / "journal.sqlite")
    assert journal.find(steps.number).state is State.HELD
    object.__setattr__(steps.center, "journal", journal)
    assert steps.pay().seal_key
    assert steps.finish().state == "PRINTED"


def test_journal__move_that_the_table_does_not_know__is_a_fault(steps, moving_clock):
    steps.begin()
    with pytest.raises(ValueError, match="no way"):
        steps.center.journal.move(steps.number, State.BEGUN, State.PAID, at=moving_clock())
    assert ENDED.isdisjoint({State.PAID, State.HELD, State.UNKNOWN})


def test_journal__counts__add_up_to_all_transactions(steps, tmp_path):
    steps.begin(), steps.inquire()
    steps.begin()
    counts = steps.center.journal.counts()
    assert (counts["OFFERED"], counts["BEGUN"], sum(counts.values())) == (1, 1, 2)
    with sqlite3.connect(tmp_path / "center" / "journal.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def _begin_request():
    from bcl_sim.delivery_center.kiosk_messages import Begin

    return Begin(municipality_code="999997", vendor="v", store="s", terminal="t")
