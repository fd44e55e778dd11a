"""The simulated delivery center as a program: ``python -m bcl_sim.delivery_center``."""

import json
import sys
import threading
from datetime import date
from pathlib import Path

import click

from bcl_contract.refusals import Refusal
from bcl_sim.delivery_center.configuration import ConfigurationError, read_configuration
from bcl_sim.delivery_center.journal import Journal
from bcl_sim.delivery_center.reconciliation import reconcile_day
from bcl_sim.delivery_center.wsgi import CenterApplication, tidy_forever
from bcl_sim.serving import WsgiApplication, serve

REFUSED = 3
config_option = click.option(
    "--config",
    "config_path",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="センターの設定ファイル（TOML）",
)


@click.group(help="模擬の証明書交付センターを動かします。")
def main() -> None:
    """Group the commands."""


@main.command("serve", help="キオスク端末からの取引を受け付けます。")
@config_option
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 16))
def serve_command(config_path: Path, workers: int) -> None:
    """Serve until stopped."""
    configuration = read_configuration(config_path)
    Journal(configuration.journal_path)

    def build() -> WsgiApplication:
        center = configuration.build()
        # A daemon: it holds nothing that is not in the journal.
        threading.Thread(target=tidy_forever, args=(center, threading.Event()), daemon=True).start()
        return CenterApplication(center)

    serve(
        build,
        name="delivery-center",
        bind=configuration.bind,
        tls=configuration.tls,
        workers=workers,
    )


@main.command("status", help="取引の数を状態ごとに示します（JSON）。")
@config_option
def status_command(config_path: Path) -> None:
    """Print counts."""
    journal = Journal(read_configuration(config_path).journal_path)
    click.echo(json.dumps({"transactions": journal.counts(), "money": journal.money()}))


@main.command("reconcile", help="一日分の取引を証明発行サーバと照合します。")
@config_option
@click.option("--municipality", required=True, help="団体コード")
@click.option("--day", required=True, help="日付（YYYY-MM-DD）")
def reconcile_command(config_path: Path, municipality: str, day: str) -> None:
    """Print the differences."""
    try:
        chosen = date.fromisoformat(day)
    except ValueError:
        raise click.UsageError("日付はYYYY-MM-DDで指定してください。") from None
    center = read_configuration(config_path).build()
    differences = reconcile_day(center, municipality, chosen)
    if isinstance(differences, Refusal):
        click.echo(f"{differences.text.text_ja}（{differences.code}）", err=True)
        sys.exit(REFUSED)
    for difference in differences:
        click.echo(
            f"{difference.transaction_number} センター: {difference.center_status or 'なし'}"
            f" 証明発行: {difference.bcl_state or 'なし'}"
        )
    click.echo(f"不一致: {len(differences)}件")


def run() -> None:
    """Run the program; wrong settings end with one sentence and exit code 2."""
    try:
        main()
    except ConfigurationError as error:
        click.echo(str(error), err=True)
        sys.exit(2)


if __name__ == "__main__":
    run()
