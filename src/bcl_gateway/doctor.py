"""`doctor`: does everything this gateway needs hold? (R-004, R-041, R-263)

Looks, never repairs. Each check gives a code word for programs and a Japanese line for people.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

from cryptography import x509

from bcl_contract import clock
from bcl_contract.refusals import Refusal
from bcl_gateway.config import ENVIRONMENT_TEXTS, GatewayConfig
from bcl_gateway.connection import LineBroken, ServerRefuses, WireConnection
from bcl_gateway.journal import Journal
from bcl_gateway.private_files import is_private
from bcl_gateway.self_audit import (
    Check,
    audit_clear_files,
    audit_listeners,
    audit_private_files,
    audit_spool,
    audit_take_out,
    audit_transfer_folders,
)
from bcl_gateway.sign import load_keys

MAXIMUM_CLOCK_SKEW = timedelta(seconds=60)
EXPIRY_WARNING = timedelta(days=30)


def examine(config: GatewayConfig, journal: Journal) -> list[Check]:
    """Run every check; never raises for what it finds."""
    checks: list[Check] = []
    for look in (
        _environment,
        _keys,
        _folders,
        audit_private_files,
        audit_spool,
        audit_clear_files,
        audit_take_out,
        audit_listeners,
        audit_transfer_folders,
        _disk,
        _drop_disk,
        *(_OF_THE_LINE if config.folders is None else ()),
    ):
        checks += look(config, journal)
    return checks


def _environment(config: GatewayConfig, journal: Journal) -> Iterator[Check]:
    own = f"{config.environment}/{config.municipality_code}"
    fine = journal.bind("belongs_to", own) == own
    name = ENVIRONMENT_TEXTS[config.environment]
    yield Check(
        "environment",
        fine,
        f"作業場所は{name}環境・団体{config.municipality_code}のものです"
        if fine
        else "作業場所が別の環境または別の団体のものです（環境ごとに分けてください）",
    )


def _keys(config: GatewayConfig, _: Journal) -> Iterator[Check]:
    keys = load_keys(config)
    yield Check(
        "keys",
        not isinstance(keys, Refusal),
        "署名と暗号化の鍵は本人だけが読めます"
        if not isinstance(keys, Refusal)
        else f"鍵ファイル {keys.detail['file']} が使えません（権限0600か確かめてください）",
    )
    if config.folders is not None:
        return
    path = config.server.key_file
    fine = path.exists() and is_private(path)
    yield Check(
        "tls_key",
        fine,
        "通信用の秘密鍵は本人だけが読めます"
        if fine
        else f"通信用の秘密鍵 {path.name} がないか、ほかの利用者が読めます（0600にしてください）",
    )


def _folders(config: GatewayConfig, _: Journal) -> Iterator[Check]:
    folders = (config.state_dir, config.spool_dir, config.work_dir, config.rejected_dir)
    open_ones = [folder.name for folder in folders if not is_private(folder)]
    yield Check(
        "folder_modes",
        not open_ones,
        "作業用フォルダーは本人だけが使えます（0700）"
        if not open_ones
        else f"ほかの利用者が入れるフォルダーがあります: {'、'.join(open_ones)}（0700にします）",
    )


def _disk(config: GatewayConfig, _: Journal) -> Iterator[Check]:
    free = shutil.disk_usage(config.state_dir).free
    fine = free >= config.minimum_free_bytes
    yield Check(
        "free_space",
        fine,
        f"ディスクの空きは{free >> 20}MiBです"
        + ("" if fine else f"（{config.minimum_free_bytes >> 20}MiB以上にしてください）"),
    )


def _drop_disk(config: GatewayConfig, _: Journal) -> Iterator[Check]:
    devices = {
        folder.stat().st_dev for folder in (config.drop_dir, config.work_dir, config.rejected_dir)
    }
    fine = len(devices) == 1
    yield Check(
        "same_disk",
        fine,
        "置き場所・作業場所・差戻し場所は同じディスクにあります"
        if fine
        else "work_dirとrejected_dirを、drop_dirと同じディスクにしてください",
    )


def _certificate(config: GatewayConfig, _: Journal) -> Iterator[Check]:
    path: Path = config.server.certificate_file
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        yield Check("certificate", False, f"通信用の証明書 {path.name} を読めません")
        return
    now, ends = clock.now(), certificate.not_valid_after_utc
    left = ends - now
    fine = certificate.not_valid_before_utc <= now and left > EXPIRY_WARNING
    on = ends.astimezone(clock.JST).date().isoformat()
    yield Check(
        "certificate",
        fine,
        f"通信用の証明書の期限は{on}です（残り{max(left.days, 0)}日）"
        + ("" if fine else "。更新してください"),
    )


def _line(config: GatewayConfig, _: Journal) -> Iterator[Check]:
    """One request that changes nothing: reachable, the right server, our clock within bounds."""
    try:
        with WireConnection(config) as line:
            answer = line.request(
                "OPTIONS", line.url("uploads/"), headers={"Tus-Resumable": "1.0.0"}
            )
    except ServerRefuses as no:
        yield Check("reachable", False, f"{no.refusal.text.text_ja}（{no.refusal.code}）")
        return
    except LineBroken:
        yield Check("reachable", False, "BCLに接続できません（回線を確かめてください）")
        yield Check("clock", None, "時計のずれは、接続できないため確かめられません")
        return
    fine = answer.status == 204 and answer.headers.get("Tus-Version") == "1.0.0"
    yield Check(
        "reachable",
        fine,
        "BCLに接続でき、この環境の接続先であることを確かめました"
        if fine
        else f"BCLの応答が取り決めと違います（{answer.status}）",
    )
    yield _clock(answer.headers.get("Date"), clock.now)


def _clock(header: str | None, now: Callable[[], datetime]) -> Check:
    try:
        server = parsedate_to_datetime(header or "")
    except ValueError:
        return Check("clock", None, "BCLが時刻を示さないため、時計のずれは確かめられません")
    skew = abs(now() - server)
    fine = skew <= MAXIMUM_CLOCK_SKEW
    seconds = round(skew.total_seconds())
    return Check(
        "clock",
        fine,
        f"BCLとの時計のずれは{seconds}秒です" + ("" if fine else "（60秒以内に合わせてください）"),
    )


_OF_THE_LINE = (_certificate, _line)
"""Looks that only the built-in way needs: an external tool has a line of its own."""
