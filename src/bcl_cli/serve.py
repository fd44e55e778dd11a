"""`bcl serve`: the long-running programs of the cloud, and bringing its tables up to date."""

from __future__ import annotations

import os

import click

from bcl_cli.world import places
from bcl_contract.refusals import Refusal
from bcl_gateway.japanese_help import JapaneseGroup


@click.group(cls=JapaneseGroup)
def serve() -> None:
    """BCL のサーバを動かします。設定は BCL_ で始まる環境変数から読みます。"""


def take_settings_of_own_world() -> None:
    """Without `BCL_STATE_DIR`, act on this checkout's own world, if there is one."""
    if "BCL_STATE_DIR" not in os.environ:
        os.environ.update(places.Places.of().kept_environment())


def start_django(role: str) -> None:
    """Load Django for one role; the variables are read once, by `bcl.config.env`.

    Without `BCL_STATE_DIR` the settings of this checkout's own world are taken, if there is one.
    """
    import django

    take_settings_of_own_world()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bcl.config.settings")
    os.environ["BCL_ROLE"] = role
    django.setup()


@serve.command()
def database() -> None:
    """BCL 自身のデータベースを起動し、表を最新にして、止められるまで動かし続けます。"""
    from bcl.config import serve_database

    take_settings_of_own_world()
    serve_database.run(click.echo)


@serve.command()
def wire() -> None:
    """機械の入口（連携と証明発行。相互TLS）を動かします。"""
    start_django("wire")
    from bcl.config import serve as serving

    serving.run()


@serve.command()
def console() -> None:
    """管理者ページ（職員が登録端末で使う画面）を動かします。"""
    start_django("console")
    from bcl.config import serve as serving

    serving.run("console")


@serve.command()
def worker() -> None:
    """裏方の仕事（受けた連携データの反映、配信、書き出し）を動かします。"""
    start_django("worker")
    from bcl.config import egress, env
    from bcl.foundation import worker as working

    egress.enforce(env.read())
    working.run()


@serve.command()
def guard() -> None:
    """番人（できあがった証明書を確かめてから送る）を動かします。発行の入口とは別のプロセスです。"""
    os.environ["BCL_DATABASE_ROLE"] = "guard"
    start_django("guard")
    from bcl.config import egress, env
    from bcl.issuance import guard as guarding
    from bcl_cli.staff_acts import Refused

    settings = env.read()
    if settings.issuance.guard_socket is None:
        raise Refused(Refusal("ISSUE_GUARD_AWAY"))
    egress.enforce(settings)
    guarding.serve(settings.issuance.guard_socket)


@serve.command()
def migrate() -> None:
    """データベースの表を最新にします（持ち主の役割で行います）。"""
    from bcl.config import database, env
    from bcl.foundation import migrate as migrating
    from bcl_cli.staff_acts import Refused

    settings = env.read()
    if not settings.uses_external_cluster:
        # Ours must be up already; without this look the owner's process would only say "no socket".
        if database.embedded_cluster(settings).status() != "running":
            raise Refused(Refusal("WORLD_NOT_RUNNING"))
    migrating.run()
    click.echo("データベースの表を最新にしました。")
