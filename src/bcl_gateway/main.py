"""The `bcl-gateway` command. Exits (decision D26): 0 done, 3 refused, 2 wrong usage, 1 fault."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from bcl_contract import private_memory
from bcl_contract.refusals import Refusal
from bcl_gateway.api import Gateway, Round
from bcl_gateway.collect import Collected
from bcl_gateway.config import ConfigFault, GatewayConfig, load_config
from bcl_gateway.japanese_help import JapaneseGroup, run_command_line
from bcl_gateway.journal import Item
from bcl_gateway.progress import progress_display
from bcl_gateway.states import STATE_TEXTS, ItemState
from bcl_gateway.status import status_lines

REFUSED = 3
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="JSONで表示する")


@click.group(cls=JapaneseGroup)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("/etc/bcl-gateway/gateway.toml"),
    show_default="/etc/bcl-gateway/gateway.toml",
    envvar="BCL_GATEWAY_CONFIG",
    help="設定ファイル",
)
@click.pass_context
def gateway(context: click.Context, config_file: Path) -> None:
    """団体側の連携装置。置かれた連携データを検査し、署名し、暗号化してBCLへ送ります。

    通常は「run」を動かしたままにします。待ち受けの通信口は開きません。
    終了コード: 0 完了、3 お断り（理由コードつき）、2 使い方の誤り、1 故障。
    """
    private_memory.keep_out_of_dumps()
    context.obj = config_file


@gateway.command(short_help="書き終わったフォルダーを受け取る")
@click.pass_context
def collect(context: click.Context) -> None:
    """置き場所から、書き終わったフォルダー（READYのあるもの）を受け取ります。"""
    with _opened(context) as own:
        done = own.collect()
        if isinstance(done, Refusal):
            _refuse(done)
        _say_collected(done)


@gateway.command(short_help="受け取ったデータを検査する")
@click.pass_context
def check(context: click.Context) -> None:
    """受け取ったフォルダーを、BCLと同じ検査にかけます。

    誤りがあるものは送らず、差戻し場所へ報告書（結果.txt）とともに移します。
    """
    with _opened(context) as own:
        items = own.check()
        if isinstance(items, Refusal):
            _refuse(items)
        _say_items(items)
        _refuse_returned(items)


@gateway.command(short_help="署名して暗号化ファイルにする")
@click.pass_context
def sign(context: click.Context) -> None:
    """検査済みのフォルダーに番号を付けて署名し、暗号化して送信待ちに入れます。"""
    with _opened(context) as own:
        items = own.sign()
        if isinstance(items, Refusal):
            _refuse(items)
        _say_items(items)
        _refuse_returned(items)


@gateway.command(short_help="BCLへ送り、結果を受け取る")
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default="60",
    help="回線が切れたときに待つ秒数",
)
@click.pass_context
def send(context: click.Context, patience: float) -> None:
    """受け取り・検査・署名まで進めたうえで、送信待ちのものをBCLへ送ります。

    途中で切れても、次は受信済みの位置から続けます。
    """
    with _opened(context, bar=True) as own:
        done = own.run_once(patience_seconds=patience)
        if isinstance(done, Refusal):
            _refuse(done)
        _say_round(done)
        _refuse_returned(own.journal.items(ItemState.RETURNED)[-done.returned :], done.returned)
        if done.refusal is not None:
            _refuse(done.refusal)


@gateway.command(short_help="動かし続ける（受け取りから結果まで）")
@click.option("--once", is_flag=True, help="1回りだけ動かす")
@click.pass_context
def run(context: click.Context, once: bool) -> None:
    """受け取り、検査、署名、送信、結果の確認を繰り返します。止めるときは Ctrl-C です。"""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    last: list[Round | Refusal] = []

    def on_round(done: Round | Refusal) -> None:
        last[:] = [done]
        if isinstance(done, Refusal):
            if done.code == "GATEWAY_BUSY":
                stopping.set()
            else:
                click.echo(f"{done.text.text_ja}（{done.code}）", err=True)
        elif not done.is_idle:
            _say_round(done)
        if once:
            stopping.set()

    with _opened(context, bar=True) as own:
        own.run(stop=stopping.is_set, on_round=on_round)
    if last and isinstance(last[0], Refusal):
        _refuse(last[0])


@gateway.command(short_help="不受理で止まった系列を再開する")
@click.option(
    "--lane",
    type=click.Choice(["main", "urgent"]),
    default="main",
    show_default="main",
    help="系列（main 通常、urgent 緊急）",
)
@click.pass_context
def resume(context: click.Context, lane: str) -> None:
    """BCLで不受理になった送信のあとに続くものを、番号を付け直して送れるようにします。

    不受理になった分の内容が失われないこと（出し直し済みなど）を確かめてから使ってください。
    """
    with _opened(context) as own:
        items = own.resume(lane)
        if isinstance(items, Refusal):
            _refuse(items)
        click.echo(f"系列を再開しました（番号を付け直したもの {len(items)}件）。")


@gateway.command(short_help="いまの状況を表示する")
@_AS_JSON
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """受け取りから反映までの件数、系列の番号、最近の送信を表示します。"""
    with _opened(context) as own:
        facts = own.status()
    if as_json:
        _print_json(facts)
    else:
        click.echo("\n".join(status_lines(facts)))


@gateway.command(short_help="検査とBCLの結果の報告を表示する")
@click.argument("number", type=int, required=False)
@click.pass_context
def report(context: click.Context, number: int | None) -> None:
    """送信 NUMBER（status の [ ] の番号。省くと最後のもの）の検査結果とBCLの結果を表示します。

    行と項目だけを示し、住民の情報は表示しません。
    """
    with _opened(context) as own:
        lines = own.report(number)
    if lines is None:
        click.echo("その番号の送信はありません。", err=True)
        sys.exit(2)
    click.echo("\n".join(lines))


@gateway.command(short_help="設定・鍵・時計・回線を点検する")
@_AS_JSON
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """鍵とフォルダーの権限、時計、ディスク、証明書の期限、BCLへの接続を点検します。"""
    with _opened(context) as own:
        checks = own.doctor()
    if as_json:
        _print_json([one.as_json() for one in checks])
    else:
        marks = {True: "良", False: "否", None: "―"}
        for one in checks:
            click.echo(f"[{marks[one.ok]}] {one.text_ja}")
    if any(one.ok is False for one in checks):
        sys.exit(REFUSED)


@gateway.command(short_help="リカバリデータを確かめる")
@click.argument("package", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--check", "only_check", is_flag=True, required=True, help="開いて照合する")
@click.option(
    "--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="受取人の鍵ファイル"
)
@_AS_JSON
@click.pass_context
def restore(
    context: click.Context, package: Path, only_check: bool, key: Path | None, as_json: bool
) -> None:
    """リカバリデータ PACKAGE を開き、件数とハッシュ値を目録と照合します（--check）。

    内容は表示せず、平文のファイルも作りません。
    """
    del only_check, context  # restoring into a core system is the core system's own work
    from bcl_gateway.restore import check_recovery_package

    found = check_recovery_package(package, key)
    if isinstance(found, Refusal):
        _refuse(found)
    if as_json:
        _print_json(found.as_json())
    else:
        click.echo(f"団体 {found.municipality_code}・基準日時 {found.as_of}")
        for file in found.files:
            if file.name.endswith(".csv") or not file.matches:
                mark = "一致" if file.matches else "不一致"
                click.echo(f"  {mark} {file.name} {file.rows}件")
        click.echo(
            "照合の結果: "
            + ("すべて一致しました" if not found.differences else f"{found.differences}件の不一致")
        )
    if found.differences:
        _refuse(Refusal("GATEWAY_RECOVERY_INVALID", {"differences": found.differences}))


# --- inside ---------------------------------------------------------------------------------


@contextmanager
def _opened(context: click.Context, *, bar: bool = False) -> Iterator[Gateway]:
    config = _config(context.obj)
    with progress_display(enabled=bar) as progress, Gateway(config, progress=progress) as own:
        yield own


def _config(path: Path) -> GatewayConfig:
    try:
        return load_config(path)
    except ConfigFault as fault:
        click.echo(str(fault), err=True)
        sys.exit(2)


def _refuse(refusal: Refusal) -> NoReturn:
    text = refusal.text
    click.echo(f"お断り: {text.text_ja}（{refusal.code}）", err=True)
    for name, value in refusal.detail.items():
        click.echo(f"  {name}: {value}", err=True)
    click.echo(f"  直せる人: {text.who_can_fix_ja}", err=True)
    click.echo(f"  直し方: {text.how_ja}", err=True)
    sys.exit(REFUSED)


def _refuse_returned(items: list[Item], number: int | None = None) -> None:
    """Exit 3 if something was returned to the hall; the report says what is wrong."""
    returned = [item for item in items if item.state is ItemState.RETURNED]
    if returned and number != 0:
        last = returned[-1]
        _refuse(Refusal(last.refusal_code or "", last.refusal_detail))


def _say_collected(done: Collected) -> None:
    click.echo(f"受け取り {len(done.taken)}件、出力中 {len(done.unfinished)}件")


def _say_items(items: list[Item]) -> None:
    for item in items:
        number = "" if item.sequence is None else f" {item.lane} {item.sequence}番"
        click.echo(f"{item.folder}{number}: {STATE_TEXTS[item.state]}（{item.rows}行）")


def _say_round(done: Round) -> None:
    click.echo(
        f"受け取り {done.collected}件、差戻し {done.returned}件、署名 {done.signed}件、"
        f"送信 {done.uploaded}件、結果 {done.judged}件"
    )


def _print_json(content: Any) -> None:
    click.echo(json.dumps(content, ensure_ascii=False, indent=1))


def main() -> int:
    """Run the command line and return its exit code."""
    return run_command_line(gateway, prog_name="bcl-gateway")


if __name__ == "__main__":
    sys.exit(main())
