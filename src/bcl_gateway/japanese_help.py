"""Command help in Japanese: click's own headings are English words in its code."""

from __future__ import annotations

import re

import click

USAGE_WORDS = {"[OPTIONS]": "[指定]", "COMMAND [ARGS]...": "コマンド [引数]..."}
# What click writes beside a setting: the kind of its value, and what stands without it.
VALUE_WORDS = {
    "INTEGER": "数", "FLOAT": "数", "TEXT": "文字", "FILE": "ファイル", "FILENAME": "ファイル",
    "PATH": "場所", "DIRECTORY": "フォルダー", "RANGE": "",
}  # fmt: skip
HELP_WORDS = {"[default: ": "[省略時: ", "required]": "必須]", "[%Y-%m-%d]": "年-月-日"}


class JapaneseHelp(click.Command):
    """Writes the headings of a help page in Japanese."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        pieces = " ".join(self.collect_usage_pieces(ctx))
        for english, japanese in USAGE_WORDS.items():
            pieces = pieces.replace(english, japanese)
        formatter.write_usage(ctx.command_path, pieces, prefix="使い方: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = (param.get_help_record(ctx) for param in self.get_params(ctx))
        rows = [_in_japanese(*record) for record in records if record]
        if rows:
            with formatter.section("指定"):
                formatter.write_dl(rows)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.help = "この説明を表示する"
        return option


class JapaneseCommand(JapaneseHelp):
    """A single command with Japanese help."""


class JapaneseGroup(JapaneseHelp, click.Group):
    """A group of commands with Japanese help; commands made by it have it too."""

    command_class = JapaneseCommand
    group_class = type

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(limit=60)))
        if rows:
            with formatter.section("コマンド"):
                formatter.write_dl(rows)


def run_command_line(command: click.Command, *, prog_name: str) -> int:
    """Run a command line and return its exit code; a wrong use is told in Japanese (exit 2)."""
    try:
        result = command.main(prog_name=prog_name, standalone_mode=False)
    except click.UsageError as error:
        click.echo(describe(error), err=True)
        return error.exit_code
    except click.Abort:
        click.echo("中止しました。", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return result if isinstance(result, int) else 0


def describe(error: click.UsageError) -> str:
    """What is wrong with the way a command was called, and where its help is."""
    path = error.ctx.command_path if error.ctx is not None else ""
    help_text = f"説明は「{path} --help」で表示します。" if path else ""
    return "\n".join(filter(None, [_sentence(error), help_text]))


def _sentence(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        return f"{error.option_name} という指定はありません。{_near(error.possibilities)}"
    if isinstance(error, click.NoSuchCommand):
        return f"{error.command_name} というコマンドはありません。{_near(error.possibilities)}"
    if isinstance(error, click.MissingParameter):
        return f"{_name(error)} を指定してください。"
    if any("぀" <= sign <= "ヿ" for sign in error.message):  # our own words
        return error.message
    if isinstance(error, click.BadParameter):
        return f"{_name(error)} の値が正しくありません。"
    return "そのような命令はないか、引数が正しくありません。"


def _in_japanese(names: str, text: str) -> tuple[str, str]:
    for english, japanese in HELP_WORDS.items():
        names, text = names.replace(english, japanese), text.replace(english, japanese)
    return re.sub(r"\b[A-Z]{4,}\b", lambda word: VALUE_WORDS.get(word[0], word[0]), names), text


def _near(names: list[str] | None) -> str:
    return f"近いもの: {'、'.join(names)}" if names else ""


def _name(error: click.BadParameter) -> str:
    if error.param is None:
        return "引数"
    names = error.param.opts if isinstance(error.param, click.Option) else []
    return names[0] if names else (error.param.human_readable_name or "引数")
