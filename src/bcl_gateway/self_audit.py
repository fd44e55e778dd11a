"""The part of `doctor` that is about clear data (R-041): what lies where, readable by whom.

The gateway's machine holds 特定個人情報. Each look answers one question of the audit: is what
waits unreadable, private and gone when BCL has it; is nothing clear left; can nothing carry data
out (no command for it, no removable medium, no listening socket)?
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcl_contract.sealed_file import MAGIC
from bcl_gateway.config import GatewayConfig
from bcl_gateway.journal import Journal
from bcl_gateway.states import ItemState

_LOOK_BYTES = 64 << 10
_LISTENING = "0A"
_AGE_MAGIC = b"age-encryption.org/v1\n"
_BEFORE_SEALING = (ItemState.FOUND, ItemState.COLLECTED, ItemState.CHECKED)
COMMANDS = frozenset(
    {"collect", "check", "sign", "send", "run", "resume", "status", "report", "doctor", "restore"}
)
"""Every command there is, each looked at: none writes data of the register anywhere in clear."""


@dataclass(frozen=True)
class Check:
    """One look. `ok` None = could not be judged now (no line), which is no failure of its own."""

    name: str
    ok: bool | None
    text_ja: str

    def as_json(self) -> dict[str, Any]:
        """Give the machine form."""
        return {"name": self.name, "ok": self.ok, "text": self.text_ja}


def judged(name: str, *, ok: bool, good: str, bad: str) -> Check:
    """A look with one sentence for each outcome."""
    return Check(name, ok, good if ok else bad)


def audit_spool(config: GatewayConfig, journal: Journal) -> Iterator[Check]:
    """Waiting packages: sealed, 0600, and purged within `purge_minutes` of their receipt."""
    known = {item.spool_file for item in journal.items() if item.receipt is None}
    files = [path for path in config.spool_dir.iterdir() if path.is_file()]
    readable = sum(not is_sealed(path) for path in files)
    yield judged(
        "spool_sealed",
        ok=not readable,
        good="送信待ちのファイルはすべて暗号化されています（文字として読めません）",
        bad=f"送信待ちの場所に、暗号化されていないファイルが{readable}件あります",
    )
    wrong_mode = sum(stat.S_IMODE(path.lstat().st_mode) != 0o600 for path in files)
    yield judged(
        "spool_modes",
        ok=not wrong_mode,
        good="送信待ちの暗号化ファイルの権限は0600です",
        bad=f"送信待ちの暗号化ファイル{wrong_mode}件の権限が0600ではありません",
    )
    over = _older_than(
        (path for path in files if path.name not in known), config.purge_minutes * 60
    )
    yield judged(
        "spool_purged",
        ok=not over,
        good=f"受領後{config.purge_minutes:g}分を過ぎた暗号化ファイルは残っていません",
        bad=f"受領後の暗号化ファイルが{over}件残っています（次の処理で消します）",
    )


def audit_private_files(config: GatewayConfig, _: Journal) -> Iterator[Check]:
    """The journal and its companions are the account's own, like every folder of the state."""
    open_ones = [
        path.name
        for path in config.state_dir.glob("*")
        if path.is_file() and stat.S_IMODE(path.lstat().st_mode) & 0o077
    ]
    yield judged(
        "file_modes",
        ok=not open_ones,
        good="送信の記録と鍵は本人だけが読めます（0600）",
        bad=f"ほかの利用者が読めるファイルがあります: {'、'.join(sorted(open_ones))}",
    )


def audit_clear_files(config: GatewayConfig, journal: Journal) -> Iterator[Check]:
    """Clear files: only of folders that are being checked now, and returned ones for a while."""
    working = {str(item.id) for item in journal.items(*_BEFORE_SEALING)}
    stray = [path.name for path in config.work_dir.iterdir() if path.name not in working]
    yield judged(
        "clear_work",
        ok=not stray,
        good="作業場所に、処理の終わった平文のファイルは残っていません",
        bad=f"作業場所に平文のファイルが残っています: {'、'.join(sorted(stray))}",
    )
    seconds = config.rejected_days * 86400
    old = _older_than(config.rejected_dir.iterdir(), seconds)
    yield judged(
        "clear_rejected",
        ok=not old,
        good=f"差戻し場所に、{config.rejected_days:g}日を過ぎた平文のフォルダーはありません",
        bad=f"差戻しから{config.rejected_days:g}日を過ぎた平文のフォルダーが{old}件あります"
        "（内容を確かめて消してください）",
    )
    forgotten = _older_than(
        (path for path in config.drop_dir.iterdir() if path.is_dir()),
        max(86400.0, config.unfinished_minutes * 120),
    )
    yield judged(
        "clear_drop",
        ok=not forgotten,
        good="置き場所に、受け取られないまま1日を過ぎたフォルダーはありません",
        bad=f"置き場所に、受け取られないまま残っているフォルダーが{forgotten}件あります",
    )


def audit_take_out(_: GatewayConfig, __: Journal) -> Iterator[Check]:
    """No command takes data out, and no medium is attached that could carry it away."""
    from bcl_gateway.main import gateway

    unknown = sorted(set(gateway.commands) - COMMANDS)
    yield judged(
        "no_take_out",
        ok=not unknown,
        good="データを取り出す命令はありません",
        bad=f"点検の済んでいない命令があります: {'、'.join(unknown)}",
    )
    media = removable_media()
    yield Check(
        "no_media",
        None if media is None else not media,
        "取り外せる媒体は、この機械では確かめられません"
        if media is None
        else "取り外せる媒体は接続されていません"
        if not media
        else f"取り外せる媒体がつながっています: {'、'.join(media)}",
    )


def audit_listeners(_: GatewayConfig, __: Journal) -> Iterator[Check]:
    """No socket of this account waits for calls (R-013)."""
    if os.geteuid() == 0:
        yield Check("no_listener", None, "待受けの通信口は、専用の利用者で点検すると確かめられます")
        return
    ports = listening_ports(os.geteuid())
    yield judged(
        "no_listener",
        ok=not ports,
        good="待受けの通信口は開いていません",
        bad=f"この利用者の待受けの通信口が開いています: {'、'.join(map(str, ports))}",
    )


def audit_transfer_folders(config: GatewayConfig, _: Journal) -> Iterator[Check]:
    """With an external tool: its folders can be used, not by everybody, and hold ciphertext."""
    folders = config.folders
    if folders is None:
        return
    places = (folders.outgoing_dir, folders.incoming_dir)
    missing = [path.name for path in places if not path.is_dir()]
    yield judged(
        "transfer_folders",
        ok=not missing,
        good="外部転送ソフトとの受渡しフォルダーがあります",
        bad=f"外部転送ソフトとの受渡しフォルダーがありません: {'、'.join(missing)}",
    )
    if missing:
        return
    open_ones = [path.name for path in places if stat.S_IMODE(path.stat().st_mode) & 0o007]
    yield judged(
        "transfer_modes",
        ok=not open_ones,
        good="受渡しフォルダーは、関係のない利用者には開かれていません",
        bad=f"だれでも入れる受渡しフォルダーがあります: {'、'.join(open_ones)}（0770にします）",
    )
    packages = [path for path in folders.outgoing_dir.glob("*.package") if path.is_file()]
    clear = sum(not _begins_with(path, _AGE_MAGIC) for path in packages)
    yield judged(
        "transfer_sealed",
        ok=not clear,
        good=f"転送ソフトに渡すファイルは暗号化されています（引渡し待ち{len(packages)}件）",
        bad=f"受渡しフォルダーに、暗号化されていないファイルが{clear}件あります",
    )


def is_sealed(path: Path) -> bool:
    """Does the file begin as a sealed one, and does it look like noise from there on?

    Ciphertext has every byte value about equally often; text, CSV and zip directories don't.
    """
    if not _begins_with(path, MAGIC):
        return False
    with path.open("rb") as source:
        source.seek(len(MAGIC))
        data = source.read(_LOOK_BYTES)
    printable = sum(32 <= byte < 127 for byte in data)  # about 37 of 100 bytes of noise
    return printable <= len(data) // 2 + 64


def removable_media(root: Path = Path("/")) -> list[str] | None:
    """Mount points of removable media; None where the kernel does not tell."""
    mounts, blocks = root / "proc/self/mountinfo", root / "sys/dev/block"
    if not mounts.is_file() or not blocks.is_dir():
        return None
    found = []
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.split()
        device = (blocks / parts[2]).resolve()
        # A partition's flag stands with the disk it is a part of.
        for place in (device / "removable", device.parent / "removable"):
            if place.is_file() and place.read_text().strip() == "1":
                found.append(parts[4])
                break
    return found


def listening_ports(uid: int, root: Path = Path("/")) -> list[int]:
    """TCP ports on which sockets of this account listen."""
    ports = set()
    for name in ("tcp", "tcp6"):
        table = root / "proc/net" / name
        if not table.is_file():
            continue
        for line in table.read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == _LISTENING and int(parts[7]) == uid:
                ports.add(int(parts[1].rsplit(":", 1)[1], 16))
    return sorted(ports)


def _begins_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as source:
            return source.read(len(magic)) == magic
    except OSError:
        return False


def _older_than(paths: Iterable[Path], seconds: float) -> int:
    """How many have not changed for so long; by the machine's own clock, which set their times."""
    now = time.time()
    return sum(now - path.lstat().st_mtime > seconds for path in paths)
