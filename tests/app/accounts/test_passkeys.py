"""Passkeys: good for one person, one origin, one question, with its owner's finger only."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from enrolled_people import NOON, enrol, half, terminal_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soft_key import PRESENT, SoftKey
from webauthn import base64url_to_bytes

from bcl.accounts import api as accounts
from bcl.accounts.models import Passkey, SignInFailure
from bcl.foundation import tenancy
from bcl.foundation.models import AuditEntry
from bcl_contract.refusals import Refusal

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("R-058")]
ORIGIN = "https://console.bcl.lgwan.example:8443"
LATER = NOON + timedelta(minutes=5)


def offer(person, at, code=None) -> str | Refusal:
    unix = at.timestamp()
    return accounts.offer_passkey(
        person.whole.principal, code or person.code(unix), origin=ORIGIN, unix_time=unix, at=at
    )


def make(person, at=LATER, key=None) -> SoftKey:
    key = key or SoftKey()
    options = offer(person, at)
    assert isinstance(options, str), options
    kept = accounts.keep_passkey(
        person.whole.principal, key.make(options, ORIGIN), label="青い鍵", origin=ORIGIN, at=at
    )
    assert kept is None, kept
    return key


def question(terminal, person, at=LATER) -> tuple[str, str]:
    """A half session's cookie and what the browser is asked."""
    begun = half(terminal, person, at)
    assert isinstance(begun, accounts.SignedIn)
    options = accounts.ask_passkey(terminal, begun.token, origin=ORIGIN, at=at)
    assert isinstance(options, str), options
    return begun.token, options


def code_of(outcome) -> str:
    return outcome.code if isinstance(outcome, Refusal) else ""


def test_passkey__in_place_of_the_code__makes_a_whole_session(terminal, clerk) -> None:
    key = make(clerk)
    token, options = question(terminal, clerk)
    answer = key.answer(options, ORIGIN)
    whole = accounts.confirm_passkey(terminal, token, answer, origin=ORIGIN, at=LATER)
    assert isinstance(whole, accounts.SignedIn), whole
    assert "residents.view" in whole.principal.permissions and whole.token != token
    again = accounts.confirm_passkey(terminal, token, answer, origin=ORIGIN, at=LATER)
    assert code_of(again) == "SESSION_UNKNOWN", "the half session is over"
    (shown,) = accounts.list_passkeys(clerk.whole.principal)
    assert shown.label == "青い鍵" and shown.last_used_at == LATER
    with tenancy.scope("999997"):
        signed_in = AuditEntry.objects.get(act="sign_in")
        assert signed_in.detail["factor"] == "passkey"
        stored = b"".join(bytes(x) for x in Passkey.objects.values_list("sealed_label", flat=True))
        assert "青い鍵".encode() not in stored


def test_registration__needs_a_fresh_code_its_own_question_and_the_owners_finger(
    terminal, clerk
) -> None:
    principal = clerk.whole.principal
    assert code_of(offer(clerk, LATER, code="000000")) == "SIGN_IN_CODE_WRONG"
    lone = SoftKey()
    unasked = lone.make('{"challenge": "AAAA", "rp": {"id": "x"}}', ORIGIN)
    keep = lambda text, at=LATER: code_of(  # noqa: E731
        accounts.keep_passkey(principal, text, label="x", origin=ORIGIN, at=at)
    )
    assert keep(unasked) == "PASSKEY_QUESTION_OVER"
    at = LATER
    for spoil in ("finger", "origin", "host", "late"):
        at += timedelta(minutes=1)
        options, key = offer(clerk, at), SoftKey()
        key.flags = PRESENT if spoil == "finger" else key.flags
        made = key.make(
            options,
            "https://evil.example" if spoil == "origin" else ORIGIN,
            host="evil.example" if spoil == "host" else "",
        )
        wanted = "PASSKEY_QUESTION_OVER" if spoil == "late" else "PASSKEY_WRONG"
        assert keep(made, at + timedelta(minutes=5 if spoil == "late" else 0)) == wanted, spoil
        assert keep(made, at) == "PASSKEY_QUESTION_OVER", "a question is good once"
    assert accounts.list_passkeys(principal) == []


@pytest.mark.parametrize("spoil", ["finger", "origin", "host", "stranger", "other question"])
def test_sign_in__with_a_spoilt_answer__is_refused_and_counted(terminal, clerk, spoil) -> None:
    key = make(clerk)
    token, options = question(terminal, clerk)
    if spoil == "finger":
        key.flags = PRESENT
    if spoil == "stranger":
        stranger = SoftKey()
        stranger.id, key = key.id, stranger
    if spoil == "other question":
        _, options = question(terminal, clerk)
    answer = key.answer(
        options,
        "https://evil.example" if spoil == "origin" else ORIGIN,
        host="evil.example" if spoil == "host" else "",
    )
    refused = accounts.confirm_passkey(terminal, token, answer, origin=ORIGIN, at=LATER)
    assert code_of(refused) == "PASSKEY_WRONG"
    with tenancy.scope("999997"):
        assert SignInFailure.objects.filter(factor="passkey").count() == 1
    assert not accounts.find_session(terminal, token, LATER).permissions


def test_sign_in__at_another_origin__is_not_even_offered(terminal, clerk) -> None:
    make(clerk)
    begun = half(terminal, clerk, LATER)
    assert accounts.has_passkey(begun.principal, ORIGIN)
    assert not accounts.has_passkey(begun.principal, "https://evil.example")
    asked = accounts.ask_passkey(terminal, begun.token, origin="https://evil.example", at=LATER)
    assert code_of(asked) == "PASSKEY_UNKNOWN"


def test_sign_in__with_a_copied_key__ends_the_key(terminal, clerk) -> None:
    key = make(clerk)
    for count, wanted in ((5, ""), (5, "PASSKEY_CLONED")):
        token, options = question(terminal, clerk)
        key.count = count - 1
        answer = key.answer(options, ORIGIN)
        outcome = accounts.confirm_passkey(terminal, token, answer, origin=ORIGIN, at=LATER)
        assert code_of(outcome) == wanted
    assert accounts.list_passkeys(clerk.whole.principal) == []
    begun = half(terminal, clerk, LATER)
    assert code_of(accounts.ask_passkey(terminal, begun.token, origin=ORIGIN, at=LATER)) == (
        "PASSKEY_UNKNOWN"
    )


def test_keys__several_each_removed_with_a_code_all_with_a_reset(terminal, admin, clerk) -> None:
    first = make(clerk)
    second = make(clerk, LATER + timedelta(minutes=1))
    shown = accounts.list_passkeys(clerk.whole.principal)
    at = LATER + timedelta(minutes=2)
    unix = at.timestamp()
    mine = clerk.whole.principal
    gone = lambda one, code: code_of(  # noqa: E731
        accounts.remove_passkey(mine, one.id, code, unix_time=unix, at=at)
    )
    assert gone(shown[0], "000000") == "SIGN_IN_CODE_WRONG"
    theirs = admin.whole.principal
    foreign = accounts.remove_passkey(
        theirs, shown[0].id, admin.code(unix), unix_time=unix, at=at
    )
    assert code_of(foreign) == "PASSKEY_UNKNOWN", "nobody removes another's key"
    assert gone(shown[0], clerk.code(unix)) == ""
    token, options = question(terminal, clerk, at)
    assert code_of(
        accounts.confirm_passkey(
            terminal, token, first.answer(options, ORIGIN), origin=ORIGIN, at=at
        )
    ) == ("PASSKEY_WRONG")
    token, options = question(terminal, clerk, at)
    answer = second.answer(options, ORIGIN)
    assert isinstance(
        accounts.confirm_passkey(terminal, token, answer, origin=ORIGIN, at=at), accounts.SignedIn
    )
    invited = accounts.reset_account(admin.whole.principal, "clerk-1", at=at)
    anew = enrol(terminal, invited, at=at)
    assert accounts.list_passkeys(anew.whole.principal) == []


def test_keys__of_a_town__are_nothing_in_another(town, other_town, pki, clerk) -> None:
    make(clerk)
    with tenancy.scope(other_town):
        assert Passkey.objects.count() == 0
    foreign = terminal_of(pki, other_town)
    assert code_of(half(foreign, clerk, LATER)) == "SIGN_IN_FAILED"


@pytest.fixture
def key(clerk) -> SoftKey:
    return make(clerk)


@pytest.fixture
def halves() -> list[str]:
    """Cookies of half sessions that may be asked once more: a password takes long to check."""
    return []


def signed_parts(text: str) -> list[bytes]:
    response = json.loads(text)["response"]
    return [
        base64url_to_bytes(response[name])
        for name in ("clientDataJSON", "authenticatorData", "signature")
    ]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    place=st.integers(0, 600),
    put=st.text(max_size=3),
    whole=st.none() | st.text(max_size=80) | st.recursive(st.none() | st.text(), st.lists),
)
def test_sign_in__with_a_damaged_answer__is_a_refusal_never_a_fault(
    terminal, clerk, key, halves, place, put, whole
) -> None:
    with tenancy.scope("999997"):
        SignInFailure.objects.all().delete()
    token = halves.pop() if halves else half(terminal, clerk, LATER).token
    options = accounts.ask_passkey(terminal, token, origin=ORIGIN, at=LATER)
    answer = key.answer(options, ORIGIN)
    damaged = answer[:place] + put + answer[place + 1 :] if whole is None else json.dumps(whole)
    outcome = accounts.confirm_passkey(terminal, token, damaged, origin=ORIGIN, at=LATER)
    if isinstance(outcome, accounts.SignedIn):
        assert signed_parts(damaged) == signed_parts(answer), "nothing that is signed may differ"
    else:
        assert outcome.code == "PASSKEY_WRONG"
        halves.append(token)
