"""`bcl subscription`: giving a town's data on to another system by one declarative file (R-029)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bcl_cli.staff_acts import (
    japan_time,
    municipality_option,
    or_refuse,
    sign,
    staff_options,
    start,
)
from bcl_gateway.japanese_help import JapaneseGroup

if TYPE_CHECKING:
    from bcl.subscriptions.api import SubscriptionStatus

STATES = {"REQUESTED": "承認待ち", "ACTIVE": "配信中", "PAUSED": "一時停止", "ENDED": "終了"}
CLASSES = {
    "sensitive": "要配慮",
    "individual_number": "個人番号",
    "secret_image": "印影",
    "protected_places": "支援措置対象者の居所",
}
SEARCH = {
    "person": "宛名番号", "household": "世帯番号", "name": "氏名", "kana": "振り仮名",
    "born": "生年月日",
}


@click.group(cls=JapaneseGroup)
def subscription() -> None:
    """ほかのシステムへのデータの配信（購読）を申請・承認し、状態を見ます。"""


name_argument = click.argument("name", metavar="購読名")


@subscription.command()
@click.option(
    "--profile", "profile_file", required=True, metavar="定義ファイル",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="配り先・目的・根拠・団体・項目を書いた TOML ファイル",
)
@municipality_option(required=False)
@staff_options
def add(
    profile_file: Path, municipality_code: str | None, staff_id: str, key_file: Path
) -> None:
    """定義ファイルの購読を申請します。別の人が承認するまで、何も配りません。

    --municipality がなければ、定義にあるすべての団体に申請します。
    """
    start()
    from bcl.subscriptions import api
    from bcl_contract import clock
    from bcl_contract.subscription_profile import parse_profile

    profile = or_refuse(parse_profile(profile_file.read_bytes()))
    for code in [municipality_code] if municipality_code else profile.towns:
        signed = sign(
            "request_subscription", municipality_code=code, staff_id=staff_id,
            key_file=key_file, content=api.request_content(profile),
        )
        row = or_refuse(api.request_subscription(code, profile, signed=signed, at=clock.now()))
        click.echo(f"団体 {code} に購読 {row.name}（版 {row.version}）を申請しました。")
    click.echo(f"定義の検査値: {profile.sha256}")
    _show_classes(profile.allow)
    click.echo("申請した人とは別の人が bcl subscription approve で承認すると、配信が始まります。")


@subscription.command()
@name_argument
@municipality_option()
@click.option(
    "--class", "classes", multiple=True, type=click.Choice(list(CLASSES)), metavar="区分",
    help="承認する区分（要配慮 sensitive など）。定義にあるものを一つずつ指定",
)
@staff_options
def approve(
    name: str, municipality_code: str, classes: tuple[str, ...], staff_id: str, key_file: Path
) -> None:
    """申請された購読を承認します。前の版があれば、新しい版に替わります。"""
    start()
    from bcl.subscriptions import api
    from bcl_contract import clock

    waiting = [
        each for each in api.list_versions(municipality_code, name)
        if each.row.state == api.SubscriptionState.REQUESTED
    ]
    or_refuse(None if waiting else _not_found())
    content = api.approval_content(
        name, waiting[0].row.profile_sha256, "+".join(sorted(set(classes)))
    )
    signed = sign(
        "approve_subscription", municipality_code=municipality_code, staff_id=staff_id,
        key_file=key_file, content=content,
    )
    row = or_refuse(
        api.approve_subscription(municipality_code, name, signed=signed, at=clock.now())
    )
    click.echo(f"購読 {row.name}（版 {row.version}）を承認しました。配る頁を作り始めます。")


@subscription.command("list")
@municipality_option(required=False)
@click.option("--all", "also_ended", is_flag=True, help="終わったものも出す")
def show_all(municipality_code: str | None, *, also_ended: bool) -> None:
    """購読の一覧を表示します。"""
    start()
    from bcl.municipalities import api as municipalities
    from bcl.subscriptions import api

    codes = [municipality_code] if municipality_code else municipalities.list_municipality_codes()
    found = False
    for code in codes:
        for each in api.list_subscriptions(code, also_ended=also_ended):
            found = True
            click.echo(
                f"{code} {each.row.name} 版{each.row.version}　{STATES[each.row.state]}　"
                f"{each.profile.title_ja}　遅れ {each.loads_behind} 回"
            )
    if not found:
        click.echo("購読はありません。")


@subscription.command()
@name_argument
@municipality_option()
def show(name: str, municipality_code: str) -> None:
    """購読の内容（だれに・何のために・どの項目を）と、配信の状態を表示します。"""
    start()
    from bcl.subscriptions import api

    versions = api.list_versions(municipality_code, name)
    or_refuse(None if versions else _not_found())
    for each in versions:
        if each.is_running or each.row.state == api.SubscriptionState.REQUESTED:
            _show(each)
    ended = [each for each in versions if each.row.state == api.SubscriptionState.ENDED]
    for each in ended:
        click.echo(f"版{each.row.version}　終了　{japan_time(each.row.changed_at)}")


@subscription.command()
@name_argument
@municipality_option()
@staff_options
def pause(name: str, municipality_code: str, staff_id: str, key_file: Path) -> None:
    """配信をすぐに止めます。配り先の位置は保たれます。"""
    _change("pause", name, municipality_code, staff_id, key_file)
    click.echo(f"購読 {name} を止めました。")


@subscription.command()
@name_argument
@municipality_option()
@staff_options
def resume(name: str, municipality_code: str, staff_id: str, key_file: Path) -> None:
    """止めた配信を、止めた位置から再開します。"""
    _change("resume", name, municipality_code, staff_id, key_file)
    click.echo(f"購読 {name} を再開しました。")


@subscription.command()
@name_argument
@municipality_option()
@staff_options
def rebuild(name: str, municipality_code: str, staff_id: str, key_file: Path) -> None:
    """世代を改め、配り先に今の状態を最初から渡し直します。"""
    _change("rebuild", name, municipality_code, staff_id, key_file)
    click.echo(f"購読 {name} の世代を改めました。")


@subscription.command()
@name_argument
@municipality_option()
@staff_options
def remove(name: str, municipality_code: str, staff_id: str, key_file: Path) -> None:
    """購読を終えます（承認待ちの申請は取り下げます）。用意した頁は消します。"""
    _change("end", name, municipality_code, staff_id, key_file)
    click.echo(f"購読 {name} を終えました。")


@subscription.command("signing-key")
def signing_key() -> None:
    """答えの署名を確かめるための公開鍵を表示します。配り先のシステムの運用者に渡してください。"""
    start()
    from bcl.foundation import agency_signing

    key_id, public_key = agency_signing.current_public_key()
    click.echo(f"{key_id} {public_key.hex()}")


# -- inside --------------------------------------------------------------------------------------


def _not_found() -> Any:
    from bcl_contract.refusals import Refusal

    return Refusal("SUBSCRIPTION_NOT_FOUND")


def _change(
    verb: str, name: str, municipality_code: str, staff_id: str, key_file: Path
) -> None:
    start()
    from bcl.subscriptions import api
    from bcl_contract import clock

    act = f"{verb}_subscription"
    signed = sign(
        act, municipality_code=municipality_code, staff_id=staff_id, key_file=key_file,
        content=api.change_content(name),
    )
    or_refuse(getattr(api, act)(municipality_code, name, signed=signed, at=clock.now()))


def _show(status: SubscriptionStatus) -> None:
    from bcl_contract.linkage.layouts import load_interface

    row, profile = status.row, status.profile
    click.echo(f"購読 {row.name} 版{row.version}　{STATES[row.state]}　{profile.title_ja}")
    click.echo(f"  配り先: {row.subscriber_id} {status.subscriber_name_ja or '（失効）'}")
    click.echo(f"  目的: {profile.purpose_ja}\n  根拠: {profile.legal_basis_ja}")
    click.echo(f"  定義の検査値: {row.profile_sha256}")
    files = load_interface().files
    for file_id, names in profile.columns.items():
        titles = "、".join(files[file_id].column(each).title_ja for each in names)
        click.echo(f"  {file_id} {files[file_id].title_ja}: {titles}")
    if profile.search:
        click.echo("  検索: " + "、".join(SEARCH[each] for each in profile.search))
    if profile.history:
        click.echo("  履歴の行も配ります。")
    _show_classes(profile.allow)
    click.echo(f"  申請: {japan_time(row.requested_at)} {row.requested_by}")
    if row.approved_at:
        click.echo(f"  承認: {japan_time(row.approved_at)} {row.approved_by}")
        click.echo(
            f"  世代 {row.epoch}　用意 {row.last_page} 頁　渡した {row.delivered_page} 頁　"
            f"受領 {row.acknowledged_page} 頁　遅れ {status.loads_behind} 回"
        )


def _show_classes(allow: Any) -> None:
    for each, reason in allow.items():
        click.echo(f"  特に承認が要る区分: {CLASSES[each]}（{each}）　理由: {reason}")
