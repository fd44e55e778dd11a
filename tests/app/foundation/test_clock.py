"""One clock in Japan time, whatever the machine thinks."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from bcl.foundation import audit, clock, tenancy
from bcl.foundation.models import AuditEntry

pytestmark = pytest.mark.requirement("R-263")

_PRINT = "from bcl.foundation import clock; print(clock.now().isoformat(), clock.today())"


def _now_elsewhere(**environ: str) -> tuple[datetime, str]:
    printed = subprocess.run(
        [sys.executable, "-c", _PRINT],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return datetime.fromisoformat(printed[0]), printed[1]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati"])
def test_clock__in_any_machine_zone__tells_japan_time(zone):
    at, day = _now_elsewhere(TZ=zone)
    assert at.utcoffset() == timedelta(hours=9)
    assert abs(at - datetime.now(UTC)) < timedelta(seconds=30)  # noqa: TID251 - compared with the machine
    assert day == at.date().isoformat()


def test_clock__with_an_offset__is_shifted_in_every_process_of_the_world():
    for _ in range(2):
        at, _ = _now_elsewhere(BCL_CLOCK_OFFSET_SECONDS="86400")
        ahead = at - datetime.now(UTC)  # noqa: TID251 - compared with the machine
        assert timedelta(hours=24) - ahead < timedelta(seconds=30)


def test_clock__fixed_in_a_test__is_what_acts_record(town):
    moment = datetime(2026, 12, 31, 23, 59, 59, tzinfo=clock.JST)
    with clock.use(clock.Clock(fixed=moment)), tenancy.scope(town):
        audit.record(act="test_act", by=audit.SYSTEM, at=clock.now())
    with tenancy.scope(town):
        assert AuditEntry.objects.get(act="test_act").at == moment
