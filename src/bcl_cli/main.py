"""The `bcl` command: one entry, readable subcommands, everything heavy imported late.

Exit codes (decision D26): 0 done, 3 refused (with a code), 2 wrong usage, 1 fault.
"""

from __future__ import annotations

import importlib
import sys

import click

from bcl_contract.refusals import Refusal
from bcl_gateway.japanese_help import JapaneseGroup, run_command_line

REFUSED = 3

# Faults whose text is one Japanese sentence for the operator -> exit code.
ENDS_WITH_ITS_SENTENCE = {"SettingsError": 2, "PostgresError": 1}

# Subcommand -> (module, attribute, one line of help). Modules are imported when they are called,
# so that `bcl interface validate` starts without Django and without a database.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "world": ("bcl_cli.world.commands", "world", "全体（世界）を起動・停止・確認する"),
    "core": ("bcl_cli.core", "core", "住民情報システムの模擬（町を作る・日を進める・書き出す）"),
    "interface": ("bcl_cli.interface", "interface", "連携インタフェースの検査と仕様の出力"),
    "register": ("bcl_cli.register", "register", "団体・連携装置・職員・受領者を登録する"),
    "linkage": ("bcl_cli.linkage", "linkage", "連携の受付状況を見る・保留を扱う"),
    "reconcile": ("bcl_cli.reconcile", "reconcile", "住民情報システムと中間DBを照合する"),
    "recovery": ("bcl_cli.recovery", "recovery", "リカバリデータの申請・承認・書き出し・確認"),
    "subscription": (
        "bcl_cli.subscription",
        "subscription",
        "ほかのシステムへのデータの配信（購読）の申請・承認・状態",
    ),
    "profile": ("bcl_cli.profile", "profile", "団体のデータ利用区分を始める・終える・見る"),
    "keys": ("bcl_cli.keys", "keys", "暗号鍵の状態・更新・預託・消去"),
    "privileges": ("bcl_cli.privileges", "privileges", "特権の申請と使用を見る・すぐに終わらせる"),
    "security-report": (
        "bcl_cli.security_report",
        "security_report",
        "団体のセキュリティ自己点検を証拠つきで表示する",
    ),
    "backup": ("bcl_cli.backup", "backup", "BCL自身のバックアップをとる・状態を見る"),
    "drill": ("bcl_cli.drill", "drill", "復元訓練を行い、結果を記録する"),
    "audit": ("bcl_cli.audit", "audit", "監査記録の検証・書出し、ある人を誰が見たか"),
    "retention": ("bcl_cli.retention", "retention", "保存期間の過ぎたデータの削除と証明"),
    "kiosk": ("bcl_cli.kiosk", "kiosk", "キオスク端末の模擬（証明書を発行する）"),
    "bench": ("bcl_cli.bench", "bench", "性能を測り、同じ実行の中の相手と比べる"),
    "serve": ("bcl_cli.serve", "serve", "BCL のサーバを動かす（データベース・入口・画面など）"),
}


class LazyGroup(JapaneseGroup):
    """A click group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            # click looks for near names among the imported ones, and here none is.
            raise click.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("コマンド"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(cls=LazyGroup)
def bcl() -> None:
    """自治体基盤クラウドシステム（BCL）を操作します。

    各コマンドの説明は「bcl コマンド --help」で表示します。
    終了コード: 0 完了、3 お断り（理由コードつき）、2 使い方の誤り、1 故障。
    """


ENDS_WITH_A_REFUSAL = {
    "OperationalError": "WORLD_NOT_RUNNING",
    "UnknownMunicipality": "REGISTRATION_MUNICIPALITY_UNKNOWN",
    "KeyErased": "KEY_ERASED",
    "KeyLost": "KEY_LOST",
    "DatabaseFenced": "DATABASE_FENCED",
    "KeyProviderAway": "KEY_PROVIDER_AWAY",
}


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        return run_command_line(bcl, prog_name="bcl")
    except Exception as fault:
        # Told by name: the commands without a database must not load a driver to say so.
        if type(fault).__name__ in ENDS_WITH_ITS_SENTENCE:
            click.echo(str(fault), err=True)
            return ENDS_WITH_ITS_SENTENCE[type(fault).__name__]
        if type(fault).__name__ not in ENDS_WITH_A_REFUSAL:
            raise
        text = Refusal(ENDS_WITH_A_REFUSAL[type(fault).__name__]).text
        click.echo(f"{text.code}: {text.text_ja}\n  対応: {text.how_ja}", err=True)
        return REFUSED


if __name__ == "__main__":
    sys.exit(main())
