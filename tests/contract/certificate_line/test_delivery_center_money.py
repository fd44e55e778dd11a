"""Faults at random edges of a transaction: money, paper and BCL's record agree at the end."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bcl_contract import delivery_center as wire
from bcl_contract.refusals import Refusal
from bcl_sim.delivery_center.journal import ENDED, State
from bcl_sim.delivery_center.reconciliation import reconcile_day

FEE = 300
STEPS = st.lists(
    st.sampled_from(["begin", "inquire", "issue", "pay", "printed", "failed", "aborted"])
    | st.sampled_from(["drop", "late", "spoil", "refuse", "wait", "tidy"]),
    max_size=14,
)
# Most random walks never get far: these walk the whole way and are disturbed on it.
WHOLE = ["begin", "inquire", "issue", "pay", "printed"]
WALKS = STEPS | st.tuples(
    st.lists(
        st.sampled_from(["drop", "late", "spoil", "wait", "tidy", "pay", "issue"]), max_size=4
    ),
    st.lists(st.integers(0, 5), min_size=4, max_size=4),
).map(lambda parts: _insert(WHOLE, *parts))


def _insert(whole, faults, places):
    walk = list(whole)
    for fault, place in zip(faults, places, strict=False):
        walk.insert(min(place, len(walk)), fault)
    return walk


class Kiosk:
    """A kiosk that takes money only for a sealed certificate, and keeps its own till."""

    def __init__(self, steps, fake_bcl, moving_clock):
        self.steps, self.fake_bcl, self.clock = steps, fake_bcl, moving_clock
        self.till = {}
        self.papers = []
        self.sealed = set()

    def act(self, name):
        number = self.steps.number
        if name in {"drop", "late", "spoil", "refuse", "wait", "tidy"}:
            self.disturb(name)
        elif name == "begin":
            self.steps.begin()
        elif not number:
            return
        elif name == "inquire":
            self.steps.inquire()
        elif name == "issue":
            if not isinstance(self.steps.issue(), Refusal):
                self.sealed.add(number)
        elif name == "pay":
            if number in self.sealed and not isinstance(self.steps.pay(FEE), Refusal):
                self.till[number] = FEE
        else:
            self.finish(name, number)

    def finish(self, name, number):
        status = {"printed": "PRINTED", "failed": "PRINT_FAILED", "aborted": "ABORTED"}[name]
        if status == "PRINTED" and number not in self.till:
            assert isinstance(self.steps.finish(status), Refusal), "no paper without payment"
            return
        answer = self.steps.finish(status)
        if isinstance(answer, Refusal):
            return
        if answer.state == "PRINTED" and number not in self.papers:
            self.papers.append(number)
        if answer.refund_yen:
            self.till[number] = 0

    def disturb(self, name):
        if name == "drop":
            self.fake_bcl.drop = [wire.INQUIRE_PATH, wire.ISSUE_PATH, wire.CONFIRM_PATH] * 2
        elif name == "late":
            self.fake_bcl.before_answer = lambda path: self.clock.forward(21)
        elif name == "spoil":
            self.fake_bcl.spoil = lambda path, body: body[:-1]
        elif name == "refuse":
            self.fake_bcl.issue_refusal = "CENTER_VISIT_COUNTER"
        elif name == "wait":
            self.clock.forward(100)
        else:
            self.steps.center.tidy()

    def recover(self):
        """The faults end, the kiosk reports what it did, and time passes."""
        self.fake_bcl.drop = []
        self.fake_bcl.before_answer = lambda path: None
        self.fake_bcl.spoil = lambda path, body: body
        for number, yen in self.till.items():
            if yen and number not in self.papers:
                self.steps.number = number
                self.finish("printed", number)
        self.clock.forward(3600)
        for _ in range(2):
            self.steps.center.tidy()


@pytest.mark.requirement("R-083")
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(walks=[WHOLE])
@example(walks=[["begin", "inquire", "issue", "pay", "drop", "failed"]])
@example(walks=[["begin", "inquire", "late", "issue"], ["begin", "inquire", "spoil", "issue"]])
@example(walks=[["begin", "inquire", "issue", "pay", "late", "wait", "tidy"]])
@given(walks=st.lists(WALKS, min_size=1, max_size=3))
def test_money__whatever_goes_wrong__paid_is_printed_plus_given_back(
    walks, steps, fake_bcl, moving_clock
):
    before = steps.center.journal.money()
    day = moving_clock().date()
    kiosk = Kiosk(steps, fake_bcl, moving_clock)
    steps.number = ""
    fake_bcl.issue_refusal = None
    for walk in walks:
        for name in walk:
            kiosk.act(name)
    kiosk.recover()
    journal = steps.center.journal
    money = journal.money()
    assert money["paid_yen"] == money["printed_yen"] + money["refund_yen"]
    assert money["open_yen"] == 0
    assert money["printed_yen"] - before["printed_yen"] == sum(kiosk.till.values())
    assert money["printed_yen"] - before["printed_yen"] == FEE * len(kiosk.papers)
    counts = journal.counts()
    assert sum(counts[state.value] for state in State if state not in ENDED) == 0
    assert journal.list_unconfirmed() == []
    assert all(fake_bcl.states[number] == "PRINTED" for number in kiosk.papers)
    for offset in range((moving_clock().date() - day).days + 1):
        entries = journal.list_day("999997", day + timedelta(days=offset))
        told = {
            entry.transaction_number: fake_bcl.states.get(entry.transaction_number)
            for entry in entries
        }
        assert set(told.values()) <= {"PRINTED", "PRINT_FAILED", "ABORTED"}
    assert not isinstance(reconcile_day(steps.center, "999997", day), Refusal)
