"""The gateway's line from the drop folder to BCL's receipt (journey: daily sync, steps 1-4, 10)."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bcl_contract.linkage.package import open_package
from bcl_contract.refusals import Refusal
from bcl_contract.sealed_file import SealedReader
from bcl_gateway.api import Gateway, Round
from bcl_gateway.collect import Collected
from bcl_gateway.send import Sent
from bcl_gateway.sign import open_spooled
from bcl_gateway.states import ItemState


def signed(gateway: Gateway) -> None:
    """Steps 1 to 3, all of which must go well."""
    assert isinstance(gateway.collect(), Collected)
    for done in (gateway.check(), gateway.sign()):
        assert not isinstance(done, Refusal)


@pytest.mark.requirement("R-012")
@pytest.mark.requirement("R-015")
@pytest.mark.requirement("R-041")
def test_daily_sync__finished_folder__lands_with_a_receipt_and_leaves_nothing_behind(
    gateway: Gateway, drop, server, pki
) -> None:
    folder = drop()
    signed(gateway)
    (item,) = gateway.journal.items()
    assert (item.state, item.lane, item.sequence) == (ItemState.SIGNED, "main", 1)
    assert not folder.exists()
    assert list(gateway.config.work_dir.iterdir()) == []
    (spooled,) = gateway.config.spool_dir.iterdir()
    assert stat.S_IMODE(spooled.stat().st_mode) == 0o600
    assert stat.S_IMODE(gateway.config.spool_dir.stat().st_mode) == 0o700
    assert not spooled.read_bytes().startswith(b"PK")

    sent = gateway.send(patience_seconds=10)
    assert isinstance(sent, Sent) and sent.refusal is None
    (item,) = gateway.journal.items()
    assert item.state is ItemState.LANDED
    assert item.receipt is not None and item.receipt["sha256"] == item.package_sha256
    assert list(gateway.config.spool_dir.iterdir()) == []

    (upload,) = server.complete()
    import io

    verify = pki.gateway_signing("999997").public()
    opened = open_package(
        io.BytesIO(bytes(upload.content)), verify_key=verify, expected_municipality="999997"
    )
    assert not isinstance(opened, Refusal)
    with opened as package:
        assert package.manifest.sequence == 1
        assert package.manifest.bundle_id == item.bundle_id
        for entry in package.manifest.files:
            assert len(package.open_member(entry.name).read()) == entry.bytes
    assert server.checksums == len([1 for method, _ in server.requests if method == "PATCH"]) > 3
    assert server.environments == {"verification"}


@pytest.mark.requirement("R-012")
def test_collect__folder_still_being_written__is_left_alone(gateway: Gateway, drop) -> None:
    def half(folder: Path) -> None:
        with (folder / "999997_T05_F.csv").open("r+b") as file:
            file.truncate(1000)

    drop("growing", half)
    drop("no-marker", lambda folder: (folder / "READY").unlink())
    (gateway.config.drop_dir / "other.part").mkdir()
    done = gateway.collect()
    assert isinstance(done, Collected)
    assert done.taken == () and done.unfinished == ("growing", "no-marker")
    assert sorted(gateway.status()["unfinished"]) == ["growing", "no-marker"]
    assert (gateway.config.drop_dir / "growing" / "READY").exists()


@pytest.mark.requirement("R-012")
def test_collect__not_yet_settled__is_taken_at_the_second_look(
    make_config: Callable, drop, config
) -> None:
    folder = drop()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)

    from bcl_gateway.seams import Seams

    with Gateway(make_config(tuning={"settle_seconds": 3600}), seams=Seams(sleep=sleep)) as gateway:
        first = gateway.collect()
        assert isinstance(first, Collected) and first.taken == () and slept == [3600]
        assert folder.exists()
        from datetime import timedelta

        from bcl_contract import clock

        with clock.use(clock.Clock(offset=timedelta(seconds=3601))):
            (folder / "999997_J06_F.csv").touch()  # still being written
            again = gateway.collect()
            assert isinstance(again, Collected) and again.taken == ()
        with clock.use(clock.Clock(offset=timedelta(seconds=9000))):
            last = gateway.collect()
            assert isinstance(last, Collected) and len(last.taken) == 1


@pytest.mark.requirement("R-012")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("wrong town", "GATEWAY_DROP_WRONG_MUNICIPALITY"),
        ("other bytes", "GATEWAY_DROP_DIGEST"),
        ("bad row", "GATEWAY_CONTENT_INVALID"),
        ("cp932", "GATEWAY_CONTENT_INVALID"),
        ("unknown version", "TRANSMISSION_INTERFACE_VERSION"),
    ],
)
def test_check__wrong_folder__is_returned_with_a_report_and_never_sent(
    gateway: Gateway, drop, server, rewrite_ready, name: str, code: str
) -> None:
    drop("night", _damages(rewrite_ready)[name])
    round_ = gateway.run_once()
    assert isinstance(round_, Round) and (round_.collected, round_.returned) == (1, 1)
    (item,) = gateway.journal.items()
    assert (item.state, item.refusal_code, item.sequence) == (ItemState.RETURNED, code, None)
    (returned,) = gateway.config.rejected_dir.iterdir()
    text = (returned / "結果.txt").read_text()
    assert code in text and "直し方" in text
    assert json.loads((returned / "結果.json").read_text())["refusal"]["code"] == code
    assert server.uploads == {} and list(gateway.config.spool_dir.iterdir()) == []


def _damages(rewrite_ready) -> dict[str, Callable[[Path], None]]:
    def other_bytes(folder: Path) -> None:
        path = folder / "999997_J06_F.csv"
        content = bytearray(path.read_bytes())
        content[-4] ^= 1
        path.write_bytes(content)

    def replace(old: bytes, new: bytes) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            path = folder / "999997_J01_F.csv"
            content = path.read_bytes()
            assert old in content
            change_file(folder, path.name, content.replace(old, new, 1))

        return change

    return {
        "wrong town": rewrite_ready(municipality_code="999989"),
        "other bytes": other_bytes,
        "bad row": replace(b'\r\n"999997","', b'\r\n"999997","\xe8\xa6\x8b\xe6\x9c\xac'),
        "cp932": replace("住所".encode(), "住所".encode("cp932")),
        "unknown version": rewrite_ready(interface_version="9.9"),
    }


def change_file(folder: Path, name: str, content: bytes) -> None:
    """Put other bytes in a dropped file, and say so in READY."""
    import hashlib

    (folder / name).write_bytes(content)
    ready = json.loads((folder / "READY").read_text())
    for file in ready["files"]:
        if file["name"] == name:
            file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "READY").write_text(json.dumps(ready))


@pytest.mark.requirement("R-041")
def test_check__report_of_a_wrong_row__names_the_place_and_never_the_value(
    gateway: Gateway, drop
) -> None:
    canary = "カナリア検体"

    def spoil(folder: Path) -> None:
        content = (folder / "999997_J01_F.csv").read_bytes()
        spoiled = content.replace(b'\r\n"999997","', b'\r\n"999997","' + canary.encode(), 1)
        change_file(folder, "999997_J01_F.csv", spoiled)

    drop("night", spoil)
    gateway.run_once()
    (returned,) = gateway.config.rejected_dir.iterdir()
    report = json.loads((returned / "結果.json").read_text())
    found = [f for f in report["findings"] if f["severity"] == "row"]
    assert found and found[0]["line"] == 2 and found[0]["column"]
    for path in (returned / "結果.txt", returned / "結果.json", gateway.config.journal_file):
        assert canary.encode() not in path.read_bytes()
    for path in gateway.config.state_dir.glob("journal*"):
        assert canary.encode() not in path.read_bytes()


@pytest.mark.requirement("R-041")
def test_collect__link_in_the_folder__is_returned_not_followed(
    gateway: Gateway, drop, make_config, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")

    def link(folder: Path) -> None:
        path = folder / "999997_J06_F.csv"
        path.unlink()
        path.symlink_to(tmp_path / "secret")

    drop("night", link)
    with_patience = make_config(tuning={"unfinished_minutes": 0.01})
    gateway.close()
    from datetime import timedelta

    from bcl_contract import clock

    with Gateway(with_patience) as own:
        own.collect()
        with clock.use(clock.Clock(offset=timedelta(minutes=1))):
            own.collect()
            own.check()
        (item,) = own.journal.items()
        assert (item.state, item.refusal_code) == (ItemState.RETURNED, "GATEWAY_DROP_UNSAFE")


@pytest.mark.requirement("R-019")
def test_sign__many_folders_and_returned_ones__numbers_have_no_gap(
    gateway: Gateway, drop, rewrite_ready, server
) -> None:
    drop("a")
    drop("b", rewrite_ready(municipality_code="999989"))
    drop("c")
    drop("d", rewrite_ready(interface_version="9.9"))
    drop("e")
    for _ in range(4):
        gateway.run_once(patience_seconds=5)
    landed = gateway.journal.items(ItemState.LANDED)
    assert [(item.folder, item.sequence) for item in landed] == [("a", 1), ("c", 2), ("e", 3)]


@pytest.mark.requirement("R-041")
def test_spool__another_name_or_key__does_not_open(gateway: Gateway, drop) -> None:
    drop()
    signed(gateway)
    (item,) = gateway.journal.items()
    (path,) = gateway.config.spool_dir.iterdir()
    key = gateway.config.spool_key_file.read_bytes()
    from bcl_contract.sealed_file import SealedFileError
    from bcl_gateway.sign import Keys, load_keys, spool_context

    keys = load_keys(gateway.config)
    assert isinstance(keys, Keys)
    with open_spooled(gateway.config, keys, item) as reader:
        assert reader.read(2) == b"PK"
    for wrong_key, name in ((bytes(32), path.name), (key, "another")):
        context = spool_context(gateway.config, name)
        with pytest.raises(SealedFileError), SealedReader(path, wrong_key, context=context) as r:
            r.read()


@pytest.mark.requirement("R-041")
def test_check__fault_of_the_checker__returns_that_folder_without_any_value_and_goes_on(
    gateway: Gateway, drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bcl_gateway import api

    real, canary = api.check_folder, "カナリア検体"

    def faulty(config, folder, ready):
        if len(gateway.journal.items(ItemState.RETURNED)) == 0:
            raise ValueError(canary)
        return real(config, folder, ready)

    monkeypatch.setattr(api, "check_folder", faulty)
    drop("a")
    drop("b")
    gateway.run_once(patience_seconds=5)
    first, second = gateway.journal.items()
    assert (first.state, first.refusal_code) == (ItemState.RETURNED, "GATEWAY_CONTENT_FAILED")
    assert (second.state, second.sequence) == (ItemState.LANDED, 1)
    (returned,) = gateway.config.rejected_dir.iterdir()
    text = (returned / "結果.txt").read_text()
    assert "ValueError" in text and canary not in text


@pytest.mark.requirement("R-041")
@pytest.mark.parametrize("how", ["below the floor", "write fails"])
def test_sign__disk_full__keeps_the_folder_and_its_number_and_says_so(
    make_config: Callable, drop, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    import errno
    from collections import namedtuple

    from bcl_gateway import api, sign

    drop("night")
    usage = namedtuple("usage", "total used free")
    with Gateway(make_config()) as gateway, monkeypatch.context() as full:
        if how == "below the floor":
            full.setattr(api.shutil, "disk_usage", lambda _: usage(1 << 40, 1 << 40, 5))
        else:

            def no_room(*_: object, **__: object) -> None:
                raise OSError(errno.ENOSPC, "no space")

            full.setattr(sign, "write_package", no_room)
        done = gateway.run_once()
        assert isinstance(done, Round) and done.refusal is not None
        assert done.refusal.code == "GATEWAY_STORAGE_FULL"
        (item,) = gateway.journal.items()
        assert item.state is ItemState.CHECKED
        assert len(list(gateway.config.work_dir.iterdir())) == 1
        assert list(gateway.config.spool_dir.iterdir()) == []
    with Gateway(make_config()) as gateway:
        gateway.run_once(patience_seconds=5)
        (item,) = gateway.journal.items()
        assert (item.state, item.sequence) == (ItemState.LANDED, 1)
