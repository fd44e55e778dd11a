"""`bcl interface`: check a transmission, and publish the interface specification.

Needs neither a database nor a network (R-010).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from bcl_gateway.japanese_help import JapaneseGroup

REFUSED = 3
_SEVERITY_TEXTS = {
    "fatal": "重大",
    "row": "行の誤り",
    "household": "世帯の不整合",
    "warning": "注意",
}
_SHOWN = 50


@click.group(cls=JapaneseGroup)
def interface() -> None:
    """連携インタフェース（送信ファイルの決まり）に関する操作です。"""


@interface.command()
@click.argument("path", metavar="場所", type=click.Path(path_type=Path))
@click.option("--file-id", metavar="種類", help="ファイルの種類（例 J01）。名前から分からないとき")
@click.option("--json", "as_json", is_flag=True, help="結果をJSONで出力する")
def validate(path: Path, file_id: str | None, as_json: bool) -> None:
    """送信ファイル（zip・フォルダー・CSV）を、BCLと同じ規則で検査します。

    値は表示しません。示すのはファイル・行・項目・規則だけです。
    終了コードは、0が問題なし（注意だけを含む）、3が誤りあり、2が使い方の誤りです。
    """
    from bcl_contract.linkage.layouts import load_interface
    from bcl_contract.linkage.validator import validate_path

    if not path.exists():
        raise click.UsageError("指定した場所が見つかりません。")
    if file_id is not None and file_id not in load_interface().files:
        raise click.UsageError(f"「{file_id}」という種類のファイルはありません。")
    report = validate_path(path, file_id=file_id)
    if as_json:
        click.echo(json.dumps(report.as_json(), ensure_ascii=False, indent=1))
    else:
        _print_report(report)
    sys.exit(0 if report.ok else REFUSED)


def _print_report(report: object) -> None:
    from bcl_contract.linkage.validator import Report

    if not isinstance(report, Report):
        raise TypeError("a report is needed")
    if report.refusal is not None:
        text = report.refusal.text
        click.echo(f"検査できませんでした（{report.refusal.code}）")
        click.echo(f"  {text.text_ja}")
        click.echo(f"  直せる方: {text.who_can_fix_ja}")
        click.echo(f"  直し方: {text.how_ja}")
        for name, value in report.refusal.detail.items():
            click.echo(f"  {name}: {value}")
        return
    shown = 0
    for file in report.files:
        state = "" if file.readable else "（読めません）"
        click.echo(f"{file.file}: {file.rows:,}行{state}")
        for finding in file.findings[: max(0, _SHOWN - shown)]:
            shown += 1
            place = f"{finding.line}行目" if finding.line else "全体"
            column = f" {finding.column}" if finding.column else ""
            label = _SEVERITY_TEXTS[finding.severity]
            click.echo(f"  {place}{column} [{label}] {finding.text.text_ja}（{finding.rule}）")
    total = sum(sum(file.counts.values()) for file in report.files)
    if total > shown:
        click.echo(f"  ほか{total - shown:,}件（--json で一覧を出力できます）")
    counts = "、".join(
        f"{label} {report.count(severity):,}件" for severity, label in _SEVERITY_TEXTS.items()
    )
    click.echo(f"結果: {'問題ありません' if report.ok else '誤りがあります'}（{counts}）")


@interface.command()
@click.option(
    "--out",
    metavar="フォルダー",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="書き出す先（既定は今の場所）",
)
@click.option("--version", "version", metavar="版", default="1.0", help="インタフェースの版")
def spec(out: Path, version: str) -> None:
    """連携インタフェースの仕様を、機械用（JSON）と人用（HTML）の2つで書き出します。"""
    from bcl_contract.linkage.layouts import UnknownInterfaceVersion, load_interface
    from bcl_contract.linkage.specification import (
        write_specification_html,
        write_specification_json,
    )

    try:
        chosen = load_interface(version)
    except UnknownInterfaceVersion:
        raise click.UsageError(f"第{version}版のインタフェースはありません。") from None
    out.mkdir(parents=True, exist_ok=True)
    machine, page = out / f"interface-{version}.json", out / f"interface-{version}.html"
    machine.write_bytes(write_specification_json(chosen))
    page.write_text(write_specification_html(chosen), encoding="utf-8")
    click.echo(f"書き出しました: {machine}")
    click.echo(f"書き出しました: {page}")
