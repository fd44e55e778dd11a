"""Changing the own password: the old one, a fresh code, and nobody stays signed in elsewhere."""

from __future__ import annotations

from datetime import timedelta

import pytest
from enrolled_people import NOON, PASSWORD, half, terminal_of, whole

from bcl.accounts import api as accounts
from bcl.accounts.models import SignInFailure, StaffSession
from bcl.foundation import tenancy
from bcl.foundation.models import AuditEntry
from bcl_contract.refusals import Refusal

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("R-058")]
LATER = NOON + timedelta(minutes=5)
NEW = "夜半の嵐に花の散るころに"


def change(person, *, current=PASSWORD, new=NEW, code=None, at=LATER) -> str:
    unix = at.timestamp()
    refusal = accounts.change_password(
        person.whole.principal, current, new, code or person.code(unix), unix_time=unix, at=at
    )
    return "" if refusal is None else refusal.code


def test_change__with_both_factors__ends_every_other_sign_in_and_is_on_record(
    town, pki, terminal, clerk
) -> None:
    elsewhere = terminal_of(pki, town, "t-2")
    other = whole(elsewhere, clerk, NOON + timedelta(minutes=1))
    waiting = half(terminal, clerk, NOON + timedelta(minutes=2))
    assert change(clerk) == ""
    after = LATER + timedelta(minutes=1)
    for begun, where in ((other, elsewhere), (waiting, terminal)):
        assert accounts.find_session(where, begun.token, after) == Refusal("SESSION_UNKNOWN")
    here = accounts.find_session(terminal, clerk.whole.token, after)
    assert not isinstance(here, Refusal) and here.has_second_factor
    assert half(terminal, clerk, after) == Refusal("SIGN_IN_FAILED")
    assert isinstance(half(terminal, clerk, after, password=NEW), accounts.SignedIn)
    with tenancy.scope(town):
        row = AuditEntry.objects.get(act="change_password")
        assert (row.actor_id, row.detail) == ("clerk-1", {"login_name": "clerk-1"})
        ended = StaffSession.objects.filter(end_reason="PASSWORD_CHANGED")
        assert ended.count() == 2


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"current": "山の端にいさよふ月"}, "PASSWORD_CURRENT_WRONG"),
        ({"new": "花の散るころ"}, "PASSWORD_TOO_SHORT"),
        ({"new": "clerk-1の花の散るころ"}, "PASSWORD_TOO_SIMPLE"),
        ({"new": "1q2w3e4r5t6y"}, "PASSWORD_TOO_SIMPLE"),
        ({"new": PASSWORD}, "PASSWORD_UNCHANGED"),
        ({"code": "000000"}, "SIGN_IN_CODE_WRONG"),
    ],
)
def test_change__refused__leaves_password_and_sessions(
    town, terminal, clerk, given, wanted
) -> None:
    assert change(clerk, **given) == wanted
    assert isinstance(half(terminal, clerk, LATER), accounts.SignedIn)
    with tenancy.scope(town):
        assert not AuditEntry.objects.filter(act="change_password").exists()
        assert not StaffSession.objects.filter(end_reason="PASSWORD_CHANGED").exists()
    if wanted.startswith("PASSWORD"):
        assert change(clerk) == "", "the code was not spent"


def test_change__with_a_code_used_before__is_refused(clerk) -> None:
    assert change(clerk) == ""
    assert change(clerk, current=NEW, new=PASSWORD) == "SIGN_IN_CODE_WRONG"


def test_change__guessing_the_old_password__is_slowed_down_as_at_sign_in(town, clerk) -> None:
    guesses = [change(clerk, current=f"wrong wrong {number}") for number in range(6)]
    assert guesses == ["PASSWORD_CURRENT_WRONG"] * 5 + ["SIGN_IN_TOO_MANY"]
    assert change(clerk) == "SIGN_IN_TOO_MANY", "not even with the right one"
    with tenancy.scope(town):
        assert SignInFailure.objects.filter(factor="password").count() == 5
