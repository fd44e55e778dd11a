"""Two persons agree on exactly one profile; classes beyond the ordinary ones are named twice."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from store_world import Sender, resident

from bcl.foundation import tenancy
from bcl.foundation.models import AuditEntry
from bcl.subscriptions import api
from bcl.subscriptions.models import Subscription
from bcl_contract.refusals import Refusal

pytestmark = pytest.mark.requirement("R-029")
SENSITIVE = {
    "columns": {"J01": ["addressee_number", "registered_domicile"]},
    "allow": {"sensitive": "本籍の確認"},
}


def test_request__alone__gives_nothing(town, agreement, caller, consumer, make_profile) -> None:
    Sender(town).send({"J01": [resident(1, household=1)]})
    assert not isinstance(agreement.ask(make_profile()), Refusal)
    assert api.prepare_deliveries(town) == 0
    assert consumer.ask().code == "SUBSCRIPTION_TOWN_NOT_AGREED"


def test_approval__by_the_same_person_or_of_something_else__is_refused(
    agreement, caller, make_profile
) -> None:
    profile = make_profile()
    agreement.ask(profile)
    assert agreement.approve(profile, "staff-a").code == "SUBSCRIPTION_SAME_PERSON"
    other = make_profile(columns={"J01": ["full_name"]})
    assert agreement.approve(other).code == "SUBSCRIPTION_CHANGED"
    assert agreement.ask(other).code == "SUBSCRIPTION_ASKED_ALREADY"


def test_sensitive_class__not_named_by_the_approver__is_refused(
    town, agreement, caller, consumer, make_profile
) -> None:
    profile = make_profile(**SENSITIVE)
    agreement.ask(profile)
    for named in ("", "individual_number", "protected_places+sensitive"):
        refused = agreement.approve(profile, classes=named)
        assert refused.code == "SUBSCRIPTION_CLASS_NOT_APPROVED"
    approved = agreement.approve(profile, classes="sensitive")
    assert (approved.state, approved.approved_classes) == ("ACTIVE", "sensitive")


def test_unknown_subscriber_or_town__is_refused(town, agreement, make_profile) -> None:
    assert agreement.ask(make_profile()).code == "SUBSCRIPTION_SUBSCRIBER_UNKNOWN"
    elsewhere = make_profile(towns=["999989"])
    assert agreement.ask(elsewhere).code == "SUBSCRIPTION_TOWN_NOT_NAMED"


def test_new_version__approved__ends_the_old_one_and_begins_an_epoch(
    town, agreement, consumer, make_profile
) -> None:
    Sender(town).send({"J01": [resident(1, household=1)]})
    agreement.agreed()
    consumer.follow()
    wider = make_profile(columns={"J01": ["addressee_number", "full_name", "sex"]})
    agreement.ask(wider)
    assert consumer.follow() == 0, "until it is approved the old one goes on"
    agreement.approve(wider)
    assert consumer.ask().code == "SUBSCRIPTION_EPOCH_CHANGED"
    consumer.epoch, consumer.after, consumer.copy = None, 0, {}
    consumer.follow()
    assert set(consumer.by_number()[f"{1:015d}"]) == {"addressee_number", "full_name", "sex"}
    states = [each.row.state for each in api.list_versions(town, "school-roll")]
    assert states == ["ACTIVE", "ENDED"]


def test_pause_and_resume__keep_the_position(town, agreement, consumer) -> None:
    sender = Sender(town)
    sender.send({"J01": [resident(1, household=1)]})
    agreement.agreed()
    consumer.follow()
    agreement.change("pause")
    assert consumer.ask().code == "SUBSCRIPTION_PAUSED"
    assert agreement.change("pause").code == "SUBSCRIPTION_STATE"
    sender.send({"J01": [resident(2, household=2)]}, mode="differential")
    agreement.change("resume")
    assert consumer.follow() == 1 and len(consumer.copy) == 2


def test_acts__each__leave_an_audit_row_with_the_digest(town, agreement, caller) -> None:
    profile = agreement.agreed()
    agreement.change("end")
    with tenancy.scope(town):
        rows = AuditEntry.objects.filter(act__endswith="_subscription").order_by("pk")
        acts = [(row.act, row.actor_id) for row in rows]
        assert {row.detail["profile_sha256"] for row in rows} == {profile.sha256}
    assert acts == [
        ("request_subscription", "staff-a"), ("approve_subscription", "staff-b"),
        ("end_subscription", "staff-a"),
    ]


def test_database__refuses_a_running_row_that_one_person_made(town, agreement, caller) -> None:
    from django.db import IntegrityError, transaction

    agreement.agreed()
    with pytest.raises(IntegrityError), tenancy.scope(town), transaction.atomic():
        Subscription.objects.update(approved_by="staff-a")


@pytest.mark.requirement("R-155")
def test_command__add_approve_show__needs_one_file_and_no_code(
    town, agreement, caller, tmp_path, monkeypatch
) -> None:
    from bcl_cli import subscription as command

    monkeypatch.setattr(command, "start", lambda: None)
    file = tmp_path / "profile.toml"
    file.write_text(
        'name = "new-service"\ntitle = "新しいサービス"\npurpose = "試験"\n'
        'legal_basis = "条例第1条"\nsubscriber = "school-system"\ntowns = ["999997"]\n'
        '[columns]\nJ01 = ["addressee_number", "registered_domicile"]\n'
        '[allow]\nsensitive = "本籍の確認"\n',
        encoding="utf-8",
    )
    for staff_id, key in agreement.keys.items():
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{staff_id}.key").write_bytes(pem)

    def run(*words: str, by: str | None = None):
        signer = ["--as", by, "--key", str(tmp_path / f"{by}.key")] if by else []
        return CliRunner().invoke(command.subscription, [*words, *signer])

    added = run("add", "--profile", str(file), by="staff-a")
    assert added.exit_code == 0 and "申請しました" in added.output, added.output
    here = ["new-service", "--municipality", town]
    plain = run("approve", *here, by="staff-b")
    assert plain.exit_code == 3 and "SUBSCRIPTION_CLASS_NOT_APPROVED" in plain.output
    approved = run("approve", *here, "--class", "sensitive", by="staff-b")
    assert approved.exit_code == 0, approved.output
    shown = run("show", *here)
    for words in ("新しいサービス", "本籍", "本籍の確認", "承認:", "staff-b"):
        assert words in shown.output
    assert "配信中" in run("list").output
    file.write_text(file.read_text().replace("registered_domicile", "no_such"), encoding="utf-8")
    refused = run("add", "--profile", str(file), by="staff-a")
    assert refused.exit_code == 3 and "SUBSCRIPTION_PROFILE_INVALID" in refused.output
    assert json.dumps(refused.output).count("no_such") == 0
    assert run("remove", *here, by="staff-a").exit_code == 0
    assert "終了" in run("show", *here).output
