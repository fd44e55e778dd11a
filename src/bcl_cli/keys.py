"""`bcl keys`: the topmost keys, rotation, escrow and erasure (for the agency's operators)."""

from __future__ import annotations

import getpass
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bcl_cli.staff_acts import Refused, municipality_option, or_refuse, sign, staff_options, start
from bcl_gateway.japanese_help import JapaneseGroup

if TYPE_CHECKING:
    from bcl.foundation.audit import Actor

PURPOSES = {
    "PAGES": "中間DBの頁",
    "SEARCH": "検索",
    "IDENTITY": "識別",
    "CELLS": "その他の項目",
    "SEAL_IMAGES": "印影",
    "INDIVIDUAL_NUMBERS": "個人番号",
    "RECEIVE": "受信した連携データ",
}
STATES = {"RUNNING": "包み直し中", "SETTLING": "確認中", "DONE": "完了"}
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_NEW_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=JapaneseGroup)
def keys() -> None:
    """暗号鍵の状態を見る・更新する・預託する・消去します（機構の運用者用）。"""


def operator() -> Actor:
    """Whoever runs the command on the cloud's own machine."""
    from bcl.foundation.audit import Actor

    name = re.sub(r"[^A-Za-z0-9._-]", "-", getpass.getuser()) or "unknown"
    return Actor("staff", f"operator-{name}")


# -- providers -----------------------------------------------------------------------------------


@keys.command(name="init-provider")
def init_provider() -> None:
    """鍵を保管する装置（または鍵ファイル）を確かめ、試しの鍵で包む・開く・壊すを行います（鍵の式典）。"""
    start()
    from bcl.foundation import audit, clock
    from bcl.foundation import keys as town_keys
    from bcl.foundation.key_provider import AGENCY, KeyFault
    from bcl_contract.refusals import Refusal

    try:
        provider = town_keys.provider()
        provider.check()
        trial = provider.create_kek(AGENCY)
        wrapped = provider.wrap(trial, b"bcl" * 10, context=b"trial")
        opened = provider.unwrap(trial, wrapped, context=b"trial") == b"bcl" * 10
        destroyed = provider.destroy_kek(trial)
    except KeyFault as fault:
        click.echo(str(fault), err=True)
        raise Refused(Refusal("KEY_PROVIDER_AWAY")) from None
    if not (opened and destroyed):
        raise Refused(Refusal("KEY_PROVIDER_AWAY"))
    audit.record_agency(
        act="check_key_provider",
        by=operator(),
        at=clock.now(),
        detail={"provider": provider.name, "trial": trial},
    )
    _show_provider()
    click.echo("試しの鍵を作り、包み、開き、壊しました。この装置で団体の鍵を作れます。")


def _show_provider() -> None:
    from bcl.foundation import keys as town_keys

    provider = town_keys.provider()
    kind = {"file": "鍵ファイル", "pkcs11": "鍵装置（PKCS#11）"}[provider.name]
    facts = "　".join(f"{name} {value}" for name, value in provider.describe().items())
    click.echo(f"鍵の保管先: {kind}　{facts}")


@keys.command(name="move-provider")
@municipality_option(required=False)
def move_provider(municipality_code: str | None) -> None:
    """団体の鍵を、今の設定（BCL_KEY_PROVIDER）の保管先へ移します。団体を省くとすべての団体です。"""
    start()
    from bcl.foundation import agency_signing, audit, clock, tenancy
    from bcl.foundation import keys as town_keys
    from bcl.municipalities import api as municipalities

    chosen = [municipality_code] if municipality_code else municipalities.list_municipality_codes()
    for code in chosen:
        if town_keys.is_erased(code):
            continue
        with tenancy.scope(code):
            version = town_keys.rotate_town_key(code)
            audit.record(
                act="rotate_town_key", by=operator(), at=clock.now(), detail={"version": version}
            )
        click.echo(f"団体 {code} の鍵を第{version}版に移しました。預託はやり直してください。")
    if municipality_code is None:
        agency_signing.move_to_current_provider()
        click.echo(
            "すべて移しました。元の保管先は、移す前のバックアップの保存期間が過ぎるまで残してください。"
        )


@keys.command()
@municipality_option(required=False)
def status(municipality_code: str | None) -> None:
    """鍵の保管先、団体ごとの鍵・更新・預託を表示します。開けない団体があれば 3 で終わります。"""
    start()
    from bcl.foundation import keys as town_keys
    from bcl.foundation.key_provider import KeyFault
    from bcl.municipalities import api as municipalities

    well = True
    try:
        town_keys.provider().check()
        _show_provider()
    except KeyFault as fault:
        click.echo(f"鍵の保管先: 使えません　{fault}")
        well = False
    chosen = [municipality_code] if municipality_code else municipalities.list_municipality_codes()
    opened = [_show_town(code) for code in chosen]
    if not (well and all(opened)):
        sys.exit(3)


def _show_town(code: str) -> bool:
    """Show one town's keys; whether its data opens (or was erased, and shall not)."""
    from bcl.foundation import clock, escrow, rotation, tenancy
    from bcl.foundation import keys as town_keys
    from bcl.foundation.models import DataKey, TownKey

    with tenancy.scope(code):
        town_row = TownKey.objects.filter(destroyed_at=None).order_by("-version").first()
        data_rows = list(DataKey.objects.filter(destroyed_at=None).order_by("purpose", "version"))
    click.echo(f"\n団体 {code}")
    if town_row is None:
        click.echo("  鍵は消去済みです。" if town_keys.is_erased(code) else "  鍵がありません。")
        return town_keys.is_erased(code)
    click.echo(f"  団体鍵 第{town_row.version}版　保管先 {town_row.provider_key_id}")
    try:
        town_keys.data_key(code, town_keys.KeyPurpose.PAGES)
        click.echo("  この鍵で、団体のデータを開けます。")
        opens = True
    except town_keys.KeyFault as fault:
        click.echo(f"  この鍵では、団体のデータを開けません　{fault}")
        opens = False
    versions: dict[str, list[str]] = {}
    for row in data_rows:
        versions.setdefault(row.purpose, []).append(str(row.version))
    for purpose, numbers in versions.items():
        click.echo(f"  {PURPOSES[purpose]}の鍵（{purpose}） 版 {'・'.join(numbers)}")
    for run in rotation.list_rotations(code)[:5]:
        click.echo(
            f"  更新 {run.purpose} 第{run.version}版 {STATES[run.state]}"
            f"　{run.resealed:,} / {run.total:,}"
        )
    for each in escrow.list_escrows(code):
        state = "破棄" if each.destroyed_at else (
            "有効" if each.town_key_version == town_row.version else "古い版（作り直しが必要）"
        )
        made = each.created_at.astimezone(clock.JST).strftime("%Y-%m-%d")
        click.echo(
            f"  預託 {made} {each.threshold}/{len(each.custodians)}人 {state}"
            f"　検査値 {each.package_sha256[:16]}"
        )
    return opens


# -- rotation ------------------------------------------------------------------------------------

_PURPOSE = click.option(
    "--purpose",
    required=True,
    type=click.Choice(list(PURPOSES)),
    metavar="用途",
    help="PAGES（頁）・CELLS（項目）・SEAL_IMAGES（印影）・RECEIVE（受信）など",
)


@keys.command()
@municipality_option()
@_PURPOSE
def rotate(municipality_code: str, purpose: str) -> None:
    """データ鍵を更新します。業務は止まりません。前のデータの包み直しは裏で進みます。"""
    start()
    from bcl.foundation import clock, rotation
    from bcl.foundation.keys import KeyPurpose
    from bcl.municipalities import api as municipalities

    municipalities.get_municipality(municipality_code)
    run = or_refuse(
        rotation.rotate(municipality_code, KeyPurpose(purpose), by=operator(), at=clock.now())
    )
    click.echo(f"{PURPOSES[purpose]}の鍵を第{run.version}版に更新しました。")
    click.echo(f"{run.total:,} 件の包み直しを始めます。進み具合: bcl keys status")


@keys.command(name="destroy-old")
@municipality_option()
@_PURPOSE
def destroy_old(municipality_code: str, purpose: str) -> None:
    """包み直しが終わった古い版の鍵を壊します。まだ使われている版は壊しません。"""
    start()
    from bcl.foundation import clock, rotation
    from bcl.foundation.keys import KeyPurpose

    versions = or_refuse(
        rotation.destroy_old_versions(
            municipality_code, KeyPurpose(purpose), by=operator(), at=clock.now()
        )
    )
    listed = "・".join(f"第{version}版" for version in versions)
    click.echo(f"{listed} を壊しました。" if versions else "壊す版はありません。")


# -- escrow --------------------------------------------------------------------------------------


@keys.group(cls=JapaneseGroup)
def escrow() -> None:
    """団体の鍵を、n人のうちm人がそろえば開けられる形で預託します。"""


@escrow.command(name="create")
@municipality_option()
@click.option(
    "--custodian", "custodians", multiple=True, required=True, metavar="age1…",
    help="保管者の age 公開鍵（人数分くり返す）",
)
@click.option("--threshold", type=int, required=True, metavar="人数", help="開けるのに必要な人数")
@click.option("--out", required=True, type=_NEW_FILE, metavar="ファイル", help="預託ファイル")
@staff_options
def create_escrow(
    *,
    municipality_code: str,
    custodians: tuple[str, ...],
    threshold: int,
    out: Path,
    staff_id: str,
    key_file: Path,
) -> None:
    """預託ファイルを作ります。機構と保管者がそれぞれ写しを保管してください（データベースには入りません）。"""
    start()
    from bcl.municipalities import api as municipalities
    from bcl.municipalities import escrow_acts
    from bcl_contract import clock

    municipalities.get_municipality(municipality_code)
    if out.exists():
        raise click.UsageError(f"{out} はすでにあります。別の名前にしてください。")
    content = escrow_acts.create_content(custodians=custodians, threshold=threshold)
    signed = sign(
        "create_escrow",
        municipality_code=municipality_code,
        staff_id=staff_id,
        key_file=key_file,
        content=content,
    )
    package = or_refuse(
        escrow_acts.create_escrow(
            municipality_code,
            custodians=custodians,
            threshold=threshold,
            signed=signed,
            at=clock.now(),
        )
    )
    write_private(out, package.content)
    click.echo(f"{out} を作りました。{len(custodians)}人のうち{threshold}人で開けられます。")
    click.echo(f"検査値 {package.sha256}")


@escrow.command(name="restore")
@municipality_option()
@click.option("--package", required=True, type=_FILE, metavar="ファイル", help="預託ファイル")
@click.option(
    "--identity", "identities", multiple=True, required=True, type=_FILE, metavar="鍵ファイル",
    help="保管者の鍵ファイル（人数分くり返す）",
)
@staff_options
def restore_escrow(
    *,
    municipality_code: str,
    package: Path,
    identities: tuple[Path, ...],
    staff_id: str,
    key_file: Path,
) -> None:
    """失われた鍵を預託ファイルから戻し、今の保管先の新しい鍵で包み直します。"""
    start()
    from bcl.municipalities import escrow_acts
    from bcl_contract import clock

    content = package.read_bytes()
    signed = sign(
        "restore_escrow",
        municipality_code=municipality_code,
        staff_id=staff_id,
        key_file=key_file,
        content=escrow_acts.restore_content(content),
    )
    version = or_refuse(
        escrow_acts.restore_escrow(
            municipality_code,
            package=content,
            identities=[path.read_text() for path in identities],
            signed=signed,
            at=clock.now(),
        )
    )
    click.echo(f"団体鍵を第{version}版として戻しました。新しい預託を作ってください。")


# -- erasure -------------------------------------------------------------------------------------


@keys.group(name="erase-town", cls=JapaneseGroup)
def erase_town() -> None:
    """団体の鍵を消去し、その団体のデータを読めなくします（取り消せません。二人で行います）。"""


@erase_town.command(name="request")
@municipality_option()
@click.option(
    "--reason", "reason_code", required=True, metavar="理由",
    help="CONTRACT_ENDED 契約終了・MERGED 合併・TRIAL_ENDED 試行終了・ORDERED 命令",
)
@click.option("--reference", required=True, metavar="文書番号", help="根拠の文書番号（英数字）")
@staff_options
def request_erasure(
    municipality_code: str, reason_code: str, reference: str, staff_id: str, key_file: Path
) -> None:
    """消去を申請します。承認されるまでは何も消しません。"""
    start()
    from bcl.municipalities import api, erasure
    from bcl_contract import clock

    signed = sign(
        "request_erasure",
        municipality_code=municipality_code,
        staff_id=staff_id,
        key_file=key_file,
        content=erasure.request_content(reason_code=reason_code, reference=reference),
    )
    row = or_refuse(
        api.request_erasure(
            municipality_code,
            reason_code=reason_code,
            reference=reference,
            signed=signed,
            at=clock.now(),
        )
    )
    click.echo(f"消去を申請しました。申請番号 {row.pk}（7日以内に別の職員が承認してください）")
    click.echo(f"申請の検査値 {row.request_sha256}")


@erase_town.command(name="approve")
@municipality_option()
@click.option("--request", "erasure_id", type=int, required=True, metavar="申請番号")
@click.option("--out", required=True, type=_NEW_FILE, metavar="ファイル", help="消去証明（JSON）")
@click.option("--yes", is_flag=True, help="内容の確認を求めない")
@staff_options
def approve_erasure(
    *,
    municipality_code: str,
    erasure_id: int,
    out: Path,
    staff_id: str,
    key_file: Path,
    yes: bool,
) -> None:
    """消去を承認して実行し、署名つきの消去証明を書き出します（申請した人とは別の職員）。"""
    start()
    from bcl.municipalities import api, erasure
    from bcl_contract import clock
    from bcl_contract.refusals import Refusal

    row = api.find_erasure(municipality_code, erasure_id)
    if row is None:
        raise Refused(Refusal("KEY_ERASURE_NOT_FOUND"))
    click.echo(f"団体 {municipality_code}　申請者 {row.requested_by}　理由 {row.reason_code}")
    click.echo(f"文書番号 {row.reference}　申請の検査値 {row.request_sha256}")
    question = "この団体のデータは二度と読めなくなります。実行しますか"
    if not yes and not click.confirm(question):
        raise click.Abort
    signed = sign(
        "approve_erasure",
        municipality_code=municipality_code,
        staff_id=staff_id,
        key_file=key_file,
        content=erasure.approval_content(row.pk, row.request_sha256),
    )
    proof = or_refuse(
        api.approve_erasure(municipality_code, erasure_id, signed=signed, at=clock.now())
    )
    write_private(out, json.dumps(proof, ensure_ascii=False, indent=1).encode())
    content = proof["content"]
    click.echo(f"消去しました。読めなくなった値 {content['unreadable_values']:,} 件")
    if content["backups"]["readable_until"]:
        click.echo(f"古い共用の鍵があるため、{content['backups']['readable_until']} までの"
                   "バックアップは読める状態です。")
    click.echo(f"消去証明 {out}")


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner reads."""
    import os

    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
