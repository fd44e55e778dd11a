"""The drill restores what the second place holds, and says loudly when it is not what it was."""

from __future__ import annotations

import secrets
from datetime import timedelta

import pytest

from bcl.backup import drill, fingerprint
from bcl.backup.take import server_time
from bcl_contract import clock

pytestmark = pytest.mark.django_db(transaction=True)


def run(set_up, *, until=None) -> drill.DrillReport:
    from django.conf import settings

    return drill.run(
        set_up.place, set_up.tools, folder=settings.BCL.state_dir / "drill", until=until
    )


@pytest.mark.requirement("R-034")
@pytest.mark.requirement("R-042")
def test_drill__any_moment_of_five_states__gives_exactly_that_state(
    set_up, sender, residents
) -> None:
    set_up.take()
    borders, digests = [], []
    for step in range(5):
        assert sender.send({"J01": residents(20, "甲乙丙丁戊"[step])}).landed
        borders.append(server_time(set_up.source))
        digests.append(fingerprint.of_town(sender.town, at=clock.now()).digest)
    assert len(set(digests)) == 5
    end = borders[-1] + timedelta(milliseconds=50)
    drill._mark()  # something is committed after the last moment that is asked for
    set_up.wait_for_log()
    for step, (after, before) in enumerate(zip(borders, [*borders[1:], end], strict=True)):
        # A load takes long after its border; a tenth of the way it has not committed yet.
        span = (before - after) / 10 if before != end else timedelta(milliseconds=1)
        moment = after + span * (secrets.randbelow(1000) / 1000)
        report = run(set_up, until=moment)
        assert report.findings == [], report.findings
        assert report.loads == {sender.town: step + 1}
        assert report.digests == {sender.town: digests[step]}
        assert report.digest_equal and report.fenced and report.without_network
