"""The gateway's end of drop folders when its own machine fails: full disk, damaged spool."""

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO

import pyrage
import pytest

from bcl_gateway import carrier_folder
from bcl_gateway.api import Gateway
from bcl_gateway.config import parse_config
from bcl_gateway.states import ItemState


@pytest.fixture
def external(make_settings, tmp_path: Path) -> Gateway:
    out, incoming = tmp_path / "out", tmp_path / "in"
    out.mkdir()
    incoming.mkdir()
    settings = make_settings()
    settings["server"] = {"receipt_key": settings["server"]["receipt_key"]}
    settings["transfer"] = {
        "method": "external",
        "outgoing_dir": str(out),
        "incoming_dir": str(incoming),
        "recipient": str(pyrage.x25519.Identity.generate().to_public()),
        "key_id": "transfer-1",
    }
    with Gateway(parse_config(settings, base=tmp_path)) as own:
        yield own


class FullDisk:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file: BinaryIO, room: int) -> None:
        self.file, self.room = file, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)


@pytest.mark.requirement("R-014")
def test_outgoing_disk_full__nothing_half_lies_there_and_it_goes_on_later(
    external: Gateway, drop, monkeypatch
) -> None:
    drop("night")
    real = carrier_folder._new_file
    with monkeypatch.context() as patched:
        patched.setattr(carrier_folder, "_new_file", lambda path: FullDisk(real(path), 50_000))
        sent = external.run_once()
    assert sent.refusal is not None and sent.refusal.code == "GATEWAY_STORAGE_FULL"
    folder = external.config.folders.outgoing_dir
    assert [path.name for path in folder.glob("*.package")] == []
    assert [path.name for path in folder.glob(".*package*")] == []
    assert len(list(external.config.spool_dir.iterdir())) == 1
    external.send(patience_seconds=0.5)
    (item,) = external.journal.items()
    assert item.state is ItemState.SENT
    assert len(list(folder.glob("*.package"))) == 1


@pytest.mark.requirement("R-014")
def test_spool_damaged__is_named_and_no_wrong_package_is_handed_over(
    external: Gateway, drop
) -> None:
    drop("night")
    external.collect()
    external.check()
    external.sign()
    (sealed,) = external.config.spool_dir.iterdir()
    data = bytearray(sealed.read_bytes())
    data[len(data) // 2] ^= 1
    sealed.write_bytes(data)
    sent = external.send()
    assert sent.refusal is not None and sent.refusal.code == "GATEWAY_SPOOL_DAMAGED"
    assert list(external.config.folders.outgoing_dir.glob("*.package")) == []
