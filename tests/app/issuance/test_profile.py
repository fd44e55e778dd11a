"""Certificates are a use of the data of its own: begun, built, ended, removed (R-011)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from click.testing import CliRunner

from bcl.foundation import audit, clock, jobs, retention, tenancy
from bcl.issuance import api, queries
from bcl.issuance.models import IssuableRecord
from bcl.issuance.retention import _position
from bcl.municipalities import api as municipalities
from bcl.municipalities.api import Profile
from bcl_contract.refusals import Refusal

pytestmark = pytest.mark.requirement("R-011")
BY = audit.Actor("staff", "staff-a")


def end(code: str) -> None:
    assert not isinstance(api.disable_certificates(code, by=BY, at=clock.now()), Refusal)


def begin(code: str) -> None:
    assert not isinstance(api.enable_certificates(code, by=BY, at=clock.now()), Refusal)


def records(code: str) -> int:
    with tenancy.scope(code):
        return IssuableRecord.objects.count()


def test_new_municipality__has_the_backup_and_nothing_else(db) -> None:
    municipalities.register_municipality(
        municipality_code="999946", name_ja="新市", head_title_ja="市長", mayor_name_ja="新 太郎"
    )
    uses = {use.profile: use.is_enabled for use in municipalities.list_profile_uses("999946")}
    assert uses == {Profile.BACKUP: True, Profile.CERTIFICATES: False, Profile.DISASTER: False}


def test_request__with_the_backup_only__is_refused_with_its_own_code(world) -> None:
    end(world.code)
    card = world.resident("1")
    assert records(world.code) == 0, "nothing is copied for a use that has not begun"
    answer = world.issue(card)
    assert isinstance(answer, Refusal) and answer.code == "CENTER_PROFILE_NOT_ENABLED"
    inquiry = api.inquire(
        request=world.inquire_request(card), by=audit.Actor("center", "c1"), at=clock.now()
    )
    assert isinstance(inquiry, Refusal) and inquiry.code == "CENTER_PROFILE_NOT_ENABLED"


def test_beginning_later__builds_the_records_and_then_issues(world) -> None:
    end(world.code)
    card = world.resident("1")
    begin(world.code)
    before = api.find_projection_progress(world.code)
    assert before.is_building and (before.loads, before.of) == (0, len(world.store.loads))
    answer = world.issue(card)
    assert isinstance(answer, Refusal) and answer.code == "CENTER_UNDER_MAINTENANCE"
    jobs.run_pending_now(queues=["issuance"])
    after = api.find_projection_progress(world.code)
    assert not after.is_building and records(world.code) == 2
    assert isinstance(world.issue(card), api.Issued)


def test_ending__stops_at_once_and_retention_removes_the_records_with_proof(world) -> None:
    card = world.resident("1")
    assert isinstance(world.issue(card), api.Issued)
    end(world.code)
    answer = world.issue(card)
    assert isinstance(answer, Refusal) and answer.code == "CENTER_PROFILE_NOT_ENABLED"
    with tenancy.scope(world.code):
        assert _position(world.code) is None, "a use that has ended holds no history back"
    world.resident("2")
    assert records(world.code) == 2, "nothing more is copied"
    period = next(
        each for each in retention.periods(clock.now())
        if each.data_class == "issuance.disabled_projection"
    )
    step = {"keep_days": period.keep_days or 0}
    early = retention.delete_step(world.code, period, at=clock.now(), **step)
    assert early is None and records(world.code) == 2
    late = clock.now() + timedelta(days=step["keep_days"], minutes=1)
    certificate = retention.delete_step(world.code, period, at=late, **step)
    assert certificate is not None and certificate.content["counts"] == {"records": 2}
    assert records(world.code) == 0
    begin(world.code)
    jobs.run_pending_now(queues=["issuance"])
    assert records(world.code) == 4 and isinstance(world.issue(card), api.Issued)


def test_same_state_again__is_refused_and_each_act_is_on_record(world) -> None:
    again = api.enable_certificates(world.code, by=BY, at=clock.now())
    assert isinstance(again, Refusal) and again.code == "PROFILE_STATE"
    end(world.code)
    twice = api.disable_certificates(world.code, by=BY, at=clock.now())
    assert isinstance(twice, Refusal) and twice.code == "PROFILE_STATE"
    assert queries.find_freshness(world.code).store_load == 0


def test_command__enable_and_show__tell_the_progress(world, tmp_path, monkeypatch) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from bcl_cli import profile as command
    from bcl_sim.pki import private_pem

    monkeypatch.setattr(command, "start", lambda: None)
    end(world.code)
    world.resident("1")
    key = Ed25519PrivateKey.generate()
    municipalities.register_staff(world.code, "staff-a", key.public_key())
    (tmp_path / "key").write_bytes(private_pem(key))
    here = ["--municipality", world.code]
    signer = ["--as", "staff-a", "--key", str(tmp_path / "key")]

    def run(*words: str):
        return CliRunner().invoke(command.profile, list(words))

    assert "証明発行: 終了" in run("show", *here).output
    done = run("enable", "certificates", *here, *signer)
    assert done.exit_code == 0, done.output
    shown = run("show", *here).output
    assert "証明発行: 利用中" in shown and "作成中（反映 0 / 1）" in shown
    assert "被災者支援: 始めていません" in shown
    assert run("enable", "disaster", *here, *signer).exit_code == 0
    assert run("disable", "disaster", *here, *signer).exit_code == 0
    assert run("enable", "certificates", *here, *signer).exit_code == 3
