"""`bcl profile`: which uses of its data a municipality begins and ends (R-011)."""

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
    from bcl.municipalities.api import Profile

NAMES = {"backup": "a", "certificates": "b", "disaster": "c"}

profile_argument = click.argument(
    "name", type=click.Choice(list(NAMES)), metavar="[backup|certificates|disaster]"
)


@click.group(cls=JapaneseGroup)
def profile() -> None:
    """団体のデータ利用区分（バックアップ・証明発行・被災者支援）を始め、終え、状態を見ます。"""


@profile.command()
@municipality_option()
def show(municipality_code: str) -> None:
    """団体のデータ利用区分を表示します。"""
    start()
    from bcl.issuance import api as issuance
    from bcl.municipalities import api

    api.get_municipality(municipality_code)
    for use in api.list_profile_uses(municipality_code):
        if use.is_enabled:
            state = f"利用中（{japan_time(use.enabled_at)} {use.enabled_by}）"
        elif use.disabled_at:
            state = f"終了（{japan_time(use.disabled_at)} {use.disabled_by}）"
        else:
            state = "始めていません"
        click.echo(f"{use.profile.label_ja}: {state}")
        if use.is_enabled and use.profile is api.Profile.CERTIFICATES:
            built = issuance.find_projection_progress(municipality_code)
            words = "作成中" if built.is_building else "作成済み"
            click.echo(f"  証明発行DB: {words}（反映 {built.loads} / {built.of}）")


@profile.command()
@profile_argument
@municipality_option()
@staff_options
def enable(name: str, municipality_code: str, staff_id: str, key_file: Path) -> None:
    """データ利用区分を始めます。証明発行では、初期データの作成も始めます。"""
    chosen = _change("enable", name, municipality_code, staff_id, key_file)
    click.echo(f"{chosen.label_ja}を始めました。")
    if name == "certificates":
        click.echo("証明発行DBを作っています。進み具合は bcl profile show で見られます。")


@profile.command()
@profile_argument
@municipality_option()
@staff_options
def disable(name: str, municipality_code: str, staff_id: str, key_file: Path) -> None:
    """データ利用区分をすぐに終えます。証明発行DBは、保存期間の定めにより消します。"""
    chosen = _change("disable", name, municipality_code, staff_id, key_file)
    click.echo(f"{chosen.label_ja}を終えました。")


def _change(
    verb: str, name: str, municipality_code: str, staff_id: str, key_file: Path
) -> Profile:
    start()
    from bcl.issuance import api as issuance
    from bcl.municipalities import api
    from bcl_contract import clock

    chosen, act = api.Profile(NAMES[name]), f"{verb}_profile"
    signed = sign(
        act, municipality_code=municipality_code, staff_id=staff_id, key_file=key_file,
        content={"profile": chosen.value},
    )
    by = or_refuse(
        api.verify_staff_act(signed, act=act, municipality_code=municipality_code)
    )
    named: dict[str, Any] = {"by": by, "at": clock.now()}
    if chosen is api.Profile.CERTIFICATES:
        or_refuse(getattr(issuance, f"{verb}_certificates")(municipality_code, **named))
    else:
        or_refuse(getattr(api, act)(municipality_code, chosen, **named))
    return chosen
