"""`bcl retention`: what is kept how long, deletion of what is past it, certificates."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bcl_cli.staff_acts import Refused, municipality_option, start
from bcl_gateway.japanese_help import JapaneseGroup

_BY = {
    "run": "毎日2時20分に削除",
    "own_job": "専用の処理が削除",
    "owner": "団体のシステムが決める",
    "never": "削除しない",
}


@click.group(cls=JapaneseGroup)
def retention() -> None:
    """保存期間の一覧を見る・期間の過ぎたデータを削除する・削除証明を確かめます。"""


@retention.command()
@municipality_option()
def report(municipality_code: str) -> None:
    """データの区分ごとの保存期間と、期間を過ぎた件数、バックアップの扱いを表示します。"""
    start()
    from django.conf import settings

    from bcl.foundation import clock
    from bcl.municipalities import api, retention_run

    api.get_municipality(municipality_code)
    for each in retention_run.report(municipality_code, at=clock.now()):
        kept = "期限なし" if each.keep_days is None else f"{each.keep_days:,}日"
        own = "（団体の設定）" if each.own else ""
        past = "" if each.expired is None else f"　期間を過ぎたもの {each.expired:,} 件"
        click.echo(f"{each.period.label_ja}\n  {kept}{own}　{_BY[each.period.by]}{past}")
        click.echo(f"  根拠 {each.period.source_ja}")
    days = settings.BCL.backup_retention_days
    click.echo(f"バックアップ\n  {days:,}日　削除したデータも、この日数の間は残ります。")
    click.echo("  団体の鍵を消去したときは、バックアップの中のデータもすぐに読めなくなります。")


@retention.command()
@municipality_option(required=False)
def run(municipality_code: str | None) -> None:
    """保存期間の過ぎたデータを今すぐ削除し、削除証明を作ります。団体を省くとすべての団体です。"""
    start()
    from bcl.foundation import clock
    from bcl.municipalities import api, retention_run

    chosen = [municipality_code] if municipality_code else api.list_municipality_codes()
    for code in chosen:
        made = retention_run.run(code, at=clock.now())
        if not made:
            click.echo(f"団体 {code}: 期間を過ぎたデータはありません。")
        for each in made:
            listed = each.content["counts"].items()
            counts = "　".join(f"{name} {count:,}" for name, count in listed)
            click.echo(f"団体 {code}: 証明 {each.number} {each.data_class}　{counts}")


@retention.command()
@municipality_option()
@click.option(
    "--out",
    metavar="ファイル",
    type=click.Path(path_type=Path, dir_okay=False),
    help="すべての証明を JSON で書き出す",
)
def certificates(municipality_code: str, out: Path | None) -> None:
    """削除証明の一覧を表示し、連鎖と署名を確かめます。"""
    start()
    from bcl.foundation import clock
    from bcl.foundation import retention as deletion
    from bcl_contract.refusals import Refusal

    rows = deletion.list_certificates(municipality_code)
    for each in rows:
        at = each.run_at.astimezone(clock.JST).strftime("%Y-%m-%d %H:%M")
        click.echo(f"{each.number}\t{at}\t{each.data_class}\t{each.sha256[:16]}")
    if out is not None:
        out.write_text(
            json.dumps(
                [
                    {
                        "content": each.content,
                        "sha256": each.sha256,
                        "key_id": each.key_id,
                        "signature": each.signature,
                    }
                    for each in rows
                ],
                ensure_ascii=False,
                indent=1,
            ),
            encoding="utf-8",
        )
    broken = deletion.first_broken(rows)
    if broken is not None:
        raise Refused(Refusal("RETENTION_CHAIN_BROKEN", {"number": broken}))
    click.echo(f"{len(rows)} 件の証明の連鎖と署名は正しい状態です。")
