"""`bcl linkage`: the intake of transmissions, seen and handled by an operator."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bcl_cli.staff_acts import (
    REFUSED,
    Refused,
    municipality_option,
    or_refuse,
    sign,
    staff_options,
    start,
)
from bcl_gateway.japanese_help import JapaneseGroup

if TYPE_CHECKING:
    from bcl.linkage.api import Freshness, IntakeStatus

STATES = {
    "RECEIVED": "受信済み",
    "OPENED": "反映待ち",
    "LANDED": "反映済み",
    "HELD": "保留",
    "REJECTED": "却下",
}
LANES = {"main": "通常", "urgent": "急ぎ"}


@click.group(cls=JapaneseGroup)
def linkage() -> None:
    """連携データの受付状況を見ます。保留になったものを承認・却下します。"""


@linkage.command()
@municipality_option(required=False)
@click.option("--json", "as_json", is_flag=True, help="JSON で出す")
def status(municipality_code: str | None, *, as_json: bool) -> None:
    """団体ごとの滞留・最終反映・警報、最近の連携を表示します。警報があれば 3 で終わります。"""
    start()
    from bcl.linkage import api
    from bcl.municipalities import api as municipalities
    from bcl_contract import clock

    at = clock.now()
    if municipality_code:
        municipalities.get_municipality(municipality_code)
    codes = [municipality_code] if municipality_code else municipalities.list_municipality_codes()
    found = [(api.get_status(code, at=at), api.issuing_obstacle(code, at)) for code in codes]
    rhythms = {code: api.get_freshness(code, at=at) for code in codes}
    behind = {code: _loads_behind(code) for code in codes}
    if as_json:
        rows = [
            _as_json(one, obstacle)
            | _rhythm_as_json(rhythms[one.municipality_code], behind[one.municipality_code])
            for one, obstacle in found
        ]
        click.echo(json.dumps(rows, ensure_ascii=False))
    elif not found:
        click.echo("団体が登録されていません。")
    else:
        for one, obstacle in found:
            code = one.municipality_code
            _show(one, obstacle)
            _show_rhythm(rhythms[code], behind[code])
            _show_recent(one)
    sys.exit(REFUSED if any(each.alarms for each in rhythms.values()) else 0)


def _loads_behind(municipality_code: str) -> int | None:
    """How many loads the certificate profile still lacks; None where it has not begun.

    The backup profile is the store itself.
    """
    from bcl.issuance import api as issuance
    from bcl.municipalities import api as municipalities

    if not municipalities.is_profile_enabled(
        municipality_code, municipalities.Profile.CERTIFICATES
    ):
        return None
    freshness = issuance.find_freshness(municipality_code)
    return max(0, freshness.store_load - freshness.projection_load)


def _rhythm_as_json(rhythm: Freshness, behind: int | None) -> dict[str, Any]:
    return {
        "alarms": sorted(rhythm.alarms),
        "expected_by": rhythm.expected_by and rhythm.expected_by.isoformat(),
        "gateway_heard_at": rhythm.seen_at and rhythm.seen_at.isoformat(),
        "certificate_loads_behind": behind,
    }


def _show_rhythm(rhythm: Freshness, behind: int | None) -> None:
    from bcl_contract import clock
    from bcl_contract.refusals import Refusal

    if rhythm.expected_by is not None:
        expected = rhythm.expected_by.astimezone(clock.JST).strftime("%Y-%m-%d %H:%M")
        click.echo(f"  次の連携データの期限 {expected}（この団体のいつもの間隔と猶予から）")
    followed = f"{behind}回分の遅れ" if behind else "追いついています"
    words = "利用していません" if behind is None else followed
    click.echo(f"  証明発行への配信: {words}")
    for code in sorted(rhythm.alarms):
        text = Refusal(code).text
        click.echo(f"  警報 {code}: {text.text_ja}\n    対応: {text.how_ja}")


def _as_json(status: IntakeStatus, obstacle: Any) -> dict[str, Any]:
    return {
        "municipality_code": status.municipality_code,
        "backlog": status.backlog,
        "queued": status.queued,
        "held": status.held,
        "held_by_code": dict(status.held_by_code),
        "landed": status.landed,
        "rejected": status.rejected,
        "lanes": dict(status.lanes),
        "last_landed_at": status.last_landed_at and status.last_landed_at.isoformat(),
        "last_as_of": status.last_as_of and status.last_as_of.isoformat(),
        "seconds_since_landing": status.seconds_since_landing,
        "obstacle": None if obstacle is None else obstacle.as_json(),
        "recent": [
            {
                "id": str(one.id),
                "bundle_id": one.bundle_id,
                "lane": one.lane,
                "sequence": one.sequence,
                "mode": one.mode,
                "state": one.state,
                "code": one.refusal_code or None,
                "received_at": one.received_at.isoformat(),
                "landed_at": one.landed_at and one.landed_at.isoformat(),
                "findings_total": one.findings_total,
            }
            for one in status.recent
        ],
    }


def _show(status: IntakeStatus, obstacle: Any) -> None:
    from bcl_contract import clock

    click.echo(f"団体 {status.municipality_code}")
    landed_at = status.last_landed_at
    when = landed_at.astimezone(clock.JST).strftime("%Y-%m-%d %H:%M:%S") if landed_at else "なし"
    click.echo(f"  最終反映 {when}　反映済み {status.landed}件　却下 {status.rejected}件")
    click.echo(f"  滞留 {status.backlog}件（処理待ち {status.queued}件、保留 {status.held}件）")
    for lane, sequence in status.lanes.items():
        click.echo(f"  {LANES.get(lane, lane)}の系列: 通番 {sequence} まで反映")
    if obstacle is not None:
        click.echo(f"  発行の停止理由 {obstacle.code}: {obstacle.text.text_ja}")


def _show_recent(status: IntakeStatus) -> None:
    from bcl_contract import clock

    for one in status.recent:
        sequence = "-" if one.sequence is None else str(one.sequence)
        received = one.received_at.astimezone(clock.JST).strftime("%m-%d %H:%M:%S")
        reason = f" {one.refusal_code}" if one.refusal_code else ""
        click.echo(
            f"    {received} {LANES.get(one.lane, '－')} 通番{sequence:>4} "
            f"{STATES[one.state]}{reason}  {one.id}"
        )


@linkage.command()
@municipality_option()
@click.argument("transmission_id", metavar="番号")
@staff_options
def release(municipality_code: str, transmission_id: str, staff_id: str, key_file: Path) -> None:
    """保留になっている連携データを、正しいと確かめたうえで承認します。"""
    _decide("release_transmission", municipality_code, transmission_id, staff_id, key_file)
    click.echo("承認しました。反映の順番が来ると自動で反映されます。")


@linkage.command()
@municipality_option()
@click.argument("transmission_id", metavar="番号")
@staff_options
def reject(municipality_code: str, transmission_id: str, staff_id: str, key_file: Path) -> None:
    """保留になっている連携データを却下します（通番の食い違いの確認にも使います）。"""
    _decide("reject_transmission", municipality_code, transmission_id, staff_id, key_file)
    click.echo("却下しました。正しい連携データを同じ通番で送り直してください。")


def _decide(
    act: str, municipality_code: str, transmission_id: str, staff_id: str, key_file: Path
) -> None:
    start()
    from bcl.linkage import api
    from bcl.municipalities import api as municipalities
    from bcl_contract import clock
    from bcl_contract.refusals import Refusal

    signed = sign(
        act,
        municipality_code=municipality_code,
        staff_id=staff_id,
        key_file=key_file,
        content={"transmission": transmission_id},
    )
    by = municipalities.verify_staff_act(signed, act=act, municipality_code=municipality_code)
    if isinstance(by, Refusal):
        raise Refused(by)
    decide = api.release_held if act == "release_transmission" else api.reject_transmission
    or_refuse(decide(municipality_code, transmission_id, by=by, at=clock.now()))


@linkage.command("transfer-key")
@municipality_option()
@click.option(
    "--renew", is_flag=True, help="新しい受取鍵を作る（前の鍵も残ります）"
)
@click.option("--json", "as_json", is_flag=True, help="JSON で出す")
def transfer_key(municipality_code: str, *, renew: bool, as_json: bool) -> None:
    """外部転送ソフト（NISMAIL など）を使う団体の受取鍵を示し、受渡しフォルダーを用意します。

    示された内容を、団体の連携装置の設定 [transfer] と [server] に書きます。
    """
    start()
    from bcl.linkage import api
    from bcl.linkage.api import make_transfer_folders
    from bcl_cli.register import operator
    from bcl_contract import clock

    at = clock.now()
    folders = or_refuse(make_transfer_folders(municipality_code))
    key = api.get_transfer_key(municipality_code, by=operator(), at=at, renew=renew)
    shown = {
        "recipient": key.recipient,
        "key_id": key.key_id,
        "receipt_key": api.get_receipt_public_key(municipality_code, at=at),
        "incoming_dir": str(folders.incoming),
        "outgoing_dir": str(folders.outgoing),
    }
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    click.echo(f"団体 {municipality_code} の連携装置の設定に書くもの")
    click.echo(f'  [transfer] recipient = "{shown["recipient"]}"')
    click.echo(f'  [transfer] key_id = "{shown["key_id"]}"')
    click.echo(f'  [server] receipt_key = "{shown["receipt_key"]}"')
    click.echo("転送ソフトの設定")
    click.echo(f"  団体から届いたファイルを置くところ: {shown['incoming_dir']}")
    click.echo(f"  団体へ届けるファイルを取るところ: {shown['outgoing_dir']}")
