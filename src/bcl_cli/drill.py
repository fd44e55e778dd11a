"""`bcl drill`: prove that the backup opens, by opening it (R-034)."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

import click

from bcl_cli.backup import opened, read_moment
from bcl_cli.staff_acts import REFUSED, Refused, start
from bcl_contract.refusals import Refusal
from bcl_gateway.japanese_help import JapaneseGroup


@click.group(cls=JapaneseGroup)
def drill() -> None:
    """復元訓練: バックアップを使い捨てのデータベースに復元し、元と等しいことを確かめます。"""


@drill.command()
@click.option("--at", "moment", metavar="日時", help="この日時の状態（例 2026-11-22T20:30）")
@click.option("--random", "any_moment", is_flag=True, help="最も古い控えから今までの偶然の時点")
def run(*, moment: str | None, any_moment: bool) -> None:
    """復元訓練を行い、結果を JSON で表示します。不合格なら 3 で終わります。"""
    if moment and any_moment:
        raise click.UsageError("--at と --random は一緒に使えません。")
    opened()
    start()
    from bcl.backup import api
    from bcl.foundation.audit import Actor
    from bcl_cli.keys import operator

    by: Actor = operator()
    found = api.run_drill(by=by, until=_random_moment() if any_moment else read_moment(moment))
    click.echo(json.dumps(found.as_json(), ensure_ascii=False, indent=1))
    for code in dict.fromkeys(str(finding["code"]) for finding in found.findings):
        text = Refusal(code).text
        click.echo(f"{code}: {text.text_ja}\n  対応: {text.how_ja}", err=True)
    click.echo("復元訓練に合格しました。" if found.passed else "復元訓練は不合格です。", err=True)
    sys.exit(0 if found.passed else REFUSED)


def _random_moment() -> datetime:
    """Some moment between the oldest base backup and now, to the microsecond."""
    import secrets

    from bcl_contract import clock

    settings, place, _, _ = opened()
    bases = place.bases()
    if not bases:
        raise Refused(Refusal("BACKUP_NONE"))
    first = bases[0].finished_at + timedelta(seconds=settings.clock_offset_seconds)
    span = max(1, int((clock.now() - first) / timedelta(microseconds=1)))
    return first + timedelta(microseconds=secrets.randbelow(span))


@drill.command()
@click.argument(
    "path", metavar="報告", type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
def check(path: Path) -> None:
    """訓練の報告（JSON）に機構の署名があり、書き換えられていないことを確かめます。"""
    start()
    from bcl.backup import api

    try:
        genuine = api.is_genuine(path)
    except (ValueError, KeyError, TypeError):
        genuine = False
    if not genuine:
        raise Refused(Refusal("DRILL_REPORT_ALTERED"))
    click.echo("機構の署名は正しく、報告は書き換えられていません。")


@drill.command(name="list")
def list_reports() -> None:
    """これまでの訓練の結果を新しい順に表示します。"""
    start()
    from bcl.backup import api

    paths = sorted(api.reports_folder().glob("drill-*.json"), reverse=True)
    if not paths:
        click.echo("訓練の記録はまだありません。")
    for path in paths:
        content = json.loads(path.read_text(encoding="utf-8"))["content"]
        result = "合格" if content["passed"] else "不合格"
        codes = "、".join(dict.fromkeys(each["code"] for each in content["findings"]))
        rpo, rto = (
            "－" if content[name] is None else f"{content[name]} 秒" for name in ("rpo_s", "rto_s")
        )
        click.echo(
            f"{content['started_at'][:16]}\t{result}\tRPO {rpo}\tRTO {rto}"
            f"\t{path.name}\t{codes}"
        )
