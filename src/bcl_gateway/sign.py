"""Step 3: number, sign and seal a checked folder: one package, straight into the spool.

The package is written through `SealedWriter`, so it never lies in clear on the disk; the hall's
own files are deleted when it is complete. A number is reserved in the journal before a byte is
written, and a build that was interrupted is made again under the same number.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl_contract import clock
from bcl_contract.linkage.manifest import (
    SEAL_IMAGE_FILE_ID,
    FileEntry,
    TransmissionManifest,
    file_name,
)
from bcl_contract.linkage.package import PackageFault, open_package, write_package
from bcl_contract.refusals import Refusal
from bcl_contract.sealed_file import SealedFileError, SealedReader, SealedWriter
from bcl_gateway.check import open_regular
from bcl_gateway.collect import work_folder
from bcl_gateway.config import GatewayConfig
from bcl_gateway.journal import Item, Journal
from bcl_gateway.private_files import is_private, read_or_make_key, sync_folder
from bcl_gateway.ready import Ready
from bcl_gateway.states import ItemState

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Keys:
    """The key transmissions are signed with and the key the spool is sealed with."""

    signing: Ed25519PrivateKey
    spool: bytes


def load_keys(config: GatewayConfig) -> Keys | Refusal:
    """Read both keys; refuses GATEWAY_KEY_UNUSABLE if others may read them or they don't fit."""
    path = config.signing_key_file
    try:
        if not is_private(path):
            return Refusal("GATEWAY_KEY_UNUSABLE", {"file": path.name})
        signing = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(signing, Ed25519PrivateKey):
            return Refusal("GATEWAY_KEY_UNUSABLE", {"file": path.name})
        path = config.spool_key_file
        spool = read_or_make_key(path)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return Refusal("GATEWAY_KEY_UNUSABLE", {"file": path.name})
    return Keys(signing, spool)


def spool_path(config: GatewayConfig, name: str) -> Path:
    """Where a sealed package lies; the name is random and says nothing."""
    return config.spool_dir / name


def spool_context(config: GatewayConfig, name: str) -> bytes:
    """What a sealed package is bound to: town and its own name."""
    return f"bcl-gateway-spool/{config.municipality_code}/{name}".encode()


def open_spooled(config: GatewayConfig, keys: Keys, item: Item) -> SealedReader:
    """Open an item's sealed package. Raises SealedFileError or FileNotFoundError."""
    name = item.spool_file or ""
    return SealedReader(
        spool_path(config, name),
        keys.spool,
        context=spool_context(config, name),
        expected_size=item.package_bytes,
    )


def seal_item(
    config: GatewayConfig,
    journal: Journal,
    keys: Keys,
    item: Item,
    ready: Ready,
    *,
    new_id: Callable[[], str],
    behind_all: bool,
) -> Item | Refusal:
    """CHECKED → SIGNED: reserve a number, write the package, drop the hall's own files.

    Refuses GATEWAY_DROP_DIGEST if a file is not what was checked any more.
    """  # fmt: skip
    item = _reserve(config, journal, item, new_id=new_id, behind_all=behind_all)
    folder = work_folder(config, item)
    assert item.sequence is not None and item.bundle_id is not None  # noqa: S101 - reserved above
    listed = [FileEntry(f.name, f.file_id, f.rows, f.bytes, f.sha256) for f in ready.files]
    renamed = _renamed(listed, ready, item.sequence)
    manifest = TransmissionManifest(
        bundle_id=item.bundle_id,
        municipality_code=ready.municipality_code,
        interface_version=ready.interface_version,
        lane=ready.lane,
        sequence=item.sequence,
        previous_sequence=item.sequence - 1,
        mode=ready.mode,
        as_of=ready.as_of,
        created_at=clock.now(),
        sender_system=ready.sender_system,
        environment=config.environment,  # type: ignore[arg-type] - checked by the settings
        files=list(renamed.values()),
    )
    sources = {renamed[file.name].name: _blocks(folder / file.name) for file in ready.files}
    written = _write(config, keys, manifest, sources, item.bundle_id)
    if isinstance(written, Refusal):
        return written
    size, digest = written
    item = journal.move(
        item,
        ItemState.SIGNED,
        at=clock.now(),
        spool_file=item.bundle_id,
        package_bytes=size,
        package_sha256=digest,
    )
    drop_work_folder(config, item)
    return item


def drop_work_folder(config: GatewayConfig, item: Item) -> None:
    """Delete the clear files of an item whose package is sealed."""
    folder = work_folder(config, item)
    if folder.exists():
        shutil.rmtree(folder)
        sync_folder(config.work_dir)


def renumber_item(
    config: GatewayConfig,
    journal: Journal,
    keys: Keys,
    item: Item,
    sequence: int,
    *,
    new_id: Callable[[], str],
) -> Item | Refusal:
    """Give a signed, unsent item another number: the same data in a new package.

    Needed when BCL rejected an earlier one, whose number is free again.
    """  # fmt: skip
    bundle_id = new_id()
    try:
        with open_spooled(config, keys, item) as source:
            opened = open_package(source, verify_key=keys.signing.public_key())  # type: ignore[arg-type]
            if isinstance(opened, Refusal):
                return opened
            with opened as package:
                old = package.manifest
                renamed = _renamed(old.files, old, sequence)
                facts = {
                    "bundle_id": bundle_id,
                    "sequence": sequence,
                    "previous_sequence": sequence - 1,
                    "created_at": clock.now(),
                    "files": list(renamed.values()),
                }
                manifest = TransmissionManifest.model_validate(old.model_dump() | facts)
                sources = {
                    entry.name: _member_blocks(package.open_member(name))
                    for name, entry in renamed.items()
                }
                written = _write(config, keys, manifest, sources, bundle_id)
    except (SealedFileError, OSError, PackageFault):
        return Refusal("GATEWAY_SPOOL_DAMAGED")
    if isinstance(written, Refusal):
        return written
    size, digest = written
    old_file = spool_path(config, item.spool_file or "")
    item = journal.learn(
        item,
        at=clock.now(),
        note=f"renumbered to {sequence}",
        sequence=sequence,
        bundle_id=bundle_id,
        spool_file=bundle_id,
        package_bytes=size,
        package_sha256=digest,
        upload_url=None,
        offset=0,
    )
    old_file.unlink(missing_ok=True)
    return item


def _reserve(
    config: GatewayConfig, journal: Journal, item: Item,
    *, new_id: Callable[[], str], behind_all: bool,
) -> Item:  # fmt: skip
    if item.sequence is not None:
        return item
    lane = item.lane or "main"
    number = journal.free_number(lane, first=config.first_sequence(lane), behind_all=behind_all)
    return journal.learn(
        item, at=clock.now(), note=f"number {number}", sequence=number, bundle_id=new_id()
    )


def _renamed(
    files: list[FileEntry], facts: Ready | TransmissionManifest, sequence: int
) -> dict[str, FileEntry]:
    """Present name → entry under the name it has in a transmission of this number."""
    entries = {}
    for file in files:
        name = file.name
        if file.file_id != SEAL_IMAGE_FILE_ID:
            name = file_name(
                facts.municipality_code, file.file_id, facts.mode, sequence, facts.as_of
            )
        entries[file.name] = replace(file, name=name)
    return entries


def _write(
    config: GatewayConfig,
    keys: Keys,
    manifest: TransmissionManifest,
    sources: dict[str, Iterator[bytes]],
    name: str,
) -> tuple[int, str] | Refusal:
    """Write a sealed package; give its clear size and SHA-256."""
    path, context = spool_path(config, name), spool_context(config, name)
    path.unlink(missing_ok=True)  # what an interrupted build left
    try:
        with SealedWriter(path, keys.spool, context=context) as writer:
            write_package(
                writer,  # type: ignore[arg-type]
                manifest=manifest,
                files=sources,
                sign=keys.signing.sign,
            )
    except PackageFault as fault:
        path.unlink(missing_ok=True)
        return Refusal("GATEWAY_DROP_DIGEST", dict(fault.as_refusal().detail))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    with SealedReader(path, keys.spool, context=context) as reader:
        digest = hashlib.sha256()
        while block := reader.read(_BLOCK_BYTES):
            digest.update(block)
        return reader.clear_size, digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with open_regular(path) as source:
        while block := source.read(_BLOCK_BYTES):
            yield block


def _member_blocks(member: BinaryIO) -> Iterator[bytes]:
    while block := member.read(_BLOCK_BYTES):
        yield block
