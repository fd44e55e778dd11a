"""Command help in Japanese: click's own headings are English words in its code."""

from __future__ import annotations

import click

USAGE_WORDS = {"[OPTIONS]": "[指定]", "COMMAND [ARGS]...": "コマンド [引数]..."}


class JapaneseHelp(click.Command):
    """Writes the headings of a help page in Japanese."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        pieces = " ".join(self.collect_usage_pieces(ctx))
        for english, japanese in USAGE_WORDS.items():
            pieces = pieces.replace(english, japanese)
        formatter.write_usage(ctx.command_path, pieces, prefix="使い方: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [row for param in self.get_params(ctx) if (row := param.get_help_record(ctx))]
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
