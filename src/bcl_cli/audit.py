"""`bcl audit`: the audit log checked, written out and proved; who saw a person."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bcl_cli.keys import operator
from bcl_cli.staff_acts import Refused, municipality_option, start
from bcl_gateway.japanese_help import JapaneseGroup

if TYPE_CHECKING:
    from bcl.accounts.api import NamedLook
    from bcl.foundation.audit_check import Report

_NEW_FILE = click.Path(path_type=Path, dir_okay=False)
_OLD_PLACE = click.Path(path_type=Path, exists=True)
MOST_SHOWN = 50
KINDS = {
    "SHOWN": "表示",
    "PRINTED": "印刷",
    "HANDED_OUT": "提供",
    "DECIDED": "判定",
    "DATA": "更新",
    "OTHER": "操作",
}
PLACES = {
    "terminal": "端末",
    "transaction": "取引",
    "screen": "画面",
    "export": "リカバリデータ",
    "data_export": "持ち出し",
    "center": "センター",
    "subscription": "購読",
}


@click.group(cls=JapaneseGroup)
def audit() -> None:
    """監査記録を封印する・検証する・書き出す。ある人を誰が見たかを調べます。"""


def _log_code(municipality_code: str) -> str:
    """The code of a log that exists: a registered town's, or the agency's."""
    from bcl.foundation.audit_log import AGENCY_LOG
    from bcl.municipalities import api as municipalities

    known = [*municipalities.list_municipality_codes(), AGENCY_LOG]
    if municipality_code not in known:
        raise click.UsageError("登録されていない団体です。団体コード（6桁）を確かめてください。")
    return municipality_code


@audit.command()
def seal() -> None:
    """待っている記録に通し番号を付け、先頭値を外部に置きます（ふだんは worker が毎分行います）。"""
    start()
    from bcl.foundation import audit_log

    try:
        rows = audit_log.seal_all()
    except audit_log.AuditLogBroken:
        from bcl_contract.refusals import Refusal

        raise Refused(Refusal("AUDIT_LOG_NOT_SEALED")) from None
    click.echo(f"{rows:,} 件に通し番号を付けました。")
    click.echo(f"外部の先頭値: {audit_log.outside_place().folder}")


@audit.command()
@municipality_option(required=False)
@click.option(
    "--heads", "heads", multiple=True, type=_OLD_PLACE, metavar="場所",
    help="外部の先頭値のファイルかフォルダ（省くと設定の置き場所）",
)  # fmt: skip
def verify(municipality_code: str | None, heads: tuple[Path, ...]) -> None:
    """監査記録を、署名した先頭値・外部の先頭値と照合します。変えられた最初の記録を示します。

    団体を省くと、すべての団体と機構の記録を調べます。
    """
    start()
    from bcl.foundation import audit_check, audit_log, audit_outside, clock
    from bcl.municipalities import api as municipalities
    from bcl_contract.refusals import Refusal

    chosen = [*municipalities.list_municipality_codes(), audit_log.AGENCY_LOG]
    if municipality_code:
        chosen = [_log_code(municipality_code)]
    broken = 0
    for code in chosen:
        outside = [
            head for place in heads for head in audit_outside.read_heads(place)
            if head["content"]["log"] == code
        ] if heads else list(audit_log.outside_place().read(code))
        report = audit_check.check(code, outside=outside, at=clock.now())
        _tell(report)
        broken += not report.is_sound
    if broken:
        raise Refused(Refusal("AUDIT_LOG_BROKEN", {"logs": broken}))


def _tell(report: Report) -> None:
    from bcl.foundation import audit_words

    click.echo(
        f"{_log_name(report.log)}　記録 {report.rows:,} 件　先頭値 {report.heads:,} 個"
        f"　外部の先頭値 {report.outside_heads:,} 個　通し番号待ち {report.waiting:,} 件"
    )
    if not report.tags_checked and report.rows:
        click.echo("  団体の鍵がないため、記録の認証値は調べていません（ハッシュ値は調べました）。")
    if report.heads and not report.outside_heads:
        click.echo("  外部の先頭値がありません。末尾の削除と作り直しは見つけられません。")
    for finding in report.findings[:MOST_SHOWN]:
        click.echo(f"  {audit_words.where(finding)} {audit_words.label(finding.kind)}")
    if len(report.findings) > MOST_SHOWN:
        click.echo(f"  ほか {len(report.findings) - MOST_SHOWN:,} 件")
    if report.is_sound:
        click.echo("  書換え・削除・挿入はありません。")


def _log_name(code: str) -> str:
    from bcl.foundation.audit_log import AGENCY_LOG

    return "機構" if code == AGENCY_LOG else f"団体 {code}"


@audit.command()
@click.argument("entry_id", type=int, metavar="記録の番号")
@municipality_option()
@click.option("--agency", "is_agency", is_flag=True, help="団体によらない機構の記録")
@click.option("--out", required=True, type=_NEW_FILE, metavar="ファイル", help="証明（JSON）")
def prove(entry_id: int, municipality_code: str, out: Path, *, is_agency: bool) -> None:
    """一つの記録が監査記録にあることの証明を作ります（検証ツールの --proof で確かめます）。"""
    start()
    from bcl.foundation import audit_export
    from bcl_contract.refusals import Refusal

    proof = audit_export.prove(_log_code(municipality_code), entry_id, is_agency=is_agency)
    if proof is None:
        raise Refused(Refusal("AUDIT_ROW_NOT_SEALED"))
    out.write_text(json.dumps(proof, ensure_ascii=False, indent=1), encoding="utf-8")
    head = proof["head"]["content"]
    click.echo(f"通し番号 {proof['leaf']}　先頭値 {head['number']}（{head['tree_size']:,} 件）")
    click.echo(f"書き出しました: {out}")


@audit.command()
@municipality_option()
@click.option("--out", required=True, type=_NEW_FILE, metavar="ファイル", help="書出し（.jsonl）")
def export(municipality_code: str, out: Path) -> None:
    """監査記録をファイルに書き出します。検証ツールを同じフォルダに置きます。"""
    start()
    from bcl.foundation import audit_export, clock
    from bcl_contract import audit_verifier

    code = _log_code(municipality_code)
    with out.open("wb") as file:
        rows, heads = audit_export.write(file, code, at=clock.now())
    tool = out.with_name("audit_verifier.py")
    shutil.copyfile(audit_verifier.__file__, tool)
    click.echo(f"記録 {rows:,} 件、先頭値 {heads:,} 個を書き出しました: {out}")
    click.echo(f"確かめ方: python3 {tool.name} {out.name} --heads 外部の先頭値の場所")


@audit.command(name="who-saw")
@municipality_option()
@click.option("--person-stdin", is_flag=True, help="宛名番号を標準入力から読む（必ず付けます）")
@click.option(
    "--from", "since", type=click.DateTime(["%Y-%m-%d"]), metavar="日付", help="この日から"
)
@click.option("--to", "until", type=click.DateTime(["%Y-%m-%d"]), metavar="日付", help="この日まで")
@click.option("--reference", default="", metavar="受付番号", help="開示請求などの受付番号")
@click.option("--json", "as_json", is_flag=True, help="JSON で出す")
def who_saw(
    municipality_code: str,
    since: dt.datetime | None,
    until: dt.datetime | None,
    reference: str,
    *,
    person_stdin: bool,
    as_json: bool,
) -> None:
    """ある人の記録を、誰が、いつ、何のために見たか・印刷したか・渡したかを表示します。

    宛名番号は、画面や履歴に残らないように標準入力から読みます。期間を省くと1年分です。
    """
    if not person_stdin:
        raise click.UsageError("--person-stdin を付けて、宛名番号を標準入力から渡してください。")
    start()
    from bcl.accounts import api as accounts
    from bcl.foundation import clock
    from bcl_contract.refusals import Refusal

    code = _log_code(municipality_code)
    number = sys.stdin.readline().strip()
    if not (number.isascii() and number.isdigit() and len(number) == 15):
        raise Refused(Refusal("AUDIT_PERSON_NUMBER_FORM"))
    at = clock.now()
    begin = since.replace(tzinfo=clock.JST) if since else at - dt.timedelta(days=365)
    end = until.replace(tzinfo=clock.JST) + dt.timedelta(days=1) if until else at
    found = accounts.who_saw(code, number, since=begin, until=end)
    # Who asks who looked has looked as well.
    accounts.record_statement(
        code, number, count=len(found), reference=reference, by=operator(), at=at
    )
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in found], ensure_ascii=False))
        return
    first = begin.astimezone(clock.JST)
    last = (end - dt.timedelta(microseconds=1)).astimezone(clock.JST)
    click.echo(f"この人を見た・この人について操作した記録　{len(found):,} 件")
    click.echo(f"期間　{_day(first)} から {_day(last)} まで")
    for each in found:
        _show(each)
    if not found:
        click.echo("この期間の記録はありません。")


def _show(each: NamedLook) -> None:
    from bcl.foundation import clock

    look = each.look
    at = look.at.astimezone(clock.JST)
    who = each.name_ja or look.actor_id
    if each.roles_ja:
        who += f"（{look.actor_id}、{'・'.join(each.roles_ja)}）"
    click.echo(f"\n{_day(at)} {at:%H時%M分}　{KINDS[look.act.kind]}　{look.act.label_ja}")
    click.echo(f"  {each.who_ja}　{who}")
    if look.purpose:
        reference = f"（受付番号 {look.reference}）" if look.reference else ""
        click.echo(f"  目的　{_purpose(look.purpose)}{reference}")
    for kind, name in look.places:
        click.echo(f"  {PLACES[kind]}　{name}")
    if look.covers_everybody:
        click.echo("  団体のすべての人を対象にした操作です。")


def _purpose(code: str) -> str:
    from bcl.foundation import clock
    from bcl.resident_store.disclosure import purposes_on

    return dict(purposes_on(clock.today())).get(code, code)


def _day(at: dt.datetime) -> str:
    return f"{at.year}年{at.month}月{at.day}日"


def _as_json(each: NamedLook) -> dict[str, Any]:
    from bcl.foundation import clock

    look = each.look
    return {
        "entry": look.entry_id,
        "at": look.at.astimezone(clock.JST).isoformat(),
        "kind": look.act.kind,
        "act": look.act.act,
        "act_ja": look.act.label_ja,
        "actor_kind": look.actor_kind,
        "actor_id": look.actor_id,
        "name_ja": each.name_ja,
        "roles_ja": list(each.roles_ja),
        "purpose": look.purpose,
        "reference": look.reference,
        "places": dict(look.places),
        "covers_everybody": look.covers_everybody,
    }
