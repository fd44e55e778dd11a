"""`bcl world`: bring a whole world up on this machine, look at it, walk the line, take it down."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator

import click

from bcl_cli.world.places import DEFAULT_TOWNS, Places
from bcl_cli.world.processes import ProgramFault, is_alive, stop_written_down, written_down
from bcl_contract import clock
from bcl_gateway.japanese_help import JapaneseGroup

_NAME = click.option("--name", help="世界の名前（省略時はこのソースの場所から決める）")


@click.group(cls=JapaneseGroup)
def world() -> None:
    """データベース、BCL、庁内の連携APサーバ、外部の模擬を一台の上で動かします。"""


@contextlib.contextmanager
def by_day() -> Iterator[None]:
    """The world's clock: the real one by day, else one that stands in the service hours."""
    from datetime import timedelta

    from bcl_cli.world.world import offset_into_the_day

    seconds = offset_into_the_day(clock.now())
    with clock.use(clock.Clock(offset=clock.current().offset + timedelta(seconds=seconds))):
        if seconds:
            click.echo(f"サービス時間外のため、この環境の時刻を {clock.now():%H:%M} に合わせます。")
        yield


def end_if_running(places: Places) -> None:
    """End the command when this world runs: another would take its ports and erase its data."""
    if any(is_alive(pid) for pid in written_down(places.state).values()):
        click.echo(
            "この環境はすでに動いています。bcl world status で確かめるか、"
            "bcl world down で止めてください。",
            err=True,
        )
        sys.exit(3)


@world.command()
@_NAME
@click.option(
    "--town", "towns", multiple=True, default=DEFAULT_TOWNS, help="団体コード（繰り返し可）"
)
def up(name: str | None, towns: tuple[str, ...]) -> None:
    """世界を起動し、Ctrl-C まで動かします。データは残ります。"""
    from bcl_cli.world.world import World

    places = Places.of(name)
    end_if_running(places)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with by_day():
        made = World(places, towns=towns)
        try:
            with made:
                click.echo(f"全体のページ: {made.page_url}")
                click.echo(
                    f"管理者ページ: {made.console_url}（サインインのしかた: bcl world people）"
                )
                click.echo("止めるには Ctrl-C を押してください。")
                keep_running(made)
        except ProgramFault as fault:
            click.echo(str(fault), err=True)
            sys.exit(1)


@world.command()
@_NAME
@click.option("--erase", is_flag=True, help="データも消す")
def down(name: str | None, erase: bool) -> None:
    """世界を止めます。"""
    from bcl_cli.world.world import World

    places = Places.of(name)
    stopped = stop_written_down(places.state)
    made = World(places)
    if erase:
        made.destroy()
    else:
        made.cluster().stop()
    click.echo(
        "、".join(stopped) + " を止めました。" if stopped else "動いているものはありません。"
    )


@world.command()
@_NAME
def status(name: str | None) -> None:
    """動いているプログラムと場所を表示します。"""
    places = Places.of(name)
    programs = written_down(places.state)
    for program, pid in programs.items():
        click.echo(f"  {program:<16} {'動作中' if is_alive(pid) else '停止'}  (pid {pid})")
    if not programs:
        click.echo("動いているものはありません。")
        sys.exit(3)
    click.echo(f"全体のページ: http://127.0.0.1:{places.ports()['page']}/")
    click.echo(f"管理者ページ: https://localhost:{places.ports()['console']}/（bcl world people）")
    click.echo(f"保存場所: {places.state}")


@world.command()
@_NAME
def people(name: str | None) -> None:
    """管理者ページにサインインできる人と、今の確認コードを表示します（デモ専用）。"""
    from bcl_cli.world.console_people import browser_key_path, read_people

    places = Places.of(name)
    found = read_people(places)
    if not found:
        click.echo("この環境には、まだ誰も登録されていません。bcl world up で作ります。")
        sys.exit(3)
    click.echo(f"管理者ページ: https://localhost:{places.ports()['console']}/\n")
    for code in sorted({one.municipality_code for one in found}):
        click.echo(
            f"団体 {code}　端末の証明書（ブラウザに取り込む。パスワードは空）: "
            f"{browser_key_path(places, code)}"
        )
        for one in found:
            if one.municipality_code == code:
                click.echo(
                    f"  {one.login_name:<14} パスワード {one.password}  "
                    f"確認コード {one.code()}  {one.roles_ja}"
                )
    click.echo("\n確認コードは30秒ごとに変わり、一度だけ使えます。")


@world.command()
@click.option("--residents", type=click.IntRange(1000, 1_000_000), default=10_000, help="住民の数")
@click.option("--check", is_flag=True, help="歩き終えたら止めて終わる（確認用）")
@click.option("--keep", is_flag=True, help="終わってもデータを消さない")
def demo(residents: int, check: bool, keep: bool) -> None:
    """町一つ分のデータを送り、三種類の証明書を発行し、復旧まで歩いて見せます。"""
    from bcl_cli.world.demo import run_demo

    end_if_running(Places.of())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with by_day():
        sys.exit(run_demo(residents=residents, check=check, keep=keep))


def keep_running(made: object) -> None:
    """Watch the programs until Ctrl-C; what falls is started again."""
    from bcl_cli.world.world import World

    assert isinstance(made, World)  # noqa: S101 - imported late, for the type checker
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(1)
            if made.supervisor.is_called_off():
                click.echo("bcl world down で止められました。")
                return
            for name in made.supervisor.restart_the_fallen():
                click.echo(f"{name} が止まったため、起動し直しました。")
