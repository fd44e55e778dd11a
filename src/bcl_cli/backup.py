"""`bcl backup`: BCL's own backup at a second place, its alarms, letting a restored database in."""

from __future__ import annotations

import json
import signal
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bcl_cli.staff_acts import REFUSED, Refused, or_refuse
from bcl_contract.refusals import Refusal
from bcl_gateway.japanese_help import JapaneseGroup

if TYPE_CHECKING:
    from bcl.backup.place import Place
    from bcl.backup.tools import Source, Tools
    from bcl.config.env import Settings


@click.group(cls=JapaneseGroup)
def backup() -> None:
    """BCL自身のデータベースを別の場所に控えます（BCL_BACKUP_DIR に場所を設定します）。"""


def opened() -> tuple[Settings, Place, Source, Tools]:
    """Settings, second place, source and tools; ends with a refusal when one is not set up."""
    from bcl.backup.place import Place
    from bcl.backup.tools import Source, Tools
    from bcl.foundation import postgres_binaries

    settings = own_settings()
    if settings.backup.directory is None:
        raise Refused(Refusal("BACKUP_NOT_SET_UP"))
    url, data_dir = settings.backup.url, None
    if not settings.uses_external_cluster:
        from bcl.config.database import embedded_cluster

        cluster = embedded_cluster(settings)
        data_dir = cluster.data_dir
        info = None if url else cluster.connection_info()
        url = url if info is None else info.url("bcl_backup", database="postgres")
    if not url:
        raise Refused(Refusal("BACKUP_NOT_SET_UP"))
    bin_dir = settings.postgres_bin_dir or postgres_binaries.install_binaries(
        settings.postgres_dir / "binaries"
    )
    user = postgres_binaries.database_os_user(postgres_binaries.BACKUP_OS_USER)
    return (
        settings, Place(settings.backup.directory), Source(url, data_dir), Tools(bin_dir, user)
    )


def own_settings() -> Settings:
    """The settings of this installation, or of this checkout's own world."""
    import os

    from bcl.config import env
    from bcl_cli.world import places

    if "BCL_STATE_DIR" not in os.environ:
        os.environ.update(places.Places.of().kept_environment())
    return env.read()


@backup.command()
def run() -> None:
    """基準となるバックアップを今とり、全ファイルを検査し、保存期間の過ぎたものを削除します。"""
    from bcl.backup import take
    from bcl.backup.tools import BackupFault

    settings, place, source, tools = opened()
    try:
        base = take.take_base(place, source, tools)
    except BackupFault as fault:
        click.echo(str(fault), err=True)
        raise Refused(Refusal("BACKUP_FAILED")) from None
    click.echo(f"バックアップ {base.backup_id}　{base.bytes:,} バイト　検査に合格しました。")
    days = settings.backup_retention_days
    for backup_id in take.prune(place, retention_days=days, now=base.finished_at):
        click.echo(f"保存期間（{days}日）の過ぎた {backup_id} を削除しました。")
    click.echo("ログ（WAL）の連続した控えは bcl backup serve が受け取ります。")


@backup.command()
def serve() -> None:
    """ログ（WAL）を受け取り続け、一日に一度バックアップをとります（止められるまで動きます）。"""
    from bcl.backup import receive

    settings, place, source, tools = opened()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    receive.serve(
        place, source, tools,
        retention_days=settings.backup_retention_days, say=click.echo, stop=stop,
    )


@backup.command()
@click.option("--json", "as_json", is_flag=True, help="JSON で出す")
def status(*, as_json: bool) -> None:
    """バックアップの状態を表示します。警報があれば 3 で終わります。"""
    from bcl.backup import status as judging
    from bcl_contract import clock

    settings, place, source, _ = opened()
    chosen = settings.backup
    try:
        facts = judging.gather(
            place,
            source,
            sites=(chosen.database_site, chosen.site),
            reports=settings.state_dir / "drills",
            now=clock.now() - timedelta(seconds=settings.clock_offset_seconds),
        )
    except OSError:
        raise Refused(Refusal("BACKUP_NONE")) from None
    limits = judging.Limits(
        age=timedelta(hours=chosen.longest_age_hours),
        wal_behind_bytes=chosen.most_wal_behind_mb * 1024 * 1024,
        drill_age=timedelta(hours=chosen.drill_longest_age_hours),
    )
    alarms = judging.judge(facts, limits)
    if as_json:
        click.echo(json.dumps(_as_json(facts, alarms), ensure_ascii=False))
    else:
        _show(facts, alarms, offset=timedelta(seconds=settings.clock_offset_seconds))
    sys.exit(REFUSED if alarms else 0)


def _as_json(facts: Any, alarms: list[Refusal]) -> dict[str, Any]:
    newest = facts.newest
    return {
        "newest": None if newest is None else newest.as_json(),
        "backups": facts.bases,
        "wal_behind_bytes": None if facts.slot is None else facts.slot.behind_bytes,
        "receiving": None if facts.slot is None else facts.slot.active,
        "same_device": facts.same_device,
        "alarms": [{"code": alarm.code, **alarm.detail} for alarm in alarms],
    }


def _show(facts: Any, alarms: list[Refusal], *, offset: timedelta) -> None:
    from bcl_contract import clock

    if facts.newest is not None:
        taken = (facts.newest.finished_at + offset).astimezone(clock.JST)
        click.echo(
            f"バックアップ {facts.bases} 個　最新 {taken:%Y-%m-%d %H:%M}"
            f"　{facts.newest.bytes:,} バイト"
        )
    if facts.slot is not None:
        state = "受信中" if facts.slot.active else "止まっている"
        click.echo(f"ログ（WAL）の受信: {state}　遅れ {facts.slot.behind_bytes:,} バイト")
    if facts.last_drill is not None:
        result = "合格" if facts.last_drill["passed"] else "不合格"
        click.echo(f"最後の復元訓練 {facts.last_drill['started_at'][:16]}　{result}")
    for alarm in alarms:
        click.echo(f"警報 {alarm.code}: {alarm.text.text_ja}\n  対応: {alarm.text.how_ja}")
    if not alarms:
        click.echo("警報はありません。")


@backup.command()
@click.option(
    "--to", "state_dir", required=True, metavar="フォルダ",
    type=click.Path(path_type=Path, file_okay=False),
    help="復元先の状態フォルダ（BCL_STATE_DIR にするもの。まだデータベースのない所）",
)
@click.option("--at", "moment", metavar="日時", help="この日時の状態（例 2026-11-22T20:30）")
def restore(state_dir: Path, moment: str | None) -> None:
    """控えから、新しい状態フォルダにデータベースを復元します（失ったときの本番の復元）。"""
    from bcl.backup import restore as restoring
    from bcl.backup.place import Place
    from bcl.backup.tools import BackupFault, Tools
    from bcl.foundation import postgres_binaries
    from bcl_contract import clock

    settings = own_settings()
    if settings.backup.directory is None:
        raise Refused(Refusal("BACKUP_NOT_SET_UP"))
    target = state_dir.resolve()
    bin_dir = settings.postgres_bin_dir or postgres_binaries.install_binaries(
        target / "postgres" / "binaries"
    )
    at = read_moment(moment)
    offset = timedelta(seconds=settings.clock_offset_seconds)
    try:
        done = or_refuse(
            restoring.restore(
                Place(settings.backup.directory),
                Tools(bin_dir, postgres_binaries.database_os_user()),
                state_dir=target,
                until=None if at is None else at - offset,
            )
        )
    except BackupFault as fault:
        click.echo(str(fault), err=True)
        raise Refused(Refusal("DRILL_RESTORE_FAILED")) from None
    for backup_id in done.broken:
        click.echo(
            f"バックアップ {backup_id} は壊れていたため、一つ前のものを使いました。", err=True
        )
    last_commit = done.restored.last_commit_at
    if last_commit is not None:
        last = (last_commit + offset).astimezone(clock.JST).strftime("%Y-%m-%d %H:%M:%S")
        click.echo(f"バックアップ {done.backup_id} から復元しました。最後の記録 {last}")
    if done.warning is not None:
        click.echo(
            f"警報 {done.warning.code}: {done.warning.text.text_ja}\n"
            "  最後の記録より後のデータは、この中にありません。", err=True,
        )
    click.echo(f"次に、鍵を戻し、BCL_STATE_DIR={target} で bcl serve database を動かしてください。")
    click.echo("中を確かめてから bcl backup promote で使用を認めます。それまでは何も動きません。")


def read_moment(text: str | None) -> datetime | None:
    """A moment as people write it, Japan time without an offset; ends with wrong usage."""
    from bcl_contract import clock

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError("--at は 2026-11-22T20:30 の形で書いてください。") from None
    return at if at.tzinfo else at.replace(tzinfo=clock.JST)


@backup.command()
@click.option(
    "--old-jobs", type=click.Choice(["discard", "run"]), metavar="discard|run",
    help="復元前から待っていた仕事を捨てる（discard）か行う（run）か",
)
@click.option("--yes", is_flag=True, help="内容の確認を求めない")
def promote(*, old_jobs: str | None, yes: bool) -> None:
    """復元したデータベースの使用を認めます。認めるまで、窓口も裏方の仕事も動きません。"""
    from bcl.config import env
    from bcl_cli.serve import start_django

    env.assume(BCL_DATABASE_ROLE="owner")
    start_django("command")
    from bcl.foundation import fencing
    from bcl_cli.keys import operator

    if not fencing.is_fenced():
        raise Refused(Refusal("DATABASE_NOT_FENCED"))
    waiting = fencing.waiting_jobs()
    for name, count in waiting.items():
        click.echo(f"復元前から待っている仕事 {name}　{count:,} 件")
    if waiting and old_jobs is None:
        raise click.UsageError(
            "--old-jobs で、待っている仕事の扱い（discard か run）を選んでください。"
        )
    if not yes and not click.confirm("このデータベースの使用を認めますか"):
        raise click.Abort
    accepted = fencing.accept(by=operator(), keep_jobs=old_jobs == "run")
    click.echo(
        f"使用を認めました。復元の世代 {accepted.fencing_epoch}"
        f"　捨てた仕事 {accepted.jobs_set_aside:,} 件"
    )
