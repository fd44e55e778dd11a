"""The software card: PIN, three tries, and what the file gives away."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bcl_contract.jpki import parse_user_auth_cert
from bcl_sim.core_system import numbers
from bcl_sim.jpki.authority import Authority, AuthorityError, State, parse_serial
from bcl_sim.jpki.card import SoftwareCard
from bcl_sim.jpki.card_list import find_listed_card, issue_listed_card, read_card_list

PIN, WRONG = "4649", "0000"
CHALLENGE = b"c" * 32


@pytest.fixture
def card_path(card):
    return card._path


@pytest.mark.requirement("R-045")
def test_sign__right_pin__signs_and_forgets_misses(card, code_of):
    assert code_of(card.sign(CHALLENGE, pin=WRONG)) == "KIOSK_PIN_WRONG"
    assert card.tries_left() == 2
    assert isinstance(card.sign(CHALLENGE, pin=PIN), bytes)
    assert card.tries_left() == 3


@pytest.mark.requirement("R-045")
def test_sign__three_misses__lock_the_card_across_restarts(card, card_path, code_of):
    refusals = [SoftwareCard(card_path).sign(CHALLENGE, pin=WRONG) for _ in range(3)]
    assert [code_of(refusal) for refusal in refusals] == [
        "KIOSK_PIN_WRONG",
        "KIOSK_PIN_WRONG",
        "KIOSK_CARD_LOCKED",
    ]
    assert [refusal.detail.get("tries_left") for refusal in refusals] == [2, 1, None]
    assert code_of(SoftwareCard(card_path).sign(CHALLENGE, pin=PIN)) == "KIOSK_CARD_LOCKED"
    assert SoftwareCard(card_path).tries_left() == 0


@pytest.mark.parametrize("pin", ["", "123", "12345", "12a4", "１２３４", "1234\n", " 1234"])
def test_sign__something_that_is_no_pin__costs_no_try(card, code_of, pin):
    assert code_of(card.sign(CHALLENGE, pin=pin)) == "KIOSK_PIN_FORM"
    assert card.tries_left() == 3


def test_sign__eight_readers_at_once__never_get_more_than_three_tries(card, code_of):
    with ThreadPoolExecutor(8) as pool:
        codes = [code_of(r) for r in pool.map(lambda _: card.sign(CHALLENGE, pin=WRONG), range(8))]
    assert codes.count("KIOSK_PIN_WRONG") == 2
    assert codes.count("KIOSK_CARD_LOCKED") == 6


def test_sign__killed_in_the_middle__has_used_the_try(card, card_path):
    program = (
        "import sys, hashlib, time\n"
        "from bcl_sim.jpki import card\n"
        "def slow(*a, **k):\n"
        "    print('counted', flush=True); time.sleep(60)\n"
        "card._derive = slow\n"
        "card.SoftwareCard(sys.argv[1]).sign(b'c' * 32, pin='0000')\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program, str(card_path)], stdout=subprocess.PIPE, text=True
    )
    assert running.stdout.readline() == "counted\n"
    os.kill(running.pid, signal.SIGKILL)
    running.wait(10)
    running.stdout.close()
    assert card.tries_left() == 2
    started = time.monotonic()
    assert isinstance(card.sign(CHALLENGE, pin=PIN), bytes), "the dead reader holds no lock"
    assert time.monotonic() - started < 5


def test_file__for_its_owner_only__shows_neither_pin_nor_key(make_card):
    key = ec.generate_private_key(ec.SECP256R1())
    card = make_card(key=key)
    content = card._path.read_bytes()
    assert card._path.stat().st_mode & 0o777 == 0o600
    number = key.private_numbers().private_value.to_bytes(32, "big")
    assert number.hex().encode() not in content
    assert b'"4649"' not in content


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-20],
        lambda content: b"[]",
        lambda content: content.replace(b"bcl-software-card-1", b"bcl-software-card-9"),
        lambda content: content.replace(b'"misses": 0', b'"misses": -5'),
        lambda content: content.replace(b'"misses": 0', b'"misses": "0"'),
        lambda content: content.replace(b'"cert": "30', b'"cert": "31'),
    ],
)
def test_file__damaged__is_unreadable(card, card_path, code_of, damage):
    before = card_path.read_bytes()
    card_path.write_bytes(damage(before))
    assert card_path.read_bytes() != before
    assert code_of(card.read_cert()) == "KIOSK_CARD_UNREADABLE"
    assert code_of(card.sign(CHALLENGE, pin=PIN)) == "KIOSK_CARD_UNREADABLE"


def test_file__sealed_key_damaged__is_unreadable_even_with_the_right_pin(card, card_path, code_of):
    content = json.loads(card_path.read_text())
    content["sealed_key"] = "00" + content["sealed_key"][2:]
    card_path.write_text(json.dumps(content))
    assert code_of(card.sign(CHALLENGE, pin=PIN)) == "KIOSK_CARD_UNREADABLE"


def test_file__not_there__is_unreadable(tmp_path, code_of):
    card = SoftwareCard(tmp_path / "none" / "card")
    assert code_of(card.sign(CHALLENGE, pin=PIN)) == "KIOSK_CARD_UNREADABLE"
    assert code_of(card.tries_left()) == "KIOSK_CARD_UNREADABLE"


@pytest.mark.requirement("R-047")
def test_issue__serial_used_before__is_refused_by_the_authority(make_card, serials):
    serial_number = serials()
    make_card(serial_number=serial_number)
    with pytest.raises(AuthorityError, match="発行済み"):
        make_card(serial_number=serial_number)


@pytest.mark.parametrize("text", ["", "0AB", "ab", "G1", "F" * 41, "F" * 40, "1 ", "１"])
def test_parse_serial__not_as_the_register_has_it__is_refused(text):
    with pytest.raises(AuthorityError):
        parse_serial(text)


@pytest.mark.requirement("R-047")
def test_card_list__as_the_core_system_writes_it__gives_number_period_and_state(
    shared_authority: Authority, tmp_path, moving_clock, serials
):
    serial_numbers = [f"{serials():X}" for _ in range(2)]
    lines = [
        {
            "addressee_number": "000000000000017", "full_name": "甲野 太郎",
            "born_on": "1980-01-01", "serial_number": serial_number, "issuer_key": "0" * 64,
            "valid_from": "2024-04-01", "expires_on": "2029-04-01", "state": state,
        }
        for serial_number, state in zip(serial_numbers, ("revoked", "valid"), strict=True)
    ]  # fmt: skip
    path = tmp_path / "cards.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    listed = find_listed_card(path, addressee_number="000000000000017")
    assert listed.serial_number == serial_numbers[1]
    old = find_listed_card(path, serial_number=serial_numbers[0])
    for number, one in enumerate((listed, old)):
        card = issue_listed_card(
            shared_authority, one, tmp_path / f"{number}.card", pin=PIN, at=moving_clock()
        )
        assert isinstance(card.read_cert(), bytes)
    states = [shared_authority.find(int(serial, 16)).state for serial in serial_numbers]
    assert states == [State.REVOKED, State.GOOD]
    assert listed.period.ends_at.isoformat() == "2029-04-01T23:59:59+09:00"
    assert serial_numbers[1] not in repr(listed)
    with pytest.raises(AuthorityError, match="該当"):
        find_listed_card(path, addressee_number="1")
    path.write_text("{}\n")
    with pytest.raises(AuthorityError, match="1行目"):
        list(read_card_list(path))


@pytest.mark.requirement("R-047")
def test_issuer_key__in_the_core_system_and_in_the_certificate__is_the_same(card):
    parsed = parse_user_auth_cert(card.read_cert())
    assert parsed.issuer_key == numbers.MAIN_ISSUER_KEY
