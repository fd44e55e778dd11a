"""The restore drill: the newest backup opened in a throw-away cluster and compared (R-034).

What is measured: `rpo_s` is how much of the source's work the second place did not hold yet at the
moment the drill took for the disaster; `rto_s` how long it took from there to a database that
answers, `checked_s` to one whose every page was opened and found equal.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from bcl.backup import fingerprint
from bcl.backup.place import Base, Place, segment_of
from bcl.backup.receive import SLOT
from bcl.backup.restore import tear_in_log
from bcl.backup.take import verify_base
from bcl.backup.throw_away import Restored, ThrowAwayCluster
from bcl.backup.tools import BackupFault, Tools, own_user
from bcl.foundation import log, roles
from bcl_contract import clock

FORMAT = "bcl-drill-report-1"
_ARRIVAL_SECONDS = 3.0
logger = log.get(__name__)


@dataclass
class DrillReport:
    """What a drill found. `findings` are codes; none means that it passed."""

    drill_id: str
    started_at: datetime
    until: datetime | None = None
    backup_id: str = ""
    backup_bytes: int = 0
    rpo_s: float | None = None
    rto_s: float | None = None
    checked_s: float | None = None
    last_commit_at: datetime | None = None
    digest_equal: bool | None = None
    certificates_compared: int = 0
    certificate_equal: bool | None = None
    towns: int = 0
    records: int = 0
    loads: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    erased_since: list[str] = field(default_factory=list)
    fenced: bool | None = None
    without_network: bool | None = None
    findings: list[dict[str, Any]] = field(default_factory=list)

    def found(self, code: str, **detail: str | int) -> None:
        """Note something that must not be."""
        self.findings.append({"code": code, **detail})

    @property
    def passed(self) -> bool:
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """The content of the signed report."""
        moments = {
            name: None if value is None else value.astimezone(clock.JST).isoformat()
            for name, value in (
                ("started_at", self.started_at),
                ("until", self.until),
                ("last_commit_at", self.last_commit_at),
            )
        }
        return {"format": FORMAT, **vars(self), **moments, "passed": self.passed}


@dataclass(frozen=True)
class Marker:
    """A commit of the source right before the disaster: its position and the server's clock."""

    position: str
    at: datetime


def run(
    place: Place, tools: Tools, *, folder: Path, until: datetime | None = None
) -> DrillReport:
    """Restore (to `until`, by the server's clock, or to the newest state), compare, clean up.

    `tools` run the restored database; the source is read through this process's own connection.
    Never raises for what is wrong with a backup: that is in the report's findings.
    """
    now = clock.now()
    report = DrillReport(now.strftime("%Y%m%dT%H%M%S"), now, until)
    for backup_id in place.spoilt_records():
        report.found("DRILL_BACKUP_BROKEN", backup=backup_id)
    base = place.newest(before=until)
    if base is None:
        report.found("BACKUP_NONE")
        return report
    report.backup_id, report.backup_bytes = base.backup_id, base.bytes
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    home = Path(tempfile.mkdtemp(prefix="restored-", dir=folder))
    cluster = ThrowAwayCluster(home, tools)
    try:
        _restore_and_compare(report, place, base, cluster, tools)
    except BackupFault as fault:
        logger.warning("drill_restore_failed", program=fault.program)
        report.found("DRILL_RESTORE_FAILED", program=fault.program)
    finally:
        cluster.destroy()
        shutil.rmtree(home, ignore_errors=True)
    return report


def _restore_and_compare(
    report: DrillReport, place: Place, base: Base, cluster: ThrowAwayCluster, tools: Tools
) -> None:
    confirmed = _mark_that_arrived()
    marker = _mark()
    began = time.monotonic()
    # From here on only what the second place holds at this moment counts.
    cluster.copy_log(place, base)
    missing = place.missing_segments(base.start_segment)
    if missing:
        report.found("BACKUP_WAL_GAP", segment=missing[0])
        return
    broken = verify_base(place, base, Tools(tools.bin_dir, own_user()))
    if broken is not None:
        report.found("DRILL_BACKUP_BROKEN", backup=base.backup_id, said=_names_only(broken))
        return
    cluster.copy_base(place, base)
    restored = cluster.start(until=report.until)
    report.rto_s = round(time.monotonic() - began, 3)
    report.last_commit_at = restored.last_commit_at
    if report.until is None:
        _judge_loss(report, place, base, restored, marker)
        if confirmed is not None and not _is_past(restored, confirmed) and not report.findings:
            # The log up to there is at the second place, and yet the restore stopped before it.
            report.found("DRILL_WAL_BROKEN", segment=segment_of(restored.last_position or "0/0"))
    elif restored.last_commit_at is not None and restored.last_commit_at > report.until:
        report.found("DRILL_RESTORE_FAILED", program="recovery_target_time")
    _compare(report, _examine(report, cluster))
    _check_structure(report, cluster)
    report.checked_s = round(time.monotonic() - began, 3)
    if report.rto_s > settings.BCL.backup.longest_rto_seconds:
        report.found("DRILL_RTO_EXCEEDED", seconds=int(report.rto_s))


def _mark() -> Marker:
    """Commit a mark on the source: the last thing it did before the disaster of this drill."""
    with transaction.atomic(durable=False), connection.cursor() as cursor:
        cursor.execute("SELECT pg_logical_emit_message(true, 'bcl-drill', '')")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()")
        row = cursor.fetchone()
    return Marker(str(row[0]), row[1])


def _mark_that_arrived() -> Marker | None:
    """A mark that the receiver has confirmed: a whole log leads to it. None if it doesn't within
    seconds; what that means is told by the loss that is measured."""
    marker, give_up = _mark(), time.monotonic() + _ARRIVAL_SECONDS
    while time.monotonic() < give_up:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT COALESCE(bool_or(restart_lsn >= %s::pg_lsn), false)"
                " FROM pg_replication_slots WHERE slot_name = %s",
                [marker.position, SLOT],
            )
            row = cursor.fetchone()
        if row and row[0]:
            return marker
        time.sleep(0.02)
    return None


def _is_past(restored: Restored, marker: Marker) -> bool:
    """Whether the restore came as far as the mark."""
    last = restored.last_position
    return last is not None and _position(last) >= _position(marker.position)


def _judge_loss(
    report: DrillReport, place: Place, base: Base, restored: Restored, marker: Marker
) -> None:
    """How much was not there yet; and whether the log was readable to its end."""
    torn = tear_in_log(place, base, restored)
    if torn is not None:
        report.found(torn.code, **torn.detail)
    if _is_past(restored, marker):
        report.rpo_s = 0.0
    else:
        last = restored.last_commit_at or base.finished_at
        report.rpo_s = round(max(0.0, (marker.at - last).total_seconds()), 3)
    if report.rpo_s > settings.BCL.backup.longest_rpo_seconds:
        report.found("DRILL_RPO_EXCEEDED", seconds=int(report.rpo_s))


def _position(text: str) -> int:
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def _examine(report: DrillReport, cluster: ThrowAwayCluster) -> dict[str, Any]:
    """Fingerprints of the restored database, by a process that has no network at all."""
    alone = _without_network()
    report.without_network = bool(alone)
    command = [
        *alone, "/usr/bin/env", "-u", "BCL_DATABASE_URL_OWNER", "-u", "BCL_DATABASE_URL_AGENCY",
        f"BCL_DATABASE_URL_APP={cluster.url(roles.APP)}", "BCL_ROLE=command",
        "BCL_DATABASE_ROLE=app", "DJANGO_SETTINGS_MODULE=bcl.config.settings",
        f"BCL_STATE_DIR={settings.BCL.state_dir}", f"BCL_KEY_FILE={settings.BCL.key_file}",
        sys.executable, "-m", "bcl.backup.examine", report.started_at.isoformat(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupFault("bcl.backup.examine", done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _without_network() -> list[str]:
    """The words that start a program in a network namespace of its own; none where that is
    forbidden. Unix sockets, by which it reaches the throw-away cluster, stay."""
    for words in (["unshare", "--net", "--"], ["unshare", "--user", "--map-current-user", "--net"]):
        tried = subprocess.run([*words, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return words
    return []


def _compare(report: DrillReport, answer: Mapping[str, Any]) -> None:
    towns: dict[str, dict[str, Any]] = answer["towns"]
    report.fenced, report.towns = bool(answer["fenced"]), len(towns)
    if not report.fenced:
        report.found("DRILL_NOT_FENCED")
    loads = {c: int(t["load_number"]) for c, t in towns.items() if t["load_number"]}
    papers = {code: list(towns[code]["papers"] or {}) for code in loads}
    own = fingerprint.of_every_town(at=report.started_at, loads=loads, papers=papers)
    report.digest_equal = True
    for code, town in towns.items():
        report.records += int(town["records"])
        report.loads[code], report.digests[code] = int(town["load_number"]), town["digest"]
        if code in own and own[code].state == fingerprint.ERASED:
            report.erased_since.append(code)  # it must not open any more: nothing to compare
            continue
        if town["state"] == fingerprint.BROKEN:
            report.found("DRILL_PAGE_BROKEN", municipality_code=code)
        elif town["state"] != fingerprint.WHOLE:
            continue
        elif town["digest"] == own[code].digest:
            _compare_papers(report, code, town["papers"], own[code].papers or {})
            continue
        else:
            report.found("DRILL_DIGEST_DIFFERS", municipality_code=code)
        report.digest_equal = False


def _compare_papers(
    report: DrillReport,
    code: str,
    restored: Mapping[str, list[Any]],
    own: Mapping[str, tuple[int, str]],
) -> None:
    """Papers of the same version of the data must have the same bytes."""
    for row, (version, sha256) in restored.items():
        if row in own and own[row][0] == version:
            report.certificates_compared += 1
            fine = own[row][1] == sha256
            report.certificate_equal = fine and report.certificate_equal is not False
            if not fine:
                report.found("DRILL_CERTIFICATE_DIFFERS", municipality_code=code)


def _check_structure(report: DrillReport, cluster: ThrowAwayCluster) -> None:
    """Indexes against their tables while it runs, then every page's checksum when it stands."""
    for look in (cluster.check_indexes, cluster.stop, cluster.check_pages):
        try:
            look()
        except BackupFault as fault:
            report.found("DRILL_STRUCTURE_BROKEN", program=fault.program)


def _names_only(said: str) -> str:
    """The first file a program names; the rest of its words stay out of the report."""
    words = [word for word in said.split('"')[1::2] if "/" in word or word]
    return words[0][:120] if words else said.split("\n", maxsplit=1)[0][:120]
