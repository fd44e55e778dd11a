"""The one clock: always JST, always aware, shiftable."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest

from bcl_contract import clock


@pytest.mark.requirement("R-263")
def test_now__by_default__is_the_machines_time_in_japan():
    before = datetime.now(UTC)  # noqa: TID251
    now = clock.now()
    assert now.utcoffset() == timedelta(hours=9)
    assert timedelta(0) <= now - before < timedelta(seconds=5)


@pytest.mark.requirement("R-263")
def test_use__a_fixed_clock__holds_inside_the_block_only():
    fixed = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
    with clock.use(clock.Clock(fixed=fixed)):
        assert clock.now() == fixed
        assert clock.today() == date(2026, 11, 23)  # already the next day in Japan
        with clock.use(clock.Clock(offset=timedelta(days=-1), fixed=fixed)):
            assert clock.today() == date(2026, 11, 22)
        assert clock.today() == date(2026, 11, 23)
    assert clock.now() != fixed


def test_clock__a_naive_time__is_refused():
    with pytest.raises(ValueError, match="time zone"):
        clock.Clock(fixed=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(("offset", "good"), [("86400", True), ("morgen", False)])
def test_clock__offset_of_a_world__is_read_once_from_the_environment(offset, good):
    code = "from bcl_contract import clock; print(clock.now().isoformat())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, clock.OFFSET_VARIABLE: offset},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is good
    if good:
        ahead = datetime.fromisoformat(done.stdout.strip()) - datetime.now(UTC)  # noqa: TID251
        assert timedelta(hours=23) < ahead < timedelta(hours=25)
    else:
        assert "秒数" in done.stderr
