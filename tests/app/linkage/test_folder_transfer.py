"""Drop folders of an external tool at BCL: keys, damaged words, full disks, interrupted rounds."""

import json
import os
from dataclasses import replace
from datetime import timedelta

import pyrage
import pytest
from click.testing import CliRunner

from bcl_contract import clock, folder_transfer
from bcl_contract.folder_transfer import Word

TOWN_SETTINGS = {"environment": "verification", "kind": "package"}


@pytest.fixture
def carried(town, gateway, tmp_path, monkeypatch, packages):
    """Puts a full package of the town into its folder, as the tool would."""
    from django.conf import settings

    from bcl.foundation import audit
    from bcl.linkage import api as linkage

    monkeypatch.setattr(
        settings, "BCL", replace(settings.BCL, folder_transfer_dir=tmp_path / "folders")
    )
    folders = linkage.make_transfer_folders(town)
    key = linkage.get_transfer_key(town, by=audit.Actor("system", "test"), at=clock.now())

    class Carried:
        def __init__(self) -> None:
            self.folders, self.key = folders, key

        def put(self, content: bytes, bundle_id: str, **changes):
            recipient = pyrage.x25519.Recipient.from_str(key.recipient)
            sealed = pyrage.encrypt(content, [recipient])
            digest = folder_transfer.digest(sealed)
            name = folder_transfer.file_name(town, bundle_id, digest, ".package")
            facts = TOWN_SETTINGS | {
                "municipality_code": town,
                "sent_at": clock.now(),
                "bundle_id": bundle_id,
                "package_sha256": folder_transfer.digest(content),
                "package_bytes": len(content),
                "file_name": name,
                "file_bytes": len(sealed),
                "file_sha256": digest,
                "key_id": key.key_id,
            }
            word = Word.model_validate(facts | changes)
            (folders.incoming / name).write_bytes(sealed)
            path = folders.incoming / name.replace(".package", ".ready")
            path.write_bytes(folder_transfer.write_word(word, gateway.signing_key))
            return path

        def watch(self):
            return linkage.watch_folder(town, at=clock.now())

        def answers(self):
            from bcl_contract import receipts

            public = receipts.parse_public_key(linkage.get_receipt_public_key(town, at=clock.now()))
            found = []
            for path in sorted(folders.outgoing.iterdir()):
                found.append(folder_transfer.read_answer(path.read_bytes()).said_by(public))
            assert all(found)
            return found

    return Carried()


def transmissions(town):
    from bcl.foundation import tenancy
    from bcl.linkage.models import Transmission

    with tenancy.scope(town):
        return list(Transmission.objects.all())


@pytest.mark.requirement("R-014")
def test_renewed_key__what_was_sealed_for_the_earlier_one__still_opens(
    town, carried, new_bundle_id
) -> None:
    from bcl.foundation import audit
    from bcl.linkage import api as linkage

    carried.put(b"x" * 3_000_000, new_bundle_id())
    by = audit.Actor("system", "test")
    renewed = linkage.get_transfer_key(town, by=by, at=clock.now(), renew=True)
    assert renewed.key_id != carried.key.key_id and renewed.recipient != carried.key.recipient
    assert carried.watch().taken == 1
    assert [one.bytes for one in transmissions(town)] == [3_000_000]


@pytest.mark.requirement("R-014")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"key_id": "transfer-99"}, "LINKAGE_FOLDER_KEY_UNKNOWN"),
        ({"package_sha256": "0" * 64}, "LINKAGE_FOLDER_DAMAGED"),
        ({"package_bytes": 4999}, "LINKAGE_UPLOAD_BODY_TOO_LONG"),
        ({"package_bytes": 5001}, "LINKAGE_FOLDER_DAMAGED"),
        ({"package_bytes": 2**40}, "LINKAGE_UPLOAD_TOO_LARGE"),
        ({"environment": "production"}, "LINKAGE_ENVIRONMENT_MISMATCH"),
        ({"sent_at": "ahead"}, "TRANSMISSION_CLOCK_SKEW"),
    ],
)
def test_word__says_what_is_not_so__is_refused_by_a_signed_answer_and_leaves_nothing(
    town, carried, new_bundle_id, changes, code
) -> None:
    if "sent_at" in changes:
        changes = {"sent_at": clock.now() + timedelta(seconds=90)}
    carried.put(b"x" * 5000, new_bundle_id(), **changes)
    assert carried.watch().refused == 1
    (answer,) = carried.answers()
    assert answer.refusal["code"] == code and answer.content is None
    assert list(carried.folders.incoming.iterdir()) == []
    assert transmissions(town) == []
    from bcl.foundation import tenancy
    from bcl.linkage.models import Upload

    with tenancy.scope(town):
        assert not Upload.objects.filter(state="OPEN").exists()


@pytest.mark.requirement("R-014")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:-10],
        lambda data: data + b"}",
        lambda data: b"\xff" + data,
        lambda data: json.dumps({"word": json.loads(data)["word"]}).encode(),
        lambda data: json.dumps(json.loads(data) | {"signature": "?"}).encode(),
        lambda data: data.replace(b'"kind": "package"', b'"kind": "package", "kind": "contact"'),
        lambda data: b"[" * 100_000,
    ],
)
def test_word__that_is_none__waits_and_stops_nobody(town, carried, new_bundle_id, spoil) -> None:
    path = carried.put(b"x" * 100, new_bundle_id())
    path.write_bytes(spoil(path.read_bytes()))
    carried.put(b"y" * 100, new_bundle_id())
    found = carried.watch()
    assert (found.taken, found.waiting, found.refused) == (1, 1, 0)
    assert len(transmissions(town)) == 1


@pytest.mark.requirement("R-014")
@pytest.mark.requirement("R-041")
def test_links_and_strangers_files__are_not_followed_and_left_alone(
    town, carried, new_bundle_id, tmp_path
) -> None:
    path = carried.put(b"x" * 100, new_bundle_id())
    package = path.with_suffix(".package")
    elsewhere = tmp_path / "elsewhere"
    package.rename(elsewhere)
    package.symlink_to(elsewhere)
    (carried.folders.incoming / "読んで.txt").write_text("よその物")
    (carried.folders.incoming / "999997_..%2f_0000000000000000.ready").write_text("{}")
    assert carried.watch().taken == 0
    assert transmissions(town) == [] and elsewhere.exists()
    assert (carried.folders.incoming / "読んで.txt").exists()


@pytest.mark.requirement("R-014")
def test_round__interrupted_after_the_upload_was_made__is_taken_up_not_piled_up(
    town, carried, new_bundle_id, monkeypatch
) -> None:
    from bcl.foundation import tenancy
    from bcl.linkage.actions import upload as uploads
    from bcl.linkage.models import Upload

    carried.put(b"x" * 100_000, new_bundle_id())
    real = uploads.append_chunk
    for _ in range(3):
        monkeypatch.setattr(uploads, "append_chunk", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            carried.watch()
    monkeypatch.setattr(uploads, "append_chunk", real)
    with tenancy.scope(town):
        assert Upload.objects.count() == 1
    assert carried.watch().taken == 1
    assert len(transmissions(town)) == 1


@pytest.mark.requirement("R-014")
def test_disk_nearly_full__package_waits_and_is_taken_later(
    town, carried, new_bundle_id, monkeypatch
) -> None:
    from bcl.linkage.adapters.receive_area import ReceiveArea

    carried.put(b"x" * 100, new_bundle_id())
    with monkeypatch.context() as patched:
        patched.setattr(ReceiveArea, "free_bytes", lambda _: 10)
        assert carried.watch().waiting == 1
    assert len(list(carried.folders.incoming.iterdir())) == 2
    assert carried.watch().taken == 1


@pytest.mark.requirement("R-014")
def test_leftovers__are_cleared_after_a_week(town, carried, new_bundle_id) -> None:
    path = carried.put(b"x" * 100, new_bundle_id())
    path.unlink()  # the word never came
    (package,) = carried.folders.incoming.iterdir()
    carried.watch()
    assert package.exists()
    old = package.stat().st_mtime - 8 * 86400
    os.utime(package, (old, old))
    carried.watch()
    assert not package.exists()


@pytest.mark.requirement("R-014")
def test_watch_folder__of_a_town_without_folders__does_nothing(other_town, carried) -> None:
    from bcl.linkage import api as linkage

    assert linkage.watch_folder(other_town, at=clock.now()) == linkage.FolderRound()
    assert not (carried.folders.root / other_town).exists()


@pytest.mark.requirement("R-014")
def test_transfer_key_command__shows_what_both_ends_need(town, carried) -> None:
    from bcl_cli.linkage import linkage

    done = CliRunner().invoke(linkage, ["transfer-key", "--municipality", town, "--json"])
    assert done.exit_code == 0, done.output
    shown = json.loads(done.output)
    assert shown["recipient"] == carried.key.recipient and shown["key_id"] == carried.key.key_id
    assert shown["incoming_dir"] == str(carried.folders.incoming)
    assert "秘密" not in done.output and "AGE-SECRET" not in done.output
