"""`bcl interface`: check a transmission, publish the specification, carry vendors over a revision.

Needs neither a database nor a network (R-010), but for `towns`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bcl_gateway.japanese_help import JapaneseGroup

if TYPE_CHECKING:
    from bcl_contract.linkage.catalog import InterfaceVersion
    from bcl_contract.linkage.convert import ConversionReport

REFUSED = 3
_JSON = click.option("--json", "as_json", is_flag=True, help="結果をJSONで出力する")


@click.group(cls=JapaneseGroup)
@click.option(
    "--data",
    "data_dir",
    metavar="フォルダー",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="配布前の版の案を試すとき、その置き場所（versions.csv のあるところ）",
)
@click.pass_context
def interface(ctx: click.Context, data_dir: Path | None) -> None:
    """連携インタフェース（送信ファイルの決まり）に関する操作です。"""
    if data_dir is not None:
        from bcl_contract.linkage import catalog

        try:
            chosen = catalog.Catalog(data_dir)
        except OSError as fault:
            raise click.UsageError(f"版の案を読めません: {fault.filename}") from None
        except catalog.CatalogFault as fault:
            raise click.UsageError(f"版の案を読めません: {fault}") from None
        ctx.with_resource(catalog.use(chosen))


def known_version(version: str) -> InterfaceVersion:
    """Give a version, or end the command as a wrong use."""
    from bcl_contract.linkage import catalog

    try:
        return catalog.current().find(version)
    except catalog.UnknownInterfaceVersion:
        raise click.UsageError(f"第{version}版のインタフェースはありません。") from None


def version_or_newest(version: str | None) -> InterfaceVersion:
    """Give the version asked for, else the newest one accepted today, else the newest at all."""
    from bcl_contract import clock
    from bcl_contract.linkage import catalog

    if version is not None:
        return known_version(version)
    current = catalog.current()
    return current.newest_accepted(clock.now()) or current.versions[-1]


def _version_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--version", "version", metavar="版", help="版（既定は今の最新の版）")(
        command
    )


@interface.command()
@click.argument("path", metavar="場所", type=click.Path(path_type=Path))
@click.option("--file-id", metavar="種類", help="ファイルの種類（例 J01）。名前から分からないとき")
@_version_option
@_JSON
def validate(path: Path, file_id: str | None, version: str | None, as_json: bool) -> None:
    """送信ファイル（zip・フォルダー・CSV）を、BCLと同じ規則で検査します。

    値は表示しません。示すのはファイル・行・項目・規則だけです。
    終了コードは、0が問題なし（注意だけを含む）、3が誤りあり、2が使い方の誤りです。
    """
    from bcl_contract.linkage.layouts import load_interface
    from bcl_contract.linkage.report_text import report_lines
    from bcl_contract.linkage.validator import validate_path

    if not path.exists():
        raise click.UsageError("指定した場所が見つかりません。")
    chosen = load_interface(version_or_newest(version).version)
    if file_id is not None and file_id not in chosen.files:
        raise click.UsageError(f"「{file_id}」という種類のファイルはありません。")
    report = validate_path(path, file_id=file_id, version=chosen.version)
    if as_json:
        click.echo(json.dumps(report.as_json(), ensure_ascii=False, indent=1))
    else:
        click.echo("\n".join(report_lines(report)))
    sys.exit(0 if report.ok else REFUSED)


@interface.command("list")
@_JSON
def list_versions(as_json: bool) -> None:
    """インタフェースの版と、公開日・受入開始・受入期限を表示します。"""
    from bcl_contract import clock
    from bcl_contract.linkage import catalog

    at = clock.now()
    versions = catalog.current().versions
    if as_json:
        rows = [_version_json(each, at) for each in versions]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for each in versions:
        until = day_and_time(each.accepted_until) if each.accepted_until else "定めなし"
        click.echo(f"第{each.version}版  {state_ja(each, at)}  {each.summary_ja}")
        click.echo(
            f"  公開 {day_and_time(each.published_at)}  受入開始 "
            f"{day_and_time(each.accepted_from)}  受入期限 {until}"
        )


def state_ja(version: InterfaceVersion, at: datetime) -> str:
    """Say whether a version is accepted now."""
    if version.is_accepted(at):
        return "受付中"
    return "受入開始前" if at < version.accepted_from else "受付終了"


def day_and_time(at: datetime) -> str:
    """A moment in Japan for people."""
    from bcl_contract import clock

    return at.astimezone(clock.JST).strftime("%Y-%m-%d %H:%M")


def _version_json(version: InterfaceVersion, at: datetime) -> dict[str, str | bool | None]:
    until = version.accepted_until
    return {
        "version": version.version,
        "published_at": version.published_at.isoformat(),
        "accepted_from": version.accepted_from.isoformat(),
        "accepted_until": until.isoformat() if until else None,
        "accepted_now": version.is_accepted(at),
        "summary": version.summary_ja,
    }


@interface.command()
@click.argument("old", metavar="前の版")
@click.argument("new", metavar="新しい版")
@_JSON
def diff(old: str, new: str, as_json: bool) -> None:
    """二つの版の違い（ファイル・項目・型・桁・コードの追加、廃止、変更）を表示します。"""
    from bcl_contract.linkage.changes import compare

    for version in (old, new):
        known_version(version)
    changes = compare(old, new)
    if as_json:
        rows = {"from": old, "to": new, "changes": [change.as_json() for change in changes]}
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for change in changes:
        click.echo(change.text_ja)
    needed = sum(change.must_act for change in changes)
    click.echo(f"第{old}版から第{new}版への違い: {len(changes)}件（うち対応が必要 {needed}件）")


@interface.command()
@click.argument("source", metavar="入力", type=click.Path(path_type=Path))
@click.argument("target", metavar="出力", type=click.Path(path_type=Path))
@click.option("--from", "from_version", metavar="版", required=True, help="入力の版")
@click.option("--to", "to_version", metavar="版", required=True, help="出力の版")
@click.option("--file-id", metavar="種類", help="ファイルの種類（例 J01）。名前から分からないとき")
@_JSON
def convert(
    source: Path,
    target: Path,
    *,
    from_version: str,
    to_version: str,
    file_id: str | None,
    as_json: bool,
) -> None:
    """試験用のデータを、別の版の形に変換します（本番の送信には使いません）。

    入力は、フォルダー（READYのあるもの）か CSV です。新しい項目は空か既定値になり、
    なくなった項目は件数を示して落とします。決まりのない変換は行いません（終了コード3）。
    """
    from bcl_contract.linkage.convert import convert_path
    from bcl_contract.linkage.report_text import refusal_lines
    from bcl_contract.refusals import Refusal

    for version in (from_version, to_version):
        known_version(version)
    report = convert_path(
        source, target, from_version=from_version, to_version=to_version, file_id=file_id
    )
    if isinstance(report, Refusal):
        if as_json:
            click.echo(json.dumps({"refusal": report.as_json()}, ensure_ascii=False, indent=1))
        else:
            click.echo("\n".join(refusal_lines(report, first="変換できませんでした")), err=True)
        sys.exit(REFUSED)
    if as_json:
        click.echo(json.dumps(_conversion_json(report), ensure_ascii=False, indent=1))
        return
    click.echo("\n".join([*report.lines(), f"書き出しました: {target}"]))


def _conversion_json(report: ConversionReport) -> dict[str, object]:
    return {
        "files": [
            {
                "file": file.name, "file_id": file.file_id, "rows": file.rows,
                "dropped": dict(file.dropped), "defaulted": dict(file.defaulted),
                "recoded": dict(file.recoded),
            }
            for file in report.files
        ],
        "left_out": dict(report.left_out),
    }  # fmt: skip


@interface.command()
@click.option(
    "--out",
    metavar="フォルダー",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="書き出す先（既定は今の場所）",
)
@_version_option
def spec(out: Path, version: str | None) -> None:
    """連携インタフェースの仕様を、HTML（画面・印刷）・表計算・JSONで書き出します。"""
    from bcl_contract.linkage.specification_files import write_specification

    for path in write_specification(out, version_or_newest(version).version):
        click.echo(f"書き出しました: {path}")


@interface.command()
@click.option(
    "--out",
    "target",
    metavar="ファイル",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="書き出す先（zip）",
)
@_version_option
def kit(target: Path, version: str | None) -> None:
    """事業者向け一式（仕様・検査プログラム・サンプル・手引き）を一つのzipに書き出します。

    検査プログラムは、BCLのない事業者の機械で動きます（Python 3.11 以上）。
    """
    chosen = version_or_newest(version)
    from bcl_cli.interface_kit import KitExists, build_kit

    try:
        contents = build_kit(target, chosen.version)
    except KitExists:
        raise click.UsageError(f"{target} はすでにあります。") from None
    click.echo(f"書き出しました: {target}（{contents.files:,}個、サンプル {contents.samples}種類）")


@interface.command()
@_JSON
def towns(as_json: bool) -> None:
    """団体ごとに、今送っている版と、期限までの日数を表示します（BCLの機械で使います）。"""
    from bcl_cli.staff_acts import start

    start()
    from bcl.linkage import api
    from bcl.municipalities import api as municipalities
    from bcl_contract import clock

    at = clock.now()
    found = [
        api.get_interface_use(code, at=at) for code in municipalities.list_municipality_codes()
    ]
    if as_json:
        rows = [
            {
                "municipality_code": use.municipality_code,
                "versions": use.by_lane,
                "notices": [
                    {
                        "code": notice.code,
                        "interface_version": notice.interface_version,
                        "accepted_until": notice.accepted_until.isoformat(),
                        "days_left": notice.days_left,
                    }
                    for notice in use.notices
                ],
            }
            for use in found
        ]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for use in found:
        versions = "、".join(f"{_LANES[lane]} 第{v}版" for lane, v in use.by_lane.items())
        click.echo(f"{use.municipality_code}  {versions or 'まだ送信がありません'}")
        for notice in use.notices:
            left = f"あと{notice.days_left}日" if notice.days_left else "期限切れ"
            click.echo(f"  第{notice.interface_version}版の受入期限まで: {left}")


_LANES = {"main": "通常", "urgent": "急ぎ"}
