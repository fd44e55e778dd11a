"""How fast the gateway may send: by hours of the day, seen in status, kept on the real line."""

from datetime import datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcl_contract.clock import JST
from bcl_gateway.bandwidth import HourLimit, Pace, SendingLimits
from bcl_gateway.config import ConfigFault, parse_config
from bcl_gateway.seams import Seams
from bcl_gateway.status import status_lines

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=JST)


class Watch:
    """Seams whose time passes only by sleeping."""

    def __init__(self) -> None:
        self.at = 0.0

    def seams(self) -> Seams:
        return Seams(sleep=self.sleep, monotonic=lambda: self.at)

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.at += seconds


@pytest.mark.requirement("R-013")
@given(
    rate=st.integers(1024, 10_000_000),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=40),
)
def test_pace__any_rate_and_any_pauses__no_window_carries_more_than_the_limit(
    rate: int, pauses: list[float]
) -> None:
    watch = Watch()
    pace = Pace(SendingLimits(rate), watch.seams())
    sent: list[tuple[float, int]] = []
    for pause in pauses:
        watch.at += pause
        size = pace.piece_bytes()
        pace.wait(size)
        sent.append((watch.at, size))
    for first in range(len(sent)):
        total = 0
        for at, size in sent[first:]:
            total += size
            # One second of credit after a pause, and the piece itself.
            assert total <= rate * (at - sent[first][0] + 1.0) + 2 * sent[first][1] + 1


@pytest.mark.parametrize(
    ("begins", "ends", "at", "limit"),
    [
        ("08:30", "17:15", "08:29", 5000),
        ("08:30", "17:15", "08:30", 2000),
        ("08:30", "17:15", "17:15", 5000),
        ("22:00", "06:00", "23:59", 2000),
        ("22:00", "06:00", "05:59", 2000),
        ("22:00", "06:00", "06:00", 5000),
    ],
)
def test_limits__by_hours__hold_from_begin_to_end_also_over_midnight(
    begins: str, ends: str, at: str, limit: int
) -> None:
    hours = (HourLimit(time.fromisoformat(begins), time.fromisoformat(ends), 2000),)
    moment = datetime.combine(NOON.date(), time.fromisoformat(at), tzinfo=JST)
    assert SendingLimits(5000, hours).at(moment) == limit
    assert SendingLimits(None, hours).at(moment) == (None if limit == 5000 else limit)


def test_send__with_a_limit__keeps_it_on_the_real_line_and_status_says_so(
    make_settings, drop, tmp_path
) -> None:
    from bcl_gateway.api import Gateway

    watch = Watch()
    settings = make_settings(sending={"bytes_per_second": 50_000, "hours": []})
    config = parse_config(settings, base=tmp_path)
    with Gateway(config, seams=watch.seams()) as gateway:
        drop("night")
        gateway.run_once()
        (item,) = gateway.journal.items()
        assert item.package_bytes is not None and item.offset == item.package_bytes
        # The first second may go out at once, the rest takes its time.
        assert watch.at >= item.package_bytes / 50_000 - 1.5
        lines = status_lines(gateway.status())
    assert any("毎秒 50,000バイトまで" in line for line in lines)


def test_config__limit_of_some_hours__holds_in_them_alone(make_settings, tmp_path) -> None:
    hours = [{"begins": "13:00", "ends": "14:00", "bytes_per_second": 2048}]
    limits = parse_config(make_settings(sending={"hours": hours}), base=tmp_path).limits
    assert limits.at(NOON) is None
    assert limits.at(NOON + timedelta(hours=1, minutes=5)) == 2048


@pytest.mark.parametrize(
    "sending",
    [
        {"bytes_per_second": 5},
        {"bytes_per_second": -1},
        {"hours": [{"begins": "8:30", "ends": "17:00", "bytes_per_second": 4096}]},
        {"hours": [{"begins": "08:30", "ends": "24:00", "bytes_per_second": 4096}]},
        {"hours": [{"begins": "08:30", "ends": "17:00", "bytes_per_second": 0}]},
        {"hours": [{"begins": "08:30", "ends": "17:00", "bytes_per_second": 4096, "x": 1}]},
        {"hours": "all day"},
        {"speed": 5000},
    ],
)
def test_config__limit_that_is_none__stops_with_one_sentence(
    make_settings, tmp_path, sending
) -> None:
    with pytest.raises(ConfigFault, match="sending"):
        parse_config(make_settings(sending=sending), base=tmp_path)


@pytest.mark.requirement("R-014")
@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": "age1short"},
        {"recipient": "AGE-SECRET-KEY-1" + "Q" * 58},
        {"method": "nismail"},
        {"answer_minutes": 0},
        {"outgoing": "x"},
    ],
)
def test_config__transfer_that_is_none__stops_with_one_sentence(
    make_settings, tmp_path, changes
) -> None:
    transfer = {
        "method": "external",
        "outgoing_dir": "out",
        "incoming_dir": "in",
        "recipient": "age1" + "q" * 58,
        "key_id": "transfer-1",
    }
    settings = make_settings(transfer=transfer)
    settings["server"] = {"receipt_key": settings["server"]["receipt_key"]}
    assert parse_config(settings, base=tmp_path).folders is not None
    with pytest.raises(ConfigFault, match="transfer"):
        parse_config(settings | {"transfer": transfer | changes}, base=tmp_path)
