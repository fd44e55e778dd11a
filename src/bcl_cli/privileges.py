"""`bcl privileges`: 特権 asked for, running or over; ending it from the cloud's own machine."""

from __future__ import annotations

import uuid

import click

from bcl_cli.register import operator
from bcl_cli.staff_acts import or_refuse, start
from bcl_gateway.japanese_help import JapaneseGroup

STATES = {
    "ASKED": "承認待ち",
    "RUNNING": "使用中",
    "REFUSED": "却下",
    "LAPSED": "承認がなく無効",
    "ENDED": "終了",
}


@click.group(cls=JapaneseGroup)
def privileges() -> None:
    """特権（特権ID）の申請と使用を見る・すぐに終わらせる。"""


@privileges.command("list")
def show() -> None:
    """機構の特権の申請と使用を、新しいものから一覧にします。"""
    start()
    from bcl.accounts import api
    from bcl_contract import clock

    found = api.list_privileges(at=clock.now())
    if not found:
        click.echo("特権の申請はありません。")
    for one in found:
        parts = [str(one.id), one.ticket, one.login_name, f"{one.minutes}分", STATES[one.state]]
        if one.ends_at is not None:
            parts.append(f"{one.ends_at.astimezone(clock.JST):%Y-%m-%d %H:%M}まで")
        if one.decided_by:
            parts.append(f"決めた人 {one.decided_by}")
        click.echo(" ".join(parts))


@privileges.command()
@click.argument("request_id", type=click.UUID, metavar="申請の番号")
def end(request_id: uuid.UUID) -> None:
    """使用中の特権をすぐに終わらせます。本人の次の操作から使えません。"""
    start()
    from bcl.accounts import api
    from bcl_contract import clock

    or_refuse(api.cut_privilege(request_id, by=operator(), at=clock.now()))
    click.echo("特権を終わらせました。")
