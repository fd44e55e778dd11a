"""Reading the core system's list of cards (``cards.jsonl``): whose serial numbers are given.

The town's core system knows which certificate belongs to whom (J05) before any card file exists;
the simulated JPKI then issues a card under exactly that number, period and state.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

from bcl_contract.clock import JST
from bcl_sim.jpki.authority import Authority, AuthorityError, Period, State, parse_serial
from bcl_sim.jpki.card import SoftwareCard, issue_card

_STATES = {"valid": State.GOOD, "revoked": State.REVOKED, "suspended": State.SUSPENDED}


@dataclass(frozen=True)
class ListedCard:
    """One line of the list, without the holder's name and day of birth."""

    addressee_number: str
    serial_number: str
    period: Period
    state: State

    def __repr__(self) -> str:
        return f"ListedCard(****{self.serial_number[-4:]})"


def read_card_list(path: Path | str) -> Iterator[ListedCard]:
    """Read the list line by line. Raises `AuthorityError` naming the line that is wrong."""
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield _parse(json.loads(line))
            except (ValueError, KeyError, TypeError):
                raise AuthorityError(f"カード一覧の{number}行目を読み取れません。") from None


def _parse(line: dict[str, str]) -> ListedCard:
    starts_on = date.fromisoformat(line["valid_from"])
    # The last day counts whole: a card expires at midnight in Japan, not in Greenwich.
    last = date.fromisoformat(line["expires_on"]) + timedelta(days=1)
    period = Period(
        datetime.combine(starts_on, time.min, JST),
        datetime.combine(last, time.min, JST) - timedelta(seconds=1),
    )
    return ListedCard(
        line["addressee_number"], line["serial_number"], period, _STATES[line["state"]]
    )


def find_listed_card(
    path: Path | str, *, serial_number: str | None = None, addressee_number: str | None = None
) -> ListedCard:
    """Find a card by serial number, or a person's good one by addressee number.

    Raises `AuthorityError` when there is none.
    """
    for card in read_card_list(path):
        if serial_number is not None and card.serial_number == serial_number:
            return card
        if addressee_number is not None and card.addressee_number == addressee_number:
            if card.state is State.GOOD:
                return card
    raise AuthorityError("カード一覧に該当する電子証明書がありません。")


def issue_listed_card(
    authority: Authority, listed: ListedCard, path: Path | str, *, pin: str, at: datetime
) -> SoftwareCard:
    """Issue the card file of a listed card and bring the register to the listed state."""
    serial_number = parse_serial(listed.serial_number)
    card = issue_card(authority, path, serial_number=serial_number, pin=pin, period=listed.period)
    if listed.state is not State.GOOD:
        authority.set_state(serial_number, listed.state, at)
    return card
