"""Reading and signing the messages between the center and BCL: only what is exactly right."""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bcl_contract import delivery_center as wire
from bcl_contract.clock import JST
from bcl_contract.refusals import REFUSALS, Refusal

AT = datetime(2026, 11, 22, 10, 0, tzinfo=JST)
KEY = Ed25519PrivateKey.generate()
VECTORS = Path(os.environ.get("BCL_VECTORS", "/nonexistent")) / "jsontestsuite"


def inquire(**changes):
    values = {
        "message_id": wire.new_number(AT),
        "sent_at": AT,
        "municipality_code": "999997",
        "transaction_number": wire.new_number(AT),
        "center_sequence": 7,
        "kiosk": wire.KioskIdentity(vendor="v", store="s", terminal="t"),
        "user_authentication": wire.UserAuthentication(
            cert=b"c" * 900, challenge_nonce=b"n" * 32, signature=b"s" * 256
        ),
        "requested_at": AT,
        "deadline_at": AT + timedelta(seconds=20),
    }
    return wire.InquireRequest(**values | changes)


def issue(**changes):
    values = dict(inquire()) | {
        "message": "issue",
        "certificate_kind": "RESIDENT_RECORD_COPY",
        "scope": wire.Scope.ALL,
    }
    return wire.IssueRequest(**values | changes)


def body_with(changes):
    """A good issue request's JSON with fields changed; a dotted name reaches inside."""
    content = json.loads(wire.write_message(issue()))
    for name, value in changes.items():
        *path, last = name.split(".")
        target = content
        for part in path:
            target = target[part]
        target[last] = value
    return json.dumps(content).encode()


def read(body, form=wire.IssueRequest):
    return wire.parse_message(form, body)


@pytest.mark.requirement("R-048")
@pytest.mark.parametrize("message", [inquire(), issue(), issue(show=("head",), copies=2)])
def test_message__written_and_read__is_the_same(message):
    assert read(wire.write_message(message), type(message)) == message


WRONG = {
    "message": ["inquire", "", None],
    "message_id": ["x", "8" + "0" * 25, "0" * 27, 1, None, "0" * 25 + "U"],
    "sent_at": ["2026-11-22T10:00:00", "2026-11-22", 1700000000, "yesterday", None],
    "municipality_code": ["99999", "9999977", "９９９９９７", 999997, None, "99999\n"],
    "center_sequence": [0, -1, 1.5, "1", True, None],
    "kiosk": [None, {}, [], "k"],
    "kiosk.vendor": ["", "v" * 41, "a b", "ベンダ", None, "v\u0000"],
    "user_authentication.cert": ["", "AAA", "AA==\n", "*", None, "A" * 20000, 5],
    "user_authentication.challenge_nonce": ["AA==", None],
    "deadline_at": ["2026-11-22T10:00:00+09:00", "2026-11-22T09:59:59+09:00", None],
    "certificate_kind": ["resident_record_copy", "", "A" * 65, None, 3],
    "scope": ["all", "EVERYBODY", None, 0],
    "member_refs": [["short"], ["member-reference-1"], None, "member-reference-1", [1]],
    "show": [["Head"], ["head", "head"], ["a"] * 21, "head", None, [["head"]]],
    "copies": [0, -1, 51, 10_000, 1.0, "1", True, None],
    "tax_year": [1949, 2201, "2026", 2026.5],
    "unknown_field": [1],
    "kiosk.unknown_field": [1],
}


@pytest.mark.requirement("R-048")
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_parse__one_field_wrong__is_refused_and_named_without_its_value(name, value):
    refusal = read(body_with({name: value}))
    assert refusal.code == "CENTER_MESSAGE_WRONG_FORM", (name, value)
    field = str(refusal.detail["field"])
    whole = {"deadline_at", "member_refs", "show", "unknown_field"}
    assert field.startswith(name.removesuffix(".unknown_field")) or name in whole
    assert "unknown_field" not in field


@pytest.mark.requirement("R-048")
@pytest.mark.parametrize("name", [*json.loads(wire.write_message(issue()))])
def test_parse__field_left_out__is_refused_unless_it_has_a_meaning(name):
    content = json.loads(wire.write_message(issue()))
    del content[name]
    result = read(json.dumps(content).encode())
    optional = {"member_refs", "show", "tax_year", "copies"}
    assert isinstance(result, Refusal) is (name not in optional)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}{}",
        b'{"copies":NaN}', b'{"copies":Infinity}', b'{"copies":-Infinity}',
        b'{"a":1,"a":1}', b'{"kiosk":{"store":"a","store":"b"}}', b"[" * 50_000,
        b'{"a":' * 12_000, b"9" * 5_000, b'{"a":"\xed\xa0\x80"}', b"{'a':1}", b"{}\x00",
    ],
)  # fmt: skip
def test_parse__not_the_json_it_should_be__is_refused(body):
    assert read(body).code in {"CENTER_MESSAGE_NOT_JSON", "CENTER_MESSAGE_WRONG_FORM"}


def test_parse__duplicate_key_or_surrogate_or_size__has_its_own_code():
    good = wire.write_message(issue())
    doubled = good[:-1] + b',"copies":1}'
    assert read(doubled).code == "CENTER_MESSAGE_NOT_JSON"
    assert read(good + b" " * wire.REQUEST_BYTES).code == "CENTER_MESSAGE_TOO_LARGE"
    lone = good.replace(b'"store":"s"', b'"store":"\\ud800"')
    assert isinstance(read(lone), Refusal)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_parse__any_bytes__give_a_refusal_and_never_a_fault(body):
    assert isinstance(read(body), Refusal)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted(json.loads(wire.write_message(issue())))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FIELDS), JSON)
def test_parse__any_json_in_any_field__is_a_message_or_a_refusal(name, value):
    result = read(body_with({name: value}))
    if isinstance(result, Refusal):
        texts = [text for text in [value] if isinstance(text, str) and len(text) > 3]
        assert not any(text in json.dumps(dict(result.detail)) for text in texts)
    else:
        assert read(wire.write_message(result)) == result


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_parse__good_message_with_a_flipped_bit__never_reads_as_the_original(data):
    message = issue()
    body = bytearray(wire.write_message(message))
    place = data.draw(st.integers(0, len(body) - 1))
    bit = data.draw(st.integers(0, 7))
    # RFC 3339 lets a small "t" stand between date and time: the same moment, so the same message.
    # (That other bytes are not what was signed is the signature's to say.)
    assume(not (body[place : place + 1] == b"T" and bit == 5 and body[place - 1 : place].isdigit()))
    body[place] ^= 1 << bit
    result = read(bytes(body))
    assert isinstance(result, Refusal) or result != message


@pytest.mark.skipif(not VECTORS.is_dir(), reason="BCL_VECTORS has no jsontestsuite")
def test_parse__json_test_suite__no_file_is_a_message_or_a_fault():
    files = [path for path in VECTORS.rglob("*.json") if path.is_file()]
    assert len(files) > 300
    for path in files:
        assert isinstance(read(path.read_bytes()), Refusal), path.name


@pytest.mark.requirement("R-048")
def test_signature__over_these_bytes_by_this_key__holds_and_nothing_else_does(code_of):
    body = wire.write_message(inquire())
    signature = wire.sign_message(body, key=KEY)
    public = KEY.public_key()
    assert wire.verify_message(body, signature, key=public) is None
    again_encoded = json.dumps(json.loads(body)).encode()
    assert again_encoded != body
    wrong = "CENTER_SIGNATURE_WRONG"
    assert code_of(wire.verify_message(again_encoded, signature, key=public)) == wrong
    assert code_of(wire.verify_message(body + b" ", signature, key=public)) == wrong
    stranger = Ed25519PrivateKey.generate().public_key()
    assert code_of(wire.verify_message(body, signature, key=stranger)) == wrong
    for bad in ("x", "AAAA", signature[:-4], signature + "AAAA", "é" * 88, " " + signature):
        assert code_of(wire.verify_message(body, bad, key=public)) == wrong
    for missing in (None, ""):
        refusal = wire.verify_message(body, missing, key=public)
        assert code_of(refusal) == "CENTER_SIGNATURE_MISSING"


@pytest.mark.parametrize(
    ("seconds", "fits"), [(0, True), (60, True), (-60, True), (60.001, False), (-60.001, False)]
)
def test_time_window__sixty_seconds_either_way__is_exact(code_of, seconds, fits):
    refusal = wire.check_time_window(AT + timedelta(seconds=seconds), at=AT)
    assert (refusal is None) is fits
    assert fits or code_of(refusal) == "CENTER_MESSAGE_NOT_NOW"


def test_request_hash__same_wish_again__is_equal_and_any_other_wish_differs():
    first = issue()
    again = first.model_copy(
        update={"message_id": wire.new_number(AT), "sent_at": AT + timedelta(seconds=3)}
    )
    assert wire.request_hash(first) == wire.request_hash(again)
    others = [
        first.model_copy(update=update)
        for update in (
            {"copies": 2},
            {"show": ("head",)},
            {"scope": wire.Scope.SELF},
            {"municipality_code": "999989"},
            {"transaction_number": wire.new_number(AT)},
            {"deadline_at": AT + timedelta(seconds=21)},
            {"certificate_kind": "TAX"},
        )
    ]
    hashes = {wire.request_hash(request) for request in [first, *others]}
    assert len(hashes) == len(others) + 1


def test_answers__contradicting_themselves__cannot_be_made():
    envelope = {
        "in_reply_to": wire.new_number(AT),
        "sent_at": AT,
        "municipality_code": "999997",
        "transaction_number": wire.new_number(AT),
    }
    refusal = wire.OutsideRefusal.of("CENTER_VISIT_COUNTER")
    for values in (
        {"result": wire.Result.OK},
        {"result": wire.Result.OK, "refusal": refusal},
        {"result": wire.Result.REFUSED},
    ):
        for form in (wire.InquireAnswer, wire.IssueAnswer):
            with pytest.raises(ValueError, match="validation error"):
                form(**envelope, **values)
    wire.IssueAnswer(**envelope, result=wire.Result.REFUSED, refusal=refusal)


@pytest.mark.requirement("R-048")
def test_outside_code__reasons_about_a_person__look_all_the_same():
    reasons = [reason for reason in wire.DenyReason if 30 <= reason <= 35 or reason >= 70]
    assert {wire.outside_code(reason) for reason in reasons} == {"CENTER_VISIT_COUNTER"}
    sizes = set()
    for reason in (
        wire.DenyReason.PROTECTIVE_MEASURE,
        wire.DenyReason.CHANGE_PENDING,
        wire.DenyReason.ISSUANCE_BLOCK,
    ):
        sizes.add(wire.write_message(wire.OutsideRefusal.of(wire.outside_code(reason))))
    assert len(sizes) == 1
    assert all(wire.outside_code(reason) in REFUSALS for reason in wire.DenyReason)


@pytest.mark.requirement("R-071")
def test_new_number__frozen_clock__differs_by_chance_alone():
    numbers = {wire.new_number(AT) for _ in range(2000)}
    assert len(numbers) == 2000
    assert all(number[:10] == wire.new_number(AT)[:10] for number in numbers)
    fixed = {wire.new_number(AT, randomness=lambda size: b"r" * size) for _ in range(3)}
    assert len(fixed) == 1, "time adds no uniqueness"
    assert wire.new_number(AT) < wire.new_number(AT + timedelta(milliseconds=1))


def test_repr__of_messages__shows_neither_card_nor_names():
    member = wire.HouseholdMember(member_ref="m" * 16, display_name="甲野 太郎")
    assert "甲野" not in repr(member)
    assert "ccc" not in repr(inquire())
