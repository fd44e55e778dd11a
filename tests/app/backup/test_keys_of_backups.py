"""A backup is worth what its keys are: wrong ones are told, after an erasure nothing opens."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl.backup import drill
from bcl.backup.take import server_time
from bcl.foundation import keys
from bcl.foundation.key_provider_file import FileKeyProvider
from bcl.municipalities import api as municipalities
from bcl.municipalities import erasure
from bcl_contract import clock
from bcl_contract.signed_acts import sign_act

pytestmark = pytest.mark.django_db(transaction=True)


def run(second, *, until=None) -> drill.DrillReport:
    from django.conf import settings

    folder = settings.BCL.state_dir / "drill"
    return drill.run(second.place, second.tools, folder=folder, until=until)


def codes(report: drill.DrillReport) -> list[str]:
    return [finding["code"] for finding in report.findings]


@pytest.mark.requirement("R-034")
def test_drill__with_the_keys_of_another_installation__fails_loudly(
    set_up, sender, residents, settings, tmp_path
) -> None:
    assert sender.send({"J01": residents(9, "卯")}).landed
    set_up.take()
    set_up.wait_for_log()
    assert run(set_up).passed
    FileKeyProvider.create(tmp_path / "other" / "provider.key")
    settings.BCL = dataclasses.replace(
        settings.BCL, key_file=tmp_path / "other" / "provider.key"
    )
    keys.forget_cached_keys()
    report = run(set_up)
    assert codes(report) == ["DRILL_PAGE_BROKEN"] and report.digest_equal is False


def erase(town: str) -> dict:
    """Two members of staff erase the town's keys for good."""
    people = {name: Ed25519PrivateKey.generate() for name in ("staff-a", "staff-b")}
    for name, key in people.items():
        municipalities.register_staff(town, name, key.public_key())

    def signed(name: str, act: str, content):
        return sign_act(
            act=act, municipality_code=town, staff_id=name, at=clock.now(),
            content=content, private_key=people[name],
        )  # fmt: skip

    why = {"reason_code": "CONTRACT_ENDED", "reference": "doc-1"}
    asked = municipalities.request_erasure(
        town,
        **why,
        signed=signed("staff-a", "request_erasure", erasure.request_content(**why)),
        at=clock.now(),
    )
    approval = erasure.approval_content(asked.pk, asked.request_sha256)
    return municipalities.approve_erasure(
        town, asked.pk, signed=signed("staff-b", "approve_erasure", approval), at=clock.now()
    )


@pytest.mark.requirement("R-027")
def test_erased_town__backup_from_before__gives_nothing_back_and_the_drill_goes_on(
    set_up, sender, residents, monkeypatch
) -> None:
    assert sender.send({"J01": residents(9, "辰")}).landed
    set_up.take()
    assert sender.send({"J01": residents(9, "巳")}).landed
    before = server_time(set_up.source)
    drill._mark()
    set_up.wait_for_log()
    assert run(set_up, until=before).records == 9
    proof = erase(sender.town)["content"]
    assert proof["nothing_opens"] and proof["backups"]["readable_until"] is None
    set_up.wait_for_log()
    found = {}
    examined = drill._examine
    monkeypatch.setattr(drill, "_examine", lambda *given: found.update(examined(*given)) or found)
    for until in (before, None):
        report = run(set_up, until=until)
        assert report.passed and report.records == 0, report.findings
        assert report.erased_since == ([sender.town] if until else [])
        # Opened from outside the database's word: its pages lie there, and nothing opens them.
        assert found["towns"][sender.town]["state"] == ("BROKEN" if until else "ERASED")
