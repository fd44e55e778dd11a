"""`bcl recovery`: a municipality's data back, by two persons, encrypted to the receiver."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import click

from bcl_cli.staff_acts import Refused, municipality_option, or_refuse, sign, staff_options, start
from bcl_gateway.japanese_help import JapaneseGroup

STATES = {
    "REQUESTED": "承認待ち",
    "APPROVED": "作成中",
    "BUILT": "作成済み",
    "RELEASED": "受渡し済み",
    "FAILED": "失敗",
    "EXPIRED": "期限切れ",
}
_EXPORT = click.option(
    "--export", "export_id", type=int, required=True, metavar="申請番号", help="申請番号"
)


@click.group(cls=JapaneseGroup)
def recovery() -> None:
    """リカバリデータを申請・承認・書き出し・確認します。申請と承認は別の職員が行います。"""


@recovery.command()
@municipality_option()
@click.option("--sequence", type=int, metavar="通番", help="この通番まで反映した状態")
@click.option("--at", "as_of_time", metavar="日時", help="この日時の状態（例 2026-11-22T20:30）")
@click.option("--reason", required=True, metavar="理由", help="申請の理由")
@click.option("--incident", "incident_id", required=True, metavar="事案番号", help="事案番号")
@click.option("--receiver", "receiver_id", required=True, metavar="受領者", help="受領者の番号")
@staff_options
def request(
    *,
    municipality_code: str,
    sequence: int | None,
    as_of_time: str | None,
    reason: str,
    incident_id: str,
    receiver_id: str,
    staff_id: str,
    key_file: Path,
) -> None:
    """リカバリデータを申請します。どの時点の状態かを通番か日時で指定します。"""
    start()
    from bcl.recovery import api
    from bcl_contract import clock

    as_of = _as_of(sequence, as_of_time)
    signed = sign(
        "request_export",
        municipality_code=municipality_code,
        staff_id=staff_id,
        key_file=key_file,
        content=api.request_content(
            as_of=as_of, reason=reason, incident_id=incident_id, receiver_id=receiver_id
        ),
    )
    export = or_refuse(
        api.request_export(
            municipality_code,
            as_of=as_of,
            reason=reason,
            incident_id=incident_id,
            receiver_id=receiver_id,
            signed=signed,
            at=clock.now(),
        )
    )
    click.echo(f"申請しました。申請番号 {export.pk}")
    click.echo(f"申請の内容の検査値 {export.request_sha256}")


def _as_of(sequence: int | None, as_of_time: str | None):  # noqa: ANN202 - bcl is imported late
    from bcl.recovery import api
    from bcl_contract import clock

    if (sequence is None) == (as_of_time is None):
        raise click.UsageError("--sequence か --at のどちらか一方を指定してください。")
    if as_of_time is None:
        return api.AsOf(sequence=sequence)
    try:
        moment = datetime.fromisoformat(as_of_time)
    except ValueError:
        raise click.UsageError("--at は 2026-11-22T20:30 の形で書いてください。") from None
    return api.AsOf(at=moment if moment.tzinfo else moment.replace(tzinfo=clock.JST))


@recovery.command()
@municipality_option()
@_EXPORT
@staff_options
@click.option("--yes", is_flag=True, help="内容の確認を求めない")
def approve(
    municipality_code: str, export_id: int, staff_id: str, key_file: Path, *, yes: bool
) -> None:
    """申請を承認します（申請した人とは別の職員）。承認すると作成が始まります。"""
    start()
    from bcl.recovery import api
    from bcl_contract import clock

    export = _find(municipality_code, export_id)
    click.echo(f"団体 {municipality_code}　申請番号 {export.pk}　申請者 {export.requested_by}")
    click.echo(f"事案番号 {export.incident_id}　受領者 {export.receiver_id}")
    click.echo(f"理由 {api.read_reason(export)}")
    click.echo(f"申請の内容の検査値 {export.request_sha256}")
    if not yes and not click.confirm("この申請を承認しますか"):
        raise click.Abort
    signed = sign(
        "approve_export",
        municipality_code=municipality_code,
        staff_id=staff_id,
        key_file=key_file,
        content=api.approval_content(export.pk, export.request_sha256),
    )
    or_refuse(api.approve_export(municipality_code, export_id, signed=signed, at=clock.now()))
    click.echo("承認しました。リカバリデータを作成します。")


@recovery.command()
@municipality_option()
@_EXPORT
@staff_options
@click.option(
    "--out",
    "folder",
    required=True,
    metavar="フォルダ",
    type=click.Path(path_type=Path, file_okay=False),
    help="書き出すフォルダ",
)
@click.option(
    "--wait",
    "wait_seconds",
    type=int,
    default=600,
    show_default=True,
    metavar="秒",
    help="作成が終わるまで待つ秒数",
)
def export(
    *,
    municipality_code: str,
    export_id: int,
    staff_id: str,
    key_file: Path,
    folder: Path,
    wait_seconds: int,
) -> None:
    """できたリカバリデータ（暗号化済み）と読取りツールをフォルダに書き出します。"""
    start()
    from bcl.recovery import api
    from bcl_contract import clock

    found = _wait_until_built(municipality_code, export_id, wait_seconds)
    signed = sign(
        "release_export",
        municipality_code=municipality_code,
        staff_id=staff_id,
        key_file=key_file,
        content=api.release_content(found.pk, found.package_sha256),
    )
    paths = or_refuse(
        api.release_export(municipality_code, export_id, to=folder, signed=signed, at=clock.now())
    )
    for path in paths:
        click.echo(str(path))


def _wait_until_built(municipality_code: str, export_id: int, seconds: int):  # noqa: ANN202
    deadline = time.monotonic() + seconds
    found = _find(municipality_code, export_id)
    while found.state == "APPROVED" and time.monotonic() < deadline:
        time.sleep(0.2)
        found = _find(municipality_code, export_id)
    return found


def _find(municipality_code: str, export_id: int):  # noqa: ANN202 - bcl is imported late
    from bcl.recovery import api
    from bcl_contract.refusals import Refusal

    found = api.find_export(municipality_code, export_id)
    if found is None:
        raise Refused(Refusal("RECOVERY_EXPORT_NOT_FOUND"))
    return found


@recovery.command()
@municipality_option()
def status(municipality_code: str) -> None:
    """申請の一覧と状態を表示します。"""
    start()
    from bcl.municipalities import api as municipalities
    from bcl.recovery import api
    from bcl_contract import clock

    municipalities.get_municipality(municipality_code)
    exports = api.list_exports(municipality_code)
    for found in exports:
        asked = found.requested_at.astimezone(clock.JST).strftime("%Y-%m-%d %H:%M")
        click.echo(
            f"{found.pk}\t{asked}\t{STATES[found.state]}\t事案 {found.incident_id}"
            f"\t申請 {found.requested_by}\t承認 {found.approved_by or '－'}"
        )
    if not exports:
        click.echo("申請はまだありません。")


@recovery.command()
def signer() -> None:
    """リカバリデータに署名する機構の鍵の指紋と公開鍵を表示します（公表して、庁内に控えておくもの）。"""
    start()
    from bcl.foundation import agency_signing
    from bcl_contract import recovery_signature

    key_id, public_key = agency_signing.current_public_key()
    click.echo(f"鍵 {key_id}")
    click.echo(f"指紋 {recovery_signature.fingerprint(public_key)}")
    click.echo(f"公開鍵 {public_key.hex()}")


@recovery.command()
@click.argument("package", metavar="パッケージ", type=click.Path(exists=True, dir_okay=False))
@click.option("--key", "key_file", metavar="鍵ファイル", help="受領者の鍵（AGE-SECRET-KEY-1…）")
@click.option("--list", "households", type=int, metavar="世帯数", help="住民票を世帯ごとに一覧する")
@click.option("--check", is_flag=True, help="件数とSHA-256を一覧と突き合わせる")
@click.option("--signer", metavar="指紋", help="機構が公表した署名者の指紋（か公開鍵）")
@click.pass_context
def read(
    ctx: click.Context,
    package: str,
    key_file: str | None,
    households: int | None,
    signer: str | None,
    *,
    check: bool,
) -> None:
    """パッケージを開いて確かめます（reader.py と同じもの。データベースは使いません）。"""
    from bcl_contract import recovery_reader

    arguments = [package]
    if key_file:
        arguments += ["--key", key_file]
    if households is not None:
        arguments += ["--list", str(households)]
    if check:
        arguments.append("--check")
    if signer:
        arguments += ["--signer", signer]
    ctx.exit(recovery_reader.main(arguments))
